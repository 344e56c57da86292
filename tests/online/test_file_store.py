"""What holds for every online store that keeps files: damage, full disks, locks, other versions, files that vanish."""

import multiprocessing
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from likewise.core.errors import StoreCorrupt, StoreError, StoreFull, StoreTooNew, StoreUnavailable
from likewise.online.file_store import WriterLock, looks_full, megabytes, named_os_error
from likewise.online.lmdb import LmdbStore
from likewise.online.rows import tombstone
from likewise.online.sqlite import SqliteStore
from likewise.testing.disk import run_on_small_disk
from likewise.testing.online_suite import row

PAGE = 4096
SEED = 20_240_401
TABLES = ["demo/cards", "demo/shops"]
KEYS = [b"\1\2" + (n * 7919).to_bytes(8, "big") for n in range(700)] + [b"k" * 600 + bytes([n]) for n in range(20)]


@pytest.fixture(params=["lmdb", "sqlite"])
def kind(request):
    """Each kind of store."""
    return {"lmdb": LmdbStore, "sqlite": SqliteStore}[request.param]


def path_in(folder, kind):
    """Return where a test keeps a store."""
    return folder / ("online.lmdb" if kind is LmdbStore else "online.db")


def data_of(path):
    """Return the file that holds the data."""
    return path / "data.mdb" if path.suffix == ".lmdb" else path


def fill(path, kind):
    """Make a store of some dozens of pages, with tables that were dropped and keys that were deleted."""
    with kind(path) as store:
        store.create([*TABLES, "demo/gone"])
        store.write("demo/gone", KEYS, [row(key, 1) for key in KEYS])
        for event in (1, 2):
            store.write(TABLES[0], KEYS, [row(key, event) for key in KEYS])
        store.write(TABLES[1], KEYS[::3], [tombstone(key, 5) for key in KEYS[::3]])
        store.drop(["demo/gone"])
    return {TABLES[0]: {key: row(key, 2) for key in KEYS}, TABLES[1]: {key: tombstone(key, 5) for key in KEYS[::3]}}


def observe(path, kind):
    """Open a store and read all of it, by key and in order."""
    with kind(path) as store:
        (first, second) = store.read([(table, KEYS) for table in TABLES])
        for table, found in zip(TABLES, (first, second), strict=True):
            scanned = dict(store.scan(table))
            assert scanned == {key: record for key, record in zip(KEYS, found, strict=True) if record is not None}
        store.check(TABLES)
        return {table: dict(store.scan(table)) for table in TABLES}


def damaged_copies(folder, kind, damage, numbers):
    """Damage copies of a store, and return (number, what came of opening and reading it) for each."""
    whole = path_in(folder / "whole", kind)
    wanted = fill(whole, kind)
    copy = path_in(folder / "copy", kind)
    for number in numbers:
        shutil.rmtree(copy.parent, ignore_errors=True)
        shutil.copytree(whole.parent, copy.parent)
        raw = bytearray(data_of(copy).read_bytes())
        data_of(copy).write_bytes(damage(raw, number))
        try:
            yield number, observe(copy, kind) == wanted, ""
        except StoreError as error:
            yield number, isinstance(error, StoreCorrupt), str(error)


def test_a_truncated_file_is_whole_or_named(kind, tmp_path):
    """A file cut off at any page is an error that names it and the cure, never an empty or partial store (T5)."""
    size = data_of(path_in(tmp_path / "whole", kind))
    fill(path_in(tmp_path / "whole", kind), kind)
    pages = size.stat().st_size // PAGE
    shutil.rmtree(tmp_path / "whole")
    outcomes = list(damaged_copies(tmp_path, kind, lambda raw, page: raw[: page * PAGE], range(pages)))
    assert [page for page, good, _ in outcomes if not good] == []
    said = [text for _, _, text in outcomes if text]
    assert len(said) > pages // 2
    assert all("is damaged" in text and "materialize again" in text for text in said)


