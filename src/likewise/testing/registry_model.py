"""A model of a registry in plain dicts, and the machine that compares any registry with it (hypothesis)."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable
from typing import Any

from likewise.core.errors import BackendMissing
from likewise.registry.base import CatalogConflict, Registry, SideConflict
from likewise.registry.catalog import PlainDefinition, canonical, content_hash
from likewise.registry.diff import Change, diff

try:
    import hypothesis.strategies as st
    import pytest
    from hypothesis import settings
    from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
except ImportError as missing:
    raise BackendMissing("the suites need pytest and hypothesis", cure='pip install "likewise[testing]"') from missing

__all__ = ["RegistryMachine", "run_registry_model"]

PROJECTS = st.sampled_from(["demo", "Demo"])
NAMES = st.sampled_from(["a", "b", "a:b"])
KINDS = st.sampled_from(["entity", "feature_view"])
SMALL = st.one_of(
    st.none(), st.booleans(), st.integers(-1, 1), st.floats(-1, 1, allow_nan=False), st.sampled_from(["", "x"])
)
JSON = st.recursive(
    SMALL, lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(NAMES, inner, max_size=2)), max_leaves=4
)
DEFINITIONS = st.dictionaries(st.tuples(KINDS, NAMES), JSON, max_size=4).map(
    lambda found: [{"kind": kind, "name": name, "value": value} for (kind, name), value in found.items()]
)


class RegistryMachine(RuleBasedStateMachine):
    """Does anything in any order to a registry and to plain dicts, and compares the two."""

    def __init__(self, opener: Callable[[], Registry]) -> None:
        super().__init__()
        self._open = opener
        self._registry = opener()
        self._catalogs: dict[str, list[list[PlainDefinition]]] = {}
        self._side: dict[tuple[str, str], tuple[Any, int]] = {}

    def teardown(self) -> None:
        """Close the registry."""
        self._registry.close()

    @rule(project=PROJECTS, definitions=DEFINITIONS, behind=st.sampled_from([0, 0, 0, 1, -1]))
    def commit(self, project: str, definitions: list[PlainDefinition], behind: int) -> None:
        """Commit a set on the newest catalog, or on another number."""
        catalogs = self._catalogs.get(project, [])
        expected = len(catalogs) - behind
        refused = None
        try:
            made = self._registry.commit(project, expected, definitions, now=len(catalogs))
        except CatalogConflict as conflict:
            refused = conflict
        if refused is not None:
            assert behind
            assert _summary(refused.changes) == _summary(self._meanwhile(catalogs, expected))
            return
        assert not behind
        self._commit_model(project, definitions)
        assert made == self._registry.catalog(project)

    def _meanwhile(self, catalogs: list[list[PlainDefinition]], expected: int) -> list[Change]:
        if not 0 <= expected < len(catalogs):
            return []
        return diff(catalogs[expected - 1] if expected else [], catalogs[-1])

    @rule(project=PROJECTS, number=st.integers(1, 4))
    def rollback(self, project: str, number: int) -> None:
        """Go back to an older catalog, if there is one of that number."""
        catalogs = self._catalogs.get(project, [])
        if number <= len(catalogs):
            self._registry.rollback(project, number, now=len(catalogs))
            self._commit_model(project, catalogs[number - 1])

    def _commit_model(self, project: str, definitions: list[PlainDefinition]) -> None:
        catalogs = self._catalogs.setdefault(project, [])
        if _hashes(definitions) != _hashes(catalogs[-1] if catalogs else []):
            catalogs.append(copy.deepcopy(definitions))

    @rule(project=PROJECTS, key=NAMES, value=JSON, guess=st.sampled_from(["right", "right", "any", "wrong"]))
    def put(self, project: str, key: str, value: Any, guess: str) -> None:
        """Write a side value."""
        version = self._side.get((project, key), (None, 0))[1]
        expected = {"right": version, "any": None, "wrong": version + 1}[guess]
        if guess == "wrong":
            with pytest.raises(SideConflict) as caught:
                self._registry.side.put(project, "space", key, value, expected)
            assert caught.value.found == version
            return
        new = self._registry.side.put(project, "space", key, value, expected)
        assert new > max((seen for _, seen in self._side.values()), default=0)
        self._side[project, key] = value, new

    @rule(project=PROJECTS, key=NAMES)
    def remove(self, project: str, key: str) -> None:
        """Remove a side value."""
        _, version = self._side.pop((project, key), (None, 0))
        self._registry.side.remove(project, "space", key, version)

    @rule()
    def reopen(self) -> None:
        """Close the registry and open it anew."""
        self._registry.close()
        self._registry = self._open()

    @invariant()
    def agrees(self) -> None:
        """Whatever can be read is what the dicts say."""
        alive = [project for project, catalogs in self._catalogs.items() if catalogs and catalogs[-1]]
        assert self._registry.projects() == sorted(alive)
        for project, catalogs in self._catalogs.items():
            assert self._registry.head(project) == len(catalogs) == len(self._registry.history(project))
            for number, definitions in enumerate(catalogs, start=1):
                found = self._registry.catalog(project, number)
                assert dict(found.manifest) == _hashes(definitions)
                assert _hashes(found.definitions()) == _hashes(definitions)
            self._versions_agree(project, catalogs)
        for project in ("demo", "Demo"):
            stored = self._registry.side.items(project, "space")
            wanted = {key: seen for (owner, key), seen in sorted(self._side.items()) if owner == project}
            assert list(stored) == list(wanted)
            for key, (value, version) in wanted.items():
                assert stored[key].version == version
                assert canonical(stored[key].value) == canonical(value)

    def _versions_agree(self, project: str, catalogs: list[list[PlainDefinition]]) -> None:
        for key in {(each["kind"], each["name"]) for definitions in catalogs for each in definitions}:
            seen = [None, *(_hashes(definitions).get(key) for definitions in catalogs)]
            steps = enumerate(itertools.pairwise(seen), start=1)
            changes = [(number, now) for number, (was, now) in steps if was != now and now]
            found = self._registry.definition_versions(project, *key)
            assert [(version.since, version.hash) for version in found] == changes
            assert [content_hash(version.definition) for version in found] == [now for _, now in changes]


def _hashes(definitions: list[PlainDefinition]) -> dict[tuple[str, str], str]:
    return {(each["kind"], each["name"]): content_hash(each) for each in definitions}


def _summary(changes: Iterable[Change]) -> list[tuple[str, str, str]]:
    return [(change.kind, change.name, change.action) for change in changes]


def run_registry_model(fresh: Callable[[], Callable[[], Registry]], share: float = 1.0) -> None:
    """Compare registries with the model on generated sequences of operations.

    Args:
        fresh: returns a function that opens a registry which is new; called for each sequence.
        share: how many sequences to try, as a share of hypothesis' own setting; more than 0.
    """
    cases = max(1, round(share * settings().max_examples))
    run_state_machine_as_test(
        lambda: RegistryMachine(fresh()),  # type: ignore[arg-type]
        settings=settings(stateful_step_count=20, max_examples=cases),
    )
