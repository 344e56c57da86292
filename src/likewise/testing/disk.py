"""A disk that is full: programs that run on a small one, and files that may not grow.

Both are real: the operating system itself refuses, so they hold for every library that writes (LMDB and SQLite, which
no Python function stands before). :mod:`likewise.testing.power` has what else a disk does: losing what was not synced.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from likewise.core.errors import NotSupported

if sys.platform != "win32":
    import resource

__all__ = ["MachineRefuses", "fill", "run_on_small_disk", "small_files"]

_SECONDS = 100.0


class MachineRefuses(NotSupported):
    """This machine, or its user's rights, do not allow a fault; :mod:`likewise.testing.missing` skips the test."""


def run_on_small_disk(program: str, folder: Path, size: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program for which a folder is a disk of its own, of a few megabytes, in memory; nobody else sees it.

    Args:
        program: Python source; ``sys.argv[1:]`` is the folder, then the arguments. Warnings are errors.
        folder: the folder, which exists.
        size: of the disk, in bytes.
        arguments: for the program.

    Returns:
        What the program printed and its exit code.

    Raises:
        MachineRefuses: this user may not mount a disk in a name space of his own here.
    """
    mount = f'mount -t tmpfs -o size={size} none "$1"'
    unshare = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    allowed = shutil.which("unshare") and _run([*unshare, mount, "sh", str(folder)]).returncode == 0
    if not allowed:
        raise MachineRefuses("a small disk cannot be mounted here", cure="allow unprivileged user name spaces")
    start = f'{mount} && shift && exec "$@"'
    command = [sys.executable, "-W", "error", "-c", program, str(folder), *arguments]
    return _run([*unshare, start, "sh", str(folder), *command])


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)


def fill(path: Path) -> None:
    """Write a file until no space is left on its disk.

    Args:
        path: the file; remove it to have the space back.
    """
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


@contextlib.contextmanager
def small_files(size: int) -> Iterator[None]:
    """Let no file of this process grow: the write that reaches the limit is cut short, the next one is refused.

    Python ignores the signal that comes with it, so a refused write is an ``OSError`` (``EFBIG``), as of a full disk.

    Args:
        size: the limit, in bytes.

    Raises:
        MachineRefuses: on Windows, which has no such limit.

    Example:
        >>> import os
        >>> with open("small", "wb", buffering=0) as file, small_files(10):
        ...     file.write(bytes(7)), file.write(bytes(7)), os.path.getsize("small")
        (7, 3, 10)
    """
    if sys.platform == "win32":
        raise MachineRefuses("Windows has no limit of file sizes", cure="run this test elsewhere")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
