"""Configuration: what ``feature_store.yaml`` says, as records. Feast's keys, each with its default and its meaning.

The reference page and the editor's JSON Schema are made from these records.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from likewise.core.errors import ConfigError, RepoNotFound
from likewise.core.names import near_misses

FILE_NAME = "feature_store.yaml"
"""The name of the configuration file, at the root of a repo."""
_LARGEST = 1 << 20
_MOST_NODES = 20_000


class RegistryConfig(Struct, frozen=True, kw_only=True):
    """Where definitions and their history are kept."""

    registry_type: Annotated[str, Meta(description="`file` (one SQLite file) or `memory`.")] = "file"
    path: Annotated[str, Meta(description="The file, relative to the repo.")] = "data/registry.db"
    cache_ttl_seconds: Annotated[
        float,
        Meta(
            ge=0,
            description="For how many seconds a process may answer from a catalog before it looks for a newer one.",
        ),
    ] = 1.0
    cache_mode: Annotated[str, Meta(description="Accepted and not used.")] = "sync"
    purge_feast_metadata: Annotated[bool, Meta(description="Accepted and not used.")] = False
    registry_store_type: Annotated[str | None, Meta(description="Accepted and not used.")] = None


class OnlineStoreConfig(Struct, frozen=True, kw_only=True):
    """Where the latest values are kept for serving."""

    type: Annotated[str, Meta(description="`lmdb`, `sqlite` or `memory`.")] = "lmdb"
    path: Annotated[
        str, Meta(description="The folder (lmdb) or file (sqlite), relative to the repo; empty: a default.")
    ] = ""
    map_size: Annotated[
        int,
        Meta(
            ge=1 << 20, description="lmdb: the largest size the store may grow to, in bytes. Disk is used as it fills."
        ),
    ] = 64 << 30
    durable: Annotated[
        bool,
        Meta(description="Whether each write waits for the disk; if not, a power cut may lose the last writes, whole."),
    ] = False
    verify_reads: Annotated[
        bool, Meta(description="Whether each online read checks the check sums of its records, a fifth slower.")
    ] = False
    options: Annotated[
        dict[str, Any], Meta(description="The keys of a store of somebody else's, which are that store's own affair.")
    ] = {}


class OfflineStoreConfig(Struct, frozen=True, kw_only=True):
    """What computes training sets."""

    type: Annotated[str, Meta(description="`duckdb`. Feast's `file` and `dask` mean the same here.")] = "duckdb"
    memory_limit: Annotated[
        str,
        Meta(description="How much memory a computation may use before it spills, such as `4GB`; empty: 60 % of all."),
    ] = ""
    threads: Annotated[int, Meta(ge=0, description="How many threads to use; 0: one for each core.")] = 0
    temp_directory: Annotated[
        str, Meta(description="Where to spill, relative to the repo; empty: the system's folder.")
    ] = ""
    staging_location: Annotated[str | None, Meta(description="Accepted and not used.")] = None


class MaterializationConfig(Struct, frozen=True, kw_only=True):
    """How offline rows get into the online store."""

    chunk_rows: Annotated[
        int,
        Meta(ge=1000, description="About how many rows of a source one resumable chunk covers; memory grows with it."),
    ] = 5_000_000
    lease_seconds: Annotated[
        float, Meta(gt=0, description="For how long a run that died keeps others from the same view.")
    ] = 60.0
    pull_latest_features: Annotated[bool, Meta(description="Accepted and not used.")] = False
    online_write_batch_size: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="How many keys are written to the online store in one step; empty: 50,000."),
    ] = None


class RepoConfig(Struct, frozen=True, kw_only=True):
    """The whole of ``feature_store.yaml``.

    Example:
        >>> RepoConfig(project="payments").online_store.type
        'lmdb'
    """

    project: Annotated[str, Meta(description="The name under which the repo's definitions live.")]
    project_description: Annotated[str, Meta(description="What the project is, for people.")] = ""
    provider: Annotated[str, Meta(description="Accepted as Feast has it; `local`.")] = "local"
    registry: Annotated[RegistryConfig, Meta(description="Where definitions are kept: a path, or the keys below.")] = (
        RegistryConfig()
    )
    online_store: Annotated[
        OnlineStoreConfig, Meta(description="Where the latest values are kept: a type, or the keys below.")
    ] = OnlineStoreConfig()
    offline_store: Annotated[
        OfflineStoreConfig, Meta(description="What computes training sets: a type, or the keys below.")
    ] = OfflineStoreConfig()
    materialization: Annotated[
        MaterializationConfig, Meta(description="How offline rows get into the online store.")
    ] = MaterializationConfig()
    entity_key_serialization_version: Annotated[
        int, Meta(description="Accepted; keys have one frozen format of their own.")
    ] = 3
    coerce_tz_aware: Annotated[bool, Meta(description="Accepted; times are always UTC.")] = True
    batch_engine: Annotated[Any, Meta(description="Accepted and not used; DuckDB computes.")] = None
    feature_server: Annotated[Any, Meta(description="Accepted; the server comes in a later version.")] = None
    auth: Annotated[Any, Meta(description="Accepted as `no_auth`; other kinds come with the server.")] = None
    flags: Annotated[Any, Meta(description="Accepted and not used.")] = None
    openlineage: Annotated[Any, Meta(description="Accepted and not used.")] = None
    mlflow: Annotated[Any, Meta(description="Accepted and not used.")] = None
    data_quality_monitoring: Annotated[Any, Meta(description="Accepted and not used.")] = None
    embedding_model: Annotated[Any, Meta(description="Accepted and not used.")] = None


BLOCKS: Mapping[str, tuple[type[Struct], str]] = {
    "registry": (RegistryConfig, "path"),
    "online_store": (OnlineStoreConfig, "type"),
    "offline_store": (OfflineStoreConfig, "type"),
    "materialization": (MaterializationConfig, ""),
}
"""The keys that are blocks, the record of each, and the key that a bare text stands for."""


def load_config(file: Path) -> RepoConfig:
    """Read a configuration file.

    Args:
        file: the path of a ``feature_store.yaml``.

    Raises:
        RepoNotFound: there is no such file.
        ConfigError: it is not YAML, or says something that cannot be; the message names the key.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise RepoNotFound(f"there is no {file}", cure="run 'likewise init', or give the folder of a repo") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}", cure="it must be a text file in UTF-8") from error
    return parse_config(text, str(file))


