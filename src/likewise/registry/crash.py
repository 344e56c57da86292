"""Crash points: the named moments of a write at which a test may end the process.

A writer takes a function and calls it with the name of each moment it passes; by default the function does nothing.
``likewise.testing.faults`` has functions that kill the process, or note the names.
"""

from __future__ import annotations

from collections.abc import Callable

CrashHook = Callable[[str], None]
"""Called with the name of a crash point, such as ``registry.commit.before_commit``."""


def no_crash(point: str) -> None:
    """Pass every crash point."""
