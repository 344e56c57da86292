"""Counts: how many values there are that are not null; over the constant 1, how many rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from likewise.core.aggregates.base import Aggregate, Rank, Value
from likewise.core.types import NESTED, Family, FeatureType, Int64

SCALAR: tuple[Family, ...] = tuple(family for family in Family if family not in (*NESTED, Family.UNKNOWN))
"""The families of values that have no parts."""
ANY: tuple[Family, ...] = (*SCALAR, *NESTED)
"""Every family that has values."""


class Count(Aggregate):
    """The number of values that are not null; 0 where there is none.

    Example:
        >>> count = Count(Int64)
        >>> count.finish(count.add_all(count.start(), [7, None, 7], []))
        2
    """

    name = "count"
    takes = ANY

    def output_type(self) -> FeatureType:
        """Return Int64."""
        return Int64

    def start(self) -> int:
        """Return 0."""
        return 0

    def add(self, state: int, value: Value, rank: Rank) -> int:
        """Count one value."""
        return state + (value is not None)

    def add_all(self, state: int, values: Sequence[Value], ranks: Sequence[Rank]) -> int:
        """Count many values."""
        return state + sum([value is not None for value in values])

    def merge(self, a: int, b: int) -> int:
        """Add two counts."""
        return a + b

    def merge_all(self, states: Iterable[int]) -> int:
        """Add many counts."""
        return sum(states)

    def finish(self, state: int) -> int:
        """Return the count."""
        return state
