"""Features of the product that a customer bought last."""

from datetime import timedelta

from likewise import Entity, FeatureView, Field, FileSource, ValueType
from likewise.types import Float64

product = Entity(
    name="product",
    join_keys=["product_id"],
    value_type=ValueType.INT64,
    description="Something we sell",
)

product_quality = FeatureView(
    name="product_quality",
    entities=[product],
    ttl=timedelta(days=10),
    schema=[
        Field(name="price", dtype=Float64),
        Field(name="rating", dtype=Float64, description="Mean of the ratings so far, 1 to 5"),
        Field(name="returned_share", dtype=Float64),
    ],
    source=FileSource(path="data/products.parquet", timestamp_field="event_timestamp"),
    tags={"team": "catalogue"},
)
