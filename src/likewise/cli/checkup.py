"""Checkup: what the doctor looks at, and what it finds. Every check only reads."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from likewise.cli.output import moment, some
from likewise.cli.session import Session
from likewise.core.errors import LikewiseError, RepoProblems
from likewise.core.names import near_misses
from likewise.core.time import SystemClock, span_micros, span_text

if TYPE_CHECKING:
    from likewise.define.view import FeatureView
    from likewise.store import FeatureStore

State = Literal["ok", "warning", "failed"]
"""How a check went: a warning is worth a look, a failure keeps something from working."""
OLDEST_PYTHON = (3, 11)
MODULES = {"pyyaml": "yaml", "rich-click": "rich_click"}
"""Libraries whose module has another name."""
LITTLE = 1 << 30
"""Bytes of free disk below which the doctor warns."""
TOO_LITTLE = 100 << 20
"""Bytes of free disk below which writes are about to fail."""
MATERIALIZE = "run 'likewise materialize-incremental'"
"""The cure for values that are missing or old."""
SLACK = 300_000_000
"""Microseconds by which clocks of several machines may differ without a word."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    topic: str
    """What was looked at."""
    state: State
    """How it went."""
    what: str
    """What was found."""
    cure: str = ""
    """What to do about it; empty when there is nothing to do."""


def check_up(session: Session) -> Iterator[Finding]:
    """Look at everything, and yield what is found as it is found.

    Args:
        session: which repo to look at.
    """
    yield check_python()
    yield from check_libraries()
    try:
        store = session.open()
    except LikewiseError as error:
        yield _failed("repo", error)
        return
    with store:
        for topic, check in CHECKS.items():
            yield from _guarded(topic, check, store)


def _guarded(topic: str, check: Callable[[FeatureStore], Iterator[Finding]], store: FeatureStore) -> Iterator[Finding]:
    try:
        yield from check(store)
    except (LikewiseError, OSError) as error:
        yield _failed(topic, error)


def _failed(topic: str, error: LikewiseError | OSError) -> Finding:
    if isinstance(error, LikewiseError):
        return Finding(topic, "failed", error.message, error.cure)
    return Finding(topic, "failed", str(error))


# The installation


def check_python() -> Finding:
    """Check the version of Python.

    Example:
        >>> check_python().state
        'ok'
    """
    what = f"Python {sys.version.partition(' ')[0]}"
    if sys.version_info[:2] < OLDEST_PYTHON:
        return Finding("python", "failed", what, f"use Python {'.'.join(map(str, OLDEST_PYTHON))} or newer")
    return Finding("python", "ok", what)


def check_libraries() -> Iterator[Finding]:
    """Check that the libraries are there, new enough, and can be loaded."""
    try:
        wanted = importlib.metadata.requires("likewise") or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding("libraries", "warning", "likewise is not installed as a package", "pip install likewise")
        return
    found = [(requirement, _library(requirement)) for requirement in wanted if ";" not in requirement]
    wrong = [fault for _, (_, fault) in found if fault]
    yield from (Finding("libraries", "failed", fault, "pip install --upgrade likewise") for fault in wrong)
    if not wrong:
        yield Finding("libraries", "ok", ", ".join(shown for _, (shown, _) in found))


def _library(requirement: str) -> tuple[str, str]:
    """Return a library with its version, and what is wrong with it; empty when nothing is."""
    name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
    try:
        version = importlib.metadata.version(name)
        importlib.import_module(MODULES.get(name, name))
    except importlib.metadata.PackageNotFoundError:
        return name, f"{name} is not installed"
    except ImportError as error:
        return name, f"{name} cannot be loaded: {error}"
    oldest = re.search(r">=\s*([\d.]+)", requirement)
    if oldest and _numbers(version) < _numbers(oldest[1]):
        return f"{name} {version}", f"{name} {version} is older than {oldest[1]}"
    newest = re.search(r"<\s*([\d.]+)", requirement)
    if newest and _numbers(version) >= _numbers(newest[1]):
        return f"{name} {version}", f"{name} {version} is not older than {newest[1]}"
    return f"{name} {version}", ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


