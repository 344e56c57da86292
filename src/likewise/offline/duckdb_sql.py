"""SQL: what DuckDB does for the engine: number keys of any type, list distinct keys, and run a caller's query.

Statements are built as syntax trees; the columns they name are the engine's own (``k0``, ``k1`` …), never a caller's.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from sqlglot import exp

from likewise.core.errors import LikewiseError, RequestError, SourceError

BATCH = 1 << 17
"""How many rows DuckDB returns at a time."""
_CODE, _ROWS, _KEYS = "code", "source_rows", "entity_keys"
"""The column of a key's number, and the names of the two tables."""


@dataclass(frozen=True, slots=True)
class Session:
    """How DuckDB is to be set up."""

    memory: int
    """How many bytes it may use before it spills."""
    threads: int
    """How many threads it may use."""
    folder: str
    """Where it spills; empty: the system's folder."""
    search: str = ""
    """The folder that relative paths in a query start from, after the working folder; empty: none."""

    @contextlib.contextmanager
    def connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open an empty database in memory, and close it at the end."""
        # Two databases that spill into one folder would overwrite each other's files.
        place = Path(self.folder or tempfile.gettempdir())
        place.mkdir(parents=True, exist_ok=True)
        folder = str(place / f"likewise-spill-{uuid.uuid4().hex}")
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": f"{max(self.memory >> 10, 64 << 10)}KiB",
            "threads": self.threads,
            "temp_directory": folder,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,
            "file_search_path": self.search,
        }
        with contextlib.closing(duckdb.connect(config=settings)) as connection:
            connection.execute("SET enable_progress_bar = false")
            connection.execute("SET TimeZone = 'UTC'")
            yield connection
        shutil.rmtree(folder, ignore_errors=True)


class SqlMatcher:
    """Matches keys of any types with DuckDB's hash tables, which spill.

    Args:
        session: how to set DuckDB up.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def number(
        self, keys: Sequence[pa.Array], schema: pa.Schema, rows: Iterable[pa.RecordBatch]
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows that have one of some keys, in any order, with the key's number as their column ``code``."""
        names, others = schema.names[: len(keys)], schema.names[len(keys) :]
        query = exp.select(_CODE, *others).from_(_ROWS).join(_KEYS, using=names, join_type="inner")
        with self._over(schema, rows) as connection:
            numbers = np.arange(len(keys[0]), dtype=np.int64)
            connection.register(_KEYS, pa.table([*keys, numbers], [*names, _CODE]))
            # Without these it would hash the rows, as it cannot know how many there are, and not the keys.
            connection.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
            yield from connection.sql(query.sql("duckdb")).to_arrow_reader(BATCH)

    def latest(
        self, keys: Sequence[str], schema: pa.Schema, rows: Iterable[pa.RecordBatch]
    ) -> Iterator[pa.RecordBatch]:
        """Yield, without its key, the greatest row of each key, compared column by column."""
        others = [name for name in schema.names if name not in keys]
        row = exp.Struct(expressions=[_named(name) for name in others])
        greatest = exp.select(exp.Max(this=row).as_("row")).from_(_ROWS).group_by(*keys)
        query = exp.select(
            *(exp.Dot(this=exp.column("row"), expression=exp.to_identifier(name)).as_(name) for name in others)
        )
        with self._over(schema, rows) as connection:
            sql = query.from_(greatest.subquery("found")).sql("duckdb")
            yield from connection.sql(sql).to_arrow_reader(BATCH)

    @contextlib.contextmanager
    def _over(self, schema: pa.Schema, rows: Iterable[pa.RecordBatch]) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open a database that reads some rows; an error among the rows comes out as what it is."""
        with _own_errors(rows) as noting:
            try:
                with self._session.connection() as connection:
                    connection.execute("SET preserve_insertion_order = false")
                    connection.register(_ROWS, pa.RecordBatchReader.from_batches(schema, noting))
                    yield connection
            except (duckdb.Error, pa.ArrowException, OSError) as error:
                cure = "raise memory_limit, or make room in temp_directory"
                raise SourceError(f"DuckDB cannot match the keys of a source: {error}", cure=cure) from error


def _named(name: str) -> exp.Expression:
    return exp.PropertyEQ(this=exp.to_identifier(name), expression=exp.column(name))


def run_query(
    session: Session, sql: str, tables: Mapping[str, pa.RecordBatchReader] | None = None
) -> pa.RecordBatchReader:
    """Run one query of a caller, and return its rows in their order.

    Over tables it reads nothing else, and runs on one thread, so that rows without an order come in one order.

    Args:
        session: how to set DuckDB up.
        sql: the query.
        tables: the tables that it reads, by name, each once; None: it reads files.

    Raises:
        RequestError: it is not one query, or it cannot run.
    """
    with contextlib.ExitStack() as stack, _refusing(sql):
        connection = stack.enter_context(session.connection())
        if tables is not None:
            _fill(connection, tables)
        statements = connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type is not duckdb.StatementType.SELECT:
            raise RequestError(f"the text {sql[:200]!r} is not one SQL query", cure="give one SELECT")
        reader = connection.sql(statements[0].query).to_arrow_reader(BATCH)
        return pa.RecordBatchReader.from_batches(reader.schema, _drained(reader, sql, stack.pop_all()))


def _fill(connection: duckdb.DuckDBPyConnection, tables: Mapping[str, pa.RecordBatchReader]) -> None:
    """Copy rows into tables, which spill, as a query may read them more than once; then shut the files away."""
    connection.execute("SET threads = 1")
    for name, rows in tables.items():
        with _own_errors(rows) as noting:
            connection.register(_ROWS, pa.RecordBatchReader.from_batches(rows.schema, noting))
            made = exp.Create(
                this=exp.Table(this=exp.to_identifier(name, quoted=True)),
                kind="TABLE",
                expression=exp.select("*").from_(_ROWS),
            )
            connection.execute(made.sql("duckdb"))
            connection.unregister(_ROWS)
    connection.execute("SET enable_external_access = false")


@contextlib.contextmanager
def _own_errors(rows: Iterable[pa.RecordBatch]) -> Iterator[Iterator[pa.RecordBatch]]:
    """Give rows to DuckDB; an error among them comes out as what it is."""
    errors: list[Exception] = []

    def noting() -> Iterator[pa.RecordBatch]:
        try:
            yield from rows
        except Exception as error:
            errors.append(error)
            raise

    try:
        yield noting()
    except Exception as error:
        if errors:
            raise errors[0] from error
        raise


def _drained(reader: pa.RecordBatchReader, sql: str, stack: contextlib.ExitStack) -> Iterator[pa.RecordBatch]:
    with stack, _refusing(sql):
        yield from reader


@contextlib.contextmanager
def _refusing(sql: str) -> Iterator[None]:
    try:
        yield
    except LikewiseError:  # of the rows it reads, some of which are OSErrors as well
        raise
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        raise RequestError(f"the query {sql[:200]!r} cannot run: {error}", cure="mend the SQL") from error
