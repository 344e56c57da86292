"""Tally: counts and times of one process, for what every request adds to; hot.

prometheus_client's own do the same in three times the time, and add up over several processes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from threading import Lock

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.utils import floatToGoString


class Count:
    """How often something was."""

    __slots__ = ("_lock", "number")

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self.number = 0.0
        """The number so far."""

    def inc(self, amount: float = 1) -> None:
        """Add to it."""
        with self._lock:
            self.number += amount


class Spans:
    """How long something took, in seconds.

    Args:
        bounds: up to where each bucket goes, ascending; one more is without bound.
        lock: is held by whoever adds.
    """

    __slots__ = ("_bounds", "_lock", "counts", "total")

    def __init__(self, bounds: Sequence[float], lock: Lock) -> None:
        self._bounds = bounds
        self._lock = lock
        self.counts = [0] * (len(bounds) + 1)
        """How many there were, by bucket."""
        self.total = 0.0
        """Their sum."""

    def observe(self, amount: float) -> None:
        """Add one."""
        bucket = bisect_left(self._bounds, amount)
        with self._lock:
            self.counts[bucket] += 1
            self.total += amount


class Counts:
    """Counts by some labels.

    Args:
        name: the metric's name, without ``_total``.
        documentation: what it is.
        labels: the labels' names.

    Example:
        >>> asked = Counts("asked", "Questions", ["who"])
        >>> asked.labels("me").inc()
        >>> [(sample.name, sample.labels, sample.value) for family in asked.collect() for sample in family.samples]
        [('asked_total', {'who': 'me'}, 1.0)]
    """

    def __init__(self, name: str, documentation: str, labels: Sequence[str]) -> None:
        self._said = name, documentation, list(labels)
        self._lock = Lock()
        self._children: dict[tuple[str, ...], Count] = {}

    def labels(self, *values: str) -> Count:
        """Return the count of these labels' values; the same each time."""
        return self._children.setdefault(values, Count(self._lock))

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Yield what there is, for Prometheus."""
        name, documentation, labels = self._said
        family = CounterMetricFamily(name, documentation, labels=labels)
        for values, count in list(self._children.items()):
            family.add_metric(values, count.number)
        yield family


class Histogram:
    """Times by some labels.

    Args:
        name: the metric's name.
        documentation: what it is.
        labels: the labels' names.
        bounds: up to where each bucket goes, in seconds, ascending.

    Example:
        >>> took = Histogram("took", "Times", ["what"], [0.1, 1.0])
        >>> took.labels("read").observe(0.5)
        >>> [(sample.labels["le"], sample.value) for family in took.collect() for sample in family.samples[:3]]
        [('0.1', 0.0), ('1.0', 1.0), ('+Inf', 1.0)]
    """

    def __init__(self, name: str, documentation: str, labels: Sequence[str], bounds: Sequence[float]) -> None:
        self._said = name, documentation, list(labels)
        self._bounds = list(bounds)
        self._names = [floatToGoString(bound) for bound in (*bounds, float("inf"))]  # type: ignore[no-untyped-call]
        self._lock = Lock()
        self._children: dict[tuple[str, ...], Spans] = {}

    def labels(self, *values: str) -> Spans:
        """Return the times of these labels' values; the same each time."""
        return self._children.setdefault(values, Spans(self._bounds, self._lock))

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield what there is, for Prometheus."""
        name, documentation, labels = self._said
        family = HistogramMetricFamily(name, documentation, labels=labels)
        for values, spans in list(self._children.items()):
            with self._lock:
                counts, total = accumulate(spans.counts), spans.total
                buckets = list(zip(self._names, map(float, counts), strict=True))
            family.add_metric(values, buckets, total)
        yield family
