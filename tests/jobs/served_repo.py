"""A repo whose answers are logged: rows with and without created times, pushes, windows and on-demand functions."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from likewise import FeatureStore
from likewise.jobs.served import ServedAnswer, ServedKind, served_rows, write_served
from likewise.plan.materialize import plan_materialize
from likewise.registry.watermarks import read_watermark

CONFIG = """
project: shop
registry: {path: data/registry.db, cache_ttl_seconds: 0.2}
online_store: {type: lmdb, path: data/online, map_size: 1073741824}
"""
FEATURES = '''
from datetime import timedelta
from pathlib import Path

from likewise import Aggregation, Entity, FeatureService, FeatureView, Field, FileLoggingDestination, FileSource
from likewise import LoggingConfig, PushSource, RequestSource, StreamFeatureView, ValueType, on_demand_feature_view
from likewise.types import Float64, Int64

card = Entity(name="card", join_keys=["card_id"], value_type=ValueType.INT64)
limits = PushSource(name="limits", batch_source=FileSource(
    name="limit_files", path="data/limits", timestamp_field="at", created_timestamp_column="written"))
limit = FeatureView(name="card_limit", entities=[card], ttl=timedelta(days=7), schema=[Field("limit", Int64)],
                    source=limits)
scores = FileSource(name="score_file", path="data/scores.parquet", timestamp_field="at")
score = FeatureView(name="card_score", entities=[card], schema=[Field("score", Float64)], source=scores)
payments = PushSource(name="payments", batch_source=FileSource(
    name="payment_files", path="data/payments", timestamp_field="at", created_timestamp_column="written"))
spending = StreamFeatureView(
    name="spending", source=payments, entities=[card],
    aggregations=[
        Aggregation("amount", "sum", timedelta(days=7), name="spent_7d"),
        Aggregation("amount", "count", timedelta(days=7), name="count_7d"),
        Aggregation("amount", "mean", timedelta(hours=1), name="mean_1h"),
    ],
)
asked = RequestSource(name="asked", schema=[Field("amount_asked", Float64)])


@on_demand_feature_view(sources=[limit, score, asked], schema=[Field("room", Float64)], mode="python")
def room(inputs):
    """What is left of the limit."""
    given = zip(inputs["limit"], inputs["score"], inputs["amount_asked"])
    return {"room": [None if l is None or s is None else l * s - a for l, s, a in given]}


@on_demand_feature_view(sources=[spending], schema=[Field("share", Float64)], mode="python")
def share(inputs):
    """How much of a week's sum an average payment is."""
    return {"share": [m / s if m and s else None for m, s in zip(inputs["mean_1h"], inputs["spent_7d"])]}


log = LoggingConfig(FileLoggingDestination(path="data/served"))
everything = FeatureService(name="cards_v1", features=[limit, score, spending, room, share], logging_config=log)
'''
CARDS = list(range(40))
SERVICE = "cards_v1"


def times(moments: list[datetime]) -> pa.Array:
    """Return a column of times."""
    return pa.array(moments, pa.timestamp("us", "UTC"))


def make_shop(folder: Path, now: datetime | None = None, amount: float = 0.7) -> Path:
    """Write the repo and its history up to an hour ago, apply it, and fill its online store."""
    now = datetime.now(UTC) if now is None else now
    for name in ("limits", "payments"):
        (folder / "data" / name).mkdir(parents=True)
    (folder / "feature_store.yaml").write_text(CONFIG)
    (folder / "features.py").write_text(FEATURES)
    old = [now - timedelta(hours=1 + card % 30, minutes=card) for card in CARDS]
    older = [at - timedelta(days=1 + 9 * (card % 2)) for at, card in zip(old, CARDS, strict=True)]
    rows = {"card_id": CARDS * 2, "at": times(old + older), "written": times(old + older)}
    known = pa.table({**rows, "limit": [100 + card for card in CARDS] * 2})
    pq.write_table(known.filter(pa.array([card % 5 != 0 for card in CARDS * 2])), folder / "data/limits/first.parquet")
    amounts = [0.1 * card + amount for card in CARDS] * 2
    pq.write_table(pa.table({**rows, "amount": amounts}), folder / "data/payments/first.parquet")
    scored = {"card_id": CARDS, "at": times(old), "score": [1 / (3 + card) for card in CARDS]}
    pq.write_table(pa.table(scored), folder / "data/scores.parquet")
    with FeatureStore(folder) as store:
        store.apply()
        store.materialize_incremental(store.clock.now())
    return folder


def log_read(
    store: FeatureStore, cards: Sequence[int], asked: tuple[str, ...] = (SERVICE,), as_of: int | None = None
) -> None:
    """Read some cards, and log the answer as the server does."""
    answered = store.clock.now()
    marks = {}
    for view in store.definitions.views.values():
        mark = read_watermark(store.registry.side, store.project, view.name)
        if (
            mark.intervals
            and mark.definition == plan_materialize(store.project, view, str(store.repo_path), 0, 0).definition
        ):
            marks[view.name] = mark.intervals[-1]
    rows: dict[str, list[Any]] = {"card_id": list(cards), "amount_asked": [1.5] * len(cards)}
    now = answered if as_of is None else as_of

    def use(lookup: Any) -> None:
        kind = ServedKind.of(lookup.plan, store.project, asked, asked[0] if asked == (SERVICE,) else "")
        request = [rows[name] for name, _ in kind.request]
        answer = ServedAnswer("request-1", now, answered, lookup.read(rows, now), request)
        write_served(served_rows(kind, [answer], marks), kind, store.repo_path / "data/served")

    store.with_lookup(asked, False, use)
