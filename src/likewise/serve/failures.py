"""Failures: what an answer tells of values that the store failed to give (G9)."""

from __future__ import annotations

from likewise.serve.metrics import Metrics
from likewise.serve.problem import Headers

FAILED, STALE = b"x-likewise-failed", b"x-likewise-stale"
"""The headers that count the values that could not be read, and those of what was read earlier."""


def told_of(failed: int, stale: int, metrics: Metrics) -> Headers:
    """Count what the store failed of an answer, and return the headers that say it; none for the usual answer.

    Args:
        failed: how many values could not be read.
        stale: how many are made of what was read earlier.
        metrics: counts.

    Example:
        >>> told_of(2, 0, Metrics())
        ((b'x-likewise-failed', b'2'),)
    """
    if not failed and not stale:
        return ()
    metrics.failed_reads.labels("stale" if stale else "null").inc()
    metrics.stale_values.inc(stale)
    return tuple((name, b"%d" % count) for name, count in ((FAILED, failed), (STALE, stale)) if count)
