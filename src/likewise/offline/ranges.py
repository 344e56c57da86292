"""Ranges: the functions of windows (S6) over ranges of events, many at a time.

The values of an input stand in the order of the events, without nulls, so that a window is a range of them. What a
function needs of all values (prefix sums, extremes of blocks, ranks) is made once; then each range costs the same,
however long it is, and a key with a million events costs no more than its share. What has no such form here is done by
``core.aggregates`` itself, range by range, with the states of blocks of values kept for long ranges.

All results are to the bit those of ``core.aggregates``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from likewise.core.aggregates import Aggregate, aggregate_for
from likewise.core.aggregates.moments import integer_bytes
from likewise.core.aggregates.sums import EXACTLY
from likewise.core.columns import Column
from likewise.core.types import Family, FeatureType, arrow_type
from likewise.offline.asof import Flags, Ints, order_of
from likewise.offline.blocks import Blocks
from likewise.offline.chunks import take
from likewise.offline.extremes import Extremes
from likewise.offline.limbs import (
    SQUARED,
    Cut,
    Floats,
    Limbs,
    cut,
    of_integers,
    of_parts,
    prefix,
    rounded,
    squares,
)
from likewise.offline.orders import count_below, kth_smallest

_SCALE, _DIGITS = 18, 38
"""The digits behind the point of a decimal column, and all of them."""
_EXACT = 1 << 53
"""Up to here every whole number is a float."""


@dataclass(frozen=True, slots=True)
class Ranges:
    """Ranges of values, each of at least one; in ascending order, none twice."""

    start: Ints
    """The first value of each."""
    stop: Ints
    """The one after its last."""
    tail: Ranges | None = None
    """Where each is a range and then another one, somewhere else, the other ones; either may have no values."""

    def __len__(self) -> int:
        return len(self.start)

    @property
    def ends(self) -> list[tuple[Ints, Ints]]:
        """Where the pieces start and stop."""
        return [(self.start, self.stop), *([] if self.tail is None else self.tail.ends)]

    @property
    def many(self) -> Ints:
        """How many values each has."""
        return self.stop - self.start + (0 if self.tail is None else self.tail.many)

    def only(self, chosen: Ints) -> Ranges:
        """Return some of the ranges."""
        tail = None if self.tail is None else self.tail.only(chosen)
        return Ranges(self.start[chosen], self.stop[chosen], tail)

    def is_new(self) -> Flags:
        """Tell which ranges are others than those before them."""
        new = np.zeros(len(self), np.bool_)
        for each in (end for both in self.ends for end in both):
            new |= np.append(True, np.diff(each) != 0)
        return new

    def places(self) -> Ints:
        """Return the places of the values of all ranges, one range after the other."""
        start, stop = (np.stack(sides, axis=1).reshape(-1) for sides in zip(*self.ends, strict=True))
        many = stop - start
        ends = np.cumsum(many)
        return np.repeat(start - ends + many, many) + np.arange(int(many.sum()))


class Values:
    """The values of one input, in the order of the events.

    Args:
        column: the values, none of which is null.
        kind: their type.
        longest: how many values a range has at most.
    """

    def __init__(self, column: Column, kind: FeatureType, longest: int) -> None:
        self.column: pa.ChunkedArray = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
        self.kind = kind
        self._longest = longest
        self._blocks: dict[str, Blocks] = {}

    @cached_property
    def numbers(self) -> npt.NDArray[Any]:
        """The values as an array: floats as 64-bit ones, all else that has a number as 64-bit integers."""
        found = self.column.cast(pa.float64() if self.kind.family is Family.FLOAT else pa.int64())
        array: npt.NDArray[Any] = found.to_numpy()
        return array

    @cached_property
    def ranked(self) -> tuple[Ints, pa.Array]:
        """The rank of each value among the distinct ones, and these, ascending: NaN last, zeros without sign."""
        column = self.column
        if self.kind.family is Family.FLOAT:
            plain = np.where(np.isnan(self.numbers), np.nan, self.numbers + 0.0)
            column = pa.chunked_array([pa.array(plain).cast(column.type)])
        encoded = column.dictionary_encode().combine_chunks()
        order = pc.sort_indices(encoded.dictionary)
        rank = np.empty(len(order), np.int64)
        rank[order.to_numpy()] = np.arange(len(order))
        return rank[encoded.indices.to_numpy(False)], encoded.dictionary.take(order)

    @cached_property
    def limbs(self) -> Limbs:
        """The prefix sums of the values; those of floats are without the ones that are not finite, or out of place."""
        match self.kind.family:
            case Family.FLOAT:
                return of_parts(self.cut.parts, self.cut.bits, self.cut.unit)
            case Family.DECIMAL:
                return of_parts(_words(self.column), 32)
        return of_integers(self.numbers)

    @cached_property
    def squares(self) -> tuple[Limbs, Limbs]:
        """The prefix sums of numbers and of their squares, likewise."""
        if self.kind.family is Family.FLOAT:
            parts, unit = self.fine.parts, self.fine.unit
        else:
            sizes = np.abs(self.numbers).view(np.uint64)  # the smallest number becomes itself, which unsigned is right
            cuts = [(sizes >> np.uint64(shift)).astype(np.int64) & 0xFFFFFF for shift in (0, 24, 48)]
            parts, unit = tuple(part * np.sign(self.numbers) for part in cuts), 0
        return of_parts(parts, SQUARED, unit), squares([abs(part) for part in parts], unit)

    @cached_property
    def cut(self) -> Cut:
        """Floats as limbs that are as wide as the sums over the longest range allow."""
        return cut(self.numbers, min(52, 61 - self._longest.bit_length()))

    @cached_property
    def fine(self) -> Cut:
        """Floats as limbs whose squares can be summed."""
        return cut(self.numbers, SQUARED)

    @cached_property
    def strays(self) -> Ints | None:
        """How many of the floats before each are finite, but too large or small for :attr:`cut`; None if none is."""
        return _finite(self.cut.odd, self.numbers)

    @cached_property
    def fine_strays(self) -> Ints | None:
        """How many are for :attr:`fine`."""
        return _finite(self.fine.odd, self.numbers)

    @cached_property
    def unreal(self) -> tuple[Ints, Ints, Ints] | None:
        """How many of the floats before each are NaN, infinite, and minus infinite; None if none is."""
        if self.kind.family is not Family.FLOAT or np.isfinite(self.numbers).all():
            return None
        kinds = np.isnan(self.numbers), self.numbers == np.inf, self.numbers == -np.inf
        return prefix(kinds[0]), prefix(kinds[1]), prefix(kinds[2])

    @cached_property
    def numbers_least(self) -> Extremes:
        """The smallest values of ranges."""
        return Extremes(self.numbers, np.minimum)

    @cached_property
    def numbers_greatest(self) -> Extremes:
        """The largest values of ranges."""
        return Extremes(self.numbers, np.maximum)

    @cached_property
    def ranks_least(self) -> Extremes:
        """The smallest ranks of ranges."""
        return Extremes(self.ranked[0], np.minimum)

    @cached_property
    def ranks_greatest(self) -> Extremes:
        """The largest ranks of ranges."""
        return Extremes(self.ranked[0], np.maximum)

    @cached_property
    def before(self) -> Ints:
        """Where each value was last seen before, as a place counted from 1; 0 if never."""
        ranks = self.ranked[0]
        order = order_of(ranks)
        same = np.flatnonzero(ranks[order[1:]] == ranks[order[:-1]])
        found = np.zeros(len(ranks), np.int64)
        found[order[same + 1]] = order[same] + 1
        return found

    def blocks(self, aggregate: Aggregate) -> Blocks:
        """Return what computes any function, range by range."""
        if aggregate.kind not in self._blocks:
            self._blocks[aggregate.kind] = Blocks(aggregate, self._plain)
        return self._blocks[aggregate.kind].finished_by(aggregate)

    @cached_property
    def _plain(self) -> list[Any]:
        """The values as ``core.aggregates`` takes them."""
        found: list[Any] = self.numbers.tolist() if self.kind.family is Family.TIME else self.column.to_pylist()
        return found


Function = Callable[[Values, Ranges, Aggregate], Column]
"""Computes one function over ranges: a result for each, in the function's own type."""


