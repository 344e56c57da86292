"""WindowRecord: the bytes of one key of a windowed view, taken apart without copying, and put together.

A record is one msgpack array, with the head and the check sum of ``rows.py``, so that every store and every check
treats it like any other. The layout in its head is 32 bits of the window set's hash; the event time is the newest that
the key has had, and the created time 0. Its values are::

    01        format of the state
    info      bin of 72 bytes, little-endian: cover, since, read_at, tried, gone (the least int64 for none), how many
              events were pushed ever, all int64; then, as uint32, the sizes of the five bins that follow
    tokens    bin: 8 bytes for each of the last pushes that had an idempotency key
    base      bin: what was folded, words of 8 bytes (see ``window_base.py``)
    extras    bin: msgpack, what of it is no number
    tail      bin: pushed events that were not folded yet: their rows, one event after the other, words of 8 bytes
    values    bin: the same events' values that are no numbers, msgpack, event after event

Pushing an event appends to tail and values, and decodes nothing else.
"""

from __future__ import annotations

import struct
from typing import Any
from zlib import crc32

import msgspec
from msgspec.structs import replace

from likewise.core.aggregates import NEVER
from likewise.core.errors import RecordCorrupt, StoreTooNew
from likewise.online import rows

FORMAT = 1
"""The format of the state that this version writes, and the newest it reads."""
TOKEN = 8
"""How many bytes of a token's hash are kept."""
TOKENS = 256
"""How many tokens are kept for each key."""

_HEAD = struct.Struct(">BHBBIBQBQBBB")
_INFO = struct.Struct("<6q5I4x")
_INFO_AT = _HEAD.size
_TOKENS_AT = _INFO_AT + _INFO.size + 5
_BINS = 5
_BIN = struct.Struct(">BI")
_FIXED = _TOKENS_AT + 5 * (_BINS - 1) + 5
"""How many bytes a record has beside what is in its bins."""
_ITEMS = 5 + 2 + _BINS
_BIAS = 1 << 63


class Info(msgspec.Struct, frozen=True):
    """What a record says of its key beside the events. All times are microseconds; NEVER is none."""

    newest: int = NEVER
    """The latest event time that the key has had, also if the event was dropped since."""
    cover: int = NEVER
    """Up to this event time the events come from the batch source; NEVER before the first back-fill."""
    since: int = NEVER
    """After this event time the history of the batch source is whole."""
    read_at: int = NEVER
    """When the batch source was read."""
    tried: int = NEVER
    """When the batch source was last read, be it that the record could not take what was read."""
    gone: int = NEVER
    """When the key was deleted: events up to this time are not taken."""
    pushed: int = 0
    """How many events were pushed, ever."""


class WindowRecord(msgspec.Struct, frozen=True):
    """A record, taken apart."""

    info: Info = Info()
    """What it says of its key."""
    tokens: bytes = b""
    """The last pushes' tokens."""
    base: bytes = b""
    """What was folded."""
    extras: bytes = b""
    """What of it is no number."""
    tail: bytes = b""
    """Events that were pushed since."""
    values: bytes = b""
    """Their values that are no numbers."""

    def has_token(self, token: bytes) -> bool:
        """Whether a push with this token is among the last ones."""
        at = self.tokens.find(token)
        while at >= 0 and at % TOKEN:
            at = self.tokens.find(token, at + 1)
        return at >= 0

    def with_token(self, token: bytes) -> WindowRecord:
        """Return the record with one token more, and the oldest one less if there are too many."""
        return replace(self, tokens=(self.tokens + token)[-TOKEN * TOKENS :])

    def with_events(self, newest: int, count: int, tail: bytes, values: bytes) -> WindowRecord:
        """Return the record with pushed events more."""
        info = replace(self.info, newest=max(newest, self.info.newest), pushed=self.info.pushed + count)
        return replace(self, info=info, tail=self.tail + tail, values=self.values + values)


