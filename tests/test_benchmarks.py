"""Benchmarks: each runs once here, at tiny sizes, so that none of them rots."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "benchmarks"
PARTS = {"__init__", "__main__", "measure", "feast_program", "http_load", "serve_features"}
NAMES = sorted(file.stem for file in FOLDER.glob("*.py") if file.stem not in PARTS)


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_runs_and_prints_its_figures(name: str) -> None:
    """At smoke size it ends well and prints something measured."""
    command = [sys.executable, "-m", f"benchmarks.{name}", "--smoke"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    assert any(character.isdigit() for character in done.stdout)


def test_make_bench_runs_every_benchmark() -> None:
    """The list of all benchmarks is complete."""
    sys.path.insert(0, str(ROOT))
    from benchmarks.__main__ import NAMES as listed

    assert sorted(listed) == NAMES
