"""A damaged registry file gives the right content or a named error with what can be restored (T5)."""

import contextlib
import random
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from likewise.core.errors import NotFound, StoreError
from likewise.registry.base import RegistryCorrupt, RegistryTooNew
from likewise.registry.database import FORMAT
from likewise.registry.file import FileRegistry
from likewise.registry.salvage import restorable, restore
from likewise.testing.strategies import examples

PAGE = 4096
SEED = 20_240_401
PROJECTS = ("demo", "other")


def view(name: str, ttl: int) -> dict[str, Any]:
    """Return a view of thirty features."""
    schema = [{"name": f"f{n}", "type": "Int64"} for n in range(30)]
    return {"kind": "feature_view", "name": name, "ttl": ttl, "schema": schema}


def fill(path: Path) -> None:
    """Make a registry of some twenty pages, with every table in use."""
    with FileRegistry(path) as registry:
        for number in range(6):
            views = [view(f"view_{n}", ttl=n * 10 + (number if n % 3 == number % 3 else 0)) for n in range(4 + number)]
            registry.commit("demo", number, views, message=f"commit {number}", author="ada", now=number)
        registry.commit("other", 0, [view("view_0", 1)], now=1)
        for key in ("a", "b", "c"):
            registry.side.put("demo", "watermark", key, {"view": key, "intervals": [[1, 2]]}, 0)


def observe(registry: FileRegistry) -> Iterator[tuple[str, Any]]:
    """Read all there is, one answer at a time."""
    yield "projects", registry.projects()
    for project in PROJECTS:
        yield f"head {project}", registry.head(project)
        yield f"history {project}", registry.history(project)
        for number in range(registry.head(project) + 1):
            yield f"catalog {project} {number}", registry.catalog(project, number).definitions()
        for n in range(9):
            yield f"versions {project} {n}", registry.definition_versions(project, "feature_view", f"view_{n}")
        yield f"side {project}", registry.side.items(project, "watermark")
    for key in ("a", "b", "c"):
        yield f"side demo {key}", registry.side.get("demo", "watermark", key)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the registry that is copied and damaged."""
    path = tmp_path_factory.mktemp("whole") / "registry.db"
    fill(path)
    return path


@pytest.fixture(scope="module")
def answers(whole: Path) -> dict[str, Any]:
    """Return the right answer to each question."""
    with FileRegistry(whole) as registry:
        return dict(observe(registry))


def check_damaged(path: Path, answers: dict[str, Any]) -> bool:
    """Check that every answer is right or a named error, and that what is said to be restorable is; True if damaged."""
    damage: RegistryCorrupt | RegistryTooNew | None = None
    with FileRegistry(path) as registry:
        try:
            for question, answer in observe(registry):
                assert answer == answers[question], question
        except (RegistryCorrupt, RegistryTooNew) as error:
            damage = error
    if damage is None:
        return False
    assert repr(str(path)) in str(damage)
    if isinstance(damage, RegistryTooNew):  # only if the damage is in the header's number of the format
        assert damage.found == int.from_bytes(path.read_bytes()[60:64]) > FORMAT
    elif damage.restorable:
        check_restored(path, damage.restorable, answers)
    return True


def check_restored(path: Path, promised: dict[str, int], answers: dict[str, Any]) -> None:
    """Check that restoring gives what was promised, keeps the damaged file, and makes a registry that works."""
    before = path.read_bytes()
    assert restore(path) == promised
    assert path.with_name(f"{path.name}.damaged").read_bytes() == before
    with FileRegistry(path) as registry:
        for project, number in promised.items():
            assert registry.head(project) == number
            assert registry.catalog(project).definitions() == answers[f"catalog {project} {number}"]
            assert registry.commit(project, number, [view("new", 1)], now=9).number == number + 1


def test_truncation_is_never_read_as_less(whole: Path, answers: dict[str, Any], tmp_path: Path) -> None:
    """A file cut at any multiple of 4 KiB, or inside a page, is never taken for a smaller or an empty registry."""
    size = whole.stat().st_size
    assert size > 15 * PAGE
    for length in sorted({*range(0, size, PAGE), 1, 100, 511, PAGE + 1, size - 1}):
        folder = tmp_path / str(length)
        folder.mkdir()
        path = Path(shutil.copy(whole, folder))
        with path.open("rb+") as file:
            file.truncate(length)
        assert check_damaged(path, answers), f"cut at {length} of {size}"


@pytest.mark.parametrize("flips", [1, 20])
def test_flipped_bits_are_found(whole: Path, answers: dict[str, Any], tmp_path: Path, flips: int) -> None:
    """Of files with a flipped bit, and with twenty, each gives right answers or a named error (T5)."""
    rng = random.Random(SEED + flips)
    content = whole.read_bytes()
    damaged = 0
    cases = examples(60, soak=200) if flips == 1 else examples(15, soak=40)
    for case in range(cases):
        changed = bytearray(content)
        places = [(rng.randrange(len(content)), rng.randrange(8)) for _ in range(flips)]
        for offset, bit in places:
            changed[offset] ^= 1 << bit
        folder = tmp_path / str(case)
        folder.mkdir()
        path = folder / "registry.db"
        path.write_bytes(changed)
        try:
            damaged += check_damaged(path, answers)
        except Exception as error:
            raise AssertionError(f"seed {SEED + flips}, case {case}, bits {places}") from error
    assert damaged > (cases // 4 if flips == 1 else cases - 1)


def test_every_byte_of_the_header_counts(whole: Path, answers: dict[str, Any], tmp_path: Path) -> None:
    """A flipped bit in any byte of the file's header gives right answers or a named error."""
    content = whole.read_bytes()
    for offset in range(100):
        changed = bytearray(content)
        changed[offset] ^= 1 << (offset % 8)
        folder = tmp_path / str(offset)
        folder.mkdir()
        path = folder / "registry.db"
        path.write_bytes(changed)
        check_damaged(path, answers)


