"""App: takes a request to its route: permission first, then limits, then the body, then the work; hot.

It speaks ASGI itself. The routes are a few exact paths, found in a dict, and each step that a framework would add here
is time that every read pays: Starlette's routing and request took 25 of 80 microseconds.
"""

from __future__ import annotations

import itertools
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from time import perf_counter
from typing import Any

from likewise.core.names import near_misses
from likewise.serve.access import Access, Scope
from likewise.serve.call import ARROW, JSON, Answer, Call, Route, media_of
from likewise.serve.deadlines import HEADER, end_of
from likewise.serve.metrics import Counted, Metrics, Observed
from likewise.serve.problem import KINDS, MEDIA_TYPE, RETRY_AFTER, Refusal, encode, is_logged, refusal_of
from likewise.serve.settings import Limits

Message = MutableMapping[str, Any]
"""What ASGI passes on."""
Receive = Callable[[], Awaitable[Message]]
"""Gives the next part of a request."""
Send = Callable[[Message], Awaitable[None]]
"""Takes the next part of an answer."""
_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_CLOSE = (b"connection", b"close")
_PIECE = 256 << 10
"""How many bytes of an answer are sent at once."""
_log = logging.getLogger("likewise.serve")


class Load:
    """How much a server has in hand; the server says it, the app looks at it."""

    def __init__(self) -> None:
        self.requests: Callable[[], int] = lambda: 0
        """Tells how many requests are in work or waiting."""
        self.connections: Callable[[], int] = lambda: 0
        """Tells how many connections are open."""
        self.ending = False
        """Whether the server was told to end: each answer is its connection's last then."""


class Gone(Exception):
    """Whoever asked is no longer there."""


