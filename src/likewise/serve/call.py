"""Call: one request as its route gets it, and what the route gives back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import msgspec
from msgspec import Struct

from likewise.serve.access import Scope
from likewise.serve.problem import Headers

JSON = b"application/json"
"""The content type of most answers."""


class Call(Struct, frozen=True):
    """One request, its permission checked and its body read."""

    body: bytes
    """The body; empty for a GET."""
    query: bytes
    """The query string, as sent."""
    rest: str
    """What follows the route's path, without the slash; empty for most."""


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


encode = msgspec.json.Encoder().encode
"""Writes the record of an answer."""
