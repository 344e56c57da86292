"""The page docs/support.md: what each backend is tested on, read from the classes of the tests themselves.

A test class that subclasses a suite of `likewise.testing` says in literals what it proves and on what
(`likewise.testing.conformance`). The classes are read without importing them, and the types of `likewise.backends` are
held against them, so a backend that nobody tests is on the page as just that.
"""

from __future__ import annotations

import ast
import functools
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from likewise.backends import OFFLINE, ONLINE, REGISTRIES, Backend
from likewise.testing.conformance import Conformance
from likewise.testing.offline_suite import OfflineEngineSuite
from likewise.testing.online_suite import OnlineStoreSuite
from likewise.testing.registry_suite import RegistrySuite

PROJECT = Path(__file__).parents[1]
SUITES: Mapping[str, type[Conformance]] = {
    suite.__name__: suite for suite in (OfflineEngineSuite, OnlineStoreSuite, RegistrySuite, Conformance)
}
KINDS: Mapping[str, tuple[str, Mapping[str, Backend]]] = {
    "offline": ("Offline engines", OFFLINE),
    "online": ("Online stores", ONLINE),
    "registry": ("Registries", REGISTRIES),
}
"""The folder of tests of each kind of backend, its title, and its types."""
LIMITS = {
    "processes": "several processes",
    "one_moment": "many keys at one moment",
    "lasting": "closing and opening again",
    "sql": "queries in SQL",
    "sealed": "changes by somebody else",
}
"""What a class that says False leaves out of its suite."""


@dataclass(frozen=True, slots=True)
class Proof:
    """One class of tests, in its own words."""

    name: str
    """The class."""
    path: str
    """Its file, in the project."""
    suite: type[Conformance]
    """Which suite it subclasses; Conformance itself when its tests are its own."""
    own_tests: int
    """How many tests it has itself."""
    said: Mapping[str, Any]
    """The literals in its body, and in those of the classes that it inherits from in its file."""

    @property
    def backend(self) -> str:
        """What it proves; empty when it is not to be listed."""
        return str(self.said.get("backend", ""))


def proofs(folder: str) -> list[Proof]:
    """Return the classes of a folder of tests that say what they prove."""
    found = []
    for path in sorted((PROJECT / "tests" / folder).rglob("test_*.py")):
        classes = {node.name: node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)}
        for name in classes:
            lineage = list(_lineage(name, classes))
            suites = [SUITES[each] for each in lineage if each in SUITES]
            if suites and name.startswith("Test"):
                said: dict[str, Any] = {}
                for each in reversed([each for each in lineage if each in classes]):
                    said.update(_literals(classes[each]))
                shown = path.relative_to(PROJECT).as_posix()
                found.append(Proof(name, shown, suites[0], _tests(classes[name]), said))
    return found


def _lineage(name: str, classes: Mapping[str, ast.ClassDef]) -> Iterator[str]:
    yield name
    for base in classes[name].bases if name in classes else ():
        if isinstance(base, ast.Name):
            yield from _lineage(base.id, classes)


def _literals(node: ast.ClassDef) -> dict[str, Any]:
    values = [each for each in node.body if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name)]
    return {
        target.id: ast.literal_eval(each.value)
        for each in values
        if isinstance(target := each.targets[0], ast.Name) and isinstance(each.value, ast.Constant | ast.Tuple)
    }


def _tests(node: ast.ClassDef) -> int:
    return sum(isinstance(each, ast.FunctionDef) and each.name.startswith("test_") for each in node.body)


def rows(folder: str) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table of one kind of backend."""
    types = KINDS[folder][1]
    proved = [proof for proof in proofs(folder) if proof.backend]
    order = {name: number for number, name in enumerate(types)}
    for proof in sorted(proved, key=lambda each: order.get(_type(each.backend), len(order))):
        without = [words for name, words in LIMITS.items() if proof.said.get(name) is False]
        yield (
            f"`{_type(proof.backend)}`{proof.backend.removeprefix(_type(proof.backend))}",
            "an emulator" if proof.said.get("emulated") else "the real one",
            str(proof.said["runs_on"]).format_map(_Versions()),
            _how(proof),
            ", ".join(without) or "-",
            ", ".join(proof.said.get("written_for", ())) or "-",
        )
    tested = {_type(proof.backend) for proof in proved}
    for name, backend in types.items():
        twins = [each for each in tested if types.get(each) == backend]
        if name not in tested:
            how = f"another name of `{twins[0]}`" if twins else "only compiled: no test runs it"
            yield f"`{name}`", "-", "-", how, "-", "-"


def _type(backend: str) -> str:
    return backend.partition(",")[0]


def _how(proof: Proof) -> str:
    if proof.suite is Conformance:
        return f"{proof.own_tests} tests of its own ([{proof.name}](../{proof.path}))"
    return f"the suite ([{proof.name}](../{proof.path}))"


class _Versions(dict[str, str]):
    """Packages with the version that uv.lock has of them."""

    def __missing__(self, name: str) -> str:
        return f"{name} {_locked()[name]}"


@functools.cache
def _locked() -> Mapping[str, str]:
    packages = tomllib.loads((PROJECT / "uv.lock").read_text())["package"]
    return {package["name"]: package.get("version", "") for package in packages}


def suite_sizes() -> str:
    """Return how many tests each suite has."""
    shown = {"engines": OfflineEngineSuite, "online stores": OnlineStoreSuite, "registries": RegistrySuite}
    counts = {what: sum(name.startswith("test_") for name in dir(suite)) for what, suite in shown.items()}
    return " and ".join(f"{count} tests for {what}" for what, count in counts.items())
