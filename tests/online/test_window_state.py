"""What the online store keeps of a windowed view: any history, folded in any way, gives the oracle's values."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from likewise.core.aggregates import NEVER, aggregate_for
from likewise.core.errors import AggregateOverflow, RecordCorrupt, StoreTooNew
from likewise.core.types import Float32, Float64, Int32, Int64, String
from likewise.core.windows import BEFORE_ALL, Window
from likewise.online import rows
from likewise.online.memory import MemoryStore
from likewise.online.response import FieldStatus
from likewise.online.rows import tombstone
from likewise.online.window_fold import Folding
from likewise.online.window_layout import LIFE_HOP
from likewise.online.window_state import META_KEY, Events, Meta, WindowStates
from likewise.plan.windows import WindowFeature, WindowInput, WindowSet
from likewise.testing.strategies import examples
from likewise.testing.window_histories import play, window_histories

KEY = b"\1k"
AT_ONCE = Folding(tail=0, grace=0, most=0)
LIVE = Meta(BEFORE_ALL, None, 0)


@given(window_histories())
@settings(max_examples=examples(80, 20_000))
def test_any_history_gives_the_values_of_the_oracle(history):
    """Pushes in any split and order, back-fills, deletions and foldings give the oracle's values, or NOT_FOUND."""
    play(history)


def windows(*features, inputs=(Int64,)):
    """Return a window set of (function, window) or (function, window, type, input) over some inputs."""
    made = []
    for number, (function, window, *more) in enumerate(features):
        of = more[1] if len(more) > 1 else 0
        kind = more[0] if more and more[0] else aggregate_for(function, inputs[of]).output
        made.append(WindowFeature(f"f{number}", of, function, window, kind))
    return WindowSet("cards", tuple(WindowInput(f"c{n}", "", kind) for n, kind in enumerate(inputs)), tuple(made))


INTS = (pa.int64(),)
FLOATS = (pa.int64(), pa.float64())
NUMBERS = ("count", "sum", "mean", "min", "max")


def events(*given, key=KEY, kinds=INTS):
    """Return events of one key: (time, value, ...)."""
    times = np.array([each[0] for each in given], np.int64)
    columns = [pa.array([each[1 + n] for each in given], kind) for n, kind in enumerate(kinds)]
    return Events([key], np.zeros(len(times), np.int64), times, None, np.arange(len(times)), columns)


def pushed(states, stored, given, now, arrival=0, meta=None, token=None, in_source=False):
    """Push events of one key, and return its record."""
    [record] = states.pushed([KEY], [stored], given, arrival, token, in_source, now, meta)
    return stored if record is None else record


def read(states, stored, t, meta=LIVE, wanted=None):
    """Return the values of one key; the name of the status where there is none."""
    asked = range(len(states.windows.features)) if wanted is None else wanted
    told = None if meta is None else states.meta(meta)
    found = states.values([KEY], [stored], told, t, list(asked))
    return [
        column[0] if states_of[0] is FieldStatus.PRESENT else states_of[0].name
        for column, states_of in zip(found.columns, found.states, strict=True)
    ]


# What a read says


def test_a_window_empties_by_itself():
    """The same record gives other values as time passes, and in the end those of an empty window."""
    states = WindowStates(windows(("count", Window(10)), ("sum", Window(10)), ("max", Window(10, 5))), "t", False)
    record = pushed(states, None, events((1, 5), (4, 7)), now=4)
    assert [read(states, record, t) for t in (0, 1, 4, 11, 14, 20)] == [
        [0, None, None],
        [1, 5, 5],
        [2, 12, 7],
        [1, 7, 7],
        [0, None, 7],
        [0, None, None],
    ]


def test_an_unknown_key_has_an_empty_window_where_the_view_is_live():
    """Without a record a live view counts 0; one that is not live, or reaches further back, says NOT_FOUND."""
    states = WindowStates(windows(("count", Window(10)), ("last", Window(10)), ("count", Window(None))), "t", True)
    assert read(states, None, 100, None) == ["NOT_FOUND"] * 3
    assert read(states, None, 100, Meta(BEFORE_ALL, 50, 0)) == [0, None, 0]
    assert read(states, None, 100, Meta(90, 95, 0)) == [0, None, "NOT_FOUND"]
    assert read(states, None, 99, Meta(90, 95, 0)) == ["NOT_FOUND"] * 3


