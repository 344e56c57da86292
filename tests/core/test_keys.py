import decimal
import itertools
import math
import re
import struct
import uuid
from datetime import UTC, date, datetime, timedelta, timezone

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given

from likewise.core.errors import EntityKeyError, InvalidType, StoreCorrupt, StoreTooNew
from likewise.core.keys import KeyCodec, coerce, coerce_column, decode_key, key_tags, plain_decimal
from likewise.core.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
    Float32,
    Float64,
    Int32,
    Int64,
    Json,
    Map,
    String,
    TimeUuid,
    UnixTimestamp,
    Uuid,
)

D = decimal.Decimal
U = uuid.UUID("12345678-1234-5678-1234-567812345678")

# The format, frozen: these bytes may never change for version 01.
GOLDEN = [
    (Bool, False, "01 01 00"),
    (Bool, True, "01 01 01"),
    (Int64, 0, "01 02 80 00 00 00 00 00 00 00"),
    (Int64, 1, "01 02 80 00 00 00 00 00 00 01"),
    (Int32, 1, "01 02 80 00 00 00 00 00 00 01"),
    (Int64, -1, "01 02 7f ff ff ff ff ff ff ff"),
    (Int64, 2**63 - 1, "01 02 ff ff ff ff ff ff ff ff"),
    (Int64, -(2**63), "01 02 00 00 00 00 00 00 00 00"),
    (Float64, 1.0, "01 03 bf f0 00 00 00 00 00 00"),
    (Float64, -1.0, "01 03 40 0f ff ff ff ff ff ff"),
    (Float64, 0.0, "01 03 80 00 00 00 00 00 00 00"),
    (Float64, -0.0, "01 03 80 00 00 00 00 00 00 00"),
    (Float64, math.inf, "01 03 ff f0 00 00 00 00 00 00"),
    (Float32, 0.10000000149011612, "01 03 bf b9 99 99 a0 00 00 00"),
    (String, "", "01 04 00 00 00 00"),
    (String, "1", "01 04 00 00 00 01 31"),
    (String, "ä", "01 04 00 00 00 02 c3 a4"),
    (String, "a\u0308", "01 04 00 00 00 03 61 cc 88"),
    (String, "\0", "01 04 00 00 00 01 00"),
    (Json, "1", "01 04 00 00 00 01 31"),
    (Bytes, b"1", "01 05 00 00 00 01 31"),
    (UnixTimestamp, datetime(1970, 1, 1, tzinfo=UTC), "01 06 80 00 00 00 00 00 00 00"),
    (UnixTimestamp, datetime(2024, 1, 31, 10, 0, 0, 1, UTC), "01 06 80 06 10 3a f1 22 c8 01"),
    (Uuid, U, "01 07 12 34 56 78 12 34 56 78 12 34 56 78 12 34 56 78"),
    (TimeUuid, U, "01 07 12 34 56 78 12 34 56 78 12 34 56 78 12 34 56 78"),
    (Decimal, D("-1.50"), "01 08 00 00 00 04 2d 31 2e 35"),
    (Decimal, D("0E+3"), "01 08 00 00 00 01 30"),
]
EDGES = {
    Bool: [True, False],
    Int32: [0, 1, -1, 2**31 - 1, -(2**31)],
    Int64: [0, 1, -1, 255, 256, 2**53 + 1, 2**63 - 1, -(2**63)],
    Float32: [0.0, 1.5, -1.5, math.inf, -math.inf],
    Float64: [0.0, 0.1, -0.1, 5e-324, -1.7976931348623157e308, math.inf],
    String: ["", "a", "ab", "b", "NUL \0", "ä", "a\u0308", "עברית", "💳", "x" * 65_536],
    Bytes: [b"", b"\0", b"\xff" * 9, bytes(range(256))],
    UnixTimestamp: [datetime(year, 12, 31, tzinfo=UTC) for year in (1, 1969, 2024, 9999)],
    Uuid: [uuid.UUID(int=0), U],
    Decimal: [D("0"), D("1.5"), D("-0.000000000000000001")],
}


# Bytes


