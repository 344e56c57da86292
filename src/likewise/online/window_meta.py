"""Meta: what a table of windowed states says of all its keys; with it the view is live."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from likewise.core.types import Int64
from likewise.online.rows import Layout, RowReader, RowWriter

META_KEY = b"\x00"
"""Where a table keeps it; no entity key is this short."""
_LAYOUT = Layout.of([("since", Int64), ("cover", Int64), ("read_at", Int64)])


@dataclass(frozen=True, slots=True)
class Meta:
    """What holds for every key of a table that has no record of its own.

    Example:
        >>> Meta.of(Meta(since=0, cover=None, read_at=7).record())
        Meta(since=0, cover=None, read_at=7)
    """

    since: int
    """After this event time the history is whole, in microseconds."""
    cover: int | None
    """Up to this event time the events come from the batch source; None when there is none."""
    read_at: int
    """When the source was read: events that were pushed up to then, of up to the cover, are in it."""

    def record(self) -> bytes:
        """Return it as a record."""
        columns: list[list[int | None]] = [[self.since], [self.cover], [self.read_at]]
        [record] = RowWriter(_LAYOUT).encode([META_KEY], [0], None, columns)
        return record

    @classmethod
    def of(cls, record: bytes, table: str = "") -> Self:
        """Read it from its record.

        Raises:
            RecordCorrupt: the record is not what was written.
            StoreTooNew: it was written by a newer version of Likewise.
        """
        reader = RowReader(_LAYOUT, table=table, check_each=True)
        [[since], [cover], [read_at]] = reader.decode([META_KEY], [record]).columns
        return cls(since, cover, read_at)
