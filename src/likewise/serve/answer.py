"""Answer: an online answer as the bytes of Feast's JSON, made column by column; hot.

Names are written once an answer, event times and statuses once a view: its features share them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
from msgspec import Struct

from likewise.core.json_form import column_encoder
from likewise.core.time import EPOCH
from likewise.core.types import Family, FeatureType
from likewise.online.response import Answered, FieldStatus, OnlineResponse
from likewise.online.rows import EventTimes

if TYPE_CHECKING:
    import numpy.typing as npt

_encode = msgspec.json.Encoder().encode
_PRESENT = FieldStatus.PRESENT
NO_TIME = b'"1970-01-01T00:00:00Z"'
"""What stands for no event time, as in Feast: a row without a record, an entity's own column, an on-demand value."""
_AT_EPOCH = b'"1970-01-01T00:00:00.000000Z"'
"""An event that was at the epoch itself: the same time, told from none by its digits."""
_SOME = 1024
_NUMBERS = (Family.BOOL, Family.INT, Family.FLOAT)
_FEW = 12
"""Up to how many rows numbers are written all at once; of more, to find the ends of columns takes longer."""
_OPEN = b'{"values":'
_NEXT = b"," + _OPEN
_NULL = b"n"
"""Stands in each null, and in no number and no truth value: of a column without it, all values are there."""

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
    statuses: list[Literal["PRESENT", "NULL_VALUE", "NOT_FOUND", "OUTSIDE_MAX_AGE", "INVALID"]]
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
        self._head = b'{"metadata":{"feature_names":' + _encode(names) + b'},"results":[' + _OPEN
        encoders = [column_encoder(kind) for kind in types]
        keys = len(names) - len(views)
        self._keys, self._features = encoders[:keys], encoders[keys:]
        self._runs = _runs(types[keys:], views)
        self.views = views
        """The view of each feature."""
        self.per_view: Mapping[str, int] = Counter(views)
        """How many features there are of each view."""

    def write(self, answer: OnlineResponse) -> tuple[bytes, list[Counts] | None]:
        """Return the body of an answer, and how many values of each feature have each status; None: all are there."""
        keys, features = answer.keys, answer.features
        rows = len(next(iter(keys.values()), features[0].values if features else ()))
        texts = _Texts(rows)
        tail = texts.whole(None)
        parts = [self._head]
        for column, encode in zip(keys.values(), self._keys, strict=True):
            parts += encode(column), tail
        counts: list[Counts] = []
        is_whole = True
        for run in self._runs:
            part = features[run]
            text = _at_once(part, rows) if len(part) > 1 else None
            if text is not None:
                tail = texts.whole(part[0].times)
                parts += text.replace(b"],[", b"]" + tail + b"["), tail
                counts += [texts.present] * len(part)
                continue
            for feature, encode in zip(part, self._features[run], strict=True):
                text = encode(feature.values)
                if feature.states is None and text.find(_NULL) < 0:
                    tail, counted = texts.whole(feature.times), texts.present
                else:
                    statuses, counted = texts.statuses(feature)
                    is_whole = is_whole and counted is texts.present
                    tail = texts.rest(statuses, feature.times)
                parts += text, tail
                counts.append(counted)
        return _closed(parts), None if is_whole else counts


def _runs(types: Sequence[FeatureType], views: Sequence[str]) -> list[slice]:
    """Return which features stand together: numbers of one view, and all others by themselves."""
    names = [
        view if kind.family in _NUMBERS else place for place, (kind, view) in enumerate(zip(types, views, strict=True))
    ]
    ends = [place for place in range(1, len(names)) if names[place] != names[place - 1]]
    return [slice(start, end) for start, end in pairwise([0, *ends, len(names)])]


def _at_once(part: Sequence[Answered], rows: int) -> bytes | None:
    """Return the values of columns of numbers, without the outer brackets; None unless all are there, of one view."""
    times = part[0].times
    values = [feature.values for feature in part if feature.states is None and feature.times is times]
    if len(values) < len(part) or rows > _FEW:
        return None
    text = _encode(values)
    return text[1:-1] if text.find(_NULL) < 0 else None


