"""Serve: the feature server, which answers Feast's routes over HTTP from the same lookup as the SDK.

The road of a request: ``connection.py`` (bytes, deadlines) - ``app.py`` (route, permission, limits, body) -
``payload.py`` (JSON in) - ``reads.py``, ``writes.py`` or ``materializations.py`` (the work) - ``answer.py`` (JSON out).
``state.py`` follows the registry beside it, ``server.py`` starts and stops it all.
"""