def over_ranges(function: str, values: Values, ranges: Ranges) -> Column:
    """Compute a function over ranges of values.

    Args:
        function: its text, such as ``sum`` or ``last_n(5)``.
        values: the values.
        ranges: the ranges.

    Raises:
        AggregateOverflow: a sum is beyond its type.

    Example:
        >>> from likewise.core.types import Int64
        >>> values = Values(pa.array([1, 2, 4]), Int64, longest=3)
        >>> over_ranges("sum", values, Ranges(np.array([0, 1]), np.array([2, 3]))).to_pylist()
        [3, 6]
    """
    aggregate = aggregate_for(function, values.kind)
    return _FUNCTIONS.get(aggregate.name, _one_by_one)(values, ranges, aggregate)


def _one_by_one(values: Values, ranges: Ranges, aggregate: Aggregate) -> Column:
    blocks = values.blocks(aggregate)
    pieces = [zip(start.tolist(), stop.tolist(), strict=True) for start, stop in ranges.ends]
    return pa.array([blocks.over(*ends) for ends in zip(*pieces, strict=True)], arrow_type(aggregate.output))


def _count(values: Values, ranges: Ranges, aggregate: Aggregate) -> Column:
    return pa.array(ranges.many)


def _sum(values: Values, ranges: Ranges, aggregate: Aggregate) -> Column:
    match values.kind.family:
        case Family.FLOAT:
            return pa.array(_float_sums(values, ranges, aggregate))
        case Family.DECIMAL:
            return _decimal_sums(values, ranges, aggregate)
    low, high, above = values.limbs.over(*ranges.ends)
    high += above << 32
    beyond = np.flatnonzero(high != high << 32 >> 32)
    if len(beyond):
        _one_by_one(values, ranges.only(beyond[:1]), aggregate)  # raises, and says what the sum is
    return pa.array((high << 32) | low)


