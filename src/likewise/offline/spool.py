"""Spool: the latest rows of a source's keys, cut into parts and kept on disk until each part was read.

All parts are found in one pass over the source, as the first of them is asked for. So a source that is read in a
hundred parts is read once, and not a hundred times.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from likewise.offline.asof import Ints
from likewise.offline.disk import room_for

Parted = Iterable[tuple[pa.RecordBatch, Ints]]
"""Rows, and which part each is in."""


class Spool:
    """Rows in parts, on disk.

    Args:
        folder: where to keep them; empty: the system's folder.
        schema: the rows' columns.
        parts: how many parts there are.
        rows: the rows.

    Example:
        >>> rows = pa.record_batch({"user": [1, 2, 3]})
        >>> spool = Spool("", rows.schema, 2, [(rows, np.array([0, 1, 0]))])
        >>> [batch.to_pydict() for batch in spool.read(0)]
        [{'user': [1, 3]}]
        >>> spool.close()
    """

    def __init__(self, folder: str, schema: pa.Schema, parts: int, rows: Parted) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="likewise-", dir=folder or None))
        self._clean = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._left = set(range(parts))
        try:
            self._write(schema, parts, rows)
        except BaseException:
            self.close()
            raise

    def read(self, part: int) -> Iterator[pa.RecordBatch]:
        """Return the rows of a part; they are forgotten once all were read."""
        return self._drained(part, pa.OSFile(str(self._path(part))))

    def read_if_left(self, part: int) -> Iterator[pa.RecordBatch] | None:
        """Return the rows of a part; None if it was read, be it at this moment by another thread."""
        if part not in self._left:
            return None
        try:
            return self.read(part)
        except FileNotFoundError:
            return None

    def close(self) -> None:
        """Forget all rows."""
        self._clean()

    def _drained(self, part: int, file: pa.OSFile) -> Iterator[pa.RecordBatch]:
        with file, pa.ipc.open_stream(file) as reader:
            yield from reader
        self._left.discard(part)
        self._path(part).unlink(missing_ok=True)

    def _path(self, part: int) -> Path:
        return self._folder / f"{part}.arrow"

    def _write(self, schema: pa.Schema, parts: int, rows: Parted) -> None:
        with room_for("the latest rows of a source"), contextlib.ExitStack() as stack:
            writers = [self._writer(stack, schema, part) for part in range(parts)]
            for batch, numbers in rows:
                ordered = batch.take(pa.array(np.argsort(numbers, kind="stable")))
                ends = np.cumsum(np.bincount(numbers, minlength=parts))
                for writer, start, end in zip(writers, [0, *ends[:-1]], ends, strict=True):
                    writer.write_batch(ordered.slice(start, end - start))

    def _writer(self, stack: contextlib.ExitStack, schema: pa.Schema, part: int) -> pa.RecordBatchStreamWriter:
        file = stack.enter_context(pa.OSFile(str(self._path(part)), "wb"))
        return stack.enter_context(pa.ipc.new_stream(file, schema))


class Spools:
    """The spools of an engine, a few at a time, by what they are for."""

    def __init__(self, most: int = 4) -> None:
        self._most = most
        self._kept: dict[object, Spool] = {}
        self._lock = threading.Lock()

    def part(self, what: object, part: int, make: Callable[[], Spool]) -> Iterator[pa.RecordBatch]:
        """Return the rows of a part.

        Args:
            what: what the spool is for; all that its rows depend on.
            part: the part.
            make: makes the spool, if there is none, or none that still has the part.
        """
        with self._lock:
            spool = self._kept.pop(what, None)
            rows = None if spool is None else spool.read_if_left(part)
            if spool is None or rows is None:
                if spool is not None:
                    spool.close()
                spool = make()
                rows = spool.read(part)
            self._kept[what] = spool
            while len(self._kept) > self._most:
                self._kept.pop(next(iter(self._kept))).close()
            return rows

    def close(self) -> None:
        """Forget all of them."""
        with self._lock:
            for spool in self._kept.values():
                spool.close()
            self._kept = {}
