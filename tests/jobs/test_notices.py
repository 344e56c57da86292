"""Notices: whoever writes rows from the future is told, once, with how far and what to do."""

import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from likewise import Entity, FeatureStore, FeatureView, Field, FieldStatus, FileSource, FixedClock, PushSource
from likewise.types import Int64

NOW = datetime(2024, 1, 20, 12, tzinfo=UTC)
LOCAL = NOW.replace(tzinfo=None) + timedelta(hours=2)
"""What datetime.now() says two hours east of Greenwich."""
AHEAD = r"view '{}' has rows with event times up to 2 hours ahead of now .*datetime.now\(timezone.utc\)"


def rows(at: datetime) -> pa.Table:
    """Return a row of key 1."""
    return pa.table({"k": [1], "x": [5], "at": [at]})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    """A store over the file ``rows.parquet``."""
    (tmp_path / "feature_store.yaml").write_text(f"project: p{tmp_path.name}\nonline_store: memory\n".replace("-", ""))
    pq.write_table(rows(LOCAL), tmp_path / "rows.parquet")
    with FeatureStore(tmp_path, clock=FixedClock(NOW)) as opened:
        yield opened


def view(name: str) -> FeatureView:
    """Return a view that is read from the file, and pushed to."""
    files = FileSource(path="rows.parquet", timestamp_field="at", name="rows")
    source = PushSource("pushed", files, timestamp_field="at")
    return FeatureView(name, source, [Field("x", Int64)], [Entity(name="k", value_type=Int64)])


def test_a_push_from_the_future_is_told_of_once(store: FeatureStore) -> None:
    """The row is kept, and served when its time has come; the warning points at the user's own line."""
    store.apply([view("east")])
    with pytest.warns(UserWarning, match=AHEAD.format("east")) as told:
        store.push("pushed", rows(LOCAL))
    assert [warning.filename for warning in told] == [__file__]
    store.push("pushed", rows(LOCAL))
    with pytest.warns(UserWarning, match="after the time asked for"):
        answer = store.get_online_features(["east:x"], [{"k": 1}])
    assert answer.statuses()["x"] == [FieldStatus.NOT_FOUND]
    assert store.get_online_features(["east:x"], [{"k": 1}], as_of=LOCAL).to_dict()["x"] == [5]


def test_a_source_with_rows_from_the_future_is_told_of(store: FeatureStore) -> None:
    """A materialization leaves them out, and says so."""
    store.apply([view("file")])
    with pytest.warns(UserWarning, match=AHEAD.format("file")):
        [done] = store.materialize_incremental(NOW)
    assert done.keys == 0


def test_clocks_that_differ_a_little_are_not_told_of(store: FeatureStore, tmp_path: Path) -> None:
    """Up to a minute is what two machines may differ by."""
    pq.write_table(rows(NOW + timedelta(minutes=1)), tmp_path / "rows.parquet")
    store.apply([view("near")])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.push("pushed", rows(NOW + timedelta(minutes=1)))
        store.materialize_incremental(NOW)