# The repo


def check_configuration(store: FeatureStore) -> Iterator[Finding]:
    """Say which repo and which backends are looked at; that they open, the other checks show."""
    config = store.config
    kinds = [config.registry.registry_type, config.online_store.type, config.offline_store.type]
    yield Finding("repo", "ok", f"project {config.project!r} in {store.repo_path} ({', '.join(kinds)})")


def check_registry(store: FeatureStore) -> Iterator[Finding]:
    """Check that the registry opens, and that its whole history passes its seals."""
    infos = store.history()
    if not infos:
        yield Finding("registry", "warning", "nothing was applied yet", "run 'likewise apply'")
        return
    for info in infos:
        store.registry.catalog(store.project, info.number)
    newest = infos[-1]
    what = f"catalog {newest.number} with {some(newest.size, 'definition')}; all of its history passes its checks"
    yield Finding("registry", "ok", what)


def check_audit(store: FeatureStore) -> Iterator[Finding]:
    """Check that no entry of the audit log was changed or is missing."""
    found = store.check_audit()
    if found:
        yield Finding("audit", "ok", f"{some(len(found), 'change')} in an unbroken chain")


def check_sources(store: FeatureStore) -> Iterator[Finding]:
    """Check that every applied source can be read, and still fits the definitions."""
    applied = list(store.definitions.contents.all())
    problems = _problems(lambda: store.plan(applied)) if applied else []
    yield from (Finding("sources", "failed", what, cure) for what, cure in problems)
    if applied and not problems:
        files = sum(source.type_name == "file" for source in store.definitions.contents.sources)
        what = f"{some(files, 'file source')} can be read; the columns fit the applied definitions"
        yield Finding("sources", "ok", what)


def check_definitions(store: FeatureStore) -> Iterator[Finding]:
    """Check that the repo's files load, break no rule, and are what is applied."""
    from likewise.cli.changes import counted

    known = _problems(lambda: store.plan(list(store.definitions.contents.all()))) if store.definitions.number else []
    try:
        plan = store.plan()
    except RepoProblems as error:
        fresh = [problem for problem in error.problems if (problem.what, problem.cure) not in known]
        for problem in fresh:
            place = f"{problem.file}:{problem.line}: " if problem.file else ""
            yield Finding("definitions", "failed", f"{place}{problem.what}", problem.cure)
        if not fresh:
            yield Finding("definitions", "failed", "they cannot be applied as the sources are", "see the sources above")
        return
    if plan.changes:
        what = f"the repo's files are not what is applied: {counted(plan.changes)}"
        yield Finding("definitions", "warning", what, "run 'likewise plan' to see it, 'likewise apply' to apply it")
    else:
        yield Finding("definitions", "ok", f"the repo's files are what catalog {plan.base} holds")


def _problems(act: Callable[[], object]) -> list[tuple[str, str]]:
    try:
        act()
    except RepoProblems as error:
        return list(dict.fromkeys((problem.what, problem.cure) for problem in error.problems))
    return []


def check_online_store(store: FeatureStore) -> Iterator[Finding]:
    """Check that the online store opens, and which views have values in it."""
    from likewise import backends
    from likewise.plan.lookup import table_name
    from likewise.registry.watermarks import all_watermarks

    kind = store.config.online_store.type
    if not backends.has_online_store(kind):
        later = f"{kind!r} comes in a later version; " if kind in backends.LATER else ""
        cure = later + near_misses(kind, backends.ONLINE)
        yield Finding("online store", "failed", f"online_store: type {kind!r} is not known to this version", cure)
        return
    online = [view.name for view in store.definitions.contents.views if view.online]
    tables = {view: table_name(store.project, store.definitions.view(view)) for view in online}
    empty = [view for view, table in tables.items() if not store.online_store.scan(table, limit=1)]
    marks = all_watermarks(store.registry.side, store.project)
    lost = [view for view in empty if view in marks and marks[view].end is not None]
    what = (
        f"{store.config.online_store.type} opens; {len(online) - len(empty)} of {len(online)} online views have values"
    )
    if lost:
        cure = f"run 'likewise materialize --disable-event-timestamp -v {' -v '.join(lost)}'"
        yield Finding("online store", "warning", f"{what}; {', '.join(lost)} had a materialization and have none", cure)
    elif empty:
        yield Finding("online store", "warning", f"{what}, not {', '.join(empty)}", MATERIALIZE)
    else:
        yield Finding("online store", "ok", what)


