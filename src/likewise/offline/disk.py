"""Disk: what is written besides answers, and what happens when there is no room for it."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from likewise.core.errors import StoreFull

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""No space, no more of one's share of it, no larger files."""


@contextlib.contextmanager
def room_for(what: str) -> Iterator[None]:
    """Turn the error of a full disk into one that says what there is no room for.

    Raises:
        StoreFull: the disk is full.

    Example:
        >>> with room_for("a copy of data.csv"):
        ...     raise OSError(28, "No space left on device")
        Traceback (most recent call last):
        likewise.core.errors.StoreFull: no space is left for a copy of data.csv. free some, or set temp_directory
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise StoreFull(f"no space is left for {what}", cure="free some, or set temp_directory") from error


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