def _float_sums(values: Values, ranges: Ranges, aggregate: Aggregate) -> Floats:
    limbs = values.limbs
    found = rounded(limbs.over(*ranges.ends), limbs.bits, limbs.unit) + 0.0
    if values.unreal is not None:
        nan, above, below = (_more(counts, ranges) for counts in values.unreal)
        found[above], found[below] = np.inf, -np.inf
        found[nan | (above & below)] = np.nan
    return _mended(found, _more(values.strays, ranges), values, ranges, aggregate)


def _decimal_sums(values: Values, ranges: Ranges, aggregate: Aggregate) -> Column:
    whole = values.limbs.whole(*ranges.ends)
    beyond = [place for place, number in enumerate(whole) if abs(number) >= 10**_DIGITS]
    if beyond:
        _one_by_one(values, ranges.only(np.array(beyond[:1])), aggregate)  # raises, and says what the sum is
    return pa.array([Decimal(number).scaleb(-_SCALE, EXACTLY) for number in whole], arrow_type(aggregate.output))


def _mean(values: Values, ranges: Ranges, aggregate: Aggregate) -> Column:
    limbs, many = values.limbs, ranges.many
    match values.kind.family:
        case Family.FLOAT:
            sums = _float_sums(values, ranges, aggregate_for("sum", values.kind))
            apart = np.isinf(sums) | _more(values.strays, ranges)
        case Family.DECIMAL:
            whole = limbs.whole(*ranges.ends)
            return pa.array([w / (n * 10**_SCALE) for w, n in zip(whole, many.tolist(), strict=True)])
        case _:
            sums = rounded(limbs.over(*ranges.ends), limbs.bits, limbs.unit)
            apart = abs(sums) >= _EXACT
    return pa.array(_mended(sums / many, apart, values, ranges, aggregate))


