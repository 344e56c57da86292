"""What every definition has: a name, words about it, where it was written, and what is wrong with it.

A constructor never raises for a broken rule: it notes a :class:`~likewise.core.errors.Problem`, so that ``apply`` can
list everything that is wrong with a repo at once.
"""

from __future__ import annotations

import html
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeGuard, TypeVar

from likewise.core.errors import InvalidName, LikewiseError, Problem
from likewise.core.names import check_name

_PACKAGE = str(Path(__file__).resolve().parent.parent) + os.sep
_TESTING = f"{_PACKAGE}testing{os.sep}"
T = TypeVar("T")
_NOUNS: Mapping[type, str] = {str: "text", dict: "a mapping", bool: "True or False"}


@dataclass(frozen=True, slots=True)
class Origin:
    """The place in a program where a definition was written."""

    file: str
    """The file's path as Python knows it; ``<stdin>`` and the like for interactive code."""
    line: int
    """The line, from 1."""


def caller() -> Origin:
    """Return the nearest place outside of Likewise that is being run."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        inside = file.startswith(_PACKAGE) and not file.startswith(_TESTING)
        if not inside and not file.startswith("<frozen"):
            return Origin(file, frame.f_lineno)
        if frame.f_back is None:
            break
        frame = frame.f_back
    return Origin("", 0)


class Definition:
    """The base of everything that can be applied: a name, words about it, and where it was written.

    Args:
        name: unique among the definitions of its kind; 1 to 255 letters, digits and ``_``.
        description: what it is, for people.
        tags: free labels, text to text.
        owner: who answers for it, usually an e-mail address.
    """

    kind: ClassVar[str] = "definition"
    noun: ClassVar[str] = "definition"

    def __init__(
        self, name: str, description: str = "", tags: Mapping[str, str] | None = None, owner: str = ""
    ) -> None:
        self.origin = caller()
        self.problems: list[Problem] = []
        given: object = name
        self.name = given if isinstance(given, str) else repr(given)
        self.description = self.expect(description, str, "description", "")
        self.owner = self.expect(owner, str, "owner", "")
        self.tags = self._checked_tags(tags)
        try:
            self._check_name(name)
        except InvalidName as error:
            self.note(error)

    def _check_name(self, name: object) -> None:
        check_name(name, self.noun)

    def note(self, error: LikewiseError) -> None:
        """Remember a broken rule, with the place of this definition."""
        self.problems.append(Problem(error.message, error.cure, self.origin.file, self.origin.line))

    def wrong(self, what: str, cure: str) -> None:
        """Remember a broken rule of this definition, named."""
        self.problems.append(Problem(self.said(what), cure, self.origin.file, self.origin.line))

    def said(self, what: str) -> str:
        """Return a sentence about this definition that begins with its title, which it may do already.

        Example:
            >>> user = Definition("user")
            >>> user.said("it is odd"), user.said("definition 'user' is odd")
            ("definition 'user': it is odd", "definition 'user' is odd")
        """
        return what if what.startswith(self.title) else f"{self.title}: {what}"

    def expect(self, value: object, wanted: type[T], argument: str, instead: T) -> T:
        """Return ``value`` if it has the wanted type; otherwise note the problem and return ``instead``."""
        if isinstance(value, wanted):
            return value
        if value is not None:
            noun = _NOUNS.get(wanted, f"a {wanted.__name__}")
            self.wrong(f"{argument}={value!r} is not {noun}", f"give {noun} as {argument}")
        return instead

    def spelled(self, spellings: Mapping[str, object]) -> Any:
        """Return the value of an argument that has several names; note it if two of them are given, and differ.

        Args:
            spellings: name to what was given under it; None and empty text mean that nothing was.
        """
        given = [(name, value) for name, value in spellings.items() if value is not None and value != ""]
        for name, value in given[1:]:
            if value is not given[0][1] and value != given[0][1]:
                self.wrong(f"both {given[0][0]} and {name} are given, and differ", f"give only {given[0][0]}")
        return given[0][1] if given else None

    def plain(self, options: object, argument: str) -> dict[str, Any]:
        """Return options that are plain data; note what is not."""
        found = self.expect(options, dict, argument, {})
        try:
            if json.loads(json.dumps(found, allow_nan=False)) == found:
                return found
        except (TypeError, ValueError, RecursionError):
            pass
        cure = "give text, numbers, True, False, None, and lists and mappings of them"
        self.wrong(f"{argument}={found!r} is not plain data", cure)
        return {}

    def listed(self, value: object, argument: str, cure: str, single: tuple[type, ...] = ()) -> list[object]:
        """Return the items of a list; what is no list, but of a type that may stand alone, is a list of one."""
        if value is None:
            return []
        if isinstance(value, single):
            return [value]
        if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
            return list(value)
        self.wrong(f"{argument}={value!r} is no list", cure)
        return []

    def attempt(self, make: Callable[[], T], instead: T) -> T:
        """Return what ``make`` returns; if it raises one of our errors, note that and return ``instead``."""
        try:
            return make()
        except LikewiseError as error:
            self.wrong(error.message, error.cure)
            return instead

    @property
    def title(self) -> str:
        """The kind and the name, for messages: ``feature view 'cards'``."""
        return f"{self.noun} {self.name!r}"

    def _checked_tags(self, tags: Mapping[str, str] | None) -> dict[str, str]:
        if tags is None:
            return {}
        given: object = tags
        if is_text_to_text(given):
            return dict(given)
        self.wrong(f"tags={tags!r} is not a mapping of text to text", "write tags={'team': 'fraud'}")
        return {}

    def summary(self) -> Iterable[tuple[str, str]]:
        """Return what to show of it, as (label, text)."""
        yield "name", self.name
        if self.description:
            yield "description", self.description
        if self.owner:
            yield "owner", self.owner
        if self.tags:
            yield "tags", ", ".join(f"{key}={value}" for key, value in self.tags.items())

    def __repr__(self) -> str:
        parts = ", ".join(f"{label}={text!r}" for label, text in self.summary())
        return f"{type(self).__name__}({parts})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(label)}</th>"
            f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
            for label, text in self.summary()
        )
        return f"<table><caption>{html.escape(type(self).__name__)}</caption>{rows}</table>"


def is_text_to_text(value: object) -> TypeGuard[Mapping[str, str]]:
    """Tell whether a value is a mapping of text to text."""
    return isinstance(value, Mapping) and all(isinstance(x, str) for pair in value.items() for x in pair)
