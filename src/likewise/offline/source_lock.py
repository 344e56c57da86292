"""SourceLock: who adds files to a source and who takes stock of them keep out of each other's way (G4).

A push that goes to the files and to the online store holds the lock from the moment at which it looks which back-fill
is the last one until its file is there; many pushes may do so at once. A back-fill holds it alone while it begins and
looks which files there are. So each push is, as a whole, before a back-fill or after it.

The lock lies beside the source, in two hidden files: whoever comes passes the first one to get to the second, and who
wants the second one alone keeps the first, so that a stream of pushes cannot keep a back-fill waiting for ever. A
process that is killed lets go of both.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from likewise.core.errors import SourceError, StoreUnavailable
from likewise.offline.files import beside
from likewise.plan.scan import Location

if sys.platform != "win32":
    import fcntl

WAIT = 60.0
"""For how many seconds to wait for others."""
_POLL = (0.0002, 0.01)
_READ_ONLY = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


@contextlib.contextmanager
def guarded(location: Location, alone: bool, wait: float = WAIT) -> Iterator[None]:
    """Hold the lock of a source.

    Args:
        location: where the source lies.
        alone: whether nobody else may hold it: to take stock of the files. A source that cannot be written needs no
            lock for that, as nobody adds to it.
        wait: for how long to wait for others, in seconds.

    Raises:
        StoreUnavailable: others held it for all of that time.
        SourceError: a file is to be added, and the folder cannot be written.
    """
    added = Path(beside(location))
    deadline = time.monotonic() + wait
    with (
        _opened(added.with_name(f".{added.name}.gate"), alone) as gate,
        _opened(added.with_name(f".{added.name}.lock"), alone) as lock,
    ):
        _take(gate, True, deadline, added)
        _take(lock, alone, deadline, added)
        if not alone:
            _let_go(gate)
        yield


@contextlib.contextmanager
def _opened(path: Path, alone: bool) -> Iterator[int | None]:
    handle = _open(path, alone)
    try:
        yield handle
    finally:
        if handle is not None:
            os.close(handle)  # which lets go of the lock


def _open(path: Path, alone: bool) -> int | None:
    if sys.platform == "win32":
        return None
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if path.exists():
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        if error.errno == errno.ENOENT or (alone and error.errno in _READ_ONLY):
            return None
        raise SourceError(f"{path} cannot be written: {error}", cure="see to the folder and its rights") from error


def _take(handle: int | None, alone: bool, deadline: float, added: Path) -> None:
    if sys.platform == "win32" or handle is None:
        return
    pause, longest = _POLL
    while True:
        try:
            fcntl.flock(handle, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise StoreUnavailable(
                    f"others hold the files of {str(added).removesuffix('.appended')} for too long",
                    cure="try again when their pushes and materializations are done",
                ) from None
        else:
            return
        time.sleep(pause)
        pause = min(2 * pause, longest)


def _let_go(handle: int | None) -> None:
    if sys.platform != "win32" and handle is not None:
        fcntl.flock(handle, fcntl.LOCK_UN)
