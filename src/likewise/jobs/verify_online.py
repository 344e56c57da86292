"""Verify online: compares all that is stored of a view with what its source says, counts what differs, and mends it.

What is compared is what was materialized: for each key the latest row of the source within the span of the watermark.
What the store may rightly have instead is counted by name, and is no difference: a newer row, which was pushed or
materialized since; a key that was deleted; a record that a store with expiry let go after its ttl.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from likewise.core.keys import KeyCodec
from likewise.core.time import from_micros
from likewise.core.types import arrow_type
from likewise.define.view import FeatureView
from likewise.jobs.backfill import FIRST_KEY
from likewise.jobs.lookup import LayoutReader
from likewise.jobs.materialize import RecordsOfRows
from likewise.jobs.spine import TIME
from likewise.jobs.states import found_meta
from likewise.jobs.training import RetrievalJob
from likewise.offline.base import OfflineEngine, Part, Span
from likewise.online.base import OnlineStore, TableMissing
from likewise.online.response import FieldStatus, OnlineResponse
from likewise.online.rows import STAMP, TOMBSTONE, RowReader, head_of, is_whole, vacancy
from likewise.plan.materialize import MaterializePlan
from likewise.plan.scan import sorted_keys
from likewise.registry.watermarks import Watermark

if TYPE_CHECKING:
    import pyarrow as pa

PAGE = 10_000
"""How many keys are compared at a time."""
DIFFERENT = ("missing", "older", "different", "corrupt", "online only")
"""What is a difference; an ``online only`` key of a view that is pushed to is none."""
_MENDED = ("missing", "older", "different", "corrupt", "not materialized")
WORDS: Mapping[str, str] = {
    "equal": "the same online as in the source",
    "missing": "in the source, and not online",
    "older": "online with an older row than the source has",
    "different": "online with other values than the source's row of the same times",
    "corrupt": "online with a record that fails its checks",
    "online only": "online with a row of the spans that were materialized, and not in the source",
    "newer": "online with a newer row than the source has up to the watermark: pushed, or materialized since",
    "deleted": "deleted online at a later time than the source's row",
    "expired": "not online any more, and older than the view's ttl",
    "not materialized": "outside of the spans that were materialized, and not newer",
    "not reached": "with windows that ended too long ago: what they held is not kept any more",
}
"""Each outcome of a key in words."""


@dataclass(frozen=True, slots=True)
class KeyDifference:
    """One key that differs."""

    kind: str
    """Which of :data:`DIFFERENT`."""
    key: Mapping[str, Any]
    """The key."""
    offline: int | None = None
    """The event time of the source's row, in microseconds; None where there is none, or it is of a window."""
    online: int | None = None
    """The event time of the stored record; None where there is none."""
    features: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    """The features that differ: what the source says, and what is stored."""

    def __str__(self) -> str:
        key = ", ".join(f"{name}={value!r}" for name, value in self.key.items())
        found = (("source", self.offline), ("online", self.online))
        times = [f"{where} {from_micros(at).isoformat()}" for where, at in found if at is not None]
        values = [
            f"{name}: {offline!r} in the source, {online!r} online" for name, (offline, online) in self.features.items()
        ]
        return f"{key}: {self.kind}" + "".join(f"; {text}" for text in [*times, *values])


@dataclass(slots=True)
class OnlineCheck:
    """What was found of one view."""

    view: str
    """The view."""
    until: int | None
    """Up to which event time it is materialized, in microseconds; None when it never was, and nothing is compared."""
    pushed: bool
    """Whether it is pushed to, so that keys may rightly be online only."""
    counts: Counter[str] = field(default_factory=Counter)
    """How many keys have each outcome of :data:`WORDS`."""
    examples: list[KeyDifference] = field(default_factory=list)
    """The first differences."""

    @property
    def differences(self) -> int:
        """How many keys differ."""
        return sum(self.counts[kind] for kind in DIFFERENT if kind != "online only" or not self.pushed)

    def __str__(self) -> str:
        told = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.counts.items()) if count) or "no keys"
        return f"{self.view}: {self.differences:,} differences ({told})"


