"""Call: one request as its route gets it, and what the route gives back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import msgspec
from msgspec import Struct

from likewise.serve.access import Caller, Scope
from likewise.serve.problem import Headers

JSON = b"application/json"
"""The content type of most answers."""
MSGPACK = b"application/msgpack"
"""The content type of Python values as ``core/packed.py`` has them, and of records."""
ARROW = b"application/vnd.apache.arrow.stream"
"""The content type of tables."""


class Call(Struct, frozen=True):
    """One request, its permission checked and its body read."""

    body: bytes
    """The body; empty for a GET."""
    query: bytes
    """The query string, as sent."""
    rest: str
    """What follows the route's path, without the slash; empty for most."""
    caller: Caller
    """Whose it is; what they are limited to is checked when the names are known."""
    headers: Mapping[bytes, bytes] = {}
    """Its headers, their names in lower case."""
    request_id: str = ""
    """Its id, which is in its answer and in logs."""
    end: float | None = None
    """When it must be answered, on the clock of ``time.monotonic``; None: it does not say."""
    arrived: float = 0.0
    """When it came, on the clock of ``time.perf_counter``."""

    @property
    def media(self) -> bytes:
        """The content type of the body, without its parameters."""
        return media_of(self.headers)

    def wants(self, media: bytes) -> bool:
        """Tell whether the header Accept names a content type."""
        accept = self.headers.get(b"accept", b"")
        return media in accept and any(_type_in(each) == media for each in accept.split(b","))


class Answer(Struct, frozen=True):
    """What a request gets."""

    body: bytes
    """The body."""
    status: int = 200
    """The HTTP status."""
    media_type: bytes = JSON
    """The content type."""
    headers: Headers = ()
    """More headers."""


def media_of(headers: Mapping[bytes, bytes]) -> bytes:
    """Return the content type of a request's body, without its parameters; hot.

    Example:
        >>> media_of({b"content-type": b"Application/JSON; charset=utf-8"})
        b'application/json'
    """
    given = headers.get(b"content-type", b"")
    return given if given == JSON else _type_in(given)


def _type_in(text: bytes) -> bytes:
    return text.partition(b";")[0].strip().lower()


Handle = Callable[[Call], Answer | Awaitable[Answer]]
"""Answers a call, at once or later."""


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path. A route that declares no scope cannot be made."""

    method: str
    """GET or POST."""
    path: str
    """The path; one that ends with a slash is followed by a name."""
    scope: Scope
    """What the caller must be allowed."""
    handle: Handle
    """Answers it."""
    summary: str
    """What it does, in one sentence."""
    answers: Mapping[int, type[Struct] | str]
    """What it answers by status: a record as JSON, or the content type of a text."""
    body: type[Struct] | None = None
    """The record that its body holds; None for a route without a body."""
    query: Mapping[str, str] = field(default_factory=dict)
    """The parameters of its query string, each with what it does; all are true or false."""
    problems: tuple[str, ...] = ()
    """The codes of the problems that are its own, besides those that every route has."""
    takes: tuple[bytes, ...] = (JSON,)
    """The content types that its body may have."""
    gives: tuple[bytes, ...] = ()
    """The content types that its answer has as well, if the header Accept names one."""
    table_query: Mapping[str, str] = field(default_factory=dict)
    """The parameters that go with a body that is a table, each with what it says; JSON has members instead."""
    checks_limits: bool = False
    """Whether it looks at the views and services that a caller is limited to; if not, it refuses such callers."""


encode = msgspec.json.Encoder().encode
"""Writes the record of an answer."""
