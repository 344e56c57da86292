"""What the program that trains the model calls."""

from pathlib import Path

import pandas as pd

from likewise import FeatureStore

REPO = Path(__file__).parents[1]


def training_data(repo: Path = REPO) -> pd.DataFrame:
    """Return every label with the features as they were at its time."""
    labels = pd.read_parquet(repo / "data" / "fraud_labels.parquet")
    store = FeatureStore(repo_path=repo)
    return store.get_historical_features(
        entity_df=labels[["card_id", "event_timestamp", "is_fraud"]],
        features="card_fraud_v1",
    ).to_df()
