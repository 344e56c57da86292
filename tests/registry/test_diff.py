"""The diff names every field that differs, and who is broken by it."""

from datetime import timedelta
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from likewise.core.types import Float64, Int64, String
from likewise.define.aggregation import Aggregation
from likewise.define.definition import Definition
from likewise.define.entity import Entity
from likewise.define.field import Field
from likewise.define.service import FeatureService
from likewise.define.source import FileSource, RequestSource
from likewise.define.transform import OnDemandFeatureView
from likewise.define.view import FeatureView
from likewise.define.windowed import BatchFeatureView
from likewise.registry.catalog import canonical
from likewise.registry.codec import encode
from likewise.registry.diff import Change, describe, diff

USER = Entity(name="user", join_keys=["user_id"], value_type=Int64)
CITY = Entity(name="city")
SOURCE = FileSource(name="visits", path="visits.parquet", timestamp_field="at")
VISITS, SPENT = Field("visits", Int64), Field("spent", Float64)


def view(**changed: Any) -> FeatureView:
    """Return a view of two features with something changed."""
    given = {"entities": [USER], "schema": [VISITS, SPENT], "source": SOURCE, "ttl": timedelta(days=1)}
    return FeatureView(name="stats", **{**given, **changed})


def text_of(old: list[Definition], new: list[Definition]) -> str:
    """Return the description of all changes between two sets."""
    changes = diff(map(encode, old), map(encode, new))
    return "\n".join(line for change in changes for line in describe(change))


def one_change(old: Definition, new: Definition, *others: Definition) -> Change:
    """Return the only change, where other definitions stay as they are."""
    (change,) = diff(map(encode, [old, *others]), map(encode, [new, *others]))
    return change


def test_equal_sets_do_not_differ() -> None:
    """Two equal sets have no changes, whatever their order."""
    definitions = [encode(each) for each in (USER, SOURCE, view())]
    assert diff(definitions, reversed(definitions)) == []


def test_true_is_not_one() -> None:
    """Values that Python takes for equal but JSON writes differently are changes."""
    old, new = {"kind": "entity", "name": "a", "n": 1}, {"kind": "entity", "name": "a", "n": True}
    (change,) = diff([old], [new])
    assert [(field.path, field.before, field.after) for field in change.fields] == [(("n",), 1, True)]


def test_kinds_come_in_the_order_they_build_on_each_other() -> None:
    """Changes are sorted by kind, from projects to services, then by name."""
    service = FeatureService("fraud_v1", [view()])
    assert text_of([CITY], [service, view(), SOURCE, USER]) == (
        "- entity city\n+ entity user\n+ data source visits\n+ feature view stats\n+ feature service fraud_v1"
    )


@pytest.mark.parametrize(
    ("changed", "line", "breaking"),
    [
        ({"ttl": timedelta(days=2)}, "ttl: 1 day -> 2 days", False),
        ({"ttl": timedelta(hours=1)}, "ttl: 1 day -> 1 hour   (values older than 1 hour become null)", False),
        ({"ttl": None}, "ttl: 1 day -> unlimited", False),
        ({"lookback": timedelta(hours=2)}, "lookback: none -> 2 hours", False),
        ({"owner": "ada"}, "owner: none -> ada", False),
        ({"tags": {"team": "risk"}}, 'tags: none -> {"team": "risk"}', False),
        ({"description": "two\nlines"}, "description: none -> 2 lines", False),
        ({"online": False}, "offline_only: none -> true   BREAKING: online reads of it end", True),
        (
            {"schema": [VISITS, SPENT, Field("city", String)]},
            "+ feature city (String)   (null online until it is materialized again)",
            False,
        ),
        ({"schema": [VISITS]}, "- feature spent (Float64)   BREAKING: whoever reads it by name fails", True),
        (
            {"schema": [VISITS, Field("spent", Int64)]},
            "feature spent type: Float64 -> Int64   BREAKING: its readers get another type",
            True,
        ),
        ({"schema": [SPENT, VISITS]}, 'schema: ["visits", "spent"] -> ["spent", "visits"]', False),
        (
            {"entities": [USER, CITY]},
            'entities: ["user"] -> ["user", "city"]   '
            "BREAKING: its key changes: entity rows and stored keys no longer fit",
            True,
        ),
        (
            {"source": FileSource(name="other", path="other.parquet", timestamp_field="at")},
            "source: visits -> other   (values may differ: materialize again)",
            False,
        ),
    ],
)
def test_a_changed_view(changed: dict[str, Any], line: str, breaking: bool) -> None:
    """Each field of a view that changes has a line with both values and what it means."""
    change = one_change(view(), view(**changed))
    assert describe(change) == ["~ feature view stats", f"    {line}"]
    assert change.breaking is breaking


def test_no_limit_to_a_limit_is_a_shorter_ttl() -> None:
    """A ttl where there was none turns old values into nulls, and says so."""
    (_, line) = describe(one_change(view(ttl=None), view()))
    assert line == "    ttl: unlimited -> 1 day   (values older than 1 day become null)"


def test_who_reads_a_feature_is_named() -> None:
    """A removed or retyped feature names the services and on-demand views that read it, and only those."""
    whole, part = FeatureService("fraud_v1", [view()]), FeatureService("fraud_v2", [view()[["visits"]]])
    ratio = OnDemandFeatureView("ratio", [view()[["spent"]]], [Field("r", Float64)], lambda df: df, "pandas")
    change = one_change(view(), view(schema=[VISITS]), whole, part, ratio)
    assert describe(change)[1].endswith("BREAKING: feature service fraud_v1, on-demand feature view ratio read it")
    change = one_change(view(), view(schema=[Field("visits", String), SPENT]), whole, part)
    assert describe(change)[1].endswith("BREAKING: feature service fraud_v1, feature service fraud_v2 read it")


