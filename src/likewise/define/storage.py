"""Storage of saved datasets: where a training set is written."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SavedDatasetFileStorage:
    """A Parquet file that a training set is written to.

    Args:
        path: the file, relative to the repo for a saved dataset, to the working folder for ``persist``.
        file_format: accepted as Feast has it; always Parquet.
        s3_endpoint_override: kept for object stores.

    Example:
        >>> SavedDatasetFileStorage(path="data/train.parquet").path
        'data/train.parquet'
    """

    path: str
    file_format: object = None
    s3_endpoint_override: str | None = None
