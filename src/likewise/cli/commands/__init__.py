"""The commands, a module for each kind of thing they do; each module lists its own in the table ``COMMANDS``."""
