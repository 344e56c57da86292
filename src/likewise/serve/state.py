"""State: follows the registry and looks after the store from a thread beside the requests, and tells what is ready."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from likewise.config import load_config, place_of
from likewise.core.errors import TransformError
from likewise.online.base import Request
from likewise.plan.lookup import table_name
from likewise.serve.settings import Settings
from likewise.store import FeatureStore

_QUICKEST = 0.1
_PROBE = b"\x01likewise-probe"
_log = logging.getLogger("likewise.serve")


@dataclass(frozen=True, slots=True)
class Ready:
    """Whether a server can answer; empty texts are well."""

    registry: str = "no catalog was read yet"
    """What is wrong with the registry."""
    store: str = "not looked at yet"
    """What is wrong with the online store."""
    code: tuple[str, ...] = ()
    """The views whose functions this process does not have as applied, each with the cure."""
    catalog: int = 0
    """The number of the catalog that is answered from."""

    @property
    def is_ready(self) -> bool:
        """Whether requests can be answered."""
        return not (self.registry or self.store or self.code)


class State:
    """The store that a server answers from, followed.

    Args:
        settings: which repo.
    """

    def __init__(self, settings: Settings) -> None:
        repo, file = place_of(settings.repo, settings.file)
        config = load_config(file)
        self.every = max(config.registry.cache_ttl_seconds, _QUICKEST)
        """For how many seconds a catalog is answered from before a newer one is looked for."""
        followed = msgspec.structs.replace(config.registry, cache_ttl_seconds=math.inf)  # only followed, never inline
        self.store = FeatureStore(repo, msgspec.structs.replace(config, registry=followed))
        self.embedded = config.online_store.type in ("lmdb", "sqlite", "memory")
        """Whether a read takes no longer than a look at memory or a local disk."""
        self.ready = Ready()
        self.has_catalog = False
        """Whether a catalog was ever read: without one no request can be answered."""
        self._checked: tuple[int, tuple[str, ...]] = (-1, ())
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="likewise-follow", daemon=True)

    def start(self) -> None:
        """Look once, then begin to follow.

        Raises:
            TransformError: the code of the repo is not what was applied; it says which views.
        """
        self.look()
        if self.ready.code:
            raise TransformError(
                "this server would compute other values than training did: " + "; ".join(self.ready.code),
                cure="nothing was started",
            )
        self._thread.start()

    def close(self) -> None:
        """Stop following, and let go of the store."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join(5)
        self.store.close()

    def look(self) -> None:
        """Take the newest catalog, and see whether everything is there to answer from it."""
        registry = self._tried("registry", self.store.refresh_registry)
        self.has_catalog = self.has_catalog or not registry
        if not self.has_catalog:
            self.ready = Ready(registry)
            return
        number = self.store.definitions.number
        if not registry and number == 0:
            registry = "nothing was applied yet; run 'likewise apply'"
        if self._checked[0] != number:
            self._checked = (number, tuple(self.store.other_functions()))
            for said in self._checked[1]:
                _log.error("catalog %d: %s", number, said)
        self.ready = Ready(registry, self._tried("online store", self._probe), self._checked[1], number)

    def _follow(self) -> None:
        while not self._end.wait(self.every):
            try:
                self.look()
            except Exception:  # noqa: BLE001 - the surface of this thread: whatever it is, it goes on looking
                _log.exception("following the registry failed")

    def _tried(self, what: str, work: Callable[[], None]) -> str:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - whatever a backend raises, the server is not ready, and says why
            _log.warning("the %s is not there: %s", what, error)
            return f"the {what} does not answer as it should; the server's log says more"
        return ""

    def _probe(self) -> None:
        online = [view for view in self.store.definitions.views.values() if view.online]
        asked: list[Request] = [(table_name(self.store.project, view), [_PROBE]) for view in online[:1]]
        self.store.online_store.read(asked)
