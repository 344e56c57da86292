"""ValueExplanation: one value of a feature, with all that made it: the row that counted, or a window's events.

It is plain data, complete, and can be computed again from what it lists; only its text is shortened.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from likewise.core.aggregates import NEVER, Aggregate, Rank, aggregate_for
from likewise.core.frames import to_rows
from likewise.core.results import declared_results
from likewise.core.time import from_micros, span_text, to_micros
from likewise.core.types import Family, FeatureType
from likewise.core.windows import BEFORE_ALL
from likewise.plan.explain import Explanation
from likewise.plan.windows import WindowFeature, WindowInput

SHOWN = 20
"""How many events, and how many tiles, the text shows."""


@dataclass(frozen=True, slots=True)
class SeenEvent:
    """One row of a source, or one event or record of the online store."""

    event_time: datetime
    """Its event time."""
    created: datetime | None
    """Its created time; None when it has none."""
    value: Any
    """The feature's value in it, or what the window aggregates; None is null."""
    path: str
    """The file that it is in; online, the table."""
    row: int | None
    """Its place in that file, from 0; None online."""
    order: int = 0
    """What puts events of the same times in order: of two the one with the greater is the later."""

    @property
    def rank(self) -> Rank:
        """What says which of two events is the later (S2)."""
        return to_micros(self.event_time), NEVER if self.created is None else to_micros(self.created), self.order

    def __str__(self) -> str:
        created = "" if self.created is None else f", created {_iso(self.created)}"
        place = self.path if self.row is None else f"row {self.row} of {self.path}"
        return f"{_iso(self.event_time)}  {self.value!r}  ({place}{created})"


@dataclass(frozen=True, slots=True)
class SeenTile:
    """Events that the online store keeps together, as the state of the window's function over them."""

    until: datetime
    """No event of it is later than this."""
    last: datetime
    """The event time of its latest event."""
    from_source: bool
    """Whether its events come from the batch source; else they were pushed."""
    state: Any
    """The state of the function, as :mod:`likewise.core.aggregates` has it."""

    def __str__(self) -> str:
        came = "from the source" if self.from_source else "pushed"
        return f"tile up to {_iso(self.until)}, last event {_iso(self.last)}, {came}: {self.state!r}"


@dataclass(frozen=True, slots=True)
class LatestRow:
    """Why a value of a plain view is what it is: the latest row counts, unless it is too old (S3)."""

    row: SeenEvent | None
    """The latest row at or before the time; None when there is none."""
    oldest: datetime | None
    """A row counts from this event time on, as the ttl says; None without a ttl."""
    ttl: timedelta | None
    """For how long a row counts; None is without limit."""

    @property
    def expired(self) -> bool:
        """Whether there is a row, but it is too old."""
        return self.row is not None and self.oldest is not None and self.row.event_time < self.oldest

    @property
    def events(self) -> tuple[SeenEvent, ...]:
        """The row that is listed."""
        return () if self.row is None else (self.row,)

    def compute(self) -> Any:
        """Return the value that the row gives."""
        return None if self.row is None or self.expired else self.row.value

    def lines(self) -> Iterator[str]:
        """Yield what is to be said, line by line."""
        limit = "" if self.oldest is None else f", which counts from {_iso(self.oldest)} on"
        yield f"the latest row, no older than its ttl: {span_text(self.ttl)}{limit}"
        yield "  there is no row" if self.row is None else f"  {'expired: ' if self.expired else ''}{self.row}"

    def data(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "rule": "latest row",
            "ttl_seconds": None if self.ttl is None else self.ttl.total_seconds(),
            "oldest": self.oldest,
            "expired": self.expired,
            "row": None if self.row is None else _data(self.row),
        }


@dataclass(frozen=True, slots=True)
class WindowEvents:
    """Why a window's value is what it is: its bounds, and the events in it (S5, S6). The old end is not in it."""

    feature: WindowFeature
    """What is computed over which window."""
    input: WindowInput
    """What is aggregated of each event."""
    after: datetime | None
    """The old end: an event at this very time does not count; None takes every event up to the new end."""
    until: datetime
    """The new end: an event at this very time counts."""
    events: tuple[SeenEvent, ...]
    """The events in it, in the order of S2; online, those that stand one by one."""
    tiles: tuple[SeenTile, ...] = ()
    """Online, the events that were put together."""
    known: bool = True
    """Whether the online store can tell the value exactly at this time; if not, nothing is listed."""

    def compute(self) -> Any:
        """Return what the function gives over the events and tiles, in the feature's declared type."""
        if not self.known:
            return None
        aggregate = aggregate_for(self.feature.function, self.input.type)
        values = [_taken(event.value, aggregate) for event in self.events]
        state = aggregate.add_all(aggregate.start(), values, [event.rank for event in self.events])
        if self.tiles:
            state = aggregate.merge_all([*(tile.state for tile in self.tiles), state])
        return _declared(aggregate.finish(state), aggregate.output, self.feature)

    def lines(self) -> Iterator[str]:
        """Yield what is to be said, line by line."""
        where = f" where {self.input.where}" if self.input.where else ""
        start = "all events" if self.after is None else f"events after {_iso(self.after)} (not included)"
        yield f"{self.feature.function} of {self.input.expression}{where}"
        yield f"over {start} up to {_iso(self.until)} (included)"
        if not self.known:
            yield "which the online store cannot tell exactly at this time"
            return
        if self.tiles:
            yield f"{_some(len(self.tiles), 'tile')} of the online state"
            yield from (f"  {line}" for line in shortened(self.tiles))
        yield _some(len(self.events), "event") + (" one by one" if self.tiles else "")
        yield from (f"  {line}" for line in shortened(self.events))

    def data(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "rule": "window",
            "function": self.feature.function,
            "expression": self.input.expression,
            "where": self.input.where,
            "after": self.after,
            "until": self.until,
            "known": self.known,
            "events": [_data(event) for event in self.events],
            "tiles": [
                {"until": tile.until, "last": tile.last, "from_source": tile.from_source, "state": tile.state}
                for tile in self.tiles
            ],
        }


