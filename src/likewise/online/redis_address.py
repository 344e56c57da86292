"""Where a Redis is: Feast's connection strings as records.

``host:port,db=0,ssl=true,password=env:REDIS_PASSWORD``: hosts first (several for a cluster or for sentinels), then
options. ``[::1]:6379`` is a host of IPv6, ``/run/redis.sock`` a socket of this machine. Without a port it is 6379, of a
sentinel 26379. A single server may also be an address such as ``rediss://user:password@host:6379/0``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from likewise.config import secret
from likewise.core.errors import ConfigError
from likewise.core.names import near_misses

KINDS = ("redis", "redis_cluster", "redis_sentinel")
"""What may be at an address: one server, a cluster, or sentinels that know the server."""
Option = str | int | bool

_YES_NO = {"true": True, "false": False}
_KEY = "online_store.connection_string"


def _flag(text: str) -> bool:
    return _YES_NO[text.lower()]


def _text(text: str) -> str:
    return text.removeprefix('"').removesuffix('"')


def _number(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


_OPTIONS: Mapping[str, tuple[Callable[[str], Option], str]] = {
    "db": (_number, "a number, from 0"),
    "username": (_text, "text"),
    "password": (_text, "text"),
    "sentinel_username": (_text, "text"),
    "sentinel_password": (_text, "text"),
    "client_name": (_text, "text"),
    "ssl": (_flag, "true or false"),
    "ssl_ca_certs": (_text, "a file"),
    "ssl_certfile": (_text, "a file"),
    "ssl_keyfile": (_text, "a file"),
    "ssl_check_hostname": (_flag, "true or false"),
    "ssl_cert_reqs": (_text, "required, optional or none"),
}
"""The options of a connection string: how each is read, and what it may be."""
_NOT_USED = frozenset(
    {
        "decode_responses",
        "health_check_interval",
        "max_connections",
        "retry_on_timeout",
        "skip_full_coverage_check",
        "socket_connect_timeout",
        "socket_keepalive",
        "socket_timeout",
    }
)
"""Options that Feast hands on to its client, and that mean nothing here."""
SECRETS = frozenset({"password", "sentinel_password"})
"""Options that may be given by reference."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a Redis is, and how to log in.

    Example:
        >>> address = parse_address("cache:6380,db=2,ssl=true,password=hunter2")
        >>> address.hosts, address.options["db"], str(address)
        ((('cache', 6380),), 2, 'redis at cache:6380')
    """

    kind: str
    """One of :data:`KINDS`."""
    hosts: tuple[tuple[str, int], ...]
    """(name, port) of each host; empty for a socket of this machine."""
    path: str
    """The path of a socket of this machine; empty for hosts."""
    options: Mapping[str, Option] = field(repr=False)
    """The connection's options, secrets among them."""
    master: str = ""
    """What the sentinels call the server; empty without sentinels."""

    def __str__(self) -> str:
        places = self.path or ",".join(f"{host}:{port}" for host, port in self.hosts)
        return f"{self.kind} at {places}"


def parse_address(text: str, kind: str = "redis", master: str = "", password: str = "", root: str = "") -> Address:
    """Return what a connection string says.

    Args:
        text: the connection string.
        kind: one of :data:`KINDS`.
        master: what the sentinels call the server.
        password: the password, or a reference to it; it goes before the string's own. Empty: the string's own.
        root: the folder that ``file:`` references start from.

    Raises:
        ConfigError: it says something that cannot be, or a secret cannot be read.

    Example:
        >>> parse_address("a:7000,b:7001", "redis_cluster").hosts
        (('a', 7000), ('b', 7001))
        >>> parse_address("/run/redis.sock,db=1").path
        '/run/redis.sock'
    """
    if kind not in KINDS:
        raise ConfigError(f"online_store.redis_type={kind!r} is not known", cure=f"give one of {', '.join(KINDS)}")
    parts = [part.strip() for part in _unfolded(text).split(",") if part.strip()]
    places = [part for part in parts if "=" not in part]
    options = _options([part for part in parts if "=" in part])
    if password:
        options["password"] = password
    for name in SECRETS & options.keys():
        options[name] = secret(str(options[name]), f"the {name} of the online store", root)
    path = places[0] if places and places[0].startswith("/") else ""
    if (not places) or (path and (len(places) > 1 or kind != "redis")) or (kind == "redis" and len(places) > 1):
        cure = "give host:port; several, with commas, for redis_cluster and redis_sentinel"
        raise ConfigError(f"{_KEY} names {len(places)} servers for {kind}: {', '.join(places)!r}", cure=cure)
    port = 26379 if kind == "redis_sentinel" else 6379
    return Address(kind, () if path else tuple(_host(place, port) for place in places), path, options, master)


def _unfolded(text: str) -> str:
    """Return an address of the web's form as a connection string; any other text as it is."""
    if "://" not in text:
        return text
    url = urlsplit(text.strip())
    if url.scheme not in ("redis", "rediss") or url.query or url.fragment:
        raise ConfigError(f"{_KEY} begins with {url.scheme}://, or has more than a path", cure="give host:port,db=0")
    host = url.netloc.rpartition("@")[2]
    said = {"username": url.username, "password": url.password, "db": url.path.strip("/")}
    options = [f"{name}={unquote(value)}" for name, value in said.items() if value]
    return ",".join([host, *options, *(["ssl=true"] if url.scheme == "rediss" else [])])


def _options(parts: Sequence[str]) -> dict[str, Option]:
    options: dict[str, Option] = {}
    for part in parts:
        name, _, value = (piece.strip() for piece in part.partition("="))
        if name in _NOT_USED:
            continue
        if name not in _OPTIONS:
            raise ConfigError(f"{_KEY} has an option {name!r}", cure=near_misses(name, list(_OPTIONS)))
        read, wanted = _OPTIONS[name]
        try:
            options[name] = read(value)
        except (KeyError, ValueError) as error:
            raise ConfigError(f"{_KEY} has {name}={value!r}", cure=f"give {wanted}") from error
    return options


def _host(place: str, default: int) -> tuple[str, int]:
    name, colon, port = place.rpartition(":")
    if not colon or place.endswith("]"):
        name, port = place, str(default)
    bare = name.removeprefix("[").removesuffix("]")
    if not bare or not port.isdigit() or not 0 < int(port) < 65_536 or "/" in place:
        raise ConfigError(f"{_KEY} has {place!r} for a server", cure="give host:port, such as localhost:6379")
    return bare, int(port)
