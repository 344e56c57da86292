"""The repo that `benchmarks/serve.py` serves: ten features in one view and in three, and two functions of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from likewise import Entity, FeatureService, FeatureView, Field, FileSource, on_demand_feature_view
from likewise.types import Float32, Float64, Int64

TYPES = [Float32, Float64, Int64, Float32, Float64, Int64, Float32, Float64, Int64, Float32]
FIELDS = [Field(f"f{number}", kind) for number, kind in enumerate(TYPES)]
user = Entity(name="user", join_keys=["user_id"])


def view(name: str, fields: list[Field]) -> FeatureView:
    """Return a view over the benchmark's rows."""
    source = FileSource(path="source.parquet", timestamp_field="at", name=f"{name}_source")
    return FeatureView(name, source, fields, [user], timedelta(days=1))


users = view("users", FIELDS)
first, second, third = view("first", FIELDS[:4]), view("second", FIELDS[4:7]), view("third", FIELDS[7:])


@on_demand_feature_view(sources=[first, second], schema=[Field("sum", Float64)], mode="python")
def summed(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Add features of two views."""
    return {"sum": [a + b for a, b in zip(rows["f0"], rows["f4"], strict=True)]}


@on_demand_feature_view(sources=[second, third], schema=[Field("product", Float64)], mode="python")
def multiplied(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Multiply features of two views."""
    return {"product": [a * b for a, b in zip(rows["f6"], rows["f7"], strict=True)]}


together = FeatureService("together", [first, second, third, summed, multiplied])
