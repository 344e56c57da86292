"""Fetch: the values of chosen rows of a source, by their places.

Only the row groups and columns that hold chosen rows are read, each once, a column at a time; a row that is asked for
several times is held once.
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
from likewise.offline.narrow import ahead
from likewise.offline.source import Group, Source
from likewise.plan.scan import ScanColumn

_LARGEST = 1 << 30
"""Columns below this many bytes are made one array, which makes taking values quicker; larger text may not fit one."""


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
        return [column.take(index) for column in self.columns]


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
    tasks = [(group, rows, column) for column in columns for group, rows in parts]
    taken = list(pool.map(lambda task: task[0].take(task[2], task[1]), tasks))
    count = len(parts)
    merged = [_merged(taken[n * count : (n + 1) * count], column) for n, column in enumerate(columns)]
    return Fetched(tuple(merged), pa.array(index, mask=places == NOBODY))


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
    return [group.take(column, rows) for column in columns]


def _merged(pieces: Sequence[Column], column: ScanColumn) -> pa.ChunkedArray:
    chunks = [chunk for piece in pieces for chunk in (piece.chunks if isinstance(piece, pa.ChunkedArray) else [piece])]
    whole = pa.chunked_array(chunks, arrow_type(column.type))
    return pa.chunked_array([whole.combine_chunks()], whole.type) if whole.nbytes < _LARGEST else whole