def _spread(values: Values, ranges: Ranges, aggregate: Aggregate) -> Column:
    """Give the function exact sums as its state; the rest is its own."""
    if values.kind.family is Family.DECIMAL:
        return _one_by_one(values, ranges, aggregate)
    total, square = values.squares
    above, digits = max(total.unit, 0), max(-total.unit, 0)
    sums = [
        (integer_bytes(one << above), integer_bytes(two << 2 * above))
        for one, two in zip(*(limbs.whole(*ranges.ends) for limbs in (total, square)), strict=True)
    ]
    known = zip(ranges.many.tolist(), _unreal(values, ranges).tolist(), sums, strict=True)
    found = [aggregate.finish([many, odd, digits, *both]) for many, odd, both in known]
    if values.kind.family is Family.FLOAT:
        strays = np.flatnonzero(_more(values.fine_strays, ranges))
        if len(strays):
            for place, mended in zip(
                strays, _one_by_one(values, ranges.only(strays), aggregate).to_pylist(), strict=True
            ):
                found[place] = mended
    return pa.array(found, pa.float64())


def _min(values: Values, ranges: Ranges, aggregate: Aggregate) -> Column:
    if values.kind.family in _NUMBERS:
        return _as_number(_extremes(values.numbers_least, ranges), values.kind)
    return values.ranked[1].take(pa.array(_extremes(values.ranks_least, ranges)))


def _max(values: Values, ranges: Ranges, aggregate: Aggregate) -> Column:
    if values.kind.family in _NUMBERS:
        return _as_number(_extremes(values.numbers_greatest, ranges), values.kind)
    return values.ranked[1].take(pa.array(_extremes(values.ranks_greatest, ranges)))


def _first(values: Values, ranges: Ranges, aggregate: Aggregate) -> Column:
    start = (
        ranges.start if ranges.tail is None else np.where(ranges.stop > ranges.start, ranges.start, ranges.tail.start)
    )
    return take(values.column, pa.array(start))


def _last(values: Values, ranges: Ranges, aggregate: Aggregate) -> Column:
    stop, tail = ranges.stop, ranges.tail
    return take(values.column, pa.array((stop if tail is None else np.where(tail.many > 0, tail.stop, stop)) - 1))


def _first_n(values: Values, ranges: Ranges, aggregate: Aggregate) -> Column:
    return _lists(values, _at_most(ranges, np.full(len(ranges), aggregate.number)))


def _at_most(ranges: Ranges, many: Ints) -> Ranges:
    """Return the first so many values of each range."""
    stop = np.minimum(ranges.stop, ranges.start + many)
    tail = None if ranges.tail is None else _at_most(ranges.tail, many - (stop - ranges.start))
    return Ranges(ranges.start, stop, tail)


def _last_n(values: Values, ranges: Ranges, aggregate: Aggregate) -> Column:
    many = np.full(len(ranges), aggregate.number)
    tail = ranges.tail
    if tail is not None:
        tail = Ranges(np.maximum(tail.start, tail.stop - many), tail.stop)
        many = many - tail.many
    return _lists(values, Ranges(np.maximum(ranges.start, ranges.stop - many), ranges.stop, tail))


def _lists(values: Values, ranges: Ranges) -> Column:
    """Return the values of each range as a list."""
    found = take(values.column, pa.array(ranges.places()))
    inner = found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
    return pa.ListArray.from_arrays(pa.array(prefix(ranges.many), pa.int32()), inner)


def _count_distinct(values: Values, ranges: Ranges, aggregate: Aggregate) -> Column:
    """Count the values that were not seen before within the range."""
    if ranges.tail is not None:
        return _one_by_one(values, ranges, aggregate)
    return pa.array(count_below(values.before, ranges.start, ranges.stop, ranges.start + 1))


