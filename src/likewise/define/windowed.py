"""Batch and stream feature views: a transformation of rows, windows over them, or both.

The function is given the source's rows, and what it returns are the view's rows: in training, in materialization, and
for rows that are pushed. Windows are over the rows that it returns.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from likewise.core.time import span_text
from likewise.define.aggregation import Aggregation
from likewise.define.entity import Entity
from likewise.define.field import Field
from likewise.define.function import UserFunction, described, name_of
from likewise.define.source import DataSource, checked_fields, fields_text
from likewise.define.view import FeatureView, WindowedView

BATCH_MODES = ("python", "pandas", "polars", "sql", "spark", "spark_sql", "flink", "ray", "substrait")
"""The modes a batch or stream view may declare."""
ROW_MODES = ("pandas", "polars", "python", "sql")
"""Those whose functions this version runs."""


class BatchFeatureView(WindowedView):
    """A feature view over a batch source that may transform its rows and aggregate them over windows.

    Args:
        name: unique among views.
        source: where the rows come from: a source, another view, or a list of views.
        schema: the features with their types; by default all columns of its rows but keys and times, as they are when
            the repo is applied.
        entities: what the features describe.
        ttl: for how long a value counts after its event time; None or 0 is without limit.
        online: whether it is materialized and served.
        offline: kept, as Feast has it; where pushed rows go is said by each push.
        description: what it is, for people.
        tags: free labels, text to text.
        owner: who answers for it.
        aggregations: its windows, over the rows that the transformation returns, if there is one.
        udf: its transformation, from the source's rows to the view's; None when there is none. It is given the rows of
            each of its sources, under the view's names, and returns rows with keys, times and features.
        udf_string: the transformation's source text, where Python cannot find it.
        mode: what the transformation takes and returns: a DataFrame in ``pandas`` (the default) and ``polars``, a dict
            of lists in ``python``; in ``sql`` it takes the names of tables and returns a query. Feast's other modes,
            such as ``spark``, are kept, and refused by name where a value would be computed.
        timestamp_field: kept, as Feast has it; the source says which column holds the event time.
        batch_engine: options for Feast's compute engine, as plain data; kept, and not used.
        stream_engine: the same for its stream engine.
        enable_tiling: kept, as Feast has it; tiles are storage, and change no value.
        tiling_hop_size: kept likewise; how long tiles are follows from each window's ``slide_interval``.
        inputs: the types of the columns that the windows read; by default as the source has them when it is applied.
            Needed where nothing else says them, as for a push source without schema and history.
        more: the other arguments of :class:`FeatureView`.

    Example:
        >>> from likewise.define.source import FileSource
        >>> payments = FileSource(path="payments.parquet", timestamp_field="at")
        >>> week = Aggregation("amount", "sum", timedelta(days=7), name="spent_7d")
        >>> BatchFeatureView("spending", payments, entities=["card"], aggregations=[week]).windows()[0].feature
        'spent_7d'
    """

    kind = "batch_feature_view"
    noun = "batch feature view"

    def __init__(
        self,
        name: str,
        source: DataSource | FeatureView | Sequence[FeatureView] | None = None,
        schema: Sequence[Field] | None = None,
        entities: Sequence[Entity | str] | None = None,
        ttl: timedelta | None = None,
        online: bool = False,
        offline: bool = False,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        owner: str = "",
        *,
        aggregations: Sequence[Aggregation] | None = None,
        udf: Callable[..., Any] | UserFunction | None = None,
        udf_string: str = "",
        mode: object = None,
        timestamp_field: str = "",
        batch_engine: Mapping[str, Any] | None = None,
        stream_engine: Mapping[str, Any] | None = None,
        enable_tiling: bool = False,
        tiling_hop_size: timedelta | None = None,
        inputs: Sequence[Field] | None = None,
        feature_transformation: object = None,
        **more: Any,
    ) -> None:
        written = mode if mode is not None else "python" if udf is None else "pandas"
        super().__init__(
            name, source, schema, entities, ttl, online, offline, description, tags, owner, mode=written, **more
        )
        self.timestamp_field = self.expect(timestamp_field, str, "timestamp_field", "")
        self.enable_tiling = self.expect(enable_tiling, bool, "enable_tiling", False)
        self.tiling_hop_size = self._span(tiling_hop_size, "tiling_hop_size")
        self.batch_engine = self.plain(batch_engine, "batch_engine")
        self.stream_engine = self.plain(stream_engine, "stream_engine")
        self.function = None if udf is None else described(self, udf, udf_string)
        if udf is None and udf_string:
            self.wrong("udf_string stands without udf", "give the function itself as udf")
        self.inputs = checked_fields(self, inputs, "inputs")
        self.derived = {}
        self._set_aggregations(aggregations)
        if self.mode not in BATCH_MODES:
            self.wrong(f"mode={self.mode!r} is not known", f"use one of {', '.join(map(repr, BATCH_MODES))}")
        if feature_transformation is not None:
            self.wrong("feature_transformation is not taken", "give the function itself as udf")

    def summary(self) -> Iterable[tuple[str, str]]:
        """Return what to show of it, as (label, text)."""
        yield from super().summary()
        if self.function is not None or self.mode != "python":
            yield "mode", self.mode
        if self.function is not None:
            yield "function", f"{self.function.name} ({self.function.hash[:12]})"
        if self.inputs:
            yield "inputs", fields_text(self.inputs)
        if self.timestamp_field:
            yield "timestamp_field", self.timestamp_field
        if self.enable_tiling:
            yield "enable_tiling", "yes"
        if self.tiling_hop_size is not None:
            yield "tiling_hop_size", span_text(self.tiling_hop_size)
        if self.batch_engine:
            yield "batch_engine", json.dumps(self.batch_engine, sort_keys=True)
        if self.stream_engine:
            yield "stream_engine", json.dumps(self.stream_engine, sort_keys=True)


class StreamFeatureView(BatchFeatureView):
    """A feature view over a stream of events, such as a :class:`PushSource`.

    Args:
        name: unique among views.
        source: the stream; its batch source holds the history.
        schema: the features with their types.
        entities: what the features describe.
        ttl: for how long a value counts after its event time; None or 0 is without limit.
        online: whether it is served.
        more: the other arguments of :class:`BatchFeatureView`.

    Example:
        >>> from likewise.define.source import PushSource
        >>> hour = Aggregation("amount", "count", timedelta(hours=1))
        >>> events = PushSource("payments", timestamp_field="at")
        >>> StreamFeatureView("hourly", events, entities=["card"], aggregations=[hour]).windows()[0].feature
        'count_amount_3600s'
    """

    kind = "stream_feature_view"
    noun = "stream feature view"

    def __init__(
        self,
        name: str,
        source: DataSource | FeatureView | Sequence[FeatureView] | None = None,
        schema: Sequence[Field] | None = None,
        entities: Sequence[Entity | str] | None = None,
        ttl: timedelta | None = timedelta(0),
        online: bool = True,
        **more: Any,
    ) -> None:
        super().__init__(name, source, schema, entities, ttl, online, **more)


def batch_feature_view(
    *, name: str | None = None, online: bool = True, offline: bool = True, description: str = "", **more: Any
) -> Callable[[Callable[..., Any]], BatchFeatureView]:
    """Turn a function into a batch feature view of its name.

    Args:
        name: the view's name; the function's by default.
        online: whether it is materialized and served.
        offline: kept, as Feast has it; where pushed rows go is said by each push.
        description: what it is; the function's docstring by default.
        more: the other arguments of :class:`BatchFeatureView`.

    Example:
        >>> from likewise.define.source import FileSource
        >>> @batch_feature_view(source=FileSource(path="raw.parquet", timestamp_field="at"), mode="pandas")
        ... def cleaned(df):
        ...     return df.dropna()
        >>> cleaned.name, cleaned.mode
        ('cleaned', 'pandas')
    """

    def decorate(function: Callable[..., Any]) -> BatchFeatureView:
        words = description or function.__doc__ or ""
        return BatchFeatureView(
            name or name_of(function), online=online, offline=offline, description=words, udf=function, **more
        )

    return decorate


def stream_feature_view(
    *, name: str | None = None, description: str = "", **more: Any
) -> Callable[[Callable[..., Any]], StreamFeatureView]:
    """Turn a function into a stream feature view of its name.

    Args:
        name: the view's name; the function's by default.
        description: what it is; the function's docstring by default.
        more: the other arguments of :class:`StreamFeatureView`. Without a ``mode`` the function is given a pandas
            DataFrame, not Feast's Spark one.

    Example:
        >>> from likewise.define.source import PushSource
        >>> @stream_feature_view(source=PushSource("clicks", timestamp_field="at"), mode="pandas")
        ... def clicks(df):
        ...     return df
        >>> clicks.name
        'clicks'
    """

    def decorate(function: Callable[..., Any]) -> StreamFeatureView:
        words = description or function.__doc__ or ""
        return StreamFeatureView(name or name_of(function), description=words, udf=function, **more)

    return decorate
