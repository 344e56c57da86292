"""Limbs: numbers cut into whole parts of a few bits, whose sums over any range of rows are exact and cost the same.

Every value is a whole multiple of a power of two, the *unit*. As a whole number of units it is cut into limbs of
``bits`` bits, and each limb is summed from the first row on. A range's sum is then the difference of two prefix sums
for each limb, whatever its length. Prefix sums may wrap around 2^64: the differences come out right, as no range's own
sum is that large.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from likewise.offline.asof import Flags, Ints

Floats = npt.NDArray[np.float64]

_MOST = 6
"""How many limbs a float column has at most; values far larger or smaller than most others are left out."""
SQUARED = 24
"""How many bits the limbs of numbers have whose squares are summed."""
_SMALLEST = -1074
"""The exponent of the smallest float."""


@dataclass(frozen=True, slots=True)
class Limbs:
    """The prefix sums of the limbs of some numbers."""

    sums: tuple[Ints, ...]
    """For each limb, from the lowest, its sum over the rows before each row, and over all."""
    bits: int
    """How many bits a limb has."""
    unit: int
    """The exponent of the power of two that the lowest limb counts."""

    def over(self, *ends: tuple[Ints, Ints]) -> list[Ints]:
        """Return the limbs of the sums over ranges, with one more for what is carried out of the highest.

        All but the last are at least zero and less than two to the ``bits``; the last has the sign.

        Args:
            ends: where the ranges start and stop; several, where each of them consists of so many pieces.
        """
        limbs = (sum((sums[stop] - sums[start] for start, stop in ends), np.zeros(1, np.int64)) for sums in self.sums)
        return carried(list(limbs), self.bits)

    def whole(self, *ends: tuple[Ints, Ints]) -> list[int]:
        """Return the sums over ranges, in units, as Python's numbers."""
        limbs = self.over(*ends)
        found: list[int] = limbs[-1].tolist()
        for limb in reversed(limbs[:-1]):
            found = [(high << self.bits) + low for high, low in zip(found, limb.tolist(), strict=True)]
        return found


def prefix(values: npt.NDArray[np.generic]) -> Ints:
    """Return the sum of the values before each row, and of all; it wraps around.

    Example:
        >>> prefix(np.array([True, False, True])).tolist()
        [0, 1, 1, 2]
    """
    sums = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=sums[1:])
    return sums


def carried(limbs: Sequence[Ints], bits: int) -> list[Ints]:
    """Carry what is more than a limb holds, or less than zero, into the next one; there is one more at the end.

    Example:
        >>> [limb.tolist() for limb in carried([np.array([-1]), np.array([9])], 3)]
        [[7], [0], [1]]
    """
    found, carry = [], np.zeros(1, np.int64)
    for limb in limbs:
        limb = limb + carry
        found.append(limb & ((1 << bits) - 1))
        carry = limb >> bits
    return [*found, carry]


def of_integers(values: Ints) -> Limbs:
    """Return the limbs of 64-bit integers."""
    return Limbs((prefix(values & 0xFFFFFFFF), prefix(values >> 32)), 32, 0)


def of_parts(parts: Sequence[Ints], bits: int, unit: int = 0) -> Limbs:
    """Return the limbs of numbers that are cut already."""
    return Limbs(tuple(map(prefix, parts)), bits, unit)


def squares(parts: Sequence[Ints], unit: int) -> Limbs:
    """Return the limbs of the squares of numbers.

    Args:
        parts: the numbers, cut into limbs of :data:`SQUARED` bits, none negative.
        unit: the exponent of their unit.

    Example:
        >>> squares([np.array([3]), np.array([1])], 0).whole((np.array([0]), np.array([1]))) == [(3 + 2**24) ** 2]
        True
    """
    products = [np.zeros(1, np.int64) for _ in range(2 * len(parts) - 1)]
    for n, one in enumerate(parts):
        for m, other in enumerate(parts[n:], n):
            products[n + m] = products[n + m] + one * other * (1 if n == m else 2)
    return of_parts(carried(products, SQUARED), SQUARED, 2 * unit)