def test_a_known_counterexample(whole: Path, answers: dict[str, Any], tmp_path: Path) -> None:
    """An entry whose number became negative belongs to no catalog and is not restored."""
    path = Path(shutil.copy(whole, tmp_path))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE entries SET number = -122 WHERE project = 'demo' AND number = 6 AND name = 'view_8'")
        connection.commit()
    assert check_damaged(path, answers)


@pytest.mark.parametrize("table", ["heads", "catalogs", "entries", "definitions", "sides"])
def test_rows_that_vanish_are_missed(tmp_path: Path, table: str) -> None:
    """A page that claims to hold no rows is an error, also for what nothing else in the file refers to."""
    path = tmp_path / "registry.db"
    with FileRegistry(path) as registry:
        registry.commit("demo", 0, [view("a", 1)], now=1)
        registry.side.put("demo", "lease", "job", 1, 0)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    with path.open("rb+") as file:
        file.seek((page - 1) * PAGE + 3)
        assert file.read(2) == b"\0\1", "one row"
        file.seek((page - 1) * PAGE + 3)
        file.write(b"\0\0")
    for question in (
        lambda registry: registry.projects(),
        lambda registry: registry.head("demo"),
        lambda registry: registry.side.get("demo", "lease", "job"),
        lambda registry: registry.side.items("demo", "lease"),
        lambda registry: registry.definition_versions("demo", "feature_view", "a"),
        lambda registry: registry.commit("demo", 0, [view("b", 1)], now=2),
    ):
        with FileRegistry(path) as registry, pytest.raises(RegistryCorrupt):
            question(registry)


def test_versions_are_checked_too(whole: Path, tmp_path: Path) -> None:
    """A definition's versions are not told from entries that were changed, though no catalog was asked for."""
    path = Path(shutil.copy(whole, tmp_path))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM entries WHERE project = 'demo' AND name = 'view_3' AND number = 1")
        connection.commit()
    with (
        FileRegistry(path) as registry,
        pytest.raises(RegistryCorrupt, match="the entries of catalog 1 of project 'demo'"),
    ):
        registry.definition_versions("demo", "feature_view", "view_3")


