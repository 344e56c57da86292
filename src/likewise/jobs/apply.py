"""Apply: the commit of a plan, tried again where others changed other things meanwhile (G3)."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from dataclasses import dataclass

from likewise.jobs.materialize import ORIGINS
from likewise.online.base import OnlineStore
from likewise.plan.apply import ApplyPlan
from likewise.plan.lookup import table_name
from likewise.registry.base import CatalogConflict, Registry
from likewise.registry.catalog import Catalog
from likewise.registry.definitions import read_definitions
from likewise.registry.diff import Change, diff
from likewise.registry.watermarks import begin_anew, forget

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


def author() -> str:
    """Return who works here, for the history; empty when the system does not say."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def commit(registry: Registry, plan: ApplyPlan, now: int) -> Applied:
    """Commit a plan as it is.

    Raises:
        CatalogConflict: somebody else committed since it was made; nothing was written.
    """
    catalog = registry.commit(plan.project, plan.base, plan.definitions, message="apply", author=author(), now=now)
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
    catalog = registry.rollback(project, number, author=author(), now=now)
    return Applied(catalog.number, tuple(diff(before.definitions(), catalog.definitions())), before.number)


def tear_down(registry: Registry, project: str, now: int) -> Applied:
    """Commit a catalog without definitions.

    Raises:
        CatalogConflict: somebody else committed meanwhile; nothing was written.
    """
    before = registry.catalog(project)
    catalog = registry.commit(project, before.number, [], message="teardown", author=author(), now=now)
    return Applied(catalog.number, tuple(diff(before.definitions(), catalog.definitions())), before.number)


def settle_tables(registry: Registry, store: OnlineStore, base: int, catalog: Catalog) -> None:
    """Make online tables for the views of a catalog, and drop those that the catalog before had and this one has not.

    A view that is new begins with an empty table, whatever a process that died in the middle of this left behind.

    Args:
        registry: the registry.
        store: the online store.
        base: the number of the catalog before.
        catalog: the catalog that stands now.
    """
    before = _tables(registry.catalog(catalog.project, base))
    now = _tables(catalog)
    changed = {view for view in before.keys() | now.keys() if before.get(view) != now.get(view)}
    for view in sorted(changed):
        (begin_anew if view in before and view in now else forget)(registry.side, catalog.project, view)
        registry.side.remove(catalog.project, ORIGINS, view, None)
    store.drop([tables[view] for view in sorted(changed) for tables in (before, now) if view in tables])
    store.create(list(now.values()))


def _tables(catalog: Catalog) -> dict[str, str]:
    """Return the online table of each view, by name."""
    views = read_definitions(catalog).views
    return {name: table_name(catalog.project, view) for name, view in views.items()}