class _Texts:
    """The texts that an answer's columns share: event times and statuses, written once for each view.

    Args:
        rows: how many rows the answer has.
    """

    __slots__ = ("_known", "_present", "_times", "_whole", "present")

    def __init__(self, rows: int) -> None:
        self.present: Counts = {_PRESENT: rows}
        """How many values of a column in which all are there have each status."""
        self._present = _repeated(b'"PRESENT"', rows)
        self._times: dict[int, bytes] = {id(None): _repeated(NO_TIME, rows)}
        self._whole: dict[int, bytes] = {}
        self._known: dict[int, tuple[bytes, int, Counts]] = {}

    def whole(self, times: Sequence[int | None] | None) -> bytes:
        """Return what follows the values of a column in which all are there; hot."""
        found = self._whole.get(id(times))
        if found is None:
            found = self._whole[id(times)] = self.rest(self._present, times)
        return found

    def rest(self, statuses: bytes, times: Sequence[int | None] | None) -> bytes:
        """Return what follows the values of a column, up to the values of the next."""
        if id(times) not in self._times:
            self._times[id(times)] = _times(times or ())
        return b',"statuses":%b,"event_timestamps":%b}%b' % (statuses, self._times[id(times)], _NEXT)

    def statuses(self, feature: Answered) -> tuple[bytes, Counts]:
        """Return a feature's statuses; those of a view's states where the values add nothing to them."""
        nulls, states = feature.values.count(None), feature.states
        if states is None and not nulls:
            return self._present, self.present
        if states is not None:
            if id(states) not in self._known:
                found = Counter(states)
                self._known[id(states)] = _text(states), len(states) - found[_PRESENT], found
            text, hidden, counted = self._known[id(states)]
            if nulls == hidden:
                return text, counted
        own = feature.statuses()
        return _text(own), Counter(own)


def _closed(parts: list[bytes]) -> bytes:
    """Return the whole answer; the last column opens none after it."""
    if len(parts) == 1:
        return parts[0].removesuffix(_OPEN) + b"]}"
    parts[-1] = parts[-1].removesuffix(_NEXT) + b"]}"
    return b"".join(parts)


def _repeated(text: bytes, rows: int) -> bytes:
    """Return an array of one text, again and again."""
    found = _known.get((text, rows))
    if found is None:
        found = b"[" + b",".join([text] * rows) + b"]"
        if rows <= _SOME:
            _known[text, rows] = found
    return found


_known: dict[tuple[bytes, int], bytes] = {}


def _times(times: Sequence[int | None]) -> bytes:
    """Return event times as an array; NumPy makes its times in a sixth of the time that Python takes for its own."""
    if len(times) <= _FEW and all(times):
        return _encode([EPOCH + timedelta(0, 0, at) for at in times if at is not None])
    if isinstance(times, EventTimes) and (micros := times.array()).all():
        return _instants(micros)
    known = [at for at in times if at]
    if not known and times.count(None) == len(times):
        return _repeated(NO_TIME, len(times))
    found = iter(_instants(np.array(known, np.int64))[1:-1].split(b","))
    return b"[" + b",".join([next(found) if at else NO_TIME if at is None else _AT_EPOCH for at in times]) + b"]"


def _instants(micros: npt.NDArray[np.int64]) -> bytes:
    text = _encode(micros.view("M8[us]").tolist())  # without a zone, so without its mark
    return text.replace(b'","', b'Z","')[:-2] + b'Z"]' if len(micros) else text


def _text(statuses: Sequence[FieldStatus]) -> bytes:
    return b"[" + b",".join([_TEXTS[status] for status in statuses]) + b"]"


_TEXTS: Mapping[FieldStatus, bytes] = {status: f'"{status.name}"'.encode() for status in FieldStatus}
