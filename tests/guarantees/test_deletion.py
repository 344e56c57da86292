"""A key that is deleted while a materialization runs does not come back (T12), on every store."""

import pytest
from tests.guarantees.conftest import SHARED, keys_for
from tests.guarantees.world import NOW, generation, rows_of

from likewise.core.time import from_micros
from likewise.testing.strategies import soaking


@pytest.mark.parametrize("kind", ["memory", *SHARED])
def test_a_key_deleted_during_a_materialization_does_not_come_back(kind, new_world, figures):
    """Deleted between any two batches of a run that has read the file, before or after its own is written (T12)."""
    count = keys_for(kind, 3_000)
    world = new_world(kind, batch=count // 10 if soaking() else count // 4)
    world.write(rows_of(generation(0, count)))
    gone: list[int] = []

    def delete(point: str) -> None:
        if point in ("materialize.opened", "materialize.batch_written", "materialize.chunk_done"):
            keys = list(range(len(gone) % 7, count, 97 if count > 999 else 9))[len(gone) // 7 % 5 :][:9]
            store.delete_from_online_store(world.view, {"user": keys})
            gone.extend(keys)

    with world.open(delete) as store:
        store.apply([world.definition()])
        for end in (NOW - 1, NOW):  # the second run finds the tombstones of the first
            store.materialize(0, end, [world.view])
        served = store.get_online_features([f"{world.view}:n"], {"user": list(range(count))}).to_dict()["n"]
        never = {*range(count)}.difference(gone)
        back = [key for key in set(gone) if served[key] is not None]
        lost = [key for key, _, number in generation(0, count) if key in never and served[key] != number]
        figures(cases=len(set(gone)), differences=len(back) + len(lost))
        assert (back, lost) == ([], [])
        row = {
            "user": gone[0],
            "at": from_micros(NOW + 1),
            "made": from_micros(NOW),
            "n": 5,
            "text": "5 5 ",
            "twice": 10,
        }
        store.push(world.pushed, [row])
        assert len(gone) > 30
        again = store.get_online_features([f"{world.view}:n"], {"user": [gone[0]]}, as_of=NOW + 1).to_dict()["n"]
        assert again == [5]
