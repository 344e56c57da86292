"""Codec: definitions as plain data, and back, the same."""

from datetime import timedelta
from typing import Any

import pytest

from likewise import (
    Aggregation,
    BatchFeatureView,
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
)
from likewise.core.errors import StoreCorrupt
from likewise.define.check import alike
from likewise.define.contents import collect
from likewise.registry.catalog import canonical
from likewise.registry.codec import decode, encode
from likewise.types import Array, Float64, Int64, String, Struct


def total(frame: Any) -> Any:
    """A function of an on-demand view."""
    return frame


def everything() -> list[Any]:
    """One definition of each kind, with every argument set somewhere."""
    words = {"description": "what", "tags": {"team": "fraud"}, "owner": "me@example.com"}
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING, **words)
    day = Entity(name="day")
    files = FileSource(
        path="data/*.csv",
        name="files",
        timestamp_field="t",
        created_timestamp_column="c",
        field_mapping={"u": "user_id"},
        **words,
    )
    push = PushSource("push", files, **words)
    request = RequestSource("request", [Field("amount", Float64, "how much", {"unit": "EUR"})], **words)
    kinds = [Field("a", Array(Int64)), Field("s", Struct({"x": String}), vector_index=True, vector_length=3)]
    plain = FeatureView("plain", push, kinds, [user, day], timedelta(days=7), lookback=timedelta(hours=2), **words)
    batch = BatchFeatureView(
        "batch", files, kinds, [user], aggregations=[Aggregation("a", "sum")], udf=total, mode="pandas"
    )
    batch.takes = [Field("a", Int64), Field("t", String)]
    chained = FeatureView("chained", [batch[["a"]], plain], kinds, [user], mode="sql")
    hour = Aggregation("a", "count", timedelta(hours=1), timedelta(minutes=5), "n", timedelta(seconds=1), "a > 0")
    stream = StreamFeatureView("stream", push, [Field("n", Int64)], [user], aggregations=[hour])
    made = OnDemandFeatureView(
        "made", [plain[["a"]], request], [Field("r", Float64)], total, "python", singleton=True, **words
    )
    part = plain[["s"]].with_name("then").with_join_key_map({"user_id": "buyer"})
    return [
        Project("p", **words),
        chained,
        plain,
        batch,
        stream,
        made,
        FeatureService("service", [part, made, plain], **words),
    ]


def test_every_definition_comes_back_as_it_went() -> None:
    """Object to data to object says the same, down to parts, aliases and functions' hashes."""
    contents = collect(everything())
    back = decode([encode(definition) for definition in contents.all()])
    found = {(definition.kind, definition.name): definition for definition in back.all()}
    for one in contents.all():
        assert alike(one, found[one.kind, one.name]), one
    [chained] = [view for view in back.views if view.name == "chained"]
    assert [(part.name, part.projection.features) for part in chained.source_views] == [
        ("batch", ("a",)),
        ("plain", None),
    ]
    assert [service.projections for service in back.services] == [service.projections for service in contents.services]
    assert all(encode(one) == encode(found[one.kind, one.name]) for one in contents.all())


def test_stored_data_holds_text_and_no_code() -> None:
    """A function is stored as its text and hash; what is read back cannot be called."""
    [made] = decode([encode(definition) for definition in collect(everything()).all()]).on_demand
    assert made.function is not None
    assert made.function.call is None
    assert "def total" in made.function.text


def test_what_is_empty_is_left_out() -> None:
    """A field that a later version adds leaves older hashes as they are."""
    data = encode(FeatureView("v", FileSource(path="f", timestamp_field="t")))
    assert data == {"kind": "feature_view", "name": "v", "source": "f"}


def test_data_is_plain_json() -> None:
    """Every definition can be written canonically."""
    assert all(canonical(encode(definition)) for definition in collect(everything()).all())


@pytest.mark.parametrize(
    "data",
    [
        [{"kind": "entity", "name": "e"}],
        [{"kind": "data_source", "name": "s", "type": "pickle"}],
        [{"kind": "feature_view", "name": "v", "source": "gone"}],
        [{"name": "no kind"}],
        [{"kind": "feature_view", "name": "v", "schema": [{"name": "a", "type": "Nope"}]}],
    ],
)
def test_data_that_is_no_definition_is_named_as_corrupt(data: list[dict[str, Any]]) -> None:
    """A registry is never half understood."""
    with pytest.raises(StoreCorrupt, match="cannot be read"):
        decode(data)
