"""What `likewise registry export` writes, read again: nothing is lost, and what was cut or changed is refused."""

import hashlib
import json
import random
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from likewise.core.errors import StoreError
from likewise.registry import leases, watermarks
from likewise.registry.base import Registry, RegistryCorrupt, RegistryTooNew
from likewise.registry.file import FileRegistry
from likewise.registry.memory import MemoryRegistry
from likewise.registry.sql import SqlRegistry
from likewise.registry.transfer import dump, load, read_file, write_file

CARD = {"kind": "entity", "name": "card", "tags": {"é": "naïve \0 💳 \u2028"}, "of": [1.5, -0.0, 2**70, None]}
VIEW = {"kind": "feature_view", "name": "cards", "ttl": 86_400_000_000}


def fill(registry: Registry) -> Registry:
    """Commit to two projects, and put a watermark, a lease and a value beside them."""
    registry.commit("demo", 0, [CARD], message="first\nline", author="ada", now=1)
    registry.commit("demo", 1, [CARD, VIEW], message="second", now=2)
    registry.commit("demo", 2, [], message="teardown", now=3)
    registry.rollback("demo", 2, author="eve", now=4)
    registry.commit("other", 0, [VIEW], now=-1)
    lease = leases.acquire(registry.side, "demo", "materialize/cards", "me", ttl=10, now=0)
    run = watermarks.Run("run", lease.token, "hash", 0, 99, chunks=2)
    watermarks.open_run(registry.side, "demo", "cards", run)
    registry.side.put("demo", "dataset", "march", {"rows": 5}, 0)
    return registry


def test_a_registry_moves_between_kinds_and_back(tmp_path: Path, new_url) -> None:
    """From a file over PostgreSQL, a SQLite database and memory to a file again, every read stays equal."""
    kinds = [
        partial(SqlRegistry, new_url()),
        partial(SqlRegistry, f"sqlite:///{tmp_path}/sql.db"),
        MemoryRegistry,
        partial(FileRegistry, tmp_path / "back.db"),
    ]
    with fill(FileRegistry(tmp_path / "registry.db")) as first:
        leases.release(first.side, leases.Lease("demo", "materialize/cards", "me", 1, 10))
        held = first.holdings()
        for number, kind in enumerate(kinds):
            write_file(tmp_path / f"{number}.jsonl", held)
            with kind() as registry:
                registry.take(read_file(tmp_path / f"{number}.jsonl"))
                held = registry.holdings()
                assert held == first.holdings()
                assert registry.projects() == first.projects()
                for project in first.projects():
                    assert registry.history(project) == first.history(project)
                    for info in first.history(project):
                        found = registry.catalog(project, info.number)
                        assert found.definitions() == first.catalog(project, info.number).definitions()
                versions = partial(Registry.definition_versions, project="demo", kind="entity", name="card")
                assert versions(registry) == versions(first)
                assert registry.side.items("demo", watermarks.SPACE) == first.side.items("demo", watermarks.SPACE)
    texts = [(tmp_path / f"{number}.jsonl").read_bytes() for number in range(len(kinds))]
    assert len(set(texts)) == 1


def test_a_lease_is_left_behind_and_its_number_is_not(tmp_path: Path) -> None:
    """A lease that is held is nobody's after the move, and the next holder fences off the run that is still open."""
    old = fill(MemoryRegistry())
    with FileRegistry(tmp_path / "registry.db") as new:
        new.take(load(dump(old.holdings()), "a text"))
        lease = leases.acquire(new.side, "demo", "materialize/cards", "you", ttl=10, now=1)
        assert lease.token == 2
        run = watermarks.Run("run 2", lease.token, "hash", 0, 99, chunks=2)
        assert watermarks.open_run(new.side, "demo", "cards", run).missing() == [0, 1]


