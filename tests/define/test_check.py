"""The rules of a repo: every problem is found, with its place and its cure."""

from datetime import timedelta
from typing import Any

import pytest

from likewise import (
    Aggregation,
    Entity,
    FeatureService,
    FeatureView,
    Field,
    FileSource,
    OnDemandFeatureView,
    Project,
    PushSource,
    RequestSource,
    StreamFeatureView,
)
from likewise.define.check import check
from likewise.define.contents import collect
from likewise.define.definition import Definition
from likewise.types import Float64, Int64

SOURCE = FileSource(path="cards.parquet", timestamp_field="at")
CUSTOMER = Entity(name="customer", join_keys=["customer_id"])


def ratio(frame: Any) -> Any:
    """A function of an on-demand view."""
    return frame


def view(**more: Any) -> FeatureView:
    """A view that keeps all rules, but for what is given."""
    return FeatureView(
        **{"name": "cards", "entities": [CUSTOMER], "schema": [Field("a", Int64)], "source": SOURCE, **more}
    )


def on_demand(**more: Any) -> OnDemandFeatureView:
    """An on-demand view that keeps all rules, but for what is given."""
    return OnDemandFeatureView(
        **{"name": "made", "sources": [view()], "schema": [Field("r", Float64)], "udf": ratio, **more}
    )


def windows(**more: Any) -> StreamFeatureView:
    """A stream view that keeps all rules, but for what is given."""
    hour = Aggregation("a", "sum", timedelta(hours=1))
    return StreamFeatureView(
        **{"name": "w", "entities": [CUSTOMER], "source": PushSource("p", SOURCE), "aggregations": [hour], **more}
    )


