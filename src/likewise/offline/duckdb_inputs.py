"""Inputs: the values that windows aggregate, computed from the columns of events, the same for files and for pushes."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence

import duckdb
import pyarrow as pa

from likewise.core.columns import Column, conform
from likewise.core.errors import SourceError
from likewise.define.aggregation import ROWS
from likewise.offline.duckdb_sql import Session
from likewise.plan.expression import quoted
from likewise.plan.windows import WindowInput

_EVENTS = "events"


class Evaluator:
    """Computes the expressions of windows' inputs, in one query for all of them.

    Its database stays open between calls, so that a push of one event does not wait for a new one.

    Args:
        session: how DuckDB is set up.

    Example:
        >>> from likewise.core.types import Int64
        >>> large = WindowInput("amount", '"amount" > 5', Int64, ("amount",))
        >>> evaluator = Evaluator(Session(1 << 28, 1, ""))
        >>> evaluator.values(pa.table({"amount": [3, 7]}), [large])[0].to_pylist()
        [None, 7]
        >>> evaluator.close()
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._open: tuple[int, contextlib.ExitStack, duckdb.DuckDBPyConnection] | None = None  # with its process

    def values(self, rows: pa.Table, inputs: Sequence[WindowInput]) -> list[Column]:
        """Return the values of each input.

        Args:
            rows: the events' columns, by their names in the view, in their declared types; one column at least, as a
                table without columns has no rows.
            inputs: what to compute.

        Raises:
            SourceError: an expression fails on a value.
        """
        computed = [given for given in inputs if given.expression != ROWS or given.where]
        computed = [given for given in computed if not given.plain]
        found = dict(zip(computed, self._run(rows, computed), strict=True)) if computed else {}
        return [found[given] if given in found else _plain(rows, given) for given in inputs]

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            if self._open is not None:
                self._open[1].close()
                self._open = None

    def _run(self, rows: pa.Table, inputs: Sequence[WindowInput]) -> list[Column]:
        names = list(dict.fromkeys(name for given in inputs for name in given.columns))
        events = pa.table([_naive(rows.column(name)) for name in names], names) if names else rows
        chosen = ", ".join(f"{_sql(given)} AS i{number}" for number, given in enumerate(inputs))
        cursor = self._connection().cursor()
        try:
            cursor.register(_EVENTS, events)
            found: pa.Table = cursor.sql(f"SELECT {chosen} FROM {_EVENTS}").to_arrow_table()
        except duckdb.Error as error:
            said = str(error).partition("\n")[0].rstrip(". ")
            what = f"the inputs of windows cannot be computed with SELECT {chosen}: {said}"
            raise SourceError(what, cure="use try_cast, or mend the value") from error
        finally:
            cursor.close()
        return [
            conform(column, given.type, f"the expression {given.expression!r}")
            for column, given in zip(found.columns, inputs, strict=True)
        ]

    def _connection(self) -> duckdb.DuckDBPyConnection:
        """Return the open database; a process that was forked opens its own."""
        with self._lock:
            if self._open is None or self._open[0] != os.getpid():
                stack = contextlib.ExitStack()
                self._open = os.getpid(), stack, stack.enter_context(self._session.connection())
            return self._open[2]


def _plain(rows: pa.Table, given: WindowInput) -> Column:
    """Return what no SQL need compute: a column as it is, or the constant 1."""
    if given.expression == ROWS:
        return pa.repeat(pa.scalar(1, pa.int64()), rows.num_rows)
    return conform(rows.column(given.expression), given.type, f"column {given.expression!r}")


def _sql(given: WindowInput) -> str:
    value = "1" if given.expression == ROWS else given.expression
    if given.expression in given.columns:
        value = quoted(given.expression)
    return f"CASE WHEN ({given.where}) THEN ({value}) END" if given.where else f"({value})"


def _naive(column: Column) -> Column:
    """Return times as expressions see them (:func:`likewise.offline.duckdb_expression.column_type`)."""
    return column.cast(pa.timestamp("us")) if pa.types.is_timestamp(column.type) else column
