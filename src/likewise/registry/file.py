"""FileRegistry: the embedded registry, one SQLite file that threads and processes share."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

from likewise.registry.base import RegistryCorrupt
from likewise.registry.crash import CrashHook, no_crash
from likewise.registry.database import Database, Stamp
from likewise.registry.file_rows import FileRows, wrong_rows
from likewise.registry.rows import NoRows, RowReader, RowWriter
from likewise.registry.salvage import restorable
from likewise.registry.stored import COMMIT_POINTS, StoredRegistry

T = TypeVar("T")
CRASH_POINTS = ("registry.create.written", "registry.create.placed", *COMMIT_POINTS)
"""The moments of a first commit, in order but for its beginning."""


class FileRegistry(StoredRegistry):
    """A registry in one SQLite file; it is made, with its folders, by the first commit.

    Args:
        path: the file.
        wait: how long to wait for another writer, in seconds.
        crash: called with the name of each crash point of a write.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> with FileRegistry(f"{folder.name}/data/registry.db") as registry:
        ...     first = registry.commit("demo", 0, [{"kind": "entity", "name": "card"}], message="hello", now=1)
        ...     print(registry.head("demo"), [info.message for info in registry.history("demo")])
        1 ['hello']
        >>> folder.cleanup()
    """

    def __init__(self, path: str | os.PathLike[str], *, wait: float = 10.0, crash: CrashHook = no_crash) -> None:
        self.path = Path(path)
        super().__init__(str(self.path), crash)
        self._database = Database(self.path, wait, wrong_rows, crash)
        self._heads: dict[str, tuple[Stamp | None, int]] = {}

    def head(self, project: str) -> int:
        """Return the number of the newest catalog, 0 if there is none: one ``stat`` while the file is unchanged."""
        stamp = self._database.stamp()
        known = self._heads.get(project)
        if known is not None and known[0] == stamp and stamp is not None:
            return known[1]
        settled = stamp is not None and _is_settled(stamp[3])
        number = super().head(project)
        if settled:
            self._heads[project] = stamp, number
        return number

    def read(self, work: Callable[[RowReader], T]) -> T:
        """Return what ``work`` makes of the rows, all of one moment; there are none while there is no file."""
        with self._telling_what_can_be_restored(), self._database.reading() as connection:
            return work(NoRows() if connection is None else FileRows(connection))

    def write(self, work: Callable[[RowWriter], T]) -> T:
        """Return what ``work`` makes of the rows, under the file's write lock; it is called once."""
        with self._telling_what_can_be_restored(), self._database.writing() as connection:
            return work(FileRows(connection))

    def close(self) -> None:
        """Close the file; the registry opens it again when it is used again."""
        self._database.close()
        self._heads.clear()
        self.forget()

    @contextlib.contextmanager
    def _telling_what_can_be_restored(self) -> Iterator[None]:
        try:
            yield
        except RegistryCorrupt as error:
            whole = restorable(self.path)
            if not whole:
                raise
            raise RegistryCorrupt(error.path, error.what, restorable=whole) from error


def _is_settled(written: int) -> bool:
    """Say whether a file cannot be written again at what would look like the same time, given its last one in ns."""
    coarse = written % 1_000_000_000 == 0  # a file system that keeps whole seconds, or even ones
    return time.time_ns() - written > (3_000_000_000 if coarse else 50_000_000)


class FileSettings(Protocol):
    """What :func:`open_registry` needs of a configuration."""

    @property
    def path(self) -> str:
        """The file, relative to the repo."""
        ...


def open_registry(config: FileSettings, root: str) -> FileRegistry:
    """Return the registry in the file that a configuration names.

    Args:
        config: has the path.
        root: the repo's folder.
    """
    return FileRegistry(Path(root) / config.path)
