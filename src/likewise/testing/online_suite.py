"""The suite that proves an online store: subclass it, say how to open one, and pytest runs all of it.

::

    class TestMyStore(OnlineStoreSuite):
        def opener(self, folder):
            return functools.partial(MyStore, folder / "store")

        def raw_get(self, store, table, key): ...      # the stored record, read around the store's own methods
        def raw_put(self, store, table, key, record): ...

The two raw hooks keep a mistake that ``write`` and ``read`` share from hiding itself.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import math
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal as Number
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

from likewise.core.errors import BackendMissing, RecordCorrupt, StoreError
from likewise.core.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
    FeatureType,
    Float32,
    Float64,
    Int32,
    Int64,
    Json,
    Map,
    Set,
    String,
    Struct,
    UnixTimestamp,
    Uuid,
)
from likewise.online.base import OnlineStore, StoreClosed, TableMissing
from likewise.online.rows import Layout, RowReader, RowWriter, head_of, tombstone
from likewise.testing.conformance import Conformance
from likewise.testing.online_model import record_of, run_online_model

try:
    import pytest
except ImportError as missing:
    raise BackendMissing("the suites need pytest", cure='pip install "likewise[testing]"') from missing

__all__ = ["OnlineStoreSuite", "Opener", "moment", "row"]

Opener = Callable[[], OnlineStore]
"""Opens the same store each time it is called."""

CARDS, SHOPS = "demo/cards", "demo/shops"
ODD_TABLES = (
    "demo/cards",
    "demo/Cards",
    "demo/cards ",
    "demo_cards",
    "demo/cards/x",
    "d/emo/cards",
    "demo/naïve",
    "demo/nai\u0308ve",
    "日本語/💳",
    "demo/a'b",
    'demo/a"b',
    "demo/x; DROP TABLE records; --",
    "../../x",
    "%",
    "p" * 255 + "/" + "日" * 255,
)
ODD_KEYS = (
    b"\0",
    b"\0\0",
    b"a",
    b"a\0",
    b"ab",
    b"\xff",
    b"\xff" * 100,
    "na\u0308ive 💳".encode(),
    b"' OR 1=1 --",
    *(b"k" * size for size in (499, 500, 506, 507, 508, 511, 512, 1023, 1024, 65_536)),
    *(b"k" * 600 + bytes([n]) for n in (0, 1, 255)),
)
T = datetime(2024, 1, 1, tzinfo=UTC)
# (type, values that must come back with the same type and bits)
VALUES: tuple[tuple[FeatureType, tuple[Any, ...]], ...] = (
    (Bool, (True, False)),
    (Int32, (0, 1, -1, 127, 128, -(2**31), 2**31 - 1)),
    (Int64, (0, 255, 2**31, 2**53 + 1, -(2**53) - 1, -(2**63), 2**63 - 1)),
    (Float32, (0.0, -0.0, 1.5, math.inf, -math.inf, math.nan, 1.401298464324817e-45, 3.4028234663852886e38)),
    (Float64, (0.0, -0.0, 0.1, math.inf, -math.inf, math.nan, 5e-324, 1.7976931348623157e308, 2.0**53)),
    (String, ("", "a", "NUL \0", "ä", "a\u0308", "עברית", "💳🧑‍🚀", "x" * 65_536)),
    (Bytes, (b"", b"\0", bytes(range(256)), b"\xff" * 65_536)),
    (Json, ('{"a": 1}', "[]")),
    (UnixTimestamp, (T, datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC))),
    (Uuid, (UUID(int=0), UUID("12345678-1234-5678-1234-567812345678"), UUID(int=2**128 - 1))),
    (Decimal, (Number("1.100000000000000000"), Number("-99999999999999999999.999999999999999999"), Number("1E-18"))),
    (Array(Int64), ([], [1, None, -(2**63)])),
    (Array(Float64), ([math.nan, -0.0], [0.25] * 1536)),
    (Array(String), (["", "ä", None],)),
    (Array(UnixTimestamp), ([T, None],)),
    (Array(Array(Bool)), ([[True], [], None],)),
    (Set(Int64), (set(), {3, -1, 2**40})),
    (Set(String), ({"b", "a"},)),
    (Map, ({}, {"k": "v", "": "ä"})),
    (Struct({"lat": Float64, "at": UnixTimestamp, "tags": Array(String)}), ({"lat": -0.0, "at": T, "tags": ["x"]},)),
)


class OnlineStoreSuite(Conformance, ABC):
    """What every online store does, as tests."""

    lasting: ClassVar[bool] = True
    """Whether what was written is there after the store was closed and opened anew."""
    processes: ClassVar[bool] = True
    """Whether several processes can open the store at once; False runs the tests of concurrency with threads."""
    one_moment: ClassVar[bool] = True
    """Whether a batch is written, and several tables are read, at one moment; False where keys lie on many servers."""
    scale: ClassVar[float] = 1.0
    """How large tests of many keys, tables or rounds are: less for a server that needs milliseconds for a key."""
    largest: ClassVar[int | None] = None
    """About the size in bytes from which on the store refuses a record by name; None: it takes a megabyte and more."""
    examples: ClassVar[int | None] = None
    """How many sequences of operations are compared with a model; None for as many as hypothesis is set to."""

    @abstractmethod
    def opener(self, folder: Path) -> Opener:
        """Return a function that opens a store which is new in this folder.

        Args:
            folder: an empty folder of this test.

        Returns:
            A function without arguments; each call opens the same store if it is ``lasting``. It can be pickled if
            ``processes``.
        """

    @abstractmethod
    def raw_get(self, store: OnlineStore, table: str, key: bytes) -> bytes | None:
        """Return the record that is stored, without any method of the store.

        Args:
            store: an open store.
            table: a table that was created.
            key: an entity key of up to 100 bytes.
        """

    @abstractmethod
    def raw_put(self, store: OnlineStore, table: str, key: bytes, record: bytes) -> None:
        """Store a record, whatever is there, without any method of the store."""

    def many(self, count: int, least: int = 1) -> int:
        """Return how many of something a test takes: ``count`` at the scale of this store, at least ``least``."""
        return max(least, round(count * self.scale))

    @pytest.fixture(name="open_again")
    def _open_again(self, tmp_path: Path) -> Opener:
        return self.opener(tmp_path)

    @pytest.fixture(name="store")
    def _store(self, open_again: Opener) -> Iterator[OnlineStore]:
        with open_again() as store:
            store.create([CARDS, SHOPS])
            yield store

    # Tables

    def test_a_new_table_is_empty(self, store: OnlineStore) -> None:
        """A table that was created holds nothing."""
        assert store.read([(CARDS, [b"a"]), (SHOPS, [])]) == [[None], []]
        assert store.scan(CARDS) == []

    def test_creating_a_table_again_keeps_what_it_holds(self, store: OnlineStore) -> None:
        """Create passes over tables that are there."""
        store.write(CARDS, [b"a"], [row(b"a", 1)])
        store.create([CARDS, "demo/new"])
        store.create([])
        assert store.read([(CARDS, [b"a"]), ("demo/new", [b"a"])]) == [[row(b"a", 1)], [None]]

    def test_what_counts_is_kept(self, store: OnlineStore) -> None:
        """Whatever a store lets go of: a record that counts is there, also when the span is raised or taken away."""
        now, hour = time.time_ns() // 1000, 3_600_000_000
        keys = [b"now", b"before"]
        records = [row(keys[0], now), row(keys[1], now - hour // 2)]
        for span in (hour, 2 * hour, None):
            store.keep({CARDS: span, "demo/not there yet": span})
            store.write(CARDS, keys, records)
            assert store.read([(CARDS, keys)]) == [records]
        store.keep({})
        assert store.read([(CARDS, keys)]) == [records]

    def test_a_dropped_table_is_gone(self, store: OnlineStore) -> None:
        """After a drop the table is missing, others are untouched, and a new one of its name is empty."""
        for table in (CARDS, SHOPS):
            store.write(table, [b"a", b"k" * 600], [row(b"a", 9), row(b"k" * 600, 9)])
        store.drop([CARDS, "demo/never there"])
        with pytest.raises(TableMissing, match=CARDS):
            store.read([(CARDS, [b"a"])])
        store.create([CARDS])
        assert store.scan(CARDS) == []
        assert store.write(CARDS, [b"a"], [row(b"a", 1)]) == 1
        assert [key for key, _ in store.scan(SHOPS)] == [b"a", b"k" * 600]

    def test_a_table_that_is_missing_is_named(self, store: OnlineStore) -> None:
        """Every use of a table that was not created is an error that names it, never an empty answer."""
        uses: list[Callable[[], object]] = [
            lambda: store.read([(CARDS, [b"a"]), ("demo/none", [b"a"])]),
            lambda: store.read([("demo/none", [])]),
            lambda: store.write("demo/none", [b"a"], [row(b"a", 1)]),
            lambda: store.write("demo/none", [], []),
            lambda: store.swap("demo/none", [b"a"], [None], [row(b"a", 1)]),
            lambda: store.swap("demo/none", [], [], []),
            lambda: store.scan("demo/none"),
        ]
        for use in uses:
            with pytest.raises(TableMissing, match="demo/none") as caught:
                use()
            assert "likewise apply" in str(caught.value)

    def test_tables_do_not_meet_whatever_their_names(self, store: OnlineStore) -> None:
        """Names that look alike, like SQL, like paths, or are very long, are tables of their own (T32)."""
        store.create(ODD_TABLES)
        for number, table in enumerate(ODD_TABLES):
            store.write(table, [b"k"], [row(b"k", 1, value=number)])
        found = store.read([(table, [b"k"]) for table in ODD_TABLES])
        assert found == [[row(b"k", 1, value=number)] for number in range(len(ODD_TABLES))]
        store.drop(ODD_TABLES[:1])
        assert store.read([(ODD_TABLES[1], [b"k"])]) == [[row(b"k", 1, value=1)]]

    def test_there_may_be_many_tables(self, store: OnlineStore) -> None:
        """Three hundred tables are created, used and dropped like one."""
        tables = [f"demo/view_{number}" for number in range(self.many(300, 12))]
        step = len(tables) // 6
        store.create(tables)
        for table in tables[::step]:
            store.write(table, [b"k"], [row(b"k", 1)])
        found = store.read([(table, [b"k"]) for table in tables])
        assert [number for number, (record,) in enumerate(found) if record is not None] == list(
            range(0, len(tables), step)
        )
        store.drop(tables)
        with pytest.raises(TableMissing):
            store.read([(tables[0], [b"k"])])

    # Write

    def test_a_written_record_is_stored_byte_for_byte(self, store: OnlineStore) -> None:
        """What was written is what is stored, seen around the store."""
        assert store.write(CARDS, [b"a", b"b"], [row(b"a", 1), row(b"b", 2)]) == 2
        assert self.raw_get(store, CARDS, b"a") == row(b"a", 1)
        assert self.raw_get(store, CARDS, b"b") == row(b"b", 2)
        assert self.raw_get(store, CARDS, b"c") is None
        assert self.raw_get(store, SHOPS, b"a") is None

    @pytest.mark.parametrize(
        ("held", "new", "wins"),
        [
            ((5, None), (6, None), True),
            ((5, None), (4, None), False),
            ((5, None), (5, None), True),
            ((5, 1), (5, 2), True),
            ((5, 2), (5, 1), False),
            ((5, 2), (5, 2), True),
            ((5, None), (5, -(2**62)), True),
            ((5, -(2**62)), (5, None), False),
            ((5, 9), (6, None), True),
            ((-1, None), (0, None), True),
            ((0, None), (-1, None), False),
            ((255, None), (256, None), True),
            ((-62_135_596_800_000_000, None), (253_402_300_799_999_999, None), True),
            ((253_402_300_799_999_999, None), (-62_135_596_800_000_000, None), False),
        ],
    )
    def test_newer_wins(
        self, store: OnlineStore, held: tuple[int, int | None], new: tuple[int, int | None], wins: bool
    ) -> None:
        """A record is written if and only if its (event time, created time) is not older (G2, S2, S7)."""
        before, after = row(b"k", *held, value=1), row(b"k", *new, value=2)
        self.raw_put(store, CARDS, b"k", before)
        assert store.write(CARDS, [b"k"], [after]) == int(wins)
        assert self.raw_get(store, CARDS, b"k") == (after if wins else before)

    def test_any_order_and_split_of_a_history_ends_the_same(self, store: OnlineStore) -> None:
        """All orders of four rows with three stamps, in one batch or in several, leave the newest (T10)."""
        stamps = [(1, 9), (2, 1), (2, 2), (0, 0)]
        history = [row(b"k", event, created, value=n) for n, (event, created) in enumerate(stamps)]
        for number, (order, cut) in enumerate(itertools.product(itertools.permutations(history), (0, 1, 2, 3))):
            table = f"demo/order_{number}"
            store.create([table])
            for part in (order[:cut], order[cut:]):
                store.write(table, [b"k"] * len(part), part)
            assert store.read([(table, [b"k"])]) == [[history[2]]], (order, cut)

    def test_of_equal_stamps_the_later_arrival_stays(self, store: OnlineStore) -> None:
        """Rows of one key and one stamp replace each other in the order in which they arrive (S2)."""
        store.write(CARDS, [b"k", b"k"], [row(b"k", 1, value=1), row(b"k", 1, value=2)])
        assert store.read([(CARDS, [b"k"])]) == [[row(b"k", 1, value=2)]]
        store.write(CARDS, [b"k"], [row(b"k", 1, value=3)])
        assert store.read([(CARDS, [b"k"])]) == [[row(b"k", 1, value=3)]]

    def test_write_counts_the_keys_that_changed(self, store: OnlineStore) -> None:
        """The count is of keys that got a record of the batch: older ones and repeats do not count."""
        store.write(CARDS, [b"a", b"b"], [row(b"a", 5), row(b"b", 5)])
        keys = [b"a", b"b", b"c", b"c", b"c"]
        assert store.write(CARDS, keys, [row(b"a", 4), row(b"b", 6), *(row(b"c", n) for n in (2, 3, 1))]) == 2
        assert store.write(CARDS, [], []) == 0
        assert store.read([(CARDS, [b"c"])]) == [[row(b"c", 3)]]

    def test_writing_again_changes_nothing(self, store: OnlineStore) -> None:
        """Replay is harmless: the same batch a second time leaves the same bytes."""
        keys = [b"%d" % n for n in range(100)]
        records = [row(key, n % 7) for n, key in enumerate(keys)]
        store.write(CARDS, keys, records)
        before = store.scan(CARDS)
        assert store.write(CARDS, keys, records) == 100
        assert store.scan(CARDS) == before

    def test_a_deleted_key_does_not_come_back(self, store: OnlineStore) -> None:
        """A tombstone hides rows up to its time, whenever they arrive; a later row is seen (T12)."""
        reader = RowReader(Layout(7, ("n",), (Int64,)))
        store.write(CARDS, [b"k"], [row(b"k", 5, value=1)])
        store.write(CARDS, [b"k"], [tombstone(b"k", 7)])
        for event in (5, 6, 7):
            assert store.write(CARDS, [b"k"], [row(b"k", event, 2**62, value=2)]) == 0
        assert reader.decode([b"k"], store.read([(CARDS, [b"k"])])[0]).absent == [0]
        assert store.write(CARDS, [b"k"], [row(b"k", 8, value=3)]) == 1
        assert reader.decode([b"k"], store.read([(CARDS, [b"k"])])[0]).columns == [[3]]

    def test_keys_of_any_bytes_and_length(self, store: OnlineStore) -> None:
        """Keys that begin alike, hold NUL or any byte, or have up to 64 KiB stay apart (T21, T26)."""
        records = [row(key, 1, value=n) for n, key in enumerate(ODD_KEYS)]
        assert store.write(CARDS, ODD_KEYS, records) == len(ODD_KEYS)
        assert store.read([(CARDS, ODD_KEYS)]) == [records]
        assert store.write(CARDS, ODD_KEYS, [row(key, 0) for key in ODD_KEYS]) == 0
        assert store.scan(CARDS) == sorted(zip(ODD_KEYS, records, strict=True))

    def test_records_of_any_size(self, store: OnlineStore) -> None:
        """Records of a few bytes to a megabyte replace each other; one that is too large is refused with its batch."""
        layout = Layout.of([("raw", Bytes)])
        writer = RowWriter(layout)
        for event, size in enumerate((0, 100, 2_000, 5_000, 1 << 20, 10, 70_000)):
            (record,) = writer.encode([b"k"], [event], None, [[b"x" * size]])
            if self.largest is not None and size > self.largest:
                before = store.read([(CARDS, [b"k", b"small"])])
                with pytest.raises(StoreError, match=f"{b'k'.hex()} of online table '{CARDS}'") as caught:
                    store.write(CARDS, [b"small", b"k"], [row(b"small", 1), record])
                assert not caught.value.transient
                assert store.read([(CARDS, [b"k", b"small"])]) == before
                continue
            assert store.write(CARDS, [b"k"], [record]) == 1
            assert store.read([(CARDS, [b"k"])]) == [[record]]

    def test_a_large_batch(self, store: OnlineStore) -> None:
        """Twenty thousand keys in no order are one batch."""
        keys = [b"%d" % n for n in range(self.many(20_000))]
        random.Random(7).shuffle(keys)
        assert store.write(CARDS, keys, [row(key, 1) for key in keys]) == len(keys)
        assert store.write(CARDS, keys, [row(key, n % 2 * 2) for n, key in enumerate(keys)]) == len(keys) // 2
        assert store.read([(CARDS, keys)]) == [[row(key, 2 if n % 2 else 1) for n, key in enumerate(keys)]]

    def test_keys_and_records_must_match(self, store: OnlineStore) -> None:
        """A batch with a record too few is refused as a whole."""
        with pytest.raises(ValueError, match="2 keys and 1 records"):
            store.write(CARDS, [b"a", b"b"], [row(b"a", 1)])
        assert store.scan(CARDS) == []

    # Swap

    def test_swap_writes_where_the_stored_record_is_the_expected_one(self, store: OnlineStore) -> None:
        """Each key is decided by itself: the expected record is replaced, also by an older one; others stay."""
        old = {key: row(key, 5) for key in (b"a", b"b", b"c")}
        for key, record in old.items():
            self.raw_put(store, CARDS, key, record)
        keys = [b"c", b"new", b"b", b"a", b"gone", b"d"]
        expected = [None, None, row(b"b", 5, value=6), old[b"a"], row(b"gone", 1), None]
        assert store.swap(CARDS, keys, expected, [row(key, 1, value=9) for key in keys]) == [0, 2, 4]
        found = {key: self.raw_get(store, CARDS, key) for key in keys}
        won = {key: row(key, 1, value=9) for key in (b"new", b"a", b"d")}
        assert found == {b"c": old[b"c"], b"b": old[b"b"], b"gone": None, **won}

    def test_swap_of_nothing_writes_nothing(self, store: OnlineStore) -> None:
        """A swap without keys is no error, and one that loses everything changes nothing."""
        store.write(CARDS, [b"a"], [row(b"a", 1)])
        assert store.swap(CARDS, [], [], []) == []
        assert store.swap(CARDS, [b"a"], [None], [row(b"a", 2)]) == [0]
        assert store.scan(CARDS) == [(b"a", row(b"a", 1))]

    def test_swap_replaces_records_by_tombstones_and_back(self, store: OnlineStore) -> None:
        """A tombstone is a record like any other to a swap, in both directions."""
        gone = tombstone(b"a", 7)
        assert store.swap(CARDS, [b"a"], [None], [gone]) == []
        assert store.swap(CARDS, [b"a"], [gone], [row(b"a", 1)]) == []
        assert store.read([(CARDS, [b"a"])]) == [[row(b"a", 1)]]

    def test_swap_takes_keys_of_any_bytes_and_length(self, store: OnlineStore) -> None:
        """Keys that begin alike, or are very long, are compared with records of their own (T26)."""
        first, second = ([row(key, at, value=n % 100) for n, key in enumerate(ODD_KEYS)] for at in (2, 1))
        assert store.swap(CARDS, ODD_KEYS, [None] * len(ODD_KEYS), first) == []
        assert store.swap(CARDS, ODD_KEYS, [None] * len(ODD_KEYS), second) == list(range(len(ODD_KEYS)))
        assert store.swap(CARDS, ODD_KEYS, first, second) == []
        assert store.scan(CARDS) == sorted(zip(ODD_KEYS, second, strict=True))
        store.check([CARDS])

    def test_swap_refuses_a_batch_that_does_not_fit(self, store: OnlineStore) -> None:
        """A key that stands twice, or a list that is too short, is refused as a whole."""
        records = [row(b"a", 1), row(b"a", 2)]
        with pytest.raises(ValueError, match="2 keys of which only 1 differ"):
            store.swap(CARDS, [b"a", b"a"], [None, None], records)
        with pytest.raises(ValueError, match="2 keys, 1 expected and 2 records"):
            store.swap(CARDS, [b"a", b"b"], [None], records)
        assert store.scan(CARDS) == []

    # Read

    def test_what_is_stored_is_read(self, store: OnlineStore) -> None:
        """Records put there around the store are read, in the order of the keys asked for, repeats included."""
        for key in (b"a", b"b", b"c"):
            self.raw_put(store, CARDS, key, row(key, 1))
        a, b, c = (row(key, 1) for key in (b"a", b"b", b"c"))
        assert store.read([(CARDS, [b"c", b"a", b"x", b"a", b"b"])]) == [[c, a, None, a, b]]

    def test_one_read_serves_many_tables(self, store: OnlineStore) -> None:
        """Requests are answered in their order, also two of one table, and none at all."""
        store.write(CARDS, [b"a"], [row(b"a", 1)])
        store.write(SHOPS, [b"a", b"b"], [row(b"a", 2), row(b"b", 3)])
        found = store.read([(SHOPS, [b"b"]), (CARDS, [b"a", b"b"]), (SHOPS, [b"a"]), (CARDS, [])])
        assert found == [[row(b"b", 3)], [row(b"a", 1), None], [row(b"a", 2)], []]
        assert store.read([]) == []

    def test_many_keys_at_once(self, store: OnlineStore) -> None:
        """Five thousand keys, every second one unknown, are one read."""
        keys = [b"%d" % n for n in range(self.many(5_000, 250))]
        store.write(CARDS, keys[::2], [row(key, 1) for key in keys[::2]])
        (found,) = store.read([(CARDS, keys)])
        assert found == [row(key, 1) if n % 2 == 0 else None for n, key in enumerate(keys)]

    def test_a_damaged_record_is_named(self, store: OnlineStore) -> None:
        """A record with one wrong bit, or of another key, is an error that names table and key, not a value."""
        store.write(CARDS, [b"good"], [row(b"good", 1)])
        reader = RowReader(Layout(7, ("n",), (Int64,)), table=CARDS, check_each=True)
        whole = row(b"key", 1)
        for bad in (whole[:30] + bytes([whole[30] ^ 4]) + whole[31:], row(b"kex", 1), whole[:-1]):
            self.raw_put(store, CARDS, b"key", bad)
            keys = [b"good", b"key"]
            with pytest.raises(RecordCorrupt, match=f"{b'key'.hex()} in online table '{CARDS}'"):
                reader.decode(keys, store.read([(CARDS, keys)])[0])
            with pytest.raises(RecordCorrupt):
                store.check([CARDS])
        store.write(CARDS, [b"key"], [row(b"key", 1)])
        store.check([CARDS, SHOPS])

    @pytest.mark.parametrize(("wanted", "values"), VALUES, ids=[str(wanted) for wanted, _ in VALUES])
    def test_values_keep_type_and_bits(self, store: OnlineStore, wanted: FeatureType, values: tuple[Any, ...]) -> None:
        """Every value of every type, and null, is read as it was written (T21)."""
        layout = Layout.of([("f", wanted)])
        given = [*values, None]
        keys = [b"%d" % n for n in range(len(given))]
        store.write(CARDS, keys, RowWriter(layout).encode(keys, [0] * len(given), None, [given]))
        found = RowReader(layout).decode(keys, store.read([(CARDS, keys)])[0]).columns[0]
        assert [bits(value) for value in found] == [bits(value) for value in given]

    # Scan

    def test_scan_is_in_the_order_of_keys(self, store: OnlineStore) -> None:
        """Pages of any size, put together, are the table in the order of its keys, each key once."""
        keys = sorted({*ODD_KEYS, *(b"%d" % n for n in range(self.many(50, 12)))})
        store.write(CARDS, keys, [row(key, 1) for key in keys])
        store.write(SHOPS, [b"other"], [row(b"other", 1)])
        wanted = [(key, row(key, 1)) for key in keys]
        for limit in (1, 7, len(keys), 10_000):
            found: list[tuple[bytes, bytes]] = []
            while page := store.scan(CARDS, found[-1][0] if found else None, limit):
                assert len(page) <= limit
                found += page
            assert found == wanted
        assert store.scan(CARDS, after=b"10a", limit=1) == [(b"11", row(b"11", 1))]

    def test_scan_shows_tombstones(self, store: OnlineStore) -> None:
        """A scan returns deleted keys too: whoever copies or verifies a table needs them."""
        store.write(CARDS, [b"a"], [tombstone(b"a", 7)])
        assert [(key, head_of(record).layout) for key, record in store.scan(CARDS)] == [(b"a", 0)]

    # One store, several hands

    def test_a_table_made_by_another_is_seen(self, open_again: Opener) -> None:
        """A store that was open before a table was made, dropped or made anew by another one sees that."""
        if not self.lasting:
            pytest.skip("each opening is a store of its own")
        with open_again() as first, open_again() as second:
            first.create([CARDS])
            second.write(CARDS, [b"a"], [row(b"a", 1)])
            assert first.read([(CARDS, [b"a"])]) == [[row(b"a", 1)]]
            second.drop([CARDS])
            with pytest.raises(TableMissing):
                first.read([(CARDS, [b"a"])])
            second.create([SHOPS, CARDS])
            assert first.read([(CARDS, [b"a"]), (SHOPS, [b"a"])]) == [[None], [None]]

    def test_it_is_the_same_after_reopening(self, open_again: Opener) -> None:
        """What was written is there after the store was closed and opened anew."""
        if not self.lasting:
            pytest.skip("this store ends with its process")
        keys = [b"a", b"k" * 600]
        with open_again() as store:
            store.create([CARDS])
            store.write(CARDS, keys, [row(key, 1) for key in keys])
        with open_again() as store:
            assert store.read([(CARDS, keys)]) == [[row(key, 1) for key in keys]]
            assert store.write(CARDS, keys, [row(key, 0) for key in keys]) == 0
            store.check([CARDS])

    def test_a_closed_store_says_so(self, open_again: Opener) -> None:
        """Closing twice is fine; any use after that is an error that says what happened."""
        store = open_again()
        store.create([CARDS])
        store.close()
        store.close()
        uses: list[Callable[[], object]] = [
            lambda: store.read([(CARDS, [b"a"])]),
            lambda: store.write(CARDS, [], []),
            lambda: store.swap(CARDS, [], [], []),
            lambda: store.scan(CARDS),
            lambda: store.create([CARDS]),
            lambda: store.drop([CARDS]),
        ]
        for use in uses:
            with pytest.raises(StoreClosed, match="closed"):
                use()

    def test_a_reader_sees_whole_batches_of_one_moment(self, store: OnlineStore) -> None:
        """While a thread writes, every read sees each batch whole, and tables as they were at one moment (G1)."""
        if not self.one_moment:
            pytest.skip("keys lie on many servers")
        keys = [b"%d" % n for n in range(60)]
        done = threading.Event()

        def write(first: int, last: int) -> None:
            for event in range(first, last + 1):
                for table in (CARDS, SHOPS):
                    store.write(table, keys, [row(key, event) for key in keys])
            done.set()

        write(0, 0)
        done.clear()
        seen = set()
        with switching_often(), concurrent.futures.ThreadPoolExecutor(1) as pool:
            writing = pool.submit(write, 1, 150)
            while not done.is_set() and not writing.done():
                cards, shops = store.read([(CARDS, keys), (SHOPS, keys[::-1])])
                first, second = moment(cards), moment(shops)
                assert second in (first, first - 1), "the shops are written after the cards"
                seen.add(first)
            writing.result()
        assert len(seen) > 1, "no read fell between two writes"

    def test_threads_share_one_store(self, store: OnlineStore) -> None:
        """Eight threads write shuffled histories of the same keys to one store; the newest of each stays (T9)."""
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            rounds, keys = self.many(40, 3), self.many(300, 30)
            for each in [pool.submit(write_history, store, worker, rounds, keys) for worker in range(8)]:
                each.result(100)
        assert_newest(store, keys)

    def test_processes_share_one_store(self, open_again: Opener) -> None:
        """Three writers of their own write shuffled histories of the same keys; no stale winner is left (T9, T10)."""
        if not self.processes:
            pytest.skip("the store belongs to one process")
        with open_again() as store:
            store.create([CARDS])
        with concurrent.futures.ProcessPoolExecutor(3, new_processes()) as pool:
            rounds, keys = self.many(30, 3), self.many(300, 30)
            workers = [pool.submit(open_and_write_history, open_again, worker, rounds, keys) for worker in range(3)]
            for each in workers:
                each.result(100)
        with open_again() as store:
            assert_newest(store, keys)

    def test_threads_that_swap_lose_nothing(self, store: OnlineStore) -> None:
        """Six threads add to the same counters by read and swap; every addition is in the sums."""
        with switching_often(), concurrent.futures.ThreadPoolExecutor(6) as pool:
            rounds = self.many(60, 6)
            for each in [pool.submit(add_to_counters, store, worker, rounds) for worker in range(6)]:
                each.result(100)
        assert counted(store) == 6 * rounds * len(COUNTERS) // 2

    def test_processes_that_swap_lose_nothing(self, open_again: Opener) -> None:
        """Four processes add to the same counters by read and swap; every addition is in the sums."""
        if not self.processes:
            pytest.skip("the store belongs to one process")
        with open_again() as store:
            store.create([CARDS])
        with concurrent.futures.ProcessPoolExecutor(4, new_processes()) as pool:
            rounds = self.many(100, 6)
            for each in [pool.submit(open_and_add_to_counters, open_again, worker, rounds) for worker in range(4)]:
                each.result(100)
        with open_again() as store:
            assert counted(store) == 4 * rounds * len(COUNTERS) // 2
            store.check([CARDS])

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
    def test_a_killed_writer_leaves_whole_batches(self, open_again: Opener, tmp_path: Path) -> None:
        """Killed at random moments of writing, the store holds all of a batch or none, and all that was told (T1)."""
        if not self.processes or not self.one_moment:
            pytest.skip("the store belongs to one process, or keys lie on many servers")
        keys = [b"%d" % n for n in range(400)]
        with open_again() as store:
            store.create([CARDS])
            store.write(CARDS, keys, [row(key, 0) for key in keys])
        random_moment = random.Random(7)
        for _ in range(5):
            told = tmp_path / "told"
            told.write_text("0")
            context = new_processes()
            writer = context.Process(target=write_until_killed, args=(open_again, keys, str(told)))
            writer.start()
            while told.read_text() in ("", "0"):
                assert writer.is_alive()
                time.sleep(0.001)
            time.sleep(random_moment.random() / 10)
            os.kill(writer.pid or 0, signal.SIGKILL)
            writer.join()
            with open_again() as store:
                assert moment(store.read([(CARDS, keys)])[0]) >= int(told.read_text() or 0)
                store.check([CARDS])

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")
    @pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
    def test_a_forked_process_can_use_the_store(self, store: OnlineStore) -> None:
        """A child that was forked with the store open reads and writes, and the parent goes on as before."""
        if not self.processes:
            pytest.skip("the store belongs to one process")
        store.write(CARDS, [b"a"], [row(b"a", 1)])
        child = os.fork()
        if child == 0:
            good = False
            try:
                good = store.read([(CARDS, [b"a"])]) == [[row(b"a", 1)]]
                good = good and store.write(CARDS, [b"a", b"child"], [row(b"a", 2), row(b"child", 2)]) == 2
            finally:
                os._exit(0 if good else 1)
        for event in range(3, 50):
            store.write(CARDS, [b"parent"], [row(b"parent", event)])
        assert os.waitpid(child, 0)[1] == 0
        assert store.read([(CARDS, [b"a", b"child", b"parent"])]) == [
            [row(b"a", 2), row(b"child", 2), row(b"parent", 49)]
        ]
        store.check([CARDS])

    def test_it_behaves_like_a_dict(self, tmp_path: Path) -> None:
        """Any sequence of creates, drops, writes, deletes, reads, scans and reopenings has a plain model's outcome."""
        folders = (tmp_path / f"run_{n}" for n in range(1_000_000))

        def fresh() -> Opener:
            folder = next(folders)
            folder.mkdir()
            return self.opener(folder)

        run_online_model(fresh, lasting=self.lasting, examples=self.examples)


