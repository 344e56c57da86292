import math
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from likewise.cases import Approx, Case, Expect
from likewise.cases.run import run_cases
from likewise.config import load_config, parse_config
from likewise.core.errors import RepoProblems

FEATURES = '''
from datetime import timedelta

from likewise import Aggregation, Entity, FeatureService, FeatureView, Field, FileSource, PushSource, RequestSource
from likewise import StreamFeatureView, BatchFeatureView, ValueType, batch_feature_view, on_demand_feature_view
from likewise.types import Array, Float32, Float64, Int64, String, UnixTimestamp

user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
city = Entity(name="city", value_type=ValueType.STRING)
visits = FileSource(
    name="visits", path="data/visits.parquet", timestamp_field="at", created_timestamp_column="made",
    field_mapping={"cnt": "count"},
)
counts = FeatureView(
    "counts", visits, entities=[user], ttl=timedelta(days=2), schema=[Field("count", Int64), Field("share", Float32)]
)
hidden = FeatureView("hidden", visits, entities=[user], online=False, schema=[Field("count", Int64)])
paid = PushSource(
    "paid", FileSource(name="paid_before", path="data/paid.parquet", timestamp_field="at"),
    schema=[Field("amount", Float64)],
)
spent = StreamFeatureView(
    name="spent",
    source=paid,
    entities=[user, city],
    schema=[Field("sum_2d", Float64), Field("n", Int64), Field("last", Array(Float64))],
    aggregations=[
        Aggregation("amount", "sum", timedelta(days=2), name="sum_2d"),
        Aggregation("*", "count", timedelta(days=2), slide_interval=timedelta(days=1), name="n"),
        Aggregation("amount", "last_n(2)", None, name="last", where="amount > 1"),
    ],
)
clicks = PushSource("clicks", timestamp_field="at", schema=[Field("page", String)])
clicked = StreamFeatureView(
    name="clicked",
    source=clicks,
    entities=[user],
    schema=[Field("pages", Int64)],
    aggregations=[Aggregation("page", "count", timedelta(days=2), name="pages")],
)
latest = FeatureView("latest", clicks, entities=[user], schema=[Field("page", String)])
asked = RequestSource("asked", schema=[Field("limit", Int64), Field("when", UnixTimestamp)])


@on_demand_feature_view(
    sources=[counts, asked], schema=[Field("over", Int64), Field("hour", Int64)], mode="python", singleton=True
)
def compared(inputs):
    """Compare the count with a limit."""
    over = None if inputs["count"] is None else int(inputs["count"] > inputs["limit"])
    return {"over": over, "hour": inputs["when"].hour}


@batch_feature_view(
    name="doubled", source=counts, entities=[user], schema=[Field("double", Int64)], mode="python", online=True
)
def doubled(rows):
    """Double the counts."""
    rows["double"] = [None if count is None else 2 * count for count in rows["count"]]
    return rows


model = FeatureService("model", features=[counts, spent[["n"]], compared])
'''
MAY = "2024-05-{:02}T{:02}:00:00Z".format


@pytest.fixture
def repo(tmp_path):
    """A repo with files of its own, which are not to be read, and no registry."""
    folder = tmp_path / "repo"
    (folder / "data").mkdir(parents=True)
    (folder / "feature_store.yaml").write_text("project: shop")
    (folder / "features.py").write_text(FEATURES)
    time = pa.array([datetime(2024, 5, 1, tzinfo=UTC)], pa.timestamp("ns", "UTC"))
    own = {"user_id": [1], "at": time, "made": time, "cnt": pa.array([99], pa.int32()), "share": [0.5], "note": ["x"]}
    pq.write_table(pa.table(own), folder / "data" / "visits.parquet")
    paid = {"user_id": [1], "city": ["Rome"], "at": time, "amount": [99.0]}
    pq.write_table(pa.table(paid), folder / "data" / "paid.parquet")
    return folder


def run(repo, *cases, online_store="memory"):
    """Run cases and return how they went."""
    return run_cases(repo, load_config(repo / "feature_store.yaml"), cases, online_store)


def outcome(result):
    """Return what the paths gave: feature, training, serving and status of each check."""
    assert not result.error
    return [(check.feature, check.training, check.serving, check.status) for check in result.checks]