@pytest.mark.parametrize(("wanted", "value", "expected"), GOLDEN)
def test_the_bytes_of_a_key_never_change(wanted, value, expected):
    """Each type has the bytes that its first version had (T26)."""
    assert KeyCodec([wanted]).encode([[value]])[0].hex(" ") == expected


def test_small_and_large_integers_have_keys_of_one_kind():
    """Wherever 2^32 and 2^63 lie among integers, each has its value plus 2^63 as its bytes, alone and beside others."""
    values = [0, 1, 2**32 - 1, 2**32, 2**63 - 1, -1, -(2**32), -(2**63)]
    expected = [b"\1\2" + (value + 2**63).to_bytes(8, "big") for value in values]
    for column, keys in [(values, expected), (values[:3], expected[:3]), (values[::-1], expected[::-1])]:
        assert KeyCodec([Int64]).encode([column]) == keys
        assert KeyCodec([Int64, Bool]).encode([column, [True] * len(column)]) == [key + b"\1\1" for key in keys]
    with pytest.raises(struct.error):
        KeyCodec([Int64]).encode([[2**63]])


def test_composite_keys_are_their_parts_in_order():
    """A composite key has one version byte, then tag and payload of each part; no part gives the version alone."""
    (key,) = KeyCodec([Int64, String, Bool]).encode([[7], ["ab"], [True]])
    assert key.hex(" ") == "01 02 80 00 00 00 00 00 00 07 04 00 00 00 02 61 62 01 01"
    assert KeyCodec([]).encode([], 3) == [b"\1"] * 3
    assert KeyCodec([]).encode_arrow([], 2) == [b"\1"] * 2
    assert KeyCodec([]).decode(b"\1") == ()


def test_no_two_values_share_a_key():
    """1, "1", 1.0, True and their like, and ("a", "bc") beside ("ab", "c"), all have keys of their own (S9, T26)."""
    single = [(wanted, value) for wanted, values in EDGES.items() if wanted not in (Int32, Float32) for value in values]
    keys = [KeyCodec([wanted]).encode([[value]])[0] for wanted, value in single]
    assert len(set(keys)) == len(single)
    pairs = list(itertools.product(["", "a", "ab", "abc", "bc", "c", "b"], repeat=2))
    columns = [[first for first, _ in pairs], [second for _, second in pairs]]
    assert len({*KeyCodec([String, String]).encode(columns), *keys}) == len(pairs) + len(keys)


@pytest.mark.parametrize("wanted", list(EDGES), ids=str)
def test_a_key_gives_its_values_back(wanted):
    """Decoding returns what was encoded, with the same type, alone and beside others."""
    values = EDGES[wanted]
    alone = KeyCodec([wanted])
    assert [alone.decode(key) for key in alone.encode([values])] == [(value,) for value in values]
    beside = KeyCodec([String, wanted, wanted])
    found = [beside.decode(key) for key in beside.encode([["x"] * len(values), values, values[::-1]])]
    assert found == list(zip(["x"] * len(values), values, values[::-1], strict=True))
    assert all(type(row[1]) is type(value) for row, value in zip(found, values, strict=True))


@pytest.mark.parametrize("wanted", [Bool, Int64, Float64, UnixTimestamp], ids=str)
def test_numbers_and_times_sort_as_their_bytes(wanted):
    """Keys sort as their values do."""
    ordered = sorted(EDGES[wanted])
    assert sorted(KeyCodec([wanted]).encode([EDGES[wanted]])) == KeyCodec([wanted]).encode([ordered])


@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False)), min_size=1))
def test_pairs_of_numbers_sort_as_their_bytes(rows):
    """Composite keys of numbers sort as tuples do, and come back."""
    codec = KeyCodec([Int64, Float64])
    rows = [(whole, number + 0.0) for whole, number in rows]
    keys = codec.encode([[whole for whole, _ in rows], [number for _, number in rows]])
    assert [row for _, row in sorted(zip(keys, rows, strict=True))] == sorted(rows)
    assert [codec.decode(key) for key in keys] == rows


