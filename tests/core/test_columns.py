"""Columns: brought to the declared type without loss, or an error that names column and row."""

import uuid
from decimal import Decimal as Exact
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from likewise.core.columns import conform, to_utc_micros, without_views
from likewise.core.errors import InvalidTime, SourceDrift
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
    Map,
    Set,
    String,
    Struct,
    UnixTimestamp,
    Uuid,
)

BIG = Exact("12345678901234567890123")
WIDE = pa.decimal128(23, 0)
ONE = "abcdef00-0000-0000-0000-000000000001"
INF, NAN = float("inf"), float("nan")


@given(st.lists(st.integers(-(2**62), 2**62)))
def test_nanoseconds_are_cut_off_downwards(ticks: list[int]) -> None:
    """A row a nanosecond after t never becomes a row at t's next microsecond, also before 1970."""
    column = to_utc_micros(pa.array(ticks, pa.timestamp("ns")), "t")
    assert column.cast(pa.int64()).to_pylist() == [tick // 1000 for tick in ticks]


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_a_time_beyond_the_year_9999_names_its_row(unit: str) -> None:
    """The wrong unit is found out where it stands."""
    with pytest.raises(InvalidTime, match=r"column 'at', row 1"):
        to_utc_micros(pa.array([0, 2**60], pa.timestamp(unit)), "column 'at'")


@pytest.mark.parametrize(
    ("column", "declared"),
    [
        (pa.array([1.0, None, 3.0]), Int64),
        (pa.array([1, 2], pa.int8()), Int64),
        (pa.array([1, 2], pa.int64()), Int32),
        (pa.array([1, 2]), Float64),
        (pa.array(["a", None]).dictionary_encode(), String),
        (pa.array([None, None]), Bool),
        (pa.array([[1], None]), Array(Float32)),
    ],
)
def test_values_that_fit_are_taken(column: pa.Array, declared: object) -> None:
    """Widening, whole floats and all-null columns cost nothing."""
    assert conform(column, declared, "c").to_pylist() == column.to_pylist()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("column", "declared", "said"),
    [
        (pa.array([1.0, 1.5]), Int64, "row 1: 1.5 does not fit Int64"),
        (pa.array([2**40]), Int32, "row 0: 1099511627776 does not fit Int32"),
        (pa.array([2**53 + 1]), Float64, "row 0: 9007199254740993 does not fit Float64"),
        (pa.array(["1"]), Int64, "holds string, not Int64"),
        (pa.array([True]), Int64, "holds bool, not Int64"),
    ],
)
def test_values_that_do_not_fit_are_named(column: pa.Array, declared: object, said: str) -> None:
    """Nothing is rounded, cut or guessed in silence."""
    with pytest.raises(SourceDrift, match=said):
        conform(column, declared, "column 'c'")  # type: ignore[arg-type]


def test_float32_is_the_nearest_float32() -> None:
    """A Float64 column declared Float32 is rounded, for training and serving alike."""
    assert conform(pa.array([0.1]), Float32, "c").to_pylist() == [float(np.float32(0.1))]


def test_uuids_in_bytes_become_their_text() -> None:
    """Sixteen bytes are a UUID."""
    assert conform(pa.array([bytes(16)]), Uuid, "c").to_pylist() == ["00000000-0000-0000-0000-000000000000"]


@pytest.mark.parametrize(
    ("column", "declared"),
    [
        (pa.array([Exact(1), None, BIG], WIDE), Decimal),
        (pa.array([[Exact(1)], None, [BIG]], pa.list_(WIDE)), Array(Decimal)),
        (pa.array([{"a": Exact(1)}, None, {"a": -BIG}], pa.struct([("a", WIDE)])), Struct({"a": Decimal})),
        (pa.array([Exact(1), None, Exact("1e50")], pa.decimal256(76, 0)), Decimal),
        (pa.chunked_array([pa.array([Exact(1), None], WIDE), pa.array([BIG], WIDE)]), Decimal),
        (pa.array([Exact(1), None, Exact("1.0000000000000000001")]), Decimal),
    ],
)
def test_decimals_of_too_many_digits_are_refused(column: Any, declared: FeatureType) -> None:
    """A decimal never wraps around or is rounded: more than 20 digits before the point, or 18 after, name their row."""
    with pytest.raises(SourceDrift, match=r"column 'c', row 2: .* does not fit"):
        conform(column, declared, "column 'c'")


