"""Feature logging, declared: where a feature server is to log what it serves, and how much of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FileLoggingDestination:
    """Parquet files that served features are to be logged to.

    Args:
        path: the folder, relative to the repo.
        s3_endpoint_override: kept for object stores; empty when there is none.
        partition_by: the columns that divide the folder into folders; None or empty for none.

    Example:
        >>> FileLoggingDestination(path="data/served").path
        'data/served'
    """

    path: str
    s3_endpoint_override: str = ""
    partition_by: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class LoggingConfig:
    """Where and how often served features are to be logged; a feature service keeps it for the feature server.

    Args:
        destination: where to.
        sample_rate: the share of requests that is logged, more than 0 and at most 1.

    Example:
        >>> LoggingConfig(FileLoggingDestination(path="data/served"), sample_rate=0.1).sample_rate
        0.1
    """

    destination: FileLoggingDestination
    sample_rate: float = 1.0

    def faults(self) -> Iterator[tuple[str, str]]:
        """Return what is wrong with it, as (what, cure)."""
        rate: object = self.sample_rate
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate <= 1:
            yield f"sample_rate={rate!r} is no share of requests", "give more than 0, and at most 1"
        to: object = self.destination
        if not isinstance(to, FileLoggingDestination):
            yield f"destination={to!r} is not known", "write FileLoggingDestination(path='data/served')"
            return
        path: object = to.path
        by: object = to.partition_by or ()
        if not isinstance(path, str) or not path:
            yield f"the destination's path={path!r} is no path", "give a folder, such as path='data/served'"
        endpoint: object = to.s3_endpoint_override
        if not isinstance(endpoint, str):
            yield f"the destination's s3_endpoint_override={endpoint!r} is not text", "give text, or leave it out"
        if isinstance(by, str) or not isinstance(by, Sequence) or not all(isinstance(name, str) for name in by):
            yield f"the destination's partition_by={by!r} is no list of columns", "write partition_by=['driver_id']"

    def __str__(self) -> str:
        to = self.destination
        by = f", by {', '.join(to.partition_by)}" if to.partition_by else ""
        at = f", at {to.s3_endpoint_override}" if to.s3_endpoint_override else ""
        return f"{self.sample_rate:.4g} of the requests to {to.path}{by}{at}"
