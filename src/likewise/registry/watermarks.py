"""Watermarks: how far each view is materialized, and how far a run has come that was not finished.

A run is opened with the chunks it will write, each chunk is noted when it is stored, and only the closing of the run
moves the watermark (G4). A run that was killed is found open by the next one of the same definition and span, which
goes on with the chunks that are missing. Each run carries the fencing token of its lease
(:mod:`~likewise.registry.leases`): once a later run was opened, an earlier one can note nothing more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from likewise.core.errors import StoreError
from likewise.registry.base import SideConflict, SideReader, SideTable, SideValue

SPACE = "watermark"
"""The space of the side table that watermarks lie in."""
_GONE = "gone"
"""Stands for the definition of what is not stored any more."""
Span = tuple[int, int]
"""First and last, both included."""


class RunSuperseded(StoreError):
    """A later run of the same view was opened, or this one is closed; stop it, its chunks are not lost."""


@dataclass(frozen=True, slots=True)
class Run:
    """One materialization of a view, not yet finished."""

    run_id: str
    """Its name, unique."""
    token: int
    """The fencing token of its lease; a run with a greater one supersedes it."""
    definition: str
    """The hash of the view's definition that it materializes."""
    start: int
    """The first event time that it covers, in microseconds since the epoch."""
    end: int
    """The last event time that it covers."""
    chunks: int
    """How many chunks it writes in all, at least 1; they are numbered from 0."""
    done: tuple[Span, ...] = ()
    """The chunks that are stored, as spans of numbers, in order."""
    source: str = ""
    """What the source was when it began; a run of another one is begun anew. Empty where it is not known."""

    def missing(self) -> list[int]:
        """Return the numbers of the chunks that are not stored yet.

        Example:
            >>> Run("r", 1, "hash", 0, 9, chunks=5, done=((0, 1), (3, 3))).missing()
            [2, 4]
        """
        stored = {chunk for first, last in self.done for chunk in range(first, last + 1)}
        return [chunk for chunk in range(self.chunks) if chunk not in stored]


@dataclass(frozen=True, slots=True)
class Watermark:
    """How far one view is materialized."""

    view: str
    """The view."""
    intervals: tuple[Span, ...] = ()
    """The spans of event time that are materialized of :attr:`definition`, in microseconds, merged and in order."""
    definition: str = ""
    """The hash of the definition that was materialized last; empty when none was."""
    run: Run | None = None
    """The run that is going on, or was killed; None when every run was closed."""

    @property
    def end(self) -> int | None:
        """The latest event time that is materialized; None when nothing is."""
        return self.intervals[-1][1] if self.intervals else None


def read_watermark(side: SideReader, project: str, view: str) -> Watermark:
    """Return how far a view is materialized.

    Example:
        >>> from likewise.registry.memory import MemoryRegistry
        >>> read_watermark(MemoryRegistry().side, "demo", "cards").end is None
        True
    """
    return _read(side, project, view)[0]


def all_watermarks(side: SideReader, project: str) -> dict[str, Watermark]:
    """Return how far each view of a project is materialized; views never materialized are absent."""
    return {view: _from_json(view, found) for view, found in side.items(project, SPACE).items()}


def open_run(side: SideTable, project: str, view: str, run: Run) -> Run:
    """Begin a run, or take over one that was not finished.

    Args:
        side: the side table.
        project: the project.
        view: the view.
        run: the run to begin; nothing of it is done.

    Returns:
        The run as it stands now. If an unfinished one has the same definition, span and number of chunks, its finished
        chunks are in ``done``: go on with those that are missing.

    Raises:
        RunSuperseded: a run with a greater token was opened already.
    """
    while True:
        watermark, version = _read(side, project, view)
        before = watermark.run
        if before is not None and before.token > run.token:
            raise _superseded(view, run)
        resumed = before is not None and _work(before) == _work(run)
        opened = replace(run, done=before.done if before is not None and resumed else ())
        if _write(side, project, replace(watermark, run=opened), version):
            return opened


