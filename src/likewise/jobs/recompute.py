"""Recompute: the values of one view for the rows of a log, at any times, by the engine that makes training sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from likewise.core.types import UnixTimestamp
from likewise.core.windows import Window
from likewise.define.view import FeatureView, Projection
from likewise.offline.base import OfflineEngine
from likewise.plan.scan import Location, ScanColumn
from likewise.plan.selection import Pick, Selection
from likewise.plan.training import AsOfJoin, SpineShape, TrainingPlan, plan_training
from likewise.plan.windows import WindowFeature, WindowInput, WindowJoin, WindowSet
from likewise.registry.definitions import Definitions

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
NONE = int(np.iinfo(np.int64).min)
"""Stands for no time."""
_AT, _ROW_TIME = "__at", "__row_time"
_US = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True, slots=True)
class Recomputed:
    """What a source says of some keys at some times."""

    columns: Sequence[pa.Array]
    """The values, one column for each feature."""
    times: Ints
    """The event time of the row that each came from; NONE where there is none. All NONE for windows."""


class Recomputer:
    """Computes the features of one view again.

    Args:
        engine: reads the source.
        root: the repo's folder.
        definitions: the definitions of the catalog that answered.
        part: the view, as it is seen.
        view: the view.
        features: which of its features.
        keys: the key columns of the log.

    Raises:
        LikewiseError: the view has no source that can be read.
    """

    def __init__(
        self,
        engine: OfflineEngine,
        root: str,
        definitions: Definitions,
        part: Projection,
        view: FeatureView,
        features: Sequence[str],
        keys: pa.Table,
    ) -> None:
        self.engine = engine
        """Reads the source."""
        self._keys = keys
        types = {field.name: field.dtype for field in view.features}
        picks = tuple(Pick(part, name, f"__value_{n}", types[name]) for n, name in enumerate(features))
        shape = SpineShape((*keys.column_names, _AT), _AT)
        self._plan = plan_training(definitions, Selection(picks, {part: view}, {}), shape, root)
        self._outputs = [column for column, _, _ in self._plan.features]

    @property
    def join(self) -> AsOfJoin | WindowJoin:
        """The plan's only join."""
        found: tuple[AsOfJoin | WindowJoin, ...] = (*self._plan.joins, *self._plan.windows)
        return found[0]

    def values(
        self, rows: Ints, times: Ints, known: Bools | None = None, *, ttl: bool = True, files: Location | None = None
    ) -> Recomputed:
        """Return the values of some rows' keys at some times.

        Args:
            rows: which rows of the log.
            times: a time for each, in microseconds since the epoch.
            known: whether just rows of the source count that were created by then (S4), for each; None: for none.
            ttl: whether rows older than the view's ttl are left out.
            files: the files to read; None for all.
        """
        plan = self._timed(ttl, files)
        outputs = [*self._outputs, *([_ROW_TIME] if plan.joins else [])]
        table = self._run(plan, outputs, rows, times, np.zeros(len(rows), bool) if known is None else known)
        found = _micros(table.column(_ROW_TIME)) if plan.joins else np.full(len(rows), NONE)
        return Recomputed([_whole(table.column(name)) for name in self._outputs], found)

    def latest_events(self, rows: Ints, times: Ints, known: Bools) -> tuple[Ints, Ints]:
        """Return the latest event time and the latest created time of each key's events up to a time, for windows."""
        join = self.join
        wanted = [join.scan.time, *([join.scan.created] if join.scan.created else [])]
        inputs = tuple(WindowInput(name, "", UnixTimestamp, (name,)) for name in wanted)
        life = Window(None, None, 0)
        features = tuple(WindowFeature(f"__latest_{n}", n, "max", life, UnixTimestamp) for n in range(len(wanted)))
        columns = tuple((name, UnixTimestamp) for name in sorted(wanted))
        windows = WindowSet(join.scan.view, inputs, features, columns)
        scan = replace(join.scan, columns=tuple(ScanColumn(name, UnixTimestamp) for name in sorted(wanted)))
        names = tuple(feature.name for feature in features)
        plan = replace(self._plan, joins=(), windows=(WindowJoin(scan, windows, join.spine_keys, names),))
        table = self._run(plan, list(names), rows, times, known)
        found = [_micros(table.column(name)) for name in names]
        return found[0], found[1] if len(found) > 1 else np.full(len(rows), NONE)

    def settled(self, rows: Ints, until: Ints) -> Recomputed:
        """Return the rows that the source surely had at some times, which are the ends of materializations.

        Those are the rows with an event time up to then, created by then, in files that did not change since.

        Args:
            rows: which rows of the log.
            until: the time for each, in microseconds since the epoch.
        """
        changes = sorted(changed_files(self.engine.pinned(self.join.scan.location)))
        places = np.searchsorted(np.array([at for at, _ in changes], np.int64), until, side="right")
        times = np.full(len(rows), NONE)
        columns = [pa.nulls(len(rows), _whole(column).type) for column in self._empty().columns]
        for count in np.unique(places).tolist():
            some = np.flatnonzero(places == count)
            files = self._first_files(changes[:count], len(changes))
            if files is None:
                continue
            known = np.full(len(some), bool(self.join.scan.created))
            found = self.values(rows[some], until[some], known, ttl=False, files=files)
            times[some] = found.times
            columns = [replaced(old, some, new) for old, new in zip(columns, found.columns, strict=True)]
        return Recomputed(columns, times)

    def unchanged_since(self, at: Ints) -> Bools:
        """Tell whether no file of the source changed after some times."""
        last = max((when for when, _ in changed_files(self.engine.pinned(self.join.scan.location))), default=NONE)
        return np.asarray(at >= last)

    def _first_files(self, some: Sequence[tuple[int, tuple[str, str]]], of: int) -> Location | None:
        """Return a location of just some files; None for none, or where rows are made of several sources."""
        location = self.engine.pinned(self.join.scan.location)
        if not some:
            return None
        if len(some) == of:
            return location
        kept = {file for _, file in some}
        if location.derivation is not None or location.files is None:
            return None
        return replace(location, files=tuple(file for file in location.files if file in kept))

    def _empty(self) -> Recomputed:
        return self.values(np.zeros(0, np.int64), np.zeros(0, np.int64))

    def _timed(self, ttl: bool, files: Location | None) -> TrainingPlan:
        """Return the plan with the event time of the row that counts as one more column."""
        if not self._plan.joins:
            return self._plan
        [join] = self._plan.joins
        scan = replace(join.scan, columns=(*join.scan.columns, ScanColumn(join.scan.time, UnixTimestamp)))
        if files is not None:
            scan = replace(scan, location=files)
        timed = replace(join, scan=scan, outputs=(*join.outputs, _ROW_TIME), ttl=join.ttl if ttl else None)
        return replace(self._plan, joins=(timed,))

    def _run(self, plan: TrainingPlan, names: list[str], rows: Ints, times: Ints, known: Bools) -> pa.Table:
        """Return some outputs for some rows, in their order; rows that ask for what was known go by themselves."""
        made = []
        for known_by in np.unique(known).tolist() or [False]:
            some = np.flatnonzero(known == known_by)
            spine = self._keys.take(pa.array(rows[some])).append_column(_AT, _times(times[some]))
            found = self.engine.training(replace(plan, known_by=known_by), spine.combine_chunks()).read_all()
            made.append((some, found.select(names)))
        order = np.argsort(np.concatenate([some for some, _ in made]), kind="stable")
        return pa.concat_tables([found for _, found in made]).take(pa.array(order))


