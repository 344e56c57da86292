"""Settings: where a server listens, what it bounds, and by how much (G10)."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Literal, get_type_hints

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
    bulk_rows: int = 1_000_000
    """The most rows of a table, in and out; more get 413."""
    bulk_bytes: int = 64 << 20
    """The largest body of a request that is a table, and what its columns may take in memory; a larger one gets 413."""
    bulk_answer_bytes: int = 256 << 20
    """The largest answer that is a table; a larger one is given up with 413."""
    bulk: int = 4
    """The most tables of more than body_bytes at once, and the most reads of tables in work or waiting; 503 then."""
    records_bytes: int = 32 << 20
    """The most bytes of records that one call of a remote store is answered with."""
    features: int = 1_000
    """The most references in one online read; more get 413."""
    answer_bytes: int = 64 << 20
    """The most bytes of stored records in one online read, or in a slice of a table's; more get 413."""
    depth: int = 32
    """The deepest nesting of a request's JSON; deeper gets 400."""
    header_bytes: int = 64 << 10
    """The most bytes of a request's line and headers; more get 431."""
    header_seconds: float = 10.0
    """How long a request's line and headers may take from the first byte, and a new connection until then; cut off."""
    body_seconds: float = 30.0
    """How long a body may take after its headers, and the next part of an answer to be taken; cut off."""
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
    log_values: int = 1_000_000
    """The most values that wait to be logged; the rows of a request beyond that are dropped, and counted."""
    log_rows: int = 100_000
    """After how many rows of the same features a file of logged answers is written."""
    log_seconds: float = 60.0
    """How old the first row of a file gets before it is written."""
    deadline_seconds: float = 5.0
    """How long a read that has no header x-request-deadline-ms may take, waiting included; 504 then."""
    longest_deadline_seconds: float = 60.0
    """The most time that a request may ask for by that header; more gets 400."""
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
    auth: Literal["keys", "none"] | None = None
    """Whether access keys are asked for; None: where other machines reach it, and as soon as the project has a key."""
    allow_remote: bool = False
    """Whether others may reach it though nobody is asked for a key: other machines, or a proxy under another name."""
    access_log: bool = False
    """Whether each request is a line on standard error."""
    log_features: Path | None = None
    """The folder that answers are logged to, but for those of services with a logging_config; None: nowhere."""
    log_sample: float = 1.0
    """The share of requests that is logged there, more than 0 and at most 1."""
    limits: Limits = field(default_factory=Limits)
    """What is bounded."""

    def check(self) -> None:
        """Refuse settings that cannot be, or that would be open to everybody without saying so (G12).

        Raises:
            ConfigError: which, and what to do.
        """
        if self.auth == "none" and not is_loopback(self.host) and not self.allow_remote:
            raise ConfigError(
                f"host {self.host!r} can be reached from other machines, and with --auth none it asks nobody for a key",
                cure="leave out --auth, or say --allow-remote too, where a network or proxy keeps strangers out",
            )
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ConfigError("TLS needs a certificate and its key", cure="give both --cert and --key")
        if not 0 < self.log_sample <= 1:
            raise ConfigError(f"--log-sample {self.log_sample} is no share", cure="give more than 0, and at most 1")
        for file in (self.tls_cert, self.tls_key):
            if file is not None and not file.is_file():
                raise ConfigError(f"there is no file {str(file)!r}", cure="give the path of a PEM file")
        if self.tls_cert is not None and self.tls_key is not None:
            _check_pair(self.tls_cert, self.tls_key)


def _check_pair(cert: Path, key: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
    except OSError as error:  # an SSLError is one
        raise ConfigError(
            f"--cert {str(cert)!r} and --key {str(key)!r} are no certificate and its key: {error}",
            cure="give PEM files of which the second belongs to the first",
        ) from error


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
