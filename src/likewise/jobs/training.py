"""RetrievalJob: a training set that is computed when it is asked for, and the interpreter of its plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from likewise.core.frames import to_pandas, to_polars
from likewise.core.types import arrow_type
from likewise.define.transform import OnDemandFeatureView
from likewise.jobs.files import write_parquet
from likewise.jobs.spine import narrowed
from likewise.offline.base import OfflineEngine
from likewise.plan.explain import Explanation, explain_training
from likewise.plan.selection import Selection
from likewise.plan.training import OnDemandStep, TrainingPlan
from likewise.registry.base import RegistryReader
from likewise.registry.definitions import Definitions
from likewise.registry.history import view_versions

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa


class ArrowRunner(Protocol):
    """Runs an on-demand view's function on Arrow columns."""

    def run_arrow(self, columns: Mapping[str, Any], rows: int) -> dict[str, pa.Array]:
        """Return the function's outputs, in declared types."""
        ...


@dataclass(frozen=True, slots=True)
class Tools:
    """What a training plan is interpreted with."""

    engine: OfflineEngine
    """Joins."""
    runner: Callable[[str], ArrowRunner]
    """Returns the runner of an on-demand view by the view's name."""
    on_demand: Mapping[str, OnDemandFeatureView]
    """The catalog's on-demand views."""
    hashes: Mapping[str, str]
    """The hash of the definition of each view that is read, by the name or version asked for."""


@dataclass(frozen=True, slots=True)
class RetrievalMetadata:
    """What a training set is about."""

    features: list[str]
    """The names of the features, in the order asked for."""
    keys: list[str]
    """The key columns of the entity rows."""
    min_event_timestamp: datetime | None
    """The earliest time of the entity rows; None when there are none."""
    max_event_timestamp: datetime | None
    """The latest time of the entity rows; None when there are none."""


