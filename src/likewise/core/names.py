"""Names: what may be one, which known name was meant, and how features are referred to."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from likewise.core.errors import InvalidFeatureReference, InvalidName

_NAME = re.compile(r"[^\W\d]\w*(?:[-.]\w+)*", re.UNICODE)
_LONGEST = 255
_MOST_COMPARED = 10_000


def check_name(name: object, what: str) -> str:
    """Return ``name`` if it may name a ``what``.

    Args:
        name: a text of 1 to 255 letters, digits, ``_``, and inner ``-`` or ``.``, which starts with a letter or ``_``.
        what: the kind of thing that is named, for the message.

    Raises:
        InvalidName: it may not.

    Example:
        >>> check_name("user_stats", "feature view")
        'user_stats'
    """
    if isinstance(name, str) and len(name) <= _LONGEST and name != "__" and _NAME.fullmatch(name):
        return name
    raise InvalidName(
        f"{name!r} cannot be the name of {'an' if what[:1] in 'aeiou' else 'a'} {what}",
        cure=f"use 1 to {_LONGEST} letters, digits and '_' ('-' or '.' inside), starting with a letter or '_'",
    )


def near_misses(name: str, known: Iterable[str], without: str = "there is none yet; add it") -> str:
    """Say which of the known names may have been meant, as the end of an error message.

    Args:
        name: the name that is not known.
        known: those that are.
        without: what to do where no name is known at all.

    Example:
        >>> near_misses("ammount", ["amount", "count"])
        "did you mean 'amount'?"
        >>> near_misses("x", ["amount", "count"])
        "known: 'amount', 'count'"
        >>> near_misses("x", [])
        'there is none yet; add it'
    """
    names = sorted(set(known))
    few = len(str(name)) <= _LONGEST and len(names) <= _MOST_COMPARED  # to compare texts without end takes seconds
    close = difflib.get_close_matches(str(name), names, n=3, cutoff=0.7) if few else []
    if close:
        return "did you mean " + " or ".join(map(repr, close)) + "?"
    if not names:
        return without
    shown = ", ".join(map(repr, names[:8]))
    return f"known: {shown}" + (f" and {len(names) - 8} more" if len(names) > 8 else "")


@dataclass(frozen=True, slots=True)
class FeatureReference:
    """One text of a ``features=[…]`` list, taken apart."""

    view: str
    """The view, or the bare name of a view or service."""
    feature: str | None
    """The feature; None for a bare name, which means all of its features."""
    version: int | None = None
    """The version of the view, from 1; None means the applied one."""

    def __str__(self) -> str:
        version = "" if self.version is None else f"@v{self.version}"
        return f"{self.view}{version}" + ("" if self.feature is None else f":{self.feature}")


_REFERENCE = re.compile(r"(?P<view>[^:@\s]+)(?:@(?:v(?P<version>[1-9]\d{0,8})|latest))?(?::(?P<feature>[^:@\s]+))?")


def parse_reference(text: object) -> FeatureReference:
    """Take a feature reference apart.

    Args:
        text: ``view:feature``, ``view@v2:feature``, or the bare name of a view or service.

    Raises:
        InvalidFeatureReference: it is none of these.

    Example:
        >>> parse_reference("cards@v2:amount")
        FeatureReference(view='cards', feature='amount', version=2)
    """
    match = _REFERENCE.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise InvalidFeatureReference(
            f"{text!r} is not a feature reference",
            cure="write 'view:feature', 'view@v2:feature', or the name of a view or feature service",
        )
    version = match["version"]
    return FeatureReference(match["view"], match["feature"], int(version) if version else None)
