"""Reach: which views a request touches, held against those that its caller is limited to.

Whoever is limited is told the same of what they may not touch whether it exists or not, and never a name that they did
not say themselves.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from likewise.core.errors import InvalidFeatureReference
from likewise.core.names import parse_reference
from likewise.define.source import FileSource, PushSource
from likewise.define.view import FeatureView
from likewise.plan.scan import locate
from likewise.registry.definitions import Definitions
from likewise.serve.access import Caller
from likewise.serve.problem import Refusal

_MOST_PASSED = 1_024
_GLOB = re.compile(r"[*?\[]")


class ReadLimits:
    """Holds reads against what their callers are limited to, and remembers those that are within."""

    def __init__(self) -> None:
        self._passed: set[tuple[Caller, Sequence[str], str, int]] = set()

    def check(self, caller: Caller, asked: tuple[str, ...], pointer: str, definitions: Definitions) -> None:
        """Let a read go on if each thing it asks for is within the limits.

        A service is, if the caller is limited to it by name, or may touch all the views that it reads. An on-demand
        view is, if the caller may touch it and all the views that it reads.

        Args:
            caller: who asks.
            asked: references, and names of views and services; a service alone for the pointer ``/feature_service``.
            pointer: where they stand in the request.
            definitions: the catalog that is answered from.

        Raises:
            Refusal: something is beyond the limits, or is within and does not exist.
        """
        if not caller.is_limited or (caller, asked, pointer, definitions.number) in self._passed:
            return
        for item in asked:
            _check_item(caller, item, pointer, definitions)
        if len(self._passed) >= _MOST_PASSED:
            self._passed.clear()
        self._passed.add((caller, asked, pointer, definitions.number))


def _check_item(caller: Caller, item: str, pointer: str, definitions: Definitions) -> None:
    try:
        reference = parse_reference(item)
    except InvalidFeatureReference:
        return  # whoever plans the read refuses it
    name, bare = reference.view, reference.feature is None
    service = definitions.services.get(name) if bare else None
    if service is not None:
        if (
            name in caller.services
            or _reached({part.view for part in service.projections}, definitions) <= caller.views
        ):
            return
        raise caller.refusal(repr(item), pointer)
    if name not in caller.views and not (bare and name in caller.services):
        raise caller.refusal(repr(item), pointer)
    is_view = name in definitions.views or name in definitions.on_demand
    if not is_view or name not in caller.views or pointer == "/feature_service":
        raise _not_there(name, pointer)
    if not _reached({name}, definitions) <= caller.views:
        raise caller.refusal(f"{item!r}, with the views that it is computed from,", pointer)


def _reached(views: set[str], definitions: Definitions) -> set[str]:
    """Return views with those that the on-demand ones among them are computed from."""
    on_demand = (definitions.on_demand[view] for view in views if view in definitions.on_demand)
    return views | {source.name for view in on_demand for source in view.source_views}


def check_views(caller: Caller, views: Iterable[str], pointer: str) -> None:
    """Let a caller touch stored views.

    Raises:
        Refusal: one is beyond the limits.
    """
    for view in views:
        if not caller.reaches(view):
            raise caller.refusal(f"view {view!r}", pointer)


def check_there(caller: Caller, views: Iterable[str], pointer: str, definitions: Definitions) -> None:
    """Tell a caller who is limited that a view of theirs does not exist, without a word on others that do.

    Raises:
        Refusal: one does not exist.
    """
    for view in views if caller.is_limited else ():
        if view not in definitions.views:
            raise _not_there(view, pointer)


def check_push(caller: Caller, source: str, is_offline: bool, definitions: Definitions, root: str) -> None:
    """Let a caller push to a source: all views that it feeds, and offline all that read its files, are theirs.

    Args:
        caller: who pushes.
        source: the push source.
        is_offline: whether the rows go to the source's files.
        definitions: the newest catalog.
        root: the repo's folder.

    Raises:
        Refusal: one is beyond the limits.
    """
    if not caller.is_limited:
        return
    found = definitions.sources.get(source)
    fed = definitions.pushed_views(source) if isinstance(found, PushSource) else []
    touched = {view.name for view in fed}
    if is_offline:
        files = [file for view in fed for file in _files(view, root)]
        touched |= {
            view.name
            for view in definitions.views.values()
            if any(_overlap(file, other) for file in files for other in _files(view, root))
        }
    if not touched or not touched <= caller.views:
        raise caller.refusal(f"push source {source!r}, with all that it feeds,", "/push_source_name")


def _files(view: FeatureView, root: str) -> set[str]:
    """Return the paths that a view's rows come from, by way of other views as well; of a glob its folder."""
    if view.source_views:
        return {file for source in view.source_views for file in _files(source, root)}
    source = view.batch_source
    if not isinstance(source, FileSource):
        return set()
    path = locate(source, root).path
    fixed, *rest = _GLOB.split(path, maxsplit=1)
    return {str(Path(f"{fixed}*").parent) if rest else path}


def _overlap(one: str, other: str) -> bool:
    return f"{one}{os.sep}".startswith(f"{other}{os.sep}") or f"{other}{os.sep}".startswith(f"{one}{os.sep}")


def _not_there(name: str, pointer: str) -> Refusal:
    return Refusal("not_found", f"there is no {name!r} now; it may have been deleted or renamed", pointer)
