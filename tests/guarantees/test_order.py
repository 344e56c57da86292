"""Whoever writes, and in whatever order, the newest row of each key stays (T9, T10), on every store."""

import itertools
import random

import pytest
from tests.guarantees.conftest import SHARED, keys_for
from tests.guarantees.world import NOW, Stamp, rows_of, values_of, write_numbered

from likewise.core.types import Int64
from likewise.online.rows import Layout, RowReader
from likewise.testing.strategies import soaking

KEYS = 300
STAMPS: list[Stamp] = [(5, None), (5, 1), (5, 2), (6, None), (-1, 9)]
KINDS = ("memory", *SHARED)


def newest(rows):
    """Return the row of each key that counts, in plain Python: the greatest stamp, of equal ones the last (S2)."""
    found = {}
    for key, (event, created), number in rows:
        rank = (event, -(2**70) if created is None else created)
        if key not in found or rank >= found[key][0]:
            found[key] = rank, ((event, created), values_of(number))
    return {key: held for key, (_, held) in found.items()}


def rows_for(rounds, keys):
    """Return rows of the keys, in many rounds; no two of a key have the same stamp, so that any order ends alike."""
    stamps: list[Stamp] = [(NOW - 10**9 + n // 2, None if n % 2 else NOW - n) for n in range(rounds)]
    return [(key, stamp, key * 1000 + n) for n, stamp in enumerate(stamps) for key in range(keys)]


@pytest.mark.parametrize("kind", SHARED)
def test_materialize_push_and_write_of_the_same_keys_leave_no_stale_winner(kind, new_world, forks, figures):
    """A materialization, two pushers and a writer, each in a process and an order of its own: the newest stay (T9)."""
    rounds = 200 if soaking() else 6
    world = new_world(kind, batch=50)
    keys = keys_for(kind, KEYS)
    rows = rows_for(rounds, keys)
    chosen = random.Random(11)
    hands = [[], [], [], []]
    for row in rows:
        hands[chosen.randrange(4)].append(row)
    world.write(rows_of(hands[0]))
    with world.open() as store:
        store.apply([world.definition()])
    started = [forks.start("materialize", world)]
    for seed, hand in enumerate(hands[1:]):
        plain = [[key, event, created, number] for key, (event, created), number in hand]
        started.append(forks.start("write_stamps", world, stamps=plain, seed=seed, batch=60, push=seed < 2))
    assert [forks.wait(process) for process in started] == [0, 0, 0, 0]
    expected = newest(rows)
    with world.open() as store:
        held = world.held(store)
    stale = sum(held.get(key) != row for key, row in expected.items())
    figures(cases=len(rows), differences=stale)
    assert (stale, len(held)) == (0, keys)


@pytest.mark.parametrize("kind", KINDS)
def test_materialize_push_and_write_in_turns_leave_no_stale_winner(kind, new_world, figures):
    """The same rows by three ways that take turns, key by key at the same moment in each: the newest stay (T9)."""
    rounds = 60 if soaking() else 3
    world = new_world(kind)
    expected, rows, keys = {}, [], keys_for(kind, KEYS)
    with world.open() as store:
        for turn in range(rounds):
            three = [
                [
                    (key, (NOW - 10**6 + (turn * 7 + key * 3 + way * 5) % 11, None), 9 * turn + way)
                    for key in range(keys)
                ]
                for way in range(3)
            ]
            world.write(rows_of(three[0]))
            if not turn:
                store.apply([world.definition()])
            ways = [
                lambda given=None: store.materialize(0, NOW, [world.view]),
                lambda given=three[1]: store.push(world.pushed, rows_of(given)),
                lambda given=three[2]: store.write_to_online_store(world.view, rows_of(given)),
            ]
            for number in random.Random(turn).sample(range(3), 3):
                ways[number]()
                rows += three[number]
        expected, held = newest(rows), world.held(store)
    stale = sum(held.get(key) != row for key, row in expected.items())
    figures(cases=len(rows), differences=stale)
    assert stale == 0


@pytest.mark.parametrize("kind", SHARED)
def test_three_processes_that_write_three_stamps_in_every_order_end_alike(kind, new_world, forks, figures):
    """All 125 orders of three of five stamps, equal ones among them, each of the three by another process (T10)."""
    world = new_world(kind)
    orders = list(itertools.product(STAMPS, repeat=3))
    steps = [[(key, order[step], 10 * key + step) for key, order in enumerate(orders)] for step in range(3)]
    expected = {key: held[1][0] for key, held in newest([row for step in steps for row in step]).items()}
    with world.open() as store:
        store.online_store.create([world.orders])
        for step in steps:
            plain = [[key, event, created, number] for key, (event, created), number in step]
            assert forks.run("write_records", world, rows=plain) == 0
        across = read_numbers(store, world)
        write_numbered(store, world, [(key + 1000, *rest) for step in steps for key, *rest in step])
        at_once = read_numbers(store, world, 1000)
    wrong = sum(across[key] != n or at_once[key] != n for key, n in expected.items())
    figures(cases=2 * len(orders), differences=wrong)
    assert wrong == 0


def read_numbers(store, world, first=0):
    """Return the number that the table holds of each of 125 keys."""
    keys = [b"%05d" % (first + key) for key in range(len(STAMPS) ** 3)]
    [found] = store.online_store.read([(world.orders, keys)])
    return dict(enumerate(RowReader(Layout.of([("n", Int64)])).decode(keys, found).columns[0]))
