"""FileRegistry passes the suite."""

from functools import partial
from pathlib import Path

from likewise.registry.file import FileRegistry
from likewise.testing.registry_suite import Opener, RegistrySuite


class TestFileRegistry(RegistrySuite):
    def opener(self, folder: Path) -> Opener:
        """Open a registry of its own for each test."""
        return partial(FileRegistry, folder / "data" / "registry.db")
