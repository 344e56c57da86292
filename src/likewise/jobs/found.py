"""Found: the records of one view for the rows of a request, and what is left of them where they could not be read."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from likewise.online.response import FieldStatus

_INVALID = FieldStatus.INVALID


class Found(msgspec.Struct, frozen=True):
    """The records of one view for the rows of a request."""

    columns: Sequence[Sequence[Any]]
    """The values, one column for each wanted feature."""
    states: Sequence[FieldStatus] | None
    """What is known of each row's record; None when all are there and count."""
    times: Sequence[int | None]
    """The event time of each row's record; None where there is none."""
    unknown: Mapping[int, Sequence[int]]
    """Number of a wanted feature to the rows whose records do not have it yet."""
    invalid: frozenset[int] = frozenset()
    """The rows whose records could not be read; their states say so too."""

    span: tuple[int, int] | None = None
    """The earliest and the latest event time of the records; None when there is none, and for windows."""

    def states_of(self, wanted: int) -> Sequence[FieldStatus] | None:
        """Return what is known of each row's record as far as one wanted feature goes."""
        rows = self.unknown.get(wanted)
        if rows is None:
            return self.states
        states = [FieldStatus.PRESENT] * len(self.times) if self.states is None else list(self.states)
        for row in rows:
            states[row] = FieldStatus.NOT_FOUND
        return states


def nothing_read(features: int, rows: int) -> Found:
    """Return what is found where no record could be read.

    Args:
        features: how many features are wanted.
        rows: how many rows there are.

    Example:
        >>> nothing_read(1, 2).columns
        [[None, None]]
    """
    none = [None] * rows
    return Found([none] * features, [_INVALID] * rows, none, {}, frozenset(range(rows)))


def without(found: Found, rows: Collection[int]) -> Found:
    """Return what was found, less some rows whose records could not be read.

    Args:
        found: what the records say that could be read.
        rows: the rows of the others.
    """
    if not rows:
        return found
    invalid = frozenset(rows)
    states = [FieldStatus.PRESENT] * len(found.times) if found.states is None else found.states
    return Found(
        [spared(column, invalid) for column in found.columns],
        [_INVALID if row in invalid else state for row, state in enumerate(states)],
        spared(found.times, invalid),
        {number: [row for row in places if row not in invalid] for number, places in found.unknown.items()},
        invalid,
    )


def spared(values: Sequence[Any], rows: Collection[int]) -> list[Any]:
    """Return values with None in some rows."""
    return [None if row in rows else value for row, value in enumerate(values)]