def test_an_event_of_the_future_counts_from_its_time_on():
    """An event pushed before its time is kept until then, whatever is folded meanwhile."""
    states = WindowStates(windows(("sum", Window(10, 5)), ("sum", Window(None))), "t", False, AT_ONCE)
    record = pushed(states, None, events((50, 1), (3, 2)), now=4)
    record = pushed(states, record, events((4, 4)), now=5)
    assert [read(states, record, t) for t in (5, 49, 50, 66)] == [[6, 6], [None, 6], [1, 7], [None, 7]]


def test_what_cannot_be_told_exactly_is_not_found():
    """A time inside of a tile, or before what was dropped, is NOT_FOUND; times at the edges of tiles are exact."""
    states = WindowStates(windows(("sum", Window(20, 10))), "t", False, AT_ONCE)
    record = pushed(states, None, events(*((n, 1) for n in range(1, 101))), now=100)
    assert read(states, record, 100) == [20]
    assert read(states, record, 95) == ["NOT_FOUND"]
    assert [read(states, record, t) for t in (90, 80)] == [[20], ["NOT_FOUND"]]
    kept = WindowStates(states.windows, "t", False, Folding(tail=0, grace=30, most=0))
    record = pushed(kept, None, events(*((n, 1) for n in range(1, 101))), now=100)
    assert [read(kept, record, t) for t in (100, 95, 90, 80)] == [[20], ["NOT_FOUND"], [20], [20]]


def test_a_reader_whose_clock_is_behind_is_answered():
    """For a minute before the newest push, reads are exact: folding leaves that much as events."""
    second = 1_000_000
    states = WindowStates(
        windows(("count", Window(3600 * second, 60 * second)), ("count", Window(90 * second))), "t", False
    )
    record = None
    for n in range(200):
        record = pushed(states, record, events((n * second, 1)), now=n * second)
    assert states.contents(KEY, record).tiles
    for behind in range(60):
        t = (199 - behind) * second
        assert read(states, record, t) == [200 - behind, min(200 - behind, 90)]


def test_windows_of_one_slide_are_reduced_together():
    """Nested windows, some with a delay, some that cannot be told, give what each gives alone, of all numbers."""
    spans = (Window(20, 10), Window(40, 10), Window(40, 10, 15), Window(30, 15), Window(25), Window(None))
    made = windows(*((name, of, None, n) for of in spans for n in (0, 1) for name in NUMBERS), inputs=(Int64, Float64))
    states = WindowStates(made, "t", False, AT_ONCE)
    given = [(n, n % 7 - 3, None if n % 5 == 0 else n / 3) for n in range(1, 101)]
    record = None
    for start in range(0, 100, 20):
        record = pushed(states, record, events(*given[start : start + 20], kinds=FLOATS), now=start + 20)
    plain = WindowStates(made, "t", False)
    events_only = pushed(plain, None, events(*given, kinds=FLOATS), now=0)
    for t in (60, 85, 90, 99, 100, 104, 118, 200):
        together = read(states, record, t)
        assert together == [read(states, record, t, wanted=[n])[0] for n in range(len(made.features))]
        exact = read(plain, events_only, t)
        assert all(mine in (right, "NOT_FOUND") for mine, right in zip(together, exact, strict=True))
    assert "NOT_FOUND" not in read(states, record, 104)


def test_the_last_row_of_a_record_is_reduced_to_its_end():
    """A record that ends with a row of extremes gives them."""
    states = WindowStates(windows(("max", Window(20, 10)), ("min", Window(40, 10))), "t", False, AT_ONCE)
    record = pushed(states, None, events(*((n, n % 9) for n in range(1, 51))), now=50)
    assert read(states, record, 50) == [8, 0]
    assert read(states, None, 50) == [None, None]


