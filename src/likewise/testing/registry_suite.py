"""The suite that proves a registry: subclass it, say how to open one, and pytest runs all of it.

::

    class TestMyRegistry(RegistrySuite):
        def opener(self, folder):
            return functools.partial(MyRegistry, folder / "registry")

        def raw_get(self, registry, digest): ...          # the stored text, read around the registry's own methods
        def raw_put(self, registry, digest, text): ...

The two raw hooks keep a mistake that ``commit`` and ``catalog`` share from hiding itself.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import multiprocessing
import pickle
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from likewise.core.errors import (
    BackendMissing,
    CatalogNotFound,
    InvalidDefinition,
    LeaseHeld,
    StoreCorrupt,
)
from likewise.registry import leases, watermarks
from likewise.registry.base import CatalogConflict, Registry, SideConflict
from likewise.registry.catalog import PlainDefinition, canonical, content_hash
from likewise.registry.handover import HistoriesDiffer
from likewise.registry.holdings import Holdings
from likewise.registry.memory import MemoryRegistry
from likewise.testing.conformance import Conformance
from likewise.testing.registry_model import run_registry_model
from likewise.testing.registry_workers import CARD, WORKERS, Opener, commit_once, commit_own, note_chunks, take_lease

try:
    import pytest
except ImportError as missing:
    raise BackendMissing("the suites need pytest", cure='pip install "likewise[testing]"') from missing

__all__ = ["Opener", "RegistrySuite"]

VIEW: PlainDefinition = {
    "kind": "feature_view",
    "name": "cards",
    "entities": ["card"],
    "schema": [{"name": "amount", "type": "Float64"}, {"name": "visits", "type": "Int64"}],
    "ttl": 86_400_000_000,
}
SERVICE: PlainDefinition = {"kind": "feature_service", "name": "fraud_v1", "features": [{"view": "cards"}]}
SHORTER: PlainDefinition = {**VIEW, "ttl": 3_600_000_000}
ODD_NAMES = ("naïve", "nai\u0308ve", "日本語", "a'b", 'a"b', "a; DROP TABLE heads; --", "a\0b", "💳", "%", " ", "../x")


class RegistrySuite(Conformance, ABC):
    """What every registry does, as tests."""

    processes: ClassVar[bool] = True
    """Whether other processes can open the registry; False runs the tests of concurrency with threads."""
    share: ClassVar[float] = 1.0
    """How many sequences of operations are compared with the model, as a share of hypothesis' own setting."""
    sealed: ClassVar[bool] = True
    """Whether others can reach what it stores, so that it checks what it reads; False for one within this process."""

    @abstractmethod
    def opener(self, folder: Path) -> Opener:
        """Return a function that opens a registry which is new in this folder.

        Args:
            folder: an empty folder of this test.

        Returns:
            A function without arguments; each call opens the same registry. It can be pickled if ``processes``.
        """

    @abstractmethod
    def raw_get(self, registry: Registry, digest: str) -> bytes | None:
        """Return the text that is stored of a definition, without any method of the registry; None when there is none.

        Args:
            registry: an open registry, to which something was committed.
            digest: the SHA-256 of the text, 64 hex digits.
        """

    @abstractmethod
    def raw_put(self, registry: Registry, digest: str, text: bytes) -> None:
        """Store another text in the place of one that is there, without any method of the registry."""

    @pytest.fixture(name="open_again")
    def _open_again(self, tmp_path: Path) -> Opener:
        return self.opener(tmp_path)

    @pytest.fixture(name="registry")
    def _registry(self, open_again: Opener) -> Iterator[Registry]:
        with open_again() as registry:
            yield registry

    # Catalogs

    def test_a_new_registry_is_empty(self, registry: Registry) -> None:
        """Before any commit there are no projects, and every project has catalog 0, which holds nothing."""
        assert registry.projects() == []
        assert registry.head("demo") == 0
        assert registry.catalog("demo").number == registry.catalog("demo", 0).number == 0
        assert registry.catalog("demo").definitions() == []
        assert registry.history("demo") == []
        assert registry.definition_versions("demo", "entity", "card") == []

    def test_a_commit_can_be_read(self, registry: Registry) -> None:
        """What was committed is read again as it was, under the hash of its canonical JSON."""
        made = registry.commit("demo", 0, [VIEW, CARD], message="first", author="ada", now=7)
        read = registry.catalog("demo")
        assert made == read == registry.catalog("demo", 1)
        assert (read.number, registry.head("demo"), registry.projects()) == (1, 1, ["demo"])
        assert read.definitions() == [CARD, VIEW]
        assert read.definitions("entity") == [CARD]
        assert read.names("feature_view") == ["cards"]
        assert read.find("feature_view", "cards") == VIEW
        assert read.find("entity", "cards") is None
        assert dict(read.manifest) == {
            ("entity", "card"): content_hash(CARD),
            ("feature_view", "cards"): content_hash(VIEW),
        }
        assert read.bodies[content_hash(VIEW)] == canonical(VIEW)
        assert (read.info.author, read.info.message, read.info.created, read.info.size) == ("ada", "first", 7, 2)

    def test_a_text_is_stored_as_canonical_json(self, registry: Registry) -> None:
        """What lies in the store, seen around the registry, is canonical JSON under its hash (G11)."""
        registry.commit("demo", 0, [CARD, VIEW], now=1)
        registry.commit("demo", 1, [SHORTER], now=2)
        for definition in (CARD, VIEW, SHORTER):
            assert self.raw_get(registry, content_hash(definition)) == canonical(definition)
        assert self.raw_get(registry, content_hash(SERVICE)) is None

    def test_a_text_that_was_changed_is_no_answer(self, open_again: Opener) -> None:
        """A text that somebody changed in the store is an error for all who open it, and healed when it is put back."""
        if not self.sealed:
            pytest.skip("nobody else can reach what is stored")
        with open_again() as registry:
            registry.commit("demo", 0, [CARD, VIEW], now=1)
            for text in (canonical(SHORTER), b"", canonical(VIEW)[:-1], b"{}"):
                self.raw_put(registry, content_hash(VIEW), text)
                with open_again() as other, pytest.raises(StoreCorrupt):
                    other.catalog("demo").find("feature_view", "cards")
                with open_again() as other, pytest.raises(StoreCorrupt):
                    other.definition_versions("demo", "feature_view", "cards")
            self.raw_put(registry, content_hash(VIEW), canonical(VIEW))
        with open_again() as other:
            assert other.catalog("demo").find("feature_view", "cards") == VIEW

    def test_a_catalog_does_not_change(self, registry: Registry) -> None:
        """Changing what a catalog returned, or what it was made from, changes neither catalog nor registry."""
        given: PlainDefinition = {**CARD, "tags": {"team": "risk"}}
        catalog = registry.commit("demo", 0, [given], now=1)
        given["tags"]["team"] = catalog.definitions()[0]["tags"]["team"] = "changed"
        found = catalog.find("entity", "card"), registry.catalog("demo").find("entity", "card")
        assert found == ({**CARD, "tags": {"team": "risk"}},) * 2
        with pytest.raises(TypeError):
            catalog.manifest[("entity", "card")] = "0"  # type: ignore[index]
        with pytest.raises(dataclasses.FrozenInstanceError):
            catalog.info.number = 2  # type: ignore[misc]

    def test_an_equal_set_makes_no_catalog(self, registry: Registry) -> None:
        """Committing the same definitions, in any order of sets and keys, returns the newest catalog as it is."""
        first = registry.commit("demo", 0, [CARD, VIEW], now=1)
        swapped = [dict(reversed(VIEW.items())), CARD]
        assert registry.commit("demo", 1, swapped, message="again", now=2) == first
        assert len(registry.history("demo")) == 1
        assert registry.commit("other", 0, [], now=1).number == 0

    def test_history_is_linear(self, registry: Registry) -> None:
        """Catalogs are numbered from 1, each on the one before, and every one stays readable."""
        sets: list[list[PlainDefinition]] = [[CARD], [CARD, VIEW], [CARD, SHORTER], [], [VIEW]]
        for number, definitions in enumerate(sets):
            registry.commit("demo", number, definitions, message=f"commit {number + 1}", now=number * 10)
        history = registry.history("demo")
        assert [info.number for info in history] == [1, 2, 3, 4, 5]
        assert [info.parent for info in history] == [0, 1, 2, 3, 4]
        assert [info.created for info in history] == [0, 10, 20, 30, 40]
        assert [info.message for info in history] == [f"commit {n}" for n in range(1, 6)]
        assert [registry.catalog("demo", n).definitions() for n in range(6)] == [[], *sets]
        assert [registry.catalog("demo", info.number).info for info in history] == history

    def test_a_number_outside_of_history_is_refused(self, registry: Registry) -> None:
        """A catalog that does not exist is an error that says which ones do."""
        with pytest.raises(CatalogNotFound, match="has no catalog 1; nothing was applied"):
            registry.catalog("demo", 1)
        registry.commit("demo", 0, [CARD], now=1)
        for number in (2, -1):
            with pytest.raises(CatalogNotFound, match=f"has no catalog {number}; its history goes from 1 to 1"):
                registry.catalog("demo", number)

    def test_rollback_goes_forward(self, registry: Registry) -> None:
        """A rollback commits an older catalog's definitions as the next number; history keeps what was rolled back."""
        registry.commit("demo", 0, [CARD, VIEW], now=1)
        registry.commit("demo", 1, [SHORTER], now=2)
        back = registry.rollback("demo", 1, author="ada", now=3)
        assert (back.number, back.info.parent, back.info.message) == (3, 2, "rollback to catalog 1")
        assert back.definitions() == [CARD, VIEW]
        assert back.info.contents == registry.catalog("demo", 1).info.contents
        assert registry.catalog("demo", 2).definitions() == [SHORTER]

    def test_every_version_of_a_definition_is_kept(self, registry: Registry) -> None:
        """A definition's versions are its contents in order, each with the catalogs that hold it."""
        for number, definitions in enumerate([[VIEW], [CARD, VIEW], [SHORTER], [CARD], [VIEW]]):
            registry.commit("demo", number, definitions, now=1)
        versions = registry.definition_versions("demo", "feature_view", "cards")
        assert [(v.version, v.since, v.until, v.definition) for v in versions] == [
            (1, 1, 3, VIEW),
            (2, 3, 4, SHORTER),
            (3, 5, None, VIEW),
        ]
        assert [v.hash for v in versions] == [content_hash(VIEW), content_hash(SHORTER), content_hash(VIEW)]
        assert registry.definition_versions("demo", "feature_view", "Cards") == []
        assert registry.definition_versions("other", "feature_view", "cards") == []

    def test_projects_do_not_meet(self, registry: Registry) -> None:
        """Projects have their own numbers and definitions; one whose newest catalog is empty is not listed."""
        registry.commit("b", 0, [CARD], now=1)
        registry.commit("a", 0, [VIEW], now=1)
        registry.commit("a", 1, [SHORTER], now=1)
        assert registry.projects() == ["a", "b"]
        assert (registry.head("a"), registry.head("b"), registry.head("A")) == (2, 1, 0)
        registry.commit("b", 1, [], now=1)
        assert registry.projects() == ["a"]
        assert registry.catalog("b", 1).definitions() == [CARD]

    def test_names_are_only_text(self, registry: Registry) -> None:
        """Names of any characters, SQL among them, are kept to the bit and do not mix (T32)."""
        for name in ODD_NAMES:
            definitions = [{"kind": "entity", "name": other, "of": name} for other in ODD_NAMES]
            registry.commit(name, 0, definitions, message=name, author=name, now=1)
            registry.side.put(name, name, name, name, 0)
        assert registry.projects() == sorted(ODD_NAMES)
        for name in ODD_NAMES:
            catalog = registry.catalog(name)
            assert catalog.names("entity") == sorted(ODD_NAMES)
            assert catalog.find("entity", name) == {"kind": "entity", "name": name, "of": name}
            assert catalog.info.message == name
            assert [(key, found.value) for key, found in registry.side.items(name, name).items()] == [(name, name)]

    @pytest.mark.parametrize(
        ("broken", "message"),
        [
            ({"name": "x"}, "has the kind None"),
            ({"kind": "entity", "name": ""}, "the name ''"),
            ({"kind": "entity", "name": 1}, "the name 1"),
            ({"kind": "entity", "name": "x", "ttl": float("nan")}, "entity 'x'.ttl is nan"),
            ({"kind": "entity", "name": "x", "a": [{"b": float("-inf")}]}, r"entity 'x'.a\[0\].b is -inf"),
            ({"kind": "entity", "name": "x", "a": b"bytes"}, "entity 'x'.a is a bytes"),
            ({"kind": "entity", "name": "x", "a": {1: 2}}, "entity 'x'.a has the key 1"),
            ({"kind": "entity", "name": "x", "a": "\ud800"}, "half of a character"),
            (CARD, "entity 'card' stands twice"),
        ],
    )
    def test_what_is_not_plain_is_refused(self, registry: Registry, broken: PlainDefinition, message: str) -> None:
        """A definition that is not plain JSON, has no name or stands twice is refused by its path; nothing changes."""
        registry.commit("demo", 0, [CARD], now=1)
        with pytest.raises(InvalidDefinition, match=message):
            registry.commit("demo", 1, [VIEW, CARD, broken], now=2)
        assert registry.head("demo") == 1
        assert registry.catalog("demo").definitions() == [CARD]

    def test_stored_code_stays_text(self, registry: Registry, tmp_path: Path) -> None:
        """Text that YAML or pickle would run is stored and read as text, and runs nothing (T31)."""
        canary = tmp_path / "canary"
        yaml = f"!!python/object/apply:os.system ['touch {canary}']"
        pickled = pickle.dumps(_Canary(str(canary)), protocol=0).decode("latin-1")
        code = f"__import__('pathlib').Path({str(canary)!r}).touch()"
        trap: PlainDefinition = {
            "kind": yaml,
            "name": pickled,
            "text": code,
            "!!python/name:os.system": [pickled, {yaml: code}],
        }
        registry.commit("demo", 0, [trap], message=code, author=pickled, now=1)
        registry.side.put("demo", yaml, pickled, {code: yaml}, 0)
        assert registry.catalog("demo").definitions() == [trap]
        assert registry.definition_versions("demo", yaml, pickled)[0].definition == trap
        assert registry.side.items("demo", yaml)[pickled].value == {code: yaml}
        assert not canary.exists()

    def test_a_large_set_is_one_commit(self, registry: Registry) -> None:
        """A thousand definitions, and one of a megabyte, are committed and read in one go."""
        many: list[PlainDefinition] = [{**VIEW, "name": f"view_{n:04}"} for n in range(1000)]
        large: PlainDefinition = {"kind": "entity", "name": "large", "description": "x" * 1_000_000}
        registry.commit("demo", 0, [*many, large], now=1)
        assert registry.catalog("demo").definitions() == [large, *many]

    # Conflicts

    def test_a_commit_on_an_old_catalog_is_refused(self, registry: Registry) -> None:
        """Who planned on a catalog that is not the newest any more is told what changed; nothing is written."""
        registry.commit("demo", 0, [CARD, VIEW], now=1)
        registry.commit("demo", 1, [SHORTER, SERVICE], now=2)
        with pytest.raises(CatalogConflict, match="is at catalog 2, not at 1") as caught:
            registry.commit("demo", 1, [CARD], now=3)
        error = caught.value
        assert (error.expected, error.head, error.transient) == (1, 2, True)
        assert [(c.action, c.kind, c.name) for c in error.changes] == [
            ("delete", "entity", "card"),
            ("update", "feature_view", "cards"),
            ("create", "feature_service", "fraud_v1"),
        ]
        assert [(f.path, f.before, f.after) for f in error.changes[1].fields] == [
            (("ttl",), 86_400_000_000, 3_600_000_000)
        ]
        assert "entity 'card' deleted, feature view 'cards' updated" in str(error)
        assert registry.catalog("demo").definitions() == [SERVICE, SHORTER]
        assert len(registry.history("demo")) == 2

    def test_a_catalog_that_never_was_is_not_expected(self, registry: Registry) -> None:
        """Expecting a number that the history does not have is a conflict as well."""
        for expected in (1, -1):
            with pytest.raises(CatalogConflict, match=f"is at catalog 0, not at {expected}"):
                registry.commit("demo", expected, [CARD], now=1)
        assert registry.projects() == []

    def test_parallel_commits_lose_nothing(self, open_again: Opener) -> None:
        """Four workers that each commit 25 definitions of their own end with all 100, in a linear history (T7)."""
        self._in_parallel([(commit_own, open_again, worker, 25) for worker in range(WORKERS)])
        with open_again() as registry:
            names = registry.catalog("demo").names("entity")
            history = registry.history("demo")
        assert names == sorted(f"w{worker}_{n:02}" for worker in range(4) for n in range(25))
        assert [info.number for info in history] == list(range(1, 101))
        assert [info.size for info in history] == list(range(1, 101))

    def test_one_of_parallel_commits_wins(self, open_again: Opener) -> None:
        """Of four workers that change the same definition on the same catalog, one wins; three see its change (T7)."""
        with open_again() as registry:
            registry.commit("demo", 0, [CARD], now=1)
        outcomes = self._in_parallel([(commit_once, open_again, worker) for worker in range(WORKERS)])
        with open_again() as registry:
            (winner,) = registry.catalog("demo").definitions()
            assert registry.head("demo") == 2
        assert sorted(outcomes) == sorted(["won", *[f"lost to {winner['owner']}"] * 3])

    def test_readers_see_whole_catalogs(self, open_again: Opener) -> None:
        """While commits go on, every read answer comes from one catalog, and none fails (T8)."""
        stop = threading.Event()

        def read(registry: Registry) -> int:
            seen = 0
            while not stop.is_set():
                catalog = registry.catalog("demo")
                owners = {definition["owner"] for definition in catalog.definitions()}
                assert owners <= {f"owner {catalog.number}"}
                assert registry.head("demo") >= catalog.number >= seen
                seen = catalog.number
            return seen

        with open_again() as registry, open_again() as another, concurrent.futures.ThreadPoolExecutor(4) as pool:
            readers = [pool.submit(read, each) for each in (registry, registry, another, another)]
            try:
                for number in range(30):
                    owned = [{**d, "owner": f"owner {number + 1}"} for d in (CARD, VIEW, SERVICE)]
                    registry.commit("demo", number, owned, now=number)
            finally:
                stop.set()
            assert all(reader.result(timeout=60) <= 30 for reader in readers)
            assert another.head("demo") == 30

    def _in_parallel(self, jobs: Sequence[tuple[Callable[..., str], Any, Any] | tuple[Any, ...]]) -> list[str]:
        pool: concurrent.futures.Executor = (
            concurrent.futures.ProcessPoolExecutor(len(jobs), multiprocessing.get_context("spawn"))
            if self.processes
            else concurrent.futures.ThreadPoolExecutor(len(jobs))
        )
        with pool:
            return [future.result(timeout=100) for future in [pool.submit(*job) for job in jobs]]

    # Beside the catalogs

    def test_side_values_are_compared_before_they_are_set(self, registry: Registry) -> None:
        """A side value is written and removed only at the version that was expected."""
        side = registry.side
        assert side.get("demo", "lease", "a") is None
        first = side.put("demo", "lease", "a", {"n": 1}, 0)
        with pytest.raises(SideConflict, match="lease 'a' is at version"):
            side.put("demo", "lease", "a", {"n": 2}, 0)
        second = side.put("demo", "lease", "a", {"n": 2}, first)
        with pytest.raises(SideConflict):
            side.remove("demo", "lease", "a", first)
        assert (found := side.get("demo", "lease", "a")) is not None
        assert (found.value, found.version) == ({"n": 2}, second)
        side.remove("demo", "lease", "a", second)
        with pytest.raises(SideConflict, match="lease 'a' is absent"):
            side.put("demo", "lease", "a", {"n": 3}, second)
        assert side.put("demo", "lease", "a", {"n": 3}, None) > second
        side.remove("demo", "lease", "missing", None)

    def test_a_side_version_never_returns(self, registry: Registry) -> None:
        """A value that was removed and written anew is not taken for the old one."""
        old = registry.side.put("demo", "s", "a", 1, 0)
        registry.side.remove("demo", "s", "a", old)
        new = registry.side.put("demo", "s", "a", 1, 0)
        with pytest.raises(SideConflict):
            registry.side.put("demo", "s", "a", 2, old)
        assert new != old

    def test_side_spaces_do_not_meet(self, registry: Registry) -> None:
        """Values are listed by project and space, in the order of their keys; they are no projects."""
        side = registry.side
        for project, space, key in [("p", "s", "b"), ("p", "s", "a"), ("p", "t", "c"), ("q", "s", "d")]:
            side.put(project, space, key, [project, space, key], 0)
        assert [(key, found.value) for key, found in side.items("p", "s").items()] == [
            ("a", ["p", "s", "a"]),
            ("b", ["p", "s", "b"]),
        ]
        assert list(side.items("p", "none")) == []
        assert registry.projects() == []
        assert registry.head("p") == 0

    @pytest.mark.parametrize(
        "value", [None, True, 0, -(2**63), 2**70, 1.5, -0.0, "", "naïve \0 💳", [], {}, {"a": [None]}]
    )
    def test_side_values_keep_their_type(self, registry: Registry, value: object) -> None:
        """Any plain JSON is read as it was written."""
        registry.side.put("demo", "s", "a", value, 0)
        found = registry.side.get("demo", "s", "a")
        assert found is not None
        assert repr(found.value) == repr(value)

    def test_side_values_that_are_not_plain_are_refused(self, registry: Registry) -> None:
        """A value that JSON cannot hold is refused by its path, and nothing is written."""
        with pytest.raises(InvalidDefinition, match=r"statistics 'a'.mean is nan"):
            registry.side.put("demo", "statistics", "a", {"mean": float("nan")}, 0)
        assert registry.side.get("demo", "statistics", "a") is None

    def test_one_of_parallel_workers_gets_the_lease(self, open_again: Opener) -> None:
        """Of four workers that want a lease at once one gets it; the others are told who has it."""
        outcomes = self._in_parallel([(take_lease, open_again, worker) for worker in range(WORKERS)])
        (winner,) = (outcome for outcome in outcomes if outcome.startswith("worker"))
        assert sorted(outcomes) == sorted([winner, *[f"held by {winner}"] * 3])

    def test_parallel_chunks_are_all_noted(self, open_again: Opener) -> None:
        """Four workers that note chunks of one run lose none of them (G4)."""
        run = watermarks.Run("run", 1, "hash", 0, 99, chunks=40)
        with open_again() as registry:
            watermarks.open_run(registry.side, "demo", "cards", run)
        self._in_parallel([(note_chunks, open_again, run, worker) for worker in range(WORKERS)])
        with open_again() as registry:
            closed = watermarks.close_run(registry.side, "demo", "cards", run)
        assert closed.intervals == ((0, 99),)

    # Durability, and any order of everything

    def test_it_is_the_same_after_reopening(self, open_again: Opener) -> None:
        """A registry that is closed and opened anew has all that was written, and goes on from there."""
        with open_again() as registry:
            made = registry.commit("demo", 0, [CARD, VIEW], message="first", now=1)
            version = registry.side.put("demo", "s", "a", [1], 0)
        with open_again() as registry:
            assert registry.catalog("demo") == made
            assert registry.catalog("demo").definitions() == [CARD, VIEW]
            assert registry.side.put("demo", "s", "a", [2], version) > version
            assert registry.commit("demo", 1, [CARD], now=2).number == 2

    def test_closing_twice_is_fine(self, open_again: Opener) -> None:
        """A registry may be closed any number of times."""
        registry = open_again()
        registry.commit("demo", 0, [CARD], now=1)
        registry.close()
        registry.close()

    def test_what_it_holds_can_be_taken_over(self, registry: Registry) -> None:
        """A new registry that takes over what this one holds answers every read alike; its leases have no holder."""
        _fill(registry)
        held = registry.holdings()
        other = MemoryRegistry()
        other.take(held)
        assert _answers(other) == _answers(registry)
        with pytest.raises(LeaseHeld):
            leases.acquire(registry.side, "demo", "job", "you", ttl=10, now=5)
        assert leases.acquire(other.side, "demo", "job", "you", ttl=10, now=5).token == 2
        assert other.commit("demo", 3, [VIEW], now=4).info.parent == 3

    def test_it_takes_over_what_another_holds(self, registry: Registry) -> None:
        """It answers every read like the registry whose holdings it took, and goes on from there."""
        other = MemoryRegistry()
        _fill(other)
        leases.release(other.side, leases.Lease("demo", "job", "me", 1, 100))
        registry.take(other.holdings())
        assert _answers(registry) == _answers(other)
        assert registry.holdings() == other.holdings()
        registry.take(other.holdings())
        assert registry.holdings() == other.holdings()
        assert registry.side.put("demo", "s", "a", [9], None) > max(item.version for item in other.holdings().sides)

    def test_it_takes_over_only_what_continues_its_history(self, registry: Registry) -> None:
        """A history of which it has the beginning is taken over; any other is refused, and nothing is written."""
        other = MemoryRegistry()
        for each in (registry, other):
            each.commit("demo", 0, [CARD], author="ada", now=1)
        other.commit("demo", 1, [VIEW], now=2)
        registry.take(other.holdings())
        assert registry.history("demo") == other.history("demo")
        registry.commit("demo", 2, [SERVICE], now=3)
        other.commit("demo", 2, [SHORTER], now=3)
        other.commit("new", 0, [CARD], now=3)
        other.side.put("demo", "s", "a", 1, 0)
        before = registry.holdings()
        with pytest.raises(HistoriesDiffer, match="project 'demo' has another history"):
            registry.take(other.holdings())
        registry.commit("demo", 3, [], now=4)
        with pytest.raises(HistoriesDiffer, match="'demo' is at catalog 4"):
            registry.take(other.holdings())
        registry.rollback("demo", 3, now=5)
        assert registry.holdings().sides == before.sides
        assert registry.projects() == ["demo"]

    def test_what_fails_a_hash_is_not_taken_over(self, registry: Registry) -> None:
        """Holdings with a text, an entry or a catalog that was changed are refused by name, and nothing is written."""
        other = MemoryRegistry()
        _fill(other)
        held = other.holdings()
        (first, *_), entries = held.histories["demo"], held.entries["demo"]
        found = entries[0].hash or ""
        for broken, what in [
            (dataclasses.replace(held, bodies={**held.bodies, found: b"{}"}), "the text of definition"),
            (dataclasses.replace(held, bodies={}), "is missing"),
            (dataclasses.replace(held, entries={**held.entries, "demo": entries[1:]}), "entries of catalog 1"),
            (
                dataclasses.replace(
                    held, histories={**held.histories, "demo": [dataclasses.replace(first, author="eve")]}
                ),
                "catalog 1 of project 'demo' fails its seal",
            ),
        ]:
            with pytest.raises(StoreCorrupt, match=what):
                registry.take(broken)
        assert registry.holdings() == Holdings({}, {}, {}, [])

    def test_it_behaves_like_a_dict(self, tmp_path: Path) -> None:
        """Any sequence of commits, rollbacks, reads and side writes has the outcome a plain model has."""
        folders = (tmp_path / f"run_{n}" for n in range(1_000_000))

        def fresh() -> Opener:
            folder = next(folders)
            folder.mkdir()
            return self.opener(folder)

        run_registry_model(fresh, self.share)