@dataclass(frozen=True, slots=True)
class CheckKit:
    """What a check works with."""

    engine: OfflineEngine
    """Reads the source."""
    store: OnlineStore
    """Is read."""
    layouts: LayoutReader
    """Finds the layouts of records of earlier definitions."""
    chunk_rows: int
    """About how many rows of the source are held at a time."""
    ttl: int | None
    """The view's ttl, in microseconds."""
    now: int
    """The time, in microseconds."""
    limit: int
    """How many differences are told one by one."""
    report: Callable[[int], None]
    """Is told how many keys were compared so far."""
    mend: bool = False
    """Whether what differs is stored anew, as the source has it; only of views without windows."""


_NONE: Mapping[str, tuple[Any, Any]] = {}
_UNKNOWN = object()
"""Stands for a value that the store does not know."""
Columns = Mapping[str, Sequence[Any]]
"""Values by column."""


class TwoWays:
    """Computes the features of a view in both ways: from its source, as for training, and by an online read.

    Args:
        view: the view.
        historical: returns a training set of entity rows and references.
        online: answers an online read of references and keys, ``as_of`` a time.
    """

    def __init__(
        self,
        view: FeatureView,
        historical: Callable[[pa.Table, list[str]], RetrievalJob],
        online: Callable[..., OnlineResponse],
    ) -> None:
        self._names = [field.name for field in view.features]
        self._features = [f"{view.name}:{name}" for name in self._names]
        self._types = {entity.join_key: entity.type for entity in sorted_keys(view)}
        self._historical = historical
        self._online = online

    def trained(self, keys: Columns, at: int) -> Columns:
        """Return what training says of keys at a time in microseconds."""
        import pyarrow as pa

        columns = {name: pa.array(values, arrow_type(self._types[name])) for name, values in keys.items()}
        rows = len(next(iter(keys.values()), [None]))
        times = pa.array([at] * rows, pa.int64()).cast(pa.timestamp("us", "UTC"))
        found = self._historical(pa.table({**columns, TIME: times}), self._features).to_arrow()
        return {name: found[name].to_pylist() for name in self._names}

    def served(self, keys: Columns, at: int) -> Columns:
        """Return what serving says of keys at a time in microseconds; what it does not know is marked."""
        response = self._online(self._features, keys, as_of=at)
        found, statuses = response.to_arrow(), response.statuses()
        absent = FieldStatus.NOT_FOUND
        return {
            name: [
                _UNKNOWN if state is absent else value
                for value, state in zip(found[name].to_pylist(), statuses[name], strict=True)
            ]
            for name in self._names
        }


def verify_values(plan: MaterializePlan, mark: Watermark, kit: CheckKit) -> OnlineCheck:
    """Compare the records of a view without windows with its source.

    Args:
        plan: what was materialized: all of the watermark's span.
        mark: the watermark.
        kit: what to do it with.
    """
    found = OnlineCheck(plan.view, mark.end, plan.pushed)
    if mark.end is None:
        return found
    check = _Values(plan, mark, kit, found)
    seen = [check.compare(batch) for batch in _latest(plan, kit)]
    for keys, records in kit.store.pages(plan.table):
        check.only_online(keys, records, _unseen(keys, seen))
    return found


def verify_windows(plan: MaterializePlan, mark: Watermark, kit: CheckKit, ways: TwoWays) -> OnlineCheck:
    """Compare what is served of a view with windows, as of its watermark, with what a training set says then.

    Args:
        plan: what was materialized.
        mark: the watermark.
        kit: what to do it with.
        ways: computes the view's features.
    """
    found = OnlineCheck(plan.view, mark.end, plan.pushed)
    if mark.end is None:
        return found
    check, seen = _Windows(plan, mark.end, kit, ways, found), []
    for batch in _latest(plan, kit):
        keys = check.codec.encode_arrow(batch.columns[: len(plan.keys)], batch.num_rows)
        seen.append(_digests(keys))
        check.compare(keys)
    for page, _ in kit.store.pages(plan.table) if check.is_live else ():
        check.compare([key for key, new in zip(page, _unseen(page, seen), strict=True) if new and key >= FIRST_KEY])
    return found


