"""MemoryRegistry passes the suite."""

from pathlib import Path

from likewise.registry.base import Registry
from likewise.registry.memory import MemoryRegistry
from likewise.testing.registry_suite import Opener, RegistrySuite


class TestMemoryRegistry(RegistrySuite):
    backend = "memory"
    runs_on = "the process"
    processes = False
    sealed = False

    def opener(self, folder: Path) -> Opener:
        """Open a registry of its own for each test."""
        registry = MemoryRegistry()
        return lambda: registry

    def raw_get(self, registry: Registry, digest: str) -> bytes | None:
        """Look into its dict."""
        return registry._bodies.get(digest)

    def raw_put(self, registry: Registry, digest: str, text: bytes) -> None:
        """Change its dict."""
        registry._bodies[digest] = text
