"""What the features describe."""

from likewise import Entity, ValueType

shopper = Entity(name="shopper", join_keys=["shopper_id"], value_type=ValueType.INT64, description="Who buys")
article = Entity(name="article", join_keys=["article_id"], value_type=ValueType.STRING, description="What is bought")
