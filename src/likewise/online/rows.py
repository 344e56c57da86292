"""Rows: the bytes of one online record, made from columns and turned back into columns.

A record holds all values of one view for one entity key. It is one valid msgpack array, whose head has a fixed width so
that "newer" is a comparison of bytes in every store::

    dc NNNN        array of 5 + number of values
    01             format
    ce LLLLLLLL    layout: which features, of which types, in which order
    cf EEEEEEEE    event time, microseconds + 2^63      } the stamp: bytes 9 to 26
    cf CCCCCCCC    created time, the same; 0 for none   }
    values         int, float, str, bytes, bool, nil, array, map, as small as msgpack has them
    ce SSSS        CRC-32 of the entity key and of all of the record before it, lowest byte first

``values.py`` says how each type stands among the values. A record without values, of layout 0 and of the greatest
created time, is a tombstone: its key was deleted at the event time. The check sum covers the key, so a record that a
store returns for another key is found out as well; being last and lowest byte first, it makes the CRC of every whole
record the same number.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Self
from zlib import crc32

import msgspec
import numpy as np

from likewise.core.errors import InvalidType, RecordCorrupt, StoreTooNew
from likewise.core.types import FeatureType
from likewise.online.values import column_from_wire

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

FORMAT = 1
"""The record format that this version writes, and the newest it reads."""
STAMP = slice(9, 27)
"""Where (event time, created time) stand in a record. Greater bytes are newer; equal ones are replaced."""
TOMBSTONE = 0
"""The layout of a tombstone; no view has it."""

_BIAS = 1 << 63
_HEAD = struct.Struct(">BHBBIBQBQ")
_WHOLE = frozenset({0x2144DF1C})
"""What CRC-32 is of any bytes that end in their own CRC-32."""
_FIRST = 4
"""Which item of a record's array is the first value."""
_ALIKE = slice(0, 10)
"""What all records of one layout begin with, up to the first byte of the event time's item."""
_EVENT = slice(10, 18)
"""Where the event time stands in a record."""
_REST = slice(18, None)
"""What stands behind it: created time, values, check sum."""
_CREATED = 3
"""Which item of a record's array the rest begins with."""
_MARK = 0xB4D1_7E5A_93C6_2F08
"""Stands behind each record's items when many are unpacked at once: any number that is no Int64 and no time."""
_MARK_BYTES = b"\xcf" + _MARK.to_bytes(8, "big")
_FIXED = _FIRST + 1
"""How many items are not values: those before the first, and the check sum."""
_MOST = 0xFFFF - _FIXED
_ANY_CHECK = 0xFFFF_FFFF
_SLICE = 4096
"""How many rows are encoded at a time, so that what they need stays in the processor's cache."""
_READ_SLICE = 256
"""How many records are unpacked at a time, which takes a quarter of a millisecond."""

Resolve = Callable[[int], "Layout | None"]
"""Finds the layout with an id in the history of a view; None where nobody knows it."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Which features a record holds, in the order in which it holds them.

    Example:
        >>> from likewise.core.types import Float64, Int64
        >>> layout = Layout.of([("amount", Float64), ("count", Int64)])
        >>> layout.names, hex(layout.id)
        (('amount', 'count'), '0xa54fb9e6')
    """

    id: int
    """32 bits of a hash of the names and types, never 0."""
    names: tuple[str, ...]
    """The features' names, as stored."""
    types: tuple[FeatureType, ...]
    """The features' types, in the same order."""

    @classmethod
    def of(cls, fields: Iterable[tuple[str, FeatureType]]) -> Self:
        """Return the layout of features in this order.

        Args:
            fields: (name, type) of each feature, at most 65,530.

        Raises:
            InvalidType: there are too many.
        """
        pairs = list(fields)
        if len(pairs) > _MOST:
            raise InvalidType(f"{len(pairs)} features are too many for one view", cure=f"at most {_MOST} fit")
        text = json.dumps([[name, t.name] for name, t in pairs], separators=(",", ":"), ensure_ascii=False)
        digest = hashlib.sha256(text.encode()).digest()
        words = struct.unpack(">8I", digest)
        return cls(next(filter(None, words)), tuple(name for name, _ in pairs), tuple(t for _, t in pairs))


