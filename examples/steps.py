"""A notebook's cells about step counters, written for Feast. One import on top makes them run on Likewise.

Run it with `python steps.py`, or take the import away and run it with `likewise run steps.py`.
"""

# %%
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

import likewise.as_feast  # noqa: F401 - from here on, feast means Likewise

# %% A week of counters, a row a day for each of 50 walkers
rng = np.random.default_rng(5)
first = datetime.now().replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=7)
days = pd.DataFrame(
    [
        {
            "walker_id": walker,
            "event_timestamp": first + timedelta(days=day),
            "steps": int(rng.integers(500, 20_000)),
            "floors": int(rng.poisson(6)),
            "resting_pulse": round(float(rng.normal(62, 5)), 1),
        }
        for day in range(7)
        for walker in range(1, 51)
    ]
)
repo = Path("steps_repo")
(repo / "data").mkdir(parents=True, exist_ok=True)
days.to_parquet(repo / "data" / "days.parquet", index=False)
print(f"{len(days)} rows from {days['event_timestamp'].min():%A} to {days['event_timestamp'].max():%A}")

# %% The repo: a configuration, and definitions as one would write them for Feast
(repo / "feature_store.yaml").write_text(
    """project: steps
registry: data/registry.db
provider: local
online_store:
  type: sqlite
  path: data/online_store.db
offline_store:
  type: file
entity_key_serialization_version: 2
"""
)
(repo / "features.py").write_text(
    """from datetime import timedelta

from feast import Entity, FeatureView, Field, FileSource
from feast.types import Float32, Int64

walker = Entity(name="walker", join_keys=["walker_id"])
daily_steps = FeatureView(
    name="daily_steps",
    entities=[walker],
    ttl=timedelta(days=3),
    schema=[
        Field(name="steps", dtype=Int64),
        Field(name="floors", dtype=Int64),
        Field(name="resting_pulse", dtype=Float32),
    ],
    source=FileSource(path="data/days.parquet", timestamp_field="event_timestamp"),
)
"""
)

# %% Apply it, and fill the online store
from feast import FeatureStore  # noqa: E402

store = FeatureStore(repo_path="steps_repo")
store.apply([])
store.materialize_incremental(end_date=first + timedelta(days=6, hours=12))
print("applied:", [view.name for view in store.list_feature_views()])

# %% A training set: what was known of three walkers when somebody asked
asked = pd.DataFrame(
    {
        "walker_id": [7, 8, 7],
        "event_timestamp": [first + timedelta(days=2, hours=9), first + timedelta(days=4), first - timedelta(days=1)],
        "goal_reached": [1, 0, 1],
    }
)
training = store.get_historical_features(asked, ["daily_steps:steps", "daily_steps:resting_pulse"]).to_df()
then = days[(days["walker_id"] == 7) & (days["event_timestamp"] == first + timedelta(days=2))]
print("known on day three:", training["steps"].iloc[0] == then["steps"].iloc[0])
print("known before the first day:", training["steps"].iloc[2])

# %% The same features now
answer = store.get_online_features(["daily_steps:steps", "daily_steps:floors"], [{"walker_id": 7}, {"walker_id": 99}])
last = days[days["walker_id"] == 7].iloc[-1]
print("served:", answer.to_dict()["steps"][0] == last["steps"], answer.to_dict()["steps"][1])
