"""Quantiles: the exact median, and any percentile by a sketch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

from likewise.core.aggregates.base import Aggregate, Parameter, Rank, Value
from likewise.core.aggregates.sums import quotient
from likewise.core.aggregates.tally import Tallied, Tally, counted
from likewise.core.types import Family, FeatureType, Float64

Sketch = list[Any]
"""[least value, greatest value, bin to how many values are in it]; NaN has a bin, but is no least or greatest."""

NUMBERS: tuple[Family, ...] = (Family.INT, Family.FLOAT, Family.DECIMAL)
"""The families that have quantiles."""
ERROR = 0.005
"""By how much of itself an approximate percentile may be wrong."""

_GAMMA = (1 + ERROR) / (1 - ERROR)
_LOG_GAMMA = math.log(_GAMMA)
_MIDDLE = math.log(2 / (1 + _GAMMA))
_ONE = 1 << 17
"""The bin of 1.0; those of all positive floats are above 0, and negative ones have the negative bins."""
_INFINITE = 1 << 18
_NAN = 1 << 19


class Median(Tallied):
    """The median, as Float64: the middle value, or the mean of the two in the middle, rounded once; with a NaN, NaN.

    Example:
        >>> median = Median(Float64)
        >>> median.finish(median.add_all(median.start(), [4.0, 1.0, None, 2.0, 3.0], []))
        2.5
    """

    name = "median"
    takes = NUMBERS

    def output_type(self) -> FeatureType:
        """Return Float64."""
        return Float64

    def finish(self, state: Tally) -> float | None:
        """Return the median."""
        if not state:
            return None
        pairs = self.ascending(state)
        count = sum(state.values())
        low, high = _at(pairs, (count - 1) // 2), _at(pairs, count // 2)
        if None in state:
            return math.nan
        if low in (math.inf, -math.inf) or high in (math.inf, -math.inf):
            return float(low + high)
        (low, low_unit), (high, high_unit) = low.as_integer_ratio(), high.as_integer_ratio()
        return quotient(low * high_unit + high * low_unit, 2 * low_unit * high_unit)


class ApproxPercentile(Aggregate):
    """The value below which a share p of the values lies, as Float64, wrong by at most 0.5 % of itself.

    Written ``approx_percentile(0.99)``. The sketch is DDSketch: C. Masson, J. E. Rim and H. K. Lee, "DDSketch: a fast
    and fully-mergeable quantile sketch with relative-error guarantees", VLDB 2019. The result is the middle of the bin
    of the value at place floor(p * (count - 1)), but never beyond the least and greatest value, which are
    kept as they are: p = 0 and p = 1 give those. With a NaN it is NaN.

    Example:
        >>> high = ApproxPercentile(Float64, 0.9)
        >>> round(high.finish(high.add_all(high.start(), [float(n) for n in range(101)], [])), 1)
        89.6
    """

    name = "approx_percentile"
    takes = NUMBERS
    parameter = Parameter(default=0.5, low=0.0, high=1.0)

    @property
    def kind(self) -> str:
        """All percentiles have the same state."""
        return "sketch"

    def output_type(self) -> FeatureType:
        """Return Float64."""
        return Float64

    def start(self) -> Sketch:
        """Return an empty sketch."""
        return [None, None, {}]

    def add(self, state: Sketch, value: Value, rank: Rank) -> Sketch:
        """Put one value into its bin."""
        return self.add_all(state, (value,), ())

    def add_all(self, state: Sketch, values: Sequence[Value], ranks: Sequence[Rank]) -> Sketch:
        """Put many values into their bins."""
        floats = [float(value) for value in values if value is not None]
        bins = counted(state[2], Counter(map(_bin, floats)))
        ordered = floats if _NAN not in bins else [number for number in floats if number == number]
        return [*_ends([state, [min(ordered, default=None), max(ordered, default=None)]]), bins]

    def merge(self, a: Sketch, b: Sketch) -> Sketch:
        """Add two sketches."""
        return self.merge_all((a, b))

    def merge_all(self, states: Iterable[Sketch]) -> Sketch:
        """Add many sketches."""
        states = list(states)
        bins: dict[int, int] = {}
        for state in states:
            bins = counted(bins, state[2])
        return [*_ends(states), bins]

    def finish(self, state: Sketch) -> float | None:
        """Return the percentile."""
        least, greatest, bins = state
        if not bins or _NAN in bins:
            return math.nan if bins else None
        final = sum(bins.values()) - 1
        place = math.floor((self.number or 0) * final)
        if place in (0, final):
            return float(greatest if place else least)
        middle = _middle(_at(sorted(bins.items()), place))
        return float(max(least, min(middle, greatest)))


def _at(pairs: Sequence[tuple[Any, int]], place: int) -> Any:
    """The value at a place, of ascending values with their numbers."""
    ends = accumulate([number for _, number in pairs])
    return next(value for (value, _), end in zip(pairs, ends, strict=True) if end > place)


def _ends(states: Sequence[Sketch]) -> list[float | None]:
    least = min([state[0] for state in states if state[0] is not None], default=None)
    greatest = max([state[1] for state in states if state[1] is not None], default=None)
    return [None if least is None else least + 0.0, None if greatest is None else greatest + 0.0]


def _bin(number: float) -> int:
    """The bin of a number; bins have the order of the numbers in them."""
    if number > 0.0:
        return math.ceil(math.log(number) / _LOG_GAMMA) + _ONE if number < math.inf else _INFINITE
    if number < 0.0:
        return -_bin(-number)
    return 0 if number == 0.0 else _NAN


def _middle(place: int) -> float:
    """The number that stands for a bin."""
    if place <= 0:
        return -_middle(-place) if place else 0.0
    if place == _INFINITE:
        return math.inf
    try:
        return math.exp((place - _ONE) * _LOG_GAMMA + _MIDDLE)
    except OverflowError:
        return math.inf
