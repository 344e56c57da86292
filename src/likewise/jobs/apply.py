"""Apply: the commit of a plan, tried again where others changed other things meanwhile (G3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from likewise.core.time import span_micros
from likewise.core.windows import BEFORE_ALL
from likewise.define.view import FeatureView
from likewise.jobs.materialize import ORIGINS
from likewise.jobs.states import found_meta, latest_ahead, start_states
from likewise.online.base import OnlineStore, TableMissing
from likewise.plan.apply import ApplyPlan
from likewise.plan.former import Former, formers
from likewise.plan.lookup import deletions_name, table_name
from likewise.plan.windows import windows_if_known
from likewise.registry.audit import actor
from likewise.registry.base import CatalogConflict, Registry, RegistryReader, SideReader
from likewise.registry.catalog import Catalog
from likewise.registry.definitions import read_definitions
from likewise.registry.diff import Change, diff
from likewise.registry.history import PastCatalogs, past_views, view_versions
from likewise.registry.watermarks import SPACE as WATERMARKS
from likewise.registry.watermarks import begin_anew, forget

MOST_FORMERS = 4
"""How many tables that a view had before are kept beside its own."""
TRIES = 200
"""How often a partial apply plans anew when others commit other things meanwhile."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What an apply did."""

    catalog: int
    """The number of the catalog that stands now."""
    changes: tuple[Change, ...]
    """What changed; empty when everything stood already."""
    base: int = 0
    """The number of the catalog that stood before."""

    def __str__(self) -> str:
        if not self.changes:
            return f"nothing to change; catalog {self.catalog} stands"
        return f"{len(self.changes)} change{'s' if len(self.changes) != 1 else ''}; catalog {self.catalog} stands now"


def commit(registry: Registry, plan: ApplyPlan, now: int) -> Applied:
    """Commit a plan as it is.

    Raises:
        CatalogConflict: somebody else committed since it was made; nothing was written.
    """
    catalog = registry.commit(plan.project, plan.base, plan.definitions, message="apply", author=actor(), now=now)
    return Applied(catalog.number, plan.changes, plan.base)


def commit_partial(registry: Registry, make_plan: Callable[[], ApplyPlan], now: int) -> Applied:
    """Plan and commit; plan again while others commit, unless what they changed is what this plan changes.

    Raises:
        CatalogConflict: somebody else changed the same definition; nothing was written.
    """
    plan = make_plan()
    for _ in range(TRIES):
        try:
            return commit(registry, plan, now)
        except CatalogConflict as conflict:
            mine = {(change.kind, change.name) for change in plan.changes}
            if mine & {(change.kind, change.name) for change in conflict.changes}:
                raise
        plan = make_plan()
    return commit(registry, plan, now)


def roll_back(registry: Registry, project: str, number: int, now: int) -> Applied:
    """Commit the definitions of an older catalog again, under a new number.

    Raises:
        CatalogNotFound: the history has no such number.
    """
    before = registry.catalog(project)
    catalog = registry.rollback(project, number, author=actor(), now=now)
    return Applied(catalog.number, tuple(diff(before.definitions(), catalog.definitions())), before.number)


def tear_down(registry: Registry, project: str, now: int) -> Applied:
    """Commit a catalog without definitions.

    Raises:
        CatalogConflict: somebody else committed meanwhile; nothing was written.
    """
    before = registry.catalog(project)
    catalog = registry.commit(project, before.number, [], message="teardown", author=actor(), now=now)
    return Applied(catalog.number, tuple(diff(before.definitions(), catalog.definitions())), before.number)