@given(st.lists(st.tuples(st.text(st.characters(codec="utf-8")), st.binary())))
def test_no_text_collides_with_another(rows):
    """Different (text, bytes) pairs have different keys, and come back."""
    codec = KeyCodec([String, Bytes])
    keys = codec.encode([[text for text, _ in rows], [raw for _, raw in rows]])
    assert len(set(keys)) == len(set(rows))
    assert [codec.decode(key) for key in keys] == rows


@pytest.mark.parametrize("wanted", list(EDGES), ids=str)
def test_rows_are_put_in_the_order_of_their_keys(wanted):
    """The order of rows is that of their keys' bytes, for one join key and for several."""
    values = EDGES[wanted]
    column = pa.array([str(value) for value in values] if wanted is Uuid else values)
    for codec, columns in (
        (KeyCodec([wanted]), [column]),
        (KeyCodec([Int64, wanted]), [pa.array([n % 2 for n in range(len(values))]), pa.chunked_array([column])]),
    ):
        keys = codec.encode_arrow(columns)
        assert [keys[row] for row in codec.order(columns).to_pylist()] == sorted(keys)
        assert codec.order([each[:0] for each in columns]).to_pylist() == []


# Arrow


@pytest.mark.parametrize("wanted", list(EDGES), ids=str)
def test_arrow_columns_have_the_same_keys(wanted):
    """The batch path makes the bytes that the path of Python values makes."""
    values = EDGES[wanted]
    plain = [str(value) for value in values] if wanted is Uuid else values
    column = pa.array(plain, pa.decimal128(38, 18) if wanted is Decimal else None)
    codec = KeyCodec([wanted])
    expected = codec.encode([values])
    assert codec.encode_arrow([column]) == expected
    halves = pa.chunked_array([column[:1], column[1:]])
    assert codec.encode_arrow([halves]) == expected
    assert KeyCodec([wanted, Int64]).encode_arrow([halves, pa.array(range(len(values)))]) == KeyCodec(
        [wanted, Int64]
    ).encode([values, range(len(values))])
    assert codec.encode_arrow([column[:0]]) == codec.encode_arrow([pa.chunked_array([], column.type)]) == []


def test_many_rows_are_one_batch():
    """A batch of more rows than are turned at a time has a key for each, in order."""
    numbers = np.arange(150_000)
    codec = KeyCodec([Int64, String])
    keys = codec.encode_arrow([pa.array(numbers), pa.array([f"c{n % 7}" for n in numbers])])
    assert len(keys) == 150_000
    assert [codec.decode(keys[n]) for n in (0, 65_535, 65_536, 149_999)] == [
        (n, f"c{n % 7}") for n in (0, 65_535, 65_536, 149_999)
    ]


