"""Laws of the aggregates on generated events: order, splits and storage change nothing, and the oracle agrees."""

import math
import uuid
from datetime import timedelta
from decimal import Decimal as D

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given, settings

from likewise.core.aggregates import FUNCTIONS, NEVER, aggregate_for
from likewise.core.errors import AggregateOverflow, InvalidType
from likewise.core.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
    Float32,
    Float64,
    Int32,
    Int64,
    Map,
    String,
    UnixTimestamp,
    Uuid,
)
from likewise.core.windows import Window, tile_bounds, tile_of
from likewise.testing.oracle import Row, windowed
from likewise.testing.oracle_functions import answer
from likewise.testing.values import exact

WILD = [0.0, -0.0, 1.0, 1e16, -1e16, 1e300, -1e300, 1e-300, 5e-324, math.inf, -math.inf, math.nan, 1.7e308, 0.1]
DECIMALS = st.decimals(min_value=-(10**15), max_value=10**15, places=18) | st.sampled_from(
    [D("1.10"), D("1.1"), D("0")]
)
VALUES = {
    Bool: st.booleans(),
    Int32: st.integers(-(2**31), 2**31 - 1),
    Int64: st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3),
    Float32: st.floats(width=32),
    Float64: st.floats() | st.sampled_from(WILD) | st.integers(-3, 3).map(float),
    Decimal: DECIMALS,
    String: st.text(max_size=3) | st.sampled_from("abc"),
    Bytes: st.binary(max_size=2),
    UnixTimestamp: st.integers(-5, 5) | st.integers(-(2**50), 2**50),
    Uuid: st.integers(0, 3).map(lambda n: str(uuid.UUID(int=n))),
    Array(Int64): st.lists(st.integers(-3, 3) | st.none(), max_size=2),
    Map: st.lists(st.tuples(st.sampled_from("ab"), st.text(max_size=1)), max_size=2, unique_by=lambda pair: pair[0]),
}
TEXTS = [
    *FUNCTIONS,
    "first_n(2)",
    "last_n(1)",
    "last_distinct_n(2)",
    "top_k(2)",
    *(f"approx_percentile({share})" for share in (0.0, 0.25, 0.99, 1.0)),
]


def taken(function, kind):
    """Whether a function takes a type."""
    try:
        return aggregate_for(function, kind)
    except InvalidType:
        return None


KINDS = {text: st.sampled_from([kind for kind in VALUES if taken(text, kind)]) for text in TEXTS}


@st.composite
def histories(draw, kind):
    """Values with nulls, each with a rank of its own, in any order."""
    values = draw(st.lists(VALUES[kind] | st.none(), max_size=30))
    times = st.tuples(st.integers(0, 5), st.sampled_from([NEVER, 0, 1]))
    ranks = [(*draw(times), place) for place in range(len(values))]
    return [(values[place], ranks[place]) for place in draw(st.permutations(range(len(values))))]


def outcome(make):
    """The comparable form of a result, or the name of the error in its place."""
    try:
        return exact(make())
    except AggregateOverflow:
        return "overflow"


def added(aggregate, events):
    """The state of some events, added as one batch."""
    return aggregate.add_all(aggregate.start(), [value for value, _ in events], [rank for _, rank in events])


def stored(state):
    """The state as it comes back from storage."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(state))


def truth(function, events):
    """What the oracle makes of some events."""
    ordered = sorted(events, key=lambda event: event[1])
    return outcome(lambda: answer(str(function), [value for value, _ in ordered if value is not None]))


def canonical(aggregate):
    """The function's text with its number."""
    return aggregate.name if aggregate.number is None else f"{aggregate.name}({aggregate.number})"


@pytest.mark.parametrize("function", TEXTS)
@settings(max_examples=40, deadline=timedelta(seconds=5))
@given(data=st.data())
def test_a_batch_in_any_order_is_what_the_oracle_says(function, data):
    """To the bit: floats of all sizes, special values, nulls, ties of times."""
    kind = data.draw(KINDS[function])
    aggregate = aggregate_for(function, kind)
    events = data.draw(histories(kind))
    assert outcome(lambda: aggregate.finish(added(aggregate, events))) == truth(canonical(aggregate), events)


@pytest.mark.parametrize("function", TEXTS)
@settings(max_examples=30, deadline=timedelta(seconds=5))
@given(data=st.data())
def test_one_by_one_with_storage_in_between_is_the_same(function, data):
    """Adding event by event, the state written and read back at any point, is adding the batch."""
    kind = data.draw(KINDS[function])
    aggregate = aggregate_for(function, kind)
    events = data.draw(histories(kind))
    state = aggregate.start()
    for value, rank in events:
        if data.draw(st.booleans()):
            state = stored(state)
        state = aggregate.add(state, value, rank)
    assert outcome(lambda: aggregate.finish(state)) == outcome(lambda: aggregate.finish(added(aggregate, events)))


