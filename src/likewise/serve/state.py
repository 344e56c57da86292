"""State: follows the registry and looks after the store from a thread beside the requests, and tells what is ready."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec

from likewise.config import load_config, place_of
from likewise.core.errors import TransformError
from likewise.online.base import Request
from likewise.online.guard import GuardedStore
from likewise.plan.lookup import table_name
from likewise.serve.access import FollowedAccess
from likewise.serve.settings import Settings
from likewise.store import FeatureStore

_QUICKEST = 0.1
_STORE_EVERY = 1.0
_SHUNNED = "the online store failed again and again, and is not asked for a moment; the server's log says more"
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
        self.access = FollowedAccess(settings, self.store.clock)
        """Decides who may call."""
        self.on_breaker: Callable[[bool], None] = lambda is_open: None
        """Is told when the online store is no longer asked (True), and when it is again."""
        self._guard: GuardedStore | None = None
        self._ready = Ready()
        self._looked = -math.inf
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

    @property
    def ready(self) -> Ready:
        """Whether requests can be answered."""
        if self._guard is not None and self._guard.is_open and not self._ready.store:
            return replace(self._ready, store=_SHUNNED)
        return self._ready

    def look(self) -> None:
        """Take the newest catalog, and see whether everything is there to answer from it."""
        self._looked = time.monotonic()
        registry = self._tried("registry", self._look_at_registry)
        self.has_catalog = self.has_catalog or not registry
        if not self.has_catalog:
            self._ready = Ready(registry)
            return
        number = self.store.definitions.number
        if not registry and number == 0:
            registry = "nothing was applied yet; run 'likewise apply'"
        if self._checked[0] != number:
            self._checked = (number, tuple(self.store.other_functions()))
            for said in self._checked[1]:
                _log.error("catalog %d: %s", number, said)
        self._ready = Ready(registry, self._tried("online store", self._probe), self._checked[1], number)

    def _look_at_store(self) -> None:
        self._ready = replace(self._ready, store=self._tried("online store", self._probe))

    def _look_at_registry(self) -> None:
        self.access.look(self.store.registry.side, self.store.project)  # first: who was revoked is out, come what may
        self.store.refresh_registry()

    def _follow(self) -> None:
        while not self._end.wait(min(self.every, _STORE_EVERY)):
            try:
                if time.monotonic() - self._looked >= self.every or not self.has_catalog:
                    self.look()
                else:
                    self._look_at_store()
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
        store = self.store.online_store
        if store is not self._guard and isinstance(store, GuardedStore):
            store.on_change, self._guard = self._breaker_changed, store
        store.look(asked)

    def _breaker_changed(self, is_open: bool) -> None:
        if is_open:
            _log.error("the online store failed again and again: it is asked once a second now, until it answers")
        else:
            _log.warning("the online store answers again")
        self.on_breaker(is_open)