@pytest.mark.parametrize(
    ("wanted", "column", "values"),
    [
        (Int64, pa.array([1, 2], pa.int8()), [1, 2]),
        (Int64, pa.array([1, 2], pa.uint64()), [1, 2]),
        (Int32, pa.array([1, 2], pa.int64()), [1, 2]),
        (Int64, pa.array([1.0, 2.0]), [1, 2]),
        (Int64, pa.array(["1", "2"]), [1, 2]),
        (Int64, pa.array([1, 2]).dictionary_encode(), [1, 2]),
        (String, pa.array(["a", "b"], pa.large_string()), ["a", "b"]),
        (String, pa.array(["a", "b"], pa.string_view()), ["a", "b"]),
        (String, pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
        (Bytes, pa.array([b"a", b"b"], pa.binary(1)), [b"a", b"b"]),
        (Float32, pa.array([0.1, 0.2]), [0.10000000149011612, 0.20000000298023224]),
        (Float64, pa.array([0.5, 1.5], pa.float32()), [0.5, 1.5]),
        (Float64, pa.array([1, 2]), [1.0, 2.0]),
        (UnixTimestamp, pa.array([1, -1], pa.timestamp("s")), [1_000_000, -1_000_000]),
        (UnixTimestamp, pa.array([1001, -1001], pa.timestamp("ns", "UTC")), [1, -2]),
        (UnixTimestamp, pa.array([1, -1], pa.timestamp("us", "Europe/Rome")), [1, -1]),
        (UnixTimestamp, pa.array([date(1970, 1, 2), date(1969, 12, 31)]), [86_400_000_000, -86_400_000_000]),
        (Uuid, pa.array([U.bytes, U.bytes], pa.binary(16)), [U, U]),
        (Decimal, pa.array([D("1.50"), D("2")], pa.decimal128(5, 2)), [D("1.5"), D("2")]),
    ],
)
def test_arrow_columns_of_related_types_are_cast(wanted, column, values):
    """A column whose values all fit the key's type has the keys of that type; times are cut off downwards (S1)."""
    assert KeyCodec([wanted]).encode_arrow([column]) == KeyCodec([wanted]).encode([values])


@pytest.mark.parametrize(
    ("wanted", "column", "said"),
    [
        (Int64, pa.array([1, None]), "'user' is null in row 1"),
        (String, pa.array([None], pa.string()), "'user' is null in row 0"),
        (Int64, pa.array([1.0, 1.5]), r"is 1.5 \(float\) in row 1"),
        (Int64, pa.array([True]), r"is True \(bool\) in row 0"),
        (Int64, pa.array([1, 2**63], pa.uint64()), "is 9223372036854775808"),
        (Int32, pa.array([0, 2**31]), r"is 2147483648 \(int\) in row 1"),
        (Float64, pa.array([1.0, math.nan]), "is nan"),
        (String, pa.array([1]), r"is 1 \(int\) in row 0"),
        (Uuid, pa.array(["x"]), "is 'x'"),
        (UnixTimestamp, pa.array([0, 2**60], pa.timestamp("s")), "in row 1"),
        (UnixTimestamp, pa.array([2**62], pa.timestamp("us")), "in row 0"),
    ],
)
def test_arrow_values_that_do_not_fit_are_named(wanted, column, said):
    """A null or a value of another type is refused with join key, value and row, also far into a batch."""
    with pytest.raises(EntityKeyError, match=said):
        KeyCodec([wanted], ["user"]).encode_arrow([column])


def test_the_row_of_a_bad_value_counts_from_the_beginning():
    """In the third slice of a batch the row is still that of the batch."""
    numbers = pa.array([*range(140_000), None, 7])
    with pytest.raises(EntityKeyError, match="'user' is null in row 140000"):
        KeyCodec([Int64], ["user"]).encode_arrow([numbers])
    with pytest.raises(EntityKeyError, match="in row 70000"):
        KeyCodec([Int64], ["user"]).encode_arrow([pa.array([0.0] * 70_000 + [0.5])])
    with pytest.raises(EntityKeyError, match=r"'user' is 'x' .* in row 70000"):
        KeyCodec([Uuid], ["user"]).encode_arrow([pa.array([str(U)] * 70_000 + ["x"])])


# Columns


ODD = [
    *(True, False, 0, 1, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 1.0, 1.5, -0.0, 2.0**53, 1e300, 1e-50),
    *(math.nan, math.inf, -math.inf, np.float32(0.1), np.int8(3), np.uint64(2**63), np.float16(0.5), np.bool_(True)),
    *(D("1"), D("1.50"), D("1e-19"), D("12345678901234567890123"), D("-0.0"), D("99999999999999999999")),
    *("1", " 7 ", "1.5", "x", "", "ä", "9" * 30, str(U), str(U).upper(), U.hex, "2024-01-01", "2024-01-01T10:00:00Z"),
    *(b"1", b"", U.bytes, U, date(2024, 1, 1), datetime(2024, 1, 1), datetime(2024, 1, 1, tzinfo=UTC)),
    *(datetime(1, 1, 1), datetime(9999, 12, 31, tzinfo=timezone(timedelta(hours=2))), timedelta(1), [1], {"a": 1}),
    *(np.timedelta64(1, "s"), np.datetime64(1, "ns"), np.datetime64(1, "s")),
    *(pd.Timestamp(1), pd.Timestamp("2024-01-01", tz="Europe/Rome"), None),
]


@given(st.sampled_from([*EDGES, TimeUuid, Json]), st.sampled_from(ODD), st.integers(0, 2))
def test_a_column_is_coerced_as_its_values_are(wanted, value, before):
    """Entity rows, pushed rows and online requests take the same keys for the same, and refuse the same (S9)."""
    one = pa.array([value])
    column = pa.chunked_array([pa.nulls(before, one.type), one])
    codec = KeyCodec([wanted], ["user"])

    def outcome(keys):
        try:
            return keys()
        except EntityKeyError as error:
            return re.search(r"the join key 'user' is .* in row \d+", str(error)).group().split()[-1]

    requested = outcome(lambda: codec.encode([coerce("user", [value], wanted, before)]))
    assert outcome(lambda: codec.encode([coerce("user", one.to_pylist(), wanted, before)])) == requested
    assert outcome(lambda: codec.encode_arrow([coerce_column("user", one, wanted, before)])) == requested
    if value is not None:
        spine = outcome(lambda: coerce_column("user", column, wanted, nulls=True))
        assert spine == requested if isinstance(spine, str) else codec.encode_arrow([spine[before:]]) == requested


@pytest.mark.parametrize("wanted", [*EDGES, TimeUuid, Json], ids=str)
def test_a_null_of_a_column_stays_one_where_that_is_allowed(wanted):
    """Entity rows may lack a key, which matches nothing; keys that are written may not."""
    column = pa.nulls(2)
    assert coerce_column("user", column, wanted, nulls=True).to_pylist() == [None, None]
    with pytest.raises(EntityKeyError, match="'user' is null in row 0"):
        coerce_column("user", column, wanted)


def test_the_row_of_a_bad_value_counts_nulls_and_chunks():
    """The row that a message names is the row that the caller gave."""
    column = pa.chunked_array([pa.array([None, "1"]), pa.array([None, "x"])])
    with pytest.raises(EntityKeyError, match=r"'user' is 'x' .* in row 3"):
        coerce_column("user", column, Int64, nulls=True)


def test_a_column_without_rows_has_the_keys_type():
    """Also one without any chunk."""
    assert coerce_column("user", pa.chunked_array([], pa.string()), Int64).type == pa.int64()


# Coercion


@pytest.mark.parametrize(
    ("wanted", "values", "expected"),
    [
        (Int64, [1, "2", 3.0, np.int32(4), np.float32(5), D("6"), " 7 ", "-8"], [1, 2, 3, 4, 5, 6, 7, -8]),
        (Int32, [np.int64(2**31 - 1)], [2**31 - 1]),
        (Int64, [str(2**63 - 1), 2**53 + 1, D(2**63 - 1)], [2**63 - 1, 2**53 + 1, 2**63 - 1]),
        (Float64, [1, "1.5", np.float32(0.5), -0.0], [1.0, 1.5, 0.5, 0.0]),
        (Float32, [0.1, 1], [0.10000000149011612, 1.0]),
        (String, ["a", np.str_("b")], ["a", "b"]),
        (Bytes, [b"a", bytearray(b"b"), memoryview(b"c")], [b"a", b"b", b"c"]),
        (Bool, [True, np.bool_(False)], [True, False]),
        (UnixTimestamp, ["1970-01-02T00:00:00Z", datetime(1970, 1, 2)], [datetime(1970, 1, 2)] * 2),
        (UnixTimestamp, [pd.Timestamp(1, tz="Europe/Rome")], [datetime(1970, 1, 1)]),
        (UnixTimestamp, [datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))], [datetime(1970, 1, 1)]),
        (Uuid, [U, str(U), U.bytes], [U, U, U]),
        (Decimal, ["1.50", 2, D("1E+2")], [D("1.5"), D("2"), D("100")]),
    ],
)
def test_values_are_coerced_where_nothing_is_lost(wanted, values, expected):
    """Text, floats and numpy scalars become the key's type when they say the same (S9)."""
    found = coerce("user", values, wanted)
    expected = [value.replace(tzinfo=UTC) if isinstance(value, datetime) else value for value in expected]
    assert found == expected
    assert [type(value) for value in found] == [type(value) for value in expected]