def test_the_error_says_what_can_be_restored(whole: Path, tmp_path: Path) -> None:
    """The error of a damaged definition names it, the newest whole catalog and how to restore that."""
    path = Path(shutil.copy(whole, tmp_path))
    content = path.read_bytes()
    text = b'{"kind":"feature_view","name":"view_8"'  # added by the last commit
    path.write_bytes(content.replace(text, text.replace(b"view_8", b"view_X")))
    with FileRegistry(path) as registry, pytest.raises(RegistryCorrupt) as caught:
        registry.catalog("demo")
    error = caught.value
    assert error.restorable == restorable(path) == {"demo": 5, "other": 1}
    assert str(error) == (
        f"the registry {str(path)!r} is damaged: the text of feature view 'view_8' in catalog 6 of project 'demo' "
        f"fails its hash. catalog 5 of 'demo', catalog 1 of 'other' can be restored: "
        f"likewise.registry.salvage.restore({str(path)!r}); or put a backup in its place"
    )


def test_applying_again_heals_a_definition(whole: Path, answers: dict[str, Any], tmp_path: Path) -> None:
    """A commit of the same definitions writes a damaged text anew, without making a catalog."""
    path = Path(shutil.copy(whole, tmp_path))
    path.write_bytes(path.read_bytes().replace(b'"name":"view_8"', b'"name":"view_X"'))
    definitions = answers["catalog demo 6"]
    with FileRegistry(path) as registry:
        assert registry.commit("demo", 6, definitions, now=9).number == 6
    with FileRegistry(path) as registry:
        assert dict(observe(registry)) == answers


def test_an_older_catalog_can_be_rolled_back_to(whole: Path, answers: dict[str, Any], tmp_path: Path) -> None:
    """When a newer definition is damaged, rolling back to a whole catalog works in place."""
    path = Path(shutil.copy(whole, tmp_path))
    path.write_bytes(path.read_bytes().replace(b'"name":"view_8"', b'"name":"view_X"'))
    with FileRegistry(path) as registry:
        assert registry.rollback("demo", 5, now=9).number == 7
        assert registry.catalog("demo").definitions() == answers["catalog demo 5"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "it is empty \\(0 bytes\\)"),
        (b"\x0a\x03abc" * 1000, "it is not a SQLite file. if it is Feast's registry, move it away"),
        (b"!!python/object/apply:os.abort []", "it is not a SQLite file"),
        (b"\x80\x04cos\nabort\n(tR.", "it is not a SQLite file"),
    ],
    ids=["empty", "protobuf", "yaml", "pickle"],
)
def test_another_file_is_named(tmp_path: Path, content: bytes, what: str) -> None:
    """A file that is no registry is an error that says so, is not run, and is not overwritten (T31)."""
    path = tmp_path / "registry.db"
    path.write_bytes(content)
    with FileRegistry(path) as registry:
        with pytest.raises(RegistryCorrupt, match=what):
            registry.head("demo")
        with pytest.raises(RegistryCorrupt, match=what):
            registry.commit("demo", 0, [view("a", 1)], now=1)
    assert path.read_bytes() == content
    assert restorable(path) == {}
    with pytest.raises(NotFound, match="nothing can be restored"):
        restore(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_removed_file_is_not_an_empty_one(tmp_path: Path) -> None:
    """When the file goes away while it is in use, that is an error; a registry opened anew begins empty."""
    path = tmp_path / "registry.db"
    with FileRegistry(path) as registry:
        registry.commit("demo", 0, [view("a", 1)], now=1)
        path.unlink()
        with pytest.raises(StoreError, match="was removed while it was in use"):
            registry.catalog("demo")
        with pytest.raises(StoreError, match="was removed while it was in use"):
            registry.commit("demo", 1, [view("b", 1)], now=1)
    assert registry.head("demo") == 0


def test_a_replaced_file_is_read_anew(tmp_path: Path) -> None:
    """When another registry takes the file's place, the next answer is that one's."""
    for name, message in [("registry.db", "old"), ("new.db", "new")]:
        with FileRegistry(tmp_path / name) as registry:
            registry.commit("demo", 0, [view("a", 1)], message=message, now=1)
    with FileRegistry(tmp_path / "registry.db") as registry:
        assert registry.catalog("demo").info.message == "old"
        (tmp_path / "new.db").replace(tmp_path / "registry.db")
        assert registry.head("demo") == 1
        assert registry.catalog("demo").info.message == "new"
