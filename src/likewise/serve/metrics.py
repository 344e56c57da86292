"""Metrics: what the server counts and times, as Prometheus text."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Protocol

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from likewise.online.response import FieldStatus, OnlineResponse
from likewise.plan.lookup import ViewRead
from likewise.serve.answer import Counts as Statuses
from likewise.serve.tally import Counts, Histogram

MEDIA_TYPE = CONTENT_TYPE_LATEST
"""The content type of the text."""
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable that has several processes count in one place."""
_AGES = (1.0, 10.0, 60.0, 600.0, 3_600.0, 21_600.0, 86_400.0, 259_200.0, 604_800.0, 2_592_000.0, 31_536_000.0)
_AGES_EVERY = 0.1
"""Seconds between two answers whose values' ages are looked at: they say the same again and again."""
_BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Observed(Protocol):
    """How long something took."""

    def observe(self, amount: float) -> None:
        """Add one, in seconds."""


class Counted(Protocol):
    """How often something was."""

    def inc(self, amount: float = 1) -> None:
        """Add to it."""


class Metrics:
    """The figures of one server."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        if FOLDER not in os.environ:
            ProcessCollector(registry=registry)
            PlatformCollector(registry=registry)
        self.seconds = self._times("likewise_request_seconds", "How long requests took", "route")
        """How long requests took, by route."""
        self.answers = self._counts("likewise_requests", "Requests by route and HTTP status", "route", "status")
        """Requests by route and HTTP status."""
        said = "How long the stages of online reads took: parse, read, encode"
        stage = self._times("likewise_online_stage_seconds", said, "stage")
        self.parse, self.read, self.encode = (stage(name) for name in ("parse", "read", "encode"))
        """How long the stages of online reads took."""
        self._values = self._counts("likewise_online_values", "Values served, by view and status", "view", "status")
        self._per_view: dict[tuple[str, FieldStatus], Counted] = {}
        self.store_errors = Counter(
            "likewise_store_errors", "Errors of the stores by kind", ["kind"], registry=registry
        )
        self.failed_reads = Counter(
            "likewise_online_failed_reads",
            "Reads that the store failed, answered as their service says, by its on_failed_read",
            ["answer"],
            registry=registry,
        )
        self.stale_values = Counter(
            "likewise_online_stale_values", "Values served that are made of what was read earlier", registry=registry
        )
        self.breaker = Gauge(
            "likewise_store_breaker_open",
            "Whether the online store failed again and again, and is not asked (1)",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._ages = prometheus_client.Histogram(
            "likewise_online_value_age_seconds",
            "How old the oldest and the newest record of an answer were, by view; of up to ten answers a second",
            ["view", "which"],
            buckets=_AGES,
            registry=registry,
        )
        self._ages_from = 0.0
        self.log_rows = Counter("likewise_log_rows", "Rows of answers that were logged", registry=registry)
        self.log_dropped = Counter(
            "likewise_log_dropped", "Rows that were to be logged and were not, by reason", ["reason"], registry=registry
        )
        self.writes = Counter("likewise_online_writes", "Records written by push and write", registry=registry)
        self.in_work = Gauge(
            "likewise_requests_in_work", "Requests in work", registry=registry, multiprocess_mode="livesum"
        )

    def _times(self, name: str, said: str, label: str) -> Callable[[str], Observed]:
        if FOLDER in os.environ:
            return prometheus_client.Histogram(name, said, [label], buckets=_BOUNDS, registry=self._registry).labels
        own = Histogram(name, said, [label], _BOUNDS)
        self._registry.register(own)
        return own.labels

    def _counts(self, name: str, said: str, *labels: str) -> Callable[..., Counted]:
        if FOLDER in os.environ:
            return Counter(name, said, labels, registry=self._registry).labels
        own = Counts(name, said, labels)
        self._registry.register(own)
        return own.labels

    def count_values(self, views: Sequence[str], counts: Sequence[Statuses]) -> None:
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

    def count_ages(self, reads: Sequence[ViewRead], answer: OnlineResponse, now: int) -> None:
        """Note how old the values of an answer are, unless another answer's were noted just before; hot.

        Args:
            reads: what was read for it.
            answer: the answer.
            now: the time that it is for, in microseconds since the epoch.
        """
        at = monotonic()
        if at < self._ages_from:
            return
        self._ages_from = at + _AGES_EVERY
        for read, span in zip(reads, answer.record_spans, strict=True):
            if span is not None:
                for which, event in zip(("oldest", "newest"), span, strict=True):
                    self._ages.labels(read.view, which).observe((now - event) / 1_000_000)

    def _count(self, view: str, status: FieldStatus, number: int) -> None:
        counter = self._per_view.get((view, status))
        if counter is None:
            counter = self._per_view[view, status] = self._values(view, status.name)
        counter.inc(number)

    def text(self) -> bytes:
        """Return all figures."""
        if FOLDER not in os.environ:
            return generate_latest(self._registry)
        shared = CollectorRegistry()
        MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
        return generate_latest(shared)