def test_the_largest_decimals_are_kept() -> None:
    """What fits is taken from any width of decimals, zeros beyond 18 digits too."""
    most = Exact("99999999999999999999.999999999999999999")
    ends = [most, most.copy_negate()]
    assert conform(pa.array(ends, pa.decimal256(60, 18)), Decimal, "c").to_pylist() == ends
    assert conform(pa.array([Exact(10**20 - 1)], WIDE), Decimal, "c").to_pylist() == [10**20 - 1]
    assert conform(pa.array([Exact("1.50000000000000000000")]), Decimal, "c").to_pylist() == [Exact("1.5")]


@pytest.mark.parametrize(
    ("column", "declared"),
    [
        (pa.array([1.0, INF, 1e300]), Float32),
        (pa.array([[1.0], [-INF], [None, -1e300]]), Array(Float32)),
        (pa.array([0.0, 1.0, 3.4028235677973366e38]), Float32),
    ],
)
def test_floats_beyond_float32_are_refused(column: pa.Array, declared: FeatureType) -> None:
    """A finite number never becomes infinite."""
    with pytest.raises(SourceDrift, match=r"column 'c', row 2: .* does not fit .*Float64"):
        conform(column, declared, "column 'c'")


def test_infinities_are_kept() -> None:
    """Infinity and NaN are values of Float32, and so is the largest that rounds down to one."""
    found = conform(pa.array([INF, -INF, None, 3.4028235e38]), Float32, "c").to_pylist()
    assert found == [INF, -INF, None, float(np.float32(3.4028235e38))]
    assert np.isnan(conform(pa.array([NAN], from_pandas=False), Float32, "c").to_pylist()[0])


@pytest.mark.parametrize("text", [ONE, ONE.upper(), uuid.UUID(ONE).hex, f"{{{ONE}}}", f"urn:uuid:{ONE}"], ids=range(5))
def test_uuids_of_any_spelling_are_one_text(text: str) -> None:
    """UUIDs are compared by value, so each has one text, in dictionaries and lists too."""
    assert conform(pa.array([text, None]), Uuid, "c").to_pylist() == [ONE, None]
    assert conform(pa.array([text]).dictionary_encode(), Uuid, "c").to_pylist() == [ONE]
    assert conform(pa.array([[None, text], None]), Array(Uuid), "c").to_pylist() == [[None, ONE], None]


def test_text_that_is_no_uuid_names_its_row() -> None:
    """Text is a UUID or refused, here and not at the first read."""
    with pytest.raises(SourceDrift, match="column 'c', row 2: 'nonsense' does not fit Uuid"):
        conform(pa.chunked_array([[ONE.upper(), None], ["nonsense"]]), Uuid, "column 'c'")


def test_arrow_uuids_are_text_for_a_string() -> None:
    """A String over Arrow's own UUIDs gets their text, not their bytes."""
    stored = pa.array([uuid.UUID(ONE).bytes, None], pa.binary(16))
    column = pa.ExtensionArray.from_storage(pa.uuid(), stored)
    assert conform(column, String, "c").to_pylist() == [ONE, None]
    assert conform(column.slice(1), Uuid, "c").to_pylist() == [None]


