"""Feast's module names, filled with Likewise's objects.

While the alias is in place, ``from feast import Entity`` and ``from feast.types import Int64`` yield Likewise's own,
whether or not Feast is installed. A repo is loaded under :func:`feast_alias`; a program asks for the same with
``import likewise.as_feast``.

The names themselves are those of the public package, found there when they are first asked for.
"""

from __future__ import annotations

import contextlib
import enum
import importlib.machinery
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from likewise import types as feature_types
from likewise.core import errors
from likewise.core.names import near_misses
from likewise.define.source import DataSource
from likewise.define.view import Projection

if TYPE_CHECKING:
    from importlib.abc import Loader as Loader
else:
    Loader = object  # importing the real one takes longer than all of this package

FEAST = "feast"
OURS = "likewise"


class TransformationMode(enum.Enum):
    """Feast's enumeration of the ways a transformation can be written."""

    PYTHON = "python"
    PANDAS = "pandas"
    POLARS = "polars"
    SQL = "sql"
    SPARK = "spark"
    SPARK_SQL = "spark_sql"
    FLINK = "flink"
    RAY = "ray"
    SUBSTRAIT = "substrait"


def get_version() -> str:
    """Return the version of Likewise.

    Example:
        >>> get_version().count(".")
        2
    """
    return str(sys.modules[OURS].__version__)


MODULES = frozenset(
    f"{FEAST}.{name}"
    for name in (
        "aggregation",
        "batch_feature_view",
        "data_format",
        "data_source",
        "entity",
        "errors",
        "feature",
        "feature_logging",
        "feature_service",
        "feature_store",
        "feature_view",
        "feature_view_projection",
        "field",
        "infra",
        "infra.offline_stores",
        "infra.offline_stores.file_source",
        "infra.offline_stores.offline_store",
        "infra.online_stores",
        "on_demand_feature_view",
        "online_response",
        "project",
        "repo_config",
        "saved_dataset",
        "stream_feature_view",
        "transformation",
        "transformation.base",
        "transformation.mode",
        "types",
        "value_type",
        "version",
    )
)
"""Feast's modules that exist here. Each yields every name that Likewise has, wherever Feast keeps it."""

DECORATORS = ("batch_feature_view", "on_demand_feature_view", "stream_feature_view")
"""Names that are both a module of Feast and a decorator, which Likewise has at the top as well."""

MORE_NAMES: Mapping[str, object] = {
    "DataSource": DataSource,
    "FeatureViewProjection": Projection,
    "TransformationMode": TransformationMode,
    "get_version": get_version,
}
"""Names of Feast that Likewise's public package does not have under that name."""

ERRORS: Mapping[str, type[Exception]] = {
    "ConflictingFeatureViewNames": errors.RepoProblems,
    "DataSourceNoNameException": errors.RepoProblems,
    "DataSourceNotFoundException": errors.DataSourceNotFound,
    "DataSourceObjectNotFoundException": errors.DataSourceNotFound,
    "DataSourceRepeatNamesException": errors.RepoProblems,
    "EntityDFNotDateTime": errors.InvalidTime,
    "EntityNotFoundException": errors.EntityNotFound,
    "EntityTimestampInferenceException": errors.RequestError,
    "FeastEntityDFMissingColumnsError": errors.RequestError,
    "FeastError": errors.LikewiseError,
    "FeastExtrasDependencyImportError": errors.BackendMissing,
    "FeastJoinKeysDuringMaterialization": errors.SourceDrift,
    "FeastObjectNotFoundException": errors.NotFound,
    "FeastProviderNotImplementedError": errors.ConfigError,
    "FeatureNameCollisionError": errors.FeatureNameCollision,
    "FeatureServiceNotFoundException": errors.FeatureServiceNotFound,
    "FeatureViewNotFoundException": errors.FeatureViewNotFound,
    "OnDemandFeatureViewNotFoundException": errors.FeatureViewNotFound,
    "PushSourceNotFoundException": errors.PushSourceNotFound,
    "ReadOnlyRegistryException": errors.StoreError,
    "RegistryInferenceFailure": errors.RepoProblems,
    "RepoConfigPathDoesNotExist": errors.RepoNotFound,
    "RequestDataNotFoundInEntityDfException": errors.RequestDataMissing,
    "RequestDataNotFoundInEntityRowsException": errors.RequestDataMissing,
    "SavedDatasetLocationAlreadyExists": errors.RequestError,
    "SavedDatasetNotFound": errors.SavedDatasetNotFound,
    "SpecifiedFeaturesNotPresentError": errors.FeatureNotFound,
    "StreamFeatureViewNotFoundException": errors.FeatureViewNotFound,
}
"""Feast's names of errors, and what Likewise raises in their place."""

