"""MaterializePlan: which rows of a view go to the online store, as data."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import timedelta

from likewise.core.errors import InvalidTime, NotSupported
from likewise.core.time import EARLIEST, from_micros, span_micros
from likewise.core.types import FeatureType
from likewise.define.field import Field
from likewise.define.view import FeatureView
from likewise.plan.lookup import deletions_name, table_name
from likewise.plan.scan import Scan, scan_of, sorted_keys
from likewise.plan.windows import WindowSet, windows_of


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
    """The features as the view's records call them, in the order of its records."""
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
    windows: WindowSet | None = None
    """What to make of all of the rows, instead of taking the latest: states of windows; None for values."""
    pushed: bool = False
    """Whether a push source feeds the view as well."""
    deletions: str = ""
    """The table of the view's deleted keys, where it has windows."""
    formers: tuple[str, ...] = ()
    """The tables that earlier definitions left, which are dropped once this one's is filled."""


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

    What windows hold at the end depends on all rows that the longest of them reaches, so for them the span begins early
    enough for that, whatever was asked for.

    Args:
        project: the project.
        view: a view of the catalog.
        root: the repo's folder.
        start: the first event time, in microseconds since the epoch.
        end: the last event time, included.
        why: why the span begins where it does.

    Raises:
        NotSupported: the view is offline only, or has no batch source.
        InvalidTime: the span ends before it begins.
    """
    if not view.online:
        raise NotSupported(f"{view.title} is not online", cure="apply it with online=True, or leave it out")
    if end < start:
        raise InvalidTime(
            f"{view.title}: the end {from_micros(end)} lies before the start {from_micros(start)}",
            cure="exchange them",
        )
    windows = windows_of(view)
    columns = view.features if windows is None else [Field(name, kind) for name, kind in windows.columns]
    if windows is not None and (needed := _reach(windows, end)) < start:
        start, why = needed, f"{why or 'as asked for'}, and back to what its windows need at the end"
    scan = scan_of(view, root, columns)
    keys = sorted_keys(view)
    names = tuple(view.stored_name(field.name) for field in view.features)
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
        _digest(origin, scan.location.format, scan.columns, names, view.ttl if windows is None else windows.hash),
        why or "as asked for",
        windows=windows,
        pushed=view.stream_source is not None,
        deletions=deletions_name(project, view),
    )


def plan_incremental(project: str, view: FeatureView, root: str, progress: Progress, end: int) -> MaterializePlan:
    """Plan to materialize what came since the last time.

    The first time, and after a change of the definition, that is all that still counts at the end: the last ttl, or all
    history when there is no ttl. Then it is what lies after the last end, less the view's lookback for late rows. With
    windows it is each time all that they reach from the end, or all history when one of them is a whole life.

    Args:
        project: the project.
        view: a view of the catalog.
        root: the repo's folder.
        progress: how far it was materialized before.
        end: the last event time, included, in microseconds since the epoch.
    """
    windows = windows_of(view)
    if windows is not None:
        return _incremental_windows(project, view, windows, root, progress, end)
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


def _incremental_windows(
    project: str, view: FeatureView, windows: WindowSet, root: str, progress: Progress, end: int
) -> MaterializePlan:
    start = _reach(windows, end)
    plan = plan_materialize(project, view, root, start, max(start, end))
    what = "all history, as it has a window without limit" if windows.longest is None else "what its windows reach"
    before = "its definition changed: " if progress.definition != plan.definition else ""
    return replace(plan, why=("first run: " if progress.end is None else before) + what, anew=True)


def _reach(windows: WindowSet, end: int) -> int:
    """Return the first event time that can matter to windows at the end."""
    return EARLIEST if windows.longest is None else max(EARLIEST, end - windows.longest)


def _digest(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(repr, parts)).encode()).hexdigest()
