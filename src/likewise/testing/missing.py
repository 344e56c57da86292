"""What becomes of tests whose server is not installed: they are skipped with the reason, and in CI they fail.

A pytest plugin: ``pytest_plugins = ["likewise.testing.missing"]`` in a ``conftest.py``. A test, or a fixture, starts a
server (:class:`~likewise.testing.postgres_process.PostgresProcess` …) as if it were there; where its program is not,
:class:`~likewise.testing.server_process.ServerMissing` skips the test. Where the environment variable ``CI`` is set
it does not, so that a test run that counts is whole. A fault that the machine does not allow, such as a small disk for
a user without rights, skips the test anywhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from likewise.core.errors import BackendMissing
from likewise.testing.disk import MachineRefuses
from likewise.testing.server_process import ServerMissing

try:
    import pytest
except ImportError as missing:
    raise BackendMissing("the suites need pytest", cure='pip install "likewise[testing]"') from missing

__all__ = ["pytest_runtest_call", "pytest_runtest_setup"]


@contextmanager
def _skipping() -> Iterator[None]:
    try:
        yield
    except MachineRefuses as refusal:
        pytest.skip(str(refusal))
    except ServerMissing as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Iterator[None]:
    """Skip a test whose fixture lacks its server."""
    with _skipping():
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """Skip a test that starts a server which is not there."""
    with _skipping():
        yield
