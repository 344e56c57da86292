"""What it costs to start: CPU time of `import likewise` and `likewise --help` beside `import duckdb`, in one run.

`python -m benchmarks.startup [--rounds 15] [--smoke]` runs each in a process of its own, in turns, and prints
medians and ratios of user + system time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

COMMANDS = {
    "import duckdb": ["-c", "import duckdb"],
    "import likewise": ["-c", "import likewise"],
    "from likewise import FeatureStore": ["-c", "from likewise import FeatureStore"],
    "likewise --help": ["-m", "likewise", "--help"],
}


def cpu_seconds(arguments: list[str]) -> float:
    """Return the CPU time of one Python process."""
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{arguments} failed with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def main(argv: list[str] | None = None) -> None:
    """Print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--smoke", action="store_true", help="one round, to see that it runs")
    asked = parser.parse_args(argv)
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(1 if asked.smoke else asked.rounds):
        for name, arguments in COMMANDS.items():
            times[name].append(cpu_seconds(arguments))
    base = statistics.median(times["import duckdb"])
    for name, found in times.items():
        print(
            f"{name:<36}{statistics.median(found):>8.3f} s CPU{statistics.median(found) / base:>8.2f} x import duckdb"
        )


if __name__ == "__main__":
    main()
