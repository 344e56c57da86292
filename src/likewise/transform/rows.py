"""RowsRunner: runs the function of one batch or stream view on whole tables of rows: a source's, or those of a push.

In modes pandas, polars and python the function sees all rows at once, in memory. In mode sql it is given the names of
tables and returns one query, which the offline engine runs, spilling to disk where it must.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from likewise.core.errors import BackendMissing, NotSupported, RequestError
from likewise.core.types import Family
from likewise.plan.scan import Derivation, GivenRows
from likewise.transform.call import UserCall
from likewise.transform.column import Column
from likewise.transform.mode import RowsForm

Query = Callable[[str, Mapping[str, pa.RecordBatchReader]], pa.RecordBatchReader]
"""Runs one SQL query over tables, and returns its rows in order."""
_BATCH = 1 << 16
"""How many rows an answer's batches have at most."""


class RowsRunner:
    """Runs a view's function, and takes what it returns to the declared types.

    Args:
        derivation: what the function is given, and what has to come of it.
        function: the function; None where the rows of the only source are taken as they are.
        query: runs the query of a function in mode sql.

    Raises:
        BackendMissing: the mode needs a library that is not installed.
        NotSupported: the mode is not run by this version.

    Example:
        >>> from likewise.core.types import Float64, Int64
        >>> from likewise.plan.scan import GivenRows, ScanColumn
        >>> user, amount = ScanColumn("user", Int64), ScanColumn("amount", Float64)
        >>> given = GivenRows("payments", (user, amount), None)
        >>> double = ScanColumn("double", Float64)
        >>> plan = Derivation("v", "view 'v'", "python", "1f", (given,), ("user",), (), (user, double))
        >>> def doubled(rows):
        ...     return {"user": rows["user"], "double": [2 * amount for amount in rows["amount"]]}
        >>> rows = pa.table({"user": [1, 2], "amount": [1.5, 2.5]})
        >>> runner = RowsRunner(plan, doubled, lambda sql, tables: rows.to_reader())
        >>> runner.run([rows.to_reader()]).read_all().to_pydict()
        {'user': [1, 2], 'double': [3.0, 5.0]}
    """

    def __init__(self, derivation: Derivation, function: Callable[..., Any] | None, query: Query) -> None:
        self._plan = derivation
        self._query = query
        self._given = [[Column(c.column, c.type) for c in given.columns] for given in derivation.given]
        self._outputs = [Column(column.column, column.type) for column in derivation.outputs]
        self.schema = pa.schema([(column.name, column.arrow_type) for column in self._outputs])
        self._call: UserCall | None = None
        if function is not None:
            inputs = [column for columns in self._given for column in columns]
            self._call = UserCall(derivation.title, _spread(function), inputs, self._outputs)
            self._form = None if derivation.mode == "sql" else _form(derivation)(self._call)

    def run(self, sources: Sequence[pa.RecordBatchReader]) -> pa.RecordBatchReader:
        """Run the function.

        Args:
            sources: the rows of each source, with the columns that the derivation names, in declared types. One that
                names none gives all of its own.

        Returns:
            The outputs, in declared types.

        Raises:
            TransformError: the function failed, or returned something else than the view declares.
        """
        return pa.RecordBatchReader.from_batches(self.schema, self._run(sources))

    def infer(self, sources: Sequence[pa.RecordBatchReader]) -> pa.Schema:
        """Return the columns that the function returns for some rows, in the types that their values suggest.

        Raises:
            TransformError: the function failed, or a column's values are of no type that a feature can have.
        """
        if self._call is None:
            return sources[0].schema
        if self._form is None:
            return pa.schema([(c.name, _plain(c.type)) for c in self._queried(self._call, sources).schema])
        found = self._form.columns(self._answer(self._call, self._form, sources))
        return pa.schema([(str(name), self._guessed(self._form, name, values)) for name, values in found.items()])

    def _run(self, sources: Sequence[pa.RecordBatchReader]) -> Iterator[pa.RecordBatch]:
        if self._call is None:
            yield from self._taken(sources[0])
        elif self._form is None:
            reader = self._queried(self._call, sources)
            self._check(self._call, reader.schema.names)
            yield from self._taken(_refusing(self._call, reader))
        else:
            found = self._form.columns(self._answer(self._call, self._form, sources))
            self._check(self._call, list(found))
            arrow = self._form.arrow
            arrays = [
                self._call.taken(functools.partial(arrow, column=column), found[column.name], column)
                for column in self._outputs
            ]
            yield from pa.table(arrays, schema=self.schema).to_batches(_BATCH)

    def _taken(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield batches with just the outputs, as declared."""
        for batch in batches:
            arrays = [self._declared(batch.column(column.name), column) for column in self._outputs]
            yield pa.record_batch(arrays, schema=self.schema)

    def _declared(self, array: pa.Array, column: Column) -> pa.Array:
        if self._call is None:
            return column.arrow(array)
        return self._call.taken(lambda values: column.arrow(_number(values, column)), array, column)

    def _answer(self, call: UserCall, form: RowsForm, sources: Sequence[pa.RecordBatchReader]) -> Any:
        tables = [source.read_all() for source in sources]
        given = [form.given(table, columns) for table, columns in zip(tables, self._given, strict=True)]
        return call(given, self._hint(f"it is given {form.noun}", [table.column_names for table in tables]))

    def _queried(self, call: UserCall, sources: Sequence[pa.RecordBatchReader]) -> pa.RecordBatchReader:
        tables = dict(zip(_table_names(self._plan.given), sources, strict=True))
        given = self._hint("it is given the name of a table", [source.schema.names for source in sources])
        sql = call([f'"{name}"' for name in tables], given)
        if not isinstance(sql, str):
            call.wrong_answer(sql, "the text of a query", "return f'SELECT … FROM {table}'")
        try:
            return self._query(sql, tables)
        except RequestError as error:
            raise call.error(f"returned a query that does not run: {error.message}", given) from error

    def _hint(self, what: str, names: Sequence[Sequence[str]]) -> str:
        each = "; then ".join(", ".join(map(repr, columns)) for columns in names)
        return f"correct that; {what} with the columns {each}"

    def _check(self, call: UserCall, names: Sequence[str]) -> None:
        """Refuse an answer that lost a key or a time, or that is not what the view declares."""
        for name in [*self._plan.keys, *self._plan.times]:
            if name not in names:
                what = "a key" if name in self._plan.keys else "a time of its rows"
                found = ", ".join(map(repr, names)) or "no columns"
                index = "; in pandas, reset_index() turns an index into columns" if self._plan.mode == "pandas" else ""
                call.wrong(f"did not return the column {name!r}, {what}; it returned {found}", f"keep it{index}")
        call.check_names([name for name in names if name in call.names] if self._plan.is_open else names)

    def _guessed(self, form: RowsForm, name: str, values: Any) -> pa.DataType:
        try:
            return form.guessed(values).type
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            assert self._call is not None
            what = f"returned the column {name!r}, whose type cannot be told: {error}"
            raise self._call.error(what, "declare it in schema=") from error


def _spread(function: Callable[..., Any]) -> Callable[[Sequence[Any]], Any]:
    """Return a function of one list that gives each of its items as an argument."""

    @functools.wraps(function)
    def call(given: Sequence[Any]) -> Any:
        return function(*given)

    return call


def _form(derivation: Derivation) -> type[RowsForm]:
    """Return the mode's class; each imports only its own library."""
    if derivation.mode == "python":
        from likewise.transform.python import PythonRows

        return PythonRows
    if derivation.mode == "pandas":
        from likewise.transform.pandas import PandasRows

        return PandasRows
    if derivation.mode == "polars":
        return _polars(derivation)
    raise NotSupported(
        f"{derivation.title}: mode={derivation.mode!r} is not run", cure="use 'pandas', 'polars', 'python' or 'sql'"
    )


def _polars(derivation: Derivation) -> type[RowsForm]:
    try:
        from likewise.transform.polars import PolarsRows
    except ModuleNotFoundError as error:
        if error.name != "polars":
            raise
        what = f"{derivation.title}: mode='polars' needs polars, which is not installed"
        raise BackendMissing(what, cure='pip install "likewise[polars]"') from error
    return PolarsRows


def _table_names(given: Sequence[GivenRows]) -> list[str]:
    """Return a name for each table, different ones also where two sources have one name."""
    names: list[str] = []
    for rows in given:
        names.append(rows.table if rows.table not in names else f"{rows.table}_{len(names) + 1}")
    return names


def _refusing(call: UserCall, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """Yield a query's rows; where it fails on the way, that is the function's fault."""
    try:
        yield from reader
    except RequestError as error:
        raise call.error(f"returned a query that does not run: {error.message}", "mend the SQL") from error


def _number(array: pa.Array, column: Column) -> pa.Array:
    """Return what SQL computes in decimals, such as a sum of integers, as the number that is declared."""
    if not pa.types.is_decimal(array.type) or column.type.family not in (Family.INT, Family.FLOAT):
        return array
    try:
        return array.cast(pa.float64() if column.type.family is Family.FLOAT else pa.int64())
    except pa.ArrowInvalid:  # a fraction, or beyond 64 bits: the column says which value
        return array


def _plain(kind: pa.DataType) -> pa.DataType:
    """Return the type of a query's column; DuckDB's 128-bit integers, such as its sums of integers, count as Int64."""
    is_whole = pa.types.is_decimal(kind) and kind.precision == 38 and kind.scale == 0
    return pa.int64() if is_whole else kind
