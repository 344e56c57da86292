"""Mode: how a function wants its rows. One module per mode, all of this shape."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from likewise.transform.call import UserCall


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
