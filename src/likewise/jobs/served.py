"""Served: answers of online reads as typed Parquet files, one row for each entity row of a request.

The columns have Feast's names: join keys and request values as they are, ``view__feature`` with
``view__feature__timestamp`` and ``view__feature__status``, ``__request_id`` and ``__log_timestamp``. Beside them stand
the time that the answer is for, the catalog that it is of, and of each view that was read the event time of the record
and the span of event times that was materialized before the answer: what :mod:`~likewise.jobs.verify` has to know.

All rows of a file are of one kind: the same features, asked of the same catalog. The file says which.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from likewise.core.errors import NotSupported, RequestError, SourceUnreadable
from likewise.core.frames import refuse_twins, to_table
from likewise.core.json_form import has_sets
from likewise.core.names import near_misses
from likewise.core.types import FeatureType, UnixTimestamp, arrow_type
from likewise.define.service import FeatureService
from likewise.jobs.files import write_parquet
from likewise.online.columns import ColumnWriter
from likewise.online.response import FieldStatus, OnlineResponse
from likewise.plan.lookup import LookupPlan

REQUEST_ID, LOGGED_AT, AS_OF, CATALOG = "__request_id", "__log_timestamp", "__as_of", "__catalog"
"""The columns that say which request it was, when it was answered, for which time, and from which catalog."""
DATE = "log_date"
"""What the folders of a log are named by."""
FORMAT = 1
"""Counts up when files of an earlier version would be read wrongly."""
_SAID = b"likewise.served"
_PARTITION = b"likewise.partition"
_TIME = arrow_type(UnixTimestamp)
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
Marks = Mapping[str, tuple[int, int]]
"""View to the first and the last event time that was materialized of it, in microseconds since the epoch."""


class ServedAnswer(msgspec.Struct, frozen=True):
    """One answered request."""

    request_id: str
    """Its id."""
    as_of: int
    """The time that the answer is for, in microseconds since the epoch."""
    answered: int
    """When it was answered."""
    response: OnlineResponse
    """The answer."""
    request: Sequence[Sequence[Any]]
    """The columns of request values, one for each of :attr:`ServedKind.request`."""

    @property
    def rows(self) -> int:
        """How many entity rows it has."""
        response = self.response
        first = next(iter(response.keys.values()), response.features[0].values if response.features else ())
        return len(first)


@dataclass(frozen=True, slots=True)
class ServedKind:
    """What the answers of one file have in common."""

    project: str
    """The project."""
    catalog: int
    """The number of the catalog that answered."""
    asked: tuple[str, ...]
    """What was asked for: references, or the name of a service."""
    service: str
    """The service that was asked for; empty for a list of features."""
    keys: tuple[tuple[str, FeatureType], ...]
    """The key columns and their types."""
    request: tuple[tuple[str, FeatureType], ...]
    """The columns of request values and their types."""
    features: tuple[tuple[str, FeatureType], ...]
    """(column, type) of each feature, in the order asked for."""
    reads: tuple[str, ...]
    """The view of each read that the answers are made of."""

    @classmethod
    def of(cls, plan: LookupPlan, project: str, asked: tuple[str, ...], service: str) -> Self:
        """Return the kind of what a plan answers.

        Args:
            plan: the online read.
            project: the project.
            asked: what was asked for.
            service: the service that was asked for; empty for a list of features.

        Raises:
            RequestError: two columns would have one name.
        """
        features = tuple((f"{output.view}__{output.feature}", output.type) for output in plan.outputs)
        request = tuple((name, kind) for name, kind, _ in plan.request if name not in dict(plan.entities))
        reads = tuple(read.view for read in plan.reads)
        kind = cls(project, plan.catalog, asked, service, plan.entities, request, features, reads)
        refuse_twins(kind.schema.names, "logged answers")
        return kind

    @property
    def schema(self) -> pa.Schema:
        """The columns of a file, with what the file says of itself."""
        return _schema(self)


@lru_cache(maxsize=1024)
def _schema(kind: ServedKind) -> pa.Schema:
    fields = [
        pa.field(REQUEST_ID, pa.string()),
        *(pa.field(name, _TIME) for name in (LOGGED_AT, AS_OF)),
        pa.field(CATALOG, pa.int64()),
        *(pa.field(name, arrow_type(of)) for name, of in (*kind.keys, *kind.request)),
    ]
    for name, of in kind.features:
        fields += pa.field(name, arrow_type(of)), pa.field(f"{name}__timestamp", _TIME)
        fields.append(pa.field(f"{name}__status", pa.int32()))
    fields += [pa.field(name, _TIME) for number in range(len(kind.reads)) for name in record_columns(number)]
    said = {
        "format": FORMAT,
        "project": kind.project,
        "catalog": kind.catalog,
        "asked": kind.asked,
        "service": kind.service,
    }
    return pa.schema(fields, metadata={_SAID: json.dumps(said)})


def record_columns(read: int) -> tuple[str, str, str]:
    """Return the columns of a read: its record's event time, and the span that was materialized before the answer."""
    return f"__record_{read}_timestamp", f"__record_{read}_from", f"__record_{read}_to"