@dataclass(frozen=True, slots=True, repr=False)
class ValueExplanation:
    """One value of a feature, and all that made it.

    Example:
        >>> row = SeenEvent(datetime(2024, 1, 1), None, 7, "visits.parquet", 3)
        >>> reason = LatestRow(row, None, None)
        >>> ValueExplanation("users:visits", {"user": 1}, datetime(2024, 1, 5), 7, "PRESENT", "ab12", 4, reason)
        users:visits is 7 (PRESENT)
          for user=1 at 2024-01-05T00:00:00Z
          definition ab12 of catalog 4
          the latest row, no older than its ttl: unlimited
            2024-01-01T00:00:00Z  7  (row 3 of visits.parquet)
          computed again from this: 7
    """

    feature: str
    """The feature, as ``view:feature``."""
    key: Mapping[str, Any]
    """The entity key: join key to value, in its declared type."""
    at: datetime
    """The time that the value is for."""
    value: Any
    """The value, as the training set or the online store gave it; None is null."""
    status: str
    """What is known of it: PRESENT, NULL_VALUE, NOT_FOUND or OUTSIDE_MAX_AGE."""
    definition: str
    """The hash of the view's definition."""
    catalog: int
    """The number of the catalog that the definition was read from."""
    reason: LatestRow | WindowEvents
    """The rule, and what it was applied to."""

    @property
    def events(self) -> tuple[SeenEvent, ...]:
        """The rows or events that are listed."""
        return self.reason.events

    def recompute(self) -> Any:
        """Return the value again, computed from nothing but what is listed here."""
        return self.reason.compute()

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain data: dicts, lists, values and datetimes."""
        return {
            "feature": self.feature,
            "key": dict(self.key),
            "at": self.at,
            "value": self.value,
            "status": self.status,
            "definition": self.definition,
            "catalog": self.catalog,
            "recomputed": self.recompute(),
            **self.reason.data(),
        }

    def _explanation(self) -> Explanation:
        key = ", ".join(f"{name}={value!r}" for name, value in self.key.items()) or "the only key"
        first = [f"for {key} at {_iso(self.at)}", f"definition {self.definition} of catalog {self.catalog}"]
        last = f"computed again from this: {self.recompute()!r}"
        return Explanation(f"{self.feature} is {self.value!r} ({self.status})", (*first, *self.reason.lines(), last))

    def __repr__(self) -> str:
        return str(self._explanation())

    def _repr_html_(self) -> str:
        return self._explanation()._repr_html_()


def shortened(listed: Sequence[object]) -> Iterator[str]:
    """Yield a line for each of several things: of many just the first and the last, and how many lie between.

    Example:
        >>> list(shortened(range(30)))[8:12]
        ['8', '9', '… 10 more …', '20']
    """
    half = SHOWN // 2
    if len(listed) <= SHOWN:
        yield from map(str, listed)
        return
    yield from map(str, listed[:half])
    yield f"… {len(listed) - 2 * half:,} more …"
    yield from map(str, listed[-half:])


def moment(micros: int) -> datetime | None:
    """Return an end of a window as a datetime; None for the one before all times."""
    return None if micros <= BEFORE_ALL else from_micros(micros)


def _taken(value: Any, aggregate: Aggregate) -> Any:
    """Return a value as aggregates take it."""
    return to_micros(value) if isinstance(value, datetime) and aggregate.input.family is Family.TIME else value


def _declared(value: Any, own: FeatureType, feature: WindowFeature) -> Any:
    import pyarrow as pa

    from likewise.online.columns import ColumnWriter

    column = declared_results(ColumnWriter(feature.name, own).array([value]), feature.type, feature.name)
    return to_rows(pa.table({"value": column}))[0]["value"]


def _data(event: SeenEvent) -> dict[str, Any]:
    return {
        "event_time": event.event_time,
        "created": event.created,
        "value": event.value,
        "path": event.path,
        "row": event.row,
    }


def _iso(moment: datetime) -> str:
    return from_micros(to_micros(moment)).isoformat().replace("+00:00", "Z")


def _some(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