def test_declared_types_win_over_those_of_the_functions():
    """A Float32 is rounded, an Int32 is checked, and an integer becomes a float where the feature is declared so."""
    life = Window(None)
    made = windows(("sum", life, Float32, 1), ("sum", life, Int32), ("count", life, Float64), inputs=(Int64, Float64))
    states = WindowStates(made, "t", False)
    kinds = (pa.int64(), pa.float64())
    record = pushed(states, None, events((1, 2**31 - 1, 0.1), kinds=kinds), now=1)
    assert read(states, record, 1) == [0.10000000149011612, 2**31 - 1, 1.0]
    record = pushed(states, record, events((1, 1, 1e300), kinds=kinds), now=1)
    for feature, said in ((0, "'f0' is 1e\\+300, beyond Float32"), (1, "'f1' is 2147483648, beyond Int32")):
        with pytest.raises(AggregateOverflow, match=said):
            read(states, record, 1, wanted=[feature])


def test_sums_beyond_64_bits_are_refused_and_come_back():
    """An integer sum that is too great is a named error, from tiles as from events, and right again when it is not."""
    states = WindowStates(windows(("sum", Window(10, 5)), ("mean", Window(10, 5))), "t", False, AT_ONCE)
    record = pushed(states, None, events((1, 2**63 - 1), (2, 2**63 - 1), (7, 5)), now=7)
    with pytest.raises(AggregateOverflow, match="beyond Int64"):
        read(states, record, 7, wanted=[0])
    assert read(states, record, 7, wanted=[1]) == [(2**64 + 3) / 3]
    assert read(states, record, 15) == [5, 5.0]


def test_sums_of_floats_forget_nothing():
    """What leaves a window, or cancels, leaves no trace: 1e16 + 1 - 1e16 is 1, in any order of foldings."""
    made = windows(("sum", Window(10, 5)), ("mean", Window(None)), inputs=(Float64,))
    for rule in (AT_ONCE, Folding()):
        states, record = WindowStates(made, "t", False, rule), None
        for time, value in ((1, 1e16), (2, 1.0), (3, -1e16), (8, 0.1), (9, float("inf"))):
            record = pushed(states, record, events((time, value), kinds=(pa.float64(),)), now=time)
        assert read(states, record, 9) == [float("inf"), float("inf")]
        first = pushed(states, None, events((1, 1e16), (2, 1.0), (3, -1e16), kinds=(pa.float64(),)), now=3)
        assert read(states, first, 3) == [1.0, 1.0 / 3]


# What a push does


def test_a_token_is_remembered_for_256_pushes():
    """A push that is sent again changes nothing, until 256 others came in between."""
    states = WindowStates(windows(("count", Window(None))), "t", False)
    record = pushed(states, None, events((1, 1)), now=1, token=b"first")
    assert states.pushed([KEY], [record], events((1, 1)), 0, b"first", False, 1) == [None]
    for n in range(255):
        record = pushed(states, record, events((1, 1)), now=1, token=b"%d" % n)
    assert read(states, pushed(states, record, events((1, 1)), now=1, token=b"first"), 1) == [256]
    record = pushed(states, record, events((1, 1)), now=1, token=b"last")
    assert read(states, pushed(states, record, events((1, 1)), now=1, token=b"first"), 1) == [258]


def test_a_deleted_key_does_not_come_back():
    """After a deletion, events up to then, or up to the latest that was there, are not taken; later ones are."""
    states = WindowStates(windows(("count", Window(None)), ("sum", Window(100))), "t", True)
    record = pushed(states, None, events((5, 1), (40, 2)), now=10)
    [record] = states.deleted([KEY], [record], 20)
    record = pushed(states, record, events((15, 4), (40, 8), (41, 16)), now=50)
    [record] = states.backfilled([KEY], [record], events((3, 32), (41, 16)), 45, BEFORE_ALL, 1, 50)
    assert read(states, record, 50, Meta(BEFORE_ALL, 45, 1)) == [1, 16]
    [fresh] = states.deleted([KEY], [None], 20)
    assert read(states, pushed(states, fresh, events((20, 1), (21, 2)), now=30), 30) == [1, 2]


def test_a_tombstone_of_plain_rows_is_a_deletion():
    """A record without values that somebody wrote says the same as a deletion."""
    states = WindowStates(windows(("count", Window(None))), "t", False)
    record = pushed(states, tombstone(KEY, 7), events((7, 1), (8, 1)), now=9)
    assert read(states, record, 9) == [1]
    assert read(states, tombstone(KEY, 7), 9) == [0]