def parse_config(text: str, where: str = FILE_NAME) -> RepoConfig:
    """Read a configuration from its text.

    ``${NAME}`` in a value is replaced by that environment variable, ``${NAME:-text}`` by it or the text.

    Args:
        text: YAML.
        where: the file's name, for messages.

    Raises:
        ConfigError: it is not YAML, or says something that cannot be.

    Example:
        >>> parse_config("project: payments\\nregistry: reg.db").registry.path
        'reg.db'
    """
    if len(text) > _LARGEST:
        raise ConfigError(f"{where} is larger than 1 MiB", cure="is it the right file?")
    data = _yaml(text, where)
    if not isinstance(data, dict):
        raise ConfigError(f"{where} holds no keys", cure="write at least 'project: name'")
    data = _Expander(where).expand(data)
    for key, (record, short) in BLOCKS.items():
        if key in data:
            data[key] = _block(data[key], key, record, short, where)
    return _convert(data, RepoConfig, "", where)


def _yaml(text: str, where: str) -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """Plain data only, and no key twice."""

    def mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
        keys = [loader.construct_object(key) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        for key in keys:
            if keys.count(key) > 1:
                line = node.start_mark.line + 1
                raise ConfigError(
                    f"{where}: the key {key!r} stands twice in the block at line {line}", cure="remove one"
                )
        loader.flatten_mapping(node)
        return {loader.construct_object(k, deep=True): loader.construct_object(v, deep=True) for k, v in node.value}

    Loader.add_constructor("tag:yaml.org,2002:map", mapping)
    try:
        return yaml.load(text, Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, RecursionError, TypeError) as error:
        raise ConfigError(f"{where} is not valid YAML: {error}", cure="mend the line it names") from error


class _Expander:
    """Replaces environment variables in values, bounded in size."""

    _REFERENCE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}|\$(\w+)")

    def __init__(self, where: str) -> None:
        self.where = where
        self.nodes = 0

    def expand(self, value: Any) -> Any:
        self.nodes += 1
        if self.nodes > _MOST_NODES:
            raise ConfigError(f"{self.where} holds more than {_MOST_NODES} values", cure="is it the right file?")
        if isinstance(value, dict):
            return {str(key): self.expand(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.expand(inner) for inner in value]
        return self._REFERENCE.sub(self._value, value) if isinstance(value, str) else value

    def _value(self, match: re.Match[str]) -> str:
        braced, default, bare = match.groups()
        found = os.environ.get(braced or bare)
        if found is not None:
            return found
        if bare is not None:
            return match[0]
        if default is not None:
            return default
        raise ConfigError(
            f"{self.where} uses ${{{braced}}}, which is not set", cure=f"set it, or write ${{{braced}:-default}}"
        )


def _block(value: Any, key: str, record: type[Struct], short: str, where: str) -> Any:
    if isinstance(value, str) and short:
        value = {short: value}
    if value is None:
        return record()
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: {key} is {value!r}", cure=f"give it keys, such as {short or 'chunk_rows'}")
    scheme = str(value.get("path", "")).partition("://")[0]
    if key == "registry" and scheme in ("s3", "gs", "gcs", "hdfs", "az", "abfss"):
        raise ConfigError(
            f"{where}: registry: {value['path']!r} is in an object store ({scheme}), which this version does not read",
            cure="give the path of a local file",
        )
    if key == "registry" and "://" in str(value.get("path", "")):
        value.setdefault("registry_type", "sql")
    if key == "online_store":
        return _store_block(value, where)
    return _convert(value, record, f"{key}.", where)


def _store_block(value: dict[str, Any], where: str) -> OnlineStoreConfig:
    """Take the block of a store of another kind as it is: what it may say is that store's own affair."""
    if value.get("type", "lmdb") in ("lmdb", "sqlite", "memory"):
        for feast_only in ("vector_enabled", "text_search_enabled"):
            value.pop(feast_only, None)
        return _convert(value, OnlineStoreConfig, "online_store.", where)
    options = {key: inner for key, inner in value.items() if key != "type"}
    return OnlineStoreConfig(type=str(value["type"]), options=options)


S = TypeVar("S", bound=Struct)


def _convert(data: dict[str, Any], record: type[S], prefix: str, where: str) -> S:
    known = [field.name for field in msgspec.structs.fields(record)]
    for key in data:
        if key not in known:
            raise ConfigError(f"{where}: there is no key {prefix + key!r}", cure=near_misses(key, known))
    try:
        return msgspec.convert(data, record, strict=False, from_attributes=True)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"{where}: {prefix.rstrip('.') or 'a key'}: {error}", cure="see docs/configuration.md"
        ) from error


