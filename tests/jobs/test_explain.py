import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from likewise import (
    Aggregation,
    BatchFeatureView,
    Entity,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    FixedClock,
    PushMode,
    PushSource,
    RequestSource,
    StreamFeatureView,
    ValueType,
    batch_feature_view,
    on_demand_feature_view,
)
from likewise.config import parse_config
from likewise.core.errors import EntityKeyError, FeatureNotFound, NotSupported, RequestError
from likewise.core.time import to_micros
from likewise.jobs.explain import Question, explain_trained
from likewise.jobs.explanation import SHOWN
from likewise.types import Array, Float64, Int64, String

CONFIG = "{project: shop, registry: {registry_type: memory}, online_store: memory}"
DAY = timedelta(days=1)


def at(day, hour=0):
    """Return a time in May 2024."""
    return datetime(2024, 5, day, hour, tzinfo=UTC)


def write(path, rows):
    """Write payments: (card, event time, created time, amount)."""
    card, event, created, amount = zip(*rows, strict=True)
    time = pa.timestamp("us", "UTC")
    columns = {"card": card, "at": pa.array(event, time), "made": pa.array(created, time), "amount": amount}
    pq.write_table(pa.table({**columns, "amount": pa.array(amount, pa.float64())}), path)


@pytest.fixture
def shop(tmp_path):
    """A shop with two files of payments, a plain view and windows over them; it is noon of May 20, 2024."""
    (tmp_path / "pays").mkdir()
    write(tmp_path / "pays" / "a.parquet", [(1, at(1), at(1), 10.0), (2, at(2), at(2), 99.0), (1, at(3), None, None)])
    write(tmp_path / "pays" / "b.parquet", [(1, at(3), at(3), 5.5), (1, at(8), at(9), 7.25), (1, None, None, 1.0)])
    source = FileSource(name="pays", path="pays/", timestamp_field="at", created_timestamp_column="made")
    card = Entity(name="card")
    last = FeatureView("last", source, entities=[card], schema=[Field("amount", Float64)], ttl=2 * DAY)
    week, month = 7 * DAY, 30 * DAY
    spent = BatchFeatureView(
        "spent",
        source=source,
        entities=[card],
        online=True,
        schema=[Field("sum_7d", Float64), Field("n", Int64), Field("ever", Float64), Field("two", Array(Float64))],
        aggregations=[
            Aggregation("amount", "sum", week, name="sum_7d"),
            Aggregation("*", "count", month, slide_interval=DAY, name="n"),
            Aggregation("amount", "mean", None, name="ever"),
            Aggregation("amount * 2", "last_n(2)", month, slide_interval=DAY, name="two", where="amount > 6"),
        ],
    )
    with FeatureStore(tmp_path, parse_config(CONFIG), clock=FixedClock(at(20, 12))) as store:
        store.apply([last, spent])
        yield store


def listed(found):
    """Return what an explanation lists of each event: day, value, file and row."""
    return [(event.event_time.day, event.value, event.path, event.row) for event in found.events]


def test_a_plain_value_comes_with_the_row_that_counted(shop):
    """Of the rows up to the time the latest counts, of equal event times the one created later; a file and a row."""
    found = shop.explain("last:amount", {"card": 1}, "2024-05-04")
    assert (found.value, found.status, found.recompute()) == (5.5, "PRESENT", 5.5)
    assert listed(found) == [(3, 5.5, "pays/b.parquet", 0)]


def test_an_expired_row_is_listed_as_such(shop):
    """A row older than the ttl gives null, and is shown with the time from which on rows count."""
    found = shop.explain("last:amount", {"card": 1}, "2024-05-10T00:00:00.000001Z")
    assert (found.value, found.status, found.recompute()) == (None, "OUTSIDE_MAX_AGE", None)
    assert listed(found) == [(8, 7.25, "pays/b.parquet", 1)]
    assert "which counts from 2024-05-08T00:00:00.000001Z on" in str(found)
    assert "expired: 2024-05-08T00:00:00Z  7.25" in str(found)


