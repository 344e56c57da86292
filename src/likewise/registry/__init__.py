"""Floor 2: the registry, which remembers every set of definitions that was ever applied.

A *definition* is a plain JSON object. A *catalog* is one numbered, immutable set of them. A *commit* makes the next
catalog if and only if nobody was faster. Beside the catalogs lies a *side table* for what changes without an apply:
watermarks, leases, saved datasets, statistics.
"""
