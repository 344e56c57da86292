"""Makes data/user_activity.parquet: 90 days of 200 users. `python make_data.py` renews it."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

USERS, DAYS = 200, 90


def make_data(folder: Path, end: datetime) -> None:
    """Write the data of the repo in ``folder``, the last of it at the midnight before ``end``."""
    rng = np.random.default_rng(2)
    days = pd.date_range(end=pd.Timestamp(end).normalize(), periods=DAYS, freq="D", unit="us")
    user = np.tile(np.arange(1, USERS + 1), DAYS)
    keenness = rng.gamma(2.0, 1.5, USERS)[user - 1]
    sessions = rng.poisson(keenness)
    purchases = rng.binomial(sessions, 0.08)
    table = pd.DataFrame(
        {
            "user_id": user,
            "event_timestamp": np.repeat(days, USERS),
            "sessions": sessions,
            "minutes": (sessions * rng.gamma(2.0, 4.0, len(user))).astype("float32"),
            "pages_viewed": rng.poisson(6.0 * sessions),
            "purchases": purchases,
            "spent": (purchases * rng.lognormal(3.0, 0.6, len(user))).round(2).astype("float32"),
            "is_subscriber": (rng.random(USERS) < 0.3)[user - 1],
        }
    )
    (folder / "data").mkdir(exist_ok=True)
    table[table["sessions"] > 0].to_parquet(folder / "data" / "user_activity.parquet", index=False)


if __name__ == "__main__":
    make_data(Path(__file__).parent, datetime.now(UTC))
