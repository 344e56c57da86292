"""Settings for the whole suite."""

import os

import hypothesis

# Timings vary on shared machines, so no deadline; a failing example prints the line that reproduces it.
hypothesis.settings.register_profile("likewise", deadline=None, print_blob=True)
# CI tries the same examples every time; searching for new ones is `make soak`.
hypothesis.settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True, database=None)
hypothesis.settings.register_profile("soak", deadline=None, print_blob=True, max_examples=5000)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "likewise")

# Settings of whoever runs the tests (a fixed clock, a repo's folder) do not reach them.
for name in [name for name in os.environ if name.startswith("LIKEWISE_")]:
    del os.environ[name]
