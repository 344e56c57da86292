"""Problem: what a request gets that cannot be answered: RFC 9457's problem+json with a code, a pointer, a request id.

What the caller can mend is said in full. What lies with the server (5xx) is said by its kind only; the rest goes to
the log under the request's id, for messages hold paths and addresses. There is never a stack trace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

import msgspec
from msgspec import UNSET, Struct, UnsetType

from likewise.core.errors import (
    ApplyConflict,
    FeatureNameCollision,
    FeatureNotFound,
    FeatureServiceNotFound,
    FeatureViewNotFound,
    InvalidFeatureReference,
    LeaseHeld,
    LikewiseError,
    NotFound,
    NotSupported,
    PushSourceNotFound,
    RequestError,
    SourceError,
    StoreError,
    StoreFull,
    TransformError,
)
from likewise.online.allowance import AnswerTooLarge
from likewise.online.deadline import DeadlineExceeded
from likewise.online.guard import StoreShunned

Headers = Sequence[tuple[bytes, bytes]]
"""Headers of an answer, in lower case."""
MEDIA_TYPE = "application/problem+json"
"""The content type of a problem."""
_MOST_SAID = 4_000


class Problem(Struct, frozen=True, kw_only=True):
    """What went wrong with a request."""

    type: str
    """A URI of the kind of problem: ``urn:likewise:problem:`` and the code."""
    title: str
    """The kind in words, the same each time."""
    status: int
    """The HTTP status."""
    detail: str
    """What is wrong this time, and the cure."""
    code: str
    """The kind, for programs."""
    request_id: str
    """The request's id, which the server's log has too, and the header x-request-id."""
    pointer: str | UnsetType = UNSET
    """Where in the request's body it is, as a JSON pointer (RFC 6901)."""
    error: str | UnsetType = UNSET
    """The name of the error that the same call in Python raises; clients in Python raise it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem."""

    status: int
    """The HTTP status."""
    title: str
    """The kind in words."""


KINDS: Mapping[str, Kind] = {
    "not_json": Kind(400, "The body is not JSON"),
    "not_msgpack": Kind(400, "The body is not MessagePack"),
    "not_arrow": Kind(400, "The body is not a stream of Arrow's"),
    "too_deep": Kind(400, "The body is nested too deeply"),
    "duplicate_key": Kind(400, "The body has a key twice"),
    "bad_query": Kind(400, "The query string cannot be"),
    "bad_header": Kind(400, "A header cannot be"),
    "unauthorized": Kind(401, "An access key is needed"),
    "forbidden": Kind(403, "The permission is missing"),
    "no_route": Kind(404, "There is no such route"),
    "not_found": Kind(404, "There is nothing of that name"),
    "table_missing": Kind(404, "There is no such online table"),
    "wrong_method": Kind(405, "The route has no such method"),
    "busy": Kind(409, "Another run is at work"),
    "too_large": Kind(413, "The request is too large"),
    "wrong_type": Kind(415, "The body is of another content type"),
    "invalid": Kind(422, "The request cannot be answered as it is"),
    "not_supported": Kind(422, "This version does not do that"),
    "failed": Kind(500, "The server failed"),
    "function_failed": Kind(500, "The function of a view failed"),
    "source_failed": Kind(500, "A source cannot be read as defined"),
    "overloaded": Kind(503, "The server has too much to do"),
    "not_ready": Kind(503, "The server is not ready"),
    "ending": Kind(503, "The server is ending"),
    "store_unavailable": Kind(503, "The store does not answer"),
    "store_shunned": Kind(503, "The store failed again and again, and is not asked for a moment"),
    "deadline_exceeded": Kind(504, "The deadline is over"),
    "store_failed": Kind(500, "The store failed"),
    "store_full": Kind(507, "The store is full"),
}
"""Every kind of problem by its code."""


class Refusal(Exception):
    """A request is not answered.

    Args:
        code: the kind of problem.
        detail: what is wrong, and the cure.
        pointer: where in the body.
        headers: more headers of the answer.
    """

    def __init__(self, code: str, detail: str, pointer: str | None = None, headers: Headers = ()) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.pointer = pointer
        self.headers = headers
        self.error = ""
        """The name of the error that it was made of; empty for one of the server's own."""

    def problem(self, request_id: str) -> Problem:
        """Return what the caller is told."""
        kind = KINDS[self.code]
        return Problem(
            type=f"urn:likewise:problem:{self.code}",
            title=kind.title,
            status=kind.status,
            detail=self.detail if len(self.detail) <= _MOST_SAID else f"{self.detail[:_MOST_SAID]}…",
            code=self.code,
            request_id=request_id,
            pointer=UNSET if self.pointer is None or len(self.pointer) > _MOST_SAID else self.pointer,
            error=self.error or UNSET,
        )