def visits(*rows):
    """Return visits of user 1: (day, count), with a created time if there is a third."""
    return {"visits": [dict(zip(["at", "cnt", "made"], row, strict=False), user_id=1) for row in rows]}


def expect(at, values, **more):
    """Expect values of user 1 at a time."""
    return Expect(at, {"user_id": 1}, values, **more)


def test_a_plain_view_is_the_same_on_both_paths(repo):
    """Each time sees the rows up to it; the ttl ends alike; the repo's own rows do not count."""
    case = Case(
        "ttl",
        ["counts"],
        visits((MAY(2, 0), 5), (MAY(3, 0), 6)),
        [
            expect(MAY(1, 0), {"count": None}),
            expect(MAY(5, 0), {"count": 6}),
            expect(MAY(2, 12), {"count": 5, "share": None}),
            expect("2024-05-05T00:00:00.000001Z", {"count": None}),
        ],
    )
    [result] = run(repo, case)
    assert result.passed
    assert outcome(result) == [
        ("count", None, None, "NOT_FOUND"),
        ("count", 6, 6, "PRESENT"),
        ("count", 5, 5, "PRESENT"),
        ("share", None, None, "NULL_VALUE"),
        ("count", None, None, "OUTSIDE_MAX_AGE"),
    ]


def test_a_wrong_expectation_fails_with_what_came_out(repo):
    """What differs from what is expected is told for each path, and the rest is still compared."""
    [result] = run(repo, Case("wrong", ["counts"], visits((MAY(1, 0), 5)), [expect(MAY(1, 0), {"count": 6})]))
    assert not result.passed
    [check] = result.checks
    assert (check.expected, check.training, check.serving, check.status) == (6, 5, 5, "PRESENT")
    assert (check.training_agrees, check.serving_agrees) == (False, False)


@pytest.mark.parametrize(
    ("expected", "passes"),
    [
        (0.1, True),  # of Float32, as the feature is
        (0.1000001, False),
        (Approx(0.1000001), True),
        (Approx(0.2, within=0.1), True),
        (Approx(0.3, within=0.1), False),
        (Approx(None), False),
        (None, False),
        (0, False),
        (math.nan, False),
    ],
)
def test_numbers_are_compared_in_the_type_of_the_feature(repo, expected, passes):
    """A float equals what its type makes of the expected number; Approx need only be near."""
    rows = {"visits": [{"user_id": 1, "at": MAY(1, 0), "share": 0.1}]}
    [result] = run(repo, Case("float", ["counts:share"], rows, [expect(MAY(1, 0), {"share": expected})]))
    assert (result.passed, result.error) == (passes, "")


def test_nan_is_nan(repo):
    """A NaN is as expected where a NaN is."""
    rows = {"visits": [{"user_id": 1, "at": MAY(1, 0), "share": math.nan}]}
    assert run(repo, Case("nan", ["counts:share"], rows, [expect(MAY(1, 0), {"share": math.nan})]))[0].passed


@pytest.mark.parametrize("online_store", ["memory", "sqlite", "lmdb"])
def test_windows_are_the_same_on_both_paths(repo, online_store):
    """History is back-filled, later events are pushed, in any order; windows empty by themselves."""
    history = [{"user_id": 1, "city": "Rome", "at": MAY(1, 0), "amount": 10}]
    pushed = [
        {"user_id": 1, "city": "Rome", "at": MAY(2, 1), "amount": 2.5},
        {"user_id": 1, "city": "Rome", "at": MAY(2, 0), "amount": 0.5},
        {"user_id": 1, "city": "Oslo", "at": MAY(2, 0), "amount": 77},
    ]
    rome, oslo = {"user_id": 1, "city": "Rome"}, {"user_id": 1, "city": "Oslo"}
    case = Case(
        "spent",
        ["spent"],
        {"paid_before": history, "paid": pushed},
        [
            Expect(MAY(1, 0), rome, {"sum_2d": 10.0, "n": 1, "last": [10.0]}),
            Expect(MAY(2, 1), rome, {"sum_2d": 13.0, "n": 3, "last": [10.0, 2.5]}),
            Expect(MAY(3, 0), rome, {"sum_2d": 3.0, "n": 2, "last": Approx([10, 2.5])}),
            Expect(MAY(4, 1), rome, {"sum_2d": None, "n": 1}),
            Expect(MAY(20, 1), rome, {"sum_2d": None, "n": 0, "last": [10.0, 2.5]}),
            Expect(MAY(3, 0), oslo, {"sum_2d": 77.0, "n": 1}),
        ],
    )
    [result] = run(repo, case, online_store=online_store)
    assert [check for check in result.checks if not check.passed] == []
    assert (result.error, len(result.checks)) == ("", 16)


