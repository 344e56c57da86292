"""MemoryRegistry passes the suite."""

from pathlib import Path

from likewise.registry.memory import MemoryRegistry
from likewise.testing.registry_suite import Opener, RegistrySuite


class TestMemoryRegistry(RegistrySuite):
    processes = False

    def opener(self, folder: Path) -> Opener:
        """Open a registry of its own for each test."""
        registry = MemoryRegistry()
        return lambda: registry
