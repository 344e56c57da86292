"""Blocks: any function over ranges of values, with the states of blocks of values kept for long ranges (S6).

A short range is added up value by value. A long one is the end of a block, the start of another, and whole blocks
between, of which runs of a power of two are merged once and kept, so that it costs two blocks and a few merges.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from likewise.core.aggregates.base import Aggregate, Rank, State

_BLOCK = 256
"""How many values a block has."""


class Blocks:
    """One function over ranges of values.

    Args:
        aggregate: the function.
        values: the values in the order of the events, none of them null.

    Example:
        >>> from likewise.core.aggregates import aggregate_for
        >>> from likewise.core.types import Int64
        >>> Blocks(aggregate_for("top_k(1)", Int64), [7, 8, 8, 7, 7]).over((0, 3))
        [8]
    """

    def __init__(self, aggregate: Aggregate, values: Sequence[Any]) -> None:
        self._aggregate = aggregate
        self._values = values
        self._kept: dict[tuple[int, int], State] = {}

    def finished_by(self, aggregate: Aggregate) -> Blocks:
        """Return the same blocks for another function that has the same states."""
        other = Blocks(aggregate, self._values)
        other._kept = self._kept
        return other

    def over(self, *ends: tuple[int, int]) -> Any:
        """Return the result of the values of one range, or of several pieces, one after the other.

        Args:
            ends: the first value of each piece, and the one after its last.
        """
        states = [state for start, stop in ends for state in self._states(start, stop)]
        whole = states[0] if len(states) == 1 else self._aggregate.merge_all(states)
        return self._aggregate.finish(whole)

    def _states(self, start: int, stop: int) -> list[State]:
        first, after = -(-start // _BLOCK), stop // _BLOCK
        if after - first < 2:
            return [self._added(start, stop)]
        return [self._added(start, first * _BLOCK), *self._runs(first, after), self._added(after * _BLOCK, stop)]

    def _added(self, start: int, stop: int) -> State:
        ranks: list[Rank] = []
        if self._aggregate.ranked:  # the values are in the order of their events' ranks
            ranks = [(place, 0, 0) for place in range(start, stop)]
        return self._aggregate.add_all(self._aggregate.start(), self._values[start:stop], ranks)

    def _runs(self, first: int, after: int) -> list[State]:
        """Return the states of the largest runs that make up the blocks from ``first`` to before ``after``."""
        states = []
        while first < after:
            aligned = (first & -first).bit_length() - 1 if first else after.bit_length()
            level = min(aligned, (after - first).bit_length() - 1)
            states.append(self._run(level, first >> level))
            first += 1 << level
        return states

    def _run(self, level: int, number: int) -> State:
        """Return the state of 2 to the ``level`` blocks; ``number`` of such runs are before it."""
        if (level, number) not in self._kept:
            if level:
                halves = [self._run(level - 1, 2 * number), self._run(level - 1, 2 * number + 1)]
                self._kept[level, number] = self._aggregate.merge_all(halves)
            else:
                self._kept[level, number] = self._added(number * _BLOCK, (number + 1) * _BLOCK)
        return self._kept[level, number]
