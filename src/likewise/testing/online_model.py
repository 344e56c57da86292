"""A model of an online store in plain dicts, and the machine that compares any store with it (hypothesis)."""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

from likewise.core.errors import BackendMissing
from likewise.online.base import OnlineStore, TableMissing
from likewise.online.rows import tombstone

try:
    import hypothesis.strategies as st
    import pytest
    from hypothesis import settings
    from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
except ImportError as missing:
    raise BackendMissing("the suites need pytest and hypothesis", cure='pip install "likewise[testing]"') from missing

__all__ = ["OnlineMachine", "record_of", "run_online_model"]

TABLES = st.sampled_from(["demo/cards", "demo/Cards", "other/cards"])
KEYS = st.one_of(
    st.sampled_from([b"a", b"b", b"a\0", b"a\0\0", b"\xff", b"\xff" * 507, b"\xff" * 508, b"x" * 600 + b"1"]),
    st.binary(min_size=1, max_size=3),
)
STAMPS = st.tuples(st.integers(-2, 2), st.one_of(st.none(), st.integers(-1, 1)))
ROWS = st.lists(st.tuples(KEYS, STAMPS, st.integers(0, 3)), max_size=6)

Model = dict[str, dict[bytes, bytes]]


def record_of(key: bytes, event: int, created: int | None, value: int) -> bytes:
    """Return a record of one int, made byte by byte as ``online/rows.py`` describes it.

    Args:
        key: the entity key.
        event: event time in microseconds.
        created: created time in microseconds; None for none.
        value: from 0 to 127.
    """
    stamp = b"\xcf%b\xcf%b" % (_biased(event), bytes(8) if created is None else _biased(created))
    body = b"\xdc\x00\x06\x01\xce\x00\x00\x00\x07" + stamp + bytes([value]) + b"\xce"
    return body + crc32(key + body).to_bytes(4, "little")


def _biased(micros: int) -> bytes:
    return (micros + (1 << 63)).to_bytes(8, "big")


class OnlineMachine(RuleBasedStateMachine):
    """Does anything in any order to a store and to plain dicts, and compares the two."""

    def __init__(self, opener: Callable[[], OnlineStore], lasting: bool) -> None:
        super().__init__()
        self._open = opener
        self._lasting = lasting
        self._store = opener()
        self._model: Model = {}

    def teardown(self) -> None:
        """Close the store."""
        self._store.close()

    @rule(tables=st.lists(TABLES, max_size=2))
    def create(self, tables: list[str]) -> None:
        """Create tables."""
        self._store.create(tables)
        for table in tables:
            self._model.setdefault(table, {})

    @rule(tables=st.lists(TABLES, max_size=2))
    def drop(self, tables: list[str]) -> None:
        """Drop tables."""
        self._store.drop(tables)
        for table in tables:
            self._model.pop(table, None)

    @rule(table=TABLES, rows=ROWS)
    def write(self, table: str, rows: list[tuple[bytes, tuple[int, int | None], int]]) -> None:
        """Write a batch in which keys may stand more than once."""
        self._put(table, [(key, record_of(key, event, created, value)) for key, (event, created), value in rows])

    @rule(table=TABLES, key=KEYS, at=st.integers(-2, 2))
    def delete(self, table: str, key: bytes, at: int) -> None:
        """Delete a key."""
        self._put(table, [(key, tombstone(key, at))])

    def _put(self, table: str, rows: list[tuple[bytes, bytes]]) -> None:
        keys, records = [key for key, _ in rows], [record for _, record in rows]
        if table not in self._model:
            with pytest.raises(TableMissing, match=table):
                self._store.write(table, keys, records)
            return
        held = self._model[table]
        changed = set()
        for key, record in rows:
            if key not in held or record[9:27] >= held[key][9:27]:
                held[key] = record
                changed.add(key)
        assert self._store.write(table, keys, records) == len(changed)

    @rule(table=TABLES, rows=ROWS, right=st.lists(st.booleans(), min_size=6, max_size=6))
    def swap(self, table: str, rows: list[tuple[bytes, tuple[int, int | None], int]], right: list[bool]) -> None:
        """Swap some records, of which some are what is expected and others are not."""
        new = {key: record_of(key, event, created, value) for key, (event, created), value in rows}
        keys, records = list(new), list(new.values())
        if table not in self._model:
            with pytest.raises(TableMissing, match=table):
                self._store.swap(table, keys, [None] * len(keys), records)
            return
        held = self._model[table]
        wrong = [None if key in held else record_of(key, 0, None, 4) for key in keys]
        expected = [held.get(key) if good else bad for key, good, bad in zip(keys, right, wrong, strict=False)]
        assert self._store.swap(table, keys, expected, records) == [n for n in range(len(keys)) if not right[n]]
        held.update((key, new[key]) for key, good in zip(keys, right, strict=False) if good)

    @rule(table=TABLES, limit=st.integers(1, 3))
    def scan(self, table: str, limit: int) -> None:
        """Read a table page by page."""
        if table not in self._model:
            with pytest.raises(TableMissing, match=table):
                self._store.scan(table)
            return
        found: list[tuple[bytes, bytes]] = []
        while page := self._store.scan(table, found[-1][0] if found else None, limit):
            assert len(page) <= limit
            found += page
        assert found == sorted(self._model[table].items())

    @rule()
    def reopen(self) -> None:
        """Close the store and open it anew."""
        if self._lasting:
            self._store.close()
            self._store = self._open()

    @invariant()
    def agrees(self) -> None:
        """One read of all tables returns what the dicts hold, and None for all else."""
        requests = [(table, [*held, b"missing", b"m" * 600]) for table, held in self._model.items()]
        assert self._store.read(requests) == [[*held.values(), None, None] for held in self._model.values()]
        self._store.check(list(self._model))


def run_online_model(
    fresh: Callable[[], Callable[[], OnlineStore]], *, lasting: bool, examples: int | None = None
) -> None:
    """Compare stores with the model on generated sequences of operations.

    Args:
        fresh: returns a function that opens a store which is new, the same one each time; called for each sequence.
        lasting: whether what was written is there after the store was closed and opened anew.
        examples: how many sequences; None for as many as hypothesis is set to.
    """
    asked = settings(stateful_step_count=20)
    run_state_machine_as_test(
        lambda: OnlineMachine(fresh(), lasting),  # type: ignore[arg-type]
        settings=asked if examples is None else settings(asked, max_examples=examples),
    )