def _median(values: Values, ranges: Ranges, aggregate: Aggregate) -> Column:
    if ranges.tail is not None:
        return _one_by_one(values, ranges, aggregate)
    ranks, distinct = values.ranked
    ends = [kth_smallest(ranks, ranges.start, ranges.stop, (ranges.many - odd) // 2) for odd in (1, 0)]
    low, high = (distinct.take(pa.array(end)) for end in ends)
    if values.kind.family is Family.DECIMAL:
        return _medians(low, high, aggregate)
    a, b = (side.cast(pa.float64(), safe=False).to_numpy(False) for side in (low, high))
    with np.errstate(over="ignore", invalid="ignore"):
        found = (a + b) / 2
        found = np.where(np.isinf(found), a / 2 + b / 2, found)  # the sum may be beyond the floats
    if values.kind.family is Family.INT:
        large = np.flatnonzero(np.maximum(abs(a), abs(b)) >= _EXACT // 2)
        found[large] = _medians(low.take(pa.array(large)), high.take(pa.array(large)), aggregate).to_numpy(False)
    found[_unreal(values, ranges, 1)] = np.nan
    return pa.array(found)


def _medians(low: pa.Array, high: pa.Array, aggregate: Aggregate) -> pa.Array:
    """Return the middle of pairs of values, as the function itself rounds it."""
    pairs = zip(low.to_pylist(), high.to_pylist(), strict=True)
    return pa.array([aggregate.finish(aggregate.add_all(aggregate.start(), pair, ())) for pair in pairs], pa.float64())


def _mended(found: Floats, apart: Flags, values: Values, ranges: Ranges, aggregate: Aggregate) -> Floats:
    """Compute some of the results anew, one by one."""
    places = np.flatnonzero(apart)
    if len(places):
        found[places] = _one_by_one(values, ranges.only(places), aggregate).to_numpy(False)
    return found


def _finite(odd: Flags | None, numbers: Floats) -> Ints | None:
    """Count those that are odd although they are finite."""
    strays = None if odd is None else odd & np.isfinite(numbers)
    return None if strays is None or not strays.any() else prefix(strays)


def _more(counts: Ints | None, ranges: Ranges) -> Flags:
    """Tell in which ranges a count grows."""
    found = np.zeros(len(ranges), np.bool_)
    if counts is not None:
        for start, stop in ranges.ends:
            found |= counts[stop] > counts[start]
    return found


def _unreal(values: Values, ranges: Ranges, kinds: int = 3) -> Flags:
    """Tell which ranges have a float that is NaN, or, of three kinds, infinite."""
    found = np.zeros(len(ranges), np.bool_)
    for counts in (values.unreal or ())[:kinds]:
        found |= _more(counts, ranges)
    return found


def _extremes(extremes: Extremes, ranges: Ranges) -> npt.NDArray[Any]:
    """Return the extreme of each range, of which a piece may have no values."""
    if ranges.tail is None:
        return extremes.over(ranges.start, ranges.stop)
    found = np.zeros(len(ranges), extremes.kind)
    filled = np.zeros(len(ranges), np.bool_)
    for start, stop in ranges.ends:
        some = np.flatnonzero(stop > start)
        own = extremes.over(start[some], stop[some])
        found[some] = np.where(filled[some], extremes.take(found[some], own), own)
        filled[some] = True
    return found


def _as_number(numbers: npt.NDArray[Any], kind: FeatureType) -> pa.Array:
    """Return numbers in the Arrow type of the values that they stand for; zero has no sign."""
    return pa.array(numbers + 0.0 if kind.family is Family.FLOAT else numbers).cast(arrow_type(kind))


def _words(column: Column) -> list[Ints]:
    """Return decimals as whole numbers, cut into four limbs of 32 bits, of which the last has the sign."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    words = np.frombuffer(whole.buffers()[1], np.int64)[2 * whole.offset :][: 2 * len(whole)]
    low, high = words[::2], words[1::2]
    return [low & 0xFFFFFFFF, (low >> 32) & 0xFFFFFFFF, high & 0xFFFFFFFF, high >> 32]


_NUMBERS = (Family.BOOL, Family.INT, Family.FLOAT, Family.TIME)
_FUNCTIONS: Mapping[str, Function] = {
    "count": _count,
    "sum": _sum,
    "mean": _mean,
    "min": _min,
    "max": _max,
    "var_samp": _spread,
    "var_pop": _spread,
    "stddev_samp": _spread,
    "stddev_pop": _spread,
    "first": _first,
    "last": _last,
    "first_n": _first_n,
    "last_n": _last_n,
    "count_distinct": _count_distinct,
    "median": _median,
}
"""The functions that are quick over any range; every other one is computed range by range."""