LATER: Mapping[str, Sequence[str]] = {
    "stream sources and their message formats": (
        "AvroFormat",
        "JsonFormat",
        "KafkaSource",
        "KinesisSource",
        "ProtoFormat",
        "StreamFormat",
    ),
    "sources in warehouses and databases": (
        "AthenaSource",
        "ChrononSource",
        "BigQuerySource",
        "CouchbaseColumnarSource",
        "ClickhouseSource",
        "MsSqlServerSource",
        "OracleSource",
        "PostgreSQLSource",
        "RaySource",
        "RedshiftSource",
        "SnowflakeSource",
        "SparkSource",
        "TrinoSource",
        "infra.offline_stores.",
    ),
    "permissions": ("Permission", "permissions", "FeastPermissionError"),
    "logging of served features to anything but files": ("LoggingDestination", "LoggingSource"),
    "online stores as classes, beside their types in feature_store.yaml,": ("infra.online_stores.",),
    "notebooks to try things in": ("copy_demo_notebooks",),
    "label views": ("LabelView", "ConflictPolicy", "label_view", "labeling"),
    "states of feature views": ("FeatureViewState", "feature_view_state"),
    "frames of compute engines": ("DataFrameEngine", "FeastDataFrame", "dataframe"),
    "transformations as objects": (
        "Transformation",
        "transformation.base.transformation",
        "PandasTransformation",
        "PythonTransformation",
        "SubstraitTransformation",
        "SQLTransformation",
        "transformation.pandas_transformation",
        "transformation.python_transformation",
        "transformation.substrait_transformation",
        "transformation.sql_transformation",
        "transformation.factory",
    ),
    "vector search": (
        "BaseChunker",
        "BaseEmbedder",
        "ChunkingConfig",
        "DocEmbedder",
        "EmbeddingConfig",
        "EmbeddingProvider",
        "FeastVectorStore",
        "FilterTranslator",
        "MultiModalEmbedder",
        "SchemaTransformFn",
        "SentenceTransformersEmbeddingProvider",
        "TextChunker",
        "get_embedding_provider",
    ),
    "validation of saved datasets": ("ValidationReference", "dqm", "dqm."),
    "credentials by reference": ("ConnectionRef", "credentials", "credentials."),
    "formats of tables and of Delta": ("DeltaFormat", "HudiFormat", "IcebergFormat", "table_format"),
}
"""What is still to come: the kind of thing, and the names, or beginnings of module names, that it covers."""


class FeastModule(ModuleType):
    """One of Feast's modules. Its names are looked up when they are asked for."""

    def __init__(self, name: str) -> None:
        super().__init__(name, f"Likewise under Feast's name {name!r}.")
        self.__path__: list[str] = []  # a package, so that `from it import name` asks the finder about unknown names

    def __getattr__(self, name: str) -> object:
        if f"{self.__name__}.{name}" in MODULES:
            return _module(f"{self.__name__}.{name}")
        if name == "__version__" and self.__name__ == FEAST:
            return get_version()
        if name == "__all__":
            return _known_names(self.__name__)
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}", name=name, obj=self)
        try:
            return _look_up(self.__name__, name)
        except KeyError:
            raise AttributeError(_missing(f"{self.__name__}.{name}"), name=name, obj=self) from None

    def __dir__(self) -> list[str]:
        return sorted({*vars(self), *_known_names(self.__name__)})


