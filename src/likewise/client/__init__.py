"""Client: asks a feature server, without a repo and a registry; its answers are those of ``FeatureStore``.

The road of a call: ``calls.py`` (the request, and what its answer means: no I/O) - ``client.py`` (sends it, in this
thread or on an event loop) - ``online/remote_server.py`` (how a request ends in time, and what a problem means).
"""

from __future__ import annotations

from likewise.client.client import AsyncClient, Client

__all__ = ["AsyncClient", "Client"]
