"""Batch and stream feature views: transformations and windows, declared.

They are checked, stored and listed; where a transformation or a window would have to be computed they are refused by
name, until this version computes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from likewise.define.aggregation import Aggregation
from likewise.define.entity import Entity
from likewise.define.field import Field
from likewise.define.function import UserFunction, described, name_of
from likewise.define.source import DataSource
from likewise.define.view import WindowedView

BATCH_MODES = ("python", "pandas", "polars", "sql", "spark", "spark_sql", "flink", "ray", "substrait")
"""The modes a batch or stream view may declare."""


class BatchFeatureView(WindowedView):
    """A feature view over a batch source that may transform its rows and aggregate them over windows.

    Args:
        name: unique among views.
        source: where the rows come from.
        schema: the features with their types.
        entities: what the features describe.
        ttl: for how long a value counts after its event time; None or 0 is without limit.
        online: whether it is materialized and served.
        offline: kept, as Feast has it; where pushed rows go is said by each push.
        description: what it is, for people.
        tags: free labels, text to text.
        owner: who answers for it.
        aggregations: its windows.
        udf: its transformation; None when there is none.
        mode: how the transformation is written; one of ``python``, ``pandas``, ``polars``, ``sql``, ``spark`` …
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
        source: DataSource | None = None,
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
        mode: object = "python",
        timestamp_field: str = "",
        batch_engine: Mapping[str, Any] | None = None,
        stream_engine: Mapping[str, Any] | None = None,
        enable_tiling: bool = False,
        tiling_hop_size: timedelta | None = None,
        feature_transformation: object = None,
        **more: Any,
    ) -> None:
        super().__init__(
            name, source, schema, entities, ttl, online, offline, description, tags, owner, mode=mode, **more
        )
        self.timestamp_field = self.expect(timestamp_field, str, "timestamp_field", "")
        self.enable_tiling = bool(enable_tiling)
        self.tiling_hop_size = self._span(tiling_hop_size, "tiling_hop_size")
        self.engine_options = dict(self.expect(batch_engine or stream_engine or {}, dict, "batch_engine", {}))
        self.function = None if udf is None else described(self, udf, udf_string)
        self._set_aggregations(aggregations)
        if self.mode not in BATCH_MODES:
            self.wrong(f"mode={self.mode!r} is not known", f"use one of {', '.join(map(repr, BATCH_MODES))}")
        if feature_transformation is not None:
            self.wrong("feature_transformation is not taken", "give the function itself as udf")


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
        source: DataSource | None = None,
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
    *, name: str | None = None, description: str = "", mode: str = "spark", **more: Any
) -> Callable[[Callable[..., Any]], StreamFeatureView]:
    """Turn a function into a stream feature view of its name.

    Args:
        name: the view's name; the function's by default.
        description: what it is; the function's docstring by default.
        mode: how the function is written.
        more: the other arguments of :class:`StreamFeatureView`.

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
        return StreamFeatureView(name or name_of(function), description=words, mode=mode, udf=function, **more)

    return decorate
