"""Values and keys at the edges of their types are the same in training and online, or refused by both."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal as Exact
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from likewise import (
    Entity,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    OnDemandFeatureView,
    PushSource,
    RepoConfig,
    RequestSource,
)
from likewise.config import OnlineStoreConfig, RegistryConfig
from likewise.core.errors import EntityKeyError, LikewiseError, RequestError, SourceDrift
from likewise.core.types import FeatureType, arrow_type
from likewise.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
    Float32,
    Float64,
    Int32,
    Int64,
    Map,
    Set,
    String,
    Struct,
    UnixTimestamp,
    Uuid,
)

AT, LATER = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)
ONE = uuid.UUID("abcdef00-0000-0000-0000-000000000001")
LONG = Exact("12345678901234567890123")


def store_of(root: Path, key: FeatureType, keys: Any, kind: FeatureType, values: Any) -> FeatureStore:
    """Return a store of one view ``v`` with a key ``k`` and a feature ``x``, which can be pushed to."""
    pq.write_table(pa.table({"k": keys, "x": values, "at": [AT] * len(keys)}), root / "a.parquet")
    files = FileSource(path="a.parquet", timestamp_field="at")
    view = FeatureView(
        name="v",
        entities=[Entity(name="k", value_type=key.to_value_type())],
        schema=[Field("x", kind)],
        source=PushSource("pushed", batch_source=files),
    )
    config = RepoConfig(
        project="t", registry=RegistryConfig(path="r.db"), online_store=OnlineStoreConfig(type="memory")
    )
    store = FeatureStore(str(root), config=config)
    store.apply([view])
    return store


def trained(store: FeatureStore, keys: Any) -> list[Any]:
    """Return the feature in a training set of some keys."""
    spine = pa.table({"k": keys, "event_timestamp": [LATER] * len(keys)})
    return store.get_historical_features(spine, ["v:x"]).to_arrow()["x"].to_pylist()


def served(store: FeatureStore, keys: Sequence[Any]) -> list[Any]:
    """Return the feature of some keys as it is served, after the store was filled."""
    store.materialize(AT, LATER)
    return store.get_online_features(["v:x"], {"k": list(keys)}).to_arrow()["x"].to_pylist()


@pytest.mark.parametrize("spelling", [str(ONE), str(ONE).upper(), ONE.hex, f"{{{ONE}}}"])
@pytest.mark.parametrize("stored", [str(ONE), str(ONE).upper(), ONE.hex])
def test_uuid_keys_match_by_value(tmp_path: Path, stored: str, spelling: str) -> None:
    """However a UUID is written, in the source or in the request, it is one key."""
    store = store_of(tmp_path, Uuid, [stored], Int64, [7])
    assert trained(store, [spelling, str(uuid.UUID(int=1))]) == [7, None]
    assert served(store, [spelling, str(uuid.UUID(int=1))]) == [7, None]


def test_text_that_is_no_uuid_is_refused_as_a_key(tmp_path: Path) -> None:
    """By name, in the source and in the entity rows."""
    store = store_of(tmp_path, Uuid, [str(ONE)], Int64, [7])
    with pytest.raises(EntityKeyError, match="'nonsense'"):
        trained(store, [str(ONE), "nonsense"])
    pq.write_table(pa.table({"k": [str(ONE), "nonsense"], "x": [1, 2], "at": [AT] * 2}), tmp_path / "a.parquet")
    with pytest.raises(SourceDrift, match=r"column 'k' of .*row 1: 'nonsense' does not fit Uuid"):
        trained(store, [str(ONE)])


def test_decimal_keys_of_too_many_digits_are_refused(tmp_path: Path) -> None:
    """A key that no column of decimals holds is named wherever it is given; it never becomes another key."""
    store = store_of(tmp_path, Decimal, pa.array([Exact(2)], pa.decimal128(23, 0)), Int64, [7])
    assert trained(store, pa.array([Exact(2)], pa.decimal128(23, 0))) == [7]
    for key in (LONG, Exact("1e-19")):
        with pytest.raises(EntityKeyError, match="in row 1"):
            trained(store, pa.array([Exact(2), key], pa.decimal128(38, 0 if key == LONG else 19)))
        with pytest.raises(EntityKeyError, match="in row 0"):
            store.get_online_features(["v:x"], {"k": [key]})
        with pytest.raises(EntityKeyError, match="in row 0"):
            store.push("pushed", pa.table({"k": [key], "x": [1], "at": [AT]}))


REFUSED: list[tuple[FeatureType, pa.Array]] = [
    (Decimal, pa.array([Exact(1), LONG], pa.decimal128(23, 0))),
    (Decimal, pa.array([Exact(1), Exact("0.1234567890123456789")])),
    (Float32, pa.array([1.0, 1e300])),
    (Uuid, pa.array([str(ONE), "nonsense"])),
]


@pytest.mark.parametrize(("kind", "values"), REFUSED, ids=range(len(REFUSED)))
def test_values_that_would_be_damaged_are_refused_on_every_way(
    tmp_path: Path, kind: FeatureType, values: pa.Array
) -> None:
    """Training, materialize and push say the column and the row."""
    store = store_of(tmp_path, Int64, [1, 2], kind, values)
    with pytest.raises(SourceDrift, match=r"column 'x' of .*row 1: "):
        trained(store, [1, 2])
    with pytest.raises(LikewiseError, match=r"'x'.*row 1: "):
        served(store, [1, 2])
    with pytest.raises(RequestError, match=r"column 'x' of .*row 1: "):
        store.push("pushed", pa.table({"k": [1, 2], "x": values, "at": [AT] * 2}))


TURNED: list[tuple[FeatureType, pa.Array, list[Any]]] = [
    (Set(Int64), pa.array([[3, 1, 1], [None, 2]]), [[1, 3], [2, None]]),
    (Map, pa.array([[("a", "1"), ("b", "2"), ("a", "3")], []], pa.map_(pa.string(), pa.string())), []),
    (String, pa.ExtensionArray.from_storage(pa.uuid(), pa.array([ONE.bytes, None], pa.binary(16))), [str(ONE), None]),
    (String, pa.array(["a", None]).cast(pa.string_view()), ["a", None]),
    (Bytes, pa.array([b"a", None]).cast(pa.binary_view()), [b"a", None]),
]


@pytest.mark.parametrize(("kind", "values", "expected"), TURNED, ids=range(len(TURNED)))
def test_values_are_turned_alike(tmp_path: Path, kind: FeatureType, values: pa.Array, expected: list[Any]) -> None:
    """Sets, maps, Arrow's UUIDs and views are the same in training and online."""
    store = store_of(tmp_path, Int64, [1, 2], kind, values)
    expected = expected or [[("a", "3"), ("b", "2")], []]
    assert trained(store, [1, 2]) == expected
    assert served(store, [1, 2]) == expected


