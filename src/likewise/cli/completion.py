"""Completion: the names that the shell offers: of templates, and of what is applied, as the registry says.

Whatever goes wrong on the way, nothing is offered and nothing is said: somebody is typing.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable

import click

from likewise.cli.session import Session

Completer = Callable[[click.Context, click.Parameter, str], list[str]]
"""Returns what may follow, given what was typed so far; click calls it."""
STORED = ("feature_view", "batch_feature_view", "stream_feature_view")
"""The kinds of views that are materialized."""
VIEWS = (*STORED, "on_demand_feature_view")
"""The kinds of all views."""


def template_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the templates that ``init`` can begin with."""
    from likewise.cli.init import TEMPLATES

    return _beginning(incomplete, TEMPLATES)


def definition_names(*kinds: str) -> Completer:
    """Return what offers the names of applied definitions.

    Args:
        kinds: the kinds of definitions, such as ``entity``; none for all.
    """

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        try:
            return _beginning(incomplete, _applied(ctx, kinds))
        except Exception:  # noqa: BLE001 - the surface: no error may come between somebody and what they type
            return []

    return complete


def _applied(ctx: click.Context, kinds: Iterable[str]) -> set[str]:
    from likewise.backends import open_registry
    from likewise.config import load_config

    session = ctx.ensure_object(Session)
    given = ctx.find_root().params.get("feature_store_yaml")
    session.file = given.absolute() if given is not None else session.file
    with warnings.catch_warnings(action="ignore"):
        config = load_config(session.config_file())
        registry = open_registry(config.registry, str(session.repo()))
        try:
            manifest = registry.catalog(config.project).manifest
        finally:
            registry.close()
    wanted = set(kinds)
    return {name for kind, name in manifest if kind in wanted or (not wanted and kind != "project")}


def _beginning(typed: str, names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(typed))
