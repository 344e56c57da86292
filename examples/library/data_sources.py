from feast import FileSource

loans = FileSource(name="loans", path="data/loans.parquet", timestamp_field="event_timestamp")
shelves = FileSource(
    name="shelves", path="data/shelves.csv", timestamp_field="counted_at", field_mapping={"kind": "genre"}
)