def test_a_row_counts_only_once_it_was_created_when_asked(shop):
    """With known-by, a row that was created after the time is left out."""
    then = shop.explain("last:amount", {"card": 1}, at(8, 1), filter_by_created_timestamp=True)
    assert (then.value, then.status, listed(then)[0][0]) == (None, "OUTSIDE_MAX_AGE", 3)
    assert shop.explain("last:amount", {"card": 1}, at(8, 1)).value == 7.25


def test_a_key_without_rows_is_not_found(shop):
    """A key that no row has is NOT_FOUND in a plain view, and an empty window in one with windows."""
    assert shop.explain("last:amount", {"card": 7}).status == "NOT_FOUND"
    counted = shop.explain("spent:n", {"card": 7})
    assert (counted.value, counted.status, counted.events, counted.recompute()) == (0, "PRESENT", (), 0)


def test_a_window_comes_with_its_exact_bounds_and_events(shop):
    """The old end is not in the window, the new end is; events stand in the order of S2."""
    found = shop.explain("spent:sum_7d", {"card": 1}, "2024-05-08")
    assert (found.reason.after, found.reason.until) == (at(1), at(8))
    assert listed(found) == [
        (3, None, "pays/a.parquet", 2),
        (3, 5.5, "pays/b.parquet", 0),
        (8, 7.25, "pays/b.parquet", 1),
    ]
    assert (found.value, found.recompute()) == (12.75, 12.75)
    assert "over events after 2024-05-01T00:00:00Z (not included) up to 2024-05-08T00:00:00Z (included)" in str(found)


def test_a_window_aligned_to_a_slide_says_its_old_end(shop):
    """The old end is aligned down, the new one is exact; an input is what the expression and condition give."""
    found = shop.explain("spent:two", {"card": 1}, at(20, 5))
    assert (found.reason.after, found.reason.until) == (datetime(2024, 4, 20, tzinfo=UTC), at(20, 5))
    assert [event.value for event in found.events] == [20.0, None, None, 14.5]
    assert (found.value, found.recompute()) == ([20.0, 14.5], [20.0, 14.5])


def test_a_whole_life_has_no_old_end(shop):
    """A window without a width takes every event up to its time."""
    found = shop.explain("spent:ever", {"card": 1}, "2024-05-04")
    assert (found.reason.after, found.value, found.recompute()) == (None, 7.75, 7.75)
    assert "over all events up to" in str(found)


def test_the_definition_and_the_catalog_are_named(shop):
    """The hash is that of the view's definition in the catalog whose number is given."""
    found = shop.explain("spent:n", {"card": 1})
    manifest = shop.registry.catalog("shop", found.catalog).manifest
    assert found.definition == manifest["batch_feature_view", "spent"]
    assert f"definition {found.definition} of catalog 1" in str(found)


@pytest.mark.filterwarnings("ignore:view 'last' has")  # values that are too old, and rows after the time
@pytest.mark.parametrize("feature", ["last:amount", "spent:sum_7d", "spent:n", "spent:ever", "spent:two"])
def test_an_online_value_comes_with_what_the_store_keeps(shop, feature):
    """Online, events and tiles are listed, and they give the value that was served, which is that of training."""
    shop.materialize("2024-01-01", at(20))
    for time in (at(8), at(9), at(10), at(15), at(20, 12)):
        found = shop.explain(feature, {"card": 1}, time, online=True)
        served = shop.get_online_features([feature], {"card": [1]}, as_of=time)
        [[value], [status]] = [served.to_dict()[feature.partition(":")[2]], *served.statuses().values()]
        assert (found.value, found.status) == (value, status.name)
        assert found.recompute() == found.value
        if found.status != "NOT_FOUND":
            assert found.value == shop.explain(feature, {"card": 1}, time).value


def test_tiles_are_listed_with_their_states(shop):
    """What the store has put together is listed as tiles: their ends, and the state of the function."""
    shop.materialize("2024-01-01", at(20))
    found = shop.explain("spent:n", {"card": 1}, online=True)
    assert [(tile.until, tile.from_source, tile.state) for tile in found.reason.tiles] == [
        (at(1), True, 1),
        (at(3), True, 2),
        (at(8), True, 1),
    ]
    assert (found.events, found.value) == ((), 4)
    assert "3 tiles of the online state" in str(found)


