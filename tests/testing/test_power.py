"""Power cuts: the recorder sees what a program does to its files, and finds programs that promise too much."""

from pathlib import Path

import pytest

from likewise.core.errors import StoreError
from likewise.testing.power import record

WRITERS = """
folder = sys.argv[1]

def sync(path):
    opened = os.open(path, os.O_RDONLY)
    os.fsync(opened)
    os.close(opened)

for number in range(1, 9):
    with open(folder + "/new", "w") as file:
        file.write(str(number) * 2000)
        file.flush()
        if "file" in sys.argv:
            os.fsync(file.fileno())
    os.replace(folder + "/new", folder + "/it")
    if "folder" in sys.argv:
        sync(folder)
    print(number, flush=True)
"""


def found(folder: Path) -> int:
    """Return the number that a file holds two thousand times; 0 where there is no file."""
    if not (folder / "it").exists():
        return 0
    text = (folder / "it").read_text()
    assert text == text[:1] * 2000 != "", "the file is not whole"
    return int(text[0])


def outcomes(folder: Path, *syncs: str) -> set[str]:
    """Return what power cuts do to a program that syncs some of what it should."""
    (folder / "live").mkdir()
    recording = record(WRITERS, folder / "live", *syncs, imports="import sys, os")
    seen = set()
    for cut in recording.cuts(150):
        cut.write(folder / "after")
        told = max([0, *map(int, cut.told.split())])
        try:
            seen.add("lost" if found(folder / "after") < told else "kept")
        except AssertionError:
            seen.add("broken")
    return seen


def test_a_program_that_syncs_keeps_what_it_told(tmp_path):
    """A file that is written, synced, renamed, and whose folder is synced then, is whole and there after every cut."""
    assert outcomes(tmp_path, "file", "folder") == {"kept"}


def test_a_program_that_forgets_a_sync_is_found_out(tmp_path):
    """Without the folder's sync what was told is lost, whole; without the file's, a half-written file has its name."""
    for number, (syncs, wanted) in enumerate(
        [(["file"], {"kept", "lost"}), (["folder"], {"kept", "broken"}), ([], {"kept", "lost", "broken"})]
    ):
        (tmp_path / str(number)).mkdir()
        assert outcomes(tmp_path / str(number), *syncs) == wanted, syncs


def test_every_way_to_write_is_seen(tmp_path):
    """What the recorder noted is what the files hold, whichever system call wrote it, in threads and children too."""
    program = """
a = os.open(sys.argv[1] + "/a", os.O_RDWR | os.O_CREAT)
os.write(a, b"0123456789")
os.pwrite(a, b"XY", 3)
os.writev(a, [b"ab", b"", b"cd"])
os.pwritev(a, [b"e", b"f"], 20)
os.posix_fallocate(a, 0, 30)
os.ftruncate(a, 28)
with open(sys.argv[1] + "/old", "ab") as file:
    file.write(b"more")
os.link(sys.argv[1] + "/a", sys.argv[1] + "/b")
thread = threading.Thread(target=lambda: os.pwrite(a, b"thread", 0))
thread.start()
thread.join()
if os.fork() == 0:
    open(sys.argv[1] + "/c", "w").write("child")
    os._exit(0)
os.wait()
os.mkdir(sys.argv[1] + "/folder")
os.rename(sys.argv[1] + "/b", sys.argv[1] + "/folder/b")
os.unlink(sys.argv[1] + "/a")
open(sys.argv[1] + "/folder/b", "r+b").write(b"T")
open(sys.argv[1] + "/c", "w").write("C")
"""
    (tmp_path / "live").mkdir()
    (tmp_path / "live" / "old").write_text("some ")
    recording = record(program, tmp_path / "live", imports="import os, sys, threading")
    assert recording.content("folder/b") == b"Thread6789abcd" + bytes(6) + b"ef" + bytes(6)
    assert (recording.content("old"), recording.content("c")) == (b"some more", b"C")
    recording.cut(1).write(tmp_path / "after")
    assert [path.name for path in (tmp_path / "after").iterdir()] == ["old"]
    assert (tmp_path / "after" / "old").read_text() == "some "


def test_what_is_not_seen_is_refused(tmp_path):
    """A program that writes through a memory map, or fails, gives no recording; a file may be named as unseen."""
    program = """
with open(sys.argv[1] + "/a", "w+b") as file:
    file.truncate(10)
    mmap.mmap(file.fileno(), 10)[:2] = b"ab"
"""
    with pytest.raises(StoreError, match="a was written in a way that is not seen"):
        record(program, tmp_path, imports="import mmap, sys")
    assert record(program, tmp_path, imports="import mmap, sys", unseen=["a"]).content("a") == bytes(10)
    with pytest.raises(StoreError, match=r"(?s)ends with 1: .*ZeroDivisionError"):
        record("1 / 0", tmp_path)


def test_what_is_opened_to_be_synced_is_safe(tmp_path):
    """Writes to a file that was opened with O_DSYNC are there after every cut, without an fsync."""
    program = """
opened = os.open(sys.argv[1] + "/log", os.O_WRONLY | os.O_DSYNC)
for number in range(9):
    os.write(opened, b"%d" % number)
    print(number, flush=True)
"""
    (tmp_path / "live").mkdir()
    (tmp_path / "live" / "log").touch()
    for cut in record(program, tmp_path / "live", imports="import os, sys").cuts(30):
        cut.write(tmp_path / "after")
        assert (tmp_path / "after" / "log").read_text().startswith("".join(cut.told.split()))
    assert [path.name for path in (tmp_path / "after").iterdir()] == ["log"]
