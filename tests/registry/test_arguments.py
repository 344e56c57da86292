"""Arguments: whatever a definition's constructor takes is stored, or refused by name; nothing is dropped in silence."""

import inspect
from collections.abc import Callable, Mapping
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
    FileLoggingDestination,
    FileSource,
    LoggingConfig,
    OnDemandFeatureView,
    Project,
    PushSource,
    RequestSource,
    StreamFeatureView,
    ValueType,
)
from likewise.core.time import to_micros
from likewise.define.contents import collect
from likewise.define.definition import Definition
from likewise.registry.codec import decode, encode
from likewise.registry.diff import describe, diff
from likewise.types import Float64, Int64, String


def total(frame: Any) -> Any:
    """A function of a view."""
    return frame


def other(frame: Any) -> Any:
    """Another function of a view."""
    return frame


FILES = FileSource(path="a.parquet", timestamp_field="t")
MORE = FileSource(path="b.parquet", timestamp_field="t")
PUSH = PushSource("push", FILES)
USER = Entity(name="user", value_type=ValueType.INT64)
VIEW = FeatureView("view", FILES, [Field("x", Int64)], [USER])
WORDS = {"name": "other", "description": "what", "tags": {"team": "fraud"}, "owner": "me@example.com"}
HOUR = timedelta(hours=1)
SOURCE = {"timestamp_field": "at", "created_timestamp_column": "c", "field_mapping": {"u": "user"}}
REFUSED = "refused by name"

LOGGED = LoggingConfig(FileLoggingDestination(path="served", partition_by=["user"]), 0.25)
VIEWS = {
    **WORDS,
    "source": MORE,
    "schema": [Field("y", String)],
    "entities": [],
    "ttl": HOUR,
    "online": False,
    "offline": True,
    "lookback": HOUR,
    "org": "risk",
    "mode": "pandas",
    "enable_validation": True,
    "version": "v2",
    "enabled": False,
    "sink_source": REFUSED,
    "features": REFUSED,
    "batch_source": REFUSED,
    "input": REFUSED,
    "stream_source": REFUSED,
}
WINDOWED = {
    **VIEWS,
    "aggregations": [Aggregation("x", "count")],
    "inputs": [Field("z", Int64)],
    "udf": total,
    "udf_string": REFUSED,
    "mode": "sql",
    "timestamp_field": "at",
    "batch_engine": {"workers": 4, "conf": {"memory": "4g"}},
    "stream_engine": {"workers": 2},
    "enable_tiling": True,
    "tiling_hop_size": HOUR,
    "feature_transformation": REFUSED,
}
ON_DEMAND = {
    **WORDS,
    "sources": [FeatureView("second", FILES, [Field("x", Int64)])],
    "schema": [Field("z", Float64)],
    "udf": other,
    "udf_string": "def total(frame): return frame",
    "mode": "python",
    "singleton": REFUSED,
    "entities": [USER],
    "write_to_online_store": True,
    "org": "risk",
    "version": "v2",
    "enabled": False,
    "track_metrics": True,
    "features": REFUSED,
    "inputs": REFUSED,
    "input_schema": REFUSED,
    "feature_transformation": REFUSED,
    "aggregations": REFUSED,
}
ODD: Mapping[str, Any] = {
    "batch_source": MORE,
    "input": MORE,
    "stream_source": PushSource("second", MORE),
    "features": [Field("w", Int64)],
    "inputs": {"a": MORE},
    "udf_string": "def total(frame): ...",
    "singleton": True,
    "event_timestamp_column": "other",
    "join_key": "third",
}
"""Values for arguments that are another spelling of a given one, or do not go with it."""

CASES: Mapping[Callable[..., Definition], tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    Project: (
        {"name": "p"},
        {**WORDS, "created_timestamp": "2024-01-01", "last_updated_timestamp": "2024-01-02"},
    ),
    Entity: (
        {"name": "user", "join_keys": ["user"]},
        {**WORDS, "join_keys": ["user_id"], "value_type": ValueType.STRING, "join_key": REFUSED},
    ),
    FileSource: (
        {"name": "files", "path": "a.parquet", "timestamp_field": "t"},
        {
            **WORDS,
            **SOURCE,
            "path": "b.parquet",
            "file_format": "csv",
            "s3_endpoint_override": "http://localhost",
            "date_partition_column": "day",
            "event_timestamp_column": REFUSED,
        },
    ),
    PushSource: (
        {"name": "push"},
        {
            **WORDS,
            "batch_source": FILES,
            "timestamp_field": "at",
            "created_timestamp_column": "c",
            "schema": [Field("x", Int64)],
        },
    ),
    RequestSource: (
        {"name": "request", "schema": [Field("x", Int64)]},
        {**WORDS, "schema": [Field("y", Int64)], "timestamp_field": "at"},
    ),
    FeatureView: ({"name": "view", "source": FILES, "schema": [Field("x", Int64)], "entities": [USER]}, VIEWS),
    BatchFeatureView: (
        {"name": "view", "source": FILES, "schema": [Field("x", Int64)], "entities": [USER], "online": True},
        WINDOWED,
    ),
    StreamFeatureView: (
        {"name": "view", "source": PUSH, "schema": [Field("x", Int64)], "entities": [USER]},
        {**WINDOWED, "source": PushSource("second", MORE)},
    ),
    OnDemandFeatureView: (
        {"name": "made", "sources": [VIEW], "schema": [Field("r", Float64)], "udf": total},
        ON_DEMAND,
    ),
    FeatureService: (
        {"name": "service", "features": [VIEW]},
        {
            **WORDS,
            "features": [VIEW[["x"]]],
            "logging_config": LOGGED,
            "precompute_online": True,
            "on_failed_read": "stale",
        },
    ),
}
"""Class to its plainest arguments, and to another value of each argument that it takes."""
EACH = [(made, name) for made, (_, others) in CASES.items() for name in others]