def test_what_only_pushes_fill_is_tested_as_if_it_always_ran(repo):
    """A push source without a history is complete from the beginning; training reads what was pushed."""
    rows = [{"user_id": 1, "at": MAY(1, hour), "page": page} for hour, page in ((3, "a"), (1, "b"), (2, None))]
    case = Case(
        "clicks",
        ["clicked", "latest"],
        {"clicks": rows},
        [
            expect(MAY(1, 2), {"pages": 1, "page": None}),
            expect(MAY(1, 3), {"pages": 2, "page": "a"}),
            expect(MAY(3, 1), {"pages": 1}),
        ],
    )
    [result] = run(repo, case)
    assert result.passed, result


def test_on_demand_features_get_the_request(repo):
    """A service with an on-demand view takes the request's values, times as ISO text too."""
    case = Case(
        "over",
        ["compared", "counts"],
        visits((MAY(1, 0), 5)),
        [
            expect(MAY(1, 1), {"over": 1, "hour": 7, "count": 5}, request={"limit": 4, "when": MAY(1, 7)}),
            expect(MAY(9, 1), {"over": None, "hour": 8}, request={"limit": 5, "when": datetime(2024, 5, 1, 8)}),
        ],
    )
    [result] = run(repo, case)
    assert result.passed, result


def test_a_view_over_another_is_made_of_its_rows(repo):
    """A function over the rows of another view runs on the case's rows, on both paths."""
    case = Case("twice", ["doubled"], visits((MAY(1, 0), 5)), [expect(MAY(1, 1), {"double": 10})])
    [result] = run(repo, case)
    assert result.passed, result


def test_a_view_that_is_not_online_is_trained_only(repo):
    """Nothing is asked of serving where a view is not online, and the check says so."""
    [result] = run(repo, Case("hidden", ["hidden"], visits((MAY(1, 0), 5)), [expect(MAY(1, 0), {"count": 5})]))
    assert result.passed
    assert outcome(result) == [("count", 5, None, "")]


def test_a_row_may_count_only_once_it_was_created(repo):
    """With known_by, a row comes when it was created, in training and in what is written before each time."""
    rows = visits((MAY(1, 0), 5, MAY(1, 0)), (MAY(1, 1), 6, MAY(2, 0)))
    times = [expect(MAY(1, 12), {"count": 5}), expect(MAY(2, 0), {"count": 6})]
    [result, other] = run(
        repo, Case("late", ["counts"], rows, times, known_by=True), Case("late", ["counts"], rows, times)
    )
    assert result.passed, result
    assert [check.passed for check in other.checks] == [False, True]


def test_cases_do_not_see_each_others_rows(repo):
    """Each case begins with empty sources and stores."""
    first = Case("first", ["counts"], visits((MAY(1, 0), 5)), [expect(MAY(1, 0), {"count": 5})])
    second = Case("second", ["counts"], {}, [expect(MAY(1, 0), {"count": None})])
    assert [result.passed for result in run(repo, first, second, first)] == [True, True, True]


