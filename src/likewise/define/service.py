"""FeatureService: what one model reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from likewise.define.definition import Definition
from likewise.define.projection import AnyView, Projection
from likewise.define.transform import OnDemandFeatureView
from likewise.define.view import FeatureView


class FeatureService(Definition):
    """The features that one model reads, under a name.

    Args:
        name: unique among services.
        features: views, parts of views (``view[["a", "b"]]``), renamed views and on-demand views, in order.
        tags: free labels, text to text.
        description: what it is, for people.
        owner: who answers for it.
        logging_config: accepted and kept for the feature server.

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
        logging_config: object = None,
        precompute_online: bool = False,
    ) -> None:
        super().__init__(name, description, tags, owner)
        self.views: list[FeatureView | OnDemandFeatureView] = []
        self.projections: list[Projection] = []
        self.logging_config = logging_config
        self.precompute_online = bool(precompute_online)
        for view in self.listed(features, "features", "give features=[a_view, another_view[['a']]]", (AnyView,)):
            self._add(view)
        if not self.views:
            self.wrong("it lists no features", "give features=[a_view, another_view[['a']]]")

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
        yield from rest


def _shown(projection: Projection) -> str:
    chosen = "" if projection.features is None else f"[{', '.join(projection.features)}]"
    return f"{projection.view}{chosen}" + (f" as {projection.alias}" if projection.alias else "")