def test_only_the_keys_given_are_changed():
    """Events of more keys than are asked for are passed over, as when a swap lost some of its keys."""
    states = WindowStates(
        windows(("sum", Window(None)), ("count", Window(None), None, 1), inputs=(Int64, String)), "t", False
    )
    many = Events(
        [b"a", b"b", b"c"],
        np.array([2, 1, 0, 1]),
        np.array([1, 2, 3, 4]),
        np.array([NEVER, 1, 1, 1]),
        np.arange(4),
        [pa.array([1, 2, 4, 8]), pa.array(["x", None, "y", "z"])],
    )
    made = states.pushed([b"b", b"new"], [None, None], many, 0, None, False, 9)
    assert made[1] is None
    found = states.values([b"b", b"new"], made, states.meta(LIVE), 9, [0, 1])
    assert found.columns == [[10, None], [1, 0]]
    assert found.times == [9, 9]


# Back-fills


def both(*features, rule=AT_ONCE):
    """Return the states of a view with a source."""
    return WindowStates(windows(*features), "t", True, rule)


def test_history_and_pushes_are_counted_once():
    """What was pushed before the source was read is taken from the source; what came later counts beside it."""
    states = both(("count", Window(100)), ("sum", Window(100, 10)), ("sum", Window(None)))
    record = pushed(states, None, events((11, 1), (12, 2)), now=12, arrival=1, in_source=True)
    assert read(states, record, 12, None) == ["NOT_FOUND"] * 3
    [record] = states.backfilled([KEY], [record], events((5, 64), (11, 1)), 11, BEFORE_ALL, 1, 20)
    late = pushed(states, record, events((10, 4), (13, 8)), now=20, arrival=2, in_source=True)
    early = pushed(states, late, events((11, 1), (14, 16)), now=20, arrival=1, in_source=True)
    assert read(states, early, 20, Meta(BEFORE_ALL, 11, 1)) == [6, 95, 95]


def test_a_cover_inside_of_a_folded_tile_moves_before_it():
    """Where folded events cannot be divided at the cover, the source counts up to there, and pushes from there."""
    states = both(("sum", Window(100, 10)))
    [record] = states.backfilled([KEY], [None], events((5, 1)), 5, BEFORE_ALL, 1, 10)
    record = pushed(states, record, events((12, 2), (18, 4)), now=30, arrival=2, in_source=True)
    source = events((5, 1), (7, 8), (12, 2))
    [record] = states.backfilled([KEY], [record], source, 15, BEFORE_ALL, 2, 30)
    said = states.contents(KEY, record)
    assert (said.cover, said.read_at) == (11, 2)
    assert read(states, record, 30, Meta(BEFORE_ALL, 15, 2)) == [15]


def test_a_record_that_cannot_take_a_back_fill_says_that_it_came():
    """Its earlier cover stays, the values are right, and the record tells that this back-fill was here."""
    states = both(("sum", Window(None)))
    [record] = states.backfilled([KEY], [None], events((5, 1)), 6, BEFORE_ALL, 1, 10)
    record = pushed(states, record, events((3, 2), (12, 4)), now=30, arrival=2, in_source=True)
    [after] = states.backfilled([KEY], [record], events((3, 2), (5, 1)), 10, BEFORE_ALL, 2, 30)
    assert (states.contents(KEY, after).cover, states.read_at(KEY, after)) == (6, 2)
    assert read(states, after, 30, Meta(BEFORE_ALL, 10, 2)) == [7]


def test_what_was_pushed_while_the_source_was_read_counts_beside_it():
    """An event that came after the reading began is kept, also if it is folded when the back-fill comes to its key."""
    states = both(("sum", Window(None)), ("sum", Window(50, 10)), ("sum", Window(50)))
    [record] = states.backfilled([KEY], [None], events((2, 1)), 2, BEFORE_ALL, 1, 10)
    record = pushed(states, record, events((4, 2)), now=30, arrival=3, in_source=True)
    assert states.contents(KEY, record).tiles[-1].from_source is False
    [record] = states.backfilled([KEY], [record], events((2, 1), (3, 4)), 8, BEFORE_ALL, 2, 30)
    assert states.contents(KEY, record).cover == 8
    assert read(states, record, 30, Meta(BEFORE_ALL, 8, 2)) == [7, 7, 7]


