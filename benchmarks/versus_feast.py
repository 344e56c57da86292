"""Likewise beside Feast: the same program under both, in one run.

`python -m benchmarks.versus_feast [--rows 2000000 --entities 100000 --spine 200000] [--smoke]` makes a virtual
environment with the newest Feast below `.benchmarks/`, runs `benchmarks/feast_program.py` under Feast's default store,
under Feast's DuckDB store and under Likewise, and prints the ratios and what each answered.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = Path(__file__).with_name("feast_program.py")
VENV = ROOT / ".benchmarks" / "feast"


def feast_python() -> Path:
    """Return a Python that has the newest Feast; its environment is made when it is missing."""
    python = VENV / "bin" / "python"
    if not python.exists():
        print("making an environment with the newest Feast …", file=sys.stderr)
        subprocess.run([str(ROOT / "tools" / "uv"), "venv", "-q", str(VENV)], check=True)
        command = [str(ROOT / "tools" / "uv"), "pip", "install", "-q", "--python", str(python), "feast[duckdb]"]
        subprocess.run(command, check=True)
    return python


def run(command: list[str], sizes: list[int], offline: str, online: str, now: str) -> dict[str, Any]:
    """Run the program once, and return what it printed."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [*command, folder, *map(str, sizes), offline, online]
        environment = {**os.environ, "LIKEWISE_NOW": now, "FEAST_USAGE": "False"}
        done = subprocess.run(arguments, capture_output=True, text=True, env=environment, timeout=1800, check=False)
        if done.returncode:
            said = done.stderr.strip().splitlines()
            return {"failed": said[-1] if said else f"exit {done.returncode}"}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main(argv: list[str] | None = None) -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--entities", type=int, default=100_000)
    parser.add_argument("--spine", type=int, default=200_000)
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, Likewise only")
    asked = parser.parse_args(argv)
    sizes = [2_000, 100, 500] if asked.smoke else [asked.rows, asked.entities, asked.spine]
    ours = [sys.executable, "-m", "likewise", "run", str(PROGRAM)]
    now = "2024-03-01T00:00:00Z"
    results = {"Likewise (duckdb, lmdb)": run(ours, sizes, "duckdb", "lmdb", now)}
    if not asked.smoke:
        theirs = [str(feast_python()), str(PROGRAM)]
        results["Feast (default store, sqlite)"] = run(theirs, sizes, "file", "sqlite", now)
        results["Feast (duckdb, sqlite)"] = run(theirs, sizes, "duckdb", "sqlite", now)
    report(results)


def report(results: dict[str, dict[str, Any]]) -> None:
    """Print seconds, ratios to ours, and the facts."""
    (_, ours), *_ = results.items()
    if "failed" in ours:
        raise SystemExit(f"Likewise failed: {ours['failed']}")
    for name, result in results.items():
        print(f"\n{name}")
        if "failed" in result:
            print(f"  failed: {result['failed']}")
            continue
        for job, seconds in result["seconds"].items():
            print(f"  {job:<22} {seconds:>10.5f} s   {seconds / ours['seconds'][job]:>7.1f} x ours")
        for fact, value in result["facts"].items():
            print(f"  {fact:<22} {value}")


if __name__ == "__main__":
    main()
