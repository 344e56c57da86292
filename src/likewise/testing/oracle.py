"""The oracle: the truth of S2-S8 in plain loops, which every engine and store is tested against.

Times are int64 microseconds since the epoch. A key is a tuple with one value for each join key, in the order of the
join keys' names; the key of a view without entities is the empty tuple. Nothing here looks at types: who calls it has
turned every value into the one that its declared type means.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cmp_to_key
from typing import Any, Literal

from likewise.core.windows import Window
from likewise.testing.oracle_functions import answer

Status = Literal["PRESENT", "NULL_VALUE", "NOT_FOUND", "OUTSIDE_MAX_AGE"]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a source, or one row written to an online store."""

    key: tuple[Any, ...]
    """The entity key; a row with None in it is nobody's."""
    event: int | None
    """The event time; a row without one never counts."""
    created: int | None
    """The created time; None when nobody wrote it down, which is earlier than any that was."""
    order: int
    """The place in the source: files in path order, rows in file order, pushed rows as they arrive."""
    values: tuple[Any, ...]
    """The values of the view's features, in order."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one view holds for one key at one time."""

    row: Row | None
    """The row that counts, also when it is expired; None when there is none."""
    expired: bool = False
    """Whether that row is older than the ttl allows."""

    def status(self, feature: int) -> Status:
        """Return the status of the feature with this number.

        Example:
            >>> Found(None).status(0)
            'NOT_FOUND'
        """
        if self.row is None:
            return "NOT_FOUND"
        if self.expired:
            return "OUTSIDE_MAX_AGE"
        return "NULL_VALUE" if self.row.values[feature] is None else "PRESENT"

    def value(self, feature: int) -> Any:
        """Return the value of the feature with this number; None unless it is present.

        Example:
            >>> Found(Row((1,), 10, None, 0, ("red",)), expired=True).value(0) is None
            True
        """
        if self.row is None or self.expired:
            return None
        return self.row.values[feature]


@dataclass(frozen=True, slots=True)
class View:
    """One view, as far as a training set asks about it."""

    rows: Sequence[Row]
    """All of its rows."""
    keys: tuple[str, ...]
    """The entity rows' column for each part of the key."""
    outputs: tuple[str, ...]
    """The name of each feature in the training set."""
    ttl: int | None = None
    """For how many microseconds a value counts after its event time; None or 0 is without limit."""


def as_of(
    rows: Iterable[Row], key: tuple[Any, ...], t: int | None, ttl: int | None = None, known_by: bool = False
) -> Found:
    """Return what is true of a key at a time (S3): its latest row at or before then, unless that has expired.

    Args:
        rows: the view's rows, in any order.
        key: the entity key asked for.
        t: the time asked for; None finds nothing.
        ttl: how long a row counts, both ends included; None or 0 is without limit.
        known_by: count a row only if it was created by then, too (S4); one without a created time is taken to have
            been created with its event.

    Example:
        >>> rows = [Row((7,), 100, None, 0, ("a",)), Row((7,), 200, None, 1, ("b",))]
        >>> as_of(rows, (7,), 199).value(0), as_of(rows, (7,), 200).value(0)
        ('a', 'b')
        >>> as_of(rows, (7,), 250, ttl=50).status(0), as_of(rows, (7,), 251, ttl=50).status(0)
        ('PRESENT', 'OUTSIDE_MAX_AGE')
        >>> as_of(rows, (8,), 250).status(0)
        'NOT_FOUND'
    """
    best: Row | None = None
    for row in rows:
        if t is None or row.event is None or row.event > t:
            continue
        if not same_key(row.key, key):
            continue
        if known_by and row.created is not None and row.created > t:
            continue
        if best is None or is_later(row, best):
            best = row
    if best is None or best.event is None or t is None:
        return Found(None)
    return Found(best, expired=bool(ttl) and best.event < t - (ttl or 0))


def is_later(row: Row, than: Row) -> bool:
    """Say whether a row is the later of two with event times (S2): by event time, then created time, then place.

    Example:
        >>> is_later(Row((1,), 5, 9, 0, ()), than=Row((1,), 5, None, 1, ()))
        True
    """
    if row.event != than.event:
        return (row.event or 0) > (than.event or 0)
    if row.created != than.created:
        return than.created is None or (row.created is not None and row.created > than.created)
    return row.order > than.order