def arguments(made: Callable[..., Definition]) -> set[str]:
    """The names of all arguments of a class, those of its bases behind ``**more`` included."""
    found: set[str] = set()
    for kind in made.__mro__ if isinstance(made, type) else ():
        if "__init__" not in vars(kind):
            continue
        taken = inspect.signature(vars(kind)["__init__"]).parameters
        found |= {name for name, one in taken.items() if one.kind is not one.VAR_KEYWORD and name != "self"}
        if not any(one.kind is one.VAR_KEYWORD for one in taken.values()):
            break
    return found


@pytest.mark.parametrize("made", CASES, ids=lambda made: made.__name__)
def test_every_argument_has_its_case(made: Callable[..., Definition]) -> None:
    """An argument that is added gets a line in these tables."""
    assert arguments(made) == set(CASES[made][1])


@pytest.mark.parametrize(("made", "name"), EACH, ids=[f"{made.__name__}-{name}" for made, name in EACH])
def test_an_argument_is_stored_and_shown_or_refused_by_name(made: Callable[..., Definition], name: str) -> None:
    """It comes back from the stored data, a difference of it is listed, and what describes the definition says it."""
    plain, others = CASES[made]
    base = made(**plain)
    if others[name] is REFUSED:
        wrong = made(**{**plain, **({"udf": None} if name == "udf_string" else {}), name: ODD.get(name, object())})
        assert any(name in problem.what for problem in wrong.problems), wrong.problems
        return
    changed = made(**{**plain, name: others[name]})
    assert not base.problems
    assert not changed.problems
    data = encode(changed)
    assert data != encode(base)
    back = decode([encode(one) for one in collect([changed]).all()])
    [found] = [one for one in back.all() if (one.kind, one.name) == (changed.kind, changed.name)]
    assert encode(found) == data
    if name != "name":
        [change] = diff([encode(base)], [data])
        assert len(describe(change)) > 1
        assert list(found.summary()) != list(base.summary())


def test_definitions_stored_before_these_arguments_are_still_read() -> None:
    """Data that says nothing of them is what it was: the defaults, the same text, and so the same hash."""
    files = {"kind": "data_source", "name": "a.parquet", "type": "file", "path": "a.parquet", "format": "parquet"}
    push = {"kind": "data_source", "name": "push", "type": "push", "batch_source": "a.parquet", "timestamp_field": "t"}
    fields = [{"name": "x", "type": "Int64"}]
    batch = {"kind": "batch_feature_view", "name": "b", "source": "a.parquet", "schema": fields, "mode": "python"}
    service = {"kind": "feature_service", "name": "s", "features": [{"view": "b"}]}
    old: list[dict[str, Any]] = [
        {"kind": "project", "name": "p"},
        {**files, "timestamp_field": "t"},
        push,
        batch,
        service,
    ]
    contents = decode(old)
    assert [encode(one) for one in contents.all()] == old
    assert contents.services[0].logging_config is None
    assert contents.projects[0].created_timestamp is None


def test_the_time_of_a_project_is_one_moment() -> None:
    """A naive time is UTC, and what is stored is the moment."""
    [project] = decode([encode(Project("p", created_timestamp=_moment("2024-01-01T02:00:00+02:00")))]).projects
    assert project.created_timestamp is not None
    assert to_micros(project.created_timestamp) == to_micros("2024-01-01")


def _moment(text: str) -> Any:
    return text


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("served.parquet", "logging_config='served.parquet' is no LoggingConfig"),
        (LoggingConfig(FileLoggingDestination(path="x"), 1.5), "sample_rate=1.5"),
        (LoggingConfig(FileLoggingDestination(path="")), "path=''"),
        (LoggingConfig("x"), "destination='x'"),  # type: ignore[arg-type]
        (LoggingConfig(FileLoggingDestination(path="x", partition_by="day")), "partition_by='day'"),
    ],
)
def test_a_logging_config_that_cannot_be_is_listed(config: Any, said: str) -> None:
    """What is wrong with it is a problem of the service, quoted."""
    [problem] = FeatureService("s", [VIEW], logging_config=config).problems
    assert said in problem.what
    assert problem.cure


@pytest.mark.parametrize("name", ["online", "offline", "enabled", "enable_validation"])
def test_a_flag_is_true_or_false(name: str) -> None:
    """Text is no flag: ``online="no"`` would mean yes."""
    arguments: dict[str, Any] = {name: "no"}
    [problem] = FeatureView("v", FILES, [Field("x", Int64)], **arguments).problems
    assert f"{name}='no' is not True or False" in problem.what


def test_a_history_beside_its_stream_is_taken_when_it_is_the_same() -> None:
    """``batch_source`` and ``stream_source`` of one view must be one source and its history."""
    both = FeatureView("v", schema=[Field("x", Int64)], batch_source=FILES, stream_source=PUSH)
    assert not both.problems
    assert both.source is PUSH
