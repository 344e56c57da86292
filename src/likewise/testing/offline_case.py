"""What the tests of an offline engine share: the two hooks of a backend, and short words for sources and plans.

In these tests a source's columns are ``at`` (event time), ``made`` (created time), ``k`` (key) and ``v`` (value)
unless a test says otherwise, and a time is a number of microseconds after :data:`T`.
"""

from __future__ import annotations

import csv
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from likewise.core.errors import BackendMissing, LikewiseError
from likewise.core.types import FeatureType, Int64, arrow_type
from likewise.offline.base import CREATED_TIME, EVENT_TIME, OfflineEngine, Part, Span
from likewise.plan.scan import Location, Scan, ScanColumn
from likewise.plan.training import AsOfJoin, TrainingPlan
from likewise.testing.conformance import Conformance
from likewise.testing.reference_values import plain_values
from likewise.testing.values import exact_all

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
    import pytest
except ImportError as missing:
    raise BackendMissing("the suites need pytest", cure='pip install "likewise[testing]"') from missing

T = 1_700_000_000_000_000
"""2023-11-14T22:13:20Z: the time that tests count from."""
DAY = 86_400_000_000
"""A day in microseconds."""
US = pa.timestamp("us", tz="UTC")
"""The type of times that come and go."""
ALWAYS = Span(None, None)
"""All times."""
WHOLE = Part()
"""All keys."""


class OfflineEngineCase(Conformance, ABC):
    """The hooks that a backend's tests fill in, and what its tests do with an engine."""

    sql = True
    """Whether the engine runs SQL queries; the tests of ``query`` are skipped where it does not."""

    @abstractmethod
    def engine(self) -> OfflineEngine:
        """Return a new engine; each test closes its own."""

    def write(self, path: Path, table: pa.Table, row_group: int | None = None) -> None:
        """Put a table where the engine reads files from, around the engine.

        Args:
            path: where; its ending names the format.
            table: the rows; in a CSV file each value is its text.
            row_group: the number of rows in a row group, where the format has them; None is as it comes.
        """
        self.store(path, _file_bytes(path.suffix, table, row_group))

    def store(self, path: Path, content: bytes) -> None:
        """Put a file's bytes where the engine reads files from, around the engine."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def stored(self, folder: Path) -> dict[str, bytes]:
        """Return all files below a folder, path to bytes, around the engine."""
        return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}

    @pytest.fixture
    def subject(self) -> Iterator[OfflineEngine]:
        """Give a test its engine."""
        engine = self.engine()
        yield engine
        engine.close()

    def put(self, folder: Path, **files: pa.Table) -> Location:
        """Write Parquet files, named by the arguments, into a folder, and return the folder as a source."""
        for name, table in files.items():
            self.write(folder / f"{name}.parquet", table)
        return Location(str(folder), "parquet")

    def train(
        self,
        engine: OfflineEngine,
        spine: pa.Table | pa.RecordBatchReader,
        *joins: AsOfJoin,
        known_by: bool = False,
        time: str = "t",
    ) -> pa.Table:
        """Return a training set, after checking what every training set has to be (S8)."""
        whole = spine if isinstance(spine, pa.Table) else None
        answer = engine.training(plan_of(*joins, known_by=known_by, time=time), spine).read_all()
        if whole is not None:
            given, back = whole.schema, answer.select(range(whole.num_columns)).schema
            assert back.names == given.names, "the entity rows' columns come first, in their order"
            assert back.types == given.types, "the entity rows' columns keep their types"
            for number, name in enumerate(given.names):
                expected, got = whole.column(number), answer.column(number)
                assert exact_all(plain_values(got)) == exact_all(plain_values(expected)), f"column {name!r} is as given"
        outputs = [(name, c.type) for join in joins for name, c in zip(join.outputs, join.scan.columns, strict=True)]
        fields = list(answer.schema)[len(answer.schema) - len(outputs) :]
        assert [(f.name, f.type) for f in fields] == [(name, arrow_type(kind)) for name, kind in outputs]
        return answer

    def trained(self, engine: OfflineEngine, spine: pa.Table, *joins: AsOfJoin, known_by: bool = False) -> list[Any]:
        """Return the values of a training set's last column."""
        return plain_values(self.train(engine, spine, *joins, known_by=known_by).columns[-1])


def table(columns: Mapping[str, Sequence[Any]] | None = None, **more: Any) -> pa.Table:
    """Return a table from lists or Arrow arrays; ``at`` and ``made`` are naive times in microseconds.

    Example:
        >>> table(at=[T], k=[1]).schema.types
        [TimestampType(timestamp[us]), DataType(int64)]
    """
    given = {**(columns or {}), **more}
    times = {"at", "made"}
    naive = pa.timestamp("us")
    return pa.table({n: pa.array(v, naive) if n in times and isinstance(v, list) else v for n, v in given.items()})


def spine(t: Sequence[int | None], **columns: Any) -> pa.Table:
    """Return entity rows with their time column ``t`` in front.

    Example:
        >>> spine([T], k=[1]).column_names
        ['t', 'k']
    """
    return pa.table({"t": pa.array(t, US), **columns})


