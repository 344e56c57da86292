import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(folder: Path, *command: str) -> str:
    """Run an example in a copy of the folder of examples; return what it printed."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """Return a copy of the examples."""
    return Path(shutil.copytree(EXAMPLES, tmp_path / "examples"))


def test_subscribers(examples):
    """A model is trained and served on one definition of its features; every label keeps its row."""
    printed = run(examples, "subscribers/run.py")
    assert "applied catalog 1: support, viewing, viewing_ratios\n" in printed
    assert "training set: 300 rows in the order of the labels, 300 with viewing known at the time\n" in printed
    assert printed.count("risk 0.") == 2


def test_steps(examples):
    """A notebook written for Feast runs with one import on top, and under `likewise run` without it."""
    expected = ["applied: ['daily_steps']", "known on day three: True", "served: True None"]
    lines = run(examples, "steps.py").splitlines()
    assert [line for line in lines if line in expected] == expected
    assert "known before the first day: nan" in lines or "known before the first day: <NA>" in lines

    program = (examples / "steps.py").read_text(encoding="utf-8")
    plain = "".join(line for line in program.splitlines(keepends=True) if "as_feast" not in line)
    (examples / "plain.py").write_text(plain, encoding="utf-8")
    shutil.rmtree(examples / "steps_repo")
    assert run(examples, "-m", "likewise", "run", "plain.py").splitlines() == lines


def test_refunds(examples):
    """Pushed rows count at once, older ones never do, and a value past its ttl is null."""
    lines = run(examples, "refunds.py").splitlines()
    assert lines == [
        "as large as the largest so far: 1.0",
        "and the fifth within the hour: 3.0",
        "an older row changes nothing: 3.0",
        "two hours later it has expired: [None]",
        "training set: 3 rows, 2 with a history",
    ]


def test_customers(examples):
    """Windows are what one computes by hand: in training, back-filled, pushed in any order and twice, and emptied."""
    assert run(examples, "customers/run.py").splitlines() == [
        "training set: 100 moments, 500 values as by hand",
        "before the back-fill: NOT_FOUND",
        "back-filled: 100 values as by hand",
        "pushed in any order, twice: 60 of 60 payments in the last hour",
        "in the last twelve buckets: 55",
        "an hour later: 0, and nobody pushed anything",
    ]


@pytest.mark.skipif(os.name != "posix", reason="steps.sh is for a POSIX shell")
def test_library(examples):
    """Feast's commands, typed in a shell, build a repo of several modules and serve from it."""
    printed = run(examples / "library", "-m", "likewise", "run", "bash", "steps.sh")
    assert "reader_genre" in printed
    assert "as the files say: True\n" in printed
    ranked = next(line for line in printed.splitlines() if line.startswith("for reader 4: "))
    assert sorted(ranked.removeprefix("for reader 4: ").split(", ")) == ["crime", "poetry", "travel"]
