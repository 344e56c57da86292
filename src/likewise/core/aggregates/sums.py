"""Sums and means, exact until the last step, so that no order of events and no split into tiles can change them.

Integers and decimals are added as they are. Floats are kept as a few floats whose exact sum is the sum so far (the
"expansions" of J. R. Shewchuk, "Adaptive Precision Floating-Point Arithmetic and Fast Robust Geometric Predicates",
1997), which ``math.fsum`` rounds once, at the end.
"""

from __future__ import annotations

import decimal
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from typing import Any

from likewise.core.aggregates.base import Aggregate, Rank, Value
from likewise.core.errors import AggregateOverflow
from likewise.core.keys import plain_decimal
from likewise.core.types import Decimal, Family, FeatureType, Float64, Int64

Total = list[Any]
"""The state: the number of values, then what the arithmetic of their family keeps."""

EXACTLY = decimal.Context(prec=999, traps=[decimal.Inexact, decimal.InvalidOperation, decimal.Overflow])
"""Decimal arithmetic that raises rather than round."""

_FEW = 8
"""From how many floats on a sum is pressed into fewer."""
_FINEST = 1 << 1074
"""Every float is a whole number of 1 / _FINEST."""
_GREATEST = math.ldexp(1.0 - 2.0**-53, 1024)
_LOW_BITS = 32
_LOW = (1 << _LOW_BITS) - 1


class Arithmetic(ABC):
    """How the numbers of one family are added, as the parts of a state behind its count."""

    result: FeatureType
    """The type of their sum."""

    @abstractmethod
    def zero(self) -> list[Any]:
        """Return the parts of no numbers."""

    @abstractmethod
    def plus(self, parts: Sequence[Any], numbers: Sequence[Any]) -> list[Any]:
        """Return the parts with these numbers added; none of them is null."""

    @abstractmethod
    def joined(self, many: Sequence[Sequence[Any]]) -> list[Any]:
        """Return the parts of the sum of sums."""

    @abstractmethod
    def total(self, parts: Sequence[Any]) -> Any:
        """Return the sum, in its type.

        Raises:
            AggregateOverflow: its type does not hold it.
        """

    @abstractmethod
    def mean(self, parts: Sequence[Any], count: int) -> float:
        """Return the sum, divided by a count of at least one."""


class Integers(Arithmetic):
    """Integers: the sum's high bits, and its low 32 bits, so that both fit where the sum does not."""

    result = Int64

    def zero(self) -> list[int]:
        """Return the parts of 0."""
        return [0, 0]

    def plus(self, parts: Sequence[int], numbers: Sequence[int]) -> list[int]:
        """Add integers."""
        whole = (parts[0] << _LOW_BITS) + parts[1] + sum(numbers)
        return [whole >> _LOW_BITS, whole & _LOW]

    def joined(self, many: Sequence[Sequence[int]]) -> list[int]:
        """Add the high parts, and the low parts, and carry."""
        low = sum([parts[1] for parts in many])
        return [sum([parts[0] for parts in many]) + (low >> _LOW_BITS), low & _LOW]

    def total(self, parts: Sequence[int]) -> int:
        """Return the sum, if 64 bits hold it."""
        whole = self._whole(parts)
        if not -(2**63) <= whole < 2**63:
            raise AggregateOverflow(
                f"the sum {whole} is beyond Int64", cure="sum floats or decimals, such as CAST(column AS DOUBLE)"
            )
        return whole

    def mean(self, parts: Sequence[int], count: int) -> float:
        """Return the exact mean, rounded once."""
        return self._whole(parts) / count

    @staticmethod
    def _whole(parts: Sequence[int]) -> int:
        return (parts[0] << _LOW_BITS) + parts[1]


class Floats(Arithmetic):
    """Floats: the sum of those that are not finite, 0.0 if all are, then a few whose exact sum is that of the rest."""

    result = Float64

    def zero(self) -> list[float]:
        """Return the parts of 0.0."""
        return [0.0]

    def plus(self, parts: Sequence[float], numbers: Sequence[float]) -> list[float]:
        """Add floats."""
        if len(numbers) == 1 and len(parts) < _FEW and math.isfinite(numbers[0]):
            return [*parts, numbers[0]]
        odd = parts[0]
        if not math.isfinite(sum(numbers)):
            odd = sum([number for number in numbers if not math.isfinite(number)], odd)
            numbers = [number for number in numbers if math.isfinite(number)]
        return [odd, *pressed([*parts[1:], *numbers])]

    def joined(self, many: Sequence[Sequence[float]]) -> list[float]:
        """Add the odd ones, and press all others together."""
        odd = sum([parts[0] for parts in many])
        return [odd + 0.0, *pressed([part for parts in many for part in parts[1:]])]

    def total(self, parts: Sequence[float]) -> float:
        """Return the sum, rounded once; beyond the range of floats it is infinite."""
        if parts[0]:
            return parts[0]
        try:
            return math.fsum(parts) + 0.0
        except OverflowError:  # on the way, perhaps not in the end
            return quotient(_grains(parts), _FINEST)

    def mean(self, parts: Sequence[float], count: int) -> float:
        """Return the rounded sum divided by the count; where the sum is beyond the floats, the rounded exact mean."""
        total = self.total(parts)
        if math.isfinite(total) or parts[0]:
            return total / count
        return quotient(_grains(parts), _FINEST * count)


