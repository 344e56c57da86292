"""FeatureService: what one model reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, get_args

from likewise.core.names import near_misses
from likewise.define.definition import Definition
from likewise.define.feature_logging import LoggingConfig
from likewise.define.projection import AnyView, Projection
from likewise.define.transform import OnDemandFeatureView
from likewise.define.view import FeatureView

OnFailedRead = Literal["error", "null", "stale"]
"""What a read gets that the online store fails: an error, nulls, or the last values that were read."""


class FeatureService(Definition):
    """The features that one model reads, under a name.

    Args:
        name: unique among services.
        features: views, parts of views (``view[["a", "b"]]``), renamed views and on-demand views, in order.
        tags: free labels, text to text.
        description: what it is, for people.
        owner: who answers for it.
        logging_config: where served features are to be logged; kept for the feature server.
        precompute_online: kept, as Feast has it; reads of a service are one round trip anyway.
        on_failed_read: what an online read gets that the store fails, or does not answer in time. ``error``: an error.
            ``null``: None, with status INVALID. ``stale``: what this process last read of each key, if it still counts
            (ttl, windows), and INVALID where it never read the key. The answer tells how many values are such.

    Example:
        >>> from datetime import timedelta
        >>> from likewise.define.source import FileSource
        >>> view = FeatureView(name="cards", source=FileSource(path="cards.parquet", timestamp_field="at"))
        >>> FeatureService("fraud_v1", [view])
        FeatureService(name='fraud_v1', features='cards')
    """

    kind = "feature_service"
    noun = "feature service"

    def __init__(
        self,
        name: str,
        features: Sequence[AnyView],
        tags: Mapping[str, str] | None = None,
        description: str = "",
        owner: str = "",
        *,
        logging_config: LoggingConfig | None = None,
        precompute_online: bool = False,
        on_failed_read: OnFailedRead = "error",
    ) -> None:
        super().__init__(name, description, tags, owner)
        self.views: list[FeatureView | OnDemandFeatureView] = []
        self.projections: list[Projection] = []
        self.logging_config = self._logging(logging_config)
        self.precompute_online = self.expect(precompute_online, bool, "precompute_online", False)
        self.on_failed_read = self._policy(on_failed_read)
        for view in self.listed(features, "features", "give features=[a_view, another_view[['a']]]", (AnyView,)):
            self._add(view)
        if not self.views:
            self.wrong("it lists no features", "give features=[a_view, another_view[['a']]]")

    def _logging(self, given: object) -> LoggingConfig | None:
        if given is None:
            return None
        cure = "write LoggingConfig(FileLoggingDestination(path='data/served'), sample_rate=0.1)"
        if not isinstance(given, LoggingConfig):
            self.wrong(f"logging_config={given!r} is no LoggingConfig", cure)
            return None
        faults = list(given.faults())
        for what, cure in faults:
            self.wrong(f"logging_config: {what}", cure)
        return None if faults else given

    def _policy(self, given: object) -> OnFailedRead:
        for known in get_args(OnFailedRead):
            if given == known:
                policy: OnFailedRead = known
                return policy
        self.wrong(f"on_failed_read={given!r} cannot be", near_misses(str(given), get_args(OnFailedRead)))
        return "error"

    def _add(self, view: object) -> None:
        if isinstance(view, FeatureView | OnDemandFeatureView):
            self.views.append(view)
            self.projections.append(view.projection)
            self.problems.extend(view.part_problems)
        else:
            self.wrong(f"features holds {view!r}", "give feature views, such as view or view[['a']]")

    @property
    def feature_view_projections(self) -> list[Projection]:
        """Feast's name for the projections."""
        return self.projections

    def summary(self) -> Iterable[tuple[str, str]]:
        """Return what to show of it, as (label, text)."""
        first, *rest = super().summary()
        yield first
        yield "features", ", ".join(map(_shown, self.projections))
        if self.logging_config is not None:
            yield "logging_config", str(self.logging_config)
        if self.precompute_online:
            yield "precompute_online", "yes"
        if self.on_failed_read != "error":
            yield "on_failed_read", self.on_failed_read
        yield from rest


def _shown(projection: Projection) -> str:
    chosen = "" if projection.features is None else f"[{', '.join(projection.features)}]"
    return f"{projection.view}{chosen}" + (f" as {projection.alias}" if projection.alias else "")
