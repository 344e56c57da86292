"""One program, written against Feast's API, that `benchmarks/versus_feast.py` runs under Feast and under Likewise.

It prints one JSON object: seconds for each job, and facts about the answers. Under Likewise it is run with
`likewise run`, so that `from feast import …` means Likewise.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
import warnings
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")
START = datetime(2024, 1, 1)


def frames(rows: int, entities: int, spine: int) -> tuple[Any, Any]:
    """Return feature rows over 60 days and entity rows, unsorted, seeded."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(7)
    seconds = rng.integers(0, 60 * 86_400, rows)
    features = {
        "driver_id": rng.integers(0, entities, rows),
        "event_timestamp": pd.to_datetime(START) + pd.to_timedelta(seconds, "s"),
    }
    features |= {f"f{i}": rng.random(rows).astype("float32") for i in range(10)}
    asked = rng.integers(0, 60 * 86_400, spine)
    entity = {
        "driver_id": rng.integers(0, entities, spine),
        "event_timestamp": pd.to_datetime(START) + pd.to_timedelta(asked, "s"),
    }
    return pd.DataFrame(features), pd.DataFrame({**entity, "row": np.arange(spine)})


def timed(work: Any, times: int = 1) -> tuple[Any, float]:
    """Return a job's result and the median of its seconds."""
    seconds = []
    result = None
    for _ in range(times):
        began = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - began)
    return result, statistics.median(seconds)


def facts(answer: Any, spine: Any, features: Any, ttl: timedelta) -> dict[str, Any]:
    """Compare a training set with what plain pandas says is right."""
    import pandas as pd

    left = spine.assign(at=spine.event_timestamp.astype("datetime64[us]")).sort_values("at", kind="stable")
    right = features.rename(columns={"event_timestamp": "ft"})
    right = right.assign(ft=right.ft.astype("datetime64[us]")).sort_values("ft", kind="stable")
    true = pd.merge_asof(left, right, left_on="at", right_on="ft", by="driver_id", tolerance=ttl).set_index("row")["f0"]
    got = answer.set_index("row")["f0"] if len(answer) else pd.Series(dtype="float32")
    same = got.index.is_unique and set(got.index) == set(true.index)
    common = got[~got.index.duplicated()].reindex(true.index)
    wrong = int(((common != true) & ~(common.isna() & true.isna())).sum())
    return {
        "rows in": len(spine),
        "rows out": len(answer),
        "in the order given": bool(
            len(answer) == len(spine) and (answer["row"].to_numpy() == spine["row"].to_numpy()).all()
        ),
        "every row once": bool(same),
        "wrong or missing values": wrong,
    }


def main() -> None:
    """Run all jobs in the folder that is given."""
    began = time.process_time()
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
    from feast.types import Float32

    seconds = {"import (CPU)": time.process_time() - began}
    folder, rows, entities, spine_rows, offline = Path(sys.argv[1]), *map(int, sys.argv[2:5]), sys.argv[5]
    online = sys.argv[6]
    features, spine = frames(rows, entities, spine_rows)
    (folder / "data").mkdir(parents=True, exist_ok=True)
    features.to_parquet(folder / "data" / "drivers.parquet", index=False)
    path = "data/online.db" if online == "sqlite" else "data/online"
    (folder / "feature_store.yaml").write_text(
        "project: drivers\nregistry: data/registry.db\nprovider: local\n"
        f"online_store:\n  type: {online}\n  path: {path}\n"
        f"offline_store:\n  type: {offline}\nentity_key_serialization_version: 3\n"
    )
    os.chdir(folder)
    store = FeatureStore(repo_path=".")
    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    ttl = timedelta(days=10)
    view = FeatureView(
        name="drivers",
        entities=[driver],
        ttl=ttl,
        schema=[Field(name=f"f{i}", dtype=Float32) for i in range(10)],
        source=FileSource(path=str((folder / "data" / "drivers.parquet").resolve()), timestamp_field="event_timestamp"),
        online=True,
    )
    _, seconds["apply"] = timed(lambda: store.apply([driver, view]))
    names = [f"drivers:f{i}" for i in range(10)]
    answer, seconds["training set"] = timed(lambda: store.get_historical_features(spine, names).to_df(), 3)
    end = START + timedelta(days=60)
    _, seconds["materialize"] = timed(lambda: store.materialize(START, end))
    for count in (1, 100):
        keys = [{"driver_id": key} for key in range(count)]
        read = lambda keys=keys: store.get_online_features(names, keys).to_dict()  # noqa: E731
        read()
        _, seconds[f"online read of {count}"] = timed(read, 200 if online != "sqlite" else 50)
    print(json.dumps({"seconds": seconds, "facts": facts(answer, spine, features, ttl)}))


if __name__ == "__main__":
    main()
