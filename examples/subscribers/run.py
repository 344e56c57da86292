"""Foresee who will leave: from raw data to a score, with one definition of every feature.

Run it with `python run.py`; it makes its data beside itself.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from likewise import FeatureStore

HERE = Path(__file__).parent
NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
FEATURES = ["hours_30d", "idle_days", "tickets", "hours_per_title"]


def make_data(subscribers: int = 300, days: int = 40) -> pd.DataFrame:
    """Write what two nightly jobs would have written, and return who left."""
    rng = np.random.default_rng(11)
    fondness = rng.gamma(2.0, 10.0, subscribers)
    viewing = [
        {
            "subscriber_id": subscriber,
            "event_timestamp": NOW - timedelta(days=day),
            "created_timestamp": NOW - timedelta(days=day, hours=-1),
            "hours_30d": round(float(fondness[subscriber] * rng.uniform(0.7, 1.3)), 2),
            "titles_30d": int(rng.integers(0, 12)),
            "idle_days": int(rng.poisson(30 / (1 + fondness[subscriber]))),
            "plan": ("basic", "family")[subscriber % 2],
        }
        for day in range(days)
        for subscriber in range(subscribers)
    ]
    closed = rng.integers(0, days, subscribers)
    support = pd.DataFrame(
        {
            "subscriber_id": range(subscribers),
            "closed_at": [NOW - timedelta(days=int(day)) for day in closed],
            "tickets": rng.poisson(1.5, subscribers),
        }
    )
    (HERE / "data").mkdir(exist_ok=True)
    pd.DataFrame(viewing).to_parquet(HERE / "data" / "viewing.parquet", index=False)
    support.to_parquet(HERE / "data" / "support.parquet", index=False)
    return pd.DataFrame(
        {
            "subscriber_id": range(subscribers),
            "event_timestamp": [NOW - timedelta(days=int(day)) for day in rng.integers(1, days, subscribers)],
            "left": (fondness < np.median(fondness)).astype(int),
        }
    )


class ChurnModel:
    """A model that reads its own features: what it was trained on is what it is served."""

    def __init__(self, store: FeatureStore) -> None:
        self.store = store
        self.model = LogisticRegression(max_iter=1000)

    def train(self, labels: pd.DataFrame) -> pd.DataFrame:
        training = self.store.get_historical_features(labels, ["churn_v1"]).to_df()
        self.model.fit(training[FEATURES].fillna(0), training["left"])
        return training

    def predict(self, subscriber_id: int) -> dict[str, float]:
        answer = self.store.get_online_features(["churn_v1"], [{"subscriber_id": subscriber_id}]).to_dict()
        values = {name: float(answer[name][0] or 0) for name in FEATURES}
        frame = pd.DataFrame([values])
        return {**values, "risk": float(self.model.predict_proba(frame)[0, 1])}


def main() -> None:
    labels = make_data()
    store = FeatureStore(repo_path=HERE)
    applied = store.apply([])
    print(
        f"applied catalog {applied.catalog}: {', '.join(sorted(view.name for view in store.list_all_feature_views()))}"
    )

    model = ChurnModel(store)
    training = model.train(labels)
    known = int(training[FEATURES[:2]].notna().all(axis=1).sum())
    print(f"training set: {len(training)} rows in the order of the labels, {known} with viewing known at the time")
    print(f"accuracy on them: {model.model.score(training[FEATURES].fillna(0), training['left']):.2f}")

    store.materialize_incremental(end_date=NOW)
    for subscriber_id in (3, 4):
        result = model.predict(subscriber_id)
        print(f"subscriber {subscriber_id}: " + ", ".join(f"{name} {value:.2f}" for name, value in result.items()))


if __name__ == "__main__":
    main()