@pytest.mark.parametrize(
    ("wanted", "value"),
    [
        *((Int64, bad) for bad in (True, np.bool_(True), 1.5, "1.5", "", "1_000", "x", math.nan, math.inf, b"1", [1])),
        *((Int64, bad) for bad in (2**63, -(2**63) - 1, "9" * 30, pd.NA, pd.NaT, object())),
        *((Int32, bad) for bad in (2**31, -(2**31) - 1)),
        *((Float64, bad) for bad in (True, "x", math.nan, b"1", 2**53 + 1)),
        (Float32, 1e300),
        *((String, bad) for bad in (1, b"a", True, 1.0)),
        *((Bytes, bad) for bad in ("a", 1)),
        *((Bool, bad) for bad in (0, 1, "true", 1.0)),
        *((UnixTimestamp, bad) for bad in ("yesterday", True, 1.5, pd.NaT, 2**62)),
        *((Uuid, bad) for bad in ("x", b"x", 1)),
        *((Decimal, bad) for bad in ("x", "NaN", 1.5, True, "1E+5000")),
    ],
)
def test_values_that_would_be_a_guess_are_refused(wanted, value):
    """A value that is not surely one of the key's type is named with join key, row, and type (S9)."""
    with pytest.raises(EntityKeyError, match=rf"'user' is .* in row 4, and its entity says {wanted}") as caught:
        coerce("user", [*EDGES[wanted][:1], value], wanted, first_row=3)
    assert isinstance(caught.value, ValueError)
    assert caught.value.cure.startswith("give ")