def settle_tables(registry: Registry, store: OnlineStore, base: int, catalog: Catalog, now: int) -> None:
    """Make online tables for the views of a catalog, and drop those that the catalog before had and this one has not.

    A view that is new begins with an empty table, whatever a process that died in the middle of this left behind. The
    states of windows that a view had before stay, as long as they answer what the new ones cannot.

    Args:
        registry: the registry.
        store: the online store.
        base: the number of the catalog before.
        catalog: the catalog that stands now.
        now: the time, in microseconds since the epoch.
    """
    project = catalog.project
    views = read_definitions(catalog).views
    tables = {name: table_name(project, view) for name, view in views.items()}
    before = tables if base == catalog.number else _tables(registry.catalog(project, base))
    store.keep({tables[name]: _span(view) for name, view in views.items()})
    changed = sorted(view for view in before.keys() | tables.keys() if before.get(view) != tables.get(view))
    noted = _noted(registry.side, project) if changed else set()
    gone: list[str] = []
    catalogs = PastCatalogs(registry, project)
    for name in changed:
        if name in noted:
            (begin_anew if name in before and name in tables else forget)(registry.side, project, name)
            registry.side.remove(project, ORIGINS, name, None)
        past = past_views(registry, project, name, base, catalogs) if name in before else []
        _drop(store, _deletions(project, past, views.get(name) if name in before else None))
        kept = _kept(store, project, views.get(name), past)
        left = {table_name(project, then) for then in past}.union(
            each[name] for each in (before, tables) if name in each
        )
        if name in views and tables[name] not in kept and windows_if_known(views[name]) is not None:
            ahead = latest_ahead(store, left)
            is_new = not _was_before(registry, catalog, name) and not _is_there(store, tables[name])
            _drop(store, [] if is_new else sorted(left - kept))
            store.create([tables[name]])
            _start(store, tables[name], views[name], BEFORE_ALL if is_new else max(now, ahead))
        else:
            gone += sorted(left - kept)
    _drop(store, gone)
    store.create(list(tables.values()))
    for name, view in views.items():
        windows = windows_if_known(view)
        if windows is not None and not windows.has_source:
            _start(store, tables[name], view, now)


def _noted(side: SideReader, project: str) -> set[str]:
    """Return the views of which something is noted beside the catalogs; a new view is not asked for one by one."""
    return {*side.items(project, WATERMARKS), *side.items(project, ORIGINS)}


def _drop(store: OnlineStore, tables: Sequence[str]) -> None:
    if tables:
        store.drop(tables)


def restart_states(store: OnlineStore, project: str, view: FeatureView, now: int) -> None:
    """Empty the table of a view with windows: it is served again once it is back-filled up to now.

    Keys that were deleted stay deleted. What was pushed to the online store only is gone.

    Args:
        store: the online store.
        project: the project.
        view: the view, which has a batch source.
        now: the time, in microseconds since the epoch.
    """
    table = table_name(project, view)
    ahead = latest_ahead(store, {table})
    store.drop([table])
    store.create([table])
    _start(store, table, view, max(now, ahead))


def live_formers(store: OnlineStore, project: str, view: FeatureView, past: Sequence[FeatureView]) -> list[Former]:
    """Return the states that a view's earlier definitions left, as far as they are live and say something of it.

    Args:
        store: the online store.
        project: the project.
        view: the view.
        past: the view as it was, newest first.
    """
    found = formers(project, view, past)
    return [former for former in found if found_meta(store, former.table) is not None][:MOST_FORMERS]


def _kept(store: OnlineStore, project: str, view: FeatureView | None, past: Sequence[FeatureView]) -> set[str]:
    """Return the tables of a view's past that are not dropped."""
    if view is None:
        return set()
    kept = {former.table for former in live_formers(store, project, view, past)}
    again = {table_name(project, then) for then in past} & {table_name(project, view)}
    if windows_if_known(view) is not None:  # a definition that returns, whose table got all that was pushed
        kept |= {table for table in again if found_meta(store, table) is not None}
    return kept


def _deletions(project: str, past: Sequence[FeatureView], view: FeatureView | None) -> list[str]:
    """Return the tables of deleted keys that a view had; but for a view that stays and has the same keys."""
    kept = set() if view is None else {deletions_name(project, view)}
    return sorted({deletions_name(project, then) for then in past} - kept)


def _start(store: OnlineStore, table: str, view: FeatureView, begun: int) -> None:
    """Say of a table that what was pushed up to a time is not in it, if there is somebody who pushes."""
    has_source = view.batch_source is not None
    fed = view.stream_source is not None or not has_source
    start_states(store, table, has_source, begun if fed else BEFORE_ALL)


def _was_before(registry: RegistryReader, catalog: Catalog, name: str) -> bool:
    return any(version.since < catalog.number for version in view_versions(registry, catalog.project, name))


def _is_there(store: OnlineStore, table: str) -> bool:
    try:
        store.scan(table, limit=1)
    except TableMissing:
        return False
    return True


def _span(view: FeatureView) -> int | None:
    """Return for how long a view's records count, in microseconds; None for ever, as all that windows keep does."""
    return None if view.ttl is None or windows_if_known(view) is not None else span_micros(view.ttl)


def _tables(catalog: Catalog) -> dict[str, str]:
    """Return the online table of each view, by name."""
    views = read_definitions(catalog).views
    return {name: table_name(catalog.project, view) for name, view in views.items()}