def test_a_window_that_is_not_live_is_not_found(shop):
    """Before it is materialized nothing is known of a window with a source, and the explanation says so."""
    found = shop.explain("spent:n", {"card": 1}, online=True)
    assert (found.value, found.status, found.events, found.recompute()) == (None, "NOT_FOUND", (), None)
    assert "cannot tell exactly" in str(found)


def test_pushed_events_of_equal_times_recompute(tmp_path):
    """Events that stand beside tiles keep their place among those of the same time."""
    pushes = PushSource("clicks", timestamp_field="at")
    view = StreamFeatureView(
        name="clicks_of",
        source=pushes,
        entities=[Entity(name="user", value_type=ValueType.INT64)],
        schema=[Field("user", Int64), Field("last", String), Field("three", Array(String))],
        aggregations=[
            Aggregation("page", "last", 5 * DAY, slide_interval=DAY, name="last"),
            Aggregation("page", "last_n(3)", None, name="three"),
        ],
    )
    clock = FixedClock(at(1))
    with FeatureStore(tmp_path, parse_config(CONFIG), clock=clock) as store:
        store.apply([view])
        store.push("clicks", {"user": pa.array([], pa.int64()), "at": pa.array([], pa.timestamp("us")), "page": []})
        clock.set(at(10))
        for number in range(150):
            day = at(7) if number % 3 else at(8)
            store.push("clicks", [{"user": 1, "at": day, "page": f"p{number}"}])
        for feature in ("clicks_of:last", "clicks_of:three"):
            found = store.explain(feature, {"user": 1}, online=True)
            assert found.status == "PRESENT"
            assert found.recompute() == found.value


def test_composite_keys_are_typed_by_the_entities(tmp_path):
    """Text given for whole numbers is read as such, and both parts of a key find the row."""
    rows = {"card": [1, 1], "city": ["Rome", "Oslo"], "at": pa.array([at(1)] * 2), "visits": [3, 4]}
    pq.write_table(pa.table(rows), tmp_path / "v.parquet")
    source = FileSource(path="v.parquet", timestamp_field="at")
    view = FeatureView("visits", source, entities=[Entity(name="card"), Entity(name="city")])
    with FeatureStore(tmp_path, parse_config(CONFIG), clock=FixedClock(at(2))) as store:
        store.apply([view])
        found = store.explain("visits:visits", {"card": "1", "city": "Oslo"})
        assert (found.value, dict(found.key), listed(found)) == (
            4,
            {"card": 1, "city": "Oslo"},
            [(1, 4, "v.parquet", 1)],
        )


def test_questions_that_cannot_be_answered_are_refused_by_name(shop):
    """More than one feature, an unknown one, another key, and a time of knowledge online are named errors."""
    asked = RequestSource("asked", schema=[Field("fare", Float64)])

    @on_demand_feature_view(sources=[shop.get_feature_view("last"), asked], schema=[Field("x", Float64)], mode="python")
    def computed(inputs):
        return {"x": inputs["fare"]}

    shop.apply([computed])
    for error, said, call in (
        (RequestError, "'spent' is 4 features", lambda: shop.explain("spent", {"card": 1})),
        (FeatureNotFound, "has no feature 'summ'", lambda: shop.explain("spent:summ", {"card": 1})),
        (EntityKeyError, "'cart' is no key", lambda: shop.explain("spent:n", {"cart": 1})),
        (EntityKeyError, "'card'", lambda: shop.explain("spent:n", {})),
        (RequestError, "the key is 1", lambda: shop.explain("spent:n", 1)),
        (NotSupported, "on-demand view 'computed'", lambda: shop.explain("computed:x", {"card": 1})),
        (
            RequestError,
            "what was known at a time",
            lambda: shop.explain("spent:n", {"card": 1}, online=True, filter_by_created_timestamp=True),
        ),
    ):
        with pytest.raises(error, match=said):
            call()


