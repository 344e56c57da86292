"""Allowance: how many bytes of records the read that a thread is at may bring along (G10).

A server opens one around what a request reads, so that a few large values asked for again and again do not fill its
memory. A store that copies records one by one looks at it meanwhile; who takes the records apart looks at it for all.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from likewise.core.errors import RequestError


class AnswerTooLarge(RequestError):
    """What a request asks for is more than it may be given at once."""


class _State(threading.local):
    most: int | None = None


_STATE = _State()


class Allowance:
    """What a thread reads inside it is refused when it is more.

    Args:
        most: how many bytes of records one read may bring along; the innermost allowance counts.

    Example:
        >>> with Allowance(3):
        ...     refuse_large(sized([b"ab", None]))
        ...     refuse_large(sized([b"ab", b"cd"]))
        Traceback (most recent call last):
        likewise.online.allowance.AnswerTooLarge: the records asked for are larger than 3 bytes. ask for fewer at once
    """

    __slots__ = ("_before", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._before: int | None = None

    def __enter__(self) -> None:
        self._before, _STATE.most = _STATE.most, self._most

    def __exit__(self, *_: object) -> None:
        _STATE.most = self._before


def is_bounded() -> bool:
    """Tell whether there is a bound, and so a size to find out."""
    return _STATE.most is not None


def sized(records: Iterable[bytes | None]) -> int:
    """Return how many bytes records have."""
    return sum(map(len, filter(None, records)))


def refuse_large(size: int) -> None:
    """Refuse a read that is larger than it may be.

    Raises:
        AnswerTooLarge: it is.
    """
    most = _STATE.most
    if most is not None and size > most:
        raise AnswerTooLarge(f"the records asked for are larger than {most:,} bytes", cure="ask for fewer at once")
