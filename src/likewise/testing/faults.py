"""Faults: functions to give where a crash hook is taken, to end a process at a named moment, or to note the moments."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping

from likewise.registry.crash import CrashHook, no_crash

__all__ = ["VARIABLE", "CrashPoints", "crash_from_environment", "fail_at", "kill_at"]

VARIABLE = "LIKEWISE_CRASH_AT"
"""The environment variable that :func:`crash_from_environment` reads: a crash point, and ``:2`` for its second time."""


def kill_at(point: str, times: int = 1) -> CrashHook:
    """Return a hook that kills the process without any clean-up (SIGKILL) when it passes a crash point.

    Args:
        point: the name of the crash point.
        times: at which passing to kill, from 1.
    """
    left = times

    def hook(passed: str) -> None:
        nonlocal left
        left -= passed == point
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


def fail_at(point: str, error: Callable[[], BaseException]) -> CrashHook:
    """Return a hook that raises an error when it passes a crash point.

    Example:
        >>> fail_at("here", lambda: OSError("no space left"))("here")
        Traceback (most recent call last):
        ...
        OSError: no space left
    """

    def hook(passed: str) -> None:
        if passed == point:
            raise error()

    return hook


def crash_from_environment(environment: Mapping[str, str] = os.environ) -> CrashHook:
    """Return a hook that kills the process at the crash point that ``LIKEWISE_CRASH_AT`` names, or does nothing."""
    point, _, times = environment.get(VARIABLE, "").partition(":")
    return kill_at(point, int(times or 1)) if point else no_crash


class CrashPoints(list[str]):
    """A hook that notes the crash points it passes.

    Example:
        >>> points = CrashPoints()
        >>> points("a"), points("b"), points
        (None, None, ['a', 'b'])
    """

    def __call__(self, point: str) -> None:
        """Note a crash point."""
        self.append(point)
