"""Answer: an online answer as the bytes of Feast's JSON, made column by column; hot.

Names are written once an answer, event times and statuses once a view: its features share them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal

import msgspec
from msgspec import Struct

from likewise.core.json_form import encode_column, has_sets
from likewise.core.time import EPOCH
from likewise.core.types import FeatureType
from likewise.online.response import Answered, FieldStatus, OnlineResponse

_encode = msgspec.json.Encoder().encode
_PRESENT = FieldStatus.PRESENT
NO_TIME = b'"1970-01-01T00:00:00Z"'
"""What stands for no event time, as in Feast: a row without a record, an entity's own column, an on-demand value."""
_AT_EPOCH = b'"1970-01-01T00:00:00.000000Z"'
"""An event that was at the epoch itself: the same time, told from none by its digits."""
_SOME = 1024

Counts = Mapping[FieldStatus, int]
"""How many values have each status."""


class OnlineMetadata(Struct, frozen=True):
    """What the results are."""

    feature_names: list[str]
    """The names of the results: the entities, then the features in the order asked for."""


class Result(Struct, frozen=True):
    """One column of an answer."""

    values: list[Any]
    """A value for each row, in the form of docs/serving.md."""
    statuses: list[Literal["PRESENT", "NULL_VALUE", "NOT_FOUND", "OUTSIDE_MAX_AGE"]]
    """What is known of each value."""
    event_timestamps: list[str]
    """The event time of each row's record; 1970-01-01T00:00:00Z where there is none."""


class OnlineAnswer(Struct, frozen=True):
    """The features of some entities."""

    metadata: OnlineMetadata
    """What the results are."""
    results: list[Result]
    """One for each name."""


class AnswerWriter:
    """Writes the answers of one read; what depends on names and types is decided when it is made.

    Args:
        names: the names of the answer: the entities, then the features.
        types: the type of each.
        views: the view of each feature.

    Example:
        >>> from likewise.core.types import Int64
        >>> visits = Answered("visits", Int64, [7], None, [1_000_000])
        >>> writer = AnswerWriter(["user", "visits"], [Int64, Int64], ["users"])
        >>> body, _ = writer.write(OnlineResponse({"user": [1]}, {"user": Int64}, [visits]))
        >>> msgspec.json.decode(body)["results"][1]
        {'values': [7], 'statuses': ['PRESENT'], 'event_timestamps': ['1970-01-01T00:00:01Z']}
    """

    def __init__(self, names: Sequence[str], types: Sequence[FeatureType], views: Sequence[str]) -> None:
        self._head = b'{"metadata":{"feature_names":' + _encode(names) + b'},"results":'
        self._types = types
        self._at_once = not any(map(has_sets, types))
        self.views = views
        """The view of each feature."""
        self.per_view: Mapping[str, int] = Counter(views)
        """How many features there are of each view."""

    def write(self, answer: OnlineResponse) -> tuple[bytes, list[Counts] | None]:
        """Return the body of an answer, and how many values of each feature have each status; None: all are there."""
        keys, features = answer.keys, answer.features
        rows = len(next(iter(keys.values()), features[0].values if features else ()))
        present, none = _repeated(b'"PRESENT"', rows), _repeated(NO_TIME, rows)
        results = [{"values": v, "statuses": present, "event_timestamps": none} for v in keys.values()]
        times: dict[int, msgspec.Raw] = {}
        known: dict[int, tuple[msgspec.Raw, int, Counts]] = {}
        counts: list[Counts] = []
        hidden = 0
        for feature in features:
            values, at = feature.values, times.get(id(feature.times))
            if at is None:
                at = times[id(feature.times)] = _times(feature.times)
            nulls = values.count(None)
            if nulls or feature.states is not None:
                statuses, counted = _statuses(feature, nulls, known)
                hidden += nulls
            else:
                statuses, counted = present, {_PRESENT: rows}
            counts.append(counted)
            results.append({"values": values, "statuses": statuses, "event_timestamps": at})
        return self._head + self._written(results, hidden) + b"}", counts if hidden or known else None

    def _written(self, results: list[dict[str, Any]], nulls: int) -> bytes:
        """Return the results as JSON; one null more than there are means NaN or an infinity, or a text that says so."""
        if self._at_once:
            done = _encode(results)
            if done.count(b"null") == nulls:
                return done
        for result, kind in zip(results, self._types, strict=True):
            result["values"] = msgspec.Raw(encode_column(result["values"], kind))
        return _encode(results)


def _repeated(text: bytes, rows: int) -> msgspec.Raw:
    """Return an array of one text, again and again."""
    found = _known.get((text, rows))
    if found is None:
        found = msgspec.Raw(b"[" + b",".join([text] * rows) + b"]")
        if rows <= _SOME:
            _known[text, rows] = found
    return found


_known: dict[tuple[bytes, int], msgspec.Raw] = {}


def _times(times: Sequence[int | None]) -> msgspec.Raw:
    epoch, span = EPOCH, timedelta
    if all(times):
        return msgspec.Raw(_encode([epoch + span(0, 0, at) for at in times]))  # type: ignore[arg-type]
    cells = [NO_TIME if at is None else _AT_EPOCH if at == 0 else _encode(epoch + span(0, 0, at)) for at in times]
    return msgspec.Raw(b"[" + b",".join(cells) + b"]")


def _statuses(
    feature: Answered, nulls: int, known: dict[int, tuple[msgspec.Raw, int, Counts]]
) -> tuple[msgspec.Raw, Counts]:
    """Return a feature's statuses; those of a view's states where the values add nothing to them."""
    states = feature.states
    if states is not None:
        if id(states) not in known:
            found = Counter(states)
            known[id(states)] = _text(states), len(states) - found[_PRESENT], found
        text, hidden, counted = known[id(states)]
        if nulls == hidden:
            return text, counted
    own = feature.statuses()
    return _text(own), Counter(own)


def _text(statuses: Sequence[FieldStatus]) -> msgspec.Raw:
    return msgspec.Raw(b"[" + b",".join([_TEXTS[status] for status in statuses]) + b"]")


_TEXTS: Mapping[FieldStatus, bytes] = {status: f'"{status.name}"'.encode() for status in FieldStatus}
