"""Project: the name under which a repo's definitions live."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from likewise.core.time import from_micros, to_micros
from likewise.define.definition import Definition


class Project(Definition):
    """A project: one namespace of definitions in a registry.

    Args:
        name: the same as ``project:`` in ``feature_store.yaml``.
        description: what it is, for people.
        tags: free labels, text to text.
        owner: who answers for it.
        created_timestamp: when it was made, as Feast has it; naive is UTC. The registry's history knows of itself.
        last_updated_timestamp: when it was changed last, likewise.

    Example:
        >>> Project("payments", owner="risk@example.com")
        Project(name='payments', owner='risk@example.com')
    """

    kind = "project"
    noun = "project"

    def __init__(
        self,
        name: str,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        owner: str = "",
        *,
        created_timestamp: datetime | None = None,
        last_updated_timestamp: datetime | None = None,
    ) -> None:
        super().__init__(name, description, tags, owner)
        self.created_timestamp = self._time(created_timestamp, "created_timestamp")
        self.last_updated_timestamp = self._time(last_updated_timestamp, "last_updated_timestamp")

    def _time(self, given: object, argument: str) -> datetime | None:
        return None if given is None else self.attempt(lambda: from_micros(to_micros(given, argument)), None)

    def summary(self) -> Iterable[tuple[str, str]]:
        """Return what to show of it, as (label, text)."""
        yield from super().summary()
        if self.created_timestamp is not None:
            yield "created_timestamp", self.created_timestamp.isoformat()
        if self.last_updated_timestamp is not None:
            yield "last_updated_timestamp", self.last_updated_timestamp.isoformat()