def check_freshness(store: FeatureStore) -> Iterator[Finding]:
    """Check that what was materialized is younger than the views' ttl."""
    from likewise.registry.watermarks import all_watermarks

    marks, now = all_watermarks(store.registry.side, store.project), store.clock.now()
    ends = {view: mark.end for view, mark in marks.items() if mark.end is not None}
    late = [v for v in store.definitions.contents.views if v.name in ends and _is_late(v, ends[v.name], now)]
    for view in late:
        what = f"{view.name} is materialized up to {moment(ends[view.name])}; its ttl of {span_text(view.ttl)} is over"
        yield Finding("freshness", "warning", what, MATERIALIZE)
    if ends and not late:
        oldest = moment(min(ends.values()))
        yield Finding("freshness", "ok", f"{some(len(ends), 'view')} materialized, the oldest up to {oldest}")
    for view_name, mark in marks.items():
        if mark.run is not None:
            left = f"{len(mark.run.missing())} of {mark.run.chunks} chunks left"
            what = f"a materialization of {view_name} is at work, or was killed ({left})"
            yield Finding("freshness", "warning", what, "if it was killed, run it again: it goes on where it stood")


def _is_late(view: FeatureView, end: int, now: int) -> bool:
    return view.ttl is not None and now - end > span_micros(view.ttl)


# The machine


def check_disk(store: FeatureStore) -> Iterator[Finding]:
    """Check the free space where the repo's stores and the spilled data lie."""
    config = store.config
    places = {
        "registry": config.registry.path,
        "online store": config.online_store.path or ".",
        "temporary files": config.offline_store.temp_directory or tempfile.gettempdir(),
    }
    roots = {what: _existing(store.repo_path / path) for what, path in places.items() if "://" not in path}
    seen: dict[int, list[str]] = {}
    for what, root in roots.items():
        seen.setdefault(root.stat().st_dev, []).append(what)
    for names in seen.values():
        free = shutil.disk_usage(roots[names[0]]).free
        state: State = "failed" if free < TOO_LITTLE else "warning" if free < LITTLE else "ok"
        cure = "" if state == "ok" else "free some space"
        yield Finding("disk", state, f"{free / (1 << 30):.1f} GiB free for {', '.join(names)}", cure)


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def check_clock(store: FeatureStore) -> Iterator[Finding]:
    """Check that the clock is not behind what was written already."""
    now, system = store.clock.now(), SystemClock().now()
    infos = store.history()
    if abs(now - system) > SLACK:
        what = f"LIKEWISE_NOW sets the time to {moment(now)}; the system says {moment(system)}"
        yield Finding("clock", "warning", what, "unset it, unless it is meant")
    elif infos and infos[-1].created > now + SLACK:
        what = f"it is {moment(now)} here, but the newest catalog is of {moment(infos[-1].created)}"
        yield Finding("clock", "failed", what, "set the clock of this machine, or of the one that applied it")
    else:
        yield Finding("clock", "ok", moment(now))


CHECKS = {
    "repo": check_configuration,
    "registry": check_registry,
    "audit": check_audit,
    "sources": check_sources,
    "definitions": check_definitions,
    "online store": check_online_store,
    "freshness": check_freshness,
    "disk": check_disk,
    "clock": check_clock,
}
"""What is checked of a repo, in this order."""
