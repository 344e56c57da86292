"""TrainingPlan: a training set, as data: what is joined to the entity rows, and what comes out in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from likewise.core.errors import EntityKeyError, FeatureNameCollision, RequestDataMissing
from likewise.core.names import near_misses
from likewise.core.time import span_micros
from likewise.core.types import FeatureType
from likewise.define.entity import Entity
from likewise.define.field import Field
from likewise.define.transform import OnDemandFeatureView
from likewise.define.view import FeatureView, Projection
from likewise.plan.scan import Scan, scan_of, shared_key_type, sorted_keys
from likewise.plan.selection import Pick, Selection
from likewise.plan.windows import WindowJoin, WindowSet, narrowed, windows_of
from likewise.registry.definitions import Definitions


@dataclass(frozen=True, slots=True)
class AsOfJoin:
    """One view joined as of the entity rows' times (S3)."""

    scan: Scan
    """The rows to join; its columns are just those asked for."""
    spine_keys: tuple[str, ...]
    """The column of the entity rows for each of the scan's keys, in the same order."""
    outputs: tuple[str, ...]
    """The name of each of the scan's columns in the joined table, in the same order; unique within the plan."""
    ttl: int | None
    """For how many microseconds a value counts after its event time, both ends included; None or 0 is without limit."""
    reference: str = ""
    """The view as it was asked for: ``users``, or ``users@v1``; empty: the scan's."""


@dataclass(frozen=True, slots=True)
class OnDemandStep:
    """One on-demand view computed on the joined table."""

    view: str
    """The on-demand view's name."""
    inputs: tuple[tuple[str, str], ...]
    """(column of the joined table, name the function knows it by), in the order of the sources."""
    outputs: tuple[tuple[str, str], ...]
    """(name the function returns, name in the joined table), for the outputs that are asked for."""


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """A training set: exactly the entity rows, in their order, with features as of their times."""

    project: str
    """The project."""
    catalog: int
    """The number of the catalog it was planned from."""
    time: str
    """The entity rows' column of times."""
    spine_types: tuple[tuple[str, FeatureType], ...]
    """The key columns of the entity rows, and the type each is coerced to."""
    joins: tuple[AsOfJoin, ...]
    """The views to join."""
    on_demand: tuple[OnDemandStep, ...]
    """The on-demand views to compute, after all joins."""
    features: tuple[tuple[str, str, FeatureType], ...]
    """(column of the joined table, name in the answer, type), in the order asked for."""
    known_by: bool = False
    """Whether a row counts only once it was created (S4)."""
    windows: tuple[WindowJoin, ...] = ()
    """The windows to compute; their outputs come after those of :attr:`joins`."""


@dataclass(frozen=True, slots=True)
class SpineShape:
    """The columns of the entity rows."""

    columns: tuple[str, ...]
    """All columns, in order."""
    time: str
    """The column of times."""


def plan_training(
    definitions: Definitions, selection: Selection, spine: SpineShape, root: str, known_by: bool = False
) -> TrainingPlan:
    """Plan a training set.

    Args:
        definitions: the catalog's definitions.
        selection: the features asked for.
        spine: the columns of the entity rows.
        root: the repo's folder.
        known_by: whether a row counts only once it was created (S4).

    Raises:
        EntityKeyError: the entity rows lack a key column.
        RequestDataMissing: they lack a column that an on-demand view needs.
        FeatureNameCollision: a feature has the name of one of their columns.
    """
    _refuse_taken_names(selection, spine)
    joined: dict[tuple[Projection, str], str] = {}
    joins: list[AsOfJoin] = []
    windows: list[WindowJoin] = []
    for part, stored in selection.views.items():
        computed = windows_of(stored)
        if computed is None:
            joins.append(_join(part, stored, selection, spine, root, joined))
        else:
            windows.append(_window_join(part, stored, computed, selection, spine, root, joined))
    steps = tuple(_step(view, joined, spine) for view in selection.on_demand.values())
    for view in selection.on_demand.values():
        joined |= {(Projection(view.name), field.name): _computed(view, field) for field in view.features}
    return TrainingPlan(
        definitions.project,
        definitions.number,
        spine.time,
        _key_types(selection, spine),
        tuple(joins),
        steps,
        tuple((joined[_origin(pick, selection)], pick.name, pick.type) for pick in selection.picks),
        known_by,
        tuple(windows),
    )