class Decimals(Arithmetic):
    """Decimals: the sum's text, with all of its digits."""

    result = Decimal

    def zero(self) -> list[str]:
        """Return the parts of 0."""
        return ["0"]

    def plus(self, parts: Sequence[str], numbers: Sequence[decimal.Decimal]) -> list[str]:
        """Add decimals."""
        return [plain_decimal(reduce(EXACTLY.add, numbers, decimal.Decimal(parts[0])))]

    def joined(self, many: Sequence[Sequence[str]]) -> list[str]:
        """Add sums."""
        return self.plus(self.zero(), [decimal.Decimal(parts[0]) for parts in many])

    def total(self, parts: Sequence[str]) -> decimal.Decimal:
        """Return the sum, if 20 digits before the point hold it."""
        whole = decimal.Decimal(parts[0])
        if abs(whole) >= 10**20:
            raise AggregateOverflow(
                f"the sum {whole} is beyond Decimal, which has 20 digits before the point",
                cure="sum floats, such as CAST(column AS DOUBLE)",
            )
        return whole

    def mean(self, parts: Sequence[str], count: int) -> float:
        """Return the exact mean, rounded once."""
        above, below = decimal.Decimal(parts[0]).as_integer_ratio()
        return quotient(above, below * count)


_ARITHMETICS: Mapping[Family, Callable[[], Arithmetic]] = {
    Family.INT: Integers,
    Family.FLOAT: Floats,
    Family.DECIMAL: Decimals,
}


def pressed(floats: list[float]) -> list[float]:
    """Return few floats with exactly the sum of many: the rounded sum, then what the rounding lost, and so on.

    Example:
        >>> pressed([1e16, 1.0, 1e-300, -1e16])
        [1.0, 1e-300]
    """
    if len(floats) < 2:
        return floats
    parts: list[float] = []
    try:
        while part := math.fsum(floats):
            parts.append(part)
            floats = [*floats, -part]
    except OverflowError:
        return _split(_grains(floats))
    return parts


def _grains(floats: Iterable[float]) -> int:
    """The exact sum of finite floats, in the unit 1 / _FINEST."""
    ratios = [number.as_integer_ratio() for number in floats]
    return sum([above * (_FINEST // below) for above, below in ratios])


def _split(grains: int) -> list[float]:
    """Floats with exactly this sum, the greatest that there are as long as one is not enough."""
    parts = []
    while grains:
        part = max(-_GREATEST, min(quotient(grains, _FINEST), _GREATEST))
        parts.append(part)
        grains -= _grains([part])
    return parts


def quotient(above: int, below: int) -> float:
    """Return the quotient of an integer and a positive one, rounded once; infinite beyond the floats.

    Example:
        >>> quotient(1, 3), quotient(-(10**400), 1)
        (0.3333333333333333, -inf)
    """
    try:
        return above / below
    except OverflowError:
        return math.inf if above > 0 else -math.inf


class Totalled(Aggregate):
    """What needs the sum and the number of the values: one state for all of them."""

    takes = (Family.INT, Family.FLOAT, Family.DECIMAL)

    def __init__(self, input: FeatureType, parameter: int | float | None = None) -> None:
        self.arithmetic = _ARITHMETICS[input.family]()
        super().__init__(input, parameter)

    @property
    def kind(self) -> str:
        """Sum and mean have the same state."""
        return "total"

    def start(self) -> Total:
        """Return the state of no values."""
        return [0, *self.arithmetic.zero()]

    def add(self, state: Total, value: Value, rank: Rank) -> Total:
        """Add one value."""
        return state if value is None else [state[0] + 1, *self.arithmetic.plus(state[1:], (value,))]

    def add_all(self, state: Total, values: Sequence[Value], ranks: Sequence[Rank]) -> Total:
        """Add many values."""
        numbers = [value for value in values if value is not None]
        return [state[0] + len(numbers), *self.arithmetic.plus(state[1:], numbers)] if numbers else state

    def merge(self, a: Total, b: Total) -> Total:
        """Add two totals."""
        return self.merge_all((a, b))

    def merge_all(self, states: Iterable[Total]) -> Total:
        """Add many totals."""
        filled = [state for state in states if state[0]]
        if len(filled) < 2:
            return list(filled[0]) if filled else self.start()
        return [sum([state[0] for state in filled]), *self.arithmetic.joined([state[1:] for state in filled])]


class Sum(Totalled):
    """The sum: Int64 of integers, Float64 of floats, rounded once, and Decimal of decimals.

    Example:
        >>> total = Sum(Float64)
        >>> total.finish(total.add_all(total.start(), [1e16, 1.0, -1e16], []))
        1.0
    """

    name = "sum"

    def output_type(self) -> FeatureType:
        """Return Int64, Float64 or Decimal."""
        return self.arithmetic.result

    def finish(self, state: Total) -> Value:
        """Return the sum.

        Raises:
            AggregateOverflow: an integer's or decimal's is beyond its type.
        """
        return self.arithmetic.total(state[1:]) if state[0] else None


class Mean(Totalled):
    """The mean, as Float64: the exact sum of integers and decimals, or the rounded one of floats, divided by the count.

    Example:
        >>> mean = Mean(Int64)
        >>> mean.finish(mean.add_all(mean.start(), [1, None, 2], []))
        1.5
    """

    name = "mean"

    def output_type(self) -> FeatureType:
        """Return Float64."""
        return Float64

    def finish(self, state: Total) -> float | None:
        """Return the mean."""
        return self.arithmetic.mean(state[1:], state[0]) if state[0] else None
