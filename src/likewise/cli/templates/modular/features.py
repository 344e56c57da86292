"""What a model that recommends articles reads."""

from datetime import timedelta

from data_sources import article_days, looks, shopper_days
from entities import article, shopper

from likewise import FeatureService, FeatureView, Field
from likewise.types import Float64, Int64, String

shopper_tastes = FeatureView(
    name="shopper_tastes",
    entities=[shopper],
    ttl=timedelta(days=14),
    schema=[
        Field(name="favourite_category", dtype=String),
        Field(name="orders_30d", dtype=Int64),
        Field(name="mean_price_30d", dtype=Float64),
    ],
    source=shopper_days,
)

article_demand = FeatureView(
    name="article_demand",
    entities=[article],
    ttl=timedelta(days=14),
    schema=[
        Field(name="category", dtype=String),
        Field(name="price", dtype=Float64),
        Field(name="sold_7d", dtype=Int64),
    ],
    source=article_days,
)

interest = FeatureView(
    name="interest",
    entities=[shopper, article],  # a key of two columns
    ttl=timedelta(days=30),
    schema=[
        Field(name="times_looked", dtype=Int64),
        Field(name="seconds_looked", dtype=Float64),
    ],
    source=looks,
)

recommend_v1 = FeatureService(
    name="recommend_v1",
    features=[shopper_tastes, article_demand[["price", "sold_7d"]], interest],
)
