"""Long keys: what stands for an entity key in an index that limits their length, and the order of keys all the same.

A key of 1,000 bytes or more stands in the index as its first 968 bytes and the SHA-256 of all of it; what follows the
968 is kept beside the record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import NamedTuple

LONGEST = 1_000
"""The most bytes of a key that stand in an index; one of just as many is the short form of a longer one."""
_HEAD = LONGEST - 32
_LAST = b"\xff" * 32
_END = b"\xff" * (LONGEST + 1)
"""Greater than everything that stands in an index."""


class Row(NamedTuple):
    """A row of a table whose index has short forms."""

    key: bytes
    """The entity key, or its short form."""
    rest: bytes | None
    """What the short form lacks; None for a key that stands there whole."""
    record: bytes
    """The record."""

    @property
    def whole_key(self) -> bytes:
        """The entity key."""
        return self.key if self.rest is None else self.key[:_HEAD] + self.rest


def short_key(key: bytes) -> bytes:
    """Return what stands for a key in an index: itself, or the short form of a long one.

    Example:
        >>> short_key(b"card 7"), len(short_key(b"k" * 5_000))
        (b'card 7', 1000)
    """
    return key if len(key) < LONGEST else key[:_HEAD] + sha256(key).digest()


def rest_of(key: bytes) -> bytes | None:
    """Return what the short form of a key lacks; None for a key that stands in an index whole."""
    return key[_HEAD:] if len(key) >= LONGEST else None


def scan_in_order(
    page: Callable[[bytes, bytes, int | None], Sequence[Row]], after: bytes, limit: int
) -> list[tuple[bytes, bytes]]:
    """Read on from a key, in the order of keys as they are.

    In an index, keys that begin with the same 968 bytes stand together, but long ones among them in another order: such
    a group is read as a whole, and sorted here.

    Args:
        page: returns rows from one key of the index to another, both included, in its order; at most so many, and none
            only where there are none; None for all.
        after: the key to read on from; empty to begin.
        limit: at most how many to return.
    """
    found: list[tuple[bytes, bytes]] = []
    first = after + b"\0"
    if len(after) >= _HEAD:
        first, found = _group(page, after)
        found = [pair for pair in found if pair[0] > after]
    while len(found) < limit:
        rows = list(page(first, _END, limit - len(found)))
        if not rows:
            break
        last = rows[-1].key
        if len(last) < _HEAD:
            first = last + b"\0"
        else:
            rows = [row for row in rows if row.key[:_HEAD] != last[:_HEAD]]
            first, group = _group(page, last)
            found += group
        found += [(row.whole_key, row.record) for row in rows]
    return sorted(found)[:limit]


def _group(
    page: Callable[[bytes, bytes, int | None], Sequence[Row]], key: bytes
) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Return where the keys end that begin like one, and all of those."""
    head = key[:_HEAD]
    rows = page(head, head + _LAST, None)
    return head + _LAST + b"\0", [(row.whole_key, row.record) for row in rows]
