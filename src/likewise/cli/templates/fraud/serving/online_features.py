"""What the program that decides on payments calls."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from likewise import FeatureStore

REPO = Path(__file__).parents[1]
SERVICE = "card_fraud_v1"


class OnlineFeatures:
    """The features of cards as they are now.

    Args:
        repo: the folder of the feature repo.
    """

    def __init__(self, repo: Path = REPO) -> None:
        self.store = FeatureStore(repo_path=repo)

    def vectors(self, cards: list[int]) -> np.ndarray:
        """Return one row of features per card, in the order of the service; NaN where there is none."""
        answer = self.store.get_online_features(features=SERVICE, entity_rows=[{"card_id": card} for card in cards])
        return answer.to_df().drop(columns="card_id").to_numpy(dtype="float64", na_value=np.nan)

    def tell(self, card: int, payments: int, spent: float, declined: int) -> None:
        """Say what a card did in the last hour; the next call of ``vectors`` knows it."""
        row = {"card_id": card, "payments_1h": payments, "spent_1h": spent, "declined_1h": declined}
        self.store.push("card_events", pd.DataFrame([{**row, "event_timestamp": datetime.now(UTC)}]))