def new_processes() -> Any:
    """Return what makes processes that share nothing with this one; where it can be, from one that has imported all."""
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


@contextlib.contextmanager
def switching_often() -> Iterator[None]:
    """Let threads take turns every few instructions, so that one is seen half-way through what it does."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def row(key: bytes, event: int, created: int | None = None, *, value: int = 5) -> bytes:
    """Return a record of one int."""
    return record_of(key, event, created, value)


def moment(records: Sequence[bytes | None]) -> int:
    """Return the event time that all of some records have."""
    (event,) = {None if record is None else head_of(record).event for record in records}
    assert event is not None
    return event


def bits(value: Any) -> Any:
    """Return what tells values apart that compare as equal, such as 1, 1.0 and True, or 0.0 and -0.0."""
    if isinstance(value, float):
        return "float", value.hex()
    if isinstance(value, list):
        return [bits(item) for item in value]
    if isinstance(value, set):
        return "set", sorted(map(repr, value))
    if isinstance(value, dict):
        return {name: bits(item) for name, item in value.items()}
    if isinstance(value, datetime):
        return value.replace(tzinfo=None), value.utcoffset() == timedelta(0)
    return type(value).__name__, str(value) if isinstance(value, Number) else value


# What writers do, in threads or processes

SHARED_KEYS = [b"%d" % n for n in range(300)]


def write_history(store: OnlineStore, worker: int, batches: int = 30, shared: int = 300) -> None:
    """Write a shuffled history of the same keys: each worker has its own event times, the last one the greatest."""
    events = random.Random(worker)
    for _ in range(batches):
        keys = events.sample(SHARED_KEYS[:shared], shared // 3)
        store.write(CARDS, keys, [row(key, events.randrange(10**6)) for key in keys])
    keys = events.sample(SHARED_KEYS[:shared], shared)
    store.write(CARDS, keys, [row(key, 10**6 + worker) for key in keys])


def open_and_write_history(open_again: Opener, worker: int, batches: int = 30, shared: int = 300) -> None:
    """Open the store, then :func:`write_history`."""
    with open_again() as store:
        write_history(store, worker, batches, shared)


def assert_newest(store: OnlineStore, shared: int = 300) -> None:
    """Every key has the last row of the last worker, whoever was done last."""
    events = {head_of(record).event for _, record in store.scan(CARDS)}
    assert len(store.scan(CARDS)) == shared
    assert len(events) == 1
    assert events.pop() > 10**6


COUNTERS = [b"a", b"b", b"k" * 600, b"z"]


def add_to_counters(store: OnlineStore, worker: int, rounds: int) -> None:
    """Add 1 to two counters, again and again; what others changed meanwhile is read and added to once more."""
    order = random.Random(worker)
    for _ in range(rounds):
        keys: Sequence[bytes] = order.sample(COUNTERS, len(COUNTERS) // 2)
        while keys:
            [held] = store.read([(CARDS, keys)])
            sums = [1 if record is None else head_of(record).event + 1 for record in held]
            lost = store.swap(CARDS, keys, held, [row(key, now) for key, now in zip(keys, sums, strict=True)])
            keys = [keys[position] for position in lost]


def open_and_add_to_counters(open_again: Opener, worker: int, rounds: int) -> None:
    """Open the store, then :func:`add_to_counters`."""
    with open_again() as store:
        add_to_counters(store, worker, rounds)


def counted(store: OnlineStore) -> int:
    """Return the sum of all counters."""
    return sum(head_of(record).event for _, record in store.scan(CARDS))


def write_until_killed(open_again: Opener, keys: Sequence[bytes], told: str) -> None:
    """Write batches that all have one event time, and tell each time after its batch was written."""
    file = os.open(told, os.O_WRONLY)
    try:
        with open_again() as store:
            begin = moment(store.read([(CARDS, keys)])[0])
            for event in itertools.count(begin + 1):
                store.write(CARDS, keys, [row(key, event) for key in keys])
                os.pwrite(file, b"%d" % event, 0)
    except StoreError:
        os._exit(3)