@pytest.mark.parametrize("function", TEXTS)
@settings(max_examples=40, deadline=timedelta(seconds=5))
@given(data=st.data())
def test_split_and_merge_in_any_way_is_the_whole(function, data):
    """Parts merged pairwise in any order, or all at once, stored or not, are the whole; the parts stay as they are."""
    kind = data.draw(KINDS[function])
    aggregate = aggregate_for(function, kind)
    events = data.draw(histories(kind))
    parts = [[] for _ in range(data.draw(st.integers(1, 5)))]
    for event in events:
        parts[data.draw(st.integers(0, len(parts) - 1))].append(event)
    states = [stored(added(aggregate, part)) if data.draw(st.booleans()) else added(aggregate, part) for part in parts]
    before = [msgspec.msgpack.encode(state) for state in states]
    whole = outcome(lambda: aggregate.finish(added(aggregate, events)))
    assert outcome(lambda: aggregate.finish(aggregate.merge_all(states))) == whole
    pile = list(states)
    while len(pile) > 1:
        one = pile.pop(data.draw(st.integers(0, len(pile) - 1)))
        pile[0] = aggregate.merge(pile[0], one)
    assert outcome(lambda: aggregate.finish(pile[0])) == whole
    assert outcome(lambda: aggregate.finish(pile[0])) == whole, "to finish twice gives the same"
    assert [msgspec.msgpack.encode(state) for state in states] == before


@pytest.mark.parametrize("function", FUNCTIONS)
@settings(max_examples=10, deadline=timedelta(seconds=5))
@given(events=histories(Float64))
def test_a_state_is_plain_data_that_stays_the_same(function, events):
    """What comes back from storage is written as the same bytes again."""
    state = added(aggregate_for(function, Float64), events)
    assert msgspec.msgpack.encode(stored(state)) == msgspec.msgpack.encode(state)


@pytest.mark.parametrize("function", ["sum", "mean", "var_samp", "stddev_pop"])
@settings(max_examples=30, deadline=timedelta(seconds=5))
@given(
    middle=st.sampled_from([1e16, -1e15, 1e300, 1e-300, 0.0]),
    steps=st.lists(st.integers(-5, 5), min_size=2, max_size=40),
    single=st.booleans(),
)
def test_tiny_differences_around_a_huge_mean_are_kept(function, middle, steps, single):
    """What subtracting or rounded sums of squares get wrong is right to the bit."""
    values = [middle + step * math.ulp(middle) for step in steps] + [-middle]
    aggregate = aggregate_for(function, Float64)
    state = aggregate.start()
    if single:
        for value in values:
            state = aggregate.add(state, value, (0, 0, 0))
    else:
        state = aggregate.add_all(state, values, [])
    assert exact(aggregate.finish(state)) == exact(answer(function, values))


@pytest.mark.parametrize("function", ["count", "sum", "last", "top_k(2)"])
@settings(max_examples=60, deadline=timedelta(seconds=5))
@given(
    times=st.lists(st.integers(-200, 200), max_size=30),
    hop=st.sampled_from([1, 7, 10, 50]),
    width=st.integers(1, 120) | st.none(),
    delay=st.integers(0, 20),
    t=st.integers(-220, 400),
)
def test_tiles_and_the_events_at_the_new_end_make_the_window(function, times, hop, width, delay, t):
    """Whole tiles from the aligned old end on, merged with the rest of the events, are the oracle's window."""
    window = Window(width, slide=hop, delay=delay)
    low, high = window.bounds(t)
    aggregate = aggregate_for(function, Float64)
    tiles, rest = {}, aggregate.start()
    for place, time in enumerate(times):
        tile = tile_of(time, hop)
        if low < time <= high and tile_bounds(tile, hop)[1] <= high:
            assert tile_bounds(tile, hop)[0] >= low
            tiles[tile] = aggregate.add(tiles.get(tile, aggregate.start()), time / 10, (time, NEVER, place))
        elif low < time <= high:
            rest = aggregate.add(rest, time / 10, (time, NEVER, place))
    value = aggregate.finish(aggregate.merge_all([rest, *tiles.values()]))
    rows = [Row(("k",), time, None, place, (time / 10,)) for place, time in enumerate(times)]
    assert exact(value) == exact(windowed(rows, ("k",), t, window, function, 0))