@pytest.mark.parametrize(
    ("values", "inner", "expected"),
    [
        ([[3, 1, 1], None, [], [None, 2, None]], Int64, [[1, 3], None, [], [2, None]]),
        ([["b", "a", "b"]], String, [["a", "b"]]),
        ([[Exact(10), Exact(9), Exact(10)]], Decimal, [[Exact(9), Exact(10)]]),
        ([[True, False, True]], Bool, [[False, True]]),
        ([[uuid.UUID(ONE).hex, ONE.upper()]], Uuid, [[ONE]]),
    ],
    ids=str,
)
def test_sets_are_ascending_and_without_repeats(values: list[Any], inner: FeatureType, expected: list[Any]) -> None:
    """A set is the same in training as online: sorted, each element once, null last."""
    column = pa.array(values)
    assert conform(column, Set(inner), "c").to_pylist() == expected
    assert conform(column.slice(1), Set(inner), "c").to_pylist() == expected[1:]
    assert conform(pa.chunked_array([column, column]), Set(inner), "c").to_pylist() == expected * 2


def test_sets_of_floats_have_one_zero_and_one_nan() -> None:
    """NaN comes after the numbers and before null."""
    column = pa.array([[3.0, NAN, None, -0.0, 0.0, NAN]], from_pandas=False)
    assert repr(conform(column, Set(Float64), "c").to_pylist()) == "[[0.0, 3.0, nan, None]]"


def test_the_last_value_of_a_maps_key_counts() -> None:
    """A key that stands twice in a map has its last value, as in a dict, whatever part of a column it is in."""
    column = pa.array([[("z", "0")], [("a", "1"), ("b", None), ("a", "3")], None], pa.map_(pa.string(), pa.string()))
    expected = [[("z", "0")], [("a", "3"), ("b", None)], None]
    assert conform(column, Map, "c").to_pylist() == expected
    assert conform(column.slice(1), Map, "c").to_pylist() == expected[1:]
    assert conform(column.slice(2), Map, "c").to_pylist() == [None]


def test_times_in_lists_are_cut_off_downwards() -> None:
    """The rule of times (S1) holds inside of lists and structs, and one out of range names its row."""
    ticks = pa.array([[-1, None], None], pa.list_(pa.timestamp("ns")))
    done = conform(ticks, Array(UnixTimestamp), "c")
    assert done.cast(pa.list_(pa.int64())).to_pylist() == [[-1, None], None]
    with pytest.raises(InvalidTime, match="column 'c', row 1"):
        conform(pa.array([[0], [2**60]], pa.list_(pa.timestamp("us"))), Array(UnixTimestamp), "column 'c'")


def test_structs_have_the_declared_fields() -> None:
    """Fields are taken by name, in the declared order, and widened; a null struct stays null."""
    column = pa.array([{"b": 1, "a": 2, "z": 3}, None])
    found = conform(column, Struct({"a": Float64, "b": Int64}), "c")
    assert found.to_pylist() == [{"a": 2.0, "b": 1}, None]


@pytest.mark.parametrize(
    ("column", "plain"),
    [
        (pa.array(["a", None]).cast(pa.string_view()), pa.string()),
        (pa.array([b"a"]).cast(pa.binary_view()), pa.binary()),
        (
            pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), pa.array(["a"]).cast(pa.string_view())),
            pa.list_(pa.string()),
        ),
        (
            pa.StructArray.from_arrays([pa.array(["a"]).cast(pa.string_view())], ["x"]),
            pa.struct([("x", pa.string())]),
        ),
        (pa.array([[1]]), pa.list_(pa.int64())),
    ],
)
def test_views_become_plain(column: pa.Array, plain: pa.DataType) -> None:
    """Arrow cannot take values of its view types, so they are made plain where they are read."""
    done = without_views(column)
    assert (done.type, done.to_pylist()) == (plain, column.to_pylist())


@pytest.mark.parametrize("declared", [Int64, String, Bytes, Float32, Decimal, Array(Float32)], ids=str)
def test_a_column_of_the_right_type_is_not_copied(declared: FeatureType) -> None:
    """What needs nothing costs nothing."""
    column = conform(pa.nulls(3), declared, "c")
    assert conform(column, declared, "c") is column
