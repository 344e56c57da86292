"""Parts of an answer that wait on disk until they are read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from likewise.offline.asof import Ints
from likewise.offline.spool import Spool, Spools

SCHEMA = pa.schema([("a", pa.int64())])


def rows(count: int, parts: int) -> Iterator[tuple[pa.RecordBatch, Ints]]:
    """Yield numbers in batches of ten, each in the part of its remainder."""
    for start in range(0, count, 10):
        numbers = np.arange(start, min(count, start + 10))
        yield pa.record_batch([numbers], SCHEMA), numbers % parts


def values(batches: Iterator[pa.RecordBatch]) -> list[int]:
    """Return all numbers of some batches."""
    return [value for batch in batches for value in batch.column(0).to_pylist()]


def test_each_part_has_its_rows_in_order(tmp_path: Path) -> None:
    """The parts together are all rows, each part in the order in which its rows came; a part may be empty."""
    spool = Spool(str(tmp_path), SCHEMA, 4, rows(23, 3))
    assert [values(spool.read(part)) for part in (2, 0, 3, 1)] == [
        list(range(n, 23, 3)) if n < 3 else [] for n in (2, 0, 3, 1)
    ]
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_a_part_is_forgotten_once_it_was_read(tmp_path: Path) -> None:
    """Reading a part to its end frees its room; reading half of it does not."""
    spool = Spool(str(tmp_path), SCHEMA, 2, rows(100, 2))
    half = spool.read(0)
    next(half)
    assert spool.read_if_left(0) is not None
    half.close()  # type: ignore[attr-defined]
    assert values(spool.read(0)) == list(range(0, 100, 2))
    assert spool.read_if_left(0) is None
    assert spool.read_if_left(1) is not None
    assert [file.name for file in next(tmp_path.iterdir()).iterdir()] == ["1.arrow"]
    spool.close()


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    """If the rows break off with an error, so does the spool, and it leaves no files."""

    def broken() -> Iterator[tuple[pa.RecordBatch, Ints]]:
        yield from rows(10, 2)
        raise ValueError("broken off")

    with pytest.raises(ValueError, match="broken off"):
        Spool(str(tmp_path), SCHEMA, 2, broken())
    assert list(tmp_path.iterdir()) == []


def test_spools_are_made_when_they_are_needed(tmp_path: Path) -> None:
    """A spool is made once for all of its parts, again for a part that was read before, and few are kept."""
    made: list[str] = []
    spools = Spools(most=2)

    def part(what: str, number: int) -> list[int]:
        def make() -> Spool:
            made.append(what)
            return Spool(str(tmp_path), SCHEMA, 2, rows(4, 2))

        return values(spools.part(what, number, make))

    assert [part("a", 0), part("a", 1)] == [[0, 2], [1, 3]]
    assert made == ["a"]
    assert part("a", 1) == [1, 3]
    assert made == ["a", "a"]
    for what in "bca":
        part(what, 0)
    assert made == ["a", "a", "b", "c", "a"]
    assert len(list(tmp_path.iterdir())) == 2
    spools.close()
    assert list(tmp_path.iterdir()) == []
