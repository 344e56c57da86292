"""Tests of the features; run them with `python -m pytest` in the repo's folder."""

from pathlib import Path

import pandas as pd
from features.customer_features import customer_signals

from likewise import FeatureStore

REPO = Path(__file__).parents[1]


def test_signals_follow_from_habits() -> None:
    """A customer who has not ordered for two months is lapsing."""
    habits = pd.DataFrame({"orders_90d": [6, 0], "months_with_us": [12, 1], "days_since_order": [3, 61]})
    signals = customer_signals(habits)
    assert signals["orders_per_month"].tolist() == [2.0, 0.0]
    assert signals["is_lapsing"].tolist() == [0, 1]


def test_every_label_gets_its_features() -> None:
    """The training set has a row for each label, in the same order."""
    labels = pd.read_parquet(REPO / "data" / "labels.parquet")
    training = FeatureStore(repo_path=REPO).get_historical_features(labels, features="churn_v1").to_df()
    assert training["customer_id"].tolist() == labels["customer_id"].tolist()
    assert training["orders_90d"].notna().all()
