"""A clock that is wrong, and values as old as their ttl: training, serving and the documents say the same (T11)."""

from datetime import timedelta

import pyarrow as pa
import pytest
from tests.guarantees.conftest import SHARED
from tests.guarantees.world import NOW, World, rows_of

from likewise.core.errors import InvalidTime
from likewise.testing.strategies import soaking

HOUR, DAY = 3_600_000_000, 86_400_000_000
TIMES = pa.timestamp("us", "UTC")
pytestmark = pytest.mark.filterwarnings("ignore:view:UserWarning")


def world_of(new_world, kind, rows, **view) -> World:
    """Return a world that holds rows of user 1, applied."""
    world: World = new_world(kind)
    world.write(rows_of([(1, (at, None), number) for at, number in rows]))
    with world.open() as store:
        store.apply([world.definition(**view)])
    return world


def trained(store, world, at):
    """Return what a training set says of user 1 at a time."""
    spine = pa.table({"user": [1], "event_timestamp": pa.array([at], TIMES)})
    return store.get_historical_features(spine, [f"{world.view}:n"]).to_arrow()["n"].to_pylist()[0]


def served(store, world, at=None):
    """Return what is served of user 1, and its status; now, or as of a time."""
    answer = store.get_online_features([f"{world.view}:n"], {"user": [1]}, as_of=at)
    return answer.to_dict()["n"][0]


@pytest.mark.parametrize("kind", ["memory", *SHARED] if soaking() else ["memory", "lmdb", "remote"])
@pytest.mark.parametrize("ttl", [None, 0, HOUR])
def test_training_and_serving_agree_at_every_edge_of_a_ttl(kind, ttl, new_world, figures):
    """A row of just the ttl's age counts, 1 µs older not; None and 0 are no limit; 1 µs early there is none (T11)."""
    span = None if ttl is None else timedelta(microseconds=ttl)
    world = world_of(new_world, kind, [(NOW - 3 * HOUR, 7)], ttl=span)
    began = NOW - 3 * HOUR
    limited = bool(ttl)
    expected = {began - 1: None, began: 7, began + HOUR - 1: 7, began + HOUR: 7}
    expected |= {began + HOUR + 1: None if limited else 7, NOW: None if limited else 7}
    with world.open() as store:
        store.materialize(0, NOW, [world.view])
        wrong = sum((trained(store, world, at), served(store, world, at)) != (n, n) for at, n in expected.items())
        if kind != "memory":  # which ends with its process
            for at, value in expected.items():
                with world.open(now=at) as then:
                    wrong += served(then, world) != value
    figures(cases=3 * len(expected), differences=wrong)
    assert wrong == 0


@pytest.mark.parametrize("kind", ["lmdb", "sqlite"])
def test_a_clock_that_was_wrong_for_a_while_loses_nothing(kind, new_world):
    """An hour back, a day forward, right again: every run ends, and the newest row known by now is served (T11)."""
    world = world_of(new_world, kind, [(NOW - 2 * DAY, 1), (NOW - HOUR // 2, 2)])
    with world.open() as store:
        store.materialize_incremental(NOW)
        assert served(store, world) == 2
    with world.open(
        now=NOW - HOUR
    ) as store:  # an hour back: what was known stays stored, and is not served before its time
        assert store.materialize_incremental(NOW - HOUR)[0].end == NOW - HOUR
        assert served(store, world) == trained(store, world, NOW - HOUR) or served(store, world) is None
        store.push(world.pushed, rows_of([(1, (NOW - HOUR + 1, None), 3)]))
    with world.open() as store:
        assert served(store, world) == 2
    world.write(rows_of([(1, (NOW - 2 * DAY, None), 1), (1, (NOW + HOUR, None), 4)]))
    with world.open(now=NOW + DAY) as store:  # a day ahead
        store.materialize_incremental(NOW + DAY)
        assert served(store, world) == 4
    with world.open() as store:  # right again: an end in the future is refused, late rows are found by a whole run
        with pytest.raises(InvalidTime, match="lies in the future"):
            store.materialize(0, NOW + 1)
        world.write(rows_of([(1, (NOW - 1, None), 5)]))
        store.materialize(0, NOW)
    with world.open(now=NOW + 2 * HOUR) as store:
        assert served(store, world) == 4
        store.push(world.pushed, rows_of([(1, (NOW + 2 * HOUR, None), 6)]))
        assert served(store, world) == 6
