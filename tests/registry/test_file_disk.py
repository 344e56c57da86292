"""A registry on a disk that is full, read-only, locked or not there says so, and changes nothing (T3)."""

import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from likewise.core.errors import StoreError, StoreFull, StoreUnavailable
from likewise.registry.base import RegistryReadOnly
from likewise.registry.database import connect, name_error, name_os_error
from likewise.registry.file import FileRegistry
from likewise.testing.disk import run_on_small_disk

CARD = {"kind": "entity", "name": "card"}

MOUNTED = """
import os, subprocess, sys
from pathlib import Path
from likewise.core.errors import StoreFull
from likewise.registry.base import RegistryReadOnly
from likewise.registry.file import FileRegistry
from likewise.testing.disk import fill

folder = Path(sys.argv[1])
path = folder / "data" / "registry.db"
card = {"kind": "entity", "name": "card"}
large = {"kind": "entity", "name": "large", "text": "x" * 600_000}

def refused(error, action):
    try:
        action()
    except error as caught:
        return str(caught)
    raise AssertionError(f"{error.__name__} was not raised")

filler = folder / "filler"

fill(filler)
with FileRegistry(path) as registry:
    print(refused(StoreFull, lambda: registry.commit("demo", 0, [card], now=1)))
    assert registry.head("demo") == 0
    assert [each.name for each in folder.rglob("*")] in (["filler"], ["filler", "data"], ["data", "filler"])
    filler.unlink()
    assert registry.commit("demo", 0, [card], now=1).number == 1
    fill(filler)
    print(refused(StoreFull, lambda: registry.commit("demo", 1, [card, large], now=1)))
    print(refused(StoreFull, lambda: registry.side.put("demo", "s", "a", large, 0)))
    assert registry.catalog("demo").definitions() == [card]
    assert registry.side.get("demo", "s", "a") is None
    filler.unlink()
    assert registry.commit("demo", 1, [card, large], now=1).number == 2

subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
with FileRegistry(path) as registry:
    assert registry.catalog("demo").definitions() == [card, large]
    print(refused(RegistryReadOnly, lambda: registry.commit("demo", 2, [card], now=1)))
    assert registry.head("demo") == 2
with FileRegistry(folder / "new" / "registry.db") as registry:
    assert registry.head("demo") == 0
    print(refused(RegistryReadOnly, lambda: registry.commit("demo", 0, [card], now=1)))
print("done")
"""


def test_a_full_and_a_read_only_disk(tmp_path: Path) -> None:
    """On a full or read-only disk a write is refused by name, reads go on, and after the cure writes work again."""
    done = run_on_small_disk(MOUNTED, tmp_path, 1 << 20)
    assert done.stdout.endswith("done\n"), done.stderr
    path = str(tmp_path / "data" / "registry.db")
    made, committed, put, read_only, not_made, _ = done.stdout.splitlines()
    for message in (made, committed, put):
        assert message.startswith(f"no space is left for the registry {path!r}: ")
        assert "bytes are free" in message
        assert message.endswith("free some space and try again; nothing was changed")
    assert read_only.startswith(f"the registry {path!r} may not be written. give this user write access to")
    assert "may not be written" in not_made


def test_a_commit_is_durable_when_it_returns(tmp_path: Path) -> None:
    """Connections wait for the disk at every commit, the removal of the journal included."""
    FileRegistry(tmp_path / "registry.db").commit("demo", 0, [CARD], now=1)
    with contextlib.closing(connect(tmp_path / "registry.db", "rw", 1)) as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (3,), "EXTRA"
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_folders_are_made(tmp_path: Path) -> None:
    """The first commit makes the folders above the file; reading makes nothing."""
    path = tmp_path / "a" / "b" / "registry.db"
    with FileRegistry(path) as registry:
        assert registry.catalog("demo").definitions() == []
        assert registry.side.items("demo", "s") == {}
        assert list(tmp_path.iterdir()) == []
        registry.commit("demo", 0, [CARD], now=1)
    assert [each.name for each in path.parent.iterdir()] == ["registry.db"]


def test_a_folder_is_no_registry(tmp_path: Path) -> None:
    """A path that is a folder, or below a file, is refused by name."""
    (tmp_path / "file").write_text("text")
    with FileRegistry(tmp_path) as registry, pytest.raises(StoreError, match="is a folder"):
        registry.head("demo")
    with FileRegistry(tmp_path / "file" / "registry.db") as registry:
        assert registry.head("demo") == 0
        with pytest.raises(StoreError, match="cannot make the registry"):
            registry.commit("demo", 0, [CARD], now=1)


def test_a_locked_file_is_waited_for(tmp_path: Path) -> None:
    """A writer waits for another one, and gives up with a transient error after the time that was set."""
    path = tmp_path / "registry.db"
    with FileRegistry(path, wait=0.05) as impatient, FileRegistry(path, wait=30) as patient:
        impatient.commit("demo", 0, [CARD], now=1)
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(StoreUnavailable, match=r"was locked by another process for 0.05 s") as caught:
                impatient.commit("demo", 1, [], now=2)
            assert caught.value.transient
            with pytest.raises(StoreUnavailable, match="was locked"):
                impatient.side.get("demo", "s", "a")
            threading.Timer(0.2, other.execute, ["ROLLBACK"]).start()
            assert patient.commit("demo", 1, [], now=2).number == 2
        finally:
            other.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_process_opens_its_own_connections(tmp_path: Path) -> None:
    """A process forked from one that uses the registry reads and writes it, and harms neither."""
    script = """
import os, sys
from likewise.registry.file import FileRegistry
card = {"kind": "entity", "name": "card"}
registry = FileRegistry(sys.argv[1])
registry.commit("demo", 0, [card], now=1)
child = os.fork()
if child == 0:
    assert registry.catalog("demo").definitions() == [card]
    registry.commit("demo", 1, [], now=2)
    registry.close()
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert registry.head("demo") == 2
assert registry.commit("demo", 2, [card], now=3).number == 3
registry.close()
print("done")
"""
    command = [sys.executable, "-W", "error", "-c", script, str(tmp_path / "registry.db")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_a_forgotten_registry_closes_its_file(tmp_path: Path) -> None:
    """A registry that nobody closed lets go of its file when it is collected, without a warning."""
    registry = FileRegistry(tmp_path / "registry.db")
    registry.commit("demo", 0, [CARD], now=1)
    del registry
    with sqlite3.connect(tmp_path / "registry.db", timeout=0, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
    other.close()


def test_errors_of_the_system_are_named(tmp_path: Path) -> None:
    """Each failure of SQLite or the system becomes the error that names its cure."""
    path = tmp_path / "registry.db"
    for code, wanted in [
        (sqlite3.SQLITE_FULL, StoreFull),
        (sqlite3.SQLITE_BUSY, StoreUnavailable),
        (sqlite3.SQLITE_READONLY, RegistryReadOnly),
        (sqlite3.SQLITE_CANTOPEN, StoreError),
        (sqlite3.SQLITE_IOERR, StoreError),
    ]:
        error = sqlite3.OperationalError("it failed")
        error.sqlite_errorcode = code
        named = name_error(error, path, 1)
        assert isinstance(named, wanted)
        assert repr(str(path)) in str(named)
    assert isinstance(name_os_error(OSError(28, "No space left on device"), path, "make"), StoreFull)
    denied = name_os_error(OSError(13, "Permission denied"), path, "make")
    assert isinstance(denied, PermissionError)
