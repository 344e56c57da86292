"""Sandbox: a repo's definitions over sources and stores of their own, which hold nothing but what a case puts there.

The definitions are those of the repo's files, resolved as an apply resolves them, in a registry in memory. Each file
source is a folder that rows are added to. The repo's own sources are only asked for their columns, and the repo's
registry and online store are not touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from likewise.config import OnlineStoreConfig, RegistryConfig, RepoConfig
from likewise.core.errors import InvalidType, LikewiseError, RepoProblems, RequestError, SourceDrift
from likewise.core.keys import coerce
from likewise.core.names import near_misses
from likewise.core.time import EARLIEST, FixedClock, from_micros, to_micros
from likewise.core.types import FeatureType, Invalid, UnixTimestamp, type_from_arrow
from likewise.define.source import DataSource, FileSource, PushSource
from likewise.define.view import FeatureView, WindowedView
from likewise.plan.apply import ApplyPlan
from likewise.plan.scan import locate
from likewise.registry.codec import Data, decode, encode
from likewise.registry.diff import diff
from likewise.store import FeatureStore

if TYPE_CHECKING:
    import pyarrow as pa

HISTORY = "_history"
"""What the name of a push source's history ends with that a case gives it, where it has none of its own."""


@dataclass(frozen=True, slots=True)
class SourceColumns:
    """The columns of one source's rows."""

    source: DataSource
    """The source."""
    keys: Mapping[str, FeatureType]
    """Join key to type, of all views that read it."""
    types: Mapping[str, FeatureType]
    """Column to type, as the files call them."""

    @property
    def pushed(self) -> bool:
        """Whether its rows are pushed."""
        return isinstance(self.source, PushSource)

    @property
    def alone(self) -> bool:
        """Whether it is a push source without a history of its own."""
        return isinstance(self.source, PushSource) and self.source.batch_source is None

    @property
    def files(self) -> str:
        """The name of the file source that its rows lie in, for training at least."""
        if self.alone:
            return self.source.name + HISTORY
        history = self.source.batch_source if isinstance(self.source, PushSource) else None
        return self.source.name if history is None else history.name

    def table(self, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
        """Return rows as the source's files have them; what a row does not give is null.

        Args:
            rows: the rows, under the source's columns or the names that views have for them.

        Raises:
            RequestError: a row has no key or no event time, or a column that the source has not.
            SourceDrift, EntityKeyError, InvalidTime: a value is not of its column's type.
        """
        import pyarrow as pa

        from likewise.online.columns import ColumnWriter

        named = [self._named(row, number) for number, row in enumerate(rows)]
        columns = {}
        for name, kind in self.types.items():
            values = [row.get(name) for row in named]
            try:
                columns[name] = ColumnWriter(name, kind).array(self._typed(name, kind, values))
            except SourceDrift as error:
                what = error.message.replace("feature", "column", 1)
                raise RequestError(f"the rows of {self.source.name!r}: {what}", cure="mend the rows") from error
        return pa.table(columns)

    def _typed(self, name: str, kind: FeatureType, values: list[Any]) -> list[Any]:
        if name in self.keys:
            return coerce(name, values, kind, nulls=True)
        if kind == UnixTimestamp:
            return [None if value is None else from_micros(to_micros(value, name)) for value in values]
        return values

    def _named(self, row: Mapping[str, Any], number: int) -> dict[str, Any]:
        """Return a row under the source's own columns, with its times."""
        found = {}
        for given, value in row.items():
            name = given if given in self.types else self.source.column_of(given)
            if name not in self.types:
                near = near_misses(given, self.types)
                raise RequestError(f"row {number} of {self.source.name!r} has a column {given!r}", cure=near)
            found[name] = value
        for name in (*self.keys, self.source.timestamp_field):
            if name not in found:
                what = f"row {number} of {self.source.name!r} has no {name!r}"
                raise RequestError(what, cure=f"give it; {near_misses(name, row)}")
        created = self.source.created_timestamp_column
        if created and created not in found:
            found[created] = found[self.source.timestamp_field]
        return found

    def known(self, row: Mapping[str, Any], number: int, known_by: bool) -> int:
        """Return from which time on a row is there: its event time; with ``known_by`` not before it was created."""
        named = self._named(row, number)
        event = to_micros(named[self.source.timestamp_field], f"event time of row {number} of {self.source.name!r}")
        created = named.get(self.source.created_timestamp_column) if known_by else None
        return event if created is None else max(event, to_micros(created))


class Sandbox:
    """The definitions of a repo, over sources and stores of their own.

    Args:
        repo: the repo's folder.
        config: its configuration.
        folder: an empty folder for sources and stores.
        online_store: the type of the online store.

    Raises:
        RepoProblems: something in the repo's files is wrong.
    """

    def __init__(self, repo: Path, config: RepoConfig, folder: Path, online_store: str = "memory") -> None:
        own = msgspec.structs.replace(
            config,
            registry=RegistryConfig(registry_type="memory"),
            online_store=_own_store(config, online_store, folder),
            offline_store=msgspec.structs.replace(config.offline_store, temp_directory=str(folder / "work")),
        )
        self.clock = FixedClock(0)
        self.store = FeatureStore(repo, own, clock=self.clock)
        self._folder = folder
        self._cases = 0
        self._plain = _planned(self.store)
        self.contents = decode(self._plain)
        self.sources = {source.name: self._columns(source) for source in self.contents.sources if _has_rows(source)}

    def begin(self) -> None:
        """Begin a case: sources and stores are empty."""
        if self._cases:
            self.store.teardown()
        self._cases += 1
        self.clock.set(EARLIEST)
        self._commit(self._plain)
        for source in self.contents.sources:
            if isinstance(source, FileSource):
                self.add(source.name, self.sources[source.name].table([]))

    def give_history(self) -> None:
        """Give the push sources that have no history one, so that training can be asked of what was pushed."""
        alone = {name for name, columns in self.sources.items() if columns.alone}
        for name in alone:
            self.add(name + HISTORY, self.sources[name].table([]))
        if alone:
            self._commit([changed for data in self._plain for changed in _with_history(data, alone)])

    def add(self, source: str, rows: pa.Table) -> None:
        """Add rows to the files of a source.

        Args:
            source: the source; for a push source the one of its history.
            rows: the rows, as :meth:`SourceColumns.table` makes them.
        """
        import pyarrow.parquet as pq

        folder = self.place(source)
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, folder / f"step-{len(list(folder.glob('step-*'))):06}.parquet")

    def place(self, source: str) -> Path:
        """Return the folder of a source's files in the case at hand."""
        known = [each.name for each in self.contents.sources]
        name = source.removesuffix(HISTORY) if source not in known else source
        return self._folder / f"case-{self._cases}" / f"source-{known.index(name)}"

    def source_named(self, name: str) -> str:
        """Return the source that rows are for, by its name, its path, or the name of a view that reads it.

        Raises:
            RequestError: there is none.
        """
        by_path = {source.path: source.name for source in self.contents.sources if isinstance(source, FileSource)}
        read = {view.name: view.source for view in self.contents.views}
        found = name if name in self.sources else by_path.get(name, "")
        source = read.get(name)
        if not found and source is not None:
            found = source.name
        if not found:
            near = near_misses(name, [*self.sources, *by_path, *(view for view, of in read.items() if of is not None)])
            raise RequestError(f"there is no source {name!r} for rows", cure=near)
        return found

    def close(self) -> None:
        """Let go of files."""
        self.store.close()

    def _commit(self, definitions: Iterable[Data]) -> None:
        """Make definitions the applied ones, with each file source in its own folder."""
        placed = tuple(self._placed(data) for data in definitions)
        current = self.store.registry.catalog(self.store.project)
        changes = tuple(diff(current.definitions(), placed))
        self.store.commit(ApplyPlan(self.store.project, current.number, placed, changes))

    def _placed(self, data: Data) -> Data:
        if data.get("type") != FileSource.type_name or data["kind"] != FileSource.kind:
            return data
        return {**data, "path": str(self.place(data["name"])), "format": "parquet"}

    def _columns(self, source: DataSource) -> SourceColumns:
        """Return a source's columns: as definitions have them, then as its files have them."""
        keys: dict[str, FeatureType] = {}
        types: dict[str, FeatureType] = {}
        over = [view for view in self.contents.views if _reads(view, source)]
        for view in over:
            for entity in view.entity_objects:
                keys[source.column_of(entity.join_key)] = entity.type
        for view in over:
            for field in _read_fields(view):
                types.setdefault(source.column_of(field.name), field.dtype)
        for field in source.schema if isinstance(source, PushSource) else ():
            types.setdefault(source.column_of(field.name), field.dtype)
        held = {**self._held(source), **{name: kind for name, kind in types.items() if kind is not Invalid}}
        times = [name for name in (source.timestamp_field, source.created_timestamp_column) if name]
        found = {**held, **keys, **dict.fromkeys(times, UnixTimestamp)}
        return SourceColumns(source, keys, {name: kind for name, kind in found.items() if kind != Invalid})

    def _held(self, source: DataSource) -> dict[str, FeatureType]:
        """Return the columns of a source's own files; none where they cannot be read."""
        files = source.batch_source if isinstance(source, PushSource) else source
        if not isinstance(files, FileSource):
            return {}
        try:
            schema = self.store.engine.schema(locate(files, str(self.store.repo_path)))
        except LikewiseError:
            return {}
        return {column.name: kind for column in schema if (kind := _type_of(column)) != Invalid}


