"""Mode pandas: a pandas DataFrame in and out.

A column's dtype depends on the row itself and on nothing else, because pandas computes differently with other dtypes
(``7 // 0`` is inf in int64 and 0 in Int64). Rows whose integers and bools are all there come as int64, int32 and bool;
rows that lack one come in a call of their own, in which these columns are Int64, Int32 and boolean, with NA.
So no row changes another's dtype, and no integer passes through a float.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from likewise.core.types import Family, FeatureType
from likewise.transform.call import UserCall
from likewise.transform.column import Column
from likewise.transform.mode import FrameMode, RowsForm

Maker = Callable[[pa.Array], Any]
"""Makes of an Arrow column what a DataFrame takes as one; the DataFrame copies it."""

_TEXT: Any = pd.StringDtype(na_value=np.nan)
_TIME: Any = pd.DatetimeTZDtype("us", "UTC")
_MASKED: Mapping[str, Any] = {"Bool": pd.BooleanDtype(), "Int32": pd.Int32Dtype(), "Int64": pd.Int64Dtype()}


class PandasFrames(FrameMode):
    """Calls a function with a DataFrame, or with two where some rows lack an integer or a bool."""

    def __init__(self, call: UserCall) -> None:
        super().__init__(call)
        self._whole = {column.name: _maker(column) for column in call.inputs}
        self._nullable = {column.name: column for column in call.inputs if column.type.name in _MASKED}
        self._holed = self._whole | {name: _masked(column) for name, column in self._nullable.items()}
        self._takers = tuple((column, _Returned(column).arrow) for column in call.outputs)

    def run_arrow(self, columns: Mapping[str, pa.Array], rows: int) -> dict[str, pa.Array]:
        """Compute from Arrow columns."""
        lacking = [name for name in self._nullable if columns[name].null_count]
        if not lacking:
            return self._frame(columns, self._whole, range(rows))
        hint = _hint(lacking, self._nullable[lacking[0]])
        holes = np.logical_or.reduce([columns[name].is_null().to_numpy(zero_copy_only=False) for name in lacking])
        if holes.all():
            return self._frame(columns, self._holed, range(rows), hint)
        return self._apart(columns, holes, hint)

    def _apart(self, columns: Mapping[str, pa.Array], holes: np.ndarray[Any, Any], hint: str) -> dict[str, pa.Array]:
        parts = [np.flatnonzero(~holes), np.flatnonzero(holes)]
        whole, holed = ({name: column.take(pa.array(part)) for name, column in columns.items()} for part in parts)
        first = self._frame(whole, self._whole, parts[0].tolist())
        second = self._frame(holed, self._holed, parts[1].tolist(), hint)
        order = pa.array(np.argsort(np.concatenate(parts)))
        return {name: pa.concat_arrays([first[name], second[name]]).take(order) for name in first}

    def _frame(
        self, columns: Mapping[str, pa.Array], makers: Mapping[str, Maker], rows: Sequence[int], hint: str = ""
    ) -> dict[str, pa.Array]:
        """Call the function with these rows; ``rows`` holds their numbers in the caller's batch."""
        call = self.call
        given = pd.DataFrame(
            {name: make(columns[name]) for name, make in makers.items()}, index=pd.RangeIndex(len(rows))
        )
        answer = call(given, hint)
        if not isinstance(answer, pd.DataFrame):
            cure = "return series.to_frame('column')" if isinstance(answer, pd.Series) else "return pd.DataFrame({…})"
            call.wrong_answer(answer, "a pandas DataFrame", cure)
        call.check_names(answer.columns)
        call.check_rows(len(answer), len(rows))
        answer = _in_order(answer, call)
        return {column.name: call.taken(take, answer[column.name], column, rows) for column, take in self._takers}


class PandasRows(RowsForm):
    """Whole tables as DataFrames; integers and bools are Int64, Int32 and boolean whether or not one is missing."""

    noun = "a pandas DataFrame"

    def given(self, rows: pa.Table, columns: Sequence[Column]) -> pd.DataFrame:
        """Return rows as a DataFrame with an index from 0."""
        makers = {column.name: _masked(column) if column.type.name in _MASKED else _maker(column) for column in columns}
        arrays = {name: rows.column(name).combine_chunks() for name in makers}
        return pd.DataFrame(
            {name: make(arrays[name]) for name, make in makers.items()}, index=pd.RangeIndex(rows.num_rows)
        )

    def columns(self, answer: Any) -> Mapping[str, pd.Series]:
        """Return the columns of a DataFrame; its index counts for nothing."""
        if not isinstance(answer, pd.DataFrame):
            cure = "return series.to_frame('column')" if isinstance(answer, pd.Series) else "return pd.DataFrame({…})"
            self.call.wrong_answer(answer, self.noun, cure)
        for name in answer.columns[answer.columns.duplicated()]:
            self.call.wrong(f"returned two columns named {name!r}", "return each column once")
        return {name: answer[name] for name in answer.columns}

    def arrow(self, values: Any, column: Column) -> pa.Array:
        """Return a Series as declared."""
        return _Returned(column).arrow(values)

    def guessed(self, values: Any) -> pa.Array:
        """Return a Series in the type that its values suggest."""
        array = None if values.dtype == object else _as_arrow(values)
        return pa.array(values, from_pandas=True) if array is None else array