class DecoratorModule(FeastModule):
    """A module that has the name of a decorator: ``from feast import on_demand_feature_view`` may mean either.

    It can be used as both: called, it is the decorator.
    """

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Do what the decorator does."""
        decorator = getattr(sys.modules[OURS], self.__name__.rpartition(".")[2])
        return decorator(*args, **kwargs)


class FeastFinder(Loader):
    """Answers imports of ``feast`` and all below it."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return how to make one of Feast's modules; None for any other module.

        Raises:
            ImportError: Feast may have it, Likewise has not.
        """
        if name == FEAST or name in MODULES:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        if name.startswith(f"{FEAST}."):
            raise ImportError(_missing(name), name=name)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """Return the module."""
        return _module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: a module's names are looked up when they are asked for."""


_FINDER = FeastFinder()
IMPORTING = threading.RLock()
"""Held while the modules of this process are rearranged, by the alias and by the loading of repos."""
_modules: dict[str, ModuleType] = {}
_installed = False


def install() -> None:
    """Make ``feast`` mean Likewise in this process, from here on."""
    global _installed
    with IMPORTING:
        if not _installed:
            _installed = True
            _put_in_place()
            sys.modules[FEAST] = _module(FEAST)  # at once: whoever is importing Feast right now gets this one


@contextlib.contextmanager
def feast_alias() -> Iterator[None]:
    """Make ``feast`` mean Likewise inside a ``with`` block; afterwards it means again what it meant before.

    Example:
        >>> with feast_alias():
        ...     from feast.types import Float32
        >>> Float32
        Float32
    """
    with IMPORTING:
        if _FINDER in sys.meta_path:
            yield
            return
        before = _put_in_place()
        try:
            yield
        finally:
            if not _installed:  # else the block itself has asked for it to stay
                sys.meta_path.remove(_FINDER)
                _take_feast_modules()
                sys.modules.update(before)


def _put_in_place() -> dict[str, ModuleType]:
    """Put the finder first, and return the modules of the real Feast that it hides."""
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)
        return _take_feast_modules()
    return {}


def _take_feast_modules() -> dict[str, ModuleType]:
    names = [name for name in sys.modules if name == FEAST or name.startswith(f"{FEAST}.")]
    return {name: sys.modules.pop(name) for name in names}


def _module(name: str) -> ModuleType:
    """Return the one module that stands for one of Feast's, whether or not the alias is in place."""
    if name not in _modules:
        is_decorator = name.rpartition(".")[2] in DECORATORS
        _modules[name] = DecoratorModule(name) if is_decorator else FeastModule(name)
        _modules[name].__spec__ = importlib.machinery.ModuleSpec(name, _FINDER, is_package=True)
    return _modules[name]


def _look_up(module: str, name: str) -> object:
    """Return what a name in one of Feast's modules means here, or raise KeyError."""
    public = sys.modules[OURS]
    if module == f"{FEAST}.errors" and name in ERRORS:
        return ERRORS[name]
    if module == f"{FEAST}.errors" and name in vars(errors):
        return vars(errors)[name]
    if name in feature_types.__all__ and (module != FEAST or name == "ValueType"):
        return vars(feature_types)[name]
    if name in public.__all__:
        return getattr(public, name)
    return MORE_NAMES[name]


def _known_names(module: str) -> list[str]:
    below = [name.removeprefix(f"{module}.") for name in MODULES if name.startswith(f"{module}.")]
    submodules = [name for name in below if "." not in name] if module != FEAST else []
    if module == f"{FEAST}.errors":
        return sorted(ERRORS)
    if module == f"{FEAST}.types":
        return list(feature_types.__all__)
    names = [name for name in sys.modules[OURS].__all__ if not name.startswith("_")]
    return sorted({*names, *submodules, *MORE_NAMES})


def _missing(full_name: str) -> str:
    """Say that Likewise has no such name or module, and what to do about it."""
    module, _, name = full_name.rpartition(".")
    below = full_name.removeprefix(f"{FEAST}.")
    what = f"Likewise {get_version()} has no {name!r} in {module!r}"
    for kind, covered in LATER.items():
        if any(name == one or below == one or (one.endswith(".") and below.startswith(one)) for one in covered):
            return f"{what}: {kind} come in a later version"
    modules = [other.rpartition(".")[2] for other in MODULES if other.rpartition(".")[0] == module]
    parent = module if module in MODULES else FEAST
    return f"{what}; {near_misses(name, [*_known_names(parent), *modules])}"
