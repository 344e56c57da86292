"""Functions: finds the repo's own function behind an applied view, by the hash of its source (S10)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from likewise.core.errors import TransformError
from likewise.define.contents import collect
from likewise.define.definition import Definition
from likewise.define.load import LoadedRepo, load_repo
from likewise.define.transform import OnDemandFeatureView
from likewise.define.view import FeatureView
from likewise.plan.apply import ApplyRequest
from likewise.plan.scan import Derivation
from likewise.registry.definitions import Definitions

if TYPE_CHECKING:
    from likewise.transform.ondemand import OnDemandRunner
    from likewise.transform.rows import Query, RowsRunner


class Functions:
    """The functions that this process knows: those applied here, and those of the repo's files.

    Args:
        root: the repo's folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[str, Callable[..., Any]] = {}  # by hash
        self._seen: dict[str, str] = {}  # the hash of each view's function here
        self._loaded = False

    def repo_request(self) -> ApplyRequest:
        """Load the repo's files, and return the request to apply all that they define."""
        loaded = self._load()
        skipped = [(str(skip.file), skip.reason) for skip in loaded.skipped]
        return ApplyRequest(loaded.contents, problems=loaded.problems, skipped=skipped)

    def remember(self, objects: Iterable[Definition]) -> None:
        """Know the functions of definitions that were made in this process."""
        for definition in collect(objects).all():
            function = definition.function if isinstance(definition, OnDemandFeatureView | FeatureView) else None
            if function is not None and function.call is not None:
                self._known[function.hash] = function.call
                self._seen[definition.name] = function.hash

    def runner(self, definitions: Definitions) -> Callable[[str], OnDemandRunner]:
        """Return what makes the runner of an on-demand view of a catalog."""
        return lambda name: self._runner(definitions.on_demand_view(name))

    def _runner(self, view: OnDemandFeatureView) -> OnDemandRunner:
        from likewise.transform.ondemand import OnDemandRunner

        inputs = [
            *((field.name, field.dtype) for source in view.source_views for field in source.features),
            *((field.name, field.dtype) for source in view.request_sources for field in source.schema),
        ]
        wanted = view.function.hash if view.function is not None else ""
        return OnDemandRunner(view, self._find(view.title, view.name, wanted), inputs)

    def rows_runner(self, derivation: Derivation, query: Query) -> RowsRunner:
        """Return what makes the rows of a view of a catalog.

        Args:
            derivation: how they are made.
            query: runs the query of a function in mode sql.

        Raises:
            TransformError: this process has another function than the applied one, or none.
        """
        from likewise.transform.rows import RowsRunner

        wanted = derivation.function
        function = self._find(derivation.title, derivation.view, wanted) if wanted else None
        return RowsRunner(derivation, function, query)

    def others(self, definitions: Definitions) -> list[str]:
        """Return what is wrong with each view of a catalog whose function this process does not have as applied."""
        said = []
        views: list[OnDemandFeatureView | FeatureView] = [*definitions.on_demand.values(), *definitions.views.values()]
        for view in views:
            if view.function is not None and view.function.hash not in self._known:
                try:
                    self._find(view.title, view.name, view.function.hash)
                except TransformError as error:
                    said.append(str(error))
        return said

    def _find(self, title: str, name: str, wanted: str) -> Callable[..., Any]:
        if wanted not in self._known and not self._loaded:
            self._load()
        if wanted in self._known:
            return self._known[wanted]
        if name in self._seen:
            raise TransformError(
                f"{title}: its function in the repo differs from the applied one "
                f"({self._seen[name][:12]} here, {wanted[:12]} applied)",
                cure="run 'likewise apply', or restore the function",
            )
        raise TransformError(
            f"{title}: the repo {str(self._root)!r} does not define its function",
            cure="define the view in a file of the repo, or apply it in this process",
        )

    def _load(self) -> LoadedRepo:
        loaded = load_repo(self._root)
        self._loaded = True
        self.remember(loaded.contents)
        return loaded