def _fill(registry: Registry) -> None:
    """Commit to two projects, and put values beside them."""
    for number, definitions in enumerate([[CARD, VIEW], [CARD, SHORTER], [CARD, VIEW, SERVICE]]):
        registry.commit("demo", number, definitions, message=f"commit {number + 1}", author="ada", now=number)
    for number, name in enumerate(ODD_NAMES):
        registry.commit("other", number, [{"kind": "entity", "name": name, "note": name}], message=name, now=number)
    registry.commit("other", len(ODD_NAMES), [], now=9)
    for project, space, key in [("demo", "s", "a"), ("demo", "s", "b"), ("alone", "t", "c"), ("demo", "s", "a")]:
        registry.side.put(project, space, key, [project, space, key, -0.0, 2**70], None)
    watermarks.open_run(registry.side, "demo", "cards", watermarks.Run("run", 1, "hash", 0, 99, chunks=4))
    leases.acquire(registry.side, "demo", "job", "me", ttl=100, now=0)


def _answers(registry: Registry) -> list[object]:
    """Return what reads of a filled registry answer, but for who holds the lease."""
    projects = ("demo", "other", "alone", "none")
    catalogs = [
        (catalog.info, catalog.manifest, catalog.definitions())
        for project in projects
        for catalog in (registry.catalog(project, n) for n in range(registry.head(project) + 1))
    ]
    versions = [registry.definition_versions("demo", d["kind"], d["name"]) for d in (CARD, VIEW, SERVICE)]
    sides = [registry.side.items(project, space) for project in projects for space in ("s", "t", watermarks.SPACE)]
    return [registry.projects(), [registry.history(project) for project in projects], catalogs, versions, sides]


class _Canary:
    """Unpickled, it makes a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(self.path),)
