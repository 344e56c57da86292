"""Case: one example of features, as data: which rows there are, and what the values are then."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from likewise.define.definition import Origin

Row = Mapping[str, Any]
"""One row: column to value."""
RELATIVE = 1e-6
"""How far a number may be from :class:`Approx` unless it says so, as a part of its size."""


def _written() -> Origin:
    """Return where a record is made: above this function and the record's own ``__init__``."""
    frame = sys._getframe(2)
    return Origin(frame.f_code.co_filename, frame.f_lineno)


@dataclass(frozen=True, slots=True)
class Approx:
    """A number, or a list of numbers, that a value need only be near to.

    Example:
        >>> Approx(3.33, within=0.01).holds(10 / 3), Approx(3.33).holds(10 / 3), Approx(3.33).holds(None)
        (True, False, False)
    """

    value: Any
    """The number, or a list of numbers."""
    within: float | None = None
    """How far off it may be, at least 0; None is a millionth of the number."""

    def holds(self, found: Any) -> bool:
        """Tell whether a value is near enough; of a list, each of them."""
        return _is_near(self.value, found, self.within)

    def __str__(self) -> str:
        return f"about {self.value!r}" + ("" if self.within is None else f" ± {self.within!r}")


def _is_near(wanted: Any, found: Any, within: float | None) -> bool:
    if isinstance(wanted, list | tuple):
        same = isinstance(found, list) and len(found) == len(wanted)
        return same and all(_is_near(a, b, within) for a, b in zip(wanted, found, strict=True))
    if wanted is None or found is None or isinstance(found, str | bytes | list | dict | bool):
        return wanted is None and found is None
    if wanted != wanted or found != found:
        return bool(wanted != wanted and found != found)
    off = abs(float(found) - float(wanted))
    return wanted == found or off <= (abs(float(wanted)) * RELATIVE if within is None else within)


@dataclass(frozen=True, slots=True)
class Expect:
    """What the values of one key are at one time."""

    at: Any
    """The time: a datetime (naive is UTC), a date, or ISO text."""
    key: Row
    """The entity key: join key to value."""
    values: Row
    """Feature to value: None is null, :class:`Approx` a number that need only be near. A name is that of a feature, or
    ``view:feature`` where two have the same."""
    request: Row = field(default_factory=dict)
    """What comes with the request, for on-demand features."""
    origin: Origin = field(default_factory=_written, compare=False)
    """Where it was written."""


@dataclass(frozen=True, slots=True)
class Case:
    """One example: rows, and what is expected of features then.

    Example:
        >>> case = Case(
        ...     "a reading counts for a week",
        ...     features=["readings:temperature"],
        ...     rows={"readings": [{"machine_id": 1, "event_timestamp": "2024-05-01", "temperature": 61.5}]},
        ...     expect=[
        ...         Expect(at="2024-05-08", key={"machine_id": 1}, values={"temperature": 61.5}),
        ...         Expect(at="2024-05-09", key={"machine_id": 1}, values={"temperature": None}),
        ...     ],
        ... )
        >>> case.name, len(case.expect)
        ('a reading counts for a week', 2)
    """

    name: str
    """What it shows, in a few words."""
    features: Sequence[str]
    """What is asked for: ``view:feature`` texts, names of views and services."""
    rows: Mapping[str, Sequence[Row]]
    """The rows of each source, by its name (a file's path as well), or by the name of a view that reads it. Those of a
    push source are pushed, those of all others are materialized; a source that is not named has none."""
    expect: Sequence[Expect]
    """What is expected; at least one. All have the same columns in their keys and requests."""
    known_by: bool = False
    """Whether a row counts only once it was created: both for training and for what is written before each time."""
    origin: Origin = field(default_factory=_written, compare=False)
    """Where it was written."""