def same_key(key: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Say whether two entity keys are one (S9): the same values of the same types, none of them null.

    Example:
        >>> same_key((1, "a"), (1, "a")), same_key((1,), (True,)), same_key((None,), (None,))
        (True, False, False)
    """
    if len(key) != len(other):
        return False
    for one, two in zip(key, other, strict=True):
        if one is None or type(one) is not type(two) or one != two:
            return False
    return True


def training_set(
    entity_rows: Iterable[Mapping[str, Any]], views: Sequence[View], *, time: str, known_by: bool = False
) -> list[dict[str, Any]]:
    """Return exactly the entity rows, in their order, each with its columns and then the views' features (S8).

    Args:
        entity_rows: column to value, for each row.
        views: what to join, in order.
        time: the entity rows' column of times.
        known_by: whether a row counts only once it was created (S4).

    Example:
        >>> view = View([Row((7,), 100, None, 0, ("a",))], keys=("user",), outputs=("colour",))
        >>> training_set([{"user": 7, "t": 99}, {"user": 7, "t": 100}], [view], time="t")
        [{'user': 7, 't': 99, 'colour': None}, {'user': 7, 't': 100, 'colour': 'a'}]
    """
    answers = []
    for entity_row in entity_rows:
        answer = dict(entity_row)
        for view in views:
            key = tuple(entity_row[column] for column in view.keys)
            found = as_of(view.rows, key, entity_row[time], view.ttl, known_by)
            for number, output in enumerate(view.outputs):
                answer[output] = found.value(number)
        answers.append(answer)
    return answers


def latest(rows: Iterable[Row], start: int | None = None, end: int | None = None) -> list[Row]:
    """Return the latest row (S2) of each key among those of a span of event times, both ends included.

    Example:
        >>> rows = [Row((7,), 100, None, 0, ("a",)), Row((7,), 200, None, 1, ("b",))]
        >>> [row.values for row in latest(rows, end=199)]
        [('a',)]
    """
    best: list[Row] = []
    for row in rows:
        if row.event is None or not same_key(row.key, row.key):
            continue
        if (start is not None and row.event < start) or (end is not None and row.event > end):
            continue
        rival = next((other for other in best if same_key(other.key, row.key)), None)
        if rival is None:
            best.append(row)
        elif is_later(row, than=rival):
            best[best.index(rival)] = row
    return best


def online(written: Iterable[Row], key: tuple[Any, ...], now: int, ttl: int | None = None) -> Found:
    """Return what an online store answers at a time (S7): the newest of all rows written, if it is true by then.

    An older row never replaces a newer one, whatever the order of the writes; of two that are equally new the one that
    arrived later counts. The store keeps one row a key, so a row of the future hides those before it.

    Example:
        >>> newer, older = Row((7,), 200, None, 0, ("b",)), Row((7,), 100, None, 1, ("a",))
        >>> online([newer, older], (7,), now=300).value(0)
        'b'
        >>> online([newer, older], (7,), now=150).status(0)
        'NOT_FOUND'
    """
    kept = [row for row in latest(written) if same_key(row.key, key)]
    return as_of(kept, key, now, ttl)


def windowed(
    events: Iterable[Row],
    key: tuple[Any, ...],
    t: int | None,
    window: Window,
    function: str,
    input_number: int,
    known_by: bool = False,
) -> Any:
    """Return the value of a windowed feature of a key at a time (S5, S6).

    Args:
        events: the view's events, in any order; the values of each are the windows' inputs.
        key: the entity key asked for.
        t: the time asked for; None has no value.
        window: its width, slide and delay.
        function: the canonical text of the function, such as ``sum`` or ``last_n(5)``.
        input_number: the place of the function's input among each event's values.
        known_by: count an event only if it was created by t, too (S4); one without a created time is taken to have
            been created with its event.

    Raises:
        AggregateOverflow: a sum is beyond Int64 or Decimal.

    Example:
        >>> events = [Row((7,), 100, None, 0, (1.5,)), Row((7,), 160, None, 1, (2.0,))]
        >>> minute = Window(width=60)
        >>> [windowed(events, (7,), t, minute, "sum", 0) for t in (99, 159, 160, 220)]
        [None, 1.5, 2.0, None]
        >>> windowed(events, (8,), 160, minute, "count", 0)
        0
    """
    if t is None:
        return None
    inside = [
        row
        for row in events
        if row.event is not None
        and same_key(row.key, key)
        and is_inside(row.event, t, window)
        and not (known_by and row.created is not None and row.created > t)
    ]
    inside.sort(key=cmp_to_key(lambda one, other: is_later(one, other) - is_later(other, one)))
    return answer(function, [row.values[input_number] for row in inside if row.values[input_number] is not None])


def is_inside(event: int, t: int, window: Window) -> bool:
    """Say whether an event time lies in the window at a time: after its old end, and not after its new one (S5).

    Example:
        >>> [is_inside(event, 100, Window(width=60)) for event in (40, 41, 100, 101)]
        [False, True, True, False]
        >>> [is_inside(event, 100, Window(width=60, slide=25)) for event in (25, 26)]
        [False, True]
    """
    newest = t - window.delay
    if event > newest or window.width is None:
        return event <= newest
    oldest = newest - window.width
    if window.slide is not None:
        oldest = oldest // window.slide * window.slide
    return event > oldest