def test_a_key_listed_in_the_schema_is_no_feature() -> None:
    """Listing the key column in a schema, or leaving it out, breaks nobody."""
    listed = view(schema=[Field("user_id", Int64), VISITS, SPENT])
    assert not one_change(listed, view(), USER).breaking
    assert not one_change(view(), listed, USER).breaking


def test_deleting_breaks_those_who_read() -> None:
    """Deleting a view names its readers; deleting a source or a project that nobody needs breaks nobody."""
    service = FeatureService("fraud_v1", [view()])
    assert text_of([SOURCE, view(), service], [service]) == (
        "- data source visits\n- feature view stats   BREAKING: feature service fraud_v1 reads it"
    )
    assert text_of([view()], []) == "- feature view stats   BREAKING: whoever reads it by name fails"
    assert text_of([service], []) == "- feature service fraud_v1   BREAKING: models that read it fail"


def test_a_changed_entity() -> None:
    """Another join key or key type breaks entity rows and stored keys; a type that was only found out does not."""
    other_key = one_change(USER, Entity(name="user", join_keys=["uid"], value_type=Int64))
    assert describe(other_key)[1] == (
        "    join_key: user_id -> uid   BREAKING: entity rows name the key by its old name"
    )
    other_type = one_change(USER, Entity(name="user", join_keys=["user_id"], value_type=String))
    assert describe(other_type)[1] == "    type: Int64 -> String   BREAKING: stored keys are found no more"
    assert not one_change(Entity(name="user", join_keys=["user_id"]), USER).breaking


def test_a_changed_source() -> None:
    """Another path may change values, a mapping does so surely; another request field breaks requests."""
    moved = one_change(SOURCE, FileSource(name="visits", path="new.parquet", timestamp_field="at"))
    assert describe(moved)[1] == ("    path: visits.parquet -> new.parquet   (values may differ: materialize again)")
    mapping = {"uid": "user_id"}
    mapped = one_change(SOURCE, FileSource("visits.parquet", "visits", timestamp_field="at", field_mapping=mapping))
    assert [change.why for change in mapped.fields] == ["not served until it is materialized again"]
    request = one_change(RequestSource("pay", [VISITS]), RequestSource("pay", [VISITS, SPENT]))
    assert describe(request)[1] == "    + feature spent (Float64)   BREAKING: requests must give it"


def test_a_changed_function() -> None:
    """Another source text of an on-demand function is told by its hash, once, and breaks nobody."""
    old = OnDemandFeatureView("ratio", [view()], [Field("r", Float64)], lambda df: df + 1, "pandas")
    new = OnDemandFeatureView("ratio", [view()], [Field("r", Float64)], lambda df: df + 2, "pandas")
    change = one_change(old, new)
    assert old.function is not None
    assert new.function is not None
    hashes = f"{old.function.hash[:12]} -> {new.function.hash[:12]}"
    assert describe(change)[1:] == [f"    function: {hashes}   (values change in training and serving alike)"]
    assert not change.breaking


def test_a_changed_service() -> None:
    """What a service no longer reads is named; the order and what it adds break nobody."""
    other = FeatureView(name="other", source=SOURCE, schema=[VISITS])
    both = FeatureService("fraud_v1", [view(), other])
    fewer = one_change(both, FeatureService("fraud_v1", [view()]))
    assert describe(fewer)[1] == "    - features of other   BREAKING: its readers lose these features"
    part = one_change(both, FeatureService("fraud_v1", [view()[["visits"]], other]))
    assert part.fields[0].breaking
    less = one_change(FeatureService("s", [view()[["visits", "spent"]]]), FeatureService("s", [view()[["spent"]]]))
    assert describe(less)[1].endswith("BREAKING: its readers lose visits")
    assert not one_change(
        FeatureService("s", [view()[["spent"]]]), FeatureService("s", [view()[["spent", "visits"]]])
    ).breaking
    assert not one_change(both, FeatureService("fraud_v1", [other, view()])).breaking


def test_aggregations_are_told_apart_without_names() -> None:
    """An aggregation without a name is known by its function, column and window."""
    hour, day = (Aggregation("amount", "sum", timedelta(hours=n)) for n in (1, 24))
    given: dict[str, Any] = {"source": SOURCE, "schema": [VISITS], "entities": [USER]}
    old = BatchFeatureView("sums", aggregations=[hour], **given)
    new = BatchFeatureView("sums", aggregations=[hour, day], **given)
    assert describe(one_change(old, new))[1] == (
        "    + aggregation sum of amount over 1 day   (values may differ: materialize again)"
    )


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.sampled_from(["", "a", "b"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["name", "view", "alias", "features", "function"]), inner, max_size=3),
    ),
    max_leaves=8,
)
BODIES = st.dictionaries(st.sampled_from(["schema", "features", "ttl", "function", "entities"]), JSON, max_size=3)


@given(BODIES, BODIES, st.sampled_from(["feature_view", "feature_service", "entity", "unheard_of"]))
def test_any_json_can_be_compared(old: dict[str, Any], new: dict[str, Any], kind: str) -> None:
    """Whatever two definitions hold, they have a describable change if and only if their canonical JSON differs."""
    one, other = {**old, "kind": kind, "name": "x"}, {**new, "kind": kind, "name": "x"}
    changes = diff([one], [other])
    assert bool(changes) == (canonical(one) != canonical(other))
    for change in changes:
        assert change.fields
        assert all(isinstance(line, str) for line in describe(change))
