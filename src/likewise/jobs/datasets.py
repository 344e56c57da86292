"""Saved datasets: training sets that were written, and what they were made from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from likewise.core.errors import RequestError, SavedDatasetNotFound, SourceMissing
from likewise.core.frames import to_pandas
from likewise.core.names import check_name, near_misses
from likewise.jobs.files import write_parquet
from likewise.jobs.training import RetrievalJob
from likewise.registry.base import SideReader, SideTable

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

SPACE = "saved_dataset"
"""The space of the side table that saved datasets lie in."""


@dataclass(frozen=True, slots=True)
class SavedDataset:
    """A training set that was written to a file, and what it was made from.

    Example:
        >>> saved = SavedDataset("train", "train.parquet", ("visits",), ("user_id",), 3, {"users": "ab12"}, 100, 0)
        >>> saved.catalog, saved.features
        (3, ('visits',))
    """

    name: str
    """Its name, unique in the project."""
    path: str
    """The Parquet file, absolute."""
    features: tuple[str, ...]
    """The features, in order."""
    join_keys: tuple[str, ...]
    """The key columns of its entity rows."""
    catalog: int
    """The number of the catalog that it was made from."""
    hashes: dict[str, str]
    """The hash of the definition of each view it was made from."""
    rows: int
    """How many rows it has."""
    created: int
    """When it was made, in microseconds since the epoch."""
    full_feature_names: bool = False
    """Whether its features are called ``view__feature``."""
    feature_service_name: str = ""
    """The feature service it is for; empty when it is for none."""
    tags: dict[str, str] | None = None
    """Free labels."""

    def to_arrow(self) -> pa.Table:
        """Return its rows as an Arrow table."""
        import pyarrow.parquet as pq

        if not Path(self.path).is_file():
            raise SourceMissing(f"saved dataset {self.name!r}: there is no {self.path}", cure="save it again")
        return pq.read_table(self.path)

    def to_df(self) -> pd.DataFrame:
        """Return its rows as a DataFrame."""
        return to_pandas(self.to_arrow())

    def as_reference(self, name: str = "", profiler: object = None) -> SavedDataset:
        """Return itself; Feast has this for validation, which comes later."""
        return self


@dataclass(frozen=True, slots=True)
class SaveRequest:
    """What is to be saved, and as what."""

    job: RetrievalJob
    """The training set."""
    name: str
    """The name to save it under."""
    storage: object
    """A path, or a ``SavedDatasetFileStorage``."""
    tags: dict[str, str]
    """Free labels."""
    service: str
    """The feature service it is for; empty for none."""
    allow_overwrite: bool
    """Whether a dataset or file of that name is replaced."""


def save(side: SideTable, request: SaveRequest, root: str, now: int) -> SavedDataset:
    """Write a training set and remember what it was made from.

    Raises:
        RequestError: there is one of that name, and it may not be replaced.
    """
    job, name = request.job, check_name(request.name, "saved dataset")
    project = job.plan.project
    there = side.get(project, SPACE, name)
    if there is not None and not request.allow_overwrite:
        raise RequestError(
            f"there is a saved dataset {name!r} already", cure="take another name, or allow_overwrite=True"
        )
    counted = _Counted(job)
    path = write_parquet(counted.batches(), request.storage, request.allow_overwrite, root)
    saved = SavedDataset(
        name,
        str(path.resolve()),
        tuple(job.feature_names),
        tuple(column for column, _ in job.plan.spine_types),
        job.plan.catalog,
        dict(job.hashes),
        counted.rows,
        now,
        job.full_feature_names,
        request.service,
        request.tags,
    )
    side.put(project, SPACE, name, asdict(saved), None)
    return saved


class _Counted:
    """The batches of a training set, counted as they go by."""

    def __init__(self, job: RetrievalJob) -> None:
        self.job = job
        self.rows = 0

    def batches(self) -> pa.RecordBatchReader:
        import pyarrow as pa

        return pa.RecordBatchReader.from_batches(self.job.schema, self._counted())

    def _counted(self) -> Iterator[pa.RecordBatch]:
        for batch in self.job.to_arrow_batches():
            self.rows += batch.num_rows
            yield batch


def find_saved(side: SideReader, project: str, name: str) -> SavedDataset:
    """Return a saved dataset.

    Raises:
        SavedDatasetNotFound: there is none of that name.
    """
    found = side.get(project, SPACE, name)
    if found is None:
        known = side.items(project, SPACE)
        cure = near_misses(name, known, "save one with create_saved_dataset")
        raise SavedDatasetNotFound(f"there is no saved dataset {name!r}", cure=cure)
    return _from_json(found.value)


def all_saved(side: SideReader, project: str) -> list[SavedDataset]:
    """Return all saved datasets of a project, by name."""
    return [_from_json(found.value) for found in side.items(project, SPACE).values()]


def _from_json(value: Any) -> SavedDataset:
    lists = {name: tuple(value[name]) for name in ("features", "join_keys")}
    return SavedDataset(**{**value, **lists})