def config_schema() -> dict[str, Any]:
    """Return the JSON Schema of ``feature_store.yaml``, for editors.

    Example:
        >>> config_schema()["properties"]["project"]["type"]
        'string'
    """
    schema = msgspec.json.schema(RepoConfig)
    definitions: dict[str, Any] = schema.pop("$defs")
    root: dict[str, Any] = definitions.pop("RepoConfig")
    for key, (record, short) in BLOCKS.items():
        block = {"$ref": f"#/$defs/{record.__name__}"}
        words = root["properties"][key].get("description", "")
        choices = [block, {"type": "string"}] if short else [block]
        root["properties"][key] = {"description": words, "anyOf": choices}
    for part in [root, *definitions.values()]:
        part["additionalProperties"] = False
    definitions["OnlineStoreConfig"]["additionalProperties"] = True
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **root, "$defs": definitions}


def find_repo(start: Path) -> Path:
    """Return the repo that a folder belongs to: itself, one above it, or the only one right below it.

    Args:
        start: the folder to start from.

    Raises:
        RepoNotFound: there is none, or more than one below.
    """
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / FILE_NAME).is_file():
            return folder
    below = sorted(path.parent for path in start.glob(f"*/{FILE_NAME}"))
    if len(below) == 1:
        return below[0]
    if below:
        names = ", ".join(repr(folder.name) for folder in below)
        raise RepoNotFound(f"{start} holds several repos: {names}", cure="go into one of them, or give it with -c")
    raise RepoNotFound(f"there is no {FILE_NAME} in {start}, above it or right below it", cure="run 'likewise init'")
