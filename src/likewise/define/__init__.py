"""Floor 1: what people write: entities, fields, sources, views, services; the rules they keep; how a repo is loaded."""
