"""OnDemandRunner: computes one on-demand view, for training from Arrow columns and online from lists, alike (S10)."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from likewise.core.errors import BackendMissing, NotSupported, RequestDataMissing, RequestError
from likewise.core.types import FeatureType
from likewise.define.transform import MODES, OnDemandFeatureView
from likewise.transform.call import UserCall
from likewise.transform.column import Column, Misfit
from likewise.transform.mode import Mode
from likewise.transform.values import each_given, giver

if TYPE_CHECKING:
    import pyarrow as pa


class OnDemandRunner:
    """Runs the function of one on-demand view; made once per view and catalog, and used by any number of threads.

    Training and serving give bit-identical values: what comes in is taken to the inputs' declared types first, what
    the function returns to the schema's. The function gets copies, so it cannot change what it is given for others.
    It is not called for no rows.

    Args:
        view: the on-demand view.
        function: its function.
        inputs: the columns that the function is given, (name, type), in the order of the view's sources.

    Raises:
        BackendMissing: the view's mode needs a library that is not installed.

    Example:
        >>> from likewise.core.types import Float64
        >>> from likewise.define.field import Field
        >>> from likewise.define.source import RequestSource
        >>> def rate(row):
        ...     return {"rate": row["part"] / row["whole"] if row["whole"] else None}
        >>> request = RequestSource("request", schema=[Field("part", Float64), Field("whole", Float64)])
        >>> schema = [Field("rate", Float64)]
        >>> view = OnDemandFeatureView("rate", [request], schema, rate, "python", singleton=True)
        >>> runner = OnDemandRunner(view, rate, [("part", Float64), ("whole", Float64)])
        >>> runner.run_lists({"part": [1.0, 1.0], "whole": [4.0, 0.0]}, rows=2)
        {'rate': [0.25, None]}
    """

    __slots__ = ("_givers", "_inputs", "_mode", "_outputs", "_title")

    def __init__(
        self,
        view: OnDemandFeatureView,
        function: Callable[..., Any],
        inputs: Sequence[tuple[str, FeatureType]],
    ) -> None:
        self._title = view.title
        self._inputs = tuple(Column(name, declared, nan_is_null=True) for name, declared in inputs)
        self._outputs = tuple(Column(field.name, field.dtype) for field in view.features)
        self._givers = tuple((c.name, give) for c in self._outputs if (give := giver(c.type)) is not None)
        self._mode = _mode(view)(UserCall(view.title, function, self._inputs, self._outputs))

    def run_arrow(self, columns: Mapping[str, pa.Array | pa.ChunkedArray], rows: int) -> dict[str, pa.Array]:
        """Compute one batch for training.

        Args:
            columns: at least the inputs, each with ``rows`` rows; others are left alone.
            rows: the number of rows, at least 0.

        Returns:
            The schema's columns in their declared Arrow types.

        Raises:
            TransformError: the function failed, or returned something else than the schema declares.
            RequestDataMissing: an input is not among the columns.
            RequestError: an input holds a value that is not of its type.
        """
        given = {column.name: self._taken(column, column.arrow, columns, rows) for column in self._inputs}
        if rows == 0:
            return {column.name: column.empty() for column in self._outputs}
        return self._mode.run_arrow(given, rows)

    # Hot: once per on-demand view of an online read.
    def run_lists(
        self, columns: Mapping[str, Sequence[Any]], rows: int, settled: Container[str] = ()
    ) -> dict[str, list[Any]]:
        """Compute one online read.

        Args:
            columns: at least the inputs, each with ``rows`` Python values, None for missing; others are left alone.
            rows: the number of rows, at least 0.
            settled: the inputs whose values are of their declared types already, for an online store holds no others.

        Returns:
            The schema's columns as the Python values that an online answer has, None for null.

        Raises:
            TransformError: the function failed, or returned something else than the schema declares.
            RequestDataMissing: an input is not among the columns.
            RequestError: an input holds a value that is not of its type.
        """
        given = {
            column.name: self._taken(column, column.settled if column.name in settled else column.lists, columns, rows)
            for column in self._inputs
        }
        if rows == 0:
            return {column.name: [] for column in self._outputs}
        answer = self._mode.run_lists(given, rows)
        for name, give in self._givers:
            answer[name] = each_given(answer[name], give)
        return answer

    def _taken(self, column: Column, take: Callable[[Any], Any], columns: Mapping[str, Any], rows: int) -> Any:
        if column.name not in columns:
            raise RequestDataMissing(
                f"{self._title} needs the input {column.name!r}, which was not given", cure="give a value for each row"
            )
        values = columns[column.name]
        if len(values) != rows:
            raise RequestError(
                f"{self._title}: the input {column.name!r} has {len(values)} values for {rows} rows",
                cure="give one value for each row",
            )
        try:
            return take(values)
        except Misfit as misfit:
            what = f"{self._title}: the input {misfit.text(column.name, column.type)}"
            raise RequestError(what, cure=f"give {misfit.cure}, or None") from misfit.__cause__


def _mode(view: OnDemandFeatureView) -> type[Mode]:
    """Return the mode's class; each imports only its own library."""
    if view.mode == "python":
        from likewise.transform.python import PythonLists, PythonSingleton

        return PythonSingleton if view.singleton else PythonLists
    if view.mode == "pandas":
        from likewise.transform.pandas import PandasFrames

        return PandasFrames
    if view.mode == "polars":
        return _polars(view)
    raise NotSupported(f"{view.title}: mode={view.mode!r} is not computed", cure=f"use one of {', '.join(MODES)}")


def _polars(view: OnDemandFeatureView) -> type[Mode]:
    try:
        from likewise.transform.polars import PolarsFrames
    except ModuleNotFoundError as error:
        if error.name != "polars":
            raise
        raise BackendMissing(
            f"{view.title}: mode='polars' needs polars, which is not installed", cure='pip install "likewise[polars]"'
        ) from error
    return PolarsFrames
