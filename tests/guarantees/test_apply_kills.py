"""An ``apply`` that is killed leaves the registry as exactly before or after it (T2), in a file and in a database."""

import random
import signal
import time

import pytest
from tests.guarantees.world import World

from likewise.plan.lookup import table_name
from likewise.registry.file import CRASH_POINTS
from likewise.testing.strategies import soaking

AFTER = ("registry.commit.after_commit", "apply.committed")
"""The points behind the commit."""
POINTS = [*(point for point in CRASH_POINTS if not point.startswith("registry.create")), "apply.committed"]


def state(world: World) -> tuple[int, list[str], list[object]]:
    """Return all that the registry says of the project: number, names, definitions."""
    with world.open() as store:
        catalog = store.registry.catalog("proof")
        assert [info.number for info in store.registry.history("proof")] == list(range(1, catalog.number + 1))
        return catalog.number, catalog.names("feature_view"), catalog.definitions()


@pytest.fixture(name="world")
def _world(request, new_world) -> World:
    world: World = new_world("sqlite", request.param)
    with world.open() as store:
        store.apply([world.definition()], partial=False, skip_source_validation=True)
    return world


@pytest.mark.parametrize("world", ["file", "postgres", "mysql"], indirect=True)
def test_an_apply_killed_anywhere_is_whole_or_absent(world, forks, figures):
    """Killed at named points and at random times, the registry is as before or after, the next apply whole (T2)."""
    before = state(world)
    began = time.monotonic()
    assert forks.run("apply", world, changed=True) == 0
    takes = time.monotonic() - began
    after = state(world)
    assert (after[1], after[0]) == (sorted([world.view, "w"]), before[0] + 1)
    killed = wrong = 0
    chosen = random.Random(20_240_401)
    points = [*POINTS, *[""] * 50] if soaking() else ["registry.commit.before_commit", "apply.committed"]
    for point in points:
        assert forks.run("apply", world) == 0
        was = state(world)
        assert was[1:] == before[1:]
        if point:
            code = forks.run("apply_at", world, point=point)
            assert code == -signal.SIGKILL, f"{point} was not passed"
        else:
            code = forks.run_killed("apply", world, takes * chosen.random(), changed=True)
        killed += code != 0
        now = state(world)
        is_after = now == (was[0] + 1, *after[1:])
        wrong += not is_after if code == 0 or point in AFTER else not (now == was or (is_after and not point))
        assert forks.run("apply", world, changed=True) == 0
        now = state(world)
        wrong += now != (was[0] + 1, *after[1:])
        with world.open() as store:
            store.online_store.check([table_name("proof", view) for view in store.definitions.views.values()])
    figures(kills=killed, cases=len(points), differences=wrong)
    assert wrong == 0
    assert killed >= len(set(points) - {""})
