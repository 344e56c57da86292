"""Floor 0: errors, names, types, time and keys. Pure: no I/O, no heavy imports."""
