"""The page of guarantees names tests that exist, and names each guarantee."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "guarantees.md"
SUITES = TESTS.parent / "src" / "likewise" / "testing"


def names_in(file: Path) -> set[str]:
    """Return the names of a file's tests, and of those of its classes as ``Class::test``."""
    found = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
    return found


def test_every_test_that_the_page_names_is_there():
    """Each ``file::test`` and each test of a suite stands where the page says, and none of T1 to T38 is left out."""
    text = PAGE.read_text()
    named = re.findall(r"([\w/]+\.py)::(test_\w+)", text)
    assert len(named) > 50
    assert [f"{file}::{name}" for file, name in named if name not in names_in(TESTS / file)] == []
    offered = set().union(*map(names_in, SUITES.glob("*.py")))
    assert [name for name in re.findall(r"suite (\w+::test_\w+)", text) if name not in offered] == []
    told = {int(number) for number in re.findall(r"\bT(\d+)\b", text)}
    for first, last in re.findall(r"\bT(\d+)-T(\d+)\b", text):
        told |= set(range(int(first), int(last) + 1))
    assert told == set(range(1, 39))
