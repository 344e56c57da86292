"""LookupPlan: an online read, as data: which records are read for which keys, and what becomes of their values.

A plan depends on the catalog and the features asked for, not on the rows, so a store keeps it and uses it again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from likewise.core.errors import FeatureNameCollision, NotSupported
from likewise.core.time import span_micros
from likewise.core.types import FeatureType
from likewise.define.service import OnFailedRead
from likewise.define.source import FileSource
from likewise.define.transform import OnDemandFeatureView
from likewise.define.view import FeatureView, Projection
from likewise.plan.scan import lineage, shared_key_type, sorted_keys
from likewise.plan.selection import Pick, Selection
from likewise.plan.windows import WindowSet, windows_if_known, windows_of
from likewise.registry.definitions import Definitions


@dataclass(frozen=True, slots=True)
class KeyGroup:
    """Entity keys that several views share: made once for each request."""

    columns: tuple[str, ...]
    """The columns of the request, in the order of the join keys."""
    types: tuple[FeatureType, ...]
    """The type of each."""
    entities: tuple[str, ...]
    """The name of each column's entity, which Feast takes for its join key; a renamed column's own name."""


@dataclass(frozen=True, slots=True)
class FormerRead:
    """The states of an earlier definition of a view, which know some of its features."""

    table: str
    """Their table in the online store."""
    windows: WindowSet
    """The view's windows then."""
    places: tuple[tuple[int, int], ...]
    """(number of a wanted feature, its place among the features of then) of those that did not change."""


@dataclass(frozen=True, slots=True)
class ViewRead:
    """The records of one view that are read."""

    view: str
    """The view."""
    table: str
    """Its table in the online store."""
    group: int
    """Which of the plan's key groups finds its records."""
    names: tuple[str, ...]
    """All features of the view as its records call them (``FeatureView.stored_name``), in the order of its records."""
    types: tuple[FeatureType, ...]
    """The type of each."""
    wanted: tuple[str, ...]
    """The features that are read, in the order in which they were first asked for."""
    stored: tuple[str, ...]
    """The same, as the view's records call them."""
    ttl: int | None
    """For how many microseconds a value counts after its event time; None is without limit."""
    windows: WindowSet | None = None
    """What its records are the states of, its features in the order of :attr:`names`; None: they hold values."""
    formers: tuple[FormerRead, ...] = ()
    """What answers where those states say nothing, in that order."""


@dataclass(frozen=True, slots=True)
class Output:
    """One feature of the answer."""

    name: str
    """Its name in the answer."""
    type: FeatureType
    """Its type."""
    read: int
    """Which read gives it; -1 when an on-demand view does."""
    position: int
    """Its place among what the read wants; for an on-demand view, which of the plan's steps gives it."""
    feature: str
    """Its name in the view."""
    view: str = ""
    """The view as it is seen: its name, or the other name that a service gives it."""


@dataclass(frozen=True, slots=True)
class StepInput:
    """One column that an on-demand function gets."""

    name: str
    """The name the function knows it by."""
    read: int
    """Which read gives it; -1 when the request does."""
    position: int
    """Its place among what the read wants; 0 for the request."""


@dataclass(frozen=True, slots=True)
class LookupStep:
    """One on-demand view that is computed."""

    view: str
    """The on-demand view."""
    inputs: tuple[StepInput, ...]
    """What its function gets, in the order of its sources."""


@dataclass(frozen=True, slots=True)
class LookupPlan:
    """An online read."""

    groups: tuple[KeyGroup, ...]
    """The keys to make."""
    reads: tuple[ViewRead, ...]
    """The records to read, all in one go."""
    steps: tuple[LookupStep, ...]
    """The on-demand views to compute."""
    request: tuple[tuple[str, FeatureType, str], ...]
    """(column, type, on-demand view that needs it) of what the request must give besides keys."""
    outputs: tuple[Output, ...]
    """The features of the answer, in the order asked for."""
    entities: tuple[tuple[str, FeatureType], ...]
    """The key columns of the request and their types; the answer repeats them first."""
    catalog: int = 0
    """The number of the catalog it was planned from."""
    on_failed_read: OnFailedRead = "error"
    """What becomes of the answer where the store fails."""


def table_name(project: str, view: FeatureView) -> str:
    """Return the name of a view's table in the online store.

    It says by which keys its records are found, and from which columns those come: a view whose keys change gets a
    table of its own, so that no record of the old keys is ever taken for one of the new. A view with windows gets one
    whenever what they compute changes: the states of other windows say nothing of these. So does one whose rows are
    made by another function than before, or one with windows whose rows come from elsewhere, or have other times.

    Example:
        >>> from likewise.core.types import Int64
        >>> from likewise.define.entity import Entity
        >>> user = Entity(name="user", join_keys=["user_id"], value_type=Int64)
        >>> table_name("payments", FeatureView("cards", entities=[user]))
        'payments/cards@26e817d3'
    """
    said = _keys_said(view) + lineage(view) + _windows_hash(view)
    return f"{project}/{view.name}@{hashlib.sha256(said.encode()).hexdigest()[:8]}"


