"""A materialization that is killed at any point ends as if it had not been (T1), on every store that lasts."""

import random
import signal
import time

import pytest
from tests.guarantees.conftest import EMBEDDED, SHARED, keys_for
from tests.guarantees.processes import Forks
from tests.guarantees.world import World, generation, rows_of, time_of, values_of

from likewise import FeatureStore
from likewise.registry.watermarks import read_watermark
from likewise.testing.strategies import soaking

SEED = 20_240_401
POINTS = {
    "materialize.opened": 1,
    "materialize.batch_written": 8,
    "materialize.chunk_written": 3,
    "materialize.chunk_done": 3,
    "materialize.finished": 1,
    "materialize.closed": 1,
}
"""Each named point, and how often a run passes it at least."""


def differences(world: World, store: FeatureStore, allowed: tuple[int, ...], keys: int) -> int:
    """Return how many keys have a record that is not, as a whole, that of one of the allowed generations."""
    held = world.held(store)
    right = [{key: (stamp, values_of(n)) for key, stamp, n in generation(each, keys)} for each in allowed]
    return sum(held.get(key) not in [each[key] for each in right] for key in range(keys)) + len(
        set(held) - {*range(keys)}
    )


def ahead_of(world: World, store: FeatureStore, number: int, keys: int) -> int:
    """Return how many keys lack a generation's record though the watermark says that all have it."""
    end = read_watermark(store.registry.side, "proof", world.view).end or 0
    return differences(world, store, (number,), keys) if end >= time_of(number) else 0


@pytest.mark.parametrize("kind", SHARED)
def test_a_materialization_killed_anywhere_ends_as_if_it_had_not_been(kind, new_world, forks, figures):
    """Records are wholly old or new, the watermark is never ahead, a rerun is as an unbroken run (T1).

    Half of the kills are at named points, the others at random times, which fall inside of the store's own writes.
    """
    kills = 50 if soaking() else 3 if kind in EMBEDDED else 1
    keys = keys_for(kind, 6_000 if soaking() else 3_000)
    world = new_world(kind, chunk_rows=max(1000, keys // 3), batch=keys // 12)
    takes = filled(world, keys, forks)
    killed = wrong = ahead = 0
    number = 1
    while killed < kills:
        number += 1
        chosen, end = random.Random(f"{SEED} {kind} {number}"), time_of(number)
        world.write(rows_of(generation(number, keys)))
        for _ in range(chosen.choice((1, 1, 2))):
            if chosen.random() < 0.5 or not killed:
                point = chosen.choice(list(POINTS)) if killed else "materialize.batch_written"
                code = forks.run("materialize", world, end=end, point=point, times=chosen.randint(1, POINTS[point]))
            else:
                code = forks.run_killed("materialize", world, takes * chosen.random(), end=end)
            assert code in (0, -signal.SIGKILL), f"seed {SEED}, {kind}, generation {number}"
            killed += code != 0
            with world.open() as store:
                wrong += differences(world, store, (number - 1, number), keys)
                ahead += ahead_of(world, store, number, keys)
        with world.open() as store:
            store.materialize(0, end, [world.view])
            wrong += differences(world, store, (number,), keys) + (ahead_of(world, store, number + 1, keys) != 0)
            before = world.raw(store)
            store.materialize(0, end, [world.view])
            assert world.raw(store) == before
    figures(kills=killed, cases=number * keys, differences=wrong + ahead)
    assert (wrong, ahead) == (0, 0), f"seed {SEED}"


def filled(world: World, keys: int, forks: Forks) -> float:
    """Let a world hold generation 1, of a process that nobody disturbed; return how long that took."""
    world.write(rows_of(generation(0, keys)))
    with world.open() as store:
        store.apply([world.definition()])
        store.materialize(0, time_of(0), [world.view])
        assert differences(world, store, (0,), keys) == 0
    world.write(rows_of(generation(1, keys)))
    began = time.monotonic()
    assert forks.run("materialize", world, end=time_of(1)) == 0
    return time.monotonic() - began
