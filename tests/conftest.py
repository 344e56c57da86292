"""Settings for the whole suite."""

import os
import re
from collections.abc import Callable
from typing import Any

import hypothesis
import pytest

from likewise.testing.moto_process import CREDENTIALS, MotoProcess
from likewise.testing.mysql_process import MySQLProcess
from likewise.testing.postgres_process import PostgresProcess

pytest_plugins = ["likewise.testing.missing"]

# Timings vary on shared machines, so no deadline; a failing example prints the line that reproduces it.
hypothesis.settings.register_profile("likewise", deadline=None, print_blob=True, max_examples=50)
# CI tries the same examples every time; searching for new ones is `make soak`.
hypothesis.settings.register_profile(
    "ci", deadline=None, print_blob=True, derandomize=True, database=None, max_examples=50
)
hypothesis.settings.register_profile("soak", deadline=None, print_blob=True, max_examples=5000)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "likewise")

# Settings of whoever runs the tests (a fixed clock, a repo's folder) do not reach them.
for name in [name for name in os.environ if name.startswith("LIKEWISE_") and name != "LIKEWISE_SOAK"]:
    del os.environ[name]


GUARANTEE = re.compile(r"\bT\d{1,2}\b")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that hold a guarantee, which their docstrings name: ``-k T1.`` runs those of T1."""
    for item in items:
        owners = [getattr(item, name, None) for name in ("function", "cls", "module")]
        told = next((found for owner in owners if (found := GUARANTEE.findall(owner.__doc__ or ""))), [])
        item.extra_keyword_matches.update(f"{name}." for name in told)
        if told:
            item.add_marker("guarantee")


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Give a function that notes what a test counted, which ``make soak`` prints."""

    def note(**counts: int) -> None:
        record_property("figures", counts)

    return note


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what tests have counted, in a long run."""
    if not os.environ.get("LIKEWISE_SOAK"):
        return
    terminalreporter.section("figures")
    for report in (each for kind in ("passed", "failed") for each in terminalreporter.stats.get(kind, ())):
        found = [value for name, value in report.user_properties if name == "figures"]
        cases = [
            sum(map(int, re.findall(r"(\d+) (?:passing|failing) examples", str(value))))
            for name, value in report.user_properties
            if name.startswith("hypothesis-statistics")
        ]
        for counts in [*found, *({"cases": count} for count in cases)]:
            said = ", ".join(f"{name} {count:,}" for name, count in counts.items())
            terminalreporter.line(f"{report.outcome} {report.nodeid}: {said}, {report.duration:.0f} s")


@pytest.fixture(scope="session")
def postgres_server():
    """Give the tests of this process a PostgreSQL server, which looks for deadlocks soon."""
    with PostgresProcess(settings={"deadlock_timeout": "50ms"}) as process:
        yield process


@pytest.fixture(scope="session")
def mysql_server():
    """Give the tests of this process a MariaDB or MySQL server."""
    with MySQLProcess() as process:
        yield process


@pytest.fixture(scope="session")
def dynamo_server():
    """Give the tests of this process an emulator of DynamoDB, and whoever runs in it a login that it takes."""
    os.environ.update(CREDENTIALS)
    with MotoProcess() as process:
        yield process
