"""Values and keys at the edges of their types are the same in training and online, or refused by both."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal as Exact
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from likewise import Entity, FeatureStore, FeatureView, Field, FileSource, PushSource, RepoConfig
from likewise.config import OnlineStoreConfig, RegistryConfig
from likewise.core.errors import EntityKeyError, LikewiseError, RequestError, SourceDrift
from likewise.core.types import FeatureType
from likewise.types import Bytes, Decimal, Float32, Int64, Map, Set, String, Uuid

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
