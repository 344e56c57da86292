"""Fetch: the values of chosen rows of a source, by their places.

Only row groups that hold chosen rows are read, each column once; a row that is asked for several times is held once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from likewise.core.columns import Column
from likewise.core.types import arrow_type
from likewise.offline.asof import NOBODY, Ints, order_of
from likewise.offline.chunks import merged, take
from likewise.offline.narrow import ahead
from likewise.offline.source import Group, Source
from likewise.plan.scan import ScanColumn

_AT_ONCE = 1 << 20
"""About how many values a thread reads before it takes the chosen ones out of them."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """The values of chosen rows."""

    columns: tuple[pa.ChunkedArray, ...]
    """For each column the values of the rows, each once."""
    index: pa.Array
    """For each row asked for, where its values stand in the columns; null where there is no row."""

    def slice(self, start: int, count: int) -> list[Column]:
        """Return the columns' values for some of the rows asked for."""
        index = self.index.slice(start, count)
        return [take(column, index) for column in self.columns]


def fetch(source: Source, columns: Sequence[ScanColumn], places: Ints, pool: Executor) -> Fetched:
    """Fetch the values of rows.

    Args:
        source: where they are.
        columns: which columns, in which types.
        places: the rows, in any order; NOBODY for none.
        pool: reads row groups.
    """
    wanted, index = _distinct(places)
    parts = _parts(source, wanted)
    tasks = [(group, rows, some) for group, rows in parts for some in _together(columns, group)]
    taken = [column for found in pool.map(lambda task: task[0].take(task[2], task[1]), tasks) for column in found]
    whole = [merged(taken[n :: len(columns)], arrow_type(column.type)) for n, column in enumerate(columns)]
    return Fetched(tuple(whole), pa.array(index, mask=places == NOBODY))


def fetch_in_order(
    source: Source, columns: Sequence[ScanColumn], places: Ints, pool: Executor
) -> Iterator[list[Column]]:
    """Yield the values of rows in the order of their places, a row group at a time.

    Args:
        source: where they are.
        columns: which columns, in which types.
        places: the rows, in ascending order.
        pool: reads row groups.
    """
    yield from ahead(pool, lambda part: _take(part[0], part[1], columns), _parts(source, places))


def _distinct(places: Ints) -> tuple[Ints, Ints]:
    """Return the distinct places in ascending order, without NOBODY, and for each place which of them it is."""
    order = order_of(places + 1)
    ascending = places[order]
    new = np.diff(ascending, prepend=NOBODY) != 0
    index = np.empty(len(places), np.int64)
    index[order] = np.cumsum(new) - 1
    return ascending[new], index


def _parts(source: Source, wanted: Ints) -> list[tuple[Group, Ints]]:
    """Return the groups that hold wanted rows, and which of their rows those are."""
    ends = np.searchsorted(wanted, [group.first + group.rows for group in source.groups])
    starts = np.searchsorted(wanted, [group.first for group in source.groups])
    found = zip(source.groups, starts, ends, strict=True)
    return [(group, wanted[start:end] - group.first) for group, start, end in found if start < end]


def _take(group: Group, rows: Ints, columns: Sequence[ScanColumn]) -> list[Column]:
    return [column for some in _together(columns, group) for column in group.take(some, rows)]


def _together(columns: Sequence[ScanColumn], group: Group) -> list[Sequence[ScanColumn]]:
    """Cut columns into those that are read together: one of a large row group, many of a small one."""
    many = max(1, _AT_ONCE // group.rows)
    return [columns[start : start + many] for start in range(0, len(columns), many)]
