"""Probes: GET /health, /livez, /readyz and /metrics: whether it lives, whether it can answer, and its figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from likewise.serve.call import Answer, Call, encode
from likewise.serve.metrics import MEDIA_TYPE, Metrics
from likewise.serve.state import State


class Health(Struct, frozen=True):
    """That the server lives."""

    status: Literal["healthy"] = "healthy"
    """Always the same."""


class Readiness(Struct, frozen=True, kw_only=True):
    """Whether the server can answer."""

    status: Literal["ready", "not ready", "ending"]
    """Whether requests should be sent here."""
    catalog: int
    """The number of the catalog that is answered from."""
    registry: str
    """What is wrong with the registry; empty when nothing is."""
    store: str
    """What is wrong with the online store; empty when nothing is."""
    code: list[str]
    """The views whose functions here are not the applied ones: start the server anew with the code that was applied."""


class Probes:
    """Answers probes.

    Args:
        state: what is ready.
        metrics: the figures.
        is_ending: tells whether the server was told to end.
    """

    def __init__(self, state: State, metrics: Metrics, is_ending: Callable[[], bool]) -> None:
        self._state = state
        self._metrics = metrics
        self._is_ending = is_ending

    def health(self, call: Call) -> Answer:
        """Tell that the server lives."""
        return Answer(encode(Health()))

    def ready(self, call: Call) -> Answer:
        """Tell whether the server can answer."""
        found = self._state.ready
        ready = found.is_ready and not self._is_ending()
        status: Literal["ready", "not ready", "ending"] = (
            "ending" if self._is_ending() else "ready" if ready else "not ready"
        )
        told = Readiness(
            status=status,
            catalog=found.catalog,
            registry=found.registry,
            store=found.store,
            code=[said.partition(": its function")[0] for said in found.code],
        )
        return Answer(encode(told), 200 if ready else 503)

    def metrics(self, call: Call) -> Answer:
        """Tell the figures."""
        return Answer(self._metrics.text(), media_type=MEDIA_TYPE.encode())