def test_a_null_key_is_named():
    """None is refused by join key and row (T24)."""
    with pytest.raises(EntityKeyError, match=r"the join key 'user' is null in row 1\. give every row a whole number"):
        coerce("user", [1, None], Int64)


def test_long_values_are_shortened_in_messages():
    """A key of a megabyte does not make a message of a megabyte."""
    with pytest.raises(EntityKeyError) as caught:
        coerce("user", ["x" * 1_000_000], Int64)
    assert len(str(caught.value)) < 300


def test_half_a_surrogate_pair_is_refused():
    """Text that UTF-8 cannot hold is named."""
    with pytest.raises(EntityKeyError, match="surrogate"):
        KeyCodec([String]).encode([["\ud800"]])


def test_decimals_of_equal_value_are_one_key():
    """1.50 and 1.5, 100 and 1E+2, 0 and -0 are the same keys; digits are never rounded."""
    texts = {"1.50": "1.5", "1E+2": "100", "-0.0": "0", "0E-9": "0", "-1.50": "-1.5"}
    assert {text: plain_decimal(D(text)) for text in texts} == texts
    long = "1." + "0" * 200 + "1"
    assert plain_decimal(D(long)) == long


# Errors


@pytest.mark.parametrize("wanted", [Array(Int64), Map], ids=str)
def test_types_without_an_order_are_no_keys(wanted):
    """A list or a map cannot be a join key; the error names it."""
    with pytest.raises(InvalidType, match="the join key 'user' has type"):
        KeyCodec([wanted], ["user"])
    with pytest.raises(InvalidType):
        coerce("user", [[1]], wanted)


@pytest.mark.parametrize(
    "raw",
    ["", "00", "01 09 00", "01 02 80", "01 04 00 00 00 05 61", "01 01 02", "01 04 00 00 00 01 ff", "01 04 00"],
)
def test_bytes_that_are_no_key_are_named(raw):
    """Truncated, foreign and unknown bytes are an error, never a wrong value."""
    with pytest.raises(StoreCorrupt, match="are not an entity key"):
        decode_key(bytes.fromhex(raw))


def test_a_key_of_another_kind_or_version_is_named():
    """A codec refuses keys of other join keys, and of later versions."""
    with pytest.raises(StoreCorrupt, match="is not one of"):
        KeyCodec([Int64]).decode(KeyCodec([String]).encode([["a"]])[0])
    with pytest.raises(StoreTooNew, match="has format 2"):
        decode_key(b"\2\1\1")
    assert key_tags(KeyCodec([Int64, String]).encode([[1], ["a"]])[0]) == [2, 4]
