"""DuckDBEngine passes the suite of all offline engines."""

from __future__ import annotations

from likewise.offline.base import OfflineEngine
from likewise.offline.duckdb import DuckDBEngine
from likewise.testing.offline_suite import OfflineEngineSuite


class TestDuckDBEngine(OfflineEngineSuite):
    """The suite."""

    def engine(self) -> OfflineEngine:
        """Return a new engine."""
        return DuckDBEngine()