def _refuse_taken_names(selection: Selection, spine: SpineShape) -> None:
    for pick in selection.picks:
        if pick.name in spine.columns:
            raise FeatureNameCollision(
                f"the entity rows have a column {pick.name!r}, and so would the answer",
                cure="rename the column, or ask with full_feature_names=True",
            )


def _join(
    part: Projection,
    view: FeatureView,
    selection: Selection,
    spine: SpineShape,
    root: str,
    joined: dict[tuple[Projection, str], str],
) -> AsOfJoin:
    fields = {field.name: field for field in view.features}
    needed = selection.needed(part)
    return AsOfJoin(
        scan_of(view, root, [fields[name] for name in needed]),
        _spine_keys(part, view, spine),
        _outputs(part, needed, joined),
        None if view.ttl is None else span_micros(view.ttl),
        part.reference,
    )


def _window_join(
    part: Projection,
    view: FeatureView,
    computed: WindowSet,
    selection: Selection,
    spine: SpineShape,
    root: str,
    joined: dict[tuple[Projection, str], str],
) -> WindowJoin:
    needed = selection.needed(part)
    windows = narrowed(computed, needed)
    return WindowJoin(
        scan_of(view, root, [Field(name, kind) for name, kind in windows.columns]),
        windows,
        _spine_keys(part, view, spine),
        _outputs(part, needed, joined),
        part.reference,
    )


def _outputs(part: Projection, needed: Sequence[str], joined: dict[tuple[Projection, str], str]) -> tuple[str, ...]:
    """Return what features are called in the joined table, and remember it."""
    outputs = tuple(f"__feature_{len(joined) + position}" for position in range(len(needed)))
    joined |= {(part, name): output for name, output in zip(needed, outputs, strict=True)}
    return outputs


def _spine_keys(part: Projection, view: FeatureView, spine: SpineShape) -> tuple[str, ...]:
    return tuple(_spine_column(entity, part, view, spine) for entity in sorted_keys(view))


def _key_types(selection: Selection, spine: SpineShape) -> tuple[tuple[str, FeatureType], ...]:
    found: dict[str, FeatureType] = {}
    for part, view in selection.views.items():
        for entity in sorted_keys(view):
            column = _spine_column(entity, part, view, spine)
            found[column] = shared_key_type(column, found.get(column), entity, view)
    return tuple(found.items())


def _spine_column(entity: Entity, part: Projection, view: FeatureView, spine: SpineShape) -> str:
    column = dict(part.join_key_map).get(entity.join_key, entity.join_key)
    if column in spine.columns:
        return column
    renamed = entity.join_key in dict(part.join_key_map)
    if entity.name in spine.columns and not renamed:  # Feast takes the entity's name for its join key
        return entity.name
    raise EntityKeyError(
        f"the entity rows have no column {column!r}, which is a key of {view.title}",
        cure=near_misses(column, [name for name in spine.columns if name != spine.time], "add the column"),
    )


def _step(view: OnDemandFeatureView, joined: dict[tuple[Projection, str], str], spine: SpineShape) -> OnDemandStep:
    inputs = [
        (joined[replace(source.projection, features=None), field.name], field.name)
        for source in view.source_views
        for field in source.features
    ]
    for request in view.request_sources:
        for field in request.schema:
            if field.name not in spine.columns:
                raise RequestDataMissing(
                    f"{view.title} needs the column {field.name!r} of request source {request.name!r}, "
                    "which the entity rows do not have",
                    cure=f"add a column {field.name!r} of type {field.dtype} to the entity rows",
                )
            inputs.append((field.name, field.name))
    outputs = tuple((field.name, _computed(view, field)) for field in view.features)
    return OnDemandStep(view.name, tuple(inputs), outputs)


def _computed(view: OnDemandFeatureView, field: Field) -> str:
    """Return the joined table's name of an output; no name holds a colon, so ``a:b_c`` is not ``a_b:c``."""
    return f"__on_demand_{view.name}:{field.name}"


def _origin(pick: Pick, selection: Selection) -> tuple[Projection, str]:
    on_demand = pick.part.view in selection.on_demand
    return (Projection(pick.part.view) if on_demand else pick.part), pick.feature
