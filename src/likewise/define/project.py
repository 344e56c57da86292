"""Project: the name under which a repo's definitions live."""

from __future__ import annotations

from collections.abc import Mapping

from likewise.define.definition import Definition


class Project(Definition):
    """A project: one namespace of definitions in a registry.

    Args:
        name: the same as ``project:`` in ``feature_store.yaml``.
        description: what it is, for people.
        tags: free labels, text to text.
        owner: who answers for it.

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
        created_timestamp: object = None,
        last_updated_timestamp: object = None,
    ) -> None:
        super().__init__(name, description, tags, owner)