def chunk_done(side: SideTable, project: str, view: str, run: Run, chunk: int) -> Run:
    """Note that a chunk is stored, durably; noting it twice is fine.

    Raises:
        RunSuperseded: the run is not the open one any more.
    """
    while True:
        watermark, version = _read(side, project, view)
        current = _current(watermark, run)
        noted = replace(current, done=merge([*current.done, (chunk, chunk)]))
        if _write(side, project, replace(watermark, run=noted), version):
            return noted


def close_run(side: SideTable, project: str, view: str, run: Run, *, anew: bool = False) -> Watermark:
    """Finish a run: its span becomes materialized, and the watermark moves.

    After a change of the definition the watermark moves only by a run that begins anew: a span that somebody asked for
    says nothing of what lies before it, and the next incremental run would skip that.

    Args:
        side: the side table.
        project: the project.
        view: the view.
        run: the run; all of its chunks are stored.
        anew: whether it covers all that the view can need.

    Raises:
        RunSuperseded: the run is not the open one any more.
        StoreError: a chunk is missing.
    """
    while True:
        watermark, version = _read(side, project, view)
        current = _current(watermark, run)
        if missing := current.missing():
            raise StoreError(f"run {run.run_id!r} of view {view!r} lacks chunk {missing[0]}", cure="store it first")
        same = watermark.definition in ("", run.definition)
        kept = watermark.intervals if same else ()
        intervals = merge([*kept, (run.start, run.end)])
        moved = replace(watermark, intervals=intervals, definition=run.definition, run=None)
        if not same and not anew:
            moved = replace(watermark, run=None)
        if _write(side, project, moved, version):
            return moved


def begin_anew(side: SideTable, project: str, view: str) -> None:
    """Note that nothing of a view is stored any more: only a run that begins anew moves its watermark now."""
    while True:
        _, version = _read(side, project, view)
        if version == 0 or _write(side, project, Watermark(view, definition=_GONE), version):
            return


def forget(side: SideTable, project: str, view: str) -> None:
    """Forget what is materialized of a view, after its online table was dropped or has to be built anew."""
    side.remove(project, SPACE, view, None)


def merge(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Join spans of whole numbers that overlap or touch.

    Example:
        >>> merge([(5, 9), (1, 2), (3, 3), (8, 12)])
        ((1, 3), (5, 12))
    """
    merged: list[Span] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(merged[-1][1], last)
        else:
            merged.append((first, last))
    return tuple(merged)


def _work(run: Run) -> tuple[object, ...]:
    return run.definition, run.start, run.end, run.chunks, run.source


def _current(watermark: Watermark, run: Run) -> Run:
    found = watermark.run
    if found is None or (found.run_id, found.token) != (run.run_id, run.token):
        raise _superseded(watermark.view, run)
    return found


def _superseded(view: str, run: Run) -> RunSuperseded:
    return RunSuperseded(
        f"run {run.run_id!r} of view {view!r} was overtaken by a later one", cure="stop it; the later one goes on"
    )


def _read(side: SideReader, project: str, view: str) -> tuple[Watermark, int]:
    found = side.get(project, SPACE, view)
    return (Watermark(view), 0) if found is None else (_from_json(view, found), found.version)


def _write(side: SideTable, project: str, watermark: Watermark, version: int) -> bool:
    value: dict[str, Any] = asdict(watermark)
    try:
        side.put(project, SPACE, watermark.view, value, version)
    except SideConflict:
        return False
    return True


def _from_json(view: str, found: SideValue) -> Watermark:
    value = found.value
    run = value["run"]
    if run is not None:
        run = Run(**{**run, "done": tuple((first, last) for first, last in run["done"])})
    intervals = tuple((first, last) for first, last in value["intervals"])
    return Watermark(view, intervals, value["definition"], run)
