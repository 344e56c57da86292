"""Mode: how a function wants its rows. One module per mode, all of these shapes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pyarrow as pa

from likewise.transform.call import UserCall
from likewise.transform.column import Column


class Mode(ABC):
    """Calls a function with rows in the form it wants, and takes its answer to the declared types.

    A mode has one body, for Arrow columns or for lists, and derives the other from it, so both are one arithmetic.
    """

    def __init__(self, call: UserCall) -> None:
        self.call = call

    @abstractmethod
    def run_arrow(self, columns: Mapping[str, pa.Array], rows: int) -> dict[str, pa.Array]:
        """Compute from Arrow columns that are as declared, at least one row."""

    @abstractmethod
    def run_lists(self, columns: Mapping[str, list[Any]], rows: int) -> dict[str, list[Any]]:
        """Compute from Python values that are as declared and the function's to keep, at least one row."""


class ListMode(Mode):
    """A mode whose function takes Python values."""

    def run_arrow(self, columns: Mapping[str, pa.Array], rows: int) -> dict[str, pa.Array]:
        """Compute from Arrow columns, by way of lists."""
        given = {column.name: column.to_lists(columns[column.name]) for column in self.call.inputs}
        answer = self.run_lists(given, rows)
        return {column.name: column.to_arrow(answer[column.name]) for column in self.call.outputs}


class FrameMode(Mode):
    """A mode whose function takes a DataFrame."""

    def run_lists(self, columns: Mapping[str, list[Any]], rows: int) -> dict[str, list[Any]]:
        """Compute from lists, by way of Arrow."""
        given = {column.name: column.to_arrow(columns[column.name]) for column in self.call.inputs}
        answer = self.run_arrow(given, rows)
        return {column.name: column.to_lists(answer[column.name]) for column in self.call.outputs}


class RowsForm(ABC):
    """Gives whole tables of rows to the function of a batch or stream view, and takes what it returns.

    A column's form depends on its declared type and on nothing else, never on the rows: so a few rows that are pushed
    come just as a whole source does.
    """

    noun: ClassVar[str]
    """What the function is given, in words."""

    def __init__(self, call: UserCall) -> None:
        self.call = call

    @abstractmethod
    def given(self, rows: pa.Table, columns: Sequence[Column]) -> Any:
        """Return rows, whose columns are as declared, as the function wants them."""

    @abstractmethod
    def columns(self, answer: Any) -> Mapping[str, Any]:
        """Return the columns of what the function returned, by name, of one length; refuse what is something else."""

    @abstractmethod
    def arrow(self, values: Any, column: Column) -> pa.Array:
        """Return a column of the answer as declared.

        Raises:
            Misfit: a value is not of the type.
        """

    @abstractmethod
    def guessed(self, values: Any) -> pa.Array:
        """Return a column of the answer in the Arrow type that its values suggest."""
