"""Makes data/readings.parquet: hourly readings of five machines over the last week. `python make_data.py` renews it."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

HOURS, MACHINES = 7 * 24, 5


def make_data(folder: Path, end: datetime) -> None:
    """Write the data of the repo in ``folder``, the last of it at the full hour before ``end``."""
    rng = np.random.default_rng(1)
    hours = pd.date_range(end=pd.Timestamp(end).floor("h"), periods=HOURS, freq="h", unit="us")
    machine = np.tile(np.arange(1, MACHINES + 1), HOURS)
    worn = machine * 900 + np.repeat(np.arange(HOURS), MACHINES)
    table = pd.DataFrame(
        {
            "machine_id": machine,
            "event_timestamp": np.repeat(hours, MACHINES),
            "hours_run": worn,
            "temperature": (55 + worn / 500 + rng.normal(0, 2, len(worn))).round(1),
            "vibration": (0.2 + worn / 9000 + rng.gamma(2, 0.05, len(worn))).round(3),
        }
    )
    (folder / "data").mkdir(exist_ok=True)
    table.to_parquet(folder / "data" / "readings.parquet", index=False)


if __name__ == "__main__":
    make_data(Path(__file__).parent, datetime.now(UTC))
