"""Functions over ranges of values are those of core.aggregates, to the bit, and long ranges cost little more."""

from __future__ import annotations

from decimal import Decimal as Exact
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from likewise.core.aggregates import aggregate_for
from likewise.core.errors import AggregateOverflow
from likewise.core.types import (
    Bool,
    Bytes,
    Decimal,
    FeatureType,
    Float32,
    Float64,
    Int64,
    String,
    UnixTimestamp,
    arrow_type,
)
from likewise.offline.ranges import Ranges, Values, over_ranges
from likewise.testing.reference_values import plain_values
from likewise.testing.strategies import examples
from likewise.testing.values import exact, exact_all
from likewise.testing.window_strategies import functions_of

NAN, INF = float("nan"), float("inf")
POOLS: tuple[tuple[FeatureType, st.SearchStrategy[Any]], ...] = (
    (Int64, st.sampled_from([0, 1, -1, 2**53 + 1, 2**62, -(2**63)])),
    (Int64, st.integers(-3, 3)),
    (Float64, st.floats()),
    (Float64, st.floats(-1e6, 1e6)),
    (Float64, st.sampled_from([1e16, 1.0, -1e16, 0.1, -0.0, 0.0])),
    (Float64, st.sampled_from([1.7e308, -1.7e308, 5e-324, 1.0, NAN, INF, -INF])),
    (Float32, st.floats(width=32)),
    (String, st.sampled_from(["", "a", "é", "\U0001f600", "\uffff"])),
    (Bool, st.booleans()),
    (Bytes, st.binary(max_size=1)),
    (UnixTimestamp, st.integers(-5, 5)),
    (Decimal, st.sampled_from([Exact("1.10"), Exact("-0.000000000000000001"), Exact(10) ** 20 - 1])),
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[FeatureType, list[Any], list[tuple[int, int]]]:
    """Draw a type, values of it, sometimes thousands, and ranges of them."""
    kind, pool = draw(st.sampled_from(POOLS))
    some = draw(st.lists(pool, min_size=1, max_size=40))
    values = some * draw(st.sampled_from([1, 1, 1, 3, 60]))
    places = st.integers(0, len(values))
    ranges = draw(st.lists(st.tuples(places, places).filter(lambda ends: ends[0] < ends[1]), min_size=1, max_size=8))
    return kind, values, sorted(set(ranges))


def computed(function: str, kind: FeatureType, values: list[Any], ranges: list[tuple[int, int]]) -> pa.Array:
    """Return what is computed over ranges."""
    start, stop = (np.array(side) for side in zip(*ranges, strict=True))
    longest = int((stop - start).max())
    return over_ranges(function, Values(pa.array(values, arrow_type(kind)), kind, longest), Ranges(start, stop))


def added(function: str, kind: FeatureType, values: list[Any]) -> Any:
    """Return what core.aggregates makes of values in order."""
    aggregate = aggregate_for(function, kind)
    ranks = [(place, 0, 0) for place in range(len(values))]
    return aggregate.finish(aggregate.add_all(aggregate.start(), values, ranks))


@given(case=cases(), choice=st.integers(0, 100))
@settings(max_examples=examples(250, soak=20_000), deadline=None)
def test_ranges_equal_the_aggregates(case: tuple[FeatureType, list[Any], list[tuple[int, int]]], choice: int) -> None:
    """Every function over ranges of any values gives what adding the values of each range gives."""
    kind, values, ranges = case
    functions = functions_of(kind)
    function = functions[choice % len(functions)]
    try:
        expected = [added(function, kind, values[start:stop]) for start, stop in ranges]
    except AggregateOverflow:
        with pytest.raises(AggregateOverflow):
            computed(function, kind, values, ranges)
        return
    found = computed(function, kind, values, ranges)
    output = arrow_type(aggregate_for(function, kind).output)
    assert found.type == output
    assert exact_all(plain_values(found)) == exact_all(plain_values(pa.array(expected, output)))


@pytest.mark.parametrize("function", ["sum", "mean", "var_samp", "min", "max", "count_distinct", "median", "top_k(3)"])
def test_long_ranges(function: str) -> None:
    """Over thousands of values a range is as exact as over ten."""
    rng = np.random.default_rng(1)
    values = np.round(rng.lognormal(3, 2, 20_000), 2)
    values[rng.integers(0, len(values), 5)] = [1e300, 1e-300, -1e16, 0.0, -0.0]
    start = np.sort(rng.integers(0, 10_000, 300))
    ranges = [(int(first), int(first) + 10_000) for first in start]
    found = computed(function, Float64, values.tolist(), ranges)
    for place in (0, 150, 299):
        first, after = ranges[place]
        assert exact(found[place].as_py()) == exact(added(function, Float64, values[first:after].tolist()))


def test_sums_round_once() -> None:
    """A sum of parts of very different sizes is the float nearest to the exact sum, also where tiny ones break ties."""
    parts = [1.0, 2.0**-53, 2.0**-106, -(2.0**-160), 2.0**53, -1.0, 2.0**-54, 3 * 2.0**-80]
    ranges = [(first, after) for first in range(8) for after in range(first + 1, 9)]
    found = computed("sum", Float64, parts, ranges).to_pylist()
    assert found == [added("sum", Float64, parts[first:after]) for first, after in ranges]