def served_rows(kind: ServedKind, answers: Sequence[ServedAnswer], marks: Marks) -> pa.Table:
    """Return answers of one kind as rows.

    Args:
        kind: what they have in common.
        answers: the answers, one at least.
        marks: what was materialized before all of them.

    Raises:
        SourceDrift: a request value does not fit its type.
    """
    counts = [answer.rows for answer in answers]
    columns = [
        _repeated([answer.request_id for answer in answers], counts, pa.string()),
        _repeated([answer.answered for answer in answers], counts, _TIME),
        _repeated([answer.as_of for answer in answers], counts, _TIME),
        pa.repeat(pa.scalar(kind.catalog, pa.int64()), sum(counts)),
    ]
    for name, key in kind.keys:
        columns.append(_values(name, key, [answer.response.keys[name] for answer in answers]))
    for place, (name, given) in enumerate(kind.request):
        columns.append(_values(name, given, [answer.request[place] for answer in answers]))
    for place, (name, type_) in enumerate(kind.features):
        features = [answer.response.features[place] for answer in answers]
        statuses = itertools.chain.from_iterable(feature.statuses() for feature in features)
        columns.append(_values(name, type_, [feature.values for feature in features]))
        columns.append(_times([feature.times for feature in features]))
        columns.append(pa.array(list(statuses), pa.int32()))
    records = [answer.response.record_times for answer in answers]
    for place, view in enumerate(kind.reads):
        columns.append(_times([times[place] for times in records]))
        span = marks.get(view, (None, None))
        columns += [pa.repeat(pa.scalar(end, _TIME), sum(counts)) for end in span]
    return pa.table(columns, schema=kind.schema)


def _repeated(values: Sequence[Any], counts: Sequence[int], kind: pa.DataType) -> pa.Array:
    return pa.array(list(itertools.chain.from_iterable(map(itertools.repeat, values, counts))), kind)


_writer = lru_cache(maxsize=4096)(ColumnWriter)


def _values(name: str, kind: FeatureType, parts: Sequence[Sequence[Any]]) -> pa.Array:
    values = itertools.chain.from_iterable(parts)
    return _writer(name, kind).array([_ordered(value) for value in values] if has_sets(kind) else list(values))


def _ordered(value: Any) -> Any:
    if not isinstance(value, set | frozenset):
        return value
    return [*sorted(item for item in value if item is not None), *([None] if None in value else [])]


def _times(parts: Sequence[Sequence[int | None]]) -> pa.Array:
    return pa.array(list(itertools.chain.from_iterable(parts)), pa.int64()).cast(_TIME)


