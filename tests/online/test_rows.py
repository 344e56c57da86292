import contextlib
import math
import struct
import uuid
from datetime import UTC, datetime
from decimal import Decimal as Number
from typing import Any
from zlib import crc32

import hypothesis.strategies as st
import msgspec
import pyarrow as pa
import pytest
from hypothesis import given

from likewise.core.errors import InvalidTime, InvalidType, RecordCorrupt, SourceDrift, StoreTooNew
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
    Invalid,
    Map,
    Set,
    String,
    Struct,
    UnixTimestamp,
    Uuid,
)
from likewise.online import rows
from likewise.online.rows import Layout, RowReader, RowWriter, head_of, is_whole, tombstone
from likewise.testing.online_suite import VALUES, bits

KEY = b"\1\2key"
T = datetime(2024, 1, 1, tzinfo=UTC)
POINT = Struct({"lat": Float64, "at": UnixTimestamp})
# (type, value, its bytes in a record): frozen, as long as the format is 1.
GOLDEN = [
    (Bool, True, "c3"),
    (Bool, None, "c0"),
    (Int64, 5, "05"),
    (Int64, 200, "cc c8"),
    (Int64, -1, "ff"),
    (Int64, -(2**63), "d3 80 00 00 00 00 00 00 00"),
    (Int64, 2**63 - 1, "cf 7f ff ff ff ff ff ff ff"),
    (Float64, 1.5, "cb 3f f8 00 00 00 00 00 00"),
    (Float64, -0.0, "cb 80 00 00 00 00 00 00 00"),
    (Float32, 0.1, "cb 3f b9 99 99 a0 00 00 00"),
    (String, "ä", "a2 c3 a4"),
    (Bytes, b"\0", "c4 01 00"),
    (UnixTimestamp, T, "cf 00 06 0d d7 10 21 20 00"),
    (Uuid, uuid.UUID(int=1), "c4 10 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01"),
    (Decimal, Number("1.1"), "b4 31 2e 31 30 30 30 30 30 30 30 30 30 30 30 30 30 30 30 30 30"),
    (Array(Int64), [1, None], "92 01 c0"),
    (Array(UnixTimestamp), [T], "91 cf 00 06 0d d7 10 21 20 00"),
    (Set(Int64), {2, 1, -1}, "93 ff 01 02"),
    (Set(String), {"b", "a"}, "92 a1 61 a1 62"),
    (Map, {"k": "v"}, "81 a1 6b a1 76"),
    (POINT, {"lat": 0.5, "at": T}, "82 a3 6c 61 74 cb 3f e0 00 00 00 00 00 00 a2 61 74 cf 00 06 0d d7 10 21 20 00"),
]


def one(wanted, value, event=0, created=None):
    """Return the record of one value."""
    return RowWriter(Layout.of([("f", wanted)])).encode([KEY], [event], [created], [[value]])[0]


# Bytes


@pytest.mark.parametrize(("wanted", "value", "expected"), GOLDEN)
def test_the_bytes_of_a_value_never_change(wanted, value, expected):
    """Each type has the bytes that format 1 gave it."""
    assert one(wanted, value)[27:-5].hex(" ") == expected


def test_the_bytes_of_a_record_never_change():
    """Head, values and check sum stand where format 1 put them."""
    layout = Layout.of([("count", Int64), ("city", String)])
    (record,) = RowWriter(layout).encode([KEY], [1_704_067_200_000_000], [7], [[7], ["Rome"]])
    assert record.hex(" ") == (
        "dc 00 07 01 ce 37 76 6a b6 cf 80 06 0d d7 10 21 20 00 cf 80 00 00 00 00 00 00 07 07 a4 52 6f 6d 65 "
        "ce 1f f9 21 f5"
    )
    assert record[-4:] == crc32(KEY + record[:-4]).to_bytes(4, "little")
    assert msgspec.msgpack.decode(record)[1:-1] == [layout.id, 1_704_067_200_000_000 + 2**63, 7 + 2**63, 7, "Rome"]


def test_the_bytes_of_a_tombstone_never_change():
    """A deleted key is a record without values, of layout 0, later than all rows of its time."""
    record = tombstone(KEY, 7)
    assert record.hex(" ") == (
        "dc 00 05 01 ce 00 00 00 00 cf 80 00 00 00 00 00 00 07 cf ff ff ff ff ff ff ff ff ce 2f 63 14 c7"
    )
    assert record[9:27] > one(Int64, 1, event=7, created=2**50)[9:27]
    assert record[9:27] < one(Int64, 1, event=8)[9:27]


