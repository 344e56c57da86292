"""The repo of these tests: views of values and of windows, on-demand views, and values of every type."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import inf, nan
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
from tests.serve.conftest import FEATURES
from tests.serve.conftest import make_repo as make_fleet
from tests.serve.server_process import NOW

from likewise import FeatureStore
from likewise.core.time import FixedClock
from likewise.core.types import arrow_type

MORE = '''
from likewise import Aggregation, StreamFeatureView

spends = PushSource(name="spends", batch_source=FileSource(
    name="spent", path="data/spent.parquet", timestamp_field="event_timestamp"))
spending = StreamFeatureView(
    name="spending",
    entities=[driver],
    source=spends,
    aggregations=[
        Aggregation(column="amount", function="sum", time_window=timedelta(days=2)),
        Aggregation(column="amount", function="count", time_window=timedelta(days=2)),
    ],
    timestamp_field="event_timestamp",
)


outputs = [Field("half", Float64), Field("tags", Set(String))]


@on_demand_feature_view(sources=[everything], schema=outputs, mode="python")
def derived(inputs):
    """Compute from what is stored."""
    return {"half": [v / 2 if v is not None else None for v in inputs["double"]], "tags": inputs["labels"]}
'''
AT = datetime(2024, 5, 31, 12, tzinfo=UTC)
VALUES: dict[str, list[Any]] = {
    "whole": [2**63 - 1, -(2**63), None],
    "double": [nan, -0.0, 5e-324],
    "single": [inf, 1.401298464324817e-45, 0.10000000149011612],
    "flag": [True, False, None],
    "text": ["", "💳 NUL \0", None],
    "blob": [bytes(range(256)), b"", None],
    "at": [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC), AT],
    "price": [Decimal("1.100000000000000000"), Decimal("-99999999999999999999.999999999999999999"), None],
    "id": [UUID(int=0), UUID(int=2**128 - 1), None],
    "numbers": [[nan, -0.0, 1.5], [], None],
    "labels": [{"b", "a"}, set(), None],
    "pairs": [{"k": "v", "": "ä"}, {}, None],
    "place": [{"lat": -0.0, "name": None}, {"lat": nan, "name": "x"}, None],
    "json": ['{"a": 1}', "[]", None],
}
TOKENS = [b"\0\xff", b"k", b""]


def make_world(folder: Path) -> Path:
    """Write the repo, apply it, and fill its online store."""
    make_fleet(folder)
    (folder / "features.py").write_text(FEATURES + MORE)
    times = pa.timestamp("us", "UTC")
    schema = pa.schema([("driver_id", pa.int64()), ("event_timestamp", times), ("amount", pa.float64())])
    pq.write_table(schema.empty_table(), folder / "data" / "spent.parquet")
    with FeatureStore(folder, clock=FixedClock(NOW)) as store:
        store.apply()
        store.materialize("2024-01-01", NOW, ["driver_stats", "driver_city", "spending"])
        store.write_to_online_store("everything", all_values(store))
        store.push("spends", spent([1, 1, 2], [1.5, 2.5, 4.0]))
    return folder


def all_values(store: FeatureStore) -> pa.Table:
    """Return rows with values of every type, as a table."""
    from likewise.online.columns import ColumnWriter

    fields = {field.name: field.dtype for field in store.get_feature_view("everything").features}
    columns = {name: ColumnWriter(name, fields[name]).array(values) for name, values in VALUES.items()}
    assert all(column.type == arrow_type(fields[name]) for name, column in columns.items())
    times = pa.array([AT] * len(TOKENS), pa.timestamp("us", "UTC"))
    return pa.table({"token": pa.array(TOKENS, pa.binary()), "event_timestamp": times, **columns})


def spent(drivers: list[int], amounts: list[float], day: datetime = AT) -> pa.Table:
    """Return rows that the windows count."""
    times = pa.array([day + timedelta(minutes=n) for n in range(len(drivers))], pa.timestamp("us", "UTC"))
    return pa.table({"driver_id": drivers, "event_timestamp": times, "amount": amounts})
