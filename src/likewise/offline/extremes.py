"""Extremes: the smallest or largest value of any range of rows, for the same work however long the range is.

The rows are cut into blocks. A range within one block is looked through. A longer one is the end of a block, the start
of another, and whole blocks between: the first two are looked up among the extremes from each row to its block's end
and from its block's start, and any run of whole blocks is two runs, perhaps overlapping, of a power of two of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from likewise.offline.asof import Ints

Numbers = npt.NDArray[Any]

_BLOCK = 32
"""How many rows a block has."""


class Extremes:
    """The smallest or the largest of ranges of numbers; NaN is both.

    Args:
        values: the numbers.
        take: ``np.minimum`` or ``np.maximum``.

    Example:
        >>> smallest = Extremes(np.array([3, 1, 2]), np.minimum)
        >>> smallest.over(np.array([0, 2]), np.array([2, 3])).tolist()
        [1, 2]
    """

    def __init__(self, values: Numbers, take: np.ufunc) -> None:
        self.take = take
        self._values = np.append(values, values[-1:])  # a range may end after the last row
        whole = -(-len(values) // _BLOCK) * _BLOCK
        blocks = np.pad(values, (0, whole - len(values)), "edge").reshape(-1, _BLOCK) if len(values) else values
        self._blocks = blocks
        self._runs: list[Numbers] = []

    @property
    def kind(self) -> np.dtype[Any]:
        """The numbers' type."""
        return self._values.dtype

    def over(self, start: Ints, stop: Ints) -> Numbers:
        """Return the extreme of each range; ranges have at least one row."""
        found = np.empty(len(start), self._values.dtype)
        within = start // _BLOCK == (stop - 1) // _BLOCK
        short, long = np.flatnonzero(within), np.flatnonzero(~within)
        found[short] = self._looked_through(start[short], stop[short])
        if len(long):
            found[long] = self._looked_up(start[long], stop[long])
        return found

    def _looked_through(self, start: Ints, stop: Ints) -> Numbers:
        """Go through ranges that are no longer than a block, one row of each at a time."""
        found: Numbers = self._values[start]
        many = stop - start
        left = np.flatnonzero(many > 1)
        ahead = 1
        while len(left):
            found[left] = self.take(found[left], self._values[start[left] + ahead])
            ahead += 1
            left = left[many[left] > ahead]
        return found

    def _looked_up(self, start: Ints, stop: Ints) -> Numbers:
        self._prepare()
        found: Numbers = self.take(self._to_end[start], self._from_start[stop - 1])
        first, after = start // _BLOCK + 1, (stop - 1) // _BLOCK
        more = np.flatnonzero(after > first)
        if len(more):
            found[more] = self.take(found[more], self._run(first[more], after[more]))
        return found

    def _run(self, first: Ints, after: Ints) -> Numbers:
        """Return the extreme of blocks from ``first`` up to before ``after``."""
        level = np.frexp((after - first).astype(np.float64))[1] - 1
        found = np.empty(len(first), self._values.dtype)
        for number in range(int(level.max()) + 1):
            at = np.flatnonzero(level == number)
            runs = self._level(number)
            found[at] = self.take(runs[first[at]], runs[after[at] - (1 << number)])
        return found

    def _level(self, number: int) -> Numbers:
        """Return the extreme of the 2 to the ``number`` blocks from each block on."""
        while len(self._runs) <= number:
            below, half = self._runs[-1], 1 << (len(self._runs) - 1)
            self._runs.append(self.take(below[:-half], below[half:]))
        return self._runs[number]

    def _prepare(self) -> None:
        if not self._runs:
            self._from_start: Numbers = self.take.accumulate(self._blocks, axis=1).reshape(-1)
            self._to_end: Numbers = self.take.accumulate(self._blocks[:, ::-1], axis=1)[:, ::-1].reshape(-1)
            self._runs = [self._from_start[_BLOCK - 1 :: _BLOCK].copy()]