class EventTimes(Sequence[int]):
    """The event times of some records in microseconds, unpacked when first asked for: most readers never look.

    Args:
        records: the records.

    Example:
        >>> list(EventTimes([tombstone(b"key", 7), tombstone(b"key", -8)]))
        [7, -8]
    """

    __slots__ = ("_micros", "_records")

    def __init__(self, records: Sequence[bytes]) -> None:
        self._records = records
        self._micros: Sequence[int] | None = None

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[int]:
        return iter(self._unpacked())

    def __getitem__(self, row: Any) -> Any:
        return self._unpacked()[row]

    def array(self) -> npt.NDArray[np.int64]:
        """Return them as an array, which takes less time than a list from a dozen on."""
        biased = np.frombuffer(b"".join([record[_EVENT] for record in self._records]), ">u8")
        return (biased.astype(np.uint64) ^ np.uint64(_BIAS)).view(np.int64)

    def _unpacked(self) -> Sequence[int]:
        if self._micros is None:
            biased = struct.unpack(f">{len(self)}Q", b"".join([record[_EVENT] for record in self._records]))
            self._micros = [event - _BIAS for event in biased]
        return self._micros


class Decoded(msgspec.Struct, frozen=True):
    """What the records of some keys say, in the order of the keys."""

    columns: Sequence[Sequence[Any]]
    """One for each wanted feature, in the order wanted: Python values, None for a null or where nothing is known."""
    events: Sequence[int | None]
    """The event time of each row in microseconds; None where there is no record."""
    span: tuple[int, int] | None
    """The earliest and the latest of the event times; None when there is none."""
    absent: Sequence[int] = ()
    """The rows without a record, or with one that was deleted: every feature of theirs is NOT_FOUND."""
    unknown: Mapping[int, Sequence[int]] = {}
    """Number of a wanted feature to the rows whose record was written without that feature: NOT_FOUND as well."""
    strange: Sequence[int] = ()
    """Ids of layouts that nobody knew, or that share no feature with what is wanted."""


@dataclass(frozen=True, slots=True)
class Head:
    """The part of a record that does not depend on its features."""

    layout: int
    """The layout's id; 0 for a tombstone."""
    event: int
    """Event time in microseconds; of a tombstone, when the key was deleted."""
    created: int | None
    """Created time in microseconds; None when the source has none, and for a tombstone."""


def head_of(record: bytes) -> Head:
    """Return what every record says, whatever its features are.

    Example:
        >>> head_of(tombstone(b"key", 7))
        Head(layout=0, event=7, created=None)
    """
    layout, event, created = struct.unpack_from(">IxQxQ", record, 5)
    known = created not in (0, 2 * _BIAS - 1)
    return Head(layout, event - _BIAS, created - _BIAS if known else None)


def tombstone(key: bytes, at: int) -> bytes:
    """Return the record that says a key was deleted.

    It replaces what has an event time of ``at`` or earlier, whatever its created time.

    Args:
        key: the entity key.
        at: when, in microseconds since the epoch.
    """
    return _nothing(key, at, 2 * _BIAS - 1)


def vacancy(key: bytes, at: int, created: int | None) -> bytes:
    """Return a tombstone that deletes nothing for good: the row that was there, or any newer one, replaces it.

    Args:
        key: the entity key.
        at: the event time of what was there, in microseconds since the epoch.
        created: its created time; None when it had none.
    """
    return _nothing(key, at, 0 if created is None else created + _BIAS)


def _nothing(key: bytes, at: int, created: int) -> bytes:
    head = _HEAD.pack(0xDC, _FIXED, FORMAT, 0xCE, TOMBSTONE, 0xCF, at + _BIAS, 0xCF, created) + b"\xce"
    return head + crc32(head, crc32(key)).to_bytes(4, "little")


def is_whole(key: bytes, record: bytes) -> bool:
    """Whether a record is, to the bit, what was written for this key."""
    return crc32(record, crc32(key)) in _WHOLE and record[3] <= FORMAT


