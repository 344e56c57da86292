"""Memory: how much of it a computation may use, and into how many rows at a time the entity rows are cut for it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from likewise.core.errors import ConfigError
from likewise.core.types import arrow_type
from likewise.offline.source import Source

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", re.IGNORECASE)
_SLOT_BYTES = 150
"""What an entity row takes while it is sorted and matched."""
_LEAST_ROWS = 1 << 16
"""How many entity rows are taken at a time at least, however little memory there is."""


def parse_size(text: str) -> int:
    """Return the bytes that a size stands for.

    Raises:
        ConfigError: the text is no size.

    Example:
        >>> parse_size("4GB"), parse_size("1.5 MiB")
        (4000000000, 1572864)
    """
    found = _SIZE.fullmatch(text)
    if found is None or float(found[1]) == 0:
        raise ConfigError(f"memory_limit: {text!r} is no size", cure="write it like 4GB or 512MiB")
    base = 1024 if found[3] else 1000
    return int(float(found[1]) * base ** (" kmgt".index(found[2].lower() or " ")))


def usual_limit() -> int:
    """Return 60 % of the memory that this machine, or this container, has."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for file in (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")):
        try:
            total = min(total, int(file.read_text()))
        except (OSError, ValueError):
            continue  # no such file, or it says "max"
    return total * 6 // 10


def slices(rows: int, sources: Sequence[Source], limit: int) -> Iterator[tuple[int, int]]:
    """Cut entity rows into slices whose answers fit in half of the memory; yield (first row, number of rows).

    Args:
        rows: how many entity rows there are.
        sources: what is joined to them.
        limit: the memory, in bytes.
    """
    each = _SLOT_BYTES + sum(row_bytes(source) for source in sources)
    most = max(_LEAST_ROWS, int(limit / 2 / each))
    for start in range(0, rows, most):
        yield start, min(most, rows - start)


def row_bytes(source: Source) -> int:
    """Estimate how many bytes one row of a source's columns takes in memory."""
    return sum(_value_bytes(source, column.column, arrow_type(column.type)) for column in source.scan.columns)


def _value_bytes(source: Source, column: str, kind: pa.DataType) -> int:
    if pa.types.is_primitive(kind) or pa.types.is_decimal(kind):
        return max(1, kind.bit_width // 8)
    sizes = [group.stored_bytes(column) for group in source.groups[:8]]
    rows = sum(group.rows for group in source.groups[:8])
    return max(16, 2 * sum(sizes) // max(1, rows))