@dataclass(frozen=True, slots=True)
class Cut:
    """Floats as whole numbers of a unit, cut into limbs."""

    parts: tuple[Ints, ...]
    """The limbs of each value, from the lowest; all of one value have its sign."""
    bits: int
    """How many bits a limb has."""
    unit: int
    """The exponent of the unit."""
    odd: Flags | None
    """Which values are not in: those that are not finite, and the few that are too far from the others."""


def cut(values: Floats, bits: int) -> Cut:
    """Cut floats into limbs of some bits.

    Example:
        >>> found = cut(np.array([0.75, -3.0, float("inf")]), 24)
        >>> found.odd.tolist()
        [False, False, True]
    """
    odd = ~np.isfinite(values)
    exponent = np.frexp(np.where(odd, 0.0, values))[1]
    idle = odd | (values == 0)
    low, high = _window(exponent[~idle] if idle.any() else exponent, _MOST * bits)
    odd |= ~idle & ((np.maximum(exponent - 53, _SMALLEST) < low) | (exponent > high))
    left = np.ldexp(np.where(odd, 0.0, values) if odd.any() else values, -low)
    parts = []
    for number in range(max(1, -(-(high - low) // bits)) - 1, 0, -1):
        whole = np.trunc(np.ldexp(left, -number * bits))
        left = left - np.ldexp(whole, number * bits)
        parts.append(whole.astype(np.int64))
    parts.append(left.astype(np.int64))
    return Cut(tuple(reversed(parts)), bits, low, odd if odd.any() else None)


def _window(exponent: npt.NDArray[np.int32], width: int) -> tuple[int, int]:
    """Return the exponents of the lowest and highest bits to keep: of all values, or of as many as fit in a width."""
    if not len(exponent):
        return 0, 1
    low, high = max(int(exponent.min()) - 53, _SMALLEST), int(exponent.max())
    if high - low <= width:
        return low, high
    counts = np.bincount(np.maximum(exponent - 53, _SMALLEST) - low)  # by the lowest bit that a value may have
    below = np.concatenate([[0], np.cumsum(counts)])
    ends = np.minimum(np.arange(len(counts)) + width - 52, len(counts))
    best = int(np.argmax(below[ends] - below[: len(counts)]))
    return low + best, low + best + width


def rounded(limbs: Sequence[Ints], bits: int, unit: int) -> Floats:
    """Return the floats nearest to numbers given as limbs, as :meth:`Limbs.over` gives them; ties go to even.

    The limbs do not overlap and, once the sign is taken off, none is negative. They are added from the lowest to the
    highest, each time rounding to odd, and only the last time to nearest, which is as if it was rounded once
    (Boldo and Melquiond, Emulation of FMA and correctly rounded sums, 2008).
    """
    negative = limbs[-1] < 0
    signed = [np.where(negative, -limb, limb) for limb in limbs] if negative.any() else limbs
    whole = carried(signed, bits)
    *lower, highest = [np.ldexp(limb.astype(np.float64), n * bits) for n, limb in enumerate(whole)]
    total, pieces = highest, []
    for limb in reversed(lower):  # adding exactly from the top leaves no two pieces that overlap
        total, error = two_sum(total, limb)
        pieces.append(error)
    rest = np.zeros_like(total)
    for piece in reversed(pieces):
        rest = _add_to_odd(piece, rest)
    with np.errstate(over="ignore"):
        found = np.ldexp(total + rest, unit)
    signed_result: Floats = np.where(negative, -found, found)
    return signed_result


def two_sum(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Return the rounded sum of two floats and what rounding took off it (Knuth)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _add_to_odd(a: Floats, b: Floats) -> Floats:
    """Add two floats; of the two floats around an inexact sum, take the one whose last bit is one."""
    total, error = two_sum(a, b)
    bits = total.view(np.int64)
    step = np.where((error > 0) == (total > 0), 1, -1)
    return np.where((error != 0) & (bits & 1 == 0), bits + step, bits).view(np.float64)
