"""Refunds that may be fraud: a batch pipeline, a service that scores requests, and rows that are pushed in between.

Run it with `python refunds.py`.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from likewise import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    PushSource,
    RequestSource,
    ValueType,
    on_demand_feature_view,
)
from likewise.types import Float64, Int64

REPO = Path("refunds_repo")
NOW = datetime.now(UTC).replace(microsecond=0)

buyer = Entity(name="buyer", join_keys=["buyer_id"], value_type=ValueType.INT64)
history = FeatureView(
    name="refund_history",
    entities=[buyer],
    ttl=timedelta(days=90),
    schema=[
        Field(name="refunds_30d", dtype=Int64),
        Field(name="refunded_30d", dtype=Float64),
        Field(name="largest_30d", dtype=Float64),
    ],
    source=FileSource(path="data/history.parquet", timestamp_field="event_timestamp"),
)
live = FeatureView(
    name="refunds_now",
    entities=[buyer],
    ttl=timedelta(hours=1),
    schema=[Field(name="refunds_1h", dtype=Int64)],
    source=PushSource(
        name="refunds_live", batch_source=FileSource(path="data/live/", name="live", timestamp_field="event_timestamp")
    ),
)
asked = RequestSource(name="refund", schema=[Field(name="amount", dtype=Float64)])


@on_demand_feature_view(
    sources=[history, asked], schema=[Field(name="amount_to_largest", dtype=Float64)], mode="python"
)
def refund_ratios(inputs: dict[str, list[float]]) -> dict[str, list[float]]:
    """Compare a refund with the buyer's largest one."""
    pairs = zip(inputs["amount"], inputs["largest_30d"], strict=True)
    return {"amount_to_largest": [amount / largest if largest else 1.0 for amount, largest in pairs]}


refund_v1 = FeatureService(name="refund_v1", features=[history, live, refund_ratios])


class RefundPipeline:
    """The nightly job: windows over raw refunds, one row a buyer."""

    def __init__(self, refunds: pd.DataFrame) -> None:
        self.refunds = refunds

    def run(self, at: datetime) -> pd.DataFrame:
        window = self.refunds[(self.refunds["at"] > at - timedelta(days=30)) & (self.refunds["at"] <= at)]
        rows = window.groupby("buyer_id")["amount"].agg(["count", "sum", "max"]).reset_index()
        rows.columns = ["buyer_id", "refunds_30d", "refunded_30d", "largest_30d"]
        return rows.assign(event_timestamp=at)


class RefundScorer:
    """The service: reads the features of one request and says how odd it is."""

    def __init__(self, store: FeatureStore) -> None:
        self.store = store

    def score(self, buyer_id: int, amount: float) -> float:
        row = {"buyer_id": buyer_id, "amount": amount}
        answer = self.store.get_online_features("refund_v1", [row]).to_dict()
        recent = answer["refunds_1h"][0] or 0
        return round(answer["amount_to_largest"][0] + 0.5 * recent, 3)


def make_repo() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    refunds = pd.DataFrame(
        {
            "buyer_id": rng.integers(1, 41, 800),
            "at": [NOW - timedelta(minutes=int(minutes)) for minutes in rng.integers(1, 60 * 1440, 800)],
            "amount": rng.uniform(2, 300, 800).round(2),
        }
    )
    (REPO / "data" / "live").mkdir(parents=True, exist_ok=True)
    pipeline = RefundPipeline(refunds)
    nights = [pipeline.run(NOW - timedelta(days=day)) for day in range(20, -1, -1)]
    pd.concat(nights).to_parquet(REPO / "data" / "history.parquet", index=False)
    started = pd.DataFrame({"buyer_id": [1], "event_timestamp": [NOW - timedelta(days=1)], "refunds_1h": [0]})
    started.to_parquet(REPO / "data" / "live" / "started.parquet", index=False)
    (REPO / "feature_store.yaml").write_text("project: refunds\nprovider: local\nregistry: data/registry.db\n")
    return refunds


def main() -> None:
    refunds = make_repo()
    with FeatureStore(repo_path=REPO) as store:
        store.apply([buyer, history, live, refund_ratios, refund_v1])
        store.materialize_incremental(end_date=NOW)
        scorer = RefundScorer(store)
        largest = refunds[(refunds["buyer_id"] == 5) & (refunds["at"] > NOW - timedelta(days=30))]["amount"].max()
        print(f"as large as the largest so far: {scorer.score(5, largest)}")

        pushed = pd.DataFrame({"buyer_id": [5], "event_timestamp": [NOW], "refunds_1h": [4]})
        store.push("refunds_live", pushed)
        print(f"and the fifth within the hour: {scorer.score(5, largest)}")
        store.push("refunds_live", pushed.assign(event_timestamp=NOW - timedelta(minutes=5), refunds_1h=99))
        print(f"an older row changes nothing: {scorer.score(5, largest)}")

        ages = store.get_online_features(["refunds_now"], [{"buyer_id": 5}], as_of=NOW + timedelta(hours=2)).to_dict()
        print(f"two hours later it has expired: {ages['refunds_1h']}")

        labels = pd.DataFrame(
            {
                "buyer_id": [5, 6, 5],
                "event_timestamp": [NOW - timedelta(days=day) for day in (3, 3, 100)],
                "amount": [10.0, 20.0, 30.0],
                "was_fraud": [0, 1, 0],
            }
        )
        training = store.get_historical_features(labels, [refund_v1]).to_df()
        print(f"training set: {training.shape[0]} rows, {training['refunds_30d'].notna().sum()} with a history")


if __name__ == "__main__":
    main()