def scan(
    location: Location | Path,
    *,
    keys: Mapping[str, FeatureType] | None = None,
    columns: Mapping[str, FeatureType] | None = None,
    time: str = "at",
    created: str = "",
) -> Scan:
    """Return a scan of a source, with the key ``k`` and the value ``v`` (both Int64) by default.

    Example:
        >>> scan(Path("a.csv")).location.format
        'csv'
    """
    if isinstance(location, Path):
        location = Location(str(location), {".csv": "csv", ".jsonl": "jsonl"}.get(location.suffix, "parquet"))
    return Scan(
        view="the_view",
        location=location,
        time=time,
        created=created,
        keys=_columns({"k": Int64} if keys is None else keys),
        columns=_columns({"v": Int64} if columns is None else columns),
    )


def join(
    scan: Scan, spine_keys: Sequence[str] | None = None, outputs: Sequence[str] | None = None, ttl: int | None = None
) -> AsOfJoin:
    """Return a join of a scan; by default the entity rows' keys are called as in the source, the outputs ``out_…``.

    Example:
        >>> join(scan(Path("a.parquet"))).outputs
        ('out_v',)
    """
    keys = [key.column for key in scan.keys] if spine_keys is None else spine_keys
    names = [f"out_{column.column}" for column in scan.columns] if outputs is None else outputs
    return AsOfJoin(scan, tuple(keys), tuple(names), ttl)


def plan_of(*joins: AsOfJoin, known_by: bool = False, time: str = "t") -> TrainingPlan:
    """Return the plan that makes some joins and asks for all of their outputs."""
    types = {name: key.type for one in joins for name, key in zip(one.spine_keys, one.scan.keys, strict=True)}
    features = [
        (name, name, column.type) for one in joins for name, column in zip(one.outputs, one.scan.columns, strict=True)
    ]
    return TrainingPlan(
        project="test",
        catalog=1,
        time=time,
        spine_types=tuple(types.items()),
        joins=joins,
        on_demand=(),
        features=tuple(features),
        known_by=known_by,
    )


def latest(
    engine: OfflineEngine, scan: Scan, span: Span = ALWAYS, part: Part = WHOLE
) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Return what ``latest`` gives as key to (event, created, values …), after checking that no key comes twice."""
    answer = taken(engine.latest(scan, span, part), scan)
    found = {row[: len(scan.keys)]: row[len(scan.keys) :] for row in answer}
    assert len(found) == len(answer), "each key comes once"
    return found


def rows(engine: OfflineEngine, scan: Scan, span: Span = ALWAYS) -> list[tuple[Any, ...]]:
    """Return what ``rows`` gives as tuples of keys, event, created, values."""
    return taken(engine.rows(scan, span), scan)


def taken(batches: Iterable[pa.RecordBatch], scan: Scan) -> list[tuple[Any, ...]]:
    """Return the rows of the batches of a scan as tuples, after checking the columns' names and types."""
    wanted = [(key.column, arrow_type(key.type)) for key in scan.keys]
    wanted += [(EVENT_TIME, US), (CREATED_TIME, US)]
    wanted += [(f"f{number}", arrow_type(column.type)) for number, column in enumerate(scan.columns)]
    found: list[tuple[Any, ...]] = []
    for batch in batches:
        assert [(field.name, field.type) for field in batch.schema] == wanted
        found.extend(zip(*(plain_values(column) for column in batch.columns), strict=True))
    return found


def shown(parameter: object) -> str | None:
    """Return a short name for a parameter of a test: an array by its type; None leaves it to pytest."""
    if isinstance(parameter, pa.Array):
        return str(parameter.type)
    return str(parameter) if isinstance(parameter, FeatureType | pa.DataType) else None


def refused(act: Callable[[], Iterable[Any]], error: type[LikewiseError], *words: str) -> None:
    """Check that an act is refused before it gives a row, with an error that has all of these words in it.

    What gives batches is read to its end: an engine may find out as late as that, but not after a row.
    """
    given: list[int] = []
    with pytest.raises(error) as caught:
        given.extend(batch.num_rows for batch in act())
    assert sum(given) == 0, "it is refused before any row is given"
    missing = [word for word in words if word not in str(caught.value)]
    assert not missing, f"the message {str(caught.value)!r} lacks {missing}"


def _columns(columns: Mapping[str, FeatureType]) -> tuple[ScanColumn, ...]:
    return tuple(ScanColumn(name, kind) for name, kind in columns.items())


def _file_bytes(ending: str, table: pa.Table, row_group: int | None) -> bytes:
    if ending == ".parquet":
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, row_group_size=row_group)
        return bytes(sink.getvalue())
    text = io.StringIO(newline="")
    if ending == ".csv":
        lines = csv.writer(text)
        lines.writerow(table.column_names)
        lines.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))
    else:
        text.writelines(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in table.to_pylist())
    return text.getvalue().encode()