class _Values:
    """Compares records with rows, a batch at a time: whole records first, and only what differs key by key."""

    def __init__(self, plan: MaterializePlan, mark: Watermark, kit: CheckKit, found: OnlineCheck) -> None:
        self._plan = plan
        self._mark = mark
        self._kit = kit
        self._found = found
        self._rows = RecordsOfRows(plan)
        self._reader = RowReader(
            self._rows.layout, table=plan.table, resolve=lambda number: kit.layouts(plan.view, number)
        )

    def compare(self, batch: pa.RecordBatch) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Compare a batch of rows with their records, and return the digests of its keys."""
        keys, records = self._rows.of(batch)
        [stored] = self._kit.store.read([(self._plan.table, keys)])
        unequal = [at for at, (row, held) in enumerate(zip(records, stored, strict=True)) if row != held]
        self._found.counts["equal"] += len(keys) - len(unequal)
        wrong = [at for at in unequal if self._judge(keys[at], records[at], stored[at]) in _MENDED]
        if self._kit.mend and wrong:
            self._store([keys[at] for at in wrong], [stored[at] for at in wrong], [records[at] for at in wrong])
        self._kit.report(sum(self._found.counts.values()))
        return _digests(keys)

    def only_online(self, keys: Sequence[bytes], records: Sequence[bytes], new: Sequence[bool]) -> None:
        """Count the keys of a page of the table that no row of the source has."""
        gone = []
        for at in [at for at, is_new in enumerate(new) if is_new]:
            key, record = keys[at], records[at]
            if not is_whole(key, record):
                self._add("corrupt", key, None, None)
            elif head_of(record).layout == TOMBSTONE:
                continue
            elif not self._is_covered(head_of(record).event):
                newer = self._mark.end is not None and head_of(record).event > self._mark.end
                self._add("newer" if newer else "not materialized", key, None, head_of(record).event)
                continue
            else:
                self._add("online only", key, None, head_of(record).event)
                if self._plan.pushed:
                    continue
            gone.append(at)
        if self._kit.mend and gone:
            none = [self._none_for(keys[at], records[at]) for at in gone]
            self._store([keys[at] for at in gone], [records[at] for at in gone], none)

    def _store(self, keys: Sequence[bytes], held: Sequence[bytes | None], records: Sequence[bytes]) -> None:
        """Store records in the place of others; where somebody was faster, theirs stays."""
        self._kit.store.swap(self._plan.table, keys, held, records)

    def _none_for(self, key: bytes, record: bytes) -> bytes:
        """Return what stands for a key that the source does not have; should its row come back, that counts again."""
        if not is_whole(key, record):
            return vacancy(key, self._plan.start, None)
        head = head_of(record)
        return vacancy(key, head.event, head.created)

    def _judge(self, key: bytes, row: bytes, held: bytes | None) -> str:
        """Count a key whose record is not the source's, and return how it differs."""
        at = head_of(row).event
        if held is None:
            return self._add(self._absent(at, held), key, at, None)
        if not is_whole(key, held):
            return self._add("corrupt", key, at, None)
        head = head_of(held)
        if head.layout == TOMBSTONE and held[STAMP] <= row[STAMP]:
            return self._add(self._absent(at, None), key, at, None)
        if held[STAMP] < row[STAMP]:
            return self._add(self._absent(at, held), key, at, head.event)
        if head.layout == TOMBSTONE:
            return self._add("deleted", key, at, head.event)
        if held[STAMP] > row[STAMP]:
            return self._add("newer", key, at, head.event)
        unlike = self._unlike(key, row, held)
        return self._add("different" if unlike else "equal", key, at, at, unlike)

    def _absent(self, at: int, held: bytes | None) -> str:
        if not self._is_covered(at):
            return "not materialized"
        if held is not None:
            return "older"
        ttl = self._kit.ttl
        return "expired" if ttl is not None and at + ttl < self._kit.now else "missing"

    def _is_covered(self, at: int) -> bool:
        """Whether an event time is in a span that was materialized."""
        return any(start <= at <= end for start, end in self._mark.intervals)

    def _unlike(self, key: bytes, row: bytes, held: bytes) -> dict[str, tuple[Any, Any]]:
        decoded = [self._reader.decode([key], [record]).columns for record in (row, held)]
        pairs = zip(self._rows.layout.names, *decoded, strict=True)
        return {name: (a, b) for name, [a], [b] in pairs if repr(a) != repr(b)}  # repr: to the bit, NaN is itself

    def _add(
        self, kind: str, key: bytes, offline: int | None, online: int | None, unlike: Mapping[str, Any] | None = None
    ) -> str:
        self._found.counts[kind] += 1
        told = kind in DIFFERENT and (kind != "online only" or not self._plan.pushed)
        if told and len(self._found.examples) < self._kit.limit:
            named = dict(zip(self._plan.keys, self._rows.keys.decode(key), strict=True))
            self._found.examples.append(KeyDifference(kind, named, offline, online, unlike or {}))
        return kind