def deletions_name(project: str, view: FeatureView) -> str:
    """Return the name of the table of a windowed view's deleted keys, which outlives a change of its windows.

    Example:
        >>> from likewise.core.types import Int64
        >>> from likewise.define.entity import Entity
        >>> user = Entity(name="user", join_keys=["user_id"], value_type=Int64)
        >>> deletions_name("payments", FeatureView("cards", entities=[user]))
        'payments/cards!deleted@26e817d3'
    """
    return f"{project}/{view.name}!deleted@{hashlib.sha256(_keys_said(view).encode()).hexdigest()[:8]}"


def _keys_said(view: FeatureView) -> str:
    return repr([(view.stored_name(entity.join_key), entity.type.family.value) for entity in sorted_keys(view)])


def _windows_hash(view: FeatureView) -> str:
    """Return what tells a view's windows from others; empty when it has none that this version computes."""
    windows = windows_if_known(view)
    if windows is None:
        return ""
    rows, history = view.row_source, view.batch_source
    times = [] if rows is None else [rows.timestamp_field, rows.created_timestamp_column]
    return windows.hash + repr([*times, history.path if isinstance(history, FileSource) else ""])


def plan_lookup(definitions: Definitions, selection: Selection) -> LookupPlan:
    """Plan an online read.

    Args:
        definitions: the catalog's definitions.
        selection: the features asked for.

    Raises:
        NotSupported: a view is not online.
    """
    groups: dict[KeyGroup, int] = {}
    reads: dict[Projection, ViewRead] = {}
    for part, view in selection.views.items():
        if not view.online:
            raise NotSupported(f"{view.title} is not online", cure="apply it with online=True, and materialize it")
        group = groups.setdefault(_group(part, view), len(groups))
        reads[part] = _read(definitions, view, group, selection.needed(part))
    order = {part: index for index, part in enumerate(reads)}
    steps = tuple(_step(view, reads, order) for view in selection.on_demand.values())
    step_of = {step.view: index for index, step in enumerate(steps)}
    request = {
        field.name: (field.name, field.dtype, view.name)
        for view in selection.on_demand.values()
        for source in view.request_sources
        for field in source.schema
    }
    return LookupPlan(
        tuple(groups),
        tuple(reads.values()),
        steps,
        tuple(request.values()),
        tuple(_output(pick, reads, order, step_of) for pick in selection.picks),
        _entities(selection),
        definitions.number,
        selection.on_failed_read,
    )


def _entities(selection: Selection) -> tuple[tuple[str, FeatureType], ...]:
    found: dict[str, FeatureType] = {}
    for part, view in selection.views.items():
        for entity in sorted_keys(view):
            column = dict(part.join_key_map).get(entity.join_key, entity.join_key)
            found[column] = shared_key_type(column, found.get(column), entity, view)
    for pick in selection.picks:
        if pick.name in found:
            raise FeatureNameCollision(
                f"{pick.name!r} is a key of the request, and a feature of view {pick.part.name!r}",
                cure="ask with full_feature_names=True",
            )
    return tuple(found.items())


def _group(part: Projection, view: FeatureView) -> KeyGroup:
    keys = sorted_keys(view)
    renamed = dict(part.join_key_map)
    return KeyGroup(
        tuple(renamed.get(entity.join_key, entity.join_key) for entity in keys),
        tuple(entity.type for entity in keys),
        tuple(renamed.get(entity.join_key, entity.name) for entity in keys),
    )


def _read(definitions: Definitions, view: FeatureView, group: int, wanted: Sequence[str]) -> ViewRead:
    windows = windows_of(view)
    return ViewRead(
        view.name,
        table_name(definitions.project, view),
        group,
        tuple(view.stored_name(field.name) for field in view.features),
        tuple(field.dtype for field in view.features),
        tuple(wanted),
        tuple(map(view.stored_name, wanted)),
        None if view.ttl is None or windows is not None else span_micros(view.ttl),  # a window's value has no age
        windows,
    )


def _step(
    view: OnDemandFeatureView, reads: Mapping[Projection, ViewRead], order: Mapping[Projection, int]
) -> LookupStep:
    inputs: list[StepInput] = []
    for source in view.source_views:
        part = replace(source.projection, features=None)
        for field in source.features:
            inputs.append(StepInput(field.name, order[part], reads[part].wanted.index(field.name)))
    for request in view.request_sources:
        inputs.extend(StepInput(field.name, -1, 0) for field in request.schema)
    return LookupStep(view.name, tuple(inputs))


def _output(
    pick: Pick, reads: Mapping[Projection, ViewRead], order: Mapping[Projection, int], step_of: Mapping[str, int]
) -> Output:
    if pick.part.view in step_of:
        return Output(pick.name, pick.type, -1, step_of[pick.part.view], pick.feature, pick.part.name)
    position = reads[pick.part].wanted.index(pick.feature)
    return Output(pick.name, pick.type, order[pick.part], position, pick.feature, pick.part.name)
