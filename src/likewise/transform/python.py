"""Mode python: a dict of lists in and out, or, for a singleton, a dict of values in and out, once a row.

``None`` is missing and NaN is a number like any other.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from likewise.core.types import Family
from likewise.transform.call import UserCall
from likewise.transform.column import Column
from likewise.transform.mode import ListMode, RowsForm
from likewise.transform.values import array_items

_NESTED = (Family.LIST, Family.SET)
_HOLDING = (*_NESTED, Family.MAP, Family.STRUCT)


class PythonLists(ListMode):
    """Calls a function with all rows at once: a list for each column."""

    # Hot: once per online read.
    def run_lists(self, columns: Mapping[str, list[Any]], rows: int) -> dict[str, list[Any]]:
        """Compute from lists."""
        call = self.call
        answer = call(dict(columns))
        if not isinstance(answer, dict):
            call.wrong_answer(answer, "a dict of lists", "return {'column': [one value for each row], …}")
        if answer.keys() != call.names:
            call.check_names(answer)
        return {column.name: self._column(answer[column.name], column, rows) for column in call.outputs}

    def _column(self, values: Any, column: Column, rows: int) -> list[Any]:
        if isinstance(values, np.ndarray):
            values = array_items(values)
        if not isinstance(values, list | tuple):
            cure = "return a list with one value for each row, or declare singleton=True"
            self.call.wrong_answer(values, f"a list for the column {column.name!r}", cure)
        self.call.check_rows(len(values), rows, f" in the column {column.name!r}")
        taken: list[Any] = self.call.taken(column.lists, values, column)
        return taken


class PythonSingleton(ListMode):
    """Calls a function once for each row: a value for each column."""

    def __init__(self, call: UserCall) -> None:
        super().__init__(call)
        nested = any(column.type.family in _HOLDING for column in call.outputs)
        self._kept = copy.deepcopy if nested else copy.copy  # for a function may return the same dict again and again

    # Hot: once per online read, the loop once per row.
    def run_lists(self, columns: Mapping[str, list[Any]], rows: int) -> dict[str, list[Any]]:
        """Compute from lists, row by row."""
        call, function, kept = self.call, self.call.function, self._kept
        answers: list[Any] = []
        try:
            for row in zip(*columns.values(), strict=True) if columns else ((),) * rows:
                answers.append(kept(function(dict(zip(columns, row, strict=True)))))
        except Exception as error:  # whatever a user's function raises
            raise call.raised(error, at=f" for row {len(answers)}") from error
        self._check(answers)
        return {
            column.name: self._column([answer[column.name] for answer in answers], column) for column in call.outputs
        }

    def _check(self, answers: list[Any]) -> None:
        call = self.call
        for answer in answers:
            if not isinstance(answer, dict):
                call.wrong_answer(answer, "a dict of values", "return {'column': value, …}")
            if answer.keys() != call.names:
                call.check_names(answer)

    def _column(self, values: list[Any], column: Column) -> list[Any]:
        if column.type.family not in _NESTED and list in map(type, values):
            found = next(value for value in values if type(value) is list)
            cure = "return the value itself, or leave singleton=True out of the view"
            self.call.wrong_answer(found, f"one value of {column.type} for the column {column.name!r}", cure)
        taken: list[Any] = self.call.taken(column.lists, values, column)
        return taken


class PythonRows(RowsForm):
    """Whole tables as dicts of lists."""

    noun = "a dict of lists"

    def given(self, rows: pa.Table, columns: Sequence[Column]) -> dict[str, list[Any]]:
        """Return rows as a dict of lists."""
        return {column.name: column.to_lists(rows.column(column.name).combine_chunks()) for column in columns}

    def columns(self, answer: Any) -> Mapping[str, list[Any]]:
        """Return the lists of a dict, which have one length."""
        if not isinstance(answer, dict):
            cure = "return {'column': [one value for each row], …}, or say mode='pandas' for DataFrames"
            self.call.wrong_answer(answer, self.noun, cure)
        found = {name: self._listed(name, values) for name, values in answer.items()}
        lengths = {name: len(values) for name, values in found.items()}
        if len(set(lengths.values())) > 1:
            shown = ", ".join(f"{name!r}: {length}" for name, length in lengths.items())
            self.call.wrong(f"returned lists of different lengths ({shown})", "return one value for each row in each")
        return found

    def _listed(self, name: object, values: Any) -> list[Any]:
        if isinstance(values, np.ndarray):
            values = array_items(values)
        if not isinstance(values, list | tuple):
            self.call.wrong_answer(values, f"a list for the column {name!r}", "return a list with a value for each row")
        return list(values)

    def arrow(self, values: Any, column: Column) -> pa.Array:
        """Return a list as declared."""
        return column.to_arrow(column.lists(values))

    def guessed(self, values: Any) -> pa.Array:
        """Return a list in the type that its values suggest."""
        return pa.array(values)
