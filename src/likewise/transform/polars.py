"""Mode polars: a polars DataFrame in and out; null is missing and NaN is a number like any other."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
import pyarrow as pa

from likewise.transform.mode import FrameMode


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
