"""The arrays of the as-of join find what loops find."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from likewise.offline.asof import LONGEST, NEVER, NOBODY, Ints, Latest, Rows, Slots
from likewise.testing import oracle

FEW = st.integers(0, 4)
SOURCE = st.lists(st.tuples(FEW, FEW, st.none() | FEW), max_size=25)
SPINE = st.lists(st.tuples(st.integers(-1, 4), st.none() | st.integers(-1, 6)), max_size=12)


def rows_of(source: list[tuple[int, int, int | None]], created: bool = True) -> Rows:
    """Return (key, event, created) as rows in the order given."""
    made = ints(NEVER if made is None else made for _, _, made in source) if created else None
    return Rows(ints(k for k, _, _ in source), ints(e for _, e, _ in source), made, np.arange(len(source)))


def ints(values: Iterable[int]) -> Ints:
    """Return numbers as an array."""
    return np.fromiter(values, np.int64)


def answers(spine: list[tuple[int, int | None]], rows: Rows, ttl: int | None, known_by: bool, order: Ints) -> list[int]:
    """Return the place of the row for each entity row; the source comes in an order and in pieces of three."""
    slots = Slots(ints(k for k, _ in spine), ints(NEVER if t is None else t for _, t in spine), 5)
    latest = Latest(len(slots), rows.created is not None)
    for start in range(0, len(order), 3):
        latest.add(slots.place(rows.only(order[start : start + 3]), ttl, known_by))
    return [int(place) for place in slots.answers(latest, ttl, known_by)]


@given(SOURCE, SPINE, st.none() | st.integers(1, 3), st.booleans(), st.booleans(), st.randoms(use_true_random=False))
def test_the_slots_find_what_the_oracle_finds(source, spine, ttl, known_by, created, random) -> None:  # type: ignore[no-untyped-def]
    """Whatever the order of the rows, each entity row gets the row that S2-S4 say."""
    rows = [oracle.Row((k,), e, c if created else None, place, ()) for place, (k, e, c) in enumerate(source)]
    found = [oracle.as_of(rows, (k if k >= 0 else None,), t, ttl, known_by) for k, t in spine]
    expected = [NOBODY if one.row is None or one.expired else one.row.order for one in found]
    order = list(range(len(source)))
    random.shuffle(order)
    assert answers(spine, rows_of(source, created), ttl, known_by, np.array(order, np.int64)) == expected


def test_the_order_of_the_rows_changes_nothing() -> None:
    """Forwards, backwards and in threads, a million rows give the same answers."""
    rng = np.random.default_rng(5)
    count, keys = 300_000, 5_000
    code, event, created = (rng.integers(0, high, count) for high in (keys, 1000, 3))
    rows = Rows(code, event, created, np.arange(count))
    slots = Slots(rng.integers(0, keys, 20_000), rng.integers(0, 1100, 20_000), keys)

    def find(blocks: list[Rows], threads: int) -> list[int]:
        latest = Latest(len(slots), created=True)
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda block: latest.add(slots.place(block, 50, known_by=False)), blocks))
        return [int(place) for place in slots.answers(latest, 50, known_by=False)]

    blocks = [rows.only(slice(start, start + 7000)) for start in range(0, count, 7000)]
    expected = find([rows], 1)
    assert find(blocks[::-1], 1) == expected
    assert find(blocks, 4) == expected
    assert sum(len(block.code) for block in rows.blocks()) == count


@pytest.mark.parametrize("known_by", [False, True])
def test_no_slots(known_by: bool) -> None:
    """Entity rows without keys or times have no slots, and no answers."""
    slots = Slots(np.array([NOBODY, 0]), np.array([5, NEVER]), 1)
    assert len(slots) == 0
    assert slots.answers(Latest(0, created=True), 3, known_by).tolist() == [NOBODY, NOBODY]


def test_the_longest_ttl_does_not_overflow() -> None:
    """A ttl that is longer than all of time reaches back to its beginning."""
    first, last = -62_135_596_800_000_000, 253_402_300_799_999_999
    slots = Slots(np.array([0]), np.array([last]), 1)
    latest = Latest(1, created=False)
    latest.add(slots.place(Rows(np.array([0]), np.array([first]), None, np.array([9])), LONGEST, known_by=False))
    assert slots.answers(latest, LONGEST, known_by=False).tolist() == [9]


def test_a_key_with_very_many_slots() -> None:
    """One key's 100,000 entity rows beside keys with one each are searched to the exact microsecond."""
    times = np.arange(100_000) * 2
    slots = Slots(np.concatenate([np.zeros(100_000, np.int64), [1, 2]]), np.concatenate([times, [7, 8]]), 4)
    rows = Rows(np.array([0, 0, 1, 2, 3]), np.array([77_777, 199_998, 7, 9, 0]), None, np.arange(5))
    latest = Latest(len(slots), created=False)
    latest.add(slots.place(rows, None, known_by=False))
    found = slots.answers(latest, None, known_by=False)
    assert np.flatnonzero(found == 0).tolist() == list(range(38_889, 99_999))
    assert found[[99_999, 100_000, 100_001]].tolist() == [1, 2, NOBODY]
