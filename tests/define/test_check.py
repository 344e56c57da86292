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
    ValueType,
    on_demand_feature_view,
)
from likewise.core.errors import RepoProblems
from likewise.core.keys import KEY_FAMILIES
from likewise.core.types import SCALARS, Family
from likewise.define.check import check
from likewise.define.contents import collect
from likewise.define.definition import Definition
from likewise.define.projection import Projection
from likewise.types import Array, Float64, Int64, Set, Struct

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
    "part of an unknown feature": (
        [FeatureService("s", [view()[["zz"]]])],
        "feature view 'cards' has no feature 'zz'. known: 'a'",
    ),
    "part that is read by a function": ([on_demand(sources=[view()[["zz"]]])], "feature view 'cards' has no feature"),
    "part on its own": ([view()[5]], "feature view 'cards' has no feature 5"),
    "part beside its whole": ([view(), view()[["b"]]], "feature view 'cards' has no feature 'b'"),
    "part of nothing": ([view()[[]]], "names no features"),
    "part of an on-demand view": ([on_demand()[["zz"]]], "on-demand feature view 'made' has no feature 'zz'"),
    "unknown join key": ([view().with_join_key_map({"custmer_id": "c"})], "has no join key 'custmer_id'. did you mean"),
    "join key map": ([view().with_join_key_map(5)], "cannot take the join key map 5"),  # type: ignore[arg-type]
    "join key of a name": (
        [FeatureService("s", [view(entities=["customer"]).with_join_key_map({"zz": "c"})]), CUSTOMER],
        "feature service 's': view 'cards' has no join key 'zz'",
    ),
    "alias": ([view().with_name(5)], "cannot be seen under the name 5"),  # type: ignore[arg-type]
    "projection": ([view().with_projection(5)], "which is no projection"),  # type: ignore[arg-type]
    "field without a name": ([view(schema=[Field(None)])], "None cannot be the name of a field"),  # type: ignore[arg-type]
    "field's tags": ([view(schema=[Field("a", Int64, tags=5)])], "field 'a': tags=5 cannot be"),  # type: ignore[arg-type]
    "field's length": ([view(schema=[Field("a", Int64, vector_length=-1)])], "vector_length=-1 cannot be"),
    "no name": ([view(name=None)], "None cannot be the name of a feature view"),
    "a list as a name": ([Entity(name=[])], "[] cannot be the name of an entity"),  # type: ignore[arg-type]
    "schema of no fields": ([view(schema=5)], "schema=5 is no list. write schema=[Field("),
    "entities of none": ([view(entities=5)], "entities=5 is no list. write entities=[customer]"),
    "join keys of none": ([Entity(name="e", join_keys=5)], "join_keys=5 is no list"),  # type: ignore[arg-type]
    "version": ([view(version=5)], "version=5 is not text. give text as version"),
    "service of None": ([FeatureService("q", None)], "'q': it lists no features"),  # type: ignore[arg-type]
    "service of a number": ([FeatureService("q", 5)], "'q': features=5 is no list"),  # type: ignore[arg-type]
    "request of no fields": ([RequestSource("r", 5)], "'r': schema=5 is no list"),  # type: ignore[arg-type]
    "request of no type": ([RequestSource("r", {"x": "Nope"})], "field 'x': 'Nope' is not a feature type"),
    "on-demand sources": ([on_demand(sources=5)], "sources=5 is no list. give sources=[a_view, a_request_source]"),
    "on-demand text": ([on_demand(udf_string=5)], "udf_string=5 is not text"),
    "on-demand input_schema": ([on_demand(input_schema=[Field("a", Int64)])], "input_schema is not computed"),
    "on-demand aggregations": ([on_demand(aggregations=[1])], "aggregations is not computed"),
    "on-demand transformation": (
        [on_demand(udf=None, feature_transformation=ratio)],
        "feature_transformation is not computed. give the function itself as udf",
    ),
    "exploding": ([on_demand_feature_view(sources=[view()], explode=True)(ratio)], "explode=True is not computed"),
    "decorated number": ([on_demand_feature_view(sources=[view()])(5)], "5 is not a plain function"),  # type: ignore[arg-type]
    "format of no kind": ([FileSource(path="x", file_format=5)], "file_format=5 is not known"),  # type: ignore[arg-type]
    "path of no kind": ([FileSource(path=5)], "path=5 is no path"),  # type: ignore[arg-type]
    "mapping of no kind": ([FileSource(path="x", field_mapping={"a": []})], "is not a mapping of text to text"),  # type: ignore[dict-item]
    "time of no kind": ([FileSource(path="x", timestamp_field=5)], "data source 'x': timestamp_field=5 is not text"),  # type: ignore[arg-type]
    "struct": ([view(schema=[Field("a", Struct({1: Int64}))])], "field 'a': Struct({1: Int64}) has no fields, or a"),  # type: ignore[dict-item]
    "struct of nothing": ([view(schema=[Field("a", Struct(5))])], "Struct(5) has no fields"),  # type: ignore[arg-type]
    "array of nothing": ([view(schema=[Field("a", Array(Set(5)))])], "field 'a': 5 is not a feature type"),
    "key of a list": (
        [Entity(name="e", value_type=Array(Int64))],
        "'e': its type Array(Int64) cannot be that of a key",
    ),
    "key of a map": ([Entity(name="e", value_type=ValueType.MAP)], "'e': its type Map cannot be that of a key"),
    "aggregations of no kind": ([windows(aggregations=5)], "aggregations=5 is no list"),
    "window of no kind": (
        [windows(aggregations=[Aggregation("a", "sum", 5)])],  # type: ignore[arg-type]
        "time_window=5 is no timedelta",
    ),
    "engine": ([windows(stream_engine=5)], "is not a mapping"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_rule_is_found_with_its_place_and_cure(case: str) -> None:
    """Each problem names this file, a line, what is wrong and what would be right."""
    objects, said = BROKEN[case]
    problems = check(collect(objects), "p")
    assert any(said in str(problem) for problem in problems), [str(problem) for problem in problems]
    assert all(problem.file == __file__ and problem.line > 0 and problem.cure for problem in problems)


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_can_be_shown(case: str) -> None:
    """A notebook shows a definition whatever is wrong with it."""
    for broken in BROKEN[case][0]:
        assert type(broken).__name__ in repr(broken)
        assert type(broken).__name__ in broken._repr_html_()


def test_one_that_stands_alone_is_a_list_of_one() -> None:
    """``entities=customer``, a service of one view, one aggregation and one source need no brackets."""
    assert view(entities=CUSTOMER).entities == view(entities="customer").entities == ["customer"]
    assert [view.name for view in FeatureService("s", view()).views] == ["cards"]  # type: ignore[arg-type]
    assert [view.name for view in on_demand(sources=view()).source_views] == ["cards"]
    assert len(windows(aggregations=Aggregation("a", "sum", timedelta(hours=1))).aggregations) == 1


def test_what_is_wrong_with_a_part_is_not_wrong_with_the_view() -> None:
    """Who corrects a part in a notebook goes on with the same view."""
    whole = view()
    part, named = whole[["zz"]], on_demand()
    named[["zz"]]
    assert [problem.what for problem in part.problems] == ["feature view 'cards' has no feature 'zz'"]
    assert whole.problems == named.problems == []
    with pytest.raises(RepoProblems, match="has no feature 'zz'"):
        part.ensure_valid()
    whole.ensure_valid()


def test_a_broken_part_is_one_problem_where_it_was_made() -> None:
    """It is not said again of the service that reads it."""
    part = view()[["zz"]]
    assert [str(problem) for problem in check(collect([part, FeatureService("s", [part])]))] == [
        f"{__file__}:{part.part_problems[0].line}: {part.part_problems[0].what}. known: 'a'"
    ]


def test_no_problem_names_its_definition_twice() -> None:
    """Where the words begin with the definition, its title is not put before them."""
    objects = [Entity(name="y"), Entity(name="y", join_keys=["z"])]
    [problem] = check(collect(objects))
    assert problem.what.startswith(f"entity 'y' is defined differently at {__file__}:")


def test_an_on_demand_view_has_parts_and_other_names() -> None:
    """As a view has; applying a part applies the whole."""
    both = on_demand(schema=[Field("r", Float64), Field("q", Int64)])
    part = both[["q"]].with_name("other")
    assert [field.name for field in part.features] == ["q"]
    assert "as='other'" in repr(part)
    contents = collect([FeatureService("s", [part])])
    [whole] = contents.on_demand
    assert [field.name for field in whole.features] == ["r", "q"]
    assert contents.services[0].projections == [Projection("made", "other", ("q",))]
    assert check(contents) == []


def test_a_definition_does_not_know_what_was_materialized() -> None:
    """The store does."""
    assert (view().materialization_intervals, view().most_recent_end_time) == ([], None)


def test_what_a_key_may_be_is_what_the_keys_are_made_of() -> None:
    """Every scalar type but maps."""
    for kind in SCALARS.values():
        assert (kind.family in KEY_FAMILIES) == (Entity(name="e", value_type=kind).problems == [])
        assert (kind.family in KEY_FAMILIES) == (kind.family is not Family.MAP)


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
