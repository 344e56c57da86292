"""Training sets: they say which definitions they were made of."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from likewise import Entity, FeatureStore, FeatureView, Field, FileSource, FixedClock
from likewise.types import Int64

AT, NOW = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 20, tzinfo=UTC)


def test_a_training_set_of_an_older_version_names_that_versions_hash(tmp_path: Path) -> None:
    """Also beside the applied version, in the explanation and in what is remembered of a saved dataset."""
    (tmp_path / "feature_store.yaml").write_text("project: p\nonline_store: memory\n")
    pq.write_table(pa.table({"k": [1], "x": [10], "y": [20], "at": [AT]}), tmp_path / "rows.parquet")
    source, key = FileSource(path="rows.parquet", timestamp_field="at"), Entity(name="k", value_type=Int64)
    with FeatureStore(tmp_path, clock=FixedClock(NOW)) as store:
        store.apply([FeatureView("v", source, [Field("x", Int64)], [key])])
        store.apply([FeatureView("v", source, [Field("y", Int64)], [key])])
        old, new = (version["version_id"] for version in store.list_feature_view_versions("v"))
        spine = pa.table({"k": [1], "event_timestamp": [NOW]})
        job = store.get_historical_features(spine, ["v@v1:x", "v:y"])
        assert old != new
        assert job.hashes == {"v@v1": old, "v": new}
        assert f"join view 'v@v1' (definition {old[:12]})" in str(job.explain())
        assert f"join view 'v' (definition {new[:12]})" in str(job.explain())
        assert store.get_historical_features(spine, ["v@v1:x"]).hashes == {"v@v1": old}
        assert store.create_saved_dataset(job, "d", "d.parquet").hashes == {"v@v1": old, "v": new}
        assert store.get_saved_dataset("d").to_arrow()["x"].to_pylist() == [10]