def test_keys_of_arrows_view_types(tmp_path: Path) -> None:
    """A column of text is a key, however Arrow holds it."""
    keys = pa.array(["a", "b"]).cast(pa.string_view())
    store = store_of(tmp_path, String, keys, Int64, [1, 2])
    assert trained(store, keys) == [1, 2]
    assert served(store, ["b", "a"]) == [2, 1]


ODD_KEYS: list[tuple[FeatureType, Any, list[Any]]] = [
    (Int64, 7, ["7", " 7 ", 7.0, Exact("7"), True, 7.5, "7.0", b"7", 2**53 + 1]),
    (Float64, 0.0, [-0.0, 0, "0", Exact("0.0"), float("nan"), False, "x"]),
    (Float32, 0.5, ["0.5", Exact("0.5"), 1e300]),
    (String, "7", ["7", 7, b"7", True]),
    (Bytes, b"7", [b"7", "7", 7]),
    (UnixTimestamp, AT, ["2024-01-01", AT.replace(tzinfo=None), AT.date(), 1704067200000000, 0.5, "x"]),
    (Uuid, str(ONE), [ONE, ONE.hex, ONE.bytes, "x", 1]),
    (Decimal, Exact("7"), [7, "7.0", Exact("7.000"), 7.0, "x"]),
]


@pytest.mark.parametrize(
    ("kind", "stored", "key"),
    [(kind, stored, key) for kind, stored, given in ODD_KEYS for key in given],
    ids=[f"{kind} {key!r}" for kind, _, given in ODD_KEYS for key in given],
)
def test_keys_of_other_types_are_taken_or_refused_alike(
    tmp_path: Path, kind: FeatureType, stored: Any, key: Any
) -> None:
    """Training, serving and pushing coerce a key by its entity's declared type, or name it (S9)."""
    store = store_of(tmp_path, kind, pa.array([stored], arrow_type(kind)), Int64, [1])
    store.materialize(AT, LATER)

    def outcome(ask: Callable[[], object]) -> object:
        try:
            return ask()
        except EntityKeyError as error:
            return str(error).partition(" is ")[0]

    ask_online: Callable[[], object] = lambda: store.get_online_features(["v:x"], {"k": [key]}).to_dict()["x"]  # noqa: E731
    trains_on = outcome(lambda: trained(store, pa.array([key])))
    assert trains_on in ([1], [None], "the join key 'k'")
    assert outcome(ask_online) == trains_on
    pushes = outcome(lambda: store.push("pushed", pa.table({"k": pa.array([key]), "x": [2], "at": [LATER]})))
    assert pushes == (1 if isinstance(trains_on, list) else trains_on)
    assert outcome(ask_online) == ([2] if pushes == 1 else trains_on)


