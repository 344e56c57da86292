"""MaterializePlan: which rows of a view go to the online store, as data."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import timedelta

from likewise.core.errors import InvalidTime, NotSupported
from likewise.core.time import EARLIEST, from_micros, span_micros
from likewise.core.types import FeatureType
from likewise.define.view import FeatureView
from likewise.plan.lookup import table_name
from likewise.plan.scan import Scan, scan_of, sorted_keys


@dataclass(frozen=True, slots=True)
class MaterializePlan:
    """The latest row of each key of one view, within a span of event times, to the online store."""

    project: str
    """The project."""
    view: str
    """The view."""
    table: str
    """Its table in the online store."""
    scan: Scan
    """The rows to read."""
    start: int
    """The first event time, in microseconds since the epoch."""
    end: int
    """The last event time, included."""
    keys: tuple[str, ...]
    """The join keys' names, sorted."""
    key_types: tuple[FeatureType, ...]
    """The join keys' types, in the same order."""
    names: tuple[str, ...]
    """The features, in the order of the view's records."""
    types: tuple[FeatureType, ...]
    """Their types."""
    origin: str
    """A hash of where the values come from; records of another origin are dropped before these are written."""
    definition: str
    """A hash of the origin, the features and the ttl; incremental runs begin anew when it changed."""
    why: str
    """Why the span begins where it does, for people."""
    anew: bool = False
    """Whether it covers all that the view can need at its end."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a view was materialized before."""

    end: int | None
    """The latest event time that is in the online store, in microseconds; None when nothing is."""
    definition: str
    """The :attr:`MaterializePlan.definition` of what is there; empty when nothing is."""


def plan_materialize(
    project: str, view: FeatureView, root: str, start: int, end: int, why: str = ""
) -> MaterializePlan:
    """Plan to materialize a span of event times.

    Args:
        project: the project.
        view: a view of the catalog.
        root: the repo's folder.
        start: the first event time, in microseconds since the epoch.
        end: the last event time, included.
        why: why the span begins where it does.

    Raises:
        NotSupported: the view computes windows, is offline only, or has no batch source.
        InvalidTime: the span ends before it begins.
    """
    if not view.online:
        raise NotSupported(f"{view.title} is not online", cure="apply it with online=True, or leave it out")
    if end < start:
        raise InvalidTime(
            f"{view.title}: the end {from_micros(end)} lies before the start {from_micros(start)}",
            cure="exchange them",
        )
    scan = scan_of(view, root, view.features)
    keys = sorted_keys(view)
    names = tuple(field.name for field in view.features)
    origin = _digest(scan.location.shown, scan.time, scan.created, scan.keys)
    return MaterializePlan(
        project,
        view.name,
        table_name(project, view),
        scan,
        start,
        end,
        tuple(entity.join_key for entity in keys),
        tuple(entity.type for entity in keys),
        names,
        tuple(field.dtype for field in view.features),
        origin,
        _digest(origin, scan.location.format, scan.columns, names, view.ttl),
        why or "as asked for",
    )


def plan_incremental(project: str, view: FeatureView, root: str, progress: Progress, end: int) -> MaterializePlan:
    """Plan to materialize what came since the last time.

    The first time, and after a change of the definition, that is all that still counts at the end: the last ttl, or all
    history when there is no ttl. Then it is what lies after the last end, less the view's lookback for late rows.

    Args:
        project: the project.
        view: a view of the catalog.
        root: the repo's folder.
        progress: how far it was materialized before.
        end: the last event time, included, in microseconds since the epoch.
    """
    ttl, lookback = view.ttl, view.lookback or timedelta(0)
    first = EARLIEST if ttl is None else max(EARLIEST, end - span_micros(ttl))
    anew = "all history, as it has no ttl" if ttl is None else "its ttl before the end"
    plan = plan_materialize(project, view, root, first, max(first, end))
    if progress.end is None:
        return replace(plan, why=f"first run: {anew}", anew=True)
    if progress.definition != plan.definition:
        return replace(plan, why=f"its definition changed: {anew}", anew=True)
    start = max(EARLIEST, min(progress.end - span_micros(lookback), end))
    back = " less its lookback" if lookback else ""
    return plan_materialize(project, view, root, start, end, f"since the last run{back}")


def _digest(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(repr, parts)).encode()).hexdigest()