def check(keys: Sequence[bytes], records: Sequence[bytes], table: str) -> None:
    """Raise if any of some records is not what was written for its key.

    Raises:
        RecordCorrupt: one is not; the message names table and key.
        StoreTooNew: one is, but by a newer version of Likewise.
    """
    if _WHOLE.issuperset(map(crc32, records, map(crc32, keys))) and all(record[3] == FORMAT for record in records):
        return
    for key, record in zip(keys, records, strict=True):
        where = f"the record of key {key[:60].hex()} in online table {table!r}"
        if crc32(record, crc32(key)) not in _WHOLE:
            raise RecordCorrupt(
                f"{where} is damaged: its check sum is wrong", cure="delete the key, or rebuild the online store"
            )
        if record[3] != FORMAT:
            raise StoreTooNew(
                f"{where} has format {record[3]}, and this version of Likewise reads {FORMAT}",
                cure="install the version that wrote it, or rebuild the online store with this one",
            )


# ---- Writing -------------------------------------------------------------------------------------------------------


class RowWriter:
    """Makes records of one layout; the types are looked at once, here.

    Args:
        layout: which features, in which order.

    Example:
        >>> from likewise.core.types import Int64, String
        >>> writer = RowWriter(Layout.of([("count", Int64), ("city", String)]))
        >>> records = writer.encode([b"key"], [0], [None], [[7], ["Rome"]])
        >>> records[0].hex(" ", -9)
        'dc000701ce37766ab6 cf8000000000000000 cf0000000000000000 07a4526f6d65ced07f 1e2c'
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        from likewise.online.columns import ColumnWriter

        self._columns = [ColumnWriter(name, t) for name, t in zip(layout.names, layout.types, strict=True)]
        self._head = _HEAD.pack(0xDC, len(self._columns) + _FIXED, FORMAT, 0xCE, layout.id, 0xCF, 0, 0xCF, 0)
        self._encode = msgspec.msgpack.Encoder().encode
        self._skip = 1 if len(self._columns) + 1 < 16 else 3

    def encode_arrow(
        self,
        keys: Sequence[bytes],
        events: pa.Array | pa.ChunkedArray,
        created: pa.Array | pa.ChunkedArray | None,
        columns: Sequence[pa.Array | pa.ChunkedArray],
    ) -> list[bytes]:
        """Turn Arrow columns into records, a batch at a time.

        Args:
            keys: the entity keys; the check sums cover them.
            events: event times, timestamps of any unit, without nulls.
            created: created times, likewise, where null is none; None when the source has none.
            columns: one for each feature of the layout, of its Arrow type or of one that fits it without loss.

        Raises:
            SourceDrift: a column does not fit its feature's type; the message names the feature and the row.
            InvalidTime: a time lies outside the years 1 to 9999, or a row has no event time.
        """
        from likewise.online.columns import event_ticks, heads, ticks

        whole = [writer.conformed(column) for writer, column in zip(self._columns, columns, strict=True)]
        event = event_ticks(events)
        made = None if created is None else ticks(created, "the created time")
        records: list[bytes] = []
        for start in range(0, len(keys), _SLICE):
            part = slice(start, start + _SLICE)
            values = [writer.items(column[part]) for writer, column in zip(self._columns, whole, strict=True)]
            head = heads(self._head, event[part], None if made is None else made[part])
            records += self._seal(keys[part], head, values)
        return records

    def encode(
        self,
        keys: Sequence[bytes],
        events: Sequence[int],
        created: Sequence[int | None] | None,
        columns: Sequence[Sequence[Any]],
    ) -> list[bytes]:
        """Turn columns of Python values into records; for a few rows, such as a push has.

        Args:
            keys: the entity keys.
            events: event times in microseconds.
            created: created times in microseconds, None for none.
            columns: one for each feature of the layout: values as :class:`RowReader` returns them, or anything that
                Arrow takes for the feature's type.

        Raises:
            SourceDrift: a value does not fit its feature's type; the message names both.
        """
        from likewise.online.columns import times

        arrays = [writer.array(values) for writer, values in zip(self._columns, columns, strict=True)]
        made = None if created is None else times(created)
        return self.encode_arrow(keys, times(events), made, arrays)

    def _seal(self, keys: Sequence[bytes], heads: list[bytes], values: list[list[Any]]) -> list[bytes]:
        """Put heads, values and check sums together; a number in the place of each check sum gives its first byte."""
        bodies = map(self._encode, zip(*values, [_ANY_CHECK] * len(keys), strict=True))
        skip = self._skip
        parts = [head + body[skip:-4] for head, body in zip(heads, bodies, strict=True)]
        checks = map(crc32, parts, map(crc32, keys))
        return [part + check.to_bytes(4, "little") for part, check in zip(parts, checks, strict=True)]


class RowReader:
    """Turns the records of a view back into columns; features and types are looked at once, here.

    Args:
        layout: the layout that most records are expected to have: the one the view has now.
        wanted: the features to return, in this order; None for all of the layout.
        table: the online table, for messages.
        resolve: finds older layouts of the view; a record of one gives the features that it has.
        check_each: whether the check sum of every record is looked at, which adds a quarter to the time of a read.
            Without it, a record of another layout or one that cannot be unpacked is still checked.

    Raises:
        KeyError: a wanted feature is not in the layout.

    Example:
        >>> from likewise.core.types import Int64, String
        >>> layout = Layout.of([("count", Int64), ("city", String)])
        >>> records = RowWriter(layout).encode([b"a"], [0], None, [[7], ["Rome"]])
        >>> RowReader(layout, ["city", "count"]).decode([b"a", b"b"], [*records, None]).columns
        [['Rome', None], [7, None]]
    """

    def __init__(
        self,
        layout: Layout,
        wanted: Sequence[str] | None = None,
        *,
        table: str = "",
        resolve: Resolve = lambda _: None,
        check_each: bool = False,
    ) -> None:
        self.layout = layout
        self.wanted = layout.names if wanted is None else tuple(wanted)
        self.table = table
        self._resolve = resolve
        self._check_each = check_each
        types = dict(zip(layout.names, layout.types, strict=True))
        self._types = [(name, types[name]) for name in self.wanted]
        self._places = _places(layout, self._types)
        self._older: dict[int, Sequence[_Place | None]] = {}
        self._unpack = msgspec.msgpack.Decoder(list[Any]).decode
        self._head = _HEAD.pack(0xDC, len(layout.names) + _FIXED, FORMAT, 0xCE, layout.id, 0xCF, 0, 0xCF, 0)[_ALIKE]
        self._stride = len(layout.names) + _FIXED - _CREATED + 1
        self._marks = slice(self._stride - 1, None, self._stride)
        own = [place for place in self._places if place is not None]
        self._columns = [(slice(place.at - _CREATED, None, self._stride), place.read) for place in own]

    def decode(self, keys: Sequence[bytes], records: Sequence[bytes | None]) -> Decoded:
        """Turn the records of some keys into columns.

        Args:
            keys: the entity keys that were read.
            records: what the store returned for each, None where there is nothing.

        Raises:
            RecordCorrupt: a record is not what was written for its key; the message names table and key.
            StoreTooNew: a record was written by a newer version of Likewise.
        """
        try:
            return self._present(keys, records, ())  # type: ignore[arg-type]  # None raises, which is cheaper to wait for
        except TypeError:
            if None not in records:
                raise
        return self._with_gaps(keys, records)

    def _with_gaps(self, keys: Sequence[bytes], records: Sequence[bytes | None]) -> Decoded:
        absent = [row for row, record in enumerate(records) if record is None]
        found = [(key, record) for key, record in zip(keys, records, strict=True) if record is not None]
        if not found:
            return Decoded([[None] * len(records) for _ in self.wanted], [None] * len(records), None, absent)
        return self._present([key for key, _ in found], [record for _, record in found], absent)

    def _present(self, keys: Sequence[bytes], records: Sequence[bytes], absent: Sequence[int]) -> Decoded:
        """Decode records that are there, and leave the rows ``absent`` out; hot."""
        if self._check_each:
            check(keys, records, self.table)
        if records:
            first, last = min(records), max(records)  # what both begin with, all do; the times stand right behind it
            if first[_ALIKE] == self._head == last[_ALIKE] and (items := self._unpack_all(records)) is not None:
                span = int.from_bytes(first[_EVENT], "big") - _BIAS, int.from_bytes(last[_EVENT], "big") - _BIAS
                return self._alike(items, EventTimes(records), span, absent)
        check(keys, records, self.table)
        return self._mixed([self._unpack(record) for record in records], absent)

    def _unpack_all(self, records: Sequence[bytes]) -> list[Any] | None:
        """Return the items of records of the layout of now, from the created time on, all in one array; hot.

        That takes two thirds of the time of an array for each. The mark behind each record's items keeps one that is
        damaged from running into the next: None unless each record is exactly as many items as it has to be. Many
        records are unpacked in slices, for other threads go on in between only.
        """
        items: list[Any] = []
        try:
            for start in range(0, len(records), _READ_SLICE):
                part = records[start : start + _READ_SLICE]
                head = b"\xdd" + (len(part) * self._stride).to_bytes(4, "big")
                items += self._unpack(head + _MARK_BYTES.join([record[_REST] for record in part]) + _MARK_BYTES)
        except (msgspec.DecodeError, UnicodeDecodeError, OverflowError):  # the last: more than one array can have
            return None
        return items if items[self._marks].count(_MARK) == len(records) else None

    def _alike(self, items: list[Any], events: EventTimes, span: tuple[int, int], absent: Sequence[int]) -> Decoded:
        """The usual case: all records have the layout of now, and are there to the last item."""
        columns = [items[column] if read is None else read(items[column]) for column, read in self._columns]
        if absent:
            return Decoded([_spread(column, absent) for column in columns], _spread(events, absent), span, absent)
        return Decoded(columns, events, span)

    def _mixed(self, rows: Sequence[list[Any] | None], absent: Sequence[int]) -> Decoded:
        """Some records are older, or deleted: go through them one by one."""
        rows = _spread(rows, absent)
        found = {row[1] for row in rows if row is not None} - {TOMBSTONE}
        places_in = {layout: self._places_in(layout) for layout in sorted(found)}
        columns: list[list[Any]] = [[None] * len(rows) for _ in self.wanted]
        events: list[int | None] = [None] * len(rows)
        deleted: list[int] = []
        unknown: dict[int, list[int]] = {}
        for number, row in enumerate(rows):
            if row is None or row[1] == TOMBSTONE:
                deleted.append(number)
                continue
            events[number] = row[2] - _BIAS
            for wanted, place in enumerate(places_in[row[1]]):
                if place is None:
                    unknown.setdefault(wanted, []).append(number)
                else:
                    item = row[place.at : place.at + 1]
                    (columns[wanted][number],) = item if place.read is None else place.read(item)
        strange = tuple(layout for layout, places in places_in.items() if self.wanted and not any(places))
        known = [event for event in events if event is not None]
        span = (min(known), max(known)) if known else None
        return Decoded(columns, events, span, deleted, unknown, strange)

    def _places_in(self, layout: int) -> Sequence[_Place | None]:
        """Where the wanted features stand in records of a layout; None for each that they do not have."""
        if layout == self.layout.id:
            return self._places
        if layout not in self._older:
            older = self._resolve(layout)
            if older is None:  # not remembered: somebody may apply it yet
                return [None] * len(self.wanted)
            self._older[layout] = _places(older, self._types)
        return self._older[layout]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a feature stands in a record."""

    at: int
    """Its item in the record's array."""
    read: Callable[[Sequence[Any]], Sequence[Any]] | None
    """What turns a column of items into values; None when they are the values."""


def _spread(items: Sequence[Any], absent: Sequence[int]) -> list[Any]:
    """Return the items with None put in, so that it stands in the rows given, ascending."""
    whole = list(items)
    for row in absent:
        whole.insert(row, None)
    return whole


def _places(layout: Layout, wanted: Sequence[tuple[str, FeatureType]]) -> Sequence[_Place | None]:
    stored = {name: (at, t) for at, name, t in zip(count(_FIRST), layout.names, layout.types, strict=False)}
    places: list[_Place | None] = []
    for name, now in wanted:
        at, then = stored.get(name, (0, None))
        places.append(_Place(at, column_from_wire(now)) if then is not None and _reads_as(then, now) else None)
    return places


def _reads_as(then: FeatureType, now: FeatureType) -> bool:
    """Whether a value that was stored as one type can be read as another: the same, or a wider number."""
    return then == now or (then.name, now.name) in {("Int32", "Int64"), ("Float32", "Float64")}