def test_a_bad_key_is_named_by_its_row(tmp_path: Path) -> None:
    """Rows without a key, and Arrow's chunks, count."""
    store = store_of(tmp_path, Int64, [1], Int64, [7])
    with pytest.raises(EntityKeyError, match=r"the join key 'k' is 'x' \(str\) in row 3"):
        trained(store, pa.chunked_array([["1", None], [None, "x"]]))


KINDS: list[FeatureType] = [
    *(Bool, Int32, Int64, Float32, Float64, String, Bytes, UnixTimestamp, Uuid, Decimal, Map),
    *(Array(Int64), Array(Float32), Array(String), Array(Map), Set(Int64), Set(String), Struct({"a": Int64})),
]
ODD_VALUES: list[Any] = [
    *(True, False, 0, 1, -1, 2**31, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), None),
    *(1.0, 1.5, -0.0, 2.0**53, 2.0**63, 1e300, 1e-50, float("nan"), float("inf"), np.float32(0.1), np.int8(3)),
    *(Exact("1"), Exact("1.5"), Exact("0.1234567890123456789"), Exact("1e19"), LONG),
    *("1", "é", "", str(ONE), str(ONE).upper(), "2024-01-01", b"a", ONE.bytes, ONE),
    *(AT, AT.replace(tzinfo=None), AT.date(), pd.Timestamp("2024-01-01 00:00:00.000000001"), timedelta(1)),
    *([], [None], [1], [3, 1, 1, None], [1.5], [2**53 + 1], [True], ["a"], [Exact("1.5")], [b"a"]),
    *({"a": 1}, {"a": None}, {"a": "x"}, {"b": 1}, [("a", "x")], [{"a": "x"}]),
]


