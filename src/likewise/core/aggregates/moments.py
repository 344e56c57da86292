"""Moments: variance and standard deviation, from exact sums of the values and of their squares.

A sum of squares is a bad basis only when it is rounded. Here each number is a whole multiple of one common unit, a
power of 2 for floats and of 10 for decimals, and the sums are integers of any length; the one rounding comes at the
end. The square root is rounded once as well, by the method of CPython's ``statistics`` (an integer root,
rounded to odd).
"""

from __future__ import annotations

import math
import operator
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from functools import reduce
from itertools import repeat
from typing import Any

from likewise.core.aggregates.base import Aggregate, Rank, Value
from likewise.core.aggregates.sums import EXACTLY, quotient
from likewise.core.types import Family, FeatureType, Float64

Moments = list[Any]
"""[count, whether one is not finite, digits behind the point, sum, sum of squares]; both sums are integers as bytes, in
units of base ** -digits and of its square."""


class Spread(Aggregate):
    """What is made of the number, the sum and the sum of squares: one state for all of them."""

    takes = (Family.INT, Family.FLOAT, Family.DECIMAL)

    def __init__(self, input: FeatureType, parameter: int | float | None = None) -> None:
        super().__init__(input, parameter)
        self._base = 10 if input.family is Family.DECIMAL else 2

    @property
    def kind(self) -> str:
        """All variances and deviations have the same state."""
        return "moments"

    def output_type(self) -> FeatureType:
        """Return Float64."""
        return Float64

    def start(self) -> Moments:
        """Return the state of no values."""
        return [0, False, 0, b"", b""]

    def add(self, state: Moments, value: Value, rank: Rank) -> Moments:
        """Add one value."""
        return self.add_all(state, (value,), ())

    def add_all(self, state: Moments, values: Sequence[Value], ranks: Sequence[Rank]) -> Moments:
        """Add many values."""
        numbers = [value for value in values if value is not None]
        count, odd = len(numbers), False
        if self.input.family is Family.FLOAT and not math.isfinite(sum(numbers)):
            numbers = [number for number in numbers if math.isfinite(number)]
            odd = len(numbers) < count
        digits, whole = self._scaled(numbers)
        added = [
            count,
            odd,
            digits,
            integer_bytes(sum(whole)),
            integer_bytes(sum(map(operator.mul, whole, whole))),
        ]
        return self.merge_all((state, added))

    def merge(self, a: Moments, b: Moments) -> Moments:
        """Add two states."""
        return self.merge_all((a, b))

    def merge_all(self, states: Iterable[Moments]) -> Moments:
        """Bring many states to one unit, and add them."""
        filled = [state for state in states if state[0]]
        if len(filled) < 2:
            return list(filled[0]) if filled else self.start()
        finest = max([state[2] for state in filled])
        total = squares = 0
        for _, _, digits, sum_bytes, square_bytes in filled:
            factor = self._base ** (finest - digits)
            total += _to_int(sum_bytes) * factor
            squares += _to_int(square_bytes) * factor * factor
        odd = any(state[1] for state in filled)
        return [sum([state[0] for state in filled]), odd, finest, integer_bytes(total), integer_bytes(squares)]

    def variance(self, state: Moments, free: int) -> tuple[int, int] | None:
        """Return the exact variance over count - free, as a fraction; None where that is not a number."""
        count, odd, digits, sum_bytes, square_bytes = state
        if odd:
            return None
        total, squares = _to_int(sum_bytes), _to_int(square_bytes)
        return count * squares - total * total, count * (count - free) * self._base ** (2 * digits)

    @abstractmethod
    def finish(self, state: Moments) -> float | None:
        """Return the result."""

    def _scaled(self, numbers: Sequence[Any]) -> tuple[int, Sequence[int]]:
        """The numbers as integers in a common unit, and how many digits of it stand behind the point."""
        match self.input.family:
            case Family.FLOAT:
                return _in_bits(numbers)
            case Family.DECIMAL if numbers:
                digits = max(0, *[-number.as_tuple().exponent for number in numbers])
                return digits, [int(number.scaleb(digits, EXACTLY)) for number in numbers]
        return 0, numbers


