"""Memory: an online store in the memory of one process, for tests, notebooks and trials. It is a real one."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from likewise.online.base import OnlineStore, Request, StoreClosed, TableMissing, in_key_order, settled
from likewise.online.rows import STAMP

_NAME = "in memory"


class MemoryStore(OnlineStore):
    """An online store in memory. What it holds is gone with the process; a forked process has its own copy.

    Example:
        >>> store = MemoryStore()
        >>> store.create(["shop/cards"])
        >>> store.read([("shop/cards", [b"key"])])
        [[None]]
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tables: dict[str, dict[bytes, bytes]] = {}
        self._closed = False

    def create(self, tables: Sequence[str]) -> None:
        """Make tables, empty; those that are there already stay as they are."""
        with self._lock:
            self._refuse_closed()
            for table in tables:
                self._tables.setdefault(table, {})

    def drop(self, tables: Sequence[str]) -> None:
        """Remove tables with all that they hold."""
        with self._lock:
            self._refuse_closed()
            for table in tables:
                self._tables.pop(table, None)

    def write(self, table: str, keys: Sequence[bytes], records: Sequence[bytes]) -> int:
        """Write records, each unless a newer one is stored, in one atomic step."""
        keys, records = settled(keys, records)
        with self._lock:
            held = self._table(table)
            newer = {
                key: record
                for key, record in zip(keys, records, strict=True)
                if key not in held or record[STAMP] >= held[key][STAMP]
            }
            held.update(newer)
        return len(newer)

    def swap(
        self, table: str, keys: Sequence[bytes], expected: Sequence[bytes | None], records: Sequence[bytes]
    ) -> list[int]:
        """Write records, each where the stored one is still the one that it was made from, in one atomic step."""
        ordered = in_key_order(keys, expected, records)
        with self._lock:
            held = self._table(table)
            lost = sorted(position for key, position, wanted, _ in ordered if held.get(key) != wanted)
            behind = frozenset(lost)
            held.update((key, record) for key, position, _, record in ordered if position not in behind)
        return lost

    def read(self, requests: Sequence[Request]) -> list[list[bytes | None]]:
        """Read records of any number of tables, all as they were at one moment."""
        with self._lock:
            return [list(map(self._table(table).get, keys)) for table, keys in requests]

    def scan(self, table: str, after: bytes | None = None, limit: int = 10_000) -> list[tuple[bytes, bytes]]:
        """Read a table in the order of its keys."""
        with self._lock:
            held = self._table(table)
            wanted = sorted(key for key in held if after is None or key > after)[:limit]
            return [(key, held[key]) for key in wanted]

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._tables.clear()
            self._closed = True

    def _table(self, table: str) -> dict[bytes, bytes]:
        self._refuse_closed()
        try:
            return self._tables[table]
        except KeyError:
            raise TableMissing(table, _NAME) from None

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StoreClosed(_NAME)


def open_store(config: object, root: str) -> MemoryStore:
    """Return a store of its own for each call; neither configuration nor repo folder matters."""
    return MemoryStore()
