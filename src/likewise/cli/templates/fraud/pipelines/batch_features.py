"""The nightly job: from raw payments to data/card_history.parquet. `python pipelines/batch_features.py` runs it."""

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

REPO = Path(__file__).parents[1]


def history_at(payments: pd.DataFrame, midnight: pd.Timestamp) -> pd.DataFrame:
    """Return one row per card over the 30 days before a midnight; what happens at it or later does not count."""
    recent = payments[payments["paid_at"].between(midnight - pd.Timedelta(days=30), midnight, inclusive="left")]
    rows = recent.groupby("card_id").agg(
        payments_30d=("amount", "size"),
        mean_amount_30d=("amount", "mean"),
        max_amount_30d=("amount", "max"),
        merchants_30d=("merchant_id", "nunique"),
    )
    last_week = recent[recent["paid_at"] >= midnight - pd.Timedelta(days=7)]
    rows["payments_7d"] = last_week.groupby("card_id").size().reindex(rows.index, fill_value=0)
    return rows.reset_index().assign(event_timestamp=midnight)


def build_history(folder: Path, written: datetime) -> None:
    """Compute the history of each night and write it as one file.

    Args:
        folder: the repo.
        written: when the rows count as written, for those that do not say so themselves.
    """
    payments = pd.read_parquet(folder / "data" / "raw_payments.parquet")
    first, last = payments["paid_at"].min().ceil("D"), pd.Timestamp(written).floor("D")
    nights = [history_at(payments, night) for night in pd.date_range(first, last, freq="D", unit="us")]
    history = pd.concat(nights, ignore_index=True)
    history["created_timestamp"] = history["event_timestamp"] + pd.Timedelta(minutes=30)
    history.to_parquet(folder / "data" / "card_history.parquet", index=False)


if __name__ == "__main__":
    build_history(REPO, datetime.now(UTC))
