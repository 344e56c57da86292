"""Memory: how much of it a computation may use, and into how many rows at a time the entity rows are cut for it."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from likewise.core.aggregates import parse_function
from likewise.core.errors import ConfigError
from likewise.core.types import Family, arrow_type
from likewise.offline.source import Source
from likewise.plan.windows import WindowJoin

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", re.IGNORECASE)
_SLOT_BYTES = 150
"""What an entity row takes while it is sorted and matched."""
_UNKNOWN = 8 << 30
"""The memory of a machine that does not say how much it has."""
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
    pages, size = ("SC_PHYS_PAGES", "SC_PAGE_SIZE")
    total = os.sysconf(pages) * os.sysconf(size) if pages in os.sysconf_names else _UNKNOWN
    for file in (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")):
        try:
            total = min(total, int(file.read_text()))
        except (OSError, ValueError):
            continue  # no such file, or it says "max"
    return total * 6 // 10


def slices(rows: int, answer_bytes: int, limit: int) -> Iterator[tuple[int, int]]:
    """Cut entity rows into slices whose answers fit in half of the memory; yield (first row, number of rows).

    Args:
        rows: how many entity rows there are.
        answer_bytes: how much one row's answer takes.
        limit: the memory, in bytes.

    Example:
        >>> list(slices(100_000, 10_000, 1_000_000_000))
        [(0, 65536), (65536, 34464)]
    """
    most = max(_LEAST_ROWS, limit // 2 // (_SLOT_BYTES + answer_bytes))
    for start in range(0, rows, most):
        yield start, min(most, rows - start)


def answer_bytes(source: Source) -> int:
    """Estimate how many bytes one row of a source's columns takes in memory, by its first file."""
    groups = [group for group in source.groups if group.file is source.groups[0].file][:4]
    rows = max(1, sum(group.rows for group in groups))
    stored: Counter[str] = Counter()
    for group in groups:
        footer = group.file.footer.row_group(group.number)
        for leaf in range(footer.num_columns):
            column = footer.column(leaf)
            stored[column.path_in_schema.partition(".")[0]] += column.total_uncompressed_size
    return sum(_value_bytes(arrow_type(column.type), stored[column.column] / rows) for column in source.scan.columns)


def result_bytes(join: WindowJoin) -> int:
    """Estimate how many bytes one row of the results of windows takes in memory."""
    found = 0
    for feature in join.windows.features:
        number = parse_function(feature.function).parameter if feature.type.family is Family.LIST else None
        found += _value_bytes(arrow_type(feature.type), 8.0 * (number or 1))
    return found


def _value_bytes(kind: pa.DataType, stored: float) -> int:
    if pa.types.is_primitive(kind) or pa.types.is_decimal(kind):
        return max(1, int(kind.bit_width) // 8)
    return max(16, int(2 * stored))  # what repeats takes less room in a file
