"""Likewise, a feature store: what you train on, likewise you serve.

The public names, each loaded when it is first used::

    from likewise import Entity, FeatureStore, FeatureView, Field, FileSource
    from likewise.types import Float32, Int64
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Aggregation": "define.aggregation",
    "BatchFeatureView": "define.windowed",
    "CsvFormat": "define.source",
    "Entity": "define.entity",
    "Feature": "define.field",
    "FeatureService": "define.service",
    "FeatureStore": "store",
    "FeatureView": "define.view",
    "Field": "define.field",
    "FieldStatus": "online.response",
    "FileLoggingDestination": "define.feature_logging",
    "FileSource": "define.source",
    "FixedClock": "core.time",
    "JsonLinesFormat": "define.source",
    "LikewiseError": "core.errors",
    "LoggingConfig": "define.feature_logging",
    "OnDemandFeatureView": "define.transform",
    "OnlineResponse": "online.response",
    "ParquetFormat": "define.source",
    "Project": "define.project",
    "PushMode": "define.source",
    "PushSource": "define.source",
    "RepoConfig": "config",
    "RequestSource": "define.source",
    "RetrievalJob": "jobs.training",
    "SavedDataset": "jobs.datasets",
    "SavedDatasetFileStorage": "define.storage",
    "StreamFeatureView": "define.windowed",
    "ValueType": "core.types",
    "batch_feature_view": "define.windowed",
    "on_demand_feature_view": "define.transform",
    "stream_feature_view": "define.windowed",
}

__all__ = [*_HOMES, "__version__"]

if TYPE_CHECKING:
    from likewise.config import RepoConfig as RepoConfig
    from likewise.core.errors import LikewiseError as LikewiseError
    from likewise.core.time import FixedClock as FixedClock
    from likewise.core.types import ValueType as ValueType
    from likewise.define.aggregation import Aggregation as Aggregation
    from likewise.define.entity import Entity as Entity
    from likewise.define.feature_logging import FileLoggingDestination as FileLoggingDestination
    from likewise.define.feature_logging import LoggingConfig as LoggingConfig
    from likewise.define.field import Feature as Feature
    from likewise.define.field import Field as Field
    from likewise.define.project import Project as Project
    from likewise.define.service import FeatureService as FeatureService
    from likewise.define.source import CsvFormat as CsvFormat
    from likewise.define.source import FileSource as FileSource
    from likewise.define.source import JsonLinesFormat as JsonLinesFormat
    from likewise.define.source import ParquetFormat as ParquetFormat
    from likewise.define.source import PushMode as PushMode
    from likewise.define.source import PushSource as PushSource
    from likewise.define.source import RequestSource as RequestSource
    from likewise.define.storage import SavedDatasetFileStorage as SavedDatasetFileStorage
    from likewise.define.transform import OnDemandFeatureView as OnDemandFeatureView
    from likewise.define.transform import on_demand_feature_view as on_demand_feature_view
    from likewise.define.view import FeatureView as FeatureView
    from likewise.define.windowed import BatchFeatureView as BatchFeatureView
    from likewise.define.windowed import StreamFeatureView as StreamFeatureView
    from likewise.define.windowed import batch_feature_view as batch_feature_view
    from likewise.define.windowed import stream_feature_view as stream_feature_view
    from likewise.jobs.datasets import SavedDataset as SavedDataset
    from likewise.jobs.training import RetrievalJob as RetrievalJob
    from likewise.online.response import FieldStatus as FieldStatus
    from likewise.online.response import OnlineResponse as OnlineResponse
    from likewise.store import FeatureStore as FeatureStore


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'likewise' has no attribute {name!r}")
    found = getattr(import_module(f"likewise.{home}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
