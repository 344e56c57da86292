"""Mode polars: a polars DataFrame in and out; null is missing and NaN is a number like any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
import pyarrow as pa

from likewise.transform.column import Column
from likewise.transform.mode import FrameMode, RowsForm


class PolarsFrames(FrameMode):
    """Calls a function with a polars DataFrame whose column types are those declared, whatever the rows hold."""

    def run_arrow(self, columns: Mapping[str, pa.Array], rows: int) -> dict[str, pa.Array]:
        """Compute from Arrow columns, which polars reads without a copy and never writes."""
        call = self.call
        answer = call(pl.DataFrame({name: pl.Series(name, column) for name, column in columns.items()}))
        if not isinstance(answer, pl.DataFrame):
            cure = "return frame.collect()" if isinstance(answer, pl.LazyFrame) else "return frame.select(…)"
            call.wrong_answer(answer, "a polars DataFrame", cure)
        call.check_names(answer.columns)
        call.check_rows(answer.height, rows)
        return {
            column.name: call.taken(column.arrow, answer[column.name].to_arrow(), column) for column in call.outputs
        }


class PolarsRows(RowsForm):
    """Whole tables as polars DataFrames, whose column types are those declared; a LazyFrame is collected."""

    noun = "a polars DataFrame"

    def given(self, rows: pa.Table, columns: Sequence[Column]) -> pl.DataFrame:
        """Return rows as a DataFrame."""
        return pl.DataFrame({column.name: pl.Series(column.name, rows.column(column.name)) for column in columns})

    def columns(self, answer: Any) -> Mapping[str, pl.Series]:
        """Return the columns of a DataFrame."""
        if isinstance(answer, pl.LazyFrame):
            answer = self.call.guarded(answer.collect)
        if not isinstance(answer, pl.DataFrame):
            self.call.wrong_answer(answer, self.noun, "return frame.select(…)")
        return {name: answer[name] for name in answer.columns}

    def arrow(self, values: Any, column: Column) -> pa.Array:
        """Return a Series as declared."""
        return column.arrow(values.to_arrow())

    def guessed(self, values: Any) -> pa.Array:
        """Return a Series in its own type."""
        return values.to_arrow()
