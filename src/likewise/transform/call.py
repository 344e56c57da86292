"""UserCall: a user's function of a view, whose every failure says what, where and the cure."""

from __future__ import annotations

import inspect
import reprlib
import types
from collections.abc import Callable, Iterable, Sequence
from types import NoneType, TracebackType
from typing import Any, NoReturn

from likewise.core.errors import TransformError
from likewise.transform.column import Column, Misfit

_SHORT = frozenset({bool, int, float, str, bytes, list, tuple, dict, NoneType})
"""The types of answers that are worth quoting."""


class UserCall:
    """The function of a view, what it is given and what it has to return.

    Args:
        title: the view's kind and name.
        function: the function itself.
        inputs: the columns it is given, in the order of the view's sources.
        outputs: the columns it has to return, in order.
    """

    __slots__ = ("_place", "_title", "file", "function", "inputs", "names", "outputs")

    def __init__(
        self,
        title: str,
        function: Callable[..., Any],
        inputs: Sequence[Column],
        outputs: Sequence[Column],
    ) -> None:
        name, self.file, line = _where(function)
        self.function = function
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self._title = f"{title}: function {name!r}"
        self._place = f"{self._title} ({self.file}:{line})"
        self.names = frozenset(column.name for column in outputs)

    # Hot: once per online read and training batch, or once per row.
    def __call__(self, given: Any, hint: str = "") -> Any:
        """Call the function.

        Args:
            given: what the function is given.
            hint: the cure to offer where the function raises.

        Raises:
            TransformError: it raised; the error names the line in the function's own file.
        """
        try:
            return self.function(given)
        except Exception as error:  # whatever a user's function raises
            raise self.raised(error, hint) from error

    def guarded(self, work: Callable[[], Any]) -> Any:
        """Do work that the function put off, and return what it returns.

        Raises:
            TransformError: it raised.
        """
        try:
            return work()
        except Exception as error:  # whatever a user's function put off
            raise self.raised(error) from error

    def check_names(self, returned: Iterable[object]) -> None:
        """Refuse an answer that lacks a declared column, or has one that is neither declared nor an input."""
        names = list(returned)
        if len(names) == len(self.names) and self.names.issuperset(names):
            return
        found = ", ".join(map(repr, names)) or "no columns"
        for column in self.outputs:
            count = names.count(column.name)
            if count != 1:
                what = f"did not return the column {column.name!r}; it returned {found}"
                twice = f"returned the column {column.name!r} {count} times"
                self.wrong(twice if count else what, "return every column of the schema, once")
        known = self.names.union(column.name for column in self.inputs)
        for name in names:
            if name not in known:
                what = f"returned the column {name!r}, which the schema does not declare"
                self.wrong(what, "add it to the schema, or leave it out")

    def check_rows(self, returned: int, rows: int, what: str = "") -> None:
        """Refuse an answer whose number of rows is not that of the rows given."""
        if returned != rows:
            self.wrong(
                f"returned {returned} rows{what} for {rows}", "return one row for each row given, in their order"
            )

    def taken(self, take: Callable[[Any], Any], values: Any, column: Column, rows: Sequence[int] | None = None) -> Any:
        """Return what the function returned for a column as declared.

        Args:
            take: :meth:`Column.lists` or :meth:`Column.arrow`.
            values: what it returned.
            column: the column.
            rows: the number of each row in the caller's batch, where these are only some of them.
        """
        try:
            return take(values)
        except Misfit as misfit:
            error = self.error(f"returned {misfit.text(column.name, column.type, rows)}", f"return {misfit.cure}")
            raise error from misfit.__cause__

    def error(self, what: str, cure: str) -> TransformError:
        """Return an error about what the function returned."""
        return TransformError(f"{self._place} {what}", cure=cure)

    def wrong(self, what: str, cure: str) -> NoReturn:
        """Raise an error about what the function returned."""
        raise self.error(what, cure)

    def wrong_answer(self, answer: object, wanted: str, cure: str) -> NoReturn:
        """Raise an error about an answer of the wrong kind."""
        kind = type(answer).__name__
        found = f"{reprlib.repr(answer)} ({kind})" if type(answer) in _SHORT else f"a {kind}"
        self.wrong(f"returned {found} instead of {wanted}", cure)

    def raised(self, error: Exception, hint: str = "", at: str = "") -> TransformError:
        """Return the error that says which line of the function's file raised what.

        Args:
            error: what was raised.
            hint: the cure to offer.
            at: which row it was raised for, where that is known.
        """
        line = _failing_line(error.__traceback__, self.file)
        place = f"{self._title} ({self.file}:{line})" if line else self._place
        words = f"{type(error).__name__}: {error}".rstrip(": ")
        cure = hint or "correct that line, or let it handle the values it was given"
        return TransformError(f"{place} raised {words}{at}", cure=cure)


def _where(function: Callable[..., Any]) -> tuple[str, str, int]:
    plain = inspect.unwrap(function)
    if isinstance(plain, types.FunctionType):
        return plain.__name__, plain.__code__.co_filename, plain.__code__.co_firstlineno
    return type(plain).__name__, "", 0


def _failing_line(traceback: TracebackType | None, file: str) -> int:
    """Return the deepest line of a traceback that lies in a file; 0 if none does."""
    line = 0
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == file:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line