def changed_files(location: Location) -> list[tuple[int, tuple[str, str]]]:
    """Return the files of a source, each with when it came there or was last changed, in microseconds."""
    if location.derivation is not None:
        return [
            found
            for given in location.derivation.given
            if given.scan is not None
            for found in changed_files(given.scan.location)
        ]
    return [(_changed(path), (path, kind)) for path, kind in location.files or ()]


def _changed(path: str) -> int:
    stat = Path(path).stat()
    return max(stat.st_mtime_ns, stat.st_ctime_ns) // 1000


def replaced(column: pa.Array, rows: Ints, values: pa.Array) -> pa.Array:
    """Return a column with other values in some rows."""
    places = np.arange(len(column))
    places[rows] = len(column) + np.arange(len(rows))
    return pa.concat_arrays([column, values.cast(column.type)]).take(pa.array(places))


def blanked(column: pa.Array, rows: Bools) -> pa.Array:
    """Return a column with nulls in some rows."""
    return column.take(pa.array(np.arange(len(column)), mask=rows))


def _whole(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    return column


def _micros(column: pa.ChunkedArray) -> Ints:
    found: Ints = column.cast(pa.int64()).fill_null(NONE).to_numpy()
    return found


def _times(micros: Ints) -> pa.Array:
    return pa.array(micros, pa.int64(), mask=micros == NONE).cast(_US)
