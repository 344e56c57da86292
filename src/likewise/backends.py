"""Backends: which class stands behind the name of an engine, an online store or a registry. The only place that imports
them, by name and late, so that what is not used is not loaded.

A package of somebody else's adds its own with an entry point of the group ``likewise.online_stores``,
``likewise.offline_engines`` or ``likewise.registries``: its name, and a function of (configuration, repo folder).
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgspec

from likewise.config import OfflineStoreConfig, OnlineStoreConfig, RegistryConfig, secret
from likewise.core.errors import BackendMissing, ConfigError, NotSupported
from likewise.core.names import near_misses

if TYPE_CHECKING:
    from likewise.offline.base import OfflineEngine
    from likewise.online.base import OnlineStore
    from likewise.registry.base import Registry


class Closable(Protocol):
    """What holds files or connections."""

    def close(self) -> None:
        """Let go of them."""
        ...


C = TypeVar("C", bound=Closable)


class Once(Generic[C]):
    """A backend that is opened when it is first asked for: one, however many threads ask at once.

    Args:
        make: opens it.
    """

    def __init__(self, make: Callable[[], C]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._opened: C | None = None

    def get(self) -> C:
        """Return the backend, open."""
        with self._lock:
            if self._opened is None:
                self._opened = self._make()
            return self._opened

    @property
    def is_open(self) -> bool:
        """Whether it is open."""
        return self._opened is not None

    def close(self) -> None:
        """Close it, if it was opened; it is opened anew when it is asked for again."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()


@dataclass(frozen=True, slots=True)
class Backend:
    """One implementation."""

    module: str
    """The module that holds it."""
    function: str
    """The function there that opens it, given (configuration, repo folder)."""
    extra: str = ""
    """What to install for it; empty when it is always there."""


OFFLINE: Mapping[str, Backend] = {
    name: Backend("likewise.offline.duckdb", "DuckDBEngine.open") for name in ("duckdb", "file", "dask")
}
"""Offline engines by type name; Feast's ``file`` and ``dask`` are DuckDB here."""
ONLINE: Mapping[str, Backend] = {
    "lmdb": Backend("likewise.online.lmdb", "open_store"),
    "sqlite": Backend("likewise.online.sqlite", "open_store"),
    "memory": Backend("likewise.online.memory", "open_store"),
    "redis": Backend("likewise.online.redis", "open_store", "redis"),
    "postgres": Backend("likewise.online.postgres", "open_store", "postgres"),
    "mysql": Backend("likewise.online.mysql", "open_store", "mysql"),
    "dynamodb": Backend("likewise.online.dynamodb", "open_store", "dynamodb"),
    "remote": Backend("likewise.online.remote", "open_store", "client"),
}
"""Online stores by type name."""
REGISTRIES: Mapping[str, Backend] = {
    "file": Backend("likewise.registry.file", "open_registry"),
    "memory": Backend("likewise.registry.memory", "open_registry"),
    "sql": Backend("likewise.registry.sql", "open_registry", "sql"),
}
"""Registries by type name."""
LATER = (
    "bigquery",
    "snowflake.offline",
    "redshift",
    "spark",
)
"""Types that Feast has and that this version does not."""
_ONLINE_STORES = "likewise.online_stores"


def has_online_store(name: str) -> bool:
    """Tell whether an online store of this type is known: to this version, or to an installed package."""
    return name in ONLINE or bool(entry_points(group=_ONLINE_STORES, name=name))


def check_online_type(name: str) -> None:
    """Refuse an online store's type that nobody has: not this version, not a later one, not an installed package.

    Raises:
        ConfigError: it is not known; near misses are offered.
    """
    if name not in LATER and not has_online_store(name):
        raise ConfigError(f"online_store: type {name!r} is not known", cure=near_misses(name, [*ONLINE, *LATER]))


def open_engine(config: OfflineStoreConfig, root: str) -> OfflineEngine:
    """Return the offline engine that a configuration names."""
    engine: OfflineEngine = _find(OFFLINE, config.type, "offline_store", "likewise.offline_engines")(config, root)
    return engine


def open_online_store(config: OnlineStoreConfig, root: str) -> OnlineStore:
    """Return the online store that a configuration names, behind a guard if it asks over a network."""
    from likewise.online.guard import guarded

    return guarded(_find(ONLINE, config.type, "online_store", _ONLINE_STORES)(config, root))


def open_registry(config: RegistryConfig, root: str) -> Registry:
    """Return the registry that a configuration names; a password that it refers to is looked up."""
    if config.password:
        password = secret(config.password, "the password of the registry", root)
        config = msgspec.structs.replace(config, password=password)
    registry: Registry = _find(REGISTRIES, config.registry_type, "registry", "likewise.registries")(config, root)
    return registry


def _find(table: Mapping[str, Backend], name: str, key: str, group: str) -> Callable[[Any, str], Any]:
    if name in table:
        return _load(table[name], name)
    for point in entry_points(group=group, name=name):
        opener: Callable[[Any, str], Any] = point.load()
        return opener
    later = f"'{name}' comes in a later version; " if name in LATER else ""
    raise NotSupported(f"{key}: type {name!r} is not known to this version", cure=later + near_misses(name, table))


def _load(backend: Backend, name: str) -> Callable[[Any, str], Any]:
    try:
        module = importlib.import_module(backend.module)
    except ImportError as error:
        install = f'pip install "likewise[{backend.extra}]"' if backend.extra else "reinstall likewise"
        raise BackendMissing(f"{name!r} needs {error.name}, which is not installed", cure=install) from error
    opener: Callable[[Any, str], Any] = attrgetter(backend.function)(module)
    return opener
