"""Orders: how many values of any range of rows are small, and which is the k-th smallest, for the same work however
long the range is.

Both walk down a wavelet matrix (Claude, Navarro and Ordóñez, 2015): level by level the numbers are looked at by one
bit, from the highest, and sorted by it, zeros first and otherwise in the order they have. A range stays a range, of
zeros or of ones, whose ends follow from a count of the zeros before each row. All ranges walk together, so that only
one level exists at a time.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from likewise.offline.asof import Flags, Ints
from likewise.offline.limbs import prefix


def count_below(values: Ints, start: Ints, stop: Ints, limit: Ints) -> Ints:
    """Return how many values of each range are less than its limit.

    Args:
        values: numbers of at least zero.
        start: the first row of each range.
        stop: the row after the last of each.
        limit: a number of at least zero for each range.

    Example:
        >>> at = np.array([0]), np.array([3]), np.array([5])
        >>> count_below(np.array([7, 1, 4, 1]), *at).tolist()
        [2]
    """
    found = np.zeros(len(start), np.int64)
    bits = max(int(values.max(initial=0)), int(limit.max(initial=0))).bit_length()
    for bit, zeros in _levels(values, bits):
        first, last = zeros[start], zeros[stop]
        up = (limit >> bit) & 1 == 1
        found += np.where(up, last - first, 0)
        start, stop = _descend(start, stop, first, last, int(zeros[-1]), up)
    return found


def kth_smallest(values: Ints, start: Ints, stop: Ints, rank: Ints) -> Ints:
    """Return the value of each range that has ``rank`` others before it once they are sorted.

    Args:
        values: numbers of at least zero.
        start: the first row of each range.
        stop: the row after the last of each.
        rank: from 0, less than the range's length.

    Example:
        >>> kth_smallest(np.array([7, 1, 4, 1]), np.array([0]), np.array([3]), np.array([1])).tolist()
        [4]
    """
    found = np.zeros(len(start), np.int64)
    for bit, zeros in _levels(values, int(values.max(initial=0)).bit_length()):
        first, last = zeros[start], zeros[stop]
        up = rank >= last - first
        found |= np.where(up, 1 << bit, 0)
        rank = np.where(up, rank - (last - first), rank)
        start, stop = _descend(start, stop, first, last, int(zeros[-1]), up)
    return found


def _levels(values: Ints, bits: int) -> Iterator[tuple[int, Ints]]:
    """Yield each bit from the highest, and how many values before each row, as they stand, have none there."""
    for bit in range(bits - 1, -1, -1):
        zero = (values >> bit) & 1 == 0
        yield bit, prefix(zero)
        values = np.concatenate([values[zero], values[~zero]])


def _descend(start: Ints, stop: Ints, first: Ints, last: Ints, zeros: int, up: Flags) -> tuple[Ints, Ints]:
    """Return where ranges lie on the next level: among the zeros, or, where they go up, among the ones."""
    return np.where(up, start - first + zeros, first), np.where(up, stop - last + zeros, last)