def test_names_of_columns_and_of_sources_may_be_the_views(repo):
    """Rows are given by source, path or view, under the columns' own names or those that the view has for them."""
    row = {"user_id": 1, "at": MAY(1, 0)}
    for source, name in (("visits", "cnt"), ("data/visits.parquet", "count"), ("counts", "count")):
        case = Case("n", ["counts"], {source: [{**row, name: 5}]}, [expect(MAY(1, 0), {"counts:count": 5})])
        assert run(repo, case)[0].passed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"features": ["count"]}, "'count' is neither a view nor a service. did you mean"),
        ({"features": ["counts", "hidden"]}, "'count' is the name of several features. write one of counts:count"),
        ({"rows": {"visit": []}}, "there is no source 'visit' for rows. did you mean"),
        ({"rows": {"visits": [{"user_id": 1, "at": MAY(1, 0), "cont": 1}]}}, "row 0 of 'visits' has a column 'cont'"),
        ({"rows": {"visits": [{"user_id": 1, "cnt": 1}]}}, "row 0 of 'visits' has no 'at'"),
        ({"rows": {"visits": [{"at": MAY(1, 0), "cnt": 1}]}}, "row 0 of 'visits' has no 'user_id'"),
        ({"rows": {"visits": [{"user_id": 1, "at": MAY(1, 0), "cnt": 1.5}]}}, "'visits': column 'cnt' has values"),
        ({"rows": {"visits": [{"user_id": "x", "at": MAY(1, 0)}]}}, "'user_id'"),
        ({"rows": {"visits": [{"user_id": 1, "at": "noon"}]}}, "'noon' is not a time"),
        ({"expect": [Expect(MAY(1, 0), {"user": 1, "x": 2}, {"cont": 1})]}, "does not ask for a feature 'cont'"),
        ({"expect": [Expect(MAY(1, 0), {}, {"count": 1})]}, "user_id"),
        ({"expect": [Expect(MAY(1, 0), {"user_id": 1}, {"count": "many"})]}, "values that do not fit Int64"),
    ],
)
def test_a_case_that_cannot_be_run_says_why(repo, change, said):
    """A mistake in a case is its result, with the cure, and other cases are still run."""
    good = {"features": ["counts"], "rows": visits((MAY(1, 0), 5)), "expect": [expect(MAY(1, 0), {"count": 5})]}
    bad, fine = run(repo, Case("bad", **{**good, **change}), Case("fine", **good))
    assert said in bad.error
    assert (bad.passed, bad.checks, fine.passed) == (False, (), True)


def test_nothing_of_the_repo_is_touched(repo):
    """A run leaves the repo's folder as it is: no registry, no online store, no rows that functions made."""
    before = sorted(path for path in repo.rglob("*") if "__pycache__" not in path.parts)
    case = Case("twice", ["doubled"], visits((MAY(1, 0), 5)), [expect(MAY(1, 1), {"double": 10})])
    assert run(repo, case)[0].passed
    assert sorted(path for path in repo.rglob("*") if "__pycache__" not in path.parts) == before


def test_sources_need_not_be_there(repo):
    """Where the repo's files are missing, what is declared is enough."""
    (repo / "data" / "visits.parquet").unlink()
    (repo / "data" / "paid.parquet").unlink()
    (repo / "features.py").write_text(FEATURES.partition("@batch_feature_view")[0])
    case = Case("ttl", ["counts"], visits((MAY(2, 0), 5)), [expect(MAY(2, 0), {"count": 5})])
    assert run(repo, case)[0].passed


def test_wrong_definitions_are_listed(repo):
    """What is wrong with the repo's files is said before anything is run."""
    (repo / "features.py").write_text(FEATURES.replace('"sum", timedelta(days=2)', '"summ", timedelta(days=2)'))
    with pytest.raises(RepoProblems, match=r"nothing was tested[\s\S]*'summ'"):
        run(repo)


def test_files_of_cases_are_no_definitions(repo):
    """Python that imports likewise.cases is left out when a repo is loaded, whatever it does."""
    (repo / "cases").mkdir()
    (repo / "cases" / "some.py").write_text("from likewise.cases import Case\nraise RuntimeError('not to be run')\n")
    assert run(repo) == []


def test_an_on_demand_function_that_fails_is_an_error_of_its_case(repo):
    """What a user's function raises is said as the case's error."""
    (repo / "features.py").write_text(FEATURES.replace('inputs["when"].hour}', "1 // 0}"))
    case = Case("fails", ["compared"], {}, [expect(MAY(1, 0), {"over": 1}, request={"limit": 1, "when": MAY(1, 0)})])
    [result] = run(repo, case)
    assert "ZeroDivisionError" in result.error


def test_the_configuration_may_say_anything_of_stores(repo):
    """The registry and the online store of the configuration are not opened."""
    config = parse_config("{project: shop, registry: /nowhere/at/all.db, online_store: {type: lmdb, path: /nowhere}}")
    case = Case("ttl", ["counts"], visits((MAY(2, 0), 5)), [expect(MAY(2, 0), {"count": 5})])
    assert run_cases(repo, config, [case])[0].passed