RETRY_AFTER = ((b"retry-after", b"1"),)
"""The header of a request that may be sent again in a second."""


def refusal_of(error: Exception, pointer: str | None = None) -> Refusal:
    """Return what a request gets for an error.

    Args:
        error: what was raised.
        pointer: where in the body it is.

    Example:
        >>> refusal_of(RequestError("no features were asked for")).problem("r-1").status
        422
        >>> refusal_of(KeyError("secret")).detail
        'nobody expected this; the log of the server says more under the id of the request'
    """
    if isinstance(error, Refusal):
        return error
    refusal = _refused(error, pointer)
    refusal.error = type(error).__name__ if isinstance(error, LikewiseError) else ""
    return refusal


def _refused(error: Exception, pointer: str | None) -> Refusal:
    match error:
        case NotFound():
            return Refusal("not_found", str(error), pointer)
        case NotSupported():
            return Refusal("not_supported", str(error), pointer)
        case AnswerTooLarge():
            return Refusal("too_large", str(error), pointer)
        case RequestError():
            return Refusal("invalid", str(error), pointer)
        case LeaseHeld() | ApplyConflict():
            return Refusal("busy", str(error), headers=RETRY_AFTER)
        case StoreError():
            return _refused_by_store(error)
        case TransformError():
            return Refusal("function_failed", f"the function of a view failed; {_LOG}")
        case SourceError():
            return Refusal("source_failed", _LOG)
        case LikewiseError():
            return Refusal("invalid", str(error), pointer)
    return Refusal("failed", f"nobody expected this; {_LOG}")


def _refused_by_store(error: StoreError) -> Refusal:
    match error:
        case StoreFull():
            return Refusal("store_full", f"there is no space for the write; {_LOG}")
        case DeadlineExceeded():
            said = "it was not done by its deadline (header x-request-deadline-ms, else the server's deadline_seconds)"
            return Refusal("deadline_exceeded", f"{said}; give it more time, or ask for less at once")
        case StoreShunned():
            return Refusal("store_shunned", "try again in a second; /readyz says when it is back", headers=RETRY_AFTER)
        case StoreError(transient=True):
            return Refusal("store_unavailable", f"it did not answer in time; {_LOG}", headers=RETRY_AFTER)
    return Refusal("store_failed", f"it cannot do its work; {_LOG}")


_LOG = "the log of the server says more under the id of the request"


_UNLOGGED = ("overloaded", "ending", "store_shunned", "deadline_exceeded")


def is_logged(refusal: Refusal) -> bool:
    """Tell whether the server's log is to have the error: what the caller cannot mend."""
    return KINDS[refusal.code].status >= HTTPStatus.INTERNAL_SERVER_ERROR and refusal.code not in _UNLOGGED


def pointer_of(error: Exception, where: str, by_rows: bool = False, names: str = "features") -> str | None:
    """Return where in a body an error is, as a JSON pointer; None where it is not known.

    Args:
        error: what was raised.
        where: the member that holds the rows, such as ``entities``.
        by_rows: whether they stand row by row, not column by column.
        names: the member that holds names of views.

    Example:
        >>> pointer_of(RequestError("null", column="user/id", row=3), "entities")
        '/entities/user~1id/3'
    """
    match error:
        case RequestError(column=str() as column, row=row):
            steps = [column] if row is None else [column, str(row)]
            return json_pointer(where, *(reversed(steps) if by_rows else steps))
        case InvalidFeatureReference() | FeatureNotFound() | FeatureViewNotFound() | FeatureNameCollision():
            return json_pointer(names)
        case FeatureServiceNotFound():
            return "/feature_service"
        case PushSourceNotFound():
            return "/push_source_name"
    return None


def json_pointer(*steps: str) -> str:
    """Return a JSON pointer of steps.

    Example:
        >>> json_pointer("entities", "a/b", "0")
        '/entities/a~1b/0'
    """
    return "".join(f"/{step.replace('~', '~0').replace('/', '~1')}" for step in steps)


encode = msgspec.json.Encoder().encode
"""Writes a problem."""