def has_damage(table: str, store: OnlineStore) -> bool:
    """Tell whether a record of a table fails its checks."""
    return any(not all(map(is_whole, keys, records)) for keys, records in store.pages(table))


class _Windows:
    """Compares what is served of windows with what training says of them, some keys at a time."""

    def __init__(self, plan: MaterializePlan, at: int, kit: CheckKit, ways: TwoWays, found: OnlineCheck) -> None:
        self.codec = KeyCodec(plan.key_types, plan.keys)
        """Reads the keys."""
        self.is_live = found_meta(kit.store, plan.table) is not None
        """Whether the table answers at all; one that was lost, or is only half made anew, does not."""
        self._plan = plan
        self._at = at
        self._kit = kit
        self._ways = ways
        self._found = found

    def compare(self, keys: Sequence[bytes]) -> None:
        """Compare some keys, and count them."""
        if not keys:
            return
        decoded = [self.codec.decode(key) for key in keys]
        columns = {name: [key[place] for key in decoded] for place, name in enumerate(self._plan.keys)}
        lost, unlike = self._differing(columns) if self.is_live else (set(), dict.fromkeys(range(len(keys)), _NONE))
        gone = self._deleted(keys, list(unlike))
        kind = "different" if self.is_live else "missing"
        self._found.counts["not reached"] += len(lost)
        self._found.counts["equal"] += len(keys) - len(unlike) - len(lost)
        self._found.counts["deleted"] += len(gone)
        self._found.counts[kind] += len(unlike) - len(gone)
        told = [(row, features) for row, features in unlike.items() if row not in gone]
        for row, features in told[: self._kit.limit - len(self._found.examples)]:
            key = {name: values[row] for name, values in columns.items()}
            self._found.examples.append(KeyDifference(kind, key, features=features))
        self._kit.report(sum(self._found.counts.values()))

    def _differing(self, columns: Columns) -> tuple[set[int], dict[int, Mapping[str, tuple[Any, Any]]]]:
        trained, served = self._ways.trained(columns, self._at), self._ways.served(columns, self._at)
        unlike: dict[int, dict[str, tuple[Any, Any]]] = {}
        lost: set[int] = set()
        for name, values in trained.items():
            for row, (a, b) in enumerate(zip(values, served[name], strict=True)):
                if b is _UNKNOWN:
                    lost.add(row)
                elif a is not b and repr(a) != repr(b):
                    unlike.setdefault(row, {})[name] = (a, b)
        return lost - unlike.keys(), dict(unlike)

    def _deleted(self, keys: Sequence[bytes], rows: Sequence[int]) -> set[int]:
        """Return which rows' keys were deleted so late that their windows rightly lack events of the source."""
        try:
            [records] = self._kit.store.read([(self._plan.deletions, [keys[row] for row in rows])])
        except TableMissing:
            return set()
        reach = self._plan.windows.longest if self._plan.windows is not None else None
        first = None if reach is None else self._at - reach
        times = {row: head_of(record).event for row, record in zip(rows, records, strict=True) if record is not None}
        return {row for row, time in times.items() if first is None or time > first}


def _latest(plan: MaterializePlan, kit: CheckKit) -> Iterator[pa.RecordBatch]:
    """Yield the latest row of each key, some at a time."""
    chunks = max(1, -(-kit.engine.count(plan.scan) // kit.chunk_rows))
    for chunk in range(chunks):
        for batch in kit.engine.latest(plan.scan, Span(plan.start, plan.end), Part(chunk, chunks)):
            for first in range(0, batch.num_rows, PAGE):
                yield batch.slice(first, PAGE)


def _digests(keys: Iterable[bytes]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return a number for each key; in 10 million keys, two have the same one once in a hundred thousand checks."""
    return np.fromiter(map(hash, keys), np.int64)


def _unseen(keys: Sequence[bytes], seen: list[np.ndarray[tuple[int], np.dtype[np.int64]]]) -> Sequence[bool]:
    """Return for each key whether it was not seen; what was seen becomes one sorted array the first time."""
    if len(seen) > 1 or (seen and not np.all(seen[0][:-1] <= seen[0][1:])):
        seen[:] = [np.sort(np.concatenate(seen))]
    if not seen or not len(seen[0]):
        return [True] * len(keys)
    digests = _digests(keys)
    places = np.minimum(np.searchsorted(seen[0], digests), len(seen[0]) - 1)
    unseen: list[bool] = (seen[0][places] != digests).tolist()
    return unseen
