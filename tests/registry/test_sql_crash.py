"""A killed process leaves a registry on PostgreSQL as it was exactly before or after its commit (T2)."""

import os
import signal
import subprocess
import sys

import pytest

from likewise.core.errors import StoreUnavailable
from likewise.registry.sql import CRASH_POINTS, SqlRegistry
from likewise.testing.faults import VARIABLE, CrashPoints, fail_at

OLD = [{"kind": "entity", "name": "card"}, {"kind": "entity", "name": "old"}]
NEW = [{"kind": "entity", "name": "card", "owner": "ada"}, {"kind": "entity", "name": "new"}]

COMMIT = """
import json, sys
from likewise.registry.sql import SqlRegistry
from likewise.testing.faults import crash_from_environment

url, expected, definitions = sys.argv[1:]
with SqlRegistry(url, crash=crash_from_environment()) as registry:
    registry.commit("demo", int(expected), json.loads(definitions), now=1)
"""


def commit_and_die(url: str, expected: int, definitions: str, point: str) -> None:
    """Commit in another process, which is killed at a crash point."""
    command = [sys.executable, "-c", COMMIT, url, str(expected), definitions]
    done = subprocess.run(command, env={**os.environ, VARIABLE: point}, capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_the_crash_points_are_these(new_url) -> None:
    """A first commit passes every named crash point; a second one all but those of making the tables, in order."""
    points = CrashPoints()
    with SqlRegistry(new_url(), crash=points) as registry:
        registry.commit("demo", 0, OLD, now=1)
        assert sorted(points) == sorted(CRASH_POINTS)
        points.clear()
        registry.commit("demo", 1, NEW, now=1)
    assert points == [point for point in CRASH_POINTS if not point.startswith("registry.create")]


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_commit_is_whole_or_absent(new_url, point: str) -> None:
    """Killed at any point of a first or a later commit, the registry is as before or after; a second try succeeds."""
    url = new_url()
    first = point == "registry.commit.begin" or point.startswith("registry.create")
    with SqlRegistry(url) as registry:
        before = None if first else registry.commit("demo", 0, OLD, now=1)
        commit_and_die(
            url,
            0 if first else 1,
            '[{"kind":"entity","name":"card","owner":"ada"},{"kind":"entity","name":"new"}]',
            point,
        )
        committed = point == "registry.commit.after_commit"
        assert registry.head("demo") == (before is not None) + committed
        assert registry.catalog("demo").definitions() == (NEW if committed else OLD if before is not None else [])
        assert before is None or registry.catalog("demo", 1) == before
        assert registry.commit("demo", registry.head("demo"), NEW, now=2).number == 1 + (before is not None)
        assert registry.side.put("demo", "s", "a", 1, 0) > 0


@pytest.mark.parametrize("point", CRASH_POINTS[:-1])
def test_an_error_at_any_point_changes_nothing(new_url, point: str) -> None:
    """An error at any point before the end of a commit leaves no trace, and the same registry goes on."""
    url = new_url()
    with SqlRegistry(url, crash=fail_at(point, lambda: StoreUnavailable(point))) as registry:
        with pytest.raises(StoreUnavailable, match=point):
            registry.commit("demo", 0, OLD, now=1)
        assert registry.head("demo") == 0
        assert registry.catalog("demo").definitions() == []
    with SqlRegistry(url) as registry:
        assert registry.commit("demo", 0, OLD, now=1).number == 1
