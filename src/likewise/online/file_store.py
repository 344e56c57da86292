"""What the stores that keep files share: a lock for writers with bounded waits, and errors that say what happened."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from likewise.core.errors import StoreError, StoreFull, StoreUnavailable

if sys.platform != "win32":
    import fcntl
    import resource

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""The operating system's words for "no space left"."""
_POLL = (0.0005, 0.02)


class WriterLock:
    """A lock that one thread of one process holds at a time; waits are bounded, and a killed holder lets go.

    LMDB and others have locks of their own, but wait for them without end.

    Args:
        file: the file to lock; it is made, and holds the number of the process that has the lock.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._threads = threading.Lock()
        self._handle: int | None = None

    @contextlib.contextmanager
    def held(self, wait: float) -> Iterator[None]:
        """Hold the lock.

        Args:
            wait: for how long to wait for it, in seconds.

        Raises:
            StoreUnavailable: somebody else had it for all of that time.
        """
        if not self.acquire(wait):
            raise StoreUnavailable(
                f"another writer ({self._holder()}) holds {self._file.parent} for more than {wait:g} s",
                cure="try again when it is done",
            )
        try:
            yield
        finally:
            self.release()

    def acquire(self, wait: float) -> bool:
        """Take the lock; whether that was possible within ``wait`` seconds."""
        deadline = time.monotonic() + wait
        if not self._threads.acquire(timeout=wait):
            return False
        try:
            done = self._acquire_between_processes(deadline)
        except BaseException:
            self._threads.release()
            raise
        if not done:
            self._threads.release()
        return done

    def release(self) -> None:
        """Give the lock back."""
        if sys.platform != "win32" and self._handle is not None:
            fcntl.lockf(self._handle, fcntl.LOCK_UN)
        self._threads.release()

    def pause(self) -> None:
        """Wait for the thread that has the lock, let go of the file, and keep all others waiting."""
        self._threads.acquire()
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def resume(self) -> None:
        """End :meth:`pause`; the next use opens the file again."""
        self._threads.release()

    def _acquire_between_processes(self, deadline: float) -> bool:
        if sys.platform == "win32":
            return True
        if self._handle is None:
            self._handle = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        pause, longest = _POLL
        while True:
            try:
                fcntl.lockf(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    raise
            else:
                with contextlib.suppress(OSError):  # only a hint for the others' messages
                    os.pwrite(self._handle, b"%-10d" % os.getpid(), 0)
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(pause)
            pause = min(2 * pause, longest)

    def _holder(self) -> str:
        if self._handle is None:
            return "a thread of this process"
        try:  # through the same handle: closing another one on the file would give up a lock of this process
            process = int(os.pread(self._handle, 10, 0))
        except (OSError, ValueError):
            return "a process"
        return "a thread of this process" if process == os.getpid() else f"process {process}"


def no_space(path: Path, need: int, why: str) -> StoreFull:
    """Return the error for a write that found no space.

    Args:
        path: the file or folder that could not grow.
        need: how many bytes the write has, about.
        why: what the system or the library said.
    """
    try:
        free = f"{megabytes(shutil.disk_usage(path if path.is_dir() else path.parent).free)} are free there"
    except OSError:
        free = "how much is free there cannot be told"
    return StoreFull(
        f"no space in {path} for a write of {megabytes(need)} ({why}); {free}; nothing was written, and reads go on",
        cure="free some space, or move the store to a larger disk, and write again",
    )


def looks_full(file: Path, size: int) -> bool:
    """Whether a write that failed with a mere "input/output error" was one that found no space.

    Libraries say that of a write which was cut short, whatever the reason.

    Args:
        file: the file that was to grow.
        size: how many bytes were to be written, about.
    """
    near = 4 * size + (1 << 20)
    try:
        return shutil.disk_usage(file.parent).free < near or _largest_file() - file.stat().st_size < near
    except OSError:
        return False


def _largest_file() -> float:
    """Return how large this process may make a file (``ulimit -f``)."""
    if sys.platform == "win32":
        return float("inf")
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return float("inf") if limit == resource.RLIM_INFINITY else limit


def megabytes(size: int) -> str:
    """Write a number of bytes for people.

    Example:
        >>> megabytes(1_500_000), megabytes(900)
        ('1.5 MB', '1 kB')
    """
    return f"{size / 1_000_000:.1f} MB" if size >= 100_000 else f"{max(1, round(size / 1000))} kB"


def named_os_error(error: OSError, path: Path, doing: str) -> StoreError:
    """Return the error for what the operating system refused.

    Args:
        error: what it said.
        path: the store's file or folder.
        doing: what was tried, such as "opened".
    """
    if error.errno in NO_SPACE:
        return no_space(path, 65_536, str(error.strerror))
    return StoreError(
        f"the online store {path} cannot be {doing}: {error.strerror or error}",
        cure="check that the path exists on a local disk, and that this user may write there",
    )