def test_the_id_of_a_layout_never_changes():
    """A layout is known by 32 bits of a hash of its names and types, in their order."""
    assert hex(Layout.of([("amount", Float64), ("count", Int64)]).id) == "0xa54fb9e6"
    assert hex(Layout.of([("count", Int64), ("amount", Float64)]).id) == "0x88b3bd19"
    assert hex(Layout.of([("ä", Array(String))]).id) == "0x2edfbb4e"
    assert hex(Layout.of([]).id) == "0x4f53cda1"


def test_python_and_arrow_make_the_same_bytes():
    """The batch path and the path of Python values write one record the same."""
    for wanted, values in VALUES:
        given = [*values, None]
        writer = RowWriter(Layout.of([("f", wanted)]))
        keys = [b"%d" % n for n in range(len(given))]
        events = pa.array(range(len(given)), pa.int64()).cast(pa.timestamp("us", "UTC"))
        from likewise.online.columns import ColumnWriter

        column = ColumnWriter("f", wanted).array(given)
        by_arrow = writer.encode_arrow(keys, events, None, [pa.chunked_array([column[:1], column[1:]])])
        assert by_arrow == writer.encode(keys, list(range(len(given))), None, [given])


# Stamps


@given(
    st.lists(st.tuples(st.integers(-(2**50), 2**50), st.one_of(st.none(), st.integers(-(2**50), 2**50))), min_size=2)
)
def test_stamps_sort_as_their_times(stamps):
    """Bytes 9 to 26 of records sort as (event time, created time), no created time before any."""
    writer = RowWriter(Layout.of([]))
    events, created = [event for event, _ in stamps], [made for _, made in stamps]
    records = writer.encode([KEY] * len(stamps), events, created, [])
    by_bytes = sorted(range(len(stamps)), key=lambda n: records[n][9:27])
    by_times = sorted(range(len(stamps)), key=lambda n: (events[n], -(2**63) if created[n] is None else created[n]))
    assert by_bytes == by_times
    assert [head_of(record) for record in records] == [
        rows.Head(writer.layout.id, event, made) for event, made in stamps
    ]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_of_any_unit(unit):
    """Event and created times of any unit, naive or not, become microseconds, cut off downwards (S1)."""
    scale = {"s": 1, "ms": 1000, "us": 10**6, "ns": 10**9}[unit]
    times = pa.array([scale, -scale, -1 if unit == "ns" else 0], pa.timestamp(unit))
    made = pa.array([None, scale, 0], pa.timestamp(unit, "Europe/Rome"))
    records = RowWriter(Layout.of([])).encode_arrow([KEY] * 3, times, made, [])
    last = -1 if unit == "ns" else 0
    assert [(head_of(r).event, head_of(r).created) for r in records] == [(10**6, None), (-(10**6), 10**6), (last, 0)]


def test_a_row_needs_an_event_time():
    """A null event time, and times outside the years 1 to 9999, are refused by row."""
    writer = RowWriter(Layout.of([]))
    with pytest.raises(InvalidTime, match="row 1 has no event time"):
        writer.encode([KEY, KEY], [1, None], None, [])
    with pytest.raises(InvalidTime, match="row 0: the time 9"):
        writer.encode([KEY], [2**63 - 1], None, [])
    with pytest.raises(InvalidTime, match="the created time, row 0"):
        writer.encode([KEY], [0], [-(2**63) + 1], [])


# There and back


@pytest.mark.parametrize(("wanted", "values"), VALUES, ids=[str(wanted) for wanted, _ in VALUES])
def test_values_keep_type_and_bits(wanted, values):
    """Every value, beside others and beside nulls, comes back with its type and bits (T21)."""
    given = [None, *values, None]
    layout = Layout.of([("before", Int64), ("f", wanted), ("after", String)])
    keys = [b"%d" % n for n in range(len(given))]
    columns = [list(range(len(given))), given, ["x"] * len(given)]
    records = RowWriter(layout).encode(keys, [0] * len(given), None, columns)
    found = RowReader(layout).decode(keys, records)
    assert [[bits(value) for value in column] for column in found.columns] == [[bits(v) for v in c] for c in columns]
    again = RowWriter(layout).encode(keys, [0] * len(given), None, found.columns)
    assert again == records


def test_float_bits_survive():
    """NaNs keep their payload, zeros their sign."""
    payload = struct.unpack("<d", bytes.fromhex("efbeadde0000f87f"))[0]
    found = RowReader(Layout.of([("f", Float64)])).decode([KEY], [one(Float64, payload)]).columns[0][0]
    assert struct.pack("<d", found).hex() == "efbeadde0000f87f"
    (zero,) = RowReader(Layout.of([("f", Float64)])).decode([KEY], [one(Float64, -0.0)]).columns[0]
    assert math.copysign(1, zero) == -1