def rows_of_logs(plan: LookupPlan, kind: ServedKind, logs: pa.Table) -> pa.Table:
    """Return rows that somebody else logged, in Feast's columns, as rows of a kind.

    Args:
        plan: the online read of what was asked for.
        kind: the kind of what it answers.
        logs: the rows; of the columns that Feast does not have none is needed.

    Raises:
        RequestError: a column is missing, or holds what does not fit.
    """
    found = {}
    for place, output in reversed(list(enumerate(plan.outputs))):
        name = kind.features[place][0]
        if output.read >= 0 and {f"{name}__timestamp", f"{name}__status"} <= set(logs.column_names):
            missing = pc.equal(logs.column(f"{name}__status"), int(FieldStatus.NOT_FOUND))
            times = pc.if_else(missing, pa.scalar(None, _TIME), logs.column(f"{name}__timestamp").cast(_TIME))
            found[record_columns(output.read)[0]] = times
    if LOGGED_AT in logs.column_names:
        found[AS_OF] = logs.column(LOGGED_AT)
    found[CATALOG] = pa.repeat(pa.scalar(kind.catalog, pa.int64()), logs.num_rows)
    columns = [_logged(logs, found, column) for column in kind.schema]
    return pa.table(columns, schema=kind.schema)


def add_logs(plan: LookupPlan, project: str, service: FeatureService, logs: object, root: str) -> None:
    """Add answers that somebody else logged to the log of a service; see ``FeatureStore.write_logged_features``."""
    if service.logging_config is None:
        raise RequestError(f"{service.title} has no logging_config", cure="apply it with one")
    to, kind = service.logging_config.destination, ServedKind.of(plan, project, (service.name,), service.name)
    given = read_logs(Path(logs)) if isinstance(logs, str | os.PathLike) else to_table(logs, "logs")
    by = checked_partition(kind, to.partition_by or ())
    write_served(rows_of_logs(plan, kind, given), kind, local_folder(to.path, root), by)