class RetrievalJob:
    """A training set: exactly the entity rows, in their order, with features as of their times.

    Nothing is computed until one of the ``to_`` methods is called; each call computes anew.

    Args:
        plan: what to join.
        spine: the entity rows, with times in UTC.
        tools: what to do it with.
        full_feature_names: whether features are called ``view__feature``.

    Example:
        >>> import pandas as pd
        >>> from likewise import Entity, FeatureStore, FeatureView, FileSource
        >>> from likewise.config import parse_config
        >>> rows = pd.DataFrame({"user": [1, 1], "at": pd.to_datetime(["2024-01-01", "2024-01-09"]), "visits": [7, 8]})
        >>> rows.to_parquet("visits.parquet")
        >>> store = FeatureStore(config=parse_config("{project: demo, registry: reg.db, online_store: memory}"))
        >>> source = FileSource(path="visits.parquet", timestamp_field="at")
        >>> _ = store.apply([FeatureView("users", source, entities=[Entity(name="user")])])
        >>> spine = pd.DataFrame({"user": [1], "event_timestamp": pd.to_datetime(["2024-01-05"])})
        >>> store.get_historical_features(spine, ["users:visits"]).to_df()["visits"].tolist()
        [7]
    """

    def __init__(self, plan: TrainingPlan, spine: pa.Table, tools: Tools, full_feature_names: bool) -> None:
        self.plan = plan
        self.full_feature_names = full_feature_names
        self._spine = spine
        self._tools = tools

    def to_arrow_batches(self) -> pa.RecordBatchReader:
        """Return the training set as a stream of Arrow batches, in bounded memory."""
        import pyarrow as pa

        return pa.RecordBatchReader.from_batches(self.schema, self._batches())

    def to_arrow(self, validation_reference: object = None, timeout: int | None = None) -> pa.Table:
        """Return the training set as an Arrow table.

        Args:
            validation_reference: accepted as Feast has it, and not used.
            timeout: accepted as Feast has it, and not used.
        """
        return self.to_arrow_batches().read_all()

    def to_df(self, validation_reference: object = None, timeout: int | None = None) -> pd.DataFrame:
        """Return the training set as a DataFrame; integers with nulls stay integers.

        Args:
            validation_reference: accepted as Feast has it, and not used.
            timeout: accepted as Feast has it, and not used.
        """
        return to_pandas(self.to_arrow())

    def to_polars(self) -> pl.DataFrame:
        """Return the training set as a polars DataFrame; needs ``pip install "likewise[polars]"``."""
        return to_polars(self.to_arrow())

    def persist(self, storage: object, allow_overwrite: bool = False, timeout: int | None = None) -> Path:
        """Write the training set to a Parquet file, whole or not at all, and return its path.

        Args:
            storage: a path, from the working folder, or Feast's ``SavedDatasetFileStorage(path=…)``.
            allow_overwrite: whether a file that is there is replaced.
            timeout: accepted as Feast has it, and not used.
        """
        return write_parquet(self.to_arrow_batches(), storage, allow_overwrite)

    def explain(self) -> Explanation:
        """Return what will be joined to what, without doing it."""
        return explain_training(self.plan, self._spine.num_rows, self._tools.hashes)

    @property
    def schema(self) -> pa.Schema:
        """The columns of the training set and their types."""
        import pyarrow as pa

        features = [pa.field(name, arrow_type(kind)) for _, name, kind in self.plan.features]
        return pa.schema([*self._spine.schema, *features])

    @property
    def feature_names(self) -> list[str]:
        """The names of the features, in the order asked for."""
        return [name for _, name, _ in self.plan.features]

    @property
    def metadata(self) -> RetrievalMetadata:
        """What the training set is about: its features, its keys, and the span of its times."""
        import pyarrow.compute as pc

        times = pc.min_max(self._spine.column(self.plan.time)).as_py()
        keys = [column for column, _ in self.plan.spine_types]
        return RetrievalMetadata(self.feature_names, keys, times["min"], times["max"])

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """The on-demand views that are computed."""
        return [self._tools.on_demand[step.view] for step in self.plan.on_demand]

    def supports_remote_storage_export(self) -> bool:
        """Return False: a training set is written to a file, by :meth:`persist`."""
        return False

    @property
    def hashes(self) -> Mapping[str, str]:
        """The hash of the definition of each view that is read, by the name or version asked for: ``users@v1``."""
        return self._tools.hashes

    def _batches(self) -> Iterator[pa.RecordBatch]:
        join = narrowed(self._spine, self.plan.time, self.plan.spine_types)
        runners = [self._tools.runner(step.view) for step in self.plan.on_demand]
        start = 0
        for batch in self._tools.engine.training(self.plan, join):
            rows = self._spine.slice(start, batch.num_rows)
            start += batch.num_rows
            yield from self._finish(rows, batch, runners)
        if start != self._spine.num_rows:
            raise AssertionError(f"the engine returned {start} of {self._spine.num_rows} entity rows")

    def _finish(
        self, rows: pa.Table, batch: pa.RecordBatch, runners: Sequence[ArrowRunner]
    ) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        columns: dict[str, Any] = {name: batch.column(name) for name in batch.schema.names}
        for step, runner in zip(self.plan.on_demand, runners, strict=True):
            columns |= self._computed(step, runner, rows, columns)
        chosen = [columns[column] for column, _, _ in self.plan.features]
        yield from pa.table([*rows.columns, *chosen], schema=self.schema).to_batches()

    def _computed(
        self, step: OnDemandStep, runner: ArrowRunner, rows: pa.Table, columns: Mapping[str, Any]
    ) -> dict[str, Any]:
        view = self._tools.on_demand[step.view]
        requested = {field.name for source in view.request_sources for field in source.schema}
        given = {
            name: rows.column(column) if name in requested else columns[column]  # the runner takes it as online
            for column, name in step.inputs
        }
        outputs = runner.run_arrow(given, rows.num_rows)
        return {column: outputs[name] for name, column in step.outputs}

    def __repr__(self) -> str:
        return f"RetrievalJob({self._spine.num_rows:,} entity rows, {len(self.plan.features)} features)"

    def _repr_html_(self) -> str:
        return self.explain()._repr_html_()


def definition_hashes(registry: RegistryReader, definitions: Definitions, selection: Selection) -> dict[str, str]:
    """Return the hash of the definition of each view that is read, by the name or version it was asked for.

    Args:
        registry: the registry.
        definitions: the catalog's definitions.
        selection: what was asked for.
    """
    manifest = registry.catalog(definitions.project, definitions.number).manifest
    applied = {name: found for (kind, name), found in manifest.items() if kind.endswith("feature_view")}
    hashes = {name: applied[name] for name in selection.on_demand}
    for part in selection.views:
        if part.version is None:
            hashes[part.reference] = applied[part.view]
        else:
            versions = view_versions(registry, definitions.project, part.view)
            hashes[part.reference] = versions[part.version - 1].hash
    return hashes
