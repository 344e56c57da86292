"""Makes the files in data/: half a year of card payments up to today. `python make_data.py` renews them.

`likewise.cli.world` says what is in each file; `likewise demo` makes a larger world and trains a model on it.
"""

from datetime import UTC, datetime
from pathlib import Path

from likewise.cli.world import write_world

PAYMENTS, SEED = 20_000, 7


def make_data(folder: Path, end: datetime) -> None:
    """Write the data of the repo in ``folder``, the last of it before the midnight before ``end``."""
    write_world(folder / "data", PAYMENTS, SEED, end)


if __name__ == "__main__":
    make_data(Path(__file__).parent, datetime.now(UTC))