def sealed(key: bytes, layout: int, record: WindowRecord) -> bytes:
    """Return the bytes of a record; hot.

    Args:
        key: the entity key, which the check sum covers.
        layout: 32 bits of the window set's hash.
        record: what to say.
    """
    info = record.info
    bins = (record.tokens, record.base, record.extras, record.tail, record.values)
    newest = max(info.newest, -_BIAS) + _BIAS
    sizes = list(map(len, bins))
    body = b"".join(
        (
            _HEAD.pack(0xDC, _ITEMS, rows.FORMAT, 0xCE, layout, 0xCF, newest, 0xCF, 0, FORMAT, 0xC4, _INFO.size),
            _INFO.pack(info.cover, info.since, info.read_at, info.tried, info.gone, info.pushed, *sizes),
            _BIN.pack(0xC6, sizes[0]),
            bins[0],
            _BIN.pack(0xC6, sizes[1]),
            bins[1],
            _BIN.pack(0xC6, sizes[2]),
            bins[2],
            _BIN.pack(0xC6, sizes[3]),
            bins[3],
            _BIN.pack(0xC6, sizes[4]),
            bins[4],
            b"\xce",
        )
    )
    return body + crc32(body, crc32(key)).to_bytes(4, "little")


def opened(key: bytes, stored: bytes, layout: int, table: str, *, check: bool = True) -> WindowRecord:
    """Take a record apart; hot.

    Args:
        key: the entity key.
        stored: the record.
        layout: 32 bits of the window set's hash.
        table: the online table, for messages.
        check: whether the check sum is looked at even if nothing else is wrong.

    Raises:
        RecordCorrupt: it is not what was written for the key.
        StoreTooNew: it was written by a newer version of Likewise.
    """
    if check and not rows.is_whole(key, stored):
        rows.check([key], [stored], table)
    try:
        head = _HEAD.unpack_from(stored)
        cover, since, read_at, tried, gone, pushed, *sizes = _INFO.unpack_from(stored, _INFO_AT)
    except struct.error:
        head, sizes = (), []
    if not head or head[4] != layout or head[9] != FORMAT or sum(sizes) + _FIXED != len(stored):
        rows.check([key], [stored], table)
        if rows.head_of(stored).layout == rows.TOMBSTONE:
            at = rows.head_of(stored).event
            return WindowRecord(Info(newest=at, gone=at))
        raise _not_ours(key, stored, layout, table)
    start = _TOKENS_AT
    bins = []
    for size in sizes:
        bins.append(stored[start : start + size])
        start += size + 5
    return WindowRecord(Info(head[6] - _BIAS, cover, since, read_at, tried, gone, pushed), *bins)


def token_of(text: bytes) -> bytes:
    """Return what is kept of a push's token."""
    import hashlib

    return hashlib.blake2b(text, digest_size=TOKEN).digest()


def packed(item: Any) -> bytes:
    """Return plain data as msgpack."""
    return _encode(item)


def unpacked(values: bytes, count: int) -> list[Any]:
    """Return plain data that stands one after the other, without an array around it."""
    return _decode(b"\xdd" + count.to_bytes(4, "big") + values)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Any]).decode


def _not_ours(key: bytes, stored: bytes, layout: int, table: str) -> Exception:
    where = f"the record of key {key[:60].hex()} in online table {table!r}"
    cure = "delete the key, or rebuild the online store"
    if rows.head_of(stored).layout != layout:
        return RecordCorrupt(f"{where} is not one of these windows", cure=cure)
    found = stored[_HEAD.size - 3]
    if found > FORMAT:
        return StoreTooNew(
            f"{where} has windows of format {found}, and this version of Likewise reads {FORMAT}",
            cure="install the version that wrote it, or rebuild the online store with this one",
        )
    return RecordCorrupt(f"{where} has windows of format {found}, and the sizes of its parts do not fit", cure=cure)
