"""Chunks: columns in several arrays, which stay so where one array could not hold them.

An Arrow array of text holds at most 2 GiB, and Arrow takes values out of several arrays by making one of them first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from likewise.core.columns import Column

LARGEST = 1 << 30
"""The most bytes that are made one array, which makes taking values quicker."""


def merged(columns: Sequence[Column], kind: pa.DataType) -> pa.ChunkedArray:
    """Return columns after one another as one column: one array, unless it is too large for that."""
    chunks = [
        chunk for column in columns for chunk in (column.chunks if isinstance(column, pa.ChunkedArray) else [column])
    ]
    whole = pa.chunked_array(chunks, kind)
    return pa.chunked_array([whole.combine_chunks()], kind) if whole.nbytes < LARGEST else whole


def take(column: pa.ChunkedArray, index: pa.Array, largest: int = LARGEST) -> Column:
    """Return some values of a column, each of its arrays by itself if together they are too large.

    Args:
        column: the values.
        index: where the values stand; null gives null.
        largest: up to how many bytes the arrays may be made one.

    Example:
        >>> column = pa.chunked_array([["a"], ["b", "c"]])
        >>> take(column, pa.array([2, None, 0, 2]), largest=0).to_pylist()
        ['c', None, 'a', 'c']
    """
    if column.num_chunks <= 1 or column.nbytes < largest:
        return column.take(index)
    places = index.fill_null(0).to_numpy(zero_copy_only=False)
    order = np.argsort(places, kind="stable")
    ends = np.cumsum([len(chunk) for chunk in column.chunks])
    cuts = [0, *np.searchsorted(places[order], ends)]
    found = [
        chunk.take(pa.array(places[order[cuts[n] : cuts[n + 1]]] - (ends[n] - len(chunk))))
        for n, chunk in enumerate(column.chunks)
    ]
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    empty = index.is_null().to_numpy(zero_copy_only=False)
    return pa.concat_arrays(found).take(pa.array(back, mask=empty))