@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
            st.one_of(st.none(), st.floats()),
            st.one_of(st.none(), st.text(st.characters(codec="utf-8"))),
            st.one_of(st.none(), st.lists(st.one_of(st.none(), st.binary()))),
            st.one_of(st.none(), st.datetimes(timezones=st.just(UTC))),
        )
    )
)
def test_any_rows_come_back(given_rows):
    """Generated rows are read as they were written, in any batch."""
    layout = Layout.of([("a", Int64), ("b", Float64), ("c", String), ("d", Array(Bytes)), ("e", UnixTimestamp)])
    columns = [list(column) for column in zip(*given_rows, strict=True)] or [[]] * 5
    keys = [b"%d" % n for n in range(len(given_rows))]
    records = RowWriter(layout).encode(keys, [5] * len(keys), None, columns)
    found = RowReader(layout).decode(keys, records)
    assert [[bits(value) for value in column] for column in found.columns] == [[bits(v) for v in c] for c in columns]
    assert list(found.events) == [5] * len(keys)


@pytest.mark.parametrize("count", [0, 1, 10, 11, 14, 15, 16, 300, 5000])
def test_any_number_of_features(count):
    """A view of no feature and one of 5,000 are written and read (T24)."""
    layout = Layout.of([(f"f{n}", Int64) for n in range(count)])
    records = RowWriter(layout).encode([KEY, b"other"], [1, 2], None, [[n, None] for n in range(count)])
    found = RowReader(layout).decode([KEY, b"other"], records)
    assert [list(column) for column in found.columns] == [[n, None] for n in range(count)]
    assert (list(found.events), found.events[1], len(found.events), found.span) == ([1, 2], 2, 2, (1, 2))
    assert all(is_whole(key, record) for key, record in zip([KEY, b"other"], records, strict=True))


def test_too_many_features_are_refused():
    """A view of more features than a record can hold is an error, not a broken record."""
    with pytest.raises(InvalidType, match="65531 features are too many"):
        Layout.of([(f"f{n}", Int64) for n in range(65_531)])


def test_more_rows_than_are_encoded_at_a_time():
    """Batches are cut into parts; every row is there, in order."""
    count = 10_000
    layout = Layout.of([("n", Int64)])
    keys = [b"%d" % n for n in range(count)]
    events = pa.array(range(count), pa.int64()).cast(pa.timestamp("us"))
    records = RowWriter(layout).encode_arrow(keys, events, events, [pa.array(range(count))])
    found = RowReader(layout).decode(keys, records)
    assert list(found.columns[0]) == list(found.events) == list(range(count))


# What does not fit


@pytest.mark.parametrize(
    ("wanted", "value"),
    [
        (Int64, 1.5),
        (Int64, True),
        (Int64, "1"),
        (Int64, 2**63),
        (Int32, 2**31),
        (Float64, "1"),
        (Float64, 2**53 + 1),
        (String, 1),
        (Bool, 1),
        (UnixTimestamp, "yesterday"),
        (Uuid, "x"),
        (Decimal, "x"),
        (Decimal, Number("1e30")),
        (Array(Int64), [1.5]),
        (Array(Int64), [True]),
        (Array(String), "abc"),
        (Array(UnixTimestamp), ["x"]),
        (Set(Int64), [1.5]),
        (POINT, {"lat": "x"}),
    ],
)
def test_values_of_another_type_are_refused(wanted, value):
    """A value that is not of its feature's type is named with the feature; nothing is cut or guessed."""
    with pytest.raises(SourceDrift, match=r"feature 'f'(, row 0: .* does| has values that do) not fit"):
        one(wanted, value)


def test_columns_of_another_type_are_refused():
    """An Arrow column that does not fit its feature is named, with the row."""
    writer = RowWriter(Layout.of([("f", Int64)]))
    times = pa.array([0, 0], pa.timestamp("us"))
    with pytest.raises(SourceDrift, match=r"feature 'f', row 1: 1\.5 does not fit Int64"):
        writer.encode_arrow([KEY, KEY], times, None, [pa.array([1.0, 1.5])])
    with pytest.raises(SourceDrift, match="feature 'f' holds string, not Int64"):
        writer.encode_arrow([KEY, KEY], times, None, [pa.array(["1", "2"])])
    with pytest.raises(InvalidType):
        RowWriter(Layout.of([("f", Invalid)]))


