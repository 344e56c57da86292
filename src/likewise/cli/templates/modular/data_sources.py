"""Where the rows come from."""

from likewise import FileSource

shopper_days = FileSource(
    name="shopper_days",
    path="data/shoppers.parquet",
    timestamp_field="event_timestamp",
    created_timestamp_column="created_timestamp",
)
article_days = FileSource(
    name="article_days",
    path="data/articles.parquet",
    timestamp_field="event_timestamp",
)
looks = FileSource(
    name="looks",
    path="data/looks.parquet",
    timestamp_field="looked_at",
    description="One row each time a shopper looks at an article",
)
