"""Events: rows of a windowed view on their way into the online store, from a push or from the source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
"""A column of int64."""


@dataclass(frozen=True, slots=True)
class Events:
    """Some events of some keys, column by column; one entry of each column for each event.

    Example:
        >>> import pyarrow as pa
        >>> code, time, amounts = np.array([0, 1, 0]), np.array([5, 6, 7]), pa.array([1, 2, 3])
        >>> some = Events([b"a", b"b"], code, time, None, np.arange(3), [amounts])
        >>> some.only([b"b"]).time
        array([6])
    """

    keys: Sequence[bytes]
    """The entity keys, each once; one may have no event."""
    code: Ints
    """Which of the keys each event has."""
    time: Ints
    """Event times, in microseconds."""
    created: Ints | None
    """Created times, in microseconds, the least int64 for none; None where no event has one."""
    order: Ints
    """The place of each event in its source, or in its push: of two with the same times the greater is the later."""
    inputs: Sequence[Any]
    """An Arrow array for each of the window set's inputs, of its type."""

    def only(self, keys: Sequence[bytes]) -> Events:
        """Return the events of some of the keys.

        Args:
            keys: which, in the order wanted; one may be new, and has no event.
        """
        place = {key: number for number, key in enumerate(keys)}
        where = np.fromiter((place.get(key, -1) for key in self.keys), np.int64, len(self.keys))
        code = where[self.code] if len(self.code) else self.code
        kept = np.flatnonzero(code >= 0)
        return Events(
            keys,
            code[kept],
            self.time[kept],
            None if self.created is None else self.created[kept],
            self.order[kept],
            [column.take(kept) for column in self.inputs],
        )
