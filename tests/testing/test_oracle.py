import pytest

from likewise.core.errors import AggregateOverflow
from likewise.core.windows import Window
from likewise.testing.oracle import Found, Row, View, as_of, latest, online, training_set, windowed

US = 1
DAY = 86_400_000_000


def row(event, value, created=None, order=0, key=(7,)):
    """Return a row with one value."""
    return Row(key, event, created, order, (value,))


@pytest.mark.parametrize(("t", "value"), [(99, None), (100, "a"), (101, "a"), (199, "a"), (200, "b"), (10**18, "b")])
def test_the_latest_row_at_or_before_the_time(t, value):
    """A row counts from its own microsecond on, until the next one does."""
    assert as_of([row(200, "b"), row(100, "a")], (7,), t).value(0) == value


@pytest.mark.parametrize(
    ("t", "status"),
    [
        (999, "NOT_FOUND"),
        (1000, "PRESENT"),
        (1000 + DAY - US, "PRESENT"),
        (1000 + DAY, "PRESENT"),
        (1000 + DAY + US, "OUTSIDE_MAX_AGE"),
    ],
)
def test_a_ttl_counts_exactly_to_its_end(t, status):
    """A row is present at its time and at its time plus the ttl, and expired a microsecond later."""
    assert as_of([row(1000, "a")], (7,), t, ttl=DAY).status(0) == status


@pytest.mark.parametrize("ttl", [None, 0])
def test_no_ttl_never_expires(ttl):
    """None and 0 are without limit."""
    assert as_of([row(0, "a")], (7,), 10**17, ttl=ttl).value(0) == "a"


def test_an_expired_row_hides_the_value_and_keeps_the_row():
    """An expired value is null, and the row it would come from is still told."""
    found = as_of([row(100, "a")], (7,), 200, ttl=50)
    assert (found.value(0), found.status(0), found.row.event) == (None, "OUTSIDE_MAX_AGE", 100)


def test_a_null_value_has_its_own_status():
    """A latest row with a null is NULL_VALUE, and the older value does not come through."""
    found = as_of([row(100, "a"), row(200, None)], (7,), 300)
    assert (found.value(0), found.status(0)) == (None, "NULL_VALUE")


def test_ties_go_to_the_one_created_later_then_to_the_later_place():
    """Of equal event times the greater created time wins, none being the least; of equal ones the later place."""
    assert as_of([row(1, "a", 5, 0), row(1, "b", 4, 1)], (7,), 1).value(0) == "a"
    assert as_of([row(1, "a", -5, 0), row(1, "b", None, 1)], (7,), 1).value(0) == "a"
    assert as_of([row(1, "b", 5, 1), row(1, "a", 5, 0)], (7,), 1).value(0) == "b"
    assert as_of([row(1, "b", None, 1), row(1, "a", None, 0)], (7,), 1).value(0) == "b"
    assert as_of([row(2, "a", 1, 0), row(1, "b", 9, 1)], (7,), 2).value(0) == "a"


@pytest.mark.parametrize(("t", "value"), [(9, None), (10, None), (11, "late"), (20, "late"), (21, "fixed")])
def test_known_by_counts_a_row_from_its_creation(t, value):
    """A late row counts once it was created, and a correction takes over when it was made."""
    rows = [row(10, "late", created=11), row(10, "fixed", created=21, order=1)]
    assert as_of(rows, (7,), t, known_by=True).value(0) == value


def test_known_by_takes_a_row_without_created_time_as_known():
    """Where nobody wrote down when a row was made, it counts from its event."""
    assert as_of([row(10, "a")], (7,), 10, known_by=True).value(0) == "a"


def test_known_by_may_fall_back_to_a_row_that_is_expired():
    """The ttl is measured on the row that was known, not on the one that came later."""
    rows = [row(10, "old", created=10), row(50, "new", created=99)]
    assert as_of(rows, (7,), 60, ttl=20, known_by=True).status(0) == "OUTSIDE_MAX_AGE"
    assert as_of(rows, (7,), 60, ttl=20).value(0) == "new"


@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        ((1,), ("1",)),
        ((1,), (True,)),
        ((1,), (1.0,)),
        (("a", "bc"), ("ab", "c")),
        ((None,), (None,)),
        ((1, None), (1, None)),
    ],
)
def test_keys_that_are_not_one(stored, asked):
    """Keys of other types, other splits, or with a null in them never match."""
    assert as_of([row(1, "a", key=stored)], asked, 5) == Found(None)


def test_rows_and_questions_without_a_time():
    """A row without an event time never counts, and at no time nothing is true."""
    assert as_of([row(None, "a")], (7,), 5) == Found(None)
    assert as_of([row(1, "a")], (7,), None) == Found(None)


