"""PastLayouts: the layouts that the records of a view were ever written in, looked for once a catalog."""

from __future__ import annotations

from collections.abc import Callable

from likewise.online.rows import Layout
from likewise.registry.base import RegistryReader
from likewise.registry.history import past_features


class PastLayouts:
    """Finds the layouts of records that were written under an earlier definition, or under a newer one.

    The history of a view is read once for each catalog that stands, whatever is asked for and whether it is found.

    Args:
        registry: returns the registry.
        project: the project.
    """

    def __init__(self, registry: Callable[[], RegistryReader], project: str) -> None:
        self._registry = registry
        self._project = project
        self._read: tuple[int, dict[str, dict[int, Layout]]] = -1, {}

    def find(self, view: str, identifier: int) -> Layout | None:
        """Return the layout with an id that a view had once; None when no version of the view had it."""
        registry = self._registry()
        head = registry.head(self._project)
        number, views = self._read
        if number != head:
            views = {}
            self._read = head, views
        if view not in views:
            layouts = map(Layout.of, past_features(registry, self._project, view))
            views[view] = {layout.id: layout for layout in layouts}
        return views[view].get(identifier)
