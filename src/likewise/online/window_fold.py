"""WindowFold: how new events get into what is folded of a key, and old ones out of it.

Of a key's events, those that a window could end among in a moment are kept as they are; where there is a slide, or no
old end, older ones go into tiles. The *horizon* of a series divides them. Whatever lies before the reach of all windows
is dropped, and *floor* says up to when.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from likewise.core.aggregates import NEVER
from likewise.core.windows import BEFORE_ALL
from likewise.online.event_table import EventTable
from likewise.online.tiles import Tiles, tiles_of
from likewise.online.window_base import SeriesState, WindowBase
from likewise.online.window_layout import Series, WindowLayout

GRACE = 60_000_000
"""How far behind the newest push a reader's clock may be, in microseconds, and still be answered exactly."""


@dataclass(frozen=True, slots=True)
class Folding:
    """How much is kept as events."""

    tail: int = 64
    """How many pushed events are appended before they are folded."""
    grace: int = GRACE
    """How long events are kept although a window that ends now needs them no more, in microseconds."""
    most: int = 512
    """How many events of the time of grace are kept at most, before those that are due go into tiles."""
    days: int = 32
    """How many of the newest tiles of a whole life stay apart from the merged older ones."""


def folded(layout: WindowLayout, base: WindowBase, new: EventTable, now: int, rule: Folding) -> WindowBase:
    """Return a base with new events in it, and without what no window reaches from now on.

    Args:
        layout: the layout.
        base: what is folded so far.
        new: events, in the order of their ranks; any times.
        now: the time, in microseconds.
        rule: how much is kept.
    """
    recent = int(((base.events.time > now - rule.grace) & (base.events.time <= now)).sum()) + len(new)
    grace = rule.grace if recent <= rule.most else 0
    series = [
        _folded_series(layout, of, state, base.events, new, now, grace, rule)
        for of, state in zip(layout.series, base.series, strict=True)
    ]
    floor = max(base.floor, min(_needed_after(layout, series, now, rule.grace)))
    events = base.events.with_events(new)
    start = events.after(floor)
    return WindowBase(events.part(start, len(events)) if start else events, floor, series)


def unfolded(base: WindowBase, new: EventTable) -> WindowBase:
    """Return a base with new events in it as events, and nothing dropped."""
    return replace(base, events=base.events.with_events(new))


def raised(base: WindowBase, since: int) -> WindowBase:
    """Return a base that promises nothing of the events up to a time."""
    series = [replace(state, floor=max(state.floor, since)) for state in base.series]
    return replace(base, floor=max(base.floor, since), series=series)


def uncovered(base: WindowBase, cover: int, read_at: int, back_to: int) -> tuple[int, WindowBase] | None:
    """Take out what a new reading of the batch source gives anew: its old events, and those pushed before the reading.

    A tile that has events of both kinds cannot be divided. Then less is taken out: the cover moves before that tile.

    Args:
        base: what is folded.
        cover: up to when the source was read, in microseconds.
        read_at: when it was read.
        back_to: the least cover that is of use.

    Returns:
        (cover, base) for the cover that is possible; None if that is less than ``back_to``.
    """
    while cover >= back_to:
        lower = min((_undivided(state.tiles, cover, read_at) for state in base.series), default=cover)
        if lower == cover:
            series = [replace(state, tiles=_still_pushed_tiles(state.tiles, cover, read_at)) for state in base.series]
            return cover, replace(base, events=still_pushed(base.events, cover, read_at), series=series)
        cover = lower
    return None


def still_pushed(events: EventTable, cover: int, read_at: int) -> EventTable:
    """Return the events that were pushed, and that a reading of the source up to a cover does not have."""
    arrivals = events.arrivals()
    return events.having((arrivals != NEVER) & ((events.time > cover) | (arrivals > read_at)))


def _folded_series(
    layout: WindowLayout,
    of: Series,
    state: SeriesState,
    held: EventTable,
    new: EventTable,
    now: int,
    grace: int,
    rule: Folding,
) -> SeriesState:
    horizon = max(state.horizon, now - of.delay - grace)
    floor = state.floor
    if not of.life:
        oldest = now - of.reach - rule.grace
        floor = max(floor, oldest - oldest % of.hop)
    due = held.part(held.after(max(state.horizon, floor)), held.after(horizon))
    late = new.part(new.after(floor), new.after(horizon))
    tiles = state.tiles
    start = 0 if of.life else int(tiles.ids.searchsorted(floor // of.hop * 2))
    if start:
        tiles = tiles.part(start, len(tiles))
    due = due.with_events(late)
    if len(due):
        tiles = tiles.merged(tiles_of(layout, of, due))
    return SeriesState(tiles.with_old_ones_merged(rule.days) if of.life else tiles, floor, horizon)


def _needed_after(layout: WindowLayout, series: list[SeriesState], now: int, grace: int) -> list[int]:
    needed = [state.horizon for state in series]
    if layout.raw_reach is not None:
        needed.append(now - layout.raw_reach - grace)
    return [max(time, BEFORE_ALL) for time in needed]


def _undivided(tiles: Tiles, cover: int, read_at: int) -> int:
    """Return this cover, or an earlier one, before the first event of a tile that cannot be divided there."""
    (first, _), (earliest, latest) = tiles.times, tiles.arrived
    taken = (tiles.last <= cover) & (latest <= read_at)
    left = (first > cover) | (earliest > read_at)
    mixed = (tiles.ids & 1 == 1) & ~taken & ~left
    return int(first[mixed].min()) - 1 if mixed.any() else cover


def _still_pushed_tiles(tiles: Tiles, cover: int, read_at: int) -> Tiles:
    (first, _), (earliest, _) = tiles.times, tiles.arrived
    return tiles.having((tiles.ids & 1 == 1) & ((first > cover) | (earliest > read_at)))
