from datetime import timedelta

from data_sources import loans, shelves
from entities import genre, reader
from feast import FeatureService, FeatureView, Field
from feast.types import Float64, Int64

reader_genre = FeatureView(
    name="reader_genre",
    entities=[reader, genre],
    ttl=timedelta(days=30),
    schema=[Field(name="loans_90d", dtype=Int64), Field(name="mean_days_kept", dtype=Float64)],
    source=loans,
)
shelf = FeatureView(
    name="shelf",
    entities=[genre],
    schema=[Field(name="books", dtype=Int64), Field(name="on_loan", dtype=Int64)],
    source=shelves,
)
recommend_v1 = FeatureService(name="recommend_v1", features=[reader_genre, shelf[["on_loan"]]])