def test_a_large_source_is_read_a_part_of_the_keys_at_a_time(shop):
    """However small the parts are, the one with the key is read, and the events are the same."""
    whole = shop.explain("spent:sum_7d", {"card": 1}, "2024-05-08")
    question = Question("spent:sum_7d", {"card": 1}, to_micros("2024-05-08"), whole.definition, whole.catalog)
    job = shop.get_historical_features([{"card": 1, "event_timestamp": at(8)}], ["spent:sum_7d"], True)
    assert explain_trained(question, job, shop.engine, str(shop.repo_path), part_rows=1) == whole


def test_an_older_version_is_explained_by_its_own_definition(shop):
    """A version of a view is explained as training reads it, under its own hash."""
    before = shop.explain("last:amount", {"card": 1}, at(11))
    view = shop.get_feature_view("last")
    view.ttl = 30 * DAY
    shop.apply([view])
    now, then = (shop.explain(f"{name}:amount", {"card": 1}, at(11)) for name in ("last", "last@v1"))
    assert (now.value, then.value, then.definition, now.catalog) == (7.25, None, before.definition, 2)


def test_rows_that_a_function_made_are_said_to_be_made(tmp_path):
    """A row of a view with a function is in no file of anybody's: what made it is named, and its place there."""

    @batch_feature_view(
        source=FileSource(path="p.parquet", timestamp_field="at", created_timestamp_column="made"),
        entities=[],
        schema=[Field("total", Float64)],
        aggregations=[Aggregation("double", "sum", 2 * DAY, name="total")],
        mode="pandas",
        online=True,
    )
    def doubled(rows):
        rows["double"] = rows["amount"] * 2
        return rows[["at", "made", "double"]]

    write(tmp_path / "p.parquet", [(1, at(1), None, 1.5), (2, at(2), None, 2.0)])
    with FeatureStore(tmp_path, parse_config(CONFIG), clock=FixedClock(at(2))) as store:
        store.apply([doubled])
        store.materialize("2024-01-01", at(2))
        found = store.explain("doubled:total", {})
        place = "the rows that batch feature view 'doubled' makes of 'p.parquet'"
        assert (found.value, found.recompute(), listed(found)) == (7.0, 7.0, [(1, 3.0, place, 0), (2, 4.0, place, 1)])
        assert "for the only key" in str(found)
        assert store.explain("doubled:total", {}, online=True).recompute() == 7.0


def test_text_shows_the_first_and_the_last_of_many_events(tmp_path):
    """The record is complete; its text, plain and HTML, names how many events it leaves out, and escapes values."""
    rows = [(at(1) + timedelta(minutes=minute), "<b>" if minute % 2 else "&") for minute in range(100)]
    table = {"user": [1] * 100, "at": pa.array([time for time, _ in rows]), "tag": [tag for _, tag in rows]}
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    view = BatchFeatureView(
        "tags",
        source=FileSource(path="t.parquet", timestamp_field="at"),
        entities=[Entity(name="user")],
        schema=[Field("n", Int64)],
        aggregations=[Aggregation("tag", "count", DAY, name="n")],
    )
    with FeatureStore(tmp_path, parse_config(CONFIG), clock=FixedClock(at(2))) as store:
        store.apply([view])
        found = store.explain("tags:n", {"user": 1}, at(1, 20))
    assert (len(found.events), found.recompute(), len(found.to_dict()["events"])) == (100, 100, 100)
    assert f"… {100 - SHOWN} more …" in str(found)
    html = found._repr_html_()
    assert "&lt;b&gt;" in html
    assert "<b>" not in html


