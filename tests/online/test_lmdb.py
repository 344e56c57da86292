import functools
import os
import shutil
import struct
import sys
from pathlib import Path

import pytest

from likewise.core.errors import StoreError
from likewise.online.base import OnlineStore, TableMissing
from likewise.online.lmdb import LmdbStore, _mark_dropped, open_store
from likewise.testing.online_suite import OnlineStoreSuite, Opener, row


class TestLmdbStore(OnlineStoreSuite):
    """The LMDB store keeps the contract of online stores."""

    backend = "lmdb"
    runs_on = "LMDB ({lmdb})"

    def opener(self, folder: Path) -> Opener:
        """Open a folder in the folder."""
        return functools.partial(LmdbStore, folder / "online.lmdb")

    def raw_get(self, store: OnlineStore, table: str, key: bytes) -> bytes | None:
        """Ask LMDB for the key behind the table's number."""
        with environment(store).begin() as txn:
            return txn.get(number_of(txn, table) + key)

    def raw_put(self, store: OnlineStore, table: str, key: bytes, record: bytes) -> None:
        """Give LMDB the key behind the table's number."""
        with environment(store).begin(write=True) as txn:
            txn.put(number_of(txn, table) + key, record)


def environment(store):
    """Return the LMDB environment that a store has open: LMDB does not allow a second one."""
    env = store._environment.enter()
    store._environment.leave()
    return env


def number_of(txn, table):
    """Return the number of a table as the file has it: the first four bytes of its entry, which ends in its name."""
    for key, value in txn.cursor():
        if key.startswith(b"\0\0\0\0table") and value[8:] == table.encode():
            return struct.pack(">I", *struct.unpack(">I", value[:4]))
    raise AssertionError(table)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")
def test_a_forked_process_has_an_environment_of_its_own(tmp_path):
    """A child's reads stand in LMDB's table of readers under the child's number, so that writers spare their pages."""
    with LmdbStore(tmp_path / "online.lmdb") as store:
        store.create(["demo/cards"])
        store.read([("demo/cards", [b"a"])])
        ready, go_on = os.pipe(), os.pipe()
        child = os.fork()
        if child == 0:
            try:
                with store._reading():
                    os.write(ready[1], b"x")
                    os.read(go_on[0], 1)
            finally:
                os._exit(0)
        os.read(ready[0], 1)
        store.read([("demo/cards", [b"a"])])
        readers = environment(store).readers()
        os.write(go_on[1], b"x")
        assert os.waitpid(child, 0)[1] == 0
        assert [line.split()[0] for line in readers.splitlines()[1:]].count(str(child)) == 1
        for end in (*ready, *go_on):
            os.close(end)


def test_a_folder_that_was_removed_is_not_written_to(tmp_path):
    """A file that nobody else can see any more takes no rows, and a look says so, also where another one lies there."""
    folder, table = tmp_path / "online.lmdb", "demo/cards"
    with LmdbStore(folder) as store:
        store.create([table])
        store.look([(table, [b"a"])])
        folder.rename(tmp_path / "away")
        for _ in range(2):
            with pytest.raises(StoreError, match="removed, or put back, while it was in use"):
                store.write(table, [b"a"], [row(b"a", 1)])
            with pytest.raises(StoreError, match="start this process again"):
                store.look([(table, [b"a"])])
            shutil.copytree(tmp_path / "away", folder, dirs_exist_ok=True)
        shutil.rmtree(folder)
        (tmp_path / "away").rename(folder)
        assert store.write(table, [b"a"], [row(b"a", 1)]) == 1


def test_a_dropped_table_is_removed_step_by_step(tmp_path):
    """A drop that ended half-way is finished by the next change, and no number is given twice."""
    with LmdbStore(tmp_path / "online.lmdb") as store:
        store.create(["demo/old"])
        keys = [b"%d" % n for n in range(100)]
        store.write("demo/old", keys, [row(key, 1) for key in keys])
        with store._writing(0) as txn:
            first = number_of(txn, "demo/old")
            _mark_dropped(txn, ["demo/old"], store.folder)
        with pytest.raises(TableMissing):
            store.read([("demo/old", keys)])
        store.check([])
        store.create(["demo/old"])
        assert store.scan("demo/old") == []
        with store._reading() as txn:
            assert number_of(txn, "demo/old") > first
            assert not [key for key, _ in txn.cursor() if key.startswith(first)]


def test_other_programs_can_read_it(tmp_path):
    """The file is a plain LMDB database: four bytes for the table, the entity key, the record."""
    with LmdbStore(tmp_path / "online.lmdb") as store:
        store.create(["demo/cards"])
        store.write("demo/cards", [b"\1\2key"], [row(b"\1\2key", 7)])
    import lmdb

    with lmdb.open(str(tmp_path / "online.lmdb"), readonly=True) as env, env.begin() as txn:
        assert txn.get(b"\0\0\0\1\1\2key") == row(b"\1\2key", 7)


def test_a_configuration_opens_it(tmp_path):
    """The configuration's path is relative to the repo; an empty one means the default."""
    from likewise.config import OnlineStoreConfig

    for path, expected in (("", "data/online.lmdb"), ("x", "x")):
        with open_store(OnlineStoreConfig(path=path, map_size=1 << 24, durable=True), str(tmp_path)) as store:
            assert store.folder == tmp_path / expected
            assert environment(store).info()["map_size"] == 1 << 24
            assert environment(store).flags()["metasync"]
