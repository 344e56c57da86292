"""All benchmarks, one after the other: `make bench`, or `python -m benchmarks [NAME …] [--smoke]`."""

from __future__ import annotations

import argparse
import subprocess
import sys

NAMES = (
    "startup",
    "apply",
    "sdk",
    "online",
    "push",
    "redis",
    "serve",
    "serve_redis",
    "stores",
    "training",
    "windows",
    "versus_feast",
)


def main() -> None:
    """Run each benchmark in a process of its own, so that one's memory is not another's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which; all by default: {', '.join(NAMES)}")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, to see that they run")
    asked = parser.parse_args()
    for name in asked.names or NAMES:
        print(f"\n== {name}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *(["--smoke"] if asked.smoke else [])], check=True)


if __name__ == "__main__":
    main()
