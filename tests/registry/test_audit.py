"""The audit log: every change is an entry, and whatever is done to an entry afterwards is found."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from likewise.core.errors import StoreCorrupt
from likewise.registry.audit import SPACE, AuditBroken, Deed, acting_as, checked, enter, enter_catalogs, entries
from likewise.registry.base import Registry
from likewise.registry.file import FileRegistry
from likewise.registry.memory import MemoryRegistry

CARD = {"kind": "entity", "name": "card"}
HEAD = "audit_head"


@pytest.fixture(params=["memory", "file"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    """A registry with four entries: two of catalogs, two of other deeds."""
    with MemoryRegistry() if request.param == "memory" else FileRegistry(tmp_path / "registry.db") as made:
        made.commit("demo", 0, [CARD], message="apply", author="ada", now=5)
        enter(made, "demo", Deed("materialize", ("feature view 'cards'",), "9 keys"), now=7)
        made.commit("demo", 1, [CARD, {"kind": "entity", "name": "user"}], message="apply", author="bob", now=8)
        with acting_as("key 'ci'"):
            enter(made, "demo", Deed("forget", ("feature view 'cards'",)), now=9)
        yield made


def change(registry: Registry, number: int, **fields: Any) -> None:
    """Change an entry behind the log's back."""
    key = f"{number:012d}"
    found = registry.side.get("demo", SPACE, key)
    assert found is not None
    registry.side.put("demo", SPACE, key, found.value | fields, None)


def test_every_deed_is_an_entry_and_catalogs_come_before_what_was_done_on_them(registry: Registry) -> None:
    """Each says who, what, when and on which catalog, in the order in which it was done."""
    told = [(e.number, e.at, e.who, e.what, e.before, e.catalog) for e in checked(registry, "demo")]
    assert [each for each in told if each[0] != 2] == [
        (1, 5, "ada", "apply", 0, 1),
        (3, 8, "bob", "apply", 1, 2),
        (4, 9, "key 'ci'", "forget", 2, 2),
    ]
    assert [entry.objects for entry in entries(registry.side, "demo")] == [
        ("create entity 'card'",),
        ("feature view 'cards'",),
        ("create entity 'user'",),
        ("feature view 'cards'",),
    ]


@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "field", [{"who": "eve"}, {"at": 1}, {"objects": []}, {"detail": "8 keys"}, {"catalog": 9}, {"hash": "0" * 64}]
)
def test_an_entry_that_was_changed_is_found(registry: Registry, number: int, field: dict[str, Any]) -> None:
    """Whatever of it was changed, the check names the entry."""
    change(registry, number, **field)
    with pytest.raises(StoreCorrupt, match=f"entry {number}"):
        checked(registry, "demo")


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_an_entry_that_was_taken_out_is_missed(registry: Registry, number: int) -> None:
    """From the beginning, the middle or the end, and also after more was entered."""
    registry.side.remove("demo", SPACE, f"{number:012d}", None)
    for _ in range(2):
        with pytest.raises(StoreCorrupt, match=r"missing|the log ends with entry 3, but there were 4"):
            checked(registry, "demo")
        enter(registry, "demo", Deed("push"), now=20)


def test_an_entry_that_was_changed_and_sealed_anew_breaks_the_next(registry: Registry) -> None:
    """Its hash is right then, but the entry after it holds the old one."""
    other = entries(registry.side, "demo")[1]
    forged = type(other)(*(getattr(other, name) if name != "who" else "eve" for name in other.__slots__)).sealed()
    change(registry, 2, who="eve", hash=forged.hash)
    with pytest.raises(StoreCorrupt, match="entry 3 does not follow from entry 2"):
        checked(registry, "demo")


def test_a_log_made_anew_lacks_the_hash_that_was_noted(registry: Registry) -> None:
    """Who can write the registry can make a whole chain; what was noted elsewhere shows it."""
    noted = checked(registry, "demo")[-1].hash
    assert checked(registry, "demo", noted)
    for key in registry.side.items("demo", SPACE):
        registry.side.remove("demo", SPACE, key, None)
    registry.side.remove("demo", HEAD, "", None)
    enter(registry, "demo", Deed("forget"), now=9)
    assert checked(registry, "demo")
    with pytest.raises(StoreCorrupt, match="no entry has the hash"):
        checked(registry, "demo", noted)


def test_a_process_that_is_killed_right_after_an_entry_loses_nothing(registry: Registry) -> None:
    """The note of the newest entry may be behind, and a commit may have no entry yet: the next one finds both."""
    registry.side.put("demo", HEAD, "", {"number": 2, "hash": "x", "catalog": 1}, None)
    registry.commit("demo", 2, [], message="teardown", author="ada", now=30)
    assert enter(registry, "demo", Deed("keys create"), now=31).number == 6
    assert [entry.what for entry in checked(registry, "demo")][4:] == ["teardown", "keys create"]
    assert enter_catalogs(registry, "demo").number == 6


def test_entries_of_many_threads_make_one_chain(registry: Registry) -> None:
    """No entry is lost and none stands twice."""

    def work(name: str) -> None:
        for n in range(10):
            enter(registry, "demo", Deed(f"{name}-{n}"), now=40)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log = checked(registry, "demo")
    assert len(log) == 44
    assert {entry.what for entry in log[4:]} == {f"{name}-{n}" for name in "abcd" for n in range(10)}


def test_a_registry_that_was_set_back_behind_its_log_is_found(registry: Registry) -> None:
    """A log that knows catalogs which the registry does not have is no log of it."""
    with MemoryRegistry() as other:
        for key, found in registry.side.items("demo", SPACE).items():
            other.side.put("demo", SPACE, key, found.value, 0)
        with pytest.raises(StoreCorrupt, match="the log knows catalog 2, but the newest is 0"):
            checked(other, "demo")


@pytest.mark.parametrize("value", [{}, [1], "text", {"number": "one"}])
def test_an_entry_that_is_none_is_told(registry: Registry, value: object) -> None:
    """Whatever stands in its place, by the error of a log that is broken."""
    registry.side.put("demo", SPACE, f"{2:012d}", value, None)
    with pytest.raises(AuditBroken, match="is none"):
        checked(registry, "demo")
