from likewise.testing.offline_suite import OfflineEngineSuite
from likewise.testing.reference_engine import ReferenceEngine


class TestReferenceEngine(OfflineEngineSuite):
    """The slow and obvious engine passes what every engine must."""

    sql = False

    def engine(self) -> ReferenceEngine:
        """Return a new engine."""
        return ReferenceEngine()
