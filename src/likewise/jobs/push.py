"""Pusher: pushed rows on their way into the online store, into the files of a source, or both (G2, G4).

Who pushes looks for the newest catalog before and after. So whatever a definition became meanwhile, its states have the
rows: those of the definition that stands, and those of its past that still answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from likewise.core.errors import RequestError, SourceError
from likewise.define.view import FeatureView
from likewise.jobs.files import note_of
from likewise.jobs.states import Push, StatesBatch
from likewise.jobs.write import Batch, offline_location, prepare, states_batch, write_offline
from likewise.online.base import OnlineStore, TableMissing
from likewise.plan.former import Former
from likewise.registry.definitions import Definitions

if TYPE_CHECKING:
    import pyarrow as pa

    from likewise.jobs.derived import DerivedEngine

_LONG_AGO = 0
"""The generation of what was in the source before a table was made."""


@dataclass(frozen=True, slots=True)
class PushKit:
    """What a push works with."""

    project: str
    """The project."""
    root: str
    """The repo's folder."""
    engine: DerivedEngine
    """Computes what windows read, and adds files."""
    store: OnlineStore
    """Is written to."""
    definitions: Callable[[], Definitions]
    """Returns the definitions of the newest catalog."""
    formers: Callable[[FeatureView], Sequence[Former]]
    """Returns the states that a view of them had before, as far as they are live."""


@dataclass(frozen=True, slots=True)
class PushRequest:
    """What is pushed, and where to."""

    rows: pa.Table
    """The rows, as whoever pushes gives them."""
    views: Callable[[Definitions], Sequence[FeatureView]]
    """Returns the views that they go to."""
    online: bool
    """Whether they go to the online store."""
    how: Push
    """What is said of all of them; whether they go to the files of the source as well."""
    transformed: bool = False
    """Whether the rows are what the views' functions make."""


def push(kit: PushKit, request: PushRequest) -> int:
    """Write rows to views, and return how many online records were written.

    Raises:
        RequestError: a column is missing, or holds what does not fit; nothing was written.
        TransformError: a view's function failed, or is not the applied one; nothing was written.
        StoreUnavailable: others held the source or the store for too long.
    """
    definitions = kit.definitions()
    batches = _batches(kit, request, request.views(definitions))
    begin = _begin_and_append if request.how.in_source else _begin
    begun = begin(kit, request, batches, definitions)
    if not request.online:
        return 0
    written = _write(kit, request, batches, definitions, begun)
    while (newer := kit.definitions()).number != definitions.number:  # somebody applied meanwhile
        definitions = newer
        missed = [batch for batch in _batches(kit, request, request.views(newer)) if batch.table not in begun]
        found = _begin(kit, request, missed, newer)
        begun |= dict.fromkeys(found, _LONG_AGO) if request.how.in_source else found
        written += _write(kit, request, missed, newer, begun)
    return written


def _batches(kit: PushKit, request: PushRequest, views: Sequence[FeatureView]) -> list[Batch]:
    """Return the rows for each view, and for the states it had before; what does not fit a view is refused."""
    if not request.online and request.how.token is None:  # a later push of the token may go there
        return []
    now = request.how.now
    made = [
        request.rows if request.transformed else kit.engine.pushed(view, request.rows, kit.root, now) for view in views
    ]
    given = list(zip(views, made, strict=True))
    batches = [prepare(kit.project, view, rows, kit.engine, now) for view, rows in given]
    for view, rows in given:
        for former in kit.formers(view):
            try:
                batches.append(states_batch(kit.project, former.view, former.windows, rows, kit.engine, now, True))
            except (RequestError, SourceError):  # they lack these rows from now on, so they answer nothing any more
                kit.store.drop([former.table])
    return batches


def _begin(kit: PushKit, request: PushRequest, batches: Sequence[Batch], of: Definitions) -> dict[str, int]:
    """Return the generation of each batch's table, but for those that are gone.

    A table may be gone: of earlier states, because the new ones are live; of a view, because somebody applied since the
    catalog that the batches are of.
    """
    begun = {}
    for batch in batches:
        try:
            begun[batch.table] = batch.begin(kit.store, request.how.now)
        except TableMissing:
            if not _is_former(batch) and kit.definitions().number == of.number:
                raise
    return begun


def _begin_and_append(kit: PushKit, request: PushRequest, batches: Sequence[Batch], of: Definitions) -> dict[str, int]:
    """Return the generation of each batch's table, after adding the rows to the source in it.

    Rows that an earlier push of the same token added were added in the generation that their file says.
    """
    token, view, *others = request.how.token, *request.views(of)
    guard = kit.engine.guarded(offline_location(view, kit.root), alone=token is not None)
    with guard if batches or token is not None else nullcontext():
        begun = _begin(kit, request, batches, of)
        note = json.dumps(begun) if begun else ""
        path = write_offline(kit.engine, view, request.rows, kit.root, request.how.now, token, note, others)
    if token is None:
        return begun
    added: Mapping[str, int] = json.loads(note_of(path) or "{}")
    return {table: min(number, added.get(table, _LONG_AGO)) for table, number in begun.items()}


def _write(kit: PushKit, request: PushRequest, batches: Sequence[Batch], of: Definitions, begun: dict[str, int]) -> int:
    """Write batches whose tables are there, and return how many online records of the views as they stand were written.

    A view's table that is gone by now is taken out of ``begun``, so that it is begun with anew should it come back.
    """
    written = 0
    for batch in batches:
        if batch.table not in begun:
            continue
        try:
            records = batch.write(kit.store, request.how, begun[batch.table])
        except TableMissing:
            if not _is_former(batch):
                if kit.definitions().number == of.number:
                    raise
                del begun[batch.table]
        else:
            written += 0 if _is_former(batch) else records
    return written


def _is_former(batch: Batch) -> bool:
    return isinstance(batch, StatesBatch) and batch.former
