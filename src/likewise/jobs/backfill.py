"""Backfill: the states of a windowed view's keys, made from the rows of its source (S5-S7).

The states are written while others push and read. Each is whole at any time: it says up to which time its events come
from the source. The table is live once all of them are written; a table that was live before stays so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from likewise.core.aggregates import NEVER
from likewise.core.keys import KeyCodec
from likewise.core.time import EARLIEST, from_micros
from likewise.core.types import arrow_type
from likewise.core.windows import BEFORE_ALL
from likewise.jobs.states import Change, change_states, next_generation, open_ledger, set_meta, with_deletions
from likewise.offline.base import CREATED_TIME, EVENT_TIME, ORDER, OfflineEngine, Part, Span
from likewise.online.base import OnlineStore
from likewise.online.events import Events, Ints
from likewise.online.window_state import Meta, WindowStates
from likewise.plan.materialize import MaterializePlan
from likewise.plan.windows import WindowSet

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK = 1 << 18
"""About how many events are taken at a time; those of one key are never parted."""
_PAGE = 10_000
"""How many states are looked at at a time when the run ends."""
FIRST_KEY = b"\x00\xff"
"""Lies between the reserved keys and those of entities."""


class Backfill:
    """One run over the source of a windowed view.

    Args:
        plan: what to write.
        windows: the plan's windows.
        engine: reads the source.
        store: is written to.
        now: the time, in microseconds since the epoch: what no window can reach any more is dropped.
    """

    anew = True
    """Whether a run that was killed is begun again: yes, for all of its states are to come from the same files."""

    def __init__(
        self, plan: MaterializePlan, windows: WindowSet, engine: OfflineEngine, store: OnlineStore, now: int
    ) -> None:
        self._plan = plan
        self._windows = windows
        self._engine = engine
        self._store = store
        self._now = now
        self._states = WindowStates(windows, plan.table, has_source=True)
        self._read_at = 0
        self._begun = 0
        self._kept: set[bytes] = set()

    def begin(self) -> None:
        """Begin a generation of the table, and see which files there are, while nobody pushes to them.

        The run ends no earlier than any that was begun before, so that no state gets less than it has.
        """
        plan, location = self._plan, self._plan.scan.location
        self._store.create([plan.table])
        open_ledger(self._store, plan.table, self._now if plan.pushed else BEFORE_ALL)
        with self._engine.guarded(location, alone=True) if plan.pushed else nullcontext():
            ledger = next_generation(self._store, plan.table, plan.end)
            pinned = self._engine.pinned(location)
        assert ledger.end is not None
        self._read_at, self._begun = ledger.generation, ledger.begun
        self._plan = replace(plan, end=ledger.end, scan=replace(plan.scan, location=pinned))

    def chunk(self, part: Part) -> Iterator[tuple[int, int]]:
        """Write the states of a part of the keys; yield how many keys were read and written, from time to time."""
        codec = KeyCodec(self._plan.key_types, self._plan.keys)
        span = Span(self._plan.start, self._plan.end)
        batches = self._engine.events(self._plan.scan, self._windows.inputs, span, part)
        for block in whole_keys(batches, len(self._plan.keys)):
            events = events_of(block, codec)
            yield len(events.keys), change_states(self._store, self._plan.table, events.keys, self._filled(events))

    def finish(self) -> str:
        """Settle the keys that have no event in the source, and make the table live.

        Returns:
            Why it is not, when it is not; else nothing.
        """
        table, after = self._plan.table, FIRST_KEY
        while page := self._store.scan(table, after, _PAGE):
            after = page[-1][0]
            left = [key for key, record in page if key not in self._kept and self._is_older(key, record)]
            change_states(self._store, table, left, self._filled(self._no_events(left)))
        if self._begun > self._plan.end:
            return (
                f"not served yet: up to {from_micros(self._begun).isoformat()}, when its windows changed, what was "
                "pushed is in the source only; materialize up to then at least"
            )
        set_meta(self._store, table, Meta(self._since, self._plan.end, self._read_at))
        self._store.drop(self._plan.formers)
        return ""

    @property
    def _since(self) -> int:
        return BEFORE_ALL if self._plan.start <= EARLIEST else self._plan.start - 1

    def _is_older(self, key: bytes, record: bytes) -> bool:
        return self._states.read_at(key, record) != self._read_at

    def _filled(self, events: Events) -> Change:
        def change(keys: Sequence[bytes], stored: Sequence[bytes | None]) -> Sequence[bytes | None]:
            held = with_deletions(self._store, self._plan.deletions, self._states, keys, stored)
            made = self._states.backfilled(keys, held, events, self._plan.end, self._since, self._read_at, self._now)
            self._kept.update(key for key, record in zip(keys, made, strict=True) if record is None)
            return made

        return change

    def _no_events(self, keys: Sequence[bytes]) -> Events:
        import pyarrow as pa

        none = np.zeros(0, np.int64)
        return Events(keys, none, none, None, none, [pa.array([], arrow_type(i.type)) for i in self._windows.inputs])


def whole_keys(batches: Iterable[pa.RecordBatch], keys: int, block: int = _BLOCK) -> Iterator[pa.Table]:
    """Put events that are sorted by key together in blocks that part no key.

    Args:
        batches: the events; their first columns are the parts of the key.
        keys: how many parts a key has.
        block: about how many events are put together.
    """
    import pyarrow as pa

    waiting: list[pa.RecordBatch] = []
    rows, enough = 0, block
    for batch in batches:
        waiting.append(batch)
        rows += batch.num_rows
        if rows < enough:
            continue
        table = pa.Table.from_batches(waiting).combine_chunks()
        last = int(np.flatnonzero(first_of_key(table, keys))[-1])
        if last:
            yield table.slice(0, last)
        waiting = table.slice(last).to_batches()
        rows = table.num_rows - last
        enough = block + 2 * rows  # a key that fills blocks is not copied for each batch
    if rows:
        yield pa.Table.from_batches(waiting).combine_chunks()


def first_of_key(events: pa.Table, keys: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Tell of each of some events, sorted by key, whether it is the first of its key."""
    import pyarrow.compute as pc

    first = np.zeros(events.num_rows, np.bool_)
    first[:1] = True
    for column in events.columns[:keys]:
        differs = pc.not_equal(column.slice(1), column.slice(0, max(0, events.num_rows - 1)))
        first[1:] |= differs.to_numpy()
    return first


def events_of(block: pa.Table, codec: KeyCodec) -> Events:
    """Return a block of events, sorted by key, as they go into states."""
    import pyarrow as pa

    count = len(codec.types)
    first = first_of_key(block, count)
    places = pa.array(np.flatnonzero(first))
    found = codec.encode_arrow([column.take(places) for column in block.columns[:count]], len(places))

    def whole(name: str) -> Ints:
        numbers: Ints = block.column(name).cast(pa.int64()).fill_null(NEVER).to_numpy()
        return numbers

    created = block.column(CREATED_TIME)
    return Events(
        found,
        np.cumsum(first) - 1,
        whole(EVENT_TIME),
        None if created.null_count == len(created) else whole(CREATED_TIME),
        whole(ORDER),
        [column.combine_chunks() for column in block.columns[block.schema.get_field_index(ORDER) + 1 :]],
    )