def _hint(lacking: Sequence[str], first: Column) -> str:
    names = ", ".join(map(repr, lacking))
    nothing = "False" if first.type.family is Family.BOOL else "0"
    return (
        f"rows that lack an integer or a bool ({names}) come with NA, in dtypes Int64, Int32 and boolean, "
        f"in a call of their own; fill them first: frame[{lacking[0]!r}].fillna({nothing})"
    )


# What the function is given.


def _maker(column: Column) -> Maker:
    family = column.type.family
    if family in (Family.TEXT, Family.UUID):
        return lambda array: _TEXT.__from_arrow__(array)
    if family is Family.TIME:
        return lambda array: _TIME.__from_arrow__(array)
    if family in (Family.BOOL, Family.INT, Family.FLOAT):
        return _numbers
    if family in (Family.LIST, Family.SET) and column.type.inner is not None:
        return _cells(column, column.type.inner)
    return lambda array: _objects(column.to_lists(array))


def _masked(column: Column) -> Maker:
    maker: Maker = _MASKED[column.type.name].__from_arrow__
    return maker


def _numbers(array: pa.Array) -> np.ndarray[Any, Any]:
    numbers: np.ndarray[Any, Any] = array.to_numpy(zero_copy_only=False)
    return numbers


def _objects(values: Sequence[Any]) -> np.ndarray[Any, Any]:
    return np.fromiter(values, dtype=object, count=len(values))


def _cells(column: Column, inner: FeatureType) -> Maker:
    """Make each list a numpy array: of its own dtype for numbers, bools and times, of objects for the rest."""
    family = inner.family

    def make(array: pa.Array) -> np.ndarray[Any, Any]:
        items = array.flatten()
        exact = family is Family.FLOAT or (family in (Family.INT, Family.BOOL) and not items.null_count)
        if not exact and family is not Family.TIME:
            return _objects([None if cell is None else _cell(cell, column) for cell in column.to_lists(array)])
        flat = (items.cast(pa.timestamp("us")) if family is Family.TIME else items).to_numpy(zero_copy_only=False)
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
        cells = _objects(np.split(flat.copy(), np.cumsum(lengths)[:-1]))
        cells[array.is_null().to_numpy(zero_copy_only=False)] = None
        return cells

    return make


def _cell(values: list[Any], column: Column) -> np.ndarray[Any, Any]:
    """Make one list a numpy array; an integer or a bool that is missing in it makes it one of objects."""
    inner = column.type.inner
    if inner is not None and inner.family in (Family.INT, Family.BOOL) and None not in values:
        return np.array(values, dtype=inner.name.lower())
    return _objects(values)


# What it returned.


def _in_order(answer: pd.DataFrame, call: UserCall) -> pd.DataFrame:
    """Bring the rows back into the order of the rows given, by the index; refuse an index that does not tell it."""
    index = answer.index
    rows = pd.RangeIndex(len(answer))
    if index.equals(rows):
        return answer
    whole = index.name is None and index.dtype.kind in "iu" and index.is_unique
    if whole and index.min() == 0 and index.max() == len(rows) - 1:
        return answer.reindex(rows)
    found = f"{index.name!r} " * (index.name is not None) + reprlib.repr(index.tolist())
    return call.wrong(
        f"returned rows whose index, {found}, is not that of the rows given, 0 to {len(rows) - 1}",
        "keep the index of the frame given; where the rows are in its order, reset_index(drop=True) restores it",
    )


class _Returned:
    """Takes a Series to a declared column; NaN, NaT, NA and None are null, for pandas does not tell them apart."""

    __slots__ = ("_column",)

    def __init__(self, column: Column) -> None:
        self._column = column

    def arrow(self, series: pd.Series) -> pa.Array:
        """Return the Series as declared."""
        array = None if series.dtype == object else _as_arrow(series)
        if array is None:
            missing = series.isna().tolist()
            values = [None if lost else value for value, lost in zip(series.tolist(), missing, strict=True)]
            return self._column.to_arrow(self._column.lists(values))
        return self._column.arrow(array)


def _as_arrow(series: pd.Series) -> pa.Array | None:
    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "biuf":
        return pa.array(series.to_numpy(), from_pandas=True)
    try:
        array = pa.array(series.array, from_pandas=True)
    except (pa.ArrowException, TypeError):  # a dtype that Arrow has not
        return None
    whole = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    if pa.types.is_floating(whole.type) and pc.any(pc.is_nan(whole)).as_py():  # as an ArrowDtype may hold
        return pc.if_else(pc.is_nan(whole), pa.scalar(None, whole.type), whole)
    return whole
