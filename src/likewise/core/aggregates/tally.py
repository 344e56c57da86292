"""Tallies: how often each value occurs, which several functions need; NaN equals NaN, and -0.0 equals 0.0."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from likewise.core.aggregates.base import Aggregate, Rank, Value
from likewise.core.aggregates.counts import SCALAR
from likewise.core.aggregates.packed import Convert, packer, same, unpacker
from likewise.core.types import Family, FeatureType

Tally = dict[Any, int]
"""The state: packed value to how often it occurred; NaN is the key None."""


def keyer(kind: FeatureType) -> Convert:
    """Return what turns a value of a scalar type into a form in which equal values are equal, also in a dict.

    Example:
        >>> from likewise.core.types import Float64
        >>> [keyer(Float64)(value) for value in (1.5, -0.0, math.nan)]
        [1.5, 0.0, None]
    """
    return _float_key if kind.family is Family.FLOAT else packer(kind)


def unkeyer(kind: FeatureType) -> Convert:
    """Return what turns such a form into the value.

    Example:
        >>> from likewise.core.types import Float64
        >>> unkeyer(Float64)(None)
        nan
    """
    return _float_value if kind.family is Family.FLOAT else unpacker(kind)


def _float_key(value: float) -> float | None:
    return value + 0.0 if value == value else None


def _float_value(key: float | None) -> float:
    return math.nan if key is None else key


class Tallied(Aggregate):
    """What needs each value with its number: one state for all of them."""

    takes = SCALAR

    def __init__(self, input: FeatureType, parameter: int | float | None = None) -> None:
        super().__init__(input, parameter)
        self._key, self._unkey = keyer(input), unkeyer(input)

    @property
    def kind(self) -> str:
        """All that need a tally have the same state."""
        return "tally"

    def start(self) -> Tally:
        """Return an empty tally."""
        return {}

    def add(self, state: Tally, value: Value, rank: Rank) -> Tally:
        """Count one value."""
        if value is not None:
            key = self._key(value)
            state[key] = state.get(key, 0) + 1
        return state

    def add_all(self, state: Tally, values: Sequence[Value], ranks: Sequence[Rank]) -> Tally:
        """Count many values."""
        known = [value for value in values if value is not None]
        return counted(state, Counter(known if self._key is same else map(self._key, known)))

    def merge(self, a: Tally, b: Tally) -> Tally:
        """Add two tallies."""
        return counted(dict(a), b)

    def merge_all(self, states: Iterable[Tally]) -> Tally:
        """Add many tallies."""
        whole: Tally = {}
        for state in states:
            whole = counted(whole, state)
        return whole

    def ascending(self, state: Tally) -> list[tuple[Value, int]]:
        """Return the values with their numbers, the least value first, and NaN after all others."""
        pairs = [(self._unkey(key), number) for key, number in state.items() if key is not None]
        return sorted(pairs) + [(math.nan, number) for key, number in state.items() if key is None]


def counted(whole: dict[Any, int], more: Mapping[Any, int]) -> dict[Any, int]:
    """Add numbers to a dict of numbers, in place, and return it.

    Example:
        >>> counted({"a": 1}, {"a": 2, "b": 1})
        {'a': 3, 'b': 1}
    """
    if not whole:
        whole.update(more)
        return whole
    for key, number in more.items():
        whole[key] = whole.get(key, 0) + number
    return whole
