"""Commands that change definitions, or show what would change: plan, apply, history, rollback, delete, teardown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from likewise.cli.command import pass_session, verb
from likewise.cli.completion import definition_names
from likewise.cli.exits import ExitCode
from likewise.cli.output import moment, print_json, print_table, some
from likewise.cli.session import Session

if TYPE_CHECKING:
    from likewise.define.definition import Definition
    from likewise.jobs.apply import Applied
    from likewise.plan.apply import ApplyPlan
    from likewise.registry.catalog import CatalogInfo
    from likewise.registry.definitions import Definitions
    from likewise.registry.diff import Change
    from likewise.store import FeatureStore

YES = click.option("-y", "--yes", is_flag=True, help="Do not ask.")
SKIP_SOURCES = click.option(
    "--skip-source-validation",
    is_flag=True,
    help="Do not look at the sources; every type has to be declared then.",
)
MOST_SKIPPED = 10
"""How many of the files that were not loaded are listed."""
UNUSED = "Accepted as Feast has it; not used."
SKIP_VIEWS = click.option("--skip-feature-view-validation", is_flag=True, expose_value=False, help=UNUSED)


@verb(
    "plan",
    ("likewise plan", "show what apply would change, field by field"),
    ("likewise plan || likewise apply --yes", "apply only when there are differences"),
    ("likewise --output json plan", "the same for a program"),
)
@SKIP_SOURCES
@SKIP_VIEWS
@pass_session
@click.pass_context
def plan(ctx: click.Context, session: Session, skip_source_validation: bool) -> None:
    """Show what apply would change, and change nothing.

    Every definition that would be created, updated or deleted is listed field by field, and what breaks somebody is
    marked. Exits with 2 when there are differences, with 0 when there are none.
    """
    from likewise.cli.changes import counted

    with session.open() as store:
        found = store.plan(skip_source_validation=skip_source_validation)
    if session.json:
        print_json(_plan_data(found))
    else:
        _say_plan(session, found)
        if found.changes:
            session.say(f"{counted(found.changes)}, on catalog {found.base}")
        session.say("Run 'likewise apply' to apply this." if found.changes else "No differences.")
    ctx.exit(ExitCode.DIFFERENT if found.changes else ExitCode.OK)


@verb(
    "apply",
    ("likewise apply", "register what the repo's files define"),
    ("likewise apply --yes", "the same in a script, where nobody can be asked before something is deleted"),
    ("likewise -c payments apply", "apply the repo in the folder payments"),
)
@YES
@SKIP_SOURCES
@SKIP_VIEWS
@click.option("--no-progress", is_flag=True, help="Do not show that it is at work.")
@click.option("--no-promote", is_flag=True, expose_value=False, help=UNUSED)
@pass_session
def apply(session: Session, yes: bool, skip_source_validation: bool, no_progress: bool) -> None:
    """Register what the repo's files define.

    What they no longer define is deleted. All rules are checked first, and every problem is listed with its file and
    line; nothing is applied if there is one. Before anything is deleted you are asked, unless --yes is given.
    """
    from likewise.cli.progress import spinner

    with session.open() as store:
        with spinner("reading the repo and its sources", False if no_progress else None):
            found = store.plan(skip_source_validation=skip_source_validation)
        _say_plan(session, found)
        if found.deletes:
            _confirm_changes(session, found.changes, yes)
        _report(session, found.project, store.commit(found))


@verb(
    "history",
    ("likewise history", "the newest 20 catalogs"),
    ("likewise history 3", "what changed in catalog 3"),
)
@click.argument("number", type=click.IntRange(min=1), required=False)
@click.option(
    "-n", "--limit", type=click.IntRange(min=1), metavar="N", default=20, help="How many to list; 20 by default."
)
@pass_session
def history(session: Session, number: int | None, limit: int) -> None:
    """List the catalogs that were applied.

    The newest comes first. With a NUMBER, show what changed in that catalog. Each apply that changes something makes
    a new numbered catalog. Old ones stay: see rollback.
    """
    with session.open() as store:
        if number is not None:
            _show_catalog(session, store, number)
            return
        infos = store.history()[-limit:]
        changes = {info.number: _changes_of(store, info.number) for info in infos}
    if session.json:
        print_json([{**_info_data(info), "changes": len(changes[info.number])} for info in reversed(infos)])
    elif not infos:
        session.say("Nothing was applied yet; run 'likewise apply'.")
    else:
        _print_history(infos, changes)


@verb(
    "rollback",
    ("likewise rollback 3", "make the definitions of catalog 3 the applied ones again"),
    ("likewise rollback 3 --yes", "the same without being asked"),
)
@click.argument("number", type=click.IntRange(min=0))
@YES
@pass_session
def rollback(session: Session, number: int, yes: bool) -> None:
    """Go back to the definitions of an older catalog.

    The definitions of the catalog with this NUMBER become a new catalog; the history stays as it is. The repo's files
    are not touched: the next apply brings back what they say.
    """
    from likewise.cli.changes import change_lines
    from likewise.registry.diff import diff

    with session.open() as store:
        head, wanted = store.registry.catalog(store.project), store.registry.catalog(store.project, number)
        changes = diff(head.definitions(), wanted.definitions())
        if changes:
            _say_lines(session, change_lines(changes))
            _confirm_changes(session, changes, yes, f"Go back to catalog {number}")
        _report(session, store.project, store.rollback(number))


@verb(
    "delete",
    ("likewise delete driver_stats", "delete the one definition of this name"),
    ("likewise delete driver --kind entity", "delete the entity, not the view of the same name"),
)
@click.argument("name", shell_complete=definition_names())
@click.option("--kind", metavar="KIND", help="Its kind, where several have the name: entity, 'data source', …")
@YES
@pass_session
def delete(session: Session, name: str, kind: str | None, yes: bool) -> None:
    """Delete one definition.

    That is the one with this NAME; with a view goes its online data. The repo's files are not touched: the next apply
    brings back what they still define.
    """
    from likewise.cli.changes import change_lines

    with session.open() as store:
        wanted = _find(store.definitions, name, kind)
        _refuse_if_read(store.definitions, wanted)
        found = store.plan(None, [wanted], skip_source_validation=True)
        _say_lines(session, change_lines(found.changes))
        _confirm_changes(session, found.changes, yes)
        _report(session, store.project, store.commit(found))


@verb(
    "teardown",
    ("likewise teardown", "delete all definitions and all online data, after asking"),
    ("likewise teardown --yes", "the same in a script"),
)
@YES
@pass_session
def teardown(session: Session, yes: bool) -> None:
    """Delete all definitions, and all online data.

    That is: of this project. Sources, files and the history stay; likewise rollback brings the definitions back.
    """
    with session.open() as store:
        number, count = store.definitions.number, len(list(store.definitions.contents.all()))
        if count:
            session.say(f"project {store.project}: {some(count, 'definition')}, and the online data of its views")
            session.confirm("Delete all of this", yes)
            store.teardown()
        done = f"torn down; 'likewise rollback {number}' brings the definitions back" if count else "nothing to delete"
        if session.json:
            print_json({"project": store.project, "deleted": count, "catalog": store.definitions.number})
        else:
            session.say(f"{done[:1].upper()}{done[1:]}.")


# Planning and asking


def _confirm_changes(session: Session, changes: Sequence[Change], yes: bool, question: str = "Apply this") -> None:
    from likewise.cli.changes import counted

    session.confirm(f"{question}: {counted(changes)}", yes)


def _find(definitions: Definitions, name: str, kind: str | None) -> Definition:
    """Return the definition of a name, of any kind or of the one that is given."""
    from likewise.core.errors import NotFound, RequestError
    from likewise.core.names import near_misses

    everything = [each for each in definitions.contents.all() if kind is None or _is_kind(each, kind)]
    found = [each for each in everything if each.name == name]
    if not found:
        what = kind or "definition"
        cure = near_misses(name, [each.name for each in everything], f"no {what} is applied, so there is nothing to do")
        raise NotFound(f"there is no {what} {name!r}", cure=cure)
    if len(found) > 1:
        kinds = " or ".join(f"--kind {each.noun!r}" for each in found)
        raise RequestError(f"{len(found)} definitions are called {name!r}", cure=f"say which one: {kinds}")
    return found[0]


def _refuse_if_read(definitions: Definitions, wanted: Definition) -> None:
    from likewise.cli.readers import readers
    from likewise.core.errors import RequestError

    titles = [reader.title for reader in readers(definitions.contents, wanted)]
    if titles:
        shown = ", ".join(titles[:5]) + (f" and {len(titles) - 5} more" if len(titles) > 5 else "")
        raise RequestError(f"{wanted.title} is read by {shown}", cure="change or delete what reads it first")


def _is_kind(definition: Definition, kind: str) -> bool:
    wanted = kind.lower().replace("_", " ").replace("-", " ")
    return wanted in (definition.kind.replace("_", " "), definition.noun.replace("-", " "))


# Telling


def _say_plan(session: Session, found: ApplyPlan) -> None:
    from likewise.cli.changes import change_lines

    if not found.definitions:
        session.say("The repo defines nothing.")
    _say_lines(session, [click.style(line, dim=True) for line in _skipped_lines(found)])
    _say_lines(session, change_lines(found.changes))


def _skipped_lines(found: ApplyPlan) -> list[str]:
    """Return which files were not loaded, and why: all when nothing is defined, else the first few."""
    lines = [f"not loaded: {file}: {why}" for file, why in found.skipped]
    if not found.definitions or len(lines) <= MOST_SKIPPED:
        return lines
    more = len(lines) - MOST_SKIPPED
    return [*lines[:MOST_SKIPPED], f"not loaded: {more} more; 'likewise plan --output json' lists all"]


def _say_lines(session: Session, lines: Sequence[str]) -> None:
    for line in lines:
        session.say(line)


def _report(session: Session, project: str, applied: Applied) -> None:
    from likewise.cli.changes import change_data

    if session.json:
        print_json({"project": project, "catalog": applied.catalog, "changes": change_data(applied.changes)})
    else:
        text = str(applied)
        session.say(f"{text[:1].upper()}{text[1:]}.")


def _plan_data(found: ApplyPlan) -> Mapping[str, Any]:
    from likewise.cli.changes import change_data

    return {
        "project": found.project,
        "base": found.base,
        "breaking": sum(change.breaking for change in found.changes),
        "deletes": len(found.deletes),
        "changes": change_data(found.changes),
        "skipped": [{"file": file, "reason": why} for file, why in found.skipped],
    }


def _changes_of(store: FeatureStore, number: int) -> list[Change]:
    from likewise.registry.diff import diff

    before, after = (store.registry.catalog(store.project, each) for each in (number - 1, number))
    return diff(before.definitions(), after.definitions())


def _show_catalog(session: Session, store: FeatureStore, number: int) -> None:
    from likewise.cli.changes import change_data, change_lines

    info = store.registry.catalog(store.project, number).info  # first, so that what is missing is the one asked for
    changes = _changes_of(store, number)
    if session.json:
        print_json({**_info_data(info), "changes": change_data(changes)})
        return
    session.say(f"catalog {number}, {info.message} by {info.author or 'nobody named'} at {moment(info.created)}")
    _say_lines(session, change_lines(changes))


def _info_data(info: CatalogInfo) -> dict[str, Any]:
    return {
        "number": info.number,
        "created": moment(info.created),
        "author": info.author,
        "message": info.message,
        "definitions": info.size,
        "seal": info.seal,
    }


def _print_history(infos: Sequence[CatalogInfo], changes: Mapping[int, Sequence[Change]]) -> None:
    from likewise.cli.changes import counted

    print_table(
        ["NUMBER", "WHEN", "BY", "WHY", "DEFINITIONS", "CHANGES"],
        [
            (
                each.number,
                moment(each.created),
                each.author,
                each.message,
                each.size,
                _did(counted(changes[each.number])),
            )
            for each in reversed(infos)
        ],
        right=["NUMBER", "DEFINITIONS"],
    )


def _did(planned: str) -> str:
    """Turn what a plan would do into what was done."""
    for action in ("create", "update", "delete"):
        planned = planned.replace(f"to {action}", f"{action}d")
    return planned


COMMANDS: Mapping[str, click.Command] = {
    "plan": plan,
    "apply": apply,
    "history": history,
    "rollback": rollback,
    "delete": delete,
    "teardown": teardown,
}