def _type_of(column: pa.Field) -> FeatureType:
    """Return the type of a file's column; Invalid for one that no feature can have."""
    try:
        return type_from_arrow(column.type)
    except InvalidType:
        return Invalid


def _planned(store: FeatureStore) -> tuple[Data, ...]:
    """Return a repo's definitions, resolved; where its sources cannot be read, as far as they are declared."""
    try:
        found = store.plan().definitions
    except RepoProblems as problems:
        try:
            found = store.plan(skip_source_validation=True).definitions
        except RepoProblems:
            raise RepoProblems(problems.problems, "nothing was tested") from None
    return tuple(dict(data) for data in found)


def _own_store(config: RepoConfig, kind: str, folder: Path) -> OnlineStoreConfig:
    if kind != config.online_store.type:
        return OnlineStoreConfig(type=kind, path=str(folder / f"online.{kind}"), map_size=1 << 30)
    return msgspec.structs.replace(config.online_store, path=str(folder / f"online.{kind}"))


def _has_rows(source: DataSource) -> bool:
    return isinstance(source, FileSource | PushSource)


def _reads(view: FeatureView, source: DataSource) -> bool:
    """Tell whether a view reads a source itself; views over views read those."""
    own = view.source
    history = own.batch_source if isinstance(own, PushSource) else None
    return source.name in {each.name for each in (own, history) if each is not None}


def _read_fields(view: FeatureView) -> list[Any]:
    if view.function is not None:
        return list(view.takes)
    if isinstance(view, WindowedView) and view.aggregations:
        return list(view.inputs)
    return list(view.features)


def _with_history(data: Data, alone: set[str]) -> list[Data]:
    if data["kind"] != PushSource.kind or data["name"] not in alone:
        return [data]
    name = data["name"] + HISTORY
    times = {key: data[key] for key in ("timestamp_field", "created_timestamp_column") if key in data}
    history = encode(FileSource(name=name, path="history", **times))
    return [history, {**data, "batch_source": name}]
