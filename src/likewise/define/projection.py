"""Projection: a view seen in part, or under another name, and what every kind of view has for it."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Self

from likewise.core.errors import Problem, RepoProblems
from likewise.core.names import near_misses
from likewise.define.definition import Definition, caller
from likewise.define.field import Field


@dataclass(frozen=True, slots=True)
class Projection:
    """Which part of a view is meant, and under which names."""

    view: str
    """The view's name."""
    alias: str = ""
    """The name to show instead; empty for the view's own."""
    features: tuple[str, ...] | None = None
    """The features meant, in order; None for all of them."""
    join_key_map: tuple[tuple[str, str], ...] = ()
    """(join key of the view, column of the request) for keys that have another name there."""
    version: int | None = None
    """The version of the view meant, from 1; None for the applied one."""

    @property
    def name(self) -> str:
        """The name that prefixes its features in full feature names."""
        return self.alias or self.reference

    @property
    def reference(self) -> str:
        """The view that is meant, with its version where that is not the applied one: ``users``, ``users@v1``."""
        return self.view if self.version is None else f"{self.view}@v{self.version}"


class AnyView(Definition):
    """A view of any kind, whole or in part.

    Args:
        name: unique among views, whatever the case of its letters.
        description: what it is, for people.
        tags: free labels, text to text.
        owner: who answers for it.
    """

    noun = "view"

    def __init__(
        self, name: str, description: str = "", tags: Mapping[str, str] | None = None, owner: str = ""
    ) -> None:
        super().__init__(name, description, tags, owner)
        self.fields: list[Field] = []
        self.entities: list[str] = []
        self.projection = Projection(self.name)
        self.part_problems: list[Problem] = []

    @property
    def is_part(self) -> bool:
        """Whether it is a part of the view, or the view under another name or with other keys."""
        return self.projection != Projection(self.name)

    def whole(self) -> Self:
        """Return the view itself, of which this may be a part."""
        other = self._seen(Projection(self.name))
        other.part_problems = []
        return other

    @property
    def known_names(self) -> list[str]:
        """The names that a part of the view may have; none where they are told by its source."""
        return [field.name for field in self.fields]

    def __getitem__(self, features: Iterable[str]) -> Self:
        """Return the part of the view that has only these features, in this order."""
        names = self._names(features)
        part = self._seen(replace(self.projection, features=tuple(map(str, names))))
        if not names:
            part.misread(f"[{features!r}] names no features", f"write {self.name}[['a_feature', 'another']]")
        known = self.known_names
        for name in names:
            if not isinstance(name, str) or (known and name not in known):
                part.misread(f"has no feature {name!r}", near_misses(str(name), known))
        return part

    def _names(self, features: object) -> list[object]:
        if isinstance(features, Iterable) and not isinstance(features, str):
            return list(features)
        return [] if features is None else [features]

    def with_name(self, name: str) -> Self:
        """Return the view under another name, for one retrieval.

        Args:
            name: what prefixes its features in full feature names.
        """
        given: object = name
        part = self._seen(replace(self.projection, alias=str(given)))
        if not isinstance(given, str):
            part.misread(f"cannot be seen under the name {name!r}", "give text")
        return part

    def with_projection(self, projection: Projection) -> Self:
        """Return the view seen through a projection."""
        given: object = projection
        if isinstance(given, Projection):
            return self._seen(given)
        part = self._seen(self.projection)
        part.misread(f"cannot be seen through {given!r}, which is no projection", "give another view's projection")
        return part

    def ensure_valid(self) -> None:
        """Do nothing if the view's own arguments keep the rules; ``plan`` checks all others.

        Raises:
            RepoProblems: something is wrong; all of it is listed.
        """
        if self.problems:
            raise RepoProblems(self.problems)

    def misread(self, what: str, cure: str) -> None:
        """Remember what is wrong with this part of the view, with the place of the caller."""
        origin = caller()
        problem = Problem(f"{self.title} {what}", cure, origin.file, origin.line)
        self.problems.append(problem)
        self.part_problems.append(problem)

    def _seen(self, projection: Projection) -> Self:
        other = copy.copy(self)
        other.projection = projection
        other.problems = list(self.problems)
        other.part_problems = list(self.part_problems)
        return other