def test_a_text_is_one_json_object_a_line() -> None:
    """The text is plain JSON in a stable order, so that it can be read, compared and kept in a repository."""
    lines = list(dump(fill(MemoryRegistry()).holdings()))
    assert json.loads(lines[0]) == {"likewise_registry": 1, "needs": "0.1.0"}
    assert [next(iter(json.loads(line))) for line in lines[1:3]] == ["definition", "definition"]
    assert lines == list(dump(load(lines, "a text")))


def test_a_text_that_was_cut_anywhere_is_refused() -> None:
    """A text without its last lines, or without any line in between, is not read."""
    lines = list(dump(fill(MemoryRegistry()).holdings()))
    for count in range(len(lines)):
        with pytest.raises(RegistryCorrupt, match=f"it is cut off after {count} lines"):
            load(lines[:count], "a text")
    for missing in range(1, len(lines) - 1):
        with pytest.raises(RegistryCorrupt):
            load([line for number, line in enumerate(lines) if number != missing], "a text")
    with pytest.raises(RegistryCorrupt, match="it goes on behind its end"):
        load([*lines, lines[1]], "a text")


def test_a_text_of_which_any_bit_was_changed_is_refused(tmp_path: Path) -> None:
    """Of two hundred texts with one random bit changed none is read, and each error names the file (T5)."""
    path = tmp_path / "registry.jsonl"
    write_file(path, fill(MemoryRegistry()).holdings())
    whole, draw = path.read_bytes(), random.Random(5)
    for _ in range(200):
        place = draw.randrange(len(whole) * 8)
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << (place % 8)
        path.write_bytes(changed)
        with pytest.raises((RegistryCorrupt, RegistryTooNew), match=r"registry\.jsonl"):
            read_file(path)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    """A text of a newer format names the version that reads it (T6)."""
    with pytest.raises(RegistryTooNew, match=r"has format 2; .* up to format 1. install Likewise >= 9.9"):
        load(['{"likewise_registry":2,"needs":"9.9"}'], "a text")


@pytest.mark.parametrize("line", ["", "[]", "1", "{}", '{"likewise_registry":"x"}', "!!python/object:x", "[" * 100_000])
def test_what_is_no_such_text_is_refused(line: str) -> None:
    """Anything else is refused by its first line."""
    with pytest.raises(RegistryCorrupt, match="line 1 is not one of its lines"):
        load([line], "a text")


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    """A file is replaced in one step; where it cannot be, the error names it and nothing is left behind."""
    held = fill(MemoryRegistry()).holdings()
    write_file(tmp_path / "a.jsonl", held)
    write_file(tmp_path / "a.jsonl", held)
    assert [file.name for file in tmp_path.iterdir()] == ["a.jsonl"]
    with pytest.raises(StoreError, match=r"none/a\.jsonl' cannot be written"):
        write_file(tmp_path / "none" / "a.jsonl", held)
    with pytest.raises(StoreError, match=r"b\.jsonl' cannot be read"):
        read_file(tmp_path / "b.jsonl")


@pytest.mark.parametrize("value", [None, [], {}, "x", True, 2.5, -1])
def test_a_text_of_another_shape_is_refused_though_its_end_fits(value: object) -> None:
    """Whoever wrote it: each field of another type is told as a text that is damaged, before anything is taken."""
    *lines, _ = dump(fill(MemoryRegistry()).holdings())
    for place, line in enumerate(lines):
        found = json.loads(line)
        for name, held in found.items():
            places = list(held) if isinstance(held, dict) else range(len(held)) if isinstance(held, list) else []
            for inner in places if name in ("catalog", "entry", "beside") else []:
                if type(held[inner]) is type(value) or (held[inner] is None or value is None):
                    continue
                changed = json.dumps(found | {name: _with(held, inner, value)})
                made = [*lines[:place], changed, *lines[place + 1 :]]
                end = hashlib.sha256("".join(f"{each}\n" for each in made).encode()).hexdigest()
                with pytest.raises(RegistryCorrupt):
                    load([*made, json.dumps({"end": end, "lines": len(made)})], "here")


def _with(held: Any, place: Any, value: object) -> Any:
    changed = dict(held) if isinstance(held, dict) else list(held)
    changed[place] = value
    return changed
