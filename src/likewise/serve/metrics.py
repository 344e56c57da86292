"""Metrics: what the server counts and times, as Prometheus text."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from likewise.online.response import FieldStatus
from likewise.serve.answer import Counts

MEDIA_TYPE = CONTENT_TYPE_LATEST
"""The content type of the text."""
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable that has several processes count in one place."""
_BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """The figures of one server."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        if FOLDER not in os.environ:
            ProcessCollector(registry=registry)
            PlatformCollector(registry=registry)
        self.seconds = Histogram(
            "likewise_request_seconds", "How long requests took", ["route"], buckets=_BOUNDS, registry=registry
        )
        self.answers = Counter(
            "likewise_requests", "Requests by route and HTTP status", ["route", "status"], registry=registry
        )
        stage = Histogram(
            "likewise_online_stage_seconds",
            "How long the stages of online reads took: parse, read, encode",
            ["stage"],
            buckets=_BOUNDS,
            registry=registry,
        )
        self.parse, self.read, self.encode = (stage.labels(name) for name in ("parse", "read", "encode"))
        self._values = Counter(
            "likewise_online_values", "Values served, by view and status", ["view", "status"], registry=registry
        )
        self._per_view: dict[tuple[str, FieldStatus], Counter] = {}
        self.store_errors = Counter(
            "likewise_store_errors", "Errors of the stores by kind", ["kind"], registry=registry
        )
        self.writes = Counter("likewise_online_writes", "Records written by push and write", registry=registry)
        self.in_work = Gauge(
            "likewise_requests_in_work", "Requests in work", registry=registry, multiprocess_mode="livesum"
        )

    def count_values(self, views: Sequence[str], counts: Sequence[Counts]) -> None:
        """Count the values of an answer.

        Args:
            views: the view of each feature.
            counts: how many of its values have each status.
        """
        sums: dict[tuple[str, FieldStatus], int] = {}
        for view, counted in zip(views, counts, strict=True):
            for status, number in counted.items():
                sums[view, status] = sums.get((view, status), 0) + number
        for (view, status), number in sums.items():
            self._count(view, status, number)

    def count_present(self, views: Mapping[str, int], rows: int) -> None:
        """Count the values of an answer in which all are there.

        Args:
            views: how many features there are of each view.
            rows: how many rows it has.
        """
        for view, features in views.items():
            self._count(view, FieldStatus.PRESENT, features * rows)

    def _count(self, view: str, status: FieldStatus, number: int) -> None:
        counter = self._per_view.get((view, status))
        if counter is None:
            counter = self._per_view[view, status] = self._values.labels(view, status.name)
        counter.inc(number)

    def text(self) -> bytes:
        """Return all figures."""
        if FOLDER not in os.environ:
            return generate_latest(self._registry)
        shared = CollectorRegistry()
        MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
        return generate_latest(shared)
