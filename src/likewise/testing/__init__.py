"""What proves a backend: the oracle, generated histories, and suites that a backend's tests subclass.

It needs ``pip install "likewise[testing]"``; nothing else of the package imports it.
"""

import sys

if "pytest" in sys.modules:  # let the suites' asserts show what they compared
    import pytest

    _OFFLINE = ("offline_case", "offline_asof", "offline_values", "offline_drift", "offline_reads", "offline_suite")
    pytest.register_assert_rewrite(
        *(f"{__name__}.{name}" for name in (*_OFFLINE, "online_suite", "online_model", "registry_suite"))
    )
