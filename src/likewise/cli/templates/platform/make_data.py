"""Makes the files in data/: 120 days of 150 accounts. `python make_data.py` renews them.

base_data holds what hardly changes, temporal_data what changes daily, entity_snapshots what is counted once a month,
and labels what the model is to foresee.
"""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

ACCOUNTS, DAYS = 150, 120
KEYS = np.array([f"acc_{number:04d}" for number in range(1, ACCOUNTS + 1)])


def make_data(folder: Path, end: datetime) -> None:
    """Write the data of the repo in ``folder``, the last of it before ``end``."""
    rng = np.random.default_rng(4)
    days = pd.date_range(end=pd.Timestamp(end).normalize(), periods=DAYS, freq="D", unit="us")
    for name in ("base_data", "temporal_data", "entity_snapshots", "labels"):
        (folder / "data" / name).mkdir(parents=True, exist_ok=True)
    _accounts(rng, days[0]).to_parquet(folder / "data" / "base_data" / "accounts.parquet", index=False)
    for month, rows in _usage(rng, days).groupby(lambda row: days[row // ACCOUNTS].strftime("%Y-%m")):
        rows.to_parquet(folder / "data" / "temporal_data" / f"usage_{month}.parquet", index=False)
    for first in days[days.is_month_start]:
        _billing(rng, first).to_parquet(
            folder / "data" / "entity_snapshots" / f"billing_{first:%Y-%m}.parquet", index=False
        )
    _upgrades(rng, days).to_parquet(folder / "data" / "labels" / "upgrades.parquet", index=False)


def _accounts(rng: np.random.Generator, start: pd.Timestamp) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "account_id": KEYS,
            "opened_at": (start - pd.to_timedelta(rng.integers(1, 900, ACCOUNTS), unit="D")).as_unit("us"),
            "country": rng.choice(["AT", "BR", "DE", "IN", "US"], ACCOUNTS),
            "plan": rng.choice(["free", "team", "business"], ACCOUNTS, p=[0.6, 0.3, 0.1]),
            "seats": rng.geometric(0.15, ACCOUNTS),
        }
    )


def _usage(rng: np.random.Generator, days: pd.DatetimeIndex) -> pd.DataFrame:
    account = np.tile(np.arange(ACCOUNTS), len(days))
    calls = rng.poisson(rng.gamma(1.2, 400.0, ACCOUNTS)[account])
    return pd.DataFrame(
        {
            "account_id": KEYS[account],
            "event_timestamp": np.repeat(days, ACCOUNTS),
            "created_timestamp": np.repeat(days + pd.Timedelta(minutes=35), ACCOUNTS),
            "active_users_7d": rng.poisson(rng.gamma(2.0, 4.0, ACCOUNTS)[account]),
            "calls_7d": calls,
            "error_share_7d": rng.binomial(calls, 0.01) / np.maximum(calls, 1),
        }
    )


def _billing(rng: np.random.Generator, first: pd.Timestamp) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "account_id": KEYS,
            "snapshot_at": first,
            "paid_last_month": rng.choice([0.0, 49.0, 490.0], ACCOUNTS, p=[0.6, 0.3, 0.1]),
            "pays_late": rng.random(ACCOUNTS) < 0.08,
        }
    )


def _upgrades(rng: np.random.Generator, days: pd.DatetimeIndex) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "account_id": rng.choice(KEYS, 300),
            "event_timestamp": rng.choice(days[30:].to_numpy(), 300),
            "upgraded": (rng.random(300) < 0.2).astype("int64"),
        }
    )


if __name__ == "__main__":
    make_data(Path(__file__).parent, datetime.now(UTC))