def test_an_older_back_fill_changes_nothing():
    """A run that read the source up to an earlier time, or earlier, does not replace a later one's history."""
    states = both(("sum", Window(None)))
    [record] = states.backfilled([KEY], [None], events((5, 1), (9, 2)), 10, BEFORE_ALL, 2, 10)
    assert states.backfilled([KEY], [record], events((5, 1)), 6, BEFORE_ALL, 3, 10) == [None]
    assert states.backfilled([KEY], [record], events((5, 1)), 10, BEFORE_ALL, 1, 10) == [None]
    assert states.backfilled([KEY], [None], events(), 10, BEFORE_ALL, 1, 10) == [None]


def test_a_key_that_is_new_since_the_back_fill_is_folded():
    """A key without history takes the table's cover when it is folded, and its state stays bounded."""
    states = both(("count", Window(100, 10)), rule=Folding(tail=4, grace=0, most=0))
    meta, record = Meta(BEFORE_ALL, 50, 1), None
    for time in range(60, 200):
        record = pushed(states, record, events((time, 1)), time, arrival=2, meta=states.meta(meta), in_source=True)
    assert len(states.contents(KEY, record).events) <= 5
    assert states.contents(KEY, record).cover == 50
    assert read(states, record, 199, meta) == [109]


def test_the_old_tiles_of_a_whole_life_are_merged():
    """A key that is active for a year keeps some dozens of tiles; times among the merged ones are NOT_FOUND."""
    states, record = both(("count", Window(None)), ("first", Window(None)), rule=Folding(tail=0, grace=0)), None
    [record] = states.backfilled([KEY], [None], events((1, 7)), 1, BEFORE_ALL, 1, 1)
    for day in range(365):
        at = day * LIFE_HOP + 2
        record = pushed(states, record, events((at, day)), now=at, arrival=2, in_source=True)
    meta, now = Meta(BEFORE_ALL, 1, 1), 365 * LIFE_HOP
    assert len(states.contents(KEY, record).tiles) < 70
    assert read(states, record, now, meta) == [366, 7]
    assert read(states, record, now - LIFE_HOP, meta) == [365, 7]
    assert read(states, record, 100 * LIFE_HOP, meta) == ["NOT_FOUND"] * 2
    assert read(states, record, 0, meta) == ["NOT_FOUND"] * 2


def test_what_no_window_reaches_is_dropped():
    """However long a key lives, its record stays small; with a slide smaller still."""
    for slide, most in ((None, 24 * 60), (10, 12 * 80)):
        states = WindowStates(windows(("sum", Window(50, slide))), "t", False, Folding(tail=8, grace=0))
        record = None
        for time in range(2_000):
            record = pushed(states, record, events((time, 1)), now=time)
            assert read(states, record, time) == [min(time + 1, 50 if slide is None else 50 + (time - 50) % 10)]
        assert len(record) < most + 400


# Bytes


KINDS = (pa.float64(), pa.string())
GOLDEN = WindowSet(
    "cards",
    (WindowInput("amount", "", Float64), WindowInput("city", "", String)),
    (
        WindowFeature("spent", 0, "sum", Window(100, 10), Float64),
        WindowFeature("cities", 1, "count_distinct", Window(None), Int64),
        WindowFeature("last", 1, "last", Window(7), String),
    ),
)


def golden(of=GOLDEN):
    """Return states, and a record of everything that a record can have."""
    states = WindowStates(of, "t", True, Folding(tail=2, grace=0, most=0))
    [record] = states.backfilled([KEY], [None], events((3, 0.5, "a"), kinds=KINDS), 5, -100, 1, 5)
    given = events((14, 1.5, None), (15, None, "b"), (16, 2.0, "c"), kinds=KINDS)
    record = pushed(states, record, given, now=16, arrival=2, token=b"token", in_source=True)
    return states, pushed(states, record, events((17, 4.0, "d"), kinds=KINDS), now=17, arrival=3, in_source=True)


def with_id(record, number):
    """Return a record as one of windows of another hash: its layout is 32 bits of that."""
    return sealed(record[:5] + number.to_bytes(4, "big") + record[9:])


def test_the_bytes_of_a_record_are_frozen():
    """A record of format 1 is these bytes, and is read for ever."""
    states, record = golden()
    assert with_id(record, 0x12345678).hex() == GOLDEN_BYTES
    assert rows.is_whole(KEY, record)
    old = with_id(bytes.fromhex(GOLDEN_BYTES), states.id)
    assert read(states, old, 17, Meta(-100, 5, 1)) == [8.0, "NOT_FOUND", "d"]


