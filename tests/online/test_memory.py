import functools
from pathlib import Path

from likewise.online.base import OnlineStore
from likewise.online.memory import MemoryStore
from likewise.testing.online_suite import OnlineStoreSuite, Opener


class TestMemoryStore(OnlineStoreSuite):
    """The store in memory keeps the contract of online stores."""

    backend = "memory"
    runs_on = "the process"

    lasting = False
    processes = False

    def opener(self, folder: Path) -> Opener:
        """Open a store in memory."""
        return functools.partial(MemoryStore)

    def raw_get(self, store: OnlineStore, table: str, key: bytes) -> bytes | None:
        """Look into the dicts."""
        assert isinstance(store, MemoryStore)
        return store._tables[table].get(key)

    def raw_put(self, store: OnlineStore, table: str, key: bytes, record: bytes) -> None:
        """Put it into the dicts."""
        assert isinstance(store, MemoryStore)
        store._tables[table][key] = record