def test_values_that_say_the_same_are_taken():
    """Whole floats, ISO text, naive times, UUID text and lists for sets become the feature's type."""
    layout = Layout.of([("i", Int64), ("t", UnixTimestamp), ("u", Uuid), ("s", Set(Int64)), ("f", Float64)])
    values = [[1.0], ["2024-01-01"], [str(uuid.UUID(int=5))], [[3, 1, 3]], [7]]
    records = RowWriter(layout).encode([KEY], [0], None, values)
    assert [column[0] for column in RowReader(layout).decode([KEY], records).columns] == [
        1,
        T,
        uuid.UUID(int=5),
        {1, 3},
        7.0,
    ]


# Reading what is not quite there


def test_gaps_and_deleted_keys_are_absent():
    """Rows without a record, or with a tombstone, are listed; the others keep their place."""
    layout = Layout.of([("n", Int64), ("t", UnixTimestamp)])
    keys = [b"a", b"b", b"c", b"d", b"e"]
    a, c = RowWriter(layout).encode([b"a", b"c"], [1, 3], None, [[10, 30], [T, None]])
    reader = RowReader(layout)
    gaps = reader.decode(keys, [a, None, c, None, None])
    assert [list(column) for column in gaps.columns] == [[10, None, 30, None, None], [T, None, None, None, None]]
    assert (list(gaps.events), gaps.absent) == ([1, None, 3, None, None], [1, 3, 4])
    deleted = reader.decode(keys, [a, tombstone(b"b", 7), c, None, tombstone(b"e", 9)])
    assert deleted == gaps
    nothing = reader.decode(keys[:2], [None, None])
    assert nothing == rows.Decoded([[None, None], [None, None]], [None, None], None, [0, 1])
    assert reader.decode([], []) == rows.Decoded([[], []], [], None, [])
    assert (gaps.span, deleted.span) == ((1, 3), (1, 3))


def test_only_wanted_features_are_returned():
    """Columns come in the order asked for; the others are left out; unknown names are errors."""
    layout = Layout.of([("a", Int64), ("b", String), ("c", UnixTimestamp)])
    records = RowWriter(layout).encode([KEY], [0], None, [[1], ["x"], [T]])
    assert [list(c) for c in RowReader(layout, ["c", "a", "c"]).decode([KEY], records).columns] == [[T], [1], [T]]
    keys_only = RowReader(layout, []).decode([KEY], records)
    assert (keys_only.columns, list(keys_only.events), keys_only.span, keys_only.absent) == ([], [0], (0, 0), ())
    with pytest.raises(KeyError):
        RowReader(layout, ["z"])


def test_records_of_an_older_layout_give_what_they_have():
    """After a view changed, its older records give the features they share with it; the rest is not found."""
    older = Layout.of([("gone", Int64), ("kept", String), ("wider", Int32), ("retyped", Int64)])
    newer = Layout.of([("added", Int64), ("kept", String), ("wider", Int64), ("retyped", String)])
    (old,) = RowWriter(older).encode([b"old"], [1], None, [[1], ["x"], [7], [9]])
    (new,) = RowWriter(newer).encode([b"new"], [2], None, [[5], ["y"], [2**40], ["z"]])
    reader = RowReader(newer, resolve={older.id: older}.get)
    found = reader.decode([b"old", b"gap", b"new"], [old, None, new])
    assert [list(column) for column in found.columns] == [
        [None, None, 5],
        ["x", None, "y"],
        [7, None, 2**40],
        [None, None, "z"],
    ]
    assert (list(found.events), found.span) == ([1, None, 2], (1, 2))
    assert (found.absent, found.unknown, found.strange) == ([1], {0: [0], 3: [0]}, ())


def test_records_of_a_layout_that_nobody_knows_are_listed():
    """A record whose layout is not in the view's history gives nothing, and says so; it is asked for again later."""
    other, mine = Layout.of([("x", Int64)]), Layout.of([("y", Int64)])
    known = {}
    (record,) = RowWriter(other).encode([KEY], [1], None, [[1]])
    reader = RowReader(mine, resolve=known.get)
    found = reader.decode([KEY], [record])
    assert (found.absent, found.unknown, found.strange) == ([], {0: [0]}, (other.id,))
    assert list(found.events) == [1]
    known[other.id] = Layout(other.id, ("y",), (Int64,))
    assert reader.decode([KEY], [record]).columns == [[1]]


# Damage


