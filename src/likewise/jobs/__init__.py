"""Floor 5: the interpreters of plans: a training set, an online read, a write, a materialization."""
