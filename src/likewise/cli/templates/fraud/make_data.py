"""Makes raw payments and labels, and runs the nightly job on them. `python make_data.py` renews all files in data/."""

import runpy
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

CARDS, MERCHANTS, DAYS, PAYMENTS = 150, 60, 60, 12_000


def make_data(folder: Path, end: datetime) -> None:
    """Write the data of the repo in ``folder``, the last of it before ``end``."""
    rng = np.random.default_rng(6)
    payments = _payments(rng, pd.Timestamp(end).floor("min"))
    (folder / "data" / "card_last_hour").mkdir(parents=True, exist_ok=True)
    payments.drop(columns="is_fraud").to_parquet(folder / "data" / "raw_payments.parquet", index=False)
    _last_hour(payments).to_parquet(folder / "data" / "card_last_hour" / "history.parquet", index=False)
    _labels(payments).to_parquet(folder / "data" / "fraud_labels.parquet", index=False)
    job = runpy.run_path(str(folder / "pipelines" / "batch_features.py"))
    job["build_history"](folder, end)


def _payments(rng: np.random.Generator, end: pd.Timestamp) -> pd.DataFrame:
    ago = np.sort(rng.integers(1, DAYS * 86_400, PAYMENTS))[::-1]
    fraud = rng.random(PAYMENTS) < 0.01
    return pd.DataFrame(
        {
            "card_id": rng.integers(1, CARDS + 1, PAYMENTS),
            "merchant_id": rng.integers(1, MERCHANTS + 1, PAYMENTS),
            "paid_at": (end - pd.to_timedelta(ago, unit="s")).as_unit("us"),
            "amount": (rng.lognormal(3.2, 0.8, PAYMENTS) * np.where(fraud, 4.0, 1.0)).round(2),
            "declined": (rng.random(PAYMENTS) < np.where(fraud, 0.3, 0.02)).astype("int64"),
            "is_fraud": fraud.astype("int64"),
        }
    )


def _last_hour(payments: pd.DataFrame) -> pd.DataFrame:
    """Return what would have been pushed right after each payment."""
    by_card = payments.sort_values(["card_id", "paid_at"]).set_index("paid_at")
    hours = by_card.groupby("card_id")[["amount", "declined"]].rolling("1h")
    sums, counts = hours.sum(), hours.count()
    return pd.DataFrame(
        {
            "card_id": by_card["card_id"].to_numpy(),
            "event_timestamp": by_card.index + pd.Timedelta(seconds=1),
            "payments_1h": counts["amount"].to_numpy().astype("int64"),
            "spent_1h": sums["amount"].to_numpy().round(2),
            "declined_1h": sums["declined"].to_numpy().astype("int64"),
        }
    ).sort_values("event_timestamp")


def _labels(payments: pd.DataFrame) -> pd.DataFrame:
    known = payments.iloc[len(payments) // 2 : -len(payments) // 10]
    return known[["card_id", "paid_at", "is_fraud"]].rename(columns={"paid_at": "event_timestamp"})


if __name__ == "__main__":
    make_data(Path(__file__).parent, datetime.now(UTC))