def test_a_record_is_checked_like_any_other():
    """A store that checks its tables takes windowed states, and what stands at META_KEY, for whole records."""
    states, record = golden()
    with MemoryStore() as store:
        store.create(["t"])
        assert store.swap("t", [META_KEY, KEY], [None, None], [states.meta(LIVE), record]) == []
        store.check(["t"])
        assert rows.head_of(record).event == 17


def test_any_wrong_bit_is_named():
    """A record with one bit changed, cut off, or of another key is an error in a read and in a push, never a value."""
    states, record = golden()
    for at in range(0, 8 * len(record), 5):
        bad = bytearray(record)
        bad[at // 8] ^= 1 << at % 8
        for use in (lambda b: read(states, b, 17), lambda b: pushed(states, b, events((1, 1.0, "x"), kinds=KINDS), 17)):
            with pytest.raises(RecordCorrupt, match=f"{KEY.hex()} in online table 't'"):
                use(bytes(bad))
    for bad in (b"", record[:50], record[:-1], record + b"\0", states.meta(LIVE)):
        with pytest.raises(RecordCorrupt):
            read(states, bad, 17)


def test_newer_records_are_refused():
    """A record of a newer format says so, whether of rows or of windows; one of other windows is named."""
    states, record = golden()
    for at, said in ((3, "has format 2"), (27, "has windows of format 2")):
        with pytest.raises(StoreTooNew, match=said):
            read(states, sealed(record[:at] + b"\2" + record[at + 1 :]), 17)
    with pytest.raises(RecordCorrupt, match="not one of these windows"):
        read(states, golden(replace(GOLDEN, origin="elsewhere"))[1], 17)


def sealed(record):
    """Return a record with the check sum that it should have."""
    import zlib

    return record[:-4] + zlib.crc32(record[:-4], zlib.crc32(KEY)).to_bytes(4, "little")


def test_contents_tell_all_that_a_record_holds():
    """From the events and the tiles' states that are listed, the values can be made again."""
    states, record = golden()
    said = states.contents(KEY, record)
    assert (said.newest, said.cover, said.read_at, said.gone) == (17, 5, 1, None)
    assert [event[0] for event in said.events][-2:] == [16, 17]
    assert said.events[-1] == (17, None, 3, (4.0, "d"))
    spent = [(tile.end, tile.from_source, tile.states[0, "total"]) for tile in said.tiles if tile.slide == 10]
    assert spent == [(10, True, [1, 0.0, 0.5]), (20, False, [2, 0.0, 3.5])]


GOLDEN_BYTES = (
    "dc000c01ce12345678cf8000000000000011cf000000000000000001c44805000000000000009cffffffffffffff01000000"
    "0000000001000000000000000000000000000080040000000000000008000000e80100001300000030000000020000000000"
    "0000c6000000083f01c29a866b9b74c6000001e809000000000000009cffffffffffffff10000000000000009cffffffffff"
    "ffff10000000000000000f000000000000000300000000000000020000000000000002000000000000000800000000000000"
    "0000000000000000020000000000000002000000000000000200000000000000000000000000000008000000000000000000"
    "0000000000000e000000000000000f0000000000000010000000000000000200000000000000020000000000000002000000"
    "0000000000000000000000800000000000000080000000000000008000000000000000400100000000000040020000000000"
    "0040000000000000f83f00000000000000000000000000000040010000000000000002000000000000000300000000000000"
    "0000000000000000030000000000000001000000000000000200000000000000030000000000000010000000000000000000"
    "0000000000800200000000000000ffffffffffffff7ffdfffffffffffffffcfffffffffffffff1ffffffffffffff01000000"
    "000000000200000000000000000000000000e03f0000000000000c4000000000000000000100000000000000030000000000"
    "0000100000000000000000000000000000800200000000000000ffffffffffffff7ffdfffffffffffffffcffffffffffffff"
    "f1ffffffffffffffc6000000139293c0a162a1639281a1610182a16201a16301c60000003011000000000000000300000000"
    "0000000000000000000080030000000000004000000000000010400300000000000000c600000002a164ce41d957ae"
)