def same(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request's value as it came."""
    return {"y": values["x"]}


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """A store whose on-demand views ``v0``, ``v1`` … give back what the request holds, one for each type."""
    config = RepoConfig(
        project="t", registry=RegistryConfig(registry_type="memory"), online_store=OnlineStoreConfig(type="memory")
    )
    store = FeatureStore(str(tmp_path_factory.mktemp("echo")), config=config)
    views = [
        OnDemandFeatureView(
            name=f"v{number}",
            sources=[RequestSource(f"r{number}", schema=[Field("x", kind)])],
            schema=[Field("y", kind)],
            udf=same,
            mode="python",
            singleton=True,
        )
        for number, kind in enumerate(KINDS)
    ]
    store.apply(list(views))
    return store


@given(st.integers(0, len(KINDS) - 1), st.lists(st.sampled_from(ODD_VALUES), min_size=1, max_size=2))
def test_request_values_are_taken_or_refused_alike(echo: FeatureStore, number: int, values: list[Any]) -> None:
    """Whatever a request holds, an on-demand view computes the same of it in training and online, or names it (S10)."""
    try:
        column = pa.array(values)
        listed = column.to_pylist()  # Arrow makes a time of 2^63 - 1 beside a time; Python has none so late
    except (pa.ArrowException, OverflowError, ValueError):  # the last: NaN beside a time
        assume(False)
    feature = [f"v{number}:y"]
    spine = pa.table({"x": column, "event_timestamp": [LATER] * len(column)})

    def outcome(ask: Callable[[], pa.Table]) -> str:
        try:
            return repr(ask()["y"].to_pylist())
        except RequestError as error:
            return str(error)

    online = outcome(lambda: echo.get_online_features(feature, {"x": listed}).to_arrow())
    assert outcome(lambda: echo.get_historical_features(spine, feature).to_arrow()) == online


def test_what_conform_refuses_a_function_may_be_given(echo: FeatureStore) -> None:
    """True for 1, a long integer for a float, and too many decimal places are taken as they are online."""
    for kind, given_value, expected in [
        (Int64, True, 1),
        (Float64, 2**53 + 1, 2.0**53),
        (Int64, float("nan"), None),
        (Decimal, Exact("0.1234567890123456789"), Exact("0.123456789012345679")),
    ]:
        feature = [f"v{KINDS.index(kind)}:y"]
        spine = pa.table({"x": [given_value], "event_timestamp": [LATER]})
        assert echo.get_historical_features(spine, feature).to_arrow()["y"].to_pylist() == [expected]
        assert echo.get_online_features(feature, {"x": [given_value]}).to_arrow()["y"].to_pylist() == [expected]


TEXTS = pa.map_(pa.string(), pa.string())
MAPS: list[tuple[FeatureType, pa.Array, list[Any]]] = [
    (Map, pa.array([[("a", "1"), ("b", None)], []], TEXTS), [{"a": "1", "b": None}, {}]),
    (Array(Map), pa.array([[[("a", "1")], None], None], pa.list_(TEXTS)), [[{"a": "1"}, None], None]),
    (
        Struct({"m": Map, "n": Int64}),
        pa.StructArray.from_arrays(
            [pa.array([[("a", "1")], None], TEXTS), pa.array([2**53 + 1, None])], names=["m", "n"]
        ),
        [{"m": {"a": "1"}, "n": 2**53 + 1}, {"m": None, "n": None}],
    ),
]


@pytest.mark.parametrize(("kind", "values", "expected"), MAPS, ids=[str(kind) for kind, _, _ in MAPS])
def test_maps_are_dicts_on_every_way(tmp_path: Path, kind: FeatureType, values: pa.Array, expected: list[Any]) -> None:
    """A training set's frame, an answer's frame and an answer's dict hold the very values that were written."""
    store = store_of(tmp_path, Int64, [1, 2], kind, values)
    store.materialize(AT, LATER)
    spine = pa.table({"k": [1, 2], "event_timestamp": [LATER] * 2})
    assert store.get_historical_features(spine, ["v:x"]).to_df()["x"].tolist() == expected
    answer = store.get_online_features(["v:x"], {"k": [1, 2]})
    assert answer.to_dict()["x"] == expected
    assert answer.to_df()["x"].tolist() == expected


EMPTY: list[tuple[FeatureType, pa.Array, list[Any]]] = [
    (Array(Int64), pa.array([[], None], pa.list_(pa.null())), [[], None]),
    (Array(String), pa.array([[None], []], pa.list_(pa.null())), [[None], []]),
    (Set(Int64), pa.array([[], [None]], pa.list_(pa.null())), [[], [None]]),
    (Array(Array(Int64)), pa.array([[[]], None], pa.list_(pa.list_(pa.null()))), [[[]], None]),
    (Struct({"a": Int64}), pa.array([{"a": None}, None], pa.struct([("a", pa.null())])), [{"a": None}, None]),
]


@pytest.mark.parametrize(("kind", "values", "expected"), EMPTY, ids=[str(kind) for kind, _, _ in EMPTY])
def test_lists_without_any_value_are_read(
    tmp_path: Path, kind: FeatureType, values: pa.Array, expected: list[Any]
) -> None:
    """A file in which every list is empty, or holds nothing but nulls, is a file of the declared lists."""
    store = store_of(tmp_path, Int64, [1, 2], kind, values)
    assert trained(store, [1, 2]) == expected
    assert served(store, [1, 2]) == expected


def test_one_file_of_empty_lists_among_others_is_read(tmp_path: Path) -> None:
    """What the other files hold says what the lists are of."""
    (tmp_path / "rows").mkdir()
    for name, key, values in (("a", 1, pa.array([[]], pa.list_(pa.null()))), ("b", 2, pa.array([[5]]))):
        pq.write_table(pa.table({"k": [key], "x": values, "at": [AT]}), tmp_path / "rows" / f"{name}.parquet")
    view = FeatureView(name="v", entities=[Entity(name="k")], source=FileSource(path="rows", timestamp_field="at"))
    config = RepoConfig(
        project="t", registry=RegistryConfig(registry_type="memory"), online_store=OnlineStoreConfig(type="memory")
    )
    store = FeatureStore(str(tmp_path), config=config)
    store.apply([view])
    assert [(field.name, field.dtype) for field in store.get_feature_view("v").features] == [("x", Array(Int64))]
    assert trained(store, [1, 2]) == [[], [5]]
    assert served(store, [1, 2]) == [[], [5]]