def read_logs(path: Path) -> pa.Table:
    """Return the rows of a Parquet file, or of all that are in a folder.

    Raises:
        SourceUnreadable: it is none, or damaged.
    """
    try:
        return pq.read_table(path, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def _logged(logs: pa.Table, found: Mapping[str, Any], column: pa.Field) -> Any:
    given = logs.column(column.name) if column.name in logs.column_names else found.get(column.name)
    if given is None and column.name.startswith("__record_"):
        return pa.nulls(logs.num_rows, column.type)
    if given is None:
        raise RequestError(f"the logs have no column {column.name!r}", cure=near_misses(column.name, logs.column_names))
    try:
        return given.cast(column.type)
    except (pa.ArrowException, ValueError) as error:
        what = f"column {column.name!r} of the logs does not fit {column.type}: {error}"
        raise RequestError(what, cure="give it in the feature's type") from error


# Files


def checked_partition(kind: ServedKind, by: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that divide a log into folders below those of its dates.

    Raises:
        RequestError: one of them is no column of the log.
    """
    known = kind.schema.names
    for name in by:
        if name not in (*known, DATE, "__log_date"):
            what = f"partition_by has {name!r}, which is no column of the log"
            raise RequestError(what, cure=near_misses(name, known))
    return tuple(name for name in dict.fromkeys(by) if name in known)


def local_folder(path: str, root: str | os.PathLike[str]) -> Path:
    """Return the folder that a destination of logs names, from the repo's.

    Raises:
        NotSupported: it is in an object store.
    """
    plain = path.removeprefix("file://")
    if "://" in plain:
        cure = "give a local folder as the path of its FileLoggingDestination"
        raise NotSupported(f"{path!r} is in an object store, which logs are not written to", cure=cure)
    return Path(root, plain)


def write_served(rows: pa.Table, kind: ServedKind, folder: Path, by: Sequence[str] = ()) -> list[Path]:
    """Write logged rows into a folder: a file for each date, and each set of values of some columns.

    Args:
        rows: the rows, of one kind.
        kind: the kind.
        folder: the log's folder; it is made.
        by: the columns that divide it further; their values are in the names of folders, and not in the rows.

    Raises:
        RequestError: a file cannot be written.
        StoreFull: the disk is full.
    """
    written = []
    for texts, part in _parted(rows, by):
        path = folder.joinpath(*(f"{name}={text}" for name, text in texts.items()), _file_name(kind))
        said = dict(part.schema.metadata)
        if by:
            held = part.select(list(by)).slice(0, 1).combine_chunks()
            said[_PARTITION] = base64.b64encode(_packed(held))
            part = part.drop_columns(list(by))
        found = part.replace_schema_metadata(said)
        written.append(write_parquet(found.to_reader(), path, allow_overwrite=False))
    return written


def _parted(rows: pa.Table, by: Sequence[str]) -> Iterator[tuple[dict[str, str], pa.Table]]:
    days = pc.cast(rows.column(LOGGED_AT), pa.timestamp("s", tz="UTC"), safe=False).cast(pa.date32())
    columns = [days.to_pylist(), *(rows.column(name).to_pylist() for name in by)]
    places: dict[tuple[str, ...], list[int]] = {}
    for place, found in enumerate(zip(*columns, strict=True)):
        places.setdefault(tuple(map(_text, found)), []).append(place)
    for texts, held in places.items():
        part = rows if len(places) == 1 else rows.take(held)
        yield dict(zip([DATE, *by], texts, strict=True)), part


def _text(value: Any) -> str:
    """Return a value as it stands in the name of a folder, where no slash may be."""
    return _NO_VALUE if value is None else quote(str(value), safe=" @+,:-_")


def _file_name(kind: ServedKind) -> str:
    what = "".join(sign if sign.isalnum() or sign in "-_" else "-" for sign in kind.service or "features")[:80]
    return f"{what}-c{kind.catalog}-{os.getpid()}-{uuid.uuid4().hex[:12]}.parquet"


def _packed(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return bytes(sink.getvalue())


@dataclass(frozen=True, slots=True)
class ServedFile:
    """A file of logged answers."""

    path: Path
    """Where it is."""
    project: str
    """The project."""
    catalog: int
    """The catalog that answered."""
    asked: tuple[str, ...]
    """What was asked for."""
    service: str
    """The service that was asked for; empty for a list of features."""
    rows: int
    """How many rows it has."""

    def read(self) -> pa.Table:
        """Return its rows, those columns among them whose values the folders have.

        Raises:
            SourceUnreadable: it is damaged.
        """
        try:
            table = pq.ParquetFile(self.path).read()
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(self.path, error) from error
        for name, value in in_folders(table.schema).items():
            table = table.append_column(name, pa.repeat(value, table.num_rows))
        return table


def in_folders(schema: pa.Schema) -> dict[str, pa.Scalar]:
    """Return the values that all rows of a file of a log have, which are in the names of its folders."""
    packed = (schema.metadata or {}).get(_PARTITION)
    if packed is None:
        return {}
    held = pa.ipc.open_stream(base64.b64decode(packed)).read_all()
    return {name: held.column(name)[0] for name in held.column_names}


def served_files(folder: Path) -> Iterator[ServedFile]:
    """Yield the files of a log, by their paths; other files are passed over.

    Raises:
        SourceUnreadable: one of them is damaged, or of a later version.
    """
    for path in sorted(folder.rglob("*.parquet")):
        if path.name.startswith("."):
            continue
        try:
            with pq.ParquetFile(path) as file:
                said, rows = (file.schema_arrow.metadata or {}).get(_SAID), file.metadata.num_rows
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(path, error) from error
        if said is None:
            continue
        told = json.loads(said)
        if told["format"] > FORMAT:
            what = f"{path} is a log of format {told['format']}, and this version reads up to {FORMAT}"
            raise SourceUnreadable(what, cure="read it with a newer version")
        yield ServedFile(path, told["project"], told["catalog"], tuple(told["asked"]), told["service"], rows)


def _unreadable(path: Path, error: Exception) -> SourceUnreadable:
    return SourceUnreadable(f"{path} cannot be read as parquet: {error}", cure="restore the file, or take it away")
