"""The crash hooks do what they say."""

import os
import signal
import subprocess
import sys

import pytest

from likewise.registry.crash import no_crash
from likewise.testing.faults import VARIABLE, crash_from_environment, kill_at


def test_without_the_variable_nothing_happens() -> None:
    """The environment names no crash point unless it is set."""
    assert crash_from_environment({}) is no_crash


def test_other_points_are_passed() -> None:
    """A hook lets every point pass but its own, and its own until its time."""
    hook = kill_at("here", times=2)
    hook("there")
    hook("here")
    hook("there")


@pytest.mark.parametrize(("setting", "passed"), [("here", "0"), ("here:3", "012")])
def test_the_process_is_killed(setting: str, passed: str) -> None:
    """The process ends at the named point, the first or the n-th time, without clean-up."""
    script = """
from likewise.testing.faults import crash_from_environment
hook = crash_from_environment()
try:
    for n in range(9):
        print(n, end="", flush=True)
        hook("here")
finally:
    print("cleaned up", flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, VARIABLE: setting},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, passed)