BROKEN: dict[str, tuple[list[Definition], str]] = {
    "bad name": ([view(name="1 card")], "'1 card' cannot be the name of a feature view"),
    "no source": ([view(source=None)], "it has no source"),
    "negative ttl": ([view(ttl=timedelta(-1))], "ttl=-1 day, 0:00:00 is negative"),
    "ttl is no timedelta": ([view(ttl=5)], "ttl=5 is no timedelta"),
    "unknown type": ([view(schema=[Field("a", "Int46")])], "'Int46' is not a feature type. did you mean 'Int64'"),
    "field twice": ([view(schema=[Field("a", Int64), Field("a", Int64)])], "schema names 'a' twice"),
    "no field": ([view(schema=["a"])], "schema holds 'a', which is no Field"),
    "only keys": ([view(schema=[Field("customer_id", Int64)])], "its schema lists only keys"),
    "reserved": ([view(schema=[Field("event_timestamp", Int64)])], "a feature cannot be named 'event_timestamp'"),
    "unknown entity": (
        [view(entities=["custmer"]), CUSTOMER],
        "there is no entity 'custmer'. did you mean 'customer'?",
    ),
    "entity twice": ([view(entities=[CUSTOMER, CUSTOMER])], "entities names 'customer' twice"),
    "two join keys": ([Entity(name="e", join_keys=["a", "b"])], "names 2 columns"),
    "one join key for two": (
        [view(entities=[CUSTOMER, Entity(name="other", join_keys=["customer_id"])])],
        "two of its entities have the join key 'customer_id'",
    ),
    "same name": ([view(), view(name="CARDS", ttl=timedelta(1))], "feature view 'cards' is defined differently"),
    "mapping": (
        [view(source=FileSource(path="x", timestamp_field="t", field_mapping={"a": "c", "b": "c"}))],
        "maps two columns",
    ),
    "format": ([FileSource(path="x", file_format="orc")], "file_format='orc' is not known"),
    "no path": ([FileSource(timestamp_field="t")], "it has no path"),
    "tags": ([view(tags={"a": 1})], "is not a mapping of text to text"),
    "service of nothing": ([FeatureService("s", [])], "it lists no features"),
    "service of no view": ([FeatureService("s", ["cards"])], "features holds 'cards'"),  # type: ignore[list-item]
    "service twice": ([FeatureService("s", [view(), view()])], "it lists 'cards' twice"),
    "service named as view": ([FeatureService("cards", [view()]), view()], "a view has the same name"),
    "request": ([RequestSource("r", [Field("x", "Nope")])], "'Nope' is not a feature type"),
    "two projects": ([Project("p"), Project("q")], "a repo has one project"),
    "other project": ([Project("q")], "feature_store.yaml says project: p"),
    "mode": ([on_demand(mode="substrait")], "mode='substrait' is not known"),
    "singleton": ([on_demand(singleton=True)], "singleton=True does not go with mode='pandas'"),
    "no schema": ([on_demand(schema=[])], "its schema is empty"),
    "no sources": ([on_demand(sources=[])], "it has no sources"),
    "no function": ([on_demand(udf=None)], "it has no function"),
    "lambda of C": ([on_demand(udf=len)], "is not a plain function"),
    "output is input": (
        [on_demand(sources=[RequestSource("r", [Field("r", Float64)])])],
        "it returns 'r', which the request gives",
    ),
    "two givers": (
        [on_demand(sources=[view(), RequestSource("q", [Field("a", Int64)])])],
        "both 'cards' and 'q' give it a column 'a'",
    ),
    "function": (
        [windows(aggregations=[Aggregation("a", "summ", timedelta(1))])],
        "'summ' is not known. did you mean 'sum'?",
    ),
    "no column": ([windows(aggregations=[Aggregation("", "sum", timedelta(1))])], "has no column"),
    "zero window": (
        [windows(aggregations=[Aggregation("a", "sum", timedelta(0))])],
        "time_window=0:00:00 is not positive",
    ),
    "negative slide": (
        [windows(aggregations=[Aggregation("a", "sum", timedelta(1), timedelta(-1))])],
        "slide_interval=-1 day, 0:00:00 is not positive",
    ),
    "negative delay": (
        [windows(aggregations=[Aggregation("a", "sum", timedelta(1), delay=timedelta(-1))])],
        "delay=-1 day, 0:00:00 is not positive",
    ),
    "no window for it": (
        [windows(schema=[Field("x", Int64), Field("y", Int64)])],
        "no aggregation makes the feature 'x'",
    ),
    "one name twice": (
        [windows(aggregations=[Aggregation("a", "sum", timedelta(1)), Aggregation("a", "sum", timedelta(1))])],
        "two aggregations make the feature 'sum_a_86400s'",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_rule_is_found_with_its_place_and_cure(case: str) -> None:
    """Each problem names this file, a line, what is wrong and what would be right."""
    objects, said = BROKEN[case]
    problems = check(collect(objects), "p")
    assert any(said in str(problem) for problem in problems), [str(problem) for problem in problems]
    assert all(problem.file == __file__ and problem.line > 0 and problem.cure for problem in problems)


def test_a_repo_without_problems_has_none() -> None:
    """What keeps the rules passes, in any order, each object any number of times."""
    service = FeatureService("s", [view()[["a"]], on_demand()])
    push = PushSource("p", SOURCE)
    assert (
        check(collect([service, view(), CUSTOMER, SOURCE, push, windows(source=push), on_demand(), service]), "p") == []
    )


def test_all_problems_are_listed_at_once() -> None:
    """Nobody has to mend one to see the next."""
    objects: list[Definition] = [view(ttl=5), Entity(name="1"), FeatureService("s", [])]
    assert len(check(collect(objects), "p")) == 3


def test_unnamed_aggregations_take_the_schemas_names_by_position() -> None:
    """As many of both: the first aggregation makes the first field."""
    hour, schema = timedelta(hours=1), [Field("n", Int64), Field("total", Float64)]
    found = windows(schema=schema, aggregations=[Aggregation("a", "count", hour), Aggregation("a", "sum", hour)])
    assert [aggregation.feature for aggregation in found.windows()] == ["n", "total"]
    assert check(collect([found])) == []


def test_a_part_of_a_view_stands_for_the_whole_view() -> None:
    """Applying a service applies the views it reads, whole and under their own names."""
    [whole] = collect([FeatureService("s", [view()[["a"]].with_name("other")])]).views
    assert (whole.name, whole.projection.name, [field.name for field in whole.features]) == ("cards", "cards", ["a"])
