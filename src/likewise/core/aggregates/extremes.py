"""Extremes: the least and the greatest value. Any NaN makes the result NaN, and zero has no sign."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

from likewise.core.aggregates.base import Aggregate, Rank, State, Value
from likewise.core.aggregates.packed import packer, unpacker
from likewise.core.types import Family, FeatureType


class Extreme(Aggregate):
    """The value at one end of the order; its state is that value, or None where there was none."""

    takes = (Family.BOOL, Family.INT, Family.FLOAT, Family.DECIMAL, Family.TEXT, Family.TIME)

    def __init__(self, input: FeatureType, parameter: int | float | None = None) -> None:
        super().__init__(input, parameter)
        self._pack, self._unpack = packer(input), unpacker(input)

    @abstractmethod
    def pick(self, values: Iterable[Any]) -> Any:
        """Return the one of some values, none of which is NaN or null."""

    def start(self) -> State:
        """Return None."""
        return None

    def add(self, state: State, value: Value, rank: Rank) -> State:
        """Compare one value."""
        return self.add_all(state, (value,), ())

    def add_all(self, state: State, values: Sequence[Value], ranks: Sequence[Rank]) -> State:
        """Compare many values."""
        known = [value for value in values if value is not None]
        if state is not None:
            known.append(self._unpack(state))
        return self._pack(self._best(known)) if known else None

    def merge(self, a: State, b: State) -> State:
        """Compare two states."""
        return self.merge_all((a, b))

    def merge_all(self, states: Iterable[State]) -> State:
        """Compare many states."""
        known = [self._unpack(state) for state in states if state is not None]
        return self._pack(self._best(known)) if known else None

    def finish(self, state: State) -> Value:
        """Return the value."""
        return None if state is None else self._unpack(state)

    def _best(self, values: list[Any]) -> Any:
        if self.input.family is not Family.FLOAT:
            return self.pick(values)
        return math.nan if any(map(math.isnan, values)) else self.pick(values) + 0.0


class Min(Extreme):
    """The least value, in the input's type; text by code points, False before True.

    Example:
        >>> from likewise.core.types import String
        >>> least = Min(String)
        >>> least.finish(least.add_all(least.start(), ["b", None, "a"], []))
        'a'
    """

    name = "min"

    def pick(self, values: Iterable[Any]) -> Any:
        """Return the least."""
        return min(values)


class Max(Extreme):
    """The greatest value, in the input's type; text by code points, False before True.

    Example:
        >>> from likewise.core.types import Int64
        >>> greatest = Max(Int64)
        >>> greatest.finish(greatest.add_all(greatest.start(), [1, None, 3], []))
        3
    """

    name = "max"

    def pick(self, values: Iterable[Any]) -> Any:
        """Return the greatest."""
        return max(values)
