"""Online stores: the latest record of every entity key, for serving."""