class App:
    """The server's ASGI application.

    Args:
        routes: the routes.
        access: decides who may call them.
        limits: what is bounded.
        metrics: counts and times.
        load: how much there is in hand.
    """

    def __init__(self, routes: Iterable[Route], access: Access, limits: Limits, metrics: Metrics, load: Load) -> None:
        self._routes: dict[str, dict[str, Route]] = {}
        for route in routes:
            if not isinstance(route.scope, Scope):
                raise TypeError(f"route {route.method} {route.path} declares no scope")
            self._routes.setdefault(route.path, {})[route.method] = route
        self._access = access
        self._limits = limits
        self._metrics = metrics
        self._load = load
        self._large = 0
        self._ids = map("".join, zip(itertools.repeat(f"{secrets.token_hex(6)}-"), map(str, itertools.count())))
        self._seconds: dict[str, Observed] = {path: metrics.seconds(path) for path in self._routes}
        self._answers: dict[tuple[str, int], Counted] = {}

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        began = perf_counter()
        headers = dict(scope["headers"])
        request_id = self._request_id(headers)
        path, rest = self._path(scope["path"])
        try:
            answer = await self._answer(scope, path, rest, headers, receive, request_id, began)
        except Gone:
            self._count(path, 499, began)
            return
        except Exception as error:  # noqa: BLE001 - the surface: every error becomes a problem, and none a stack trace
            answer = self._problem(error, request_id)
        await _send(send, answer, request_id, self._load.ending, with_body=scope["method"] != "HEAD")
        self._count(path, answer.status, began)

    def _request_id(self, headers: Mapping[bytes, bytes]) -> str:
        given = headers.get(b"x-request-id")
        return given.decode() if given is not None and _ID.fullmatch(given) else next(self._ids)

    def _path(self, path: str) -> tuple[str, str]:
        """Return the route's path, and what follows it."""
        if path in self._routes:
            return path, ""
        parent, slash, rest = path.rpartition("/")
        return (parent + slash, rest) if rest and parent + slash in self._routes else ("", path)

    async def _answer(
        self,
        scope: Mapping[str, Any],
        path: str,
        rest: str,
        headers: Mapping[bytes, bytes],
        receive: Receive,
        request_id: str,
        began: float,
    ) -> Answer:
        route = self._route(scope["method"], path, rest)
        caller = self._access.check(route.scope, headers)
        if not route.checks_limits and caller.is_limited:
            raise caller.refusal("this route, which is not about single views,")
        self._admit(route)
        end = end_of(headers, self._limits) if HEADER in headers and route.body is not None else None
        large = self._is_large(headers)
        self._large += large
        try:
            body = await self._body(route, headers, receive, large)
            call = Call(body, scope["query_string"], rest, caller, headers, request_id, end, began)
            answer = route.handle(call)
            return answer if isinstance(answer, Answer) else await answer
        finally:
            self._large -= large

    def _is_large(self, headers: Mapping[bytes, bytes]) -> bool:
        """Tell whether a body is a table that is larger than others may be; of such, a few at once are let in."""
        if headers.get(b"content-type") == JSON or media_of(headers) != ARROW:
            return False
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length[:18]) <= self._limits.body_bytes:
            return False
        if self._large >= self._limits.bulk:
            raise Refusal("overloaded", f"{self._large} large tables are in work; try again", headers=RETRY_AFTER)
        return True

    def _route(self, method: str, path: str, rest: str) -> Route:
        if not path:
            known = [known for known in self._routes if not known.endswith("/")]
            raise Refusal("no_route", f"there is no {rest[:200]!r}; {near_misses(rest, known)}")
        methods = self._routes[path]
        route = methods.get("GET" if method == "HEAD" else method)
        if route is None:
            allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else [])])
            raise Refusal("wrong_method", f"use {allowed}", headers=((b"allow", allowed.encode()),))
        return route

    def _admit(self, route: Route) -> None:
        """Refuse a request that would wait too long behind others; probes and figures are always answered."""
        if route.body is None:
            return
        limits, load = self._limits, self._load
        if load.requests() > limits.requests or load.connections() > limits.connections:
            raise Refusal("overloaded", "try again in a second, or ask another server", headers=RETRY_AFTER)

    async def _body(self, route: Route, headers: Mapping[bytes, bytes], receive: Receive, large: bool) -> bytes:
        if route.body is None:
            return b""
        _check_type(route, headers)
        most = self._limits.bulk_bytes if large else self._limits.body_bytes
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:18]) > most:
            raise self._too_large(most)
        message = await receive()
        body: bytes = message.get("body", b"")
        if not message.get("more_body") and message["type"] == "http.request":
            return body if len(body) <= most else self._refuse_size(most)
        parts, size = [body], len(body)
        while message["type"] == "http.request" and size <= most:
            if not message.get("more_body"):
                return b"".join(parts)
            message = await receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
        if size > most:
            raise self._too_large(most)
        raise Gone

    @staticmethod
    def _too_large(most: int) -> Refusal:
        return Refusal("too_large", f"its body may have {most:,} bytes at most; send fewer rows at once")

    def _refuse_size(self, most: int) -> bytes:
        raise self._too_large(most)

    def _problem(self, error: Exception, request_id: str) -> Answer:
        refusal = refusal_of(error)
        if is_logged(refusal):
            cause = error.__cause__ if isinstance(error, Refusal) and error.__cause__ is not None else error
            _log.error("request %s: %s: %s", request_id, refusal.code, cause, exc_info=cause)
        if refusal.code.startswith("store_") or refusal.code == "deadline_exceeded":
            self._metrics.store_errors.labels(refusal.code).inc()
        problem = refusal.problem(request_id)
        headers = tuple(refusal.headers)
        if KINDS[refusal.code].status == 413:  # what is left of the body is not read
            headers += (_CLOSE,)
        return Answer(encode(problem), problem.status, MEDIA_TYPE.encode(), headers)

    def _count(self, path: str, status: int, began: float) -> None:
        if not path:
            path = "other"
        if path in self._seconds:
            self._seconds[path].observe(perf_counter() - began)
        counter = self._answers.get((path, status))
        if counter is None:
            counter = self._answers[path, status] = self._metrics.answers(path, str(status))
        counter.inc()


def _check_type(route: Route, headers: Mapping[bytes, bytes]) -> None:
    media = media_of(headers)
    if media not in route.takes:
        given = headers.get(b"content-type", b"")
        said = f"it says {given.decode('latin-1')[:100]!r}" if given else "it does not say of which"
        wanted = " or ".join(each.decode() for each in route.takes)
        what = "JSON" if route.takes == (JSON,) else "it"
        raise Refusal("wrong_type", f"{said}; send {what} with the header Content-Type: {wanted}")
    coding = headers.get(b"content-encoding", b"identity")
    if coding.strip().lower() not in (b"identity", b""):
        raise Refusal("wrong_type", f"Content-Encoding {coding.decode('latin-1')[:100]!r} is not read; send it plain")


async def _send(send: Send, answer: Answer, request_id: str, last: bool, with_body: bool) -> None:
    headers = [
        (b"content-type", answer.media_type),
        (b"content-length", str(len(answer.body)).encode()),
        (b"x-request-id", request_id.encode()),
        *answer.headers,
    ]
    if last:
        headers.append(_CLOSE)
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    body = answer.body if with_body else b""
    for start in range(0, len(body) - _PIECE, _PIECE):  # other requests are answered while a large one is on its way
        await send({"type": "http.response.body", "body": body[start : start + _PIECE], "more_body": True})
    last_piece = max(0, (len(body) - 1) // _PIECE) * _PIECE
    await send({"type": "http.response.body", "body": body[last_piece:] if last_piece else body})
