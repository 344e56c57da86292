import math
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from likewise.core.types import (
    Array,
    Bool,
    Bytes,
    Float32,
    Float64,
    Int32,
    Int64,
    Map,
    String,
    Struct,
    UnixTimestamp,
    Uuid,
)
from likewise.transform.column import Column, Misfit

NUMBERS = {
    pa.bool_(): st.booleans(),
    pa.int8(): st.integers(-128, 127),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.int64(): st.integers(-2, 2) | st.integers(-(2**63), 2**63 - 1) | st.sampled_from([2**53 + 1, 2**31]),
    pa.uint64(): st.integers(0, 2) | st.integers(0, 2**64 - 1),
    pa.float32(): st.floats(width=32) | st.integers(-2, 2).map(float),
    pa.float64(): st.floats() | st.integers(-2, 2).map(float) | st.sampled_from([2.0**53, 2.0**53 - 1, 2.0**31]),
}

PAIRS = pa.map_(pa.string(), pa.string())


def taken(take, values):
    """Return what was taken, or where and why it was not."""
    try:
        return take(values)
    except Misfit as misfit:
        return misfit.row, misfit.why


@pytest.mark.parametrize("declared", [Bool, Int32, Int64, Float32, Float64], ids=str)
@given(data=st.data())
def test_whole_columns_are_taken_as_their_values_are(bits, declared, data):
    """Numbers of any Arrow type are taken, or refused, at once exactly as one by one."""
    source = data.draw(st.sampled_from(list(NUMBERS)))
    values = data.draw(st.lists(st.none() | NUMBERS[source], max_size=4))
    column = Column("c", declared)
    array = pa.array(values, source)
    at_once = taken(column.arrow, array)
    one_by_one = taken(lambda given: list(column._each(given)), array.to_pylist())
    if isinstance(at_once, pa.Array):
        assert at_once.type == column.arrow_type
        at_once = column.to_lists(at_once)
    assert bits(list(at_once)) == bits(list(one_by_one))
    nested = taken(Column("c", Array(declared)).arrow, pa.array([None, values, []], pa.list_(source)))
    if isinstance(nested, pa.Array):
        assert bits(nested.to_pylist()) == bits([None, one_by_one, []])
    else:
        assert nested == (1, one_by_one[1])


@pytest.mark.parametrize("declared", [Bool, Int32, Int64, Float32, Float64, String], ids=str)
@given(data=st.data())
def test_lists_are_taken_at_once_as_one_by_one(bits, declared, data):
    """Python values of one type are taken, or refused, at once exactly as one by one."""
    kind = {Bool: st.booleans(), Int32: st.integers(), Int64: st.integers(), String: st.text(st.characters())}
    values = data.draw(st.lists(st.none() | kind.get(declared, st.floats()), max_size=4))
    column = Column("c", declared)
    at_once = taken(column.lists, values)
    assert bits(list(at_once)) == bits(list(taken(lambda given: list(column._each(given)), values)))
    assert at_once is not values


@pytest.mark.parametrize(
    ("declared", "array"),
    [
        (String, pa.array(["a", None], pa.large_string())),
        (String, pa.array(["a", None], pa.string_view())),
        (String, pa.array(["a", None]).dictionary_encode()),
        (Bytes, pa.array([b"a", None], pa.large_binary())),
        (Bytes, pa.array([b"a", None], pa.binary(1))),
        (Array(Int64), pa.array([[1, None], None], pa.large_list(pa.int8()))),
        (Array(Int64), pa.array([[1, 2], None], pa.list_(pa.int64(), 2))),
        (Array(Array(String)), pa.array([[["a"], None], None], pa.large_list(pa.list_(pa.large_string())))),
        (Map, pa.array([[("a", "b")], None], pa.map_(pa.large_string(), pa.string()))),
        (Array(Map), pa.array([[[("a", "b")], None]], pa.list_(PAIRS))),
        (
            Struct({"m": Map}),
            pa.array([{"m": [("a", "b")]}, None], pa.struct([("m", PAIRS)])),
        ),
        (UnixTimestamp, pa.array([1, None], pa.timestamp("s"))),
        (UnixTimestamp, pa.array([1, None], pa.date32())),
        (Uuid, pa.array([b"\0" * 16, None], pa.uuid())),
        (Float64, pa.array([None, None])),
    ],
    ids=lambda thing: str(thing) if not isinstance(thing, pa.Array) else str(thing.type),
)
def test_arrow_of_another_layout_becomes_the_declared_type(declared, array):
    """Any Arrow layout of the same values becomes the declared Arrow type, sliced or not."""
    column = Column("c", declared)
    whole = column.arrow(array)
    assert whole.type == column.arrow_type
    assert whole.null_count == array.null_count
    assert column.arrow(pa.concat_arrays([array, array]).slice(1, len(array) - 1)).equals(whole.slice(1))
    assert column.to_lists(whole) == column.lists(column.to_lists(whole))


def test_a_whole_number_is_rounded_to_a_double_first():
    """An integer becomes a Float32 by way of a double, as Python's own floats do, at once and one by one."""
    column, number = Column("c", Float32), 2**60 + 2**36 + 1
    assert column.arrow(pa.array([number])).to_pylist() == column.lists([number]) == [float(2**60)]


def test_finer_times_are_cut_downwards():
    """Nanoseconds are cut off downwards, before the epoch too (S1)."""
    array = pa.array([1_999, -1, None], pa.timestamp("ns"))
    assert Column("t", UnixTimestamp).arrow(array).cast(pa.int64()).to_pylist() == [1, -1, None]


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_a_time_beyond_the_calendar_is_refused(unit):
    """A time before year 1 or after 9999 is a misfit that names the row, whatever its unit."""
    ticks = {"s": 1, "ms": 1000, "us": 1_000_000}[unit] * 253_402_300_800
    with pytest.raises(Misfit) as caught:
        Column("t", UnixTimestamp).arrow(pa.array([0, None, ticks], pa.timestamp(unit, tz="UTC")))
    assert (caught.value.row, caught.value.value) == (2, ticks)


def test_the_last_microsecond_of_the_calendar_is_a_time():
    """The last time that has a date goes there and back."""
    last = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    column = Column("t", UnixTimestamp)
    assert column.to_lists(column.arrow(column.to_arrow([last]))) == [last]


def test_nan_is_missing_only_where_asked_and_where_the_type_has_none():
    """As an input NaN is a missing integer but a present float; otherwise it is no integer."""
    assert Column("c", Int64, nan_is_null=True).lists([math.nan, np.float32("nan")]) == [None, None]
    assert str(Column("c", Float64, nan_is_null=True).lists([math.nan])) == "[nan]"
    with pytest.raises(Misfit):
        Column("c", Int64).lists([math.nan])