def test_every_wrong_bit_is_found():
    """Whatever single bit of a record is wrong, reading it is an error that names table and key (T5)."""
    layout = Layout.of([("n", Int64), ("s", String), ("f", Float64)])
    good, bad = RowWriter(layout).encode([b"good", KEY], [1, 1], [2, 2], [[7, 7], ["Rome", "Rome"], [0.5, 0.5]])
    reader = RowReader(layout, table="demo/cards", check_each=True)
    for bit in range(8 * len(bad)):
        damaged = bytearray(bad)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RecordCorrupt, match=f"{KEY.hex()} in online table 'demo/cards'") as caught:
            reader.decode([b"good", KEY], [good, bytes(damaged)])
        assert "rebuild" in str(caught.value)


def test_a_record_cut_short_or_of_another_key_is_found():
    """A record that lost its end, or that the store returned for another key, is an error."""
    layout = Layout.of([("n", Int64)])
    (record,) = RowWriter(layout).encode([KEY], [1], None, [[7]])
    reader = RowReader(layout, check_each=True)
    short = [(KEY, record[:size]) for size in range(len(record))]
    for key, stored in [*short, (b"other", record), (KEY, record + b"x")]:
        with pytest.raises(RecordCorrupt):
            reader.decode([key], [stored])


def test_without_checks_a_wrong_bit_outside_of_the_values_is_found():
    """A reader that does not check each record still finds damage to the head, and never ends in another error."""
    layout = Layout.of([("n", Int64), ("s", String), ("f", Float64)])
    (record,) = RowWriter(layout).encode([KEY], [1], [2], [[7], ["Rome"], [0.5]])
    reader = RowReader(layout)
    for bit in range(8 * len(record)):
        damaged = bytearray(record)
        damaged[bit // 8] ^= 1 << bit % 8
        if bit < 8 * 9:
            with pytest.raises(RecordCorrupt):
                reader.decode([KEY], [bytes(damaged)])
        else:
            with contextlib.suppress(RecordCorrupt):
                reader.decode([KEY], [bytes(damaged)])
    for key, stored in [(KEY, record[:size]) for size in range(len(record))]:
        with pytest.raises(RecordCorrupt):
            reader.decode([key], [stored])


def test_a_wrong_bit_touches_no_other_record():
    """Without checks, whatever bit of a record is wrong, those read with it keep their values, or all are refused."""
    layout = Layout.of([("n", Int64), ("s", String), ("t", Array(Int64)), ("b", Bytes), ("z", Int64)])
    # With a length of 0 in place of 8 these are seven numbers, and an array of eight items, which go on into the next.
    astray = b"\1\2\3\4\5\6\7\x98"
    columns = [
        [1, 2**40, -(2**40)],
        ["a", "bc", "d" * 40],
        [[1], [2, None], []],
        [astray, astray, b""],
        [None, 7, None],
    ]
    keys = [b"a", b"b", b"c"]
    records = RowWriter(layout).encode(keys, [1, 2, 3], [None, 7, None], columns)
    reader = RowReader(layout)
    refused = 0
    for row, record in enumerate(records):
        others = [number for number in range(3) if number != row]
        for bit in range(8 * len(record)):
            damaged = bytearray(record)
            damaged[bit // 8] ^= 1 << bit % 8
            try:
                found = reader.decode(keys, [*records[:row], bytes(damaged), *records[row + 1 :]])
            except RecordCorrupt:
                refused += 1
                continue
            assert [[c[n] for n in others] for c in found.columns] == [[c[n] for n in others] for c in columns]
            assert [found.events[n] for n in others] == [n + 1 for n in others]
    assert refused > 3 * 8 * 10


def test_a_newer_format_is_named():
    """A whole record of format 2 is not taken for damage: the error says which format and what to do (T6)."""
    layout = Layout.of([("n", Int64)])
    (record,) = RowWriter(layout).encode([KEY], [1], None, [[7]])
    newer = record[:3] + b"\2" + record[4:-4]
    newer += crc32(KEY + newer).to_bytes(4, "little")
    with pytest.raises(StoreTooNew, match="has format 2, and this version of Likewise reads 1"):
        RowReader(layout).decode([KEY], [newer])
    assert not is_whole(KEY, newer)
    assert is_whole(KEY, record)


@pytest.mark.parametrize(("kind", "value"), [(Float32, 1e300), (Array(Float32), [1.0, -1e300])], ids=str)
def test_a_float_beyond_float32_is_refused(kind: FeatureType, value: Any) -> None:
    """Python's own values never become infinite either; infinity stays what it is."""
    with pytest.raises(SourceDrift, match=r"feature 'x', row 1: .* does not fit"):
        RowWriter(Layout.of([("x", kind)])).encode([b"a", b"b"], [0, 0], None, [[None, value]])
    writer = RowWriter(Layout.of([("y", Float32)]))
    assert len(writer.encode([b"a"], [0], None, [[float("inf")]])) == 1