def _in_bits(floats: Sequence[float]) -> tuple[int, Sequence[int]]:
    """Finite floats as integers in the coarsest power of 2 that fits all, and its bits behind the point."""
    least = min(map(abs, filter(None, floats)), default=1.0)
    bits = min(max(0, 53 - math.frexp(least)[1]), 1074)
    try:
        whole = list(map(int, map(math.ldexp, floats, repeat(bits))))
    except OverflowError:  # the greatest and the least are too far apart
        ratios = [number.as_integer_ratio() for number in floats]
        whole = [(above << bits) // below for above, below in ratios]
    used = reduce(operator.or_, whole, 0)
    spare = min(bits, (used & -used).bit_length() - 1) if used else bits
    return bits - spare, [number >> spare for number in whole] if spare else whole


def integer_bytes(number: int) -> bytes:
    """Return an integer of any length as it stands in a state.

    Example:
        >>> integer_bytes(-2)
        b'\\xfe'
    """
    return number.to_bytes((number.bit_length() + 8) // 8, "big", signed=True)


def _to_int(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def _rounded(fraction: tuple[int, int] | None) -> float:
    return math.nan if fraction is None else quotient(*fraction)


def _root(fraction: tuple[int, int] | None) -> float:
    """The square root of a fraction, rounded once: see ``statistics._float_sqrt_of_frac`` of CPython."""
    if fraction is None:
        return math.nan
    above, below = fraction
    shift = (above.bit_length() - below.bit_length() - 109) // 2
    if shift >= 0:
        return quotient(_odd_root(above, below << 2 * shift) << shift, 1)
    return quotient(_odd_root(above << -2 * shift, below), 1 << -shift)


def _odd_root(above: int, below: int) -> int:
    """The integer square root, made odd where it is not exact, so that the next rounding is the right one."""
    root = math.isqrt(above // below)
    return root | (root * root * below != above)


class VarSamp(Spread):
    """The sample variance, over count - 1, as Float64; null for fewer than two values.

    Example:
        >>> spread = VarSamp(Float64)
        >>> spread.finish(spread.add_all(spread.start(), [1e9 + 1, 1e9 + 2, 1e9 + 3], []))
        1.0
    """

    name = "var_samp"

    def finish(self, state: Moments) -> float | None:
        """Return the variance."""
        return _rounded(self.variance(state, 1)) if state[0] > 1 else None


class VarPop(Spread):
    """The population variance, over the count, as Float64.

    Example:
        >>> spread = VarPop(Float64)
        >>> spread.finish(spread.add(spread.start(), 5.0, (0, 0, 0)))
        0.0
    """

    name = "var_pop"

    def finish(self, state: Moments) -> float | None:
        """Return the variance."""
        return _rounded(self.variance(state, 0)) if state[0] else None


class StddevSamp(Spread):
    """The sample standard deviation, over count - 1, as Float64; null for fewer than two values.

    Example:
        >>> spread = StddevSamp(Float64)
        >>> spread.finish(spread.add_all(spread.start(), [1.0, 3.0], []))
        1.4142135623730951
    """

    name = "stddev_samp"

    def finish(self, state: Moments) -> float | None:
        """Return the deviation."""
        return _root(self.variance(state, 1)) if state[0] > 1 else None


class StddevPop(Spread):
    """The population standard deviation, over the count, as Float64.

    Example:
        >>> spread = StddevPop(Float64)
        >>> spread.finish(spread.add_all(spread.start(), [1.0, 3.0], []))
        1.0
    """

    name = "stddev_pop"

    def finish(self, state: Moments) -> float | None:
        """Return the deviation."""
        return _root(self.variance(state, 0)) if state[0] else None