def test_a_wrong_bit_is_harmless_or_named(kind, tmp_path):
    """After any one of 200 random bit flips the content is right, or the damage is named (T5)."""
    bits = random.Random(SEED)

    def flip(raw, _):
        bit = bits.randrange(8 * len(raw))
        raw[bit // 8] ^= 1 << bit % 8
        return raw

    outcomes = list(damaged_copies(tmp_path, kind, flip, range(200)))
    assert [(number, text) for number, good, text in outcomes if not good] == []
    assert sum(bool(text) for _, _, text in outcomes) > 20, "hardly a flip was noticed"


def test_a_wrong_bit_in_a_large_file_is_found_by_check(kind, tmp_path):
    """A file that is too large to be checked when it is opened is checked by check()."""
    path = path_in(tmp_path, kind)
    fill(path, kind)
    raw = data_of(path).read_bytes()
    record = row(KEYS[1], 2)
    data_of(path).write_bytes(raw.replace(record, record[:27] + b"\4" + record[28:]))
    with kind(path, check_below=0) as store, pytest.raises(StoreCorrupt, match=KEYS[1].hex()):
        store.check(TABLES)


@pytest.mark.parametrize("content", [b"", b"not a database\n" * 1000, bytes(40_000)])
def test_a_foreign_file_is_refused_and_kept(kind, tmp_path, content):
    """An empty file, a text and a file of zeros are named as damage, and are not overwritten."""
    path = path_in(tmp_path, kind)
    data_of(path).parent.mkdir(exist_ok=True)
    data_of(path).write_bytes(content)
    with pytest.raises(StoreCorrupt, match="is damaged"):
        kind(path)
    assert data_of(path).read_bytes() == content


def test_a_store_of_another_program_is_refused(tmp_path):
    """A database that somebody else made, sound as it is, is not taken for an online store."""
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection, connection:
        connection.execute("CREATE TABLE records (id INTEGER)")
    with pytest.raises(StoreCorrupt, match="not an online store of Likewise"):
        SqliteStore(tmp_path / "other.db")
    import lmdb

    with lmdb.open(str(tmp_path / "other.lmdb")) as env, env.begin(write=True) as txn:
        txn.put(b"key", b"value")
    with pytest.raises(StoreCorrupt, match="not an online store of Likewise"):
        LmdbStore(tmp_path / "other.lmdb")


def test_a_newer_format_is_refused_with_the_version_it_needs(tmp_path):
    """A store of a later format is not touched, and the error names the version of Likewise to install (T6)."""
    SqliteStore(tmp_path / "online.db").close()
    with closing(sqlite3.connect(tmp_path / "online.db")) as connection, connection:
        connection.execute("PRAGMA user_version = 2")
        connection.execute("UPDATE likewise SET format = 2, needs = '3.1'")
    with pytest.raises(StoreTooNew, match=r"has format 2, .* install Likewise >= 3\.1"):
        SqliteStore(tmp_path / "online.db")
    import lmdb

    from likewise.online.lmdb import _FORMAT_KEY, _sealed

    LmdbStore(tmp_path / "online.lmdb").close()
    with lmdb.open(str(tmp_path / "online.lmdb")) as env, env.begin(write=True) as txn:
        txn.put(_FORMAT_KEY, _sealed(2, b"3.1"))
    with pytest.raises(StoreTooNew, match=r"has format 2, .* install Likewise >= 3\.1"):
        LmdbStore(tmp_path / "online.lmdb")


def test_what_a_killed_maker_left_does_not_matter(tmp_path):
    """Half-made files beside the store, and the log of a store that was removed, are passed over."""
    (tmp_path / "online.lmdb" / ".new-1").mkdir(parents=True)
    (tmp_path / "online.lmdb" / ".new-1" / "data.mdb").write_bytes(b"half")
    with LmdbStore(tmp_path / "online.lmdb") as store:
        store.create(TABLES)
    assert not list((tmp_path / "online.lmdb").glob(".new*"))
    with SqliteStore(tmp_path / "other.db") as store:
        store.create(TABLES)
        shutil.copy(tmp_path / "other.db-wal", tmp_path / "online.db-wal")
    with SqliteStore(tmp_path / "online.db") as store, pytest.raises(LookupError):
        store.read([(TABLES[0], [])])


def test_a_folder_that_was_replaced_is_opened_anew(kind, tmp_path):
    """After its files were removed and made again, a newly opened store sees the new ones, the old one its own."""
    path = path_in(tmp_path / "a", kind)
    fill(path, kind)
    old = kind(path)
    assert len(old.scan(TABLES[0])) == len(KEYS)
    shutil.rmtree(path.parent)
    with kind(path) as new:
        new.create(TABLES)
        assert new.scan(TABLES[0]) == []
        assert len(old.scan(TABLES[0])) == len(KEYS)
    old.close()
    with kind(path) as new:
        assert new.scan(TABLES[0]) == []


def test_many_stores_on_one_file(kind, tmp_path):
    """A process may open the same files any number of times, by any spelling of the path."""
    path = path_in(tmp_path, kind)
    (tmp_path / "link").symlink_to(tmp_path)
    stores = [kind(path), kind(path_in(tmp_path / "link", kind)), kind(os.path.relpath(path))]
    stores[0].create(TABLES)
    stores[1].write(TABLES[0], [b"a"], [row(b"a", 1)])
    stores[0].close()
    assert stores[2].read([(TABLES[0], [b"a"])]) == [[row(b"a", 1)]]
    for store in stores:
        store.close()


# Full disks


def test_a_full_disk_changes_nothing(kind, tmp_path):
    """On a full disk a write says path and need, reads go on, and after space is freed all works again (T3)."""
    done = run_limited(kind, tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "done"
    assert len(lines) == 4
    assert all(str(path_in(tmp_path, kind)) in line and "nothing was written" in line for line in lines[:-1])


def test_a_full_small_disk_changes_nothing(kind, tmp_path):
    """The same on a real file system of two megabytes that something else fills up (T3)."""
    done = run_on_small_disk(MOUNTED, tmp_path, 2 << 20, kind.__name__, path_in(tmp_path, kind).name)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "done"


def test_a_full_map_names_its_setting(tmp_path):
    """LMDB's own limit is named with the key to raise; nothing of the batch is there, and smaller writes go on."""
    with LmdbStore(tmp_path / "online.lmdb", map_size=1 << 20) as store:
        store.create(TABLES)
        keys = [b"%d" % n for n in range(20_000)]
        with pytest.raises(StoreFull, match=r"map_size, 1\.0 MB, .* raise online_store\.map_size") as caught:
            store.write(TABLES[0], keys, [row(key, 1) for key in keys])
        assert str(tmp_path) in str(caught.value)
        with pytest.raises(StoreFull, match=r"map_size, 1\.0 MB, .* raise online_store\.map_size"):
            store.swap(TABLES[0], keys, [None] * len(keys), [row(key, 1) for key in keys])
        assert store.scan(TABLES[0]) == []
        assert store.write(TABLES[0], keys[:10], [row(key, 1) for key in keys[:10]]) == 10
    with LmdbStore(tmp_path / "online.lmdb", map_size=1 << 26) as store:
        assert store.write(TABLES[0], keys, [row(key, 1) for key in keys]) == 20_000


LIMITED = """
import sys
from pathlib import Path
from likewise.core.errors import StoreFull
from likewise.online.lmdb import LmdbStore
from likewise.online.sqlite import SqliteStore
from likewise.testing.disk import small_files
from likewise.testing.online_suite import row

kind, path = {"LmdbStore": LmdbStore, "SqliteStore": SqliteStore}[sys.argv[1]], Path(sys.argv[2])
keys = [b"%d" % n for n in range(20_000)]

with kind(path) as store:
    store.create(["demo/cards"])
    store.write("demo/cards", keys[:5], [row(key, 1) for key in keys[:5]])
    with small_files(1 << 19):
        (held,) = store.read([("demo/cards", keys)])
        for event in (1, 2, 3):
            new = [row(key, event) for key in keys]
            try:
                store.swap("demo/cards", keys, held, new) if event == 3 else store.write("demo/cards", keys, new)
            except StoreFull as error:
                print(error)
            assert store.scan("demo/cards") == [(key, row(key, 1)) for key in keys[:5]]
    assert store.write("demo/cards", keys, [row(key, 3) for key in keys]) == 20_000
    store.check(["demo/cards"])
with kind(path) as store:
    assert store.read([("demo/cards", keys)]) == [[row(key, 3) for key in keys]]
print("done")
"""

MOUNTED = """
import sys
from pathlib import Path
from likewise.core.errors import StoreError, StoreFull
from likewise.online.lmdb import LmdbStore
from likewise.online.sqlite import SqliteStore
from likewise.testing.disk import fill
from likewise.testing.online_suite import row

folder, kind = Path(sys.argv[1]), {"LmdbStore": LmdbStore, "SqliteStore": SqliteStore}[sys.argv[2]]
path, filler = folder / sys.argv[3], folder / "filler"
keys = [b"%d" % n for n in range(20_000)]

def refused(action):
    try:
        action()
    except StoreFull as error:
        print(error)
        return
    raise AssertionError("there was space")

fill(filler)
refused(lambda: kind(path))
filler.unlink()
with kind(path) as store:
    store.create(["demo/cards"])
    store.write("demo/cards", keys[:5], [row(key, 1) for key in keys[:5]])
    fill(filler)
    refused(lambda: store.write("demo/cards", keys, [row(key, 2) for key in keys]))
    refused(lambda: store.swap("demo/cards", keys[5:], [None] * 19_995, [row(key, 2) for key in keys[5:]]))
    assert store.read([("demo/cards", keys[:6])]) == [[*(row(key, 1) for key in keys[:5]), None]]
    with kind(path) as other:
        assert other.read([("demo/cards", keys[:1])]) == [[row(keys[0], 1)]]
    filler.unlink()
    assert store.write("demo/cards", keys[:1000], [row(key, 3) for key in keys[:1000]]) == 1000
    store.check(["demo/cards"])
print("done")
"""


def run_limited(kind, folder):
    """Run LIMITED, whose files may not grow over 512 KiB for a while."""
    command = [sys.executable, "-c", LIMITED, kind.__name__, str(path_in(folder, kind))]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)


# Locks


def test_a_writer_that_does_not_end_is_named(kind, tmp_path):
    """A write waits for another process's writer only so long, then says who holds what; reads do not wait."""
    path = path_in(tmp_path, kind)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with kind(path, wait=0.2) as store:
        store.create(TABLES)
        holder = context.Process(target=hold_write_lock, args=(path, kind, theirs))
        holder.start()
        assert ours.recv() == "held"
        assert store.read([(TABLES[0], [b"a"])]) == [[None]]
        with pytest.raises(StoreUnavailable, match=str(path)) as caught:
            store.write(TABLES[0], [b"a"], [row(b"a", 1)])
        assert caught.value.transient
        assert kind is SqliteStore or f"process {holder.pid}" in str(caught.value)
        with kind(path, wait=0.2) as other:
            assert other.read([(TABLES[0], [b"a"])]) == [[None]]
        holder.kill()
        holder.join()
        assert store.write(TABLES[0], [b"a"], [row(b"a", 1)]) == 1


def hold_write_lock(path, kind, told):
    """Begin to write, and never end."""
    store = kind(path)
    writing = store._writing(0)
    writing.__enter__()
    told.send("held")
    threading.Event().wait()


def test_a_thread_that_does_not_end_is_named(kind, tmp_path):
    """A write waits for another thread of its process only so long."""
    path = path_in(tmp_path, kind)
    with kind(path, wait=0.1) as store:
        store.create(TABLES)
        with store._writing(0):
            outcome = []
            other = threading.Thread(target=lambda: outcome.append(try_to_write(store)))
            other.start()
            other.join()
        assert "thread" in outcome[0]
        assert try_to_write(store) == "written"


def try_to_write(store):
    """Write a record; return what came of it."""
    try:
        store.write(TABLES[0], [b"a"], [row(b"a", 1)])
    except StoreUnavailable as error:
        return str(error)
    return "written"


def test_a_writer_lock_is_held_by_one(tmp_path):
    """The lock passes from one to the next; a fork or a failed wait does not break it."""
    lock = WriterLock(tmp_path / "writer.lock")
    with lock.held(1):
        waited = []
        thread = threading.Thread(target=lambda: waited.append(lock.acquire(0.05)))
        thread.start()
        thread.join()
        assert waited == [False]
    with lock.held(0):
        pass
    lock.pause()
    lock.resume()
    with lock.held(0):
        pass


# Errors of the operating system


def test_a_folder_that_cannot_be_written_is_named(kind, tmp_path):
    """Where a file stands in the way of a folder, the error says which path cannot be opened, and why."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file.*cannot be opened"):
        kind(path_in(tmp_path / "file", kind))


def test_a_store_that_was_removed_is_named(kind, tmp_path):
    """A store whose files are gone when it must open them again says that they were removed."""
    path = path_in(tmp_path / "a", kind)
    store = kind(path)
    store.create(TABLES)
    store._pool.take().close() if kind is SqliteStore else store._environment.renew()
    shutil.rmtree(path.parent)
    with pytest.raises(StoreError, match="was removed"):
        store.read([(TABLES[0], [b"a"])])
    store.close()


def test_system_errors_say_path_and_cure():
    """Errors of the operating system become named ones with the path, the reason and the cure."""
    full = named_os_error(OSError(28, "No space left on device"), Path("/nowhere/x"), "opened")
    assert isinstance(full, StoreFull)
    assert "/nowhere/x" in str(full)
    denied = named_os_error(PermissionError(13, "Permission denied"), Path("/nowhere/x"), "opened")
    assert "cannot be opened: Permission denied" in str(denied)
    assert not looks_full(Path("/nowhere/x"), 1)
    assert megabytes(1) == "1 kB"
