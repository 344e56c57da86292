"""A killed process leaves the registry as it was exactly before or after its commit (T2)."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from likewise.registry.file import CRASH_POINTS, FileRegistry
from likewise.testing.faults import VARIABLE, CrashPoints, fail_at

OLD = [{"kind": "entity", "name": "card"}, {"kind": "entity", "name": "old"}]
NEW = [{"kind": "entity", "name": "card", "owner": "ada"}, {"kind": "entity", "name": "new"}]

COMMIT = """
import json, sys
from likewise.registry.file import FileRegistry
from likewise.testing.faults import crash_from_environment

path, expected, definitions = sys.argv[1:]
with FileRegistry(path, crash=crash_from_environment()) as registry:
    registry.commit("demo", int(expected), json.loads(definitions), now=1)
"""
COMMIT_FOREVER = """
import sys
from likewise.registry.file import FileRegistry

with FileRegistry(sys.argv[1]) as registry:
    while True:
        number = registry.head("demo")
        views = [{"kind": "entity", "name": f"e{n}", "at": number, "text": "x" * 2000} for n in range(60)]
        registry.commit("demo", number, views, now=number)
        registry.side.put("demo", "s", "a", number + 1, None)
        print(number + 1, flush=True)
"""


def commit_and_die(path: Path, expected: int, definitions: str, point: str) -> None:
    """Commit in another process, which is killed at a crash point."""
    command = [sys.executable, "-c", COMMIT, str(path), str(expected), definitions]
    done = subprocess.run(command, env={**os.environ, VARIABLE: point}, capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_the_crash_points_are_these(tmp_path: Path) -> None:
    """A first commit passes every named crash point in order; a second one all but those of making the file."""
    points = CrashPoints()
    with FileRegistry(tmp_path / "registry.db", crash=points) as registry:
        registry.commit("demo", 0, OLD, now=1)
        assert sorted(points) == sorted(CRASH_POINTS)
        points.clear()
        registry.commit("demo", 1, NEW, now=1)
    assert points == [point for point in CRASH_POINTS if not point.startswith("registry.create")]


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_first_commit_is_whole_or_absent(tmp_path: Path, point: str) -> None:
    """Killed at any point of a first commit, the registry is empty, or has the commit; a second try succeeds."""
    path = tmp_path / "data" / "registry.db"
    commit_and_die(path, 0, '[{"kind": "entity", "name": "card"}, {"kind": "entity", "name": "old"}]', point)
    with FileRegistry(path) as registry:
        expected = [[], OLD][registry.head("demo")]
        assert registry.head("demo") == (point == "registry.commit.after_commit")
        assert registry.catalog("demo").definitions() == expected
        made = registry.commit("demo", registry.head("demo"), OLD, now=2)
    assert made.number == 1


@pytest.mark.parametrize("point", [point for point in CRASH_POINTS if not point.startswith("registry.create")])
def test_a_later_commit_is_whole_or_absent(tmp_path: Path, point: str) -> None:
    """Killed at any point of a later commit, the registry is as exactly before or after."""
    path = tmp_path / "registry.db"
    with FileRegistry(path) as registry:
        before = registry.commit("demo", 0, OLD, now=1)
        commit_and_die(path, 1, '[{"kind":"entity","name":"card","owner":"ada"},{"kind":"entity","name":"new"}]', point)
        committed = point == "registry.commit.after_commit"
        assert registry.head("demo") == 1 + committed
        assert registry.catalog("demo").definitions() == (NEW if committed else OLD)
        assert registry.catalog("demo", 1) == before
        assert len(registry.history("demo")) == 1 + committed
        assert registry.commit("demo", registry.head("demo"), NEW, now=2).number == 2


@pytest.mark.parametrize("seed", range(6))
def test_a_commit_killed_at_any_time_is_whole_or_absent(tmp_path: Path, seed: int) -> None:
    """Killed after a random time, also inside of SQLite's own commit, the registry has whole catalogs only."""
    path = tmp_path / "registry.db"
    with subprocess.Popen(
        [sys.executable, "-c", COMMIT_FOREVER, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        time.sleep(random.Random(seed).uniform(0.005, 0.1))
        process.kill()
        told = [1, *map(int, process.stdout.read().split())][-1]
    with FileRegistry(path) as registry:
        head = registry.head("demo")
        assert told <= head <= told + 1
        assert {definition["at"] for definition in registry.catalog("demo").definitions()} == {head - 1}
        assert [info.number for info in registry.history("demo")] == list(range(1, head + 1))
        side = registry.side.get("demo", "s", "a")
        assert side is not None
        assert side.value in (head - 1, head)
        assert registry.commit("demo", head, OLD, now=1).number == head + 1


@pytest.mark.parametrize("point", CRASH_POINTS[:-1])
def test_an_error_at_any_point_changes_nothing(tmp_path: Path, point: str) -> None:
    """An error at any point before the end of a commit leaves no trace, and the same registry goes on."""
    path = tmp_path / "registry.db"
    with FileRegistry(path, crash=fail_at(point, lambda: RuntimeError(point))) as registry:
        with pytest.raises(Exception, match=point):
            registry.commit("demo", 0, OLD, now=1)
        assert registry.head("demo") == 0
        assert registry.catalog("demo").definitions() == []
    with FileRegistry(path) as registry:
        assert registry.commit("demo", 0, OLD, now=1).number == 1
    assert [each.name for each in tmp_path.iterdir()] == ["registry.db"]
