"""Verification: what came of comparing logged answers with the offline source, feature by feature, as plain data."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


class Outcome(enum.IntEnum):
    """What came of one value. EQUAL, STALE and DIFFERENT were compared; the others could not be, and say why."""

    EQUAL = 0
    STALE = 1
    DIFFERENT = 2
    ONLY_ONLINE = 3
    RESTATED = 4
    LATE = 5
    INCOMPLETE = 6
    DELETED = 7
    OTHER_TIME = 8
    NOT_READ = 9
    INPUTS = 10
    NO_SOURCE = 11
    UNREADABLE = 12
    NO_FUNCTION = 13
    NO_CATALOG = 14
    PUSHED = 15


REASONS: Mapping[Outcome, str] = {
    Outcome.ONLY_ONLINE: "its row is not in the source as of then: pushed or written online only, or gone since",
    Outcome.RESTATED: "the source has several rows of that time, and it is one that was replaced",
    Outcome.LATE: "the key has events from after the last materialization, which need not have been pushed by then",
    Outcome.PUSHED: "it may have had events that were pushed online only, which a materialization has replaced since",
    Outcome.INCOMPLETE: "the record did not have the feature, or not all of its window, and said so (NOT_FOUND)",
    Outcome.DELETED: "the key was deleted online, or was given a row of a later time",
    Outcome.OTHER_TIME: "it was asked for an earlier time, of which the online store keeps nothing",
    Outcome.NOT_READ: "the store could not be read, and the answer said so (INVALID)",
    Outcome.INPUTS: "what the on-demand function was given could not be compared",
    Outcome.NO_SOURCE: "the view has no batch source",
    Outcome.UNREADABLE: "the source cannot be read as it was defined",
    Outcome.NO_FUNCTION: "the repo does not have the function that answered",
    Outcome.NO_CATALOG: "its catalog, or what was asked for, is not in the registry",
}
"""Why a value could not be compared."""
EXAMPLES = 3
"""How many differences of a feature are shown."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that was served, and is not what the source says."""

    key: Mapping[str, Any]
    """The entity key, and the request's own values."""
    at: datetime
    """The time that the answer was for."""
    served: Any
    """The value that was served."""
    served_status: str
    """Its status."""
    served_time: datetime | None
    """The event time that was served with it; None where there is none."""
    recomputed: Any
    """The value that the source gives."""
    recomputed_status: str
    """Its status."""
    recomputed_time: datetime | None
    """The event time of the row that it is from; None for windows and on-demand features, and where there is none."""
    request_id: str
    """The id of the request."""
    why: str
    """What is wrong, in words."""


@dataclass(slots=True)
class FeatureCheck:
    """What came of the values of one feature."""

    feature: str
    """The feature: ``view:feature``."""
    counts: dict[Outcome, int] = field(default_factory=dict)
    """How many values came to what."""
    examples: list[Difference] = field(default_factory=list)
    """The first few differences."""
    notes: list[str] = field(default_factory=list)
    """Errors that kept values from being compared, each once."""

    def _count(self, *outcomes: Outcome) -> int:
        return sum(self.counts.get(outcome, 0) for outcome in outcomes)

    @property
    def equal(self) -> int:
        """How many were what the source says for the time of the answer."""
        return self._count(Outcome.EQUAL)

    @property
    def stale(self) -> int:
        """How many were right for an earlier time, as the later row need not have been materialized or pushed."""
        return self._count(Outcome.STALE)

    @property
    def different(self) -> int:
        """How many were not what the source says."""
        return self._count(Outcome.DIFFERENT)

    @property
    def compared(self) -> int:
        """How many were compared."""
        return self.equal + self.stale + self.different

    @property
    def skipped(self) -> dict[str, int]:
        """How many could not be compared, by the name of the reason."""
        return {
            outcome.name.lower(): count for outcome, count in sorted(self.counts.items()) if outcome > Outcome.DIFFERENT
        }


@dataclass(slots=True)
class Verification:
    """What came of comparing logged answers with the offline source.

    Example:
        >>> check = FeatureCheck("users:visits", {Outcome.EQUAL: 9, Outcome.STALE: 1, Outcome.ONLY_ONLINE: 2})
        >>> Verification(rows=12, files=1, features={"users:visits": check})
        12 rows of 1 file: 10 values compared, 0 different
          users:visits: 9 equal, 1 stale, 0 different, 2 not compared
    """

    rows: int = 0
    """How many rows of the log were looked at."""
    files: int = 0
    """How many files they were in."""
    features: dict[str, FeatureCheck] = field(default_factory=dict)
    """What came of each feature."""

    @property
    def compared(self) -> int:
        """How many values were compared."""
        return sum(check.compared for check in self.features.values())

    @property
    def different(self) -> int:
        """How many of them were not what the source says; 0 for a correct store."""
        return sum(check.different for check in self.features.values())

    def _lines(self) -> Iterator[str]:
        files = f"{self.files:,} file{'' if self.files == 1 else 's'}"
        yield f"{self.rows:,} rows of {files}: {self.compared:,} values compared, {self.different:,} different"
        for check in self.features.values():
            left = sum(check.skipped.values())
            yield (
                f"  {check.feature}: {check.equal:,} equal, {check.stale:,} stale, {check.different:,} different, "
                f"{left:,} not compared"
            )

    def __repr__(self) -> str:
        return "\n".join(self._lines())
