"""WindowStates: what the online store keeps of each key of a windowed view, and how it changes.

A record says, for one key: up to which event time its events come from the batch source (*cover*), when that was read,
and all events of which a window that ends now or later may have to know. What was pushed stands beside what came from
the source, so that a later back-fill can replace the one and keep the other. No event counts twice:

- a push of an event that the source had when it was read is skipped,
- a push whose token the key has seen is skipped,
- a back-fill takes out what was pushed up to its cover, before the source was read.

Values are the aggregates of ``core/aggregates``; whether events stand one by one or in tiles never changes them. What
cannot be said exactly is NOT_FOUND. Records are written by ``OnlineStore.swap`` only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from msgspec.structs import replace

from likewise.core.aggregates import NEVER
from likewise.online.event_table import STREAM, EventTable, tabled
from likewise.online.events import Events
from likewise.online.tiles import Tiles
from likewise.online.window_base import BaseReader, WindowBase
from likewise.online.window_fold import Folding, folded, raised, still_pushed, uncovered, unfolded
from likewise.online.window_layout import WindowLayout
from likewise.online.window_meta import META_KEY, Meta
from likewise.online.window_record import Info, WindowRecord, opened, packed, sealed, token_of
from likewise.online.window_values import WindowReader, WindowValues
from likewise.plan.windows import WindowSet

__all__ = ["META_KEY", "Contents", "Events", "Meta", "Tile", "WindowStates", "WindowValues"]


@dataclass(frozen=True, slots=True)
class _Push:
    """What holds for all events of a push."""

    arrival: int
    """When they came."""
    token: bytes | None
    """What is kept of its token."""
    in_source: bool
    """Whether they are in the batch source as well."""
    now: int
    """The time, in microseconds."""


@dataclass(frozen=True, slots=True)
class Tile:
    """Events of one key that were folded. Times are microseconds."""

    slide: int | None
    """The length of the tile; None in a window over the whole life, where the oldest ones are merged."""
    end: int
    """No event of it is later than this."""
    last: int
    """The event time of its latest event."""
    from_source: bool
    """Whether its events come from the batch source; else they were pushed."""
    states: dict[tuple[int, str], Any]
    """(input, kind of the aggregate) to its state."""


HeldEvent = tuple[int, int | None, int | None, tuple[Any, ...]]
"""(event time, created time, arrival or None if it came from the source, the inputs' values) of one event."""


@dataclass(frozen=True, slots=True)
class Contents:
    """All that the record of a key holds. Times are microseconds; None is none."""

    newest: int | None
    """The latest event time that the key has had."""
    cover: int | None
    """Up to this event time the events come from the batch source."""
    read_at: int | None
    """When that was read."""
    gone: int | None
    """When the key was deleted."""
    events: Sequence[HeldEvent]
    """Each event."""
    tiles: Sequence[Tile]
    """What is folded; an event may be among the events as well."""


class WindowStates:
    """Makes, changes and reads the records of one windowed view.

    Args:
        windows: what the view computes.
        table: the online table, for messages.
        has_source: whether the view has a batch source, besides what is pushed.
        folding: how much is kept as events; never changes a value.

    Example:
        >>> import pyarrow as pa
        >>> from likewise.core.types import Int64
        >>> from likewise.core.windows import Window
        >>> from likewise.plan.windows import WindowFeature, WindowInput
        >>> week = WindowFeature("spent", 0, "sum", Window(width=7), Int64)
        >>> states = WindowStates(WindowSet("cards", (WindowInput("amount", "", Int64),), (week,)), "shop/cards", False)
        >>> two = Events([b"a"], np.array([0, 0]), np.array([3, 5]), None, np.arange(2), [pa.array([30, 50])])
        >>> records = states.pushed([b"a"], [None], two, arrival=0, token=None, in_source=False, now=5)
        >>> live = states.meta(Meta(since=-(2**60), cover=None, read_at=0))
        >>> [states.values([b"a"], records, live, t, [0]).columns for t in (4, 5, 10, 12)]
        [[[30]], [[80]], [[50]], [[None]]]
    """

    def __init__(
        self,
        windows: WindowSet,
        table: str,
        has_source: bool,
        folding: Folding = Folding(),  # noqa: B008
    ) -> None:
        self.windows = windows
        self.table = table
        self.has_source = has_source
        self.layout = WindowLayout(windows, has_source)
        self.id = int(windows.hash[:8], 16) or 1
        self._folding = folding
        self._bases = BaseReader(self.layout)
        self._reader = WindowReader(self.layout, self._bases, self.id, table)
        self._width = 8 * (self.layout.plain_rows + self.layout.valid_rows)

    def pushed(
        self,
        keys: Sequence[bytes],
        stored: Sequence[bytes | None],
        events: Events,
        arrival: int,
        token: bytes | None,
        in_source: bool,
        now: int,
        meta: bytes | None = None,
    ) -> list[bytes | None]:
        """Return the records of some keys with pushed events in them.

        Args:
            keys: the keys, each once.
            stored: the record of each; None where there is none.
            events: the events, of these keys or of more.
            arrival: when they came, on the scale on which back-fills say when they read the source.
            token: names the push: a second one of the same name changes nothing.
            in_source: whether the events are in the batch source as well, or will be.
            now: the time, in microseconds: what no window can reach any more is dropped.
            meta: the record at META_KEY, if there is one; keys that are new since the back-fill need it to be folded.

        Returns:
            The new record for each key; None where it stays as it is.

        Raises:
            RecordCorrupt: a record is not what was written for its key.
            StoreTooNew: a record was written by a newer version of Likewise.
        """
        mine = events if list(events.keys) == list(keys) else events.only(keys)
        mark = None if token is None else token_of(token)
        chunks = self._chunks(mine, arrival)
        known = None if meta is None else Meta.of(meta)
        return [
            self._with_push(key, held, chunk, _Push(arrival, mark, in_source, now), known)
            for key, held, chunk in zip(keys, stored, chunks, strict=True)
        ]

    def backfilled(
        self,
        keys: Sequence[bytes],
        stored: Sequence[bytes | None],
        events: Events,
        cover: int,
        since: int,
        read_at: int,
        now: int,
    ) -> list[bytes | None]:
        """Return the records of some keys with the history of the batch source in them.

        Args:
            keys: the keys, each once; also those that the source has no event of.
            stored: the record of each; None where there is none.
            events: all events of these keys in the source with since < event time <= cover.
            cover: up to which event time the source was read, in microseconds.
            since: after which event time it was read.
            read_at: when the reading began, on the scale of arrivals: events that were pushed into the source up to
                then are among the events.
            now: the time, in microseconds.

        Returns:
            The new record for each key; None where it stays as it is: there is nothing to say, or what it has covers
            more. Where pushed events were folded that cannot be told apart at the cover, the record takes less, or
            nothing: its own, earlier cover stays right, and what was pushed since then stands for the rest.

        Raises:
            RecordCorrupt: a record is not what was written for its key.
            StoreTooNew: a record was written by a newer version of Likewise.
        """
        mine = events if list(events.keys) == list(keys) else events.only(keys)
        table = tabled(self.layout, mine, NEVER, pushed=False)
        order, ends = _by_key(mine)
        table = table.take(order)
        reading = Info(cover=cover, since=since, read_at=read_at, tried=read_at)
        return [
            self._with_history(key, held, table.part(start, stop).ranked(), reading, now)
            for key, held, (start, stop) in zip(keys, stored, pairwise([0, *ends]), strict=True)
        ]

    def deleted(self, keys: Sequence[bytes], stored: Sequence[bytes | None], at: int) -> list[bytes]:
        """Return the records of deleted keys: without events, and none up to then will be taken.

        Args:
            keys: the keys.
            stored: the record of each; None where there is none.
            at: the time of the deletion, in microseconds; events of a later time that the key has go as well.
        """
        return [self._without_events(key, held, at) for key, held in zip(keys, stored, strict=True)]

    def values(
        self,
        keys: Sequence[bytes],
        stored: Sequence[bytes | None],
        meta: bytes | None,
        t: int,
        wanted: Sequence[int],
    ) -> WindowValues:
        """Return the values of some features at a time.

        Args:
            keys: the keys.
            stored: the record of each; None where there is none.
            meta: the record at META_KEY; None if the view is not live.
            t: the time, in microseconds.
            wanted: the places of the features in the window set.

        Raises:
            RecordCorrupt: a record is not what was written for its key.
            StoreTooNew: a record was written by a newer version of Likewise.
            AggregateOverflow: a sum is beyond its type.
        """
        return self._reader.values(keys, stored, meta, t, wanted)

    def meta(self, meta: Meta) -> bytes:
        """Return the record that is to stand at META_KEY."""
        return meta.record()

    def read_at(self, key: bytes, stored: bytes) -> int | None:
        """Return when a back-fill last came to a record, whether or not it could take what was read; None for never."""
        return _some(opened(key, stored, self.id, self.table).info.tried)

    def contents(self, key: bytes, record: bytes) -> Contents:
        """Return all that a record holds.

        Args:
            key: the entity key.
            record: its record.
        """
        opened_record, base = self._base(key, record)
        info = opened_record.info
        listed = self._listed_events(base.events.with_events(self._tail(opened_record)))
        kept = [series.tiles for series in base.series]
        tiles = [tile for number, of in enumerate(kept) for tile in self._listed_tiles(number, of)]
        newest, cover, read_at, gone = map(_some, (info.newest, info.cover, info.read_at, info.gone))
        return Contents(newest, cover, read_at, gone, listed, tiles)

    def made_of(
        self, key: bytes, stored: bytes | None, meta: bytes | None, t: int, feature: int
    ) -> tuple[Sequence[tuple[HeldEvent, int]], Sequence[Tile]] | None:
        """Return what a feature's value is made of at a time: events and tiles; None where it is not known.

        Each event comes with what puts events of the same times in order, as tiles have it; 0 where nobody asks for it.

        Args:
            key: the entity key.
            stored: its record; None where there is none.
            meta: the record at META_KEY; None if the view is not live.
            t: the time, in microseconds.
            feature: the place of the feature in the window set.
        """
        found = self._reader.pieces(key, stored, meta, t, feature)
        if found is None:
            return None
        series, tiles, events = found
        orders = [order for _, _, order in events.ranks()] or [0] * len(events)
        listed = list(zip(self._listed_events(events), orders, strict=True))
        return listed, [] if tiles is None else self._listed_tiles(series, tiles)

    def kind_of(self, feature: int) -> str:
        """Return the kind of the states that a feature's value is finished from, as :class:`Tile` has them."""
        return self.layout.aggregates[feature].kind

    def _listed_events(self, events: EventTable) -> list[HeldEvent]:
        columns = [events.values(number) for number in range(len(self.layout.inputs))]
        created = [rank[1] for rank in events.ranks()] or [NEVER] * len(events)
        arrived = events.arrivals().tolist() if self.has_source else [0] * len(events)
        return [
            (time, _some(made), _some(came) if self.has_source else None, tuple(column[n] for column in columns))
            for n, (time, made, came) in enumerate(zip(events.time.tolist(), created, arrived, strict=True))
        ]

    def _chunks(self, events: Events, arrival: int) -> list[EventTable]:
        """The events of each key, in the order in which they were pushed."""
        table = tabled(self.layout, events, arrival, pushed=True)
        order, ends = _by_key(events)
        table = table.take(order)
        return [table.part(start, stop) for start, stop in pairwise([0, *ends])]

    def _with_push(
        self, key: bytes, stored: bytes | None, chunk: EventTable, push: _Push, meta: Meta | None
    ) -> bytes | None:
        """Add the events of one key; hot."""
        record = WindowRecord() if stored is None else opened(key, stored, self.id, self.table)
        if push.token is not None:
            if record.has_token(push.token):
                return None
            record = record.with_token(push.token)
        kept = self._counting(chunk, record.info, push)
        if len(kept):
            tail, values = self._appended(kept, record.info.pushed)
            record = record.with_events(int(kept.time.max()), len(kept), tail, values)
        elif push.token is None or stored is None:
            return None
        if len(record.tail) > self._folding.tail * self._width:
            record = self._folded(key, record, push.now, meta)
        return sealed(key, self.id, record)

    def _counting(self, chunk: EventTable, info: Info, push: _Push) -> EventTable:
        """The events of a push that count: those that the source had, or that were deleted before, do not."""
        least = info.gone
        if push.in_source and push.arrival <= info.read_at:
            least = max(least, info.cover)
        return chunk if least == NEVER else chunk.having(chunk.time > least)

    def _appended(self, events: EventTable, pushed: int) -> tuple[bytes, bytes]:
        """What events add to the tail, and to its values."""
        rows, layout = events.rows, self.layout
        if layout.ranked:
            rows = rows.copy()
            rows[layout.created + 1] = np.arange(STREAM + pushed, STREAM + pushed + len(events))
        values = b""
        if events.lists:
            values = b"".join(map(packed, (value for event in zip(*events.lists, strict=True) for value in event)))
        return rows.T.tobytes(), values

    def _tail(self, record: WindowRecord) -> EventTable:
        """The events of the tail, in the order of their ranks."""
        return self._reader.tail(record).ranked()

    def _base(self, key: bytes, stored: bytes) -> tuple[WindowRecord, WindowBase]:
        record = opened(key, stored, self.id, self.table)
        return record, self._bases.whole(record.base, record.extras)

    def _folded(self, key: bytes, record: WindowRecord, now: int, meta: Meta | None) -> WindowRecord:
        """The record with its tail folded into its base."""
        base, new, info = self._bases.whole(record.base, record.extras), self._tail(record), record.info
        if self.has_source and info.cover == NEVER and meta is not None and meta.cover is not None:
            new = still_pushed(base.events.with_events(new), meta.cover, meta.read_at)
            base = raised(WindowBase.empty(self.layout), meta.since)
            info = replace(info, cover=meta.cover, since=meta.since, read_at=meta.read_at)
        if self.has_source and info.cover == NEVER:
            base = unfolded(base, new)
        else:
            base = folded(self.layout, base, new, now, self._folding)
        return self._rebased(replace(record, info=info), base)

    def _rebased(self, record: WindowRecord, base: WindowBase) -> WindowRecord:
        folded_base, extras = base.encoded(self.layout)
        return replace(record, base=folded_base, extras=extras, tail=b"", values=b"")

    def _with_history(
        self, key: bytes, stored: bytes | None, history: EventTable, reading: Info, now: int
    ) -> bytes | None:
        """Put the events of the source in the place of those that came from it before."""
        if stored is None and not len(history):
            return None
        record = WindowRecord() if stored is None else opened(key, stored, self.id, self.table)
        info, cover = record.info, reading.cover
        if (info.cover, info.read_at) > (cover, reading.read_at):
            return None
        base = self._bases.whole(record.base, record.extras)
        new = self._tail(record)
        if stored is not None:
            left = uncovered(base, cover, reading.read_at, max(info.cover, reading.since))
            if left is None:
                return sealed(key, self.id, replace(record, info=replace(info, tried=reading.read_at)))
            cover, base = left
            new = still_pushed(new, cover, reading.read_at)
        history = history.having((history.time > max(info.gone, reading.since)) & (history.time <= cover))
        base = folded(self.layout, raised(base, reading.since), history.with_events(new), now, self._folding)
        newest = max(info.newest, int(history.time[-1]) if len(history) else NEVER)
        told = replace(reading, newest=newest, cover=cover, gone=info.gone, pushed=info.pushed)
        return sealed(key, self.id, self._rebased(replace(record, info=told), base))

    def _without_events(self, key: bytes, stored: bytes | None, at: int) -> bytes:
        record = WindowRecord() if stored is None else opened(key, stored, self.id, self.table)
        base = self._bases.whole(record.base, record.extras)
        gone = max(at, record.info.newest, record.info.gone)
        info = replace(record.info, gone=gone)
        bare = WindowBase.empty(self.layout)
        series = [
            replace(no, floor=held.floor, horizon=held.horizon)
            for no, held in zip(bare.series, base.series, strict=True)
        ]
        bare = replace(bare, floor=base.floor, series=series)
        return sealed(key, self.id, self._rebased(replace(record, info=info), bare))

    def _listed_tiles(self, number: int, tiles: Tiles) -> list[Tile]:
        series = self.layout.series[number]
        return [
            Tile(
                None if series.life else series.hop,
                (int(tiles.ids[place]) // 2 + 1) * series.hop,
                int(tiles.last[place]),
                self.has_source and int(tiles.ids[place]) % 2 == 0,
                self._reader.states_of(number, tiles.part(place, place + 1)),
            )
            for place in range(len(tiles))
        ]


def _by_key(events: Events) -> tuple[Any, list[int]]:
    """The order that puts the events of each key together, and where each key's end."""
    order = np.lexsort((events.order, events.code))
    return order, np.bincount(events.code, minlength=len(events.keys)).cumsum().tolist()


def _some(time: int) -> int | None:
    return None if time == NEVER else time