def test_a_training_set_is_the_entity_rows_then_the_features():
    """Rows stay in number and order, with their columns; each view adds its features, by its own key and ttl."""
    users = View([row(10, "a"), row(20, "b")], keys=("user",), outputs=("colour",), ttl=5)
    world = View([row(15, 1, key=())], keys=(), outputs=("level",))
    asked = [{"user": 7, "t": 20, "n": 1}, {"user": 8, "t": 14, "n": 2}, {"user": 7, "t": 20, "n": 1}]
    assert training_set(asked, [users, world], time="t") == [
        {"user": 7, "t": 20, "n": 1, "colour": "b", "level": 1},
        {"user": 8, "t": 14, "n": 2, "colour": None, "level": None},
        {"user": 7, "t": 20, "n": 1, "colour": "b", "level": 1},
    ]
    assert training_set([], [users], time="t") == []


def test_the_latest_rows_of_a_span():
    """Each whole key has its latest row among those from start to end, both included."""
    rows = [row(1, "a"), row(2, "b"), row(3, "c"), row(2, "x", key=(8,)), row(2, "n", key=(None,)), row(None, "z")]
    assert [found.values[0] for found in latest(rows, 1, 2)] == ["b", "x"]
    assert [found.values[0] for found in latest(rows, 3)] == ["c"]
    assert latest(rows, 4) == []


@pytest.mark.parametrize("arrival", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (1, 0, 2)])
def test_online_keeps_the_newest_whatever_arrived_last(arrival):
    """The newest by event and created time is kept, in any order of arrival."""
    written = [row(10, "a", 1), row(20, "b", 1), row(20, "c", 2)]
    rows = [Row(w.key, w.event, w.created, place, w.values) for place, w in zip(arrival, written, strict=True)]
    assert online(rows, (7,), now=100).value(0) == "c"


def test_online_answers_by_the_time_of_the_request():
    """The one row that is kept may be present, expired, or not yet true; equal times go to the later arrival."""
    rows = [row(100, "a", order=0), row(100, "b", order=1)]
    answers = [online(rows, (7,), now, ttl=50) for now in (99, 100, 150, 151)]
    assert [answer.status(0) for answer in answers] == ["NOT_FOUND", "PRESENT", "PRESENT", "OUTSIDE_MAX_AGE"]
    assert answers[1].value(0) == "b"


EVENTS = [row(100, 1), row(160, 2, order=1), row(160, 3, created=170, order=2), row(130, None), row(150, 9, key=(8,))]


@pytest.mark.parametrize(
    ("t", "values"),
    [(99, None), (100, [1]), (159, [1]), (160, [2, 3]), (161, [2, 3]), (219, [2, 3]), (220, None)],
)
def test_a_window_begins_after_its_old_end_and_ends_with_its_new_one(t, values):
    """An event counts from its microsecond on, and no longer when the window's old end reaches it; nulls never do."""
    assert windowed(EVENTS, (7,), t, Window(60), "last_n(10)", 0) == values


@pytest.mark.parametrize(
    ("window", "values"),
    [
        (Window(60, slide=30), [1, 2, 3]),
        (Window(60, delay=1), [1]),
        (Window(None), [1, 2, 3]),
        (Window(None, delay=61), None),
        (Window(1), [2, 3]),
    ],
)
def test_slide_delay_and_lifetime_move_the_ends(window, values):
    """A slide aligns the old end down, a delay moves both ends, and a lifetime has no old end."""
    assert windowed(EVENTS, (7,), 160, window, "first_n(10)", 0) == values


def test_a_window_of_an_unknown_key_is_empty_and_one_without_a_time_is_null():
    """An unknown key has a count of 0 and no sum; where no time is asked for nothing has a value."""
    asked = [windowed(EVENTS, (9,), 160, Window(60), function, 0) for function in ("count", "sum")]
    assert asked == [0, None]
    assert windowed(EVENTS, (7,), None, Window(60), "count", 0) is None


def test_a_window_may_count_what_was_known():
    """Known-by looks at the time asked for and not at the window's end, and an event without created time is known."""
    asked = [windowed(EVENTS, (7,), t, Window(60, delay=9), "count", 0, known_by=True) for t in (169, 170)]
    assert asked == [1, 2]


def test_the_oracle_refuses_a_sum_beyond_its_type():
    """A sum that Int64 does not hold is the same named error as in the engines."""
    with pytest.raises(AggregateOverflow):
        windowed([row(1, 2**63 - 1), row(1, 1, order=1)], (7,), 1, Window(None), "sum", 0)
