"""What proves a backend: suites that its tests subclass, the truth to compare with, and faults to meet.

=========================================  ==========================================================================
to prove a backend                         :mod:`~.online_suite`, :mod:`~.offline_suite`, :mod:`~.registry_suite`:
                                           subclass the suite, say how to open a new one, and pytest runs it
any order of operations against a model    :mod:`~.online_model`, :mod:`~.registry_model` (the suites run them)
the truth, in plain loops                  :mod:`~.oracle`, :mod:`~.oracle_functions`; :mod:`~.reference_engine`
generated histories and plans              :mod:`~.strategies`, :mod:`~.window_strategies`, :mod:`~.kinds`
a fixed time                               :class:`likewise.FixedClock`, given as ``clock=``
crash points                               :mod:`~.faults`: end a process at a named moment, or fail there
a full disk, a write cut short             :mod:`~.disk`
a power cut, which loses unsynced data     :mod:`~.power`
a bad network                              :mod:`~.proxy`
real servers, and an emulator              :mod:`~.redis_process`, :mod:`~.postgres_process`, :mod:`~.mysql_process`,
                                           :mod:`~.moto_process`; :mod:`~.missing` skips what lacks its server
=========================================  ==========================================================================

docs/extending.md shows how to use them. They need ``pip install "likewise[testing]"``; nothing else of the package
imports them.
"""

import sys

if "pytest" in sys.modules:  # let the suites' asserts show what they compared
    import pytest

    _OFFLINE = ("offline_case", "offline_asof", "offline_values", "offline_drift", "offline_reads", "offline_windows")
    _OTHERS = ("offline_suite", "online_suite", "online_model", "registry_suite", "registry_model")
    pytest.register_assert_rewrite(*(f"{__name__}.{name}" for name in (*_OFFLINE, *_OTHERS)))
