"""Settings: where a server listens, what it bounds, and by how much (G10)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import get_type_hints

from likewise.core.errors import ConfigError
from likewise.core.names import near_misses

PORT = 6566
"""The port by default; Feast's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a server bounds; each is of one process."""

    body_bytes: int = 8 << 20
    """The largest body of a request; a larger one gets 413."""
    keys: int = 10_000
    """The most rows of one online read; more get 413."""
    features: int = 1_000
    """The most references in one online read; more get 413."""
    depth: int = 32
    """The deepest nesting of a request's JSON; deeper gets 400."""
    header_bytes: int = 64 << 10
    """The most bytes of a request's line and headers; more get 431."""
    header_seconds: float = 10.0
    """How long a request's line and headers may take from the first byte, and a new connection until then; cut off."""
    body_seconds: float = 30.0
    """How long a body may take after its headers; cut off."""
    idle_seconds: float = 75.0
    """How long a connection may stay without a request; then it is closed."""
    connections: int = 2_000
    """The most open connections; a request on one more gets 503 and Retry-After."""
    requests: int = 256
    """The most requests at once, in work or waiting; one more gets 503 and Retry-After."""
    writes: int = 16
    """The most pushes and writes at once, in work or waiting; they are done one after the other."""
    read_threads: int = 16
    """How many reads of a store over the network, and of more than a thousand rows, are done at once."""
    settle_seconds: float = 1.0
    """For how long a server that was told to end (SIGTERM) still takes requests, each of them its connection's last."""
    drain_seconds: float = 10.0
    """How long requests in work may take after that, before they are cut off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What one server is started with."""

    repo: Path
    """The repo's folder."""
    file: Path | None = None
    """The configuration, if it is not the repo's own."""
    host: str = "127.0.0.1"
    """The address it listens on."""
    port: int = PORT
    """The port; 0 takes a free one."""
    workers: int = 1
    """How many processes answer."""
    tls_cert: Path | None = None
    """The certificate's file, PEM; None is without TLS."""
    tls_key: Path | None = None
    """The file of its key, PEM."""
    allow_remote: bool = False
    """Whether it may listen where other machines reach it, though nobody is asked who they are."""
    access_log: bool = False
    """Whether each request is a line on standard error."""
    limits: Limits = field(default_factory=Limits)
    """What is bounded."""

    def check(self) -> None:
        """Refuse settings that cannot be, or that would be open to everybody without saying so (G12).

        Raises:
            ConfigError: which, and what to do.
        """
        if not is_loopback(self.host) and not self.allow_remote:
            raise ConfigError(
                f"host {self.host!r} can be reached from other machines, and this version asks nobody for a key",
                cure="listen on 127.0.0.1, or say --allow-remote where a network or proxy keeps strangers out",
            )
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ConfigError("TLS needs a certificate and its key", cure="give both --cert and --key")
        for file in (self.tls_cert, self.tls_key):
            if file is not None and not file.is_file():
                raise ConfigError(f"there is no file {str(file)!r}", cure="give the path of a PEM file")


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches an address.

    Example:
        >>> [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "", "example.com")]
        [True, True, True, False, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def limits_of(given: Iterable[str]) -> Limits:
    """Return the default limits with some of them set.

    Args:
        given: ``name=value`` texts.

    Raises:
        ConfigError: a name is not known, or a value is no positive number.

    Example:
        >>> limits_of(["keys=50000"]).keys
        50000
    """
    kinds = get_type_hints(Limits)
    found: dict[str, float] = {}
    for text in given:
        name, _, value = text.partition("=")
        if name not in kinds:
            raise ConfigError(f"there is no limit {name!r}", cure=near_misses(name, [f.name for f in fields(Limits)]))
        try:
            found[name] = kinds[name](value)
        except ValueError:
            found[name] = 0
        if not 0 < found[name] < float("inf"):
            words = "a whole number above 0" if kinds[name] is int else "seconds above 0"
            raise ConfigError(f"the limit {name}={value!r} cannot be", cure=f"give {words}, as in --limit {name}=…")
    return replace(Limits(), **found)  # type: ignore[arg-type]
