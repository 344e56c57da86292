from feast import Entity, ValueType

reader = Entity(name="reader", join_keys=["reader_id"], value_type=ValueType.INT64, description="Has a card")
genre = Entity(name="genre", join_keys=["genre"], value_type=ValueType.STRING, description="Where a book stands")
