import functools
import struct
from pathlib import Path

from likewise.online.base import OnlineStore
from likewise.online.lmdb import LmdbStore
from likewise.testing.online_suite import OnlineStoreSuite, Opener


class TestLmdbStore(OnlineStoreSuite):
    """The LMDB store keeps the contract of online stores."""

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