@pytest.mark.filterwarnings("ignore:.*ahead")  # of the clock
@given(data=st.data())
@settings(max_examples=12, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_what_is_listed_gives_the_value(data, tmp_path_factory):
    """Whatever the history, function, window and time, recomputing from the listed events gives training's value."""
    known = ["sum", "mean", "count", "min", "max", "last", "first_n(2)", "stddev_samp", "median", "top_k(2)"]
    functions = data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=3))
    rows = data.draw(
        st.lists(
            st.tuples(
                st.integers(1, 2),
                st.integers(0, 40).map(lambda hour: at(1) + timedelta(hours=hour)),
                st.none() | st.integers(0, 40).map(lambda hour: at(1) + timedelta(hours=hour)),
                st.none() | st.floats(-10, 10, width=16) | st.sampled_from([math.nan, 0.1, 0.2]),
            ),
            min_size=1,
            max_size=25,
        )
    )
    folder = tmp_path_factory.mktemp("any")
    write(folder / "p.parquet", rows)
    hours = data.draw(st.none() | st.integers(1, 30))
    width = None if hours is None else timedelta(hours=hours)
    slide = data.draw(st.none() | st.integers(1, hours or 1).map(lambda some: timedelta(hours=some)))
    windows = [Aggregation("amount", function, width, slide, name=f"f{n}") for n, function in enumerate(functions)]
    view = BatchFeatureView(
        "v",
        source=FileSource(path="p.parquet", timestamp_field="at", created_timestamp_column="made"),
        entities=[Entity(name="card")],
        online=True,
        aggregations=windows,
    )
    time = at(1) + timedelta(hours=data.draw(st.integers(0, 80)))
    with FeatureStore(folder, parse_config(CONFIG), clock=FixedClock(time)) as store:
        store.apply([view])
        store.materialize("2024-01-01", time)
        for number in range(len(functions)):
            for online in (False, True):
                found = store.explain(f"v:f{number}", {"card": 1}, time, online=online)
                assert repr(found.recompute()) == repr(found.value), (functions[number], found)


def test_decimals_and_times_recompute_in_their_types(tmp_path):
    """Values of types other than numbers come back as what they are."""
    rows = {
        "user": [1, 1],
        "at": pa.array([at(1), at(2)]),
        "price": pa.array([Decimal("1.10"), Decimal("2.25")]),
        "seen": pa.array([at(5), at(4)]),
    }
    pq.write_table(pa.table(rows), tmp_path / "d.parquet")
    view = BatchFeatureView(
        "d",
        source=FileSource(path="d.parquet", timestamp_field="at"),
        entities=[Entity(name="user")],
        online=True,
        aggregations=[
            Aggregation("price", "sum", 5 * DAY, name="price"),
            Aggregation("seen", "max", 5 * DAY, name="seen"),
            Aggregation("seen", "last_n(2)", 5 * DAY, name="all"),
        ],
    )
    with FeatureStore(tmp_path, parse_config(CONFIG), clock=FixedClock(at(3))) as store:
        store.apply([view])
        store.materialize("2024-01-01", at(3))
        for online in (False, True):
            for feature, value in (("price", Decimal("3.35")), ("seen", at(5)), ("all", [at(5), at(4)])):
                found = store.explain(f"d:{feature}", {"user": 1}, online=online)
                assert (found.value, found.recompute()) == (value, value)


def test_a_pushed_row_of_both_stores_is_explained(tmp_path):
    """A row that was pushed to files and online is found in the file that the push made, and in the store."""
    history = FileSource(name="h", path="rows/", timestamp_field="at")
    (tmp_path / "rows").mkdir()
    first = pa.table({"user": [1], "at": pa.array([at(1)], pa.timestamp("us", "UTC")), "n": [1]})
    pq.write_table(first, tmp_path / "rows" / "a.parquet")
    view = FeatureView("counts", PushSource("p", batch_source=history), entities=[Entity(name="user")])
    with FeatureStore(tmp_path, parse_config(CONFIG), clock=FixedClock(at(3))) as store:
        store.apply([view])
        store.push("p", [{"user": 1, "at": at(2), "n": 2}], to=PushMode.ONLINE_AND_OFFLINE)
        [row] = store.explain("counts:n", {"user": 1}).events
        assert (row.value, row.row, row.path.startswith("rows/a~")) == (2, 0, True)
        online = store.explain("counts:n", {"user": 1}, online=True)
        assert (online.value, online.events[0].event_time, online.events[0].row) == (2, at(2), None)
