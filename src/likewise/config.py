"""Configuration: what ``feature_store.yaml`` says, as records. Feast's keys, each with its default and its meaning.

The reference page and the editor's JSON Schema are made from these records.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from likewise.core.errors import ConfigError, RepoNotFound
from likewise.core.names import near_misses
from likewise.core.secrets import without_secrets
from likewise.core.yaml_text import YamlFault, YamlLines, read_yaml

FILE_NAME = "feature_store.yaml"
"""The name of the configuration file, at the root of a repo."""
FILE_VARIABLES = ("LIKEWISE_FS_YAML_FILE_PATH", "FEAST_FS_YAML_FILE_PATH")
"""The environment variables that name another configuration file; the first that is set counts."""


class _Block(Struct, frozen=True, kw_only=True):
    """Keys of the configuration, which are shown with ``***`` in the place of every secret."""

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return list(without_secrets(msgspec.structs.asdict(self)).items())


class RegistryConfig(_Block, frozen=True, kw_only=True):
    """Where definitions and their history are kept."""

    registry_type: Annotated[
        str,
        Meta(
            description="`file` (one SQLite file), `sql` (a database that many machines share: a `path` with `://`) "
            "or `memory`."
        ),
    ] = "file"
    path: Annotated[
        str,
        Meta(
            min_length=1,
            description="file: the file, relative to the repo. sql: `postgresql://user@host/database`, "
            "`mysql://user@host/database` or `sqlite:///file.db`; Feast's forms with a driver, such as "
            "`postgresql+psycopg2://`, mean the same.",
        ),
    ] = "data/registry.db"
    password: Annotated[
        str,
        Meta(description="sql: `env:NAME`, `file:PATH` or the password itself; empty: what the path has."),
    ] = ""
    timeout_seconds: Annotated[
        float, Meta(gt=0, description="sql: how long connecting, and each statement, may take.")
    ] = 10.0
    sqlalchemy_config_kwargs: Annotated[
        dict[str, Any],
        Meta(
            description="sql: `pool_size` (2), `max_overflow` (6), `pool_recycle` (1800), `pool_timeout` "
            "(`timeout_seconds`) and `pool_pre_ping` (false) of SQLAlchemy; `echo` is accepted and not used."
        ),
    ] = {}
    cache_ttl_seconds: Annotated[
        float,
        Meta(
            ge=0,
            description="For how many seconds a process may answer from a catalog before it looks for a newer one.",
        ),
    ] = 1.0
    cache_mode: Annotated[str, Meta(description="Accepted and not used.")] = "sync"
    read_path: Annotated[str | None, Meta(description="Accepted and not used: `path` is read.")] = None
    thread_pool_executor_worker_count: Annotated[int, Meta(description="Accepted and not used.")] = 0
    purge_feast_metadata: Annotated[bool, Meta(description="Accepted and not used.")] = False
    registry_store_type: Annotated[str | None, Meta(description="Accepted and not used.")] = None


class OnlineStoreConfig(_Block, frozen=True, kw_only=True):
    """Where the latest values are kept for serving."""

    type: Annotated[
        str, Meta(description="`lmdb`, `sqlite`, `memory`, `redis`, `postgres`, `mysql`, `dynamodb` or `remote`.")
    ] = "lmdb"
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
    check_on_open: Annotated[
        bool,
        Meta(
            description="lmdb: whether the records of a store up to 16 MiB are checked when it is opened; "
            "`verify-online` and `rebuild-online` look at them one by one instead."
        ),
    ] = True
    verify_reads: Annotated[
        bool, Meta(description="Whether each online read checks the check sums of its records, a quarter slower.")
    ] = False
    connection_string: Annotated[
        str,
        Meta(
            min_length=1,
            description="redis: `host:port`, or a socket's path, then options: `db`, `username`, `password`, `ssl`, "
            "`ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`, `ssl_check_hostname`, `ssl_cert_reqs`, `client_name`, "
            "`sentinel_username`, `sentinel_password`, as in `cache:6379,db=0,ssl=true`.",
        ),
    ] = "localhost:6379"
    redis_type: Annotated[
        str, Meta(description="redis: `redis`, `redis_cluster` or `redis_sentinel`; the latter two take several hosts.")
    ] = "redis"
    sentinel_master: Annotated[str, Meta(description="redis: what the sentinels call the server.")] = "mymaster"
    password: Annotated[
        str,
        Meta(
            description="redis: `env:NAME`, `file:PATH` or the password itself; empty: what the connection string has."
        ),
    ] = ""
    key_ttl_seconds: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="redis: for how long a record is kept after it was last written, in seconds; empty: forever."),
    ] = None
    expire_with_ttl: Annotated[
        bool,
        Meta(
            description="redis: whether records of views with a ttl go an hour after it is over, by the clock of the "
            "server; `key_ttl_seconds` is for those of other views then."
        ),
    ] = False
    timeout_seconds: Annotated[
        float,
        Meta(gt=0, description="redis: how long a read may take, connecting included; 10 µs more for each key."),
    ] = 1.0
    write_timeout_seconds: Annotated[
        float, Meta(gt=0, description="redis: how long a step of a write or scan may take (up to 16,000 keys).")
    ] = 10.0
    full_scan_for_deletion: Annotated[bool, Meta(description="Accepted and not used.")] = True
    skip_dedup: Annotated[bool, Meta(description="Accepted and not used.")] = False
    options: Annotated[
        Any,
        Meta(
            description="The keys of a store of another type: the record of that type below, or, for a store of "
            "somebody else's, keys that are that store's own affair."
        ),
    ] = {}

    def __post_init__(self) -> None:
        """Make the record of the store's type of its keys.

        Raises:
            ConfigError: one says something that cannot be.
        """
        record = STORES.get(self.type)
        if record is not None and not isinstance(self.options, record):
            try:
                msgspec.structs.force_setattr(self, "options", _convert(dict(self.options), record, "online_store"))
            except _Fault as fault:
                raise ConfigError(f"OnlineStoreConfig: {fault.what}", cure=fault.cure) from fault


class RemoteStoreConfig(_Block, frozen=True, kw_only=True):
    """An online store of type `remote`: what `likewise serve` on another machine answers from."""

    path: Annotated[str, Meta(min_length=1, description="The server's address, such as `http://127.0.0.1:6566`.")] = (
        "http://127.0.0.1:6566"
    )
    key: Annotated[str, Meta(description="The access key: `env:NAME` or `file:PATH`; empty: none.")] = ""
    cert: Annotated[str, Meta(description="The file of the authorities to trust, PEM; empty: the system's.")] = ""
    timeout_seconds: Annotated[float, Meta(gt=0, description="How long a read may take, connecting included.")] = 1.0
    write_timeout_seconds: Annotated[float, Meta(gt=0, description="How long a step of a write or scan may take.")] = (
        10.0
    )
    connection_pool_size: Annotated[int, Meta(ge=1, description="The most connections.")] = 50
    connection_idle_timeout: Annotated[
        float, Meta(gt=0, description="For how many seconds a connection may stay without a request.")
    ] = 60.0
    connection_retries: Annotated[
        int, Meta(ge=0, description="Accepted and not used: a call whose connection broke is tried once more.")
    ] = 3


class SqlStoreConfig(_Block, frozen=True, kw_only=True):
    """The keys that the online stores in SQL databases share."""

    host: Annotated[str, Meta(description="The server's name, or the folder (MySQL: the file) of its socket.")] = (
        "localhost"
    )
    user: Annotated[str, Meta(description="Who connects; empty: who runs this.")] = ""
    password: Annotated[str, Meta(description="`env:NAME`, `file:PATH` or the password itself; empty: none.")] = ""
    sslmode: Annotated[
        Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"],
        Meta(description="How safe a connection must be; the last two look at the server's certificate."),
    ] = "prefer"
    sslrootcert_path: Annotated[str, Meta(description="The file of the authorities to trust, PEM.")] = ""
    sslcert_path: Annotated[str, Meta(description="The file of the client's certificate, PEM.")] = ""
    sslkey_path: Annotated[str, Meta(description="The file of its key, PEM.")] = ""
    max_conn: Annotated[int, Meta(ge=1, description="The most connections of one process.")] = 10
    timeout_seconds: Annotated[
        float, Meta(gt=0, description="How long a read may take, connecting included; 10 µs more for each key.")
    ] = 1.0
    write_timeout_seconds: Annotated[
        float,
        Meta(gt=0, description="How long a write or a page of a scan may take; 100 µs more for each record."),
    ] = 10.0


class PostgresStoreConfig(SqlStoreConfig, frozen=True, kw_only=True):
    """An online store of type `postgres`."""

    port: Annotated[int, Meta(ge=1, le=65535, description="Its port.")] = 5432
    database: Annotated[str, Meta(min_length=1, description="The database.")] = "postgres"
    db_schema: Annotated[
        str, Meta(min_length=1, description="The schema that holds the tables; it is made when it is not there.")
    ] = "public"
    keepalives_idle: Annotated[
        int, Meta(ge=0, description="After how many seconds of silence a connection is probed; 0: the system's.")
    ] = 0
    min_conn: Annotated[int, Meta(description="Accepted and not used.")] = 1
    conn_type: Annotated[str, Meta(description="Accepted and not used: connections are always kept.")] = "pool"
    vector_enabled: Annotated[bool, Meta(description="Accepted and not used.")] = False
    similarity: Annotated[str | None, Meta(description="Accepted and not used.")] = None


class MySQLStoreConfig(SqlStoreConfig, frozen=True, kw_only=True):
    """An online store of type `mysql`: MySQL or MariaDB."""

    port: Annotated[int, Meta(ge=1, le=65535, description="Its port.")] = 3306
    database: Annotated[str, Meta(min_length=1, description="The database.")] = "likewise"
    batch_write: Annotated[
        bool | None, Meta(description="Accepted and not used: batches are always written as such.")
    ] = None
    batch_size: Annotated[int | None, Meta(description="Accepted and not used.")] = None


class DynamoStoreConfig(_Block, frozen=True, kw_only=True):
    """An online store of type `dynamodb`. Who asks is found where AWS's programs look: environment, profile or role."""

    region: Annotated[str, Meta(description="The region; empty: what the environment says.")] = ""
    endpoint_url: Annotated[str | None, Meta(description="Another address of the service; empty: the region's.")] = ""
    table_name_template: Annotated[
        str, Meta(description="How tables are called, with `{project}` and `{table_name}` in it.")
    ] = "{project}.{table_name}"
    consistent_reads: Annotated[
        bool,
        Meta(description="Whether a read sees every write before it; if not, it costs half and may be a second old."),
    ] = True
    batch_size: Annotated[int, Meta(ge=1, le=100, description="How many keys one call reads at most.")] = 100
    max_read_workers: Annotated[int, Meta(ge=1, le=256, description="How many calls read at the same time.")] = 10
    max_write_workers: Annotated[int, Meta(ge=1, le=256, description="How many calls write at the same time.")] = 16
    tags: Annotated[
        dict[str, str] | None, Meta(description="Names and values for the tables that are made, for bills and rights.")
    ] = None
    timeout_seconds: Annotated[
        float, Meta(gt=0, description="How long a read may take, connecting included; 10 µs more for each key.")
    ] = 1.0
    write_timeout_seconds: Annotated[
        float, Meta(gt=0, description="How long a write or a page of a scan may take; 5 ms more for each record.")
    ] = 10.0
    session_based_auth: Annotated[bool, Meta(description="Accepted and not used.")] = False
    max_pool_connections: Annotated[
        int | None, Meta(description="Accepted and not used: there is a connection for each call at the same time.")
    ] = None
    keepalive_timeout: Annotated[float | None, Meta(description="Accepted and not used.")] = None
    connect_timeout: Annotated[float | None, Meta(description="Accepted; `timeout_seconds` counts.")] = None
    read_timeout: Annotated[float | None, Meta(description="Accepted; `timeout_seconds` counts.")] = None
    total_max_retry_attempts: Annotated[
        int | None, Meta(description="Accepted and not used: calls are made again as long as there is time.")
    ] = None
    retry_mode: Annotated[str | None, Meta(description="Accepted and not used.")] = None


STORES: Mapping[str, type[Struct]] = {
    "remote": RemoteStoreConfig,
    "postgres": PostgresStoreConfig,
    "mysql": MySQLStoreConfig,
    "dynamodb": DynamoStoreConfig,
}
"""The record of each type of online store that has keys of its own."""


class OfflineStoreConfig(_Block, frozen=True, kw_only=True):
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


class MaterializationConfig(_Block, frozen=True, kw_only=True):
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


class RepoConfig(_Block, frozen=True, kw_only=True):
    """The whole of ``feature_store.yaml``; a block may be given as its record, or as it stands in the file.

    Example:
        >>> RepoConfig(project="payments").online_store.type
        'lmdb'
        >>> RepoConfig(project="payments", registry="reg.db", online_store={"type": "sqlite"}).registry.path
        'reg.db'
    """

    project: Annotated[
        str,
        Meta(
            pattern=r"^\w+([-.]\w+)*$",
            max_length=255,
            description="The name under which the repo's definitions live: letters, digits, `_`, and inner `-` or `.`.",
        ),
    ]
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
    feature_server: Annotated[Any, Meta(description="Accepted; `likewise serve` takes options instead.")] = None
    auth: Annotated[Any, Meta(description="Accepted as `no_auth`; other kinds come in a later version.")] = None
    flags: Annotated[Any, Meta(description="Accepted and not used.")] = None
    openlineage: Annotated[Any, Meta(description="Accepted and not used.")] = None
    mlflow: Annotated[Any, Meta(description="Accepted and not used.")] = None
    data_quality_monitoring: Annotated[Any, Meta(description="Accepted and not used.")] = None
    embedding_model: Annotated[Any, Meta(description="Accepted and not used.")] = None

    def __post_init__(self) -> None:
        """Make records of blocks that are given as they stand in the file.

        Raises:
            ConfigError: one says something that cannot be.
        """
        given: Mapping[str, object] = msgspec.structs.asdict(self)
        for key, (record, short) in BLOCKS.items():
            if not isinstance(given[key], record):
                try:
                    msgspec.structs.force_setattr(self, key, _block(given[key], key, record, short))
                except _Fault as fault:
                    raise ConfigError(f"RepoConfig: {fault.what}", cure=fault.cure) from fault


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
    data = _yaml(text, where)
    if not isinstance(data, dict):
        raise ConfigError(f"{where} holds no keys", cure="write at least 'project: name'")
    try:
        return _read(data)
    except _Fault as fault:
        line = _line_of(text, fault.keys)
        raise ConfigError(f"{where}{line}: {fault.what}", cure=fault.cure) from fault


class _Fault(Exception):
    """Something that cannot be, and the keys that lead to it."""

    def __init__(self, keys: Sequence[str], what: str, cure: str) -> None:
        super().__init__(what)
        self.keys = tuple(keys)
        self.what = what
        self.cure = cure


def _read(given: dict[Any, Any]) -> RepoConfig:
    data = _Expander().expand(given)
    for key, (record, short) in BLOCKS.items():
        if key in data:
            data[key] = _block(data[key], key, record, short)
    return _convert(data, RepoConfig)


def _yaml(text: str, where: str) -> Any:
    try:
        return read_yaml(text)
    except YamlFault as fault:
        line = f":{fault.line}" if fault.line else ""
        raise ConfigError(f"{where}{line} {fault.what}", cure=fault.cure) from fault


def _line_of(text: str, keys: Sequence[str]) -> str:
    """Return where a key stands in a file, as ``:3``; empty when it is not there."""
    line = YamlLines(text).of(keys)
    return f":{line}" if line else ""


class _Expander:
    """Replaces environment variables in values."""

    _REFERENCE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}|\$(\w+)")

    def __init__(self) -> None:
        self._keys: list[str] = []

    def expand(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): self._expand_at(str(key), inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.expand(inner) for inner in value]
        return self._REFERENCE.sub(self._value, value) if isinstance(value, str) else value

    def _expand_at(self, key: str, value: Any) -> Any:
        self._keys.append(key)
        found = self.expand(value)
        self._keys.pop()
        return found

    def _value(self, match: re.Match[str]) -> str:
        braced, default, bare = match.groups()
        found = os.environ.get(braced or bare)
        if found is not None:
            return found
        if bare is not None:
            return match[0]
        if default is not None:
            return default
        what = f"{'.'.join(self._keys)} uses ${{{braced}}}, which is not set"
        raise _Fault(self._keys, what, f"set it, or write ${{{braced}:-default}}")


def _block(value: Any, key: str, record: type[Struct], short: str) -> Any:
    if isinstance(value, str | os.PathLike) and short:
        value = {short: os.fspath(value)}
    if value is None:
        return record()
    value = dict(value) if isinstance(value, Mapping) else value
    if not isinstance(value, dict):
        raise _Fault([key], f"{key} is {value!r}", f"give it keys, such as {key}: {{{short or 'chunk_rows'}: …}}")
    scheme = str(value.get("path", "")).partition("://")[0]
    if key == "registry" and scheme in ("s3", "gs", "gcs", "hdfs", "az", "abfss"):
        what = f"registry.path={value['path']!r} is in an object store ({scheme}), which this version does not read"
        raise _Fault([key, "path"], what, "give the path of a local file")
    if key == "registry" and "://" in str(value.get("path", "")):
        value.setdefault("registry_type", "sql")
    if key == "online_store":
        return _store_block(value)
    return _convert(value, record, key)


def _store_block(value: dict[str, Any]) -> OnlineStoreConfig:
    """Take the block of a store of another kind as it is: what it may say is that store's own affair."""
    kind = value.get("type", "lmdb")
    if not isinstance(kind, str):
        what = f"online_store.type={kind!r} is not text"
        raise _Fault(["online_store", "type"], what, "give a type, such as lmdb, sqlite or memory")
    if kind in ("lmdb", "sqlite", "memory", "redis"):
        for feast_only in ("vector_enabled", "text_search_enabled"):
            value.pop(feast_only, None)
        return _convert(value, OnlineStoreConfig, "online_store")
    shared = {key: inner for key, inner in value.items() if key in ("type", "verify_reads")}
    options: Any = {key: inner for key, inner in value.items() if key not in shared}
    if kind in STORES:
        options = _convert(options, STORES[kind], "online_store")
    return _convert({**shared, "options": options}, OnlineStoreConfig, "online_store")


S = TypeVar("S", bound=Struct)
_PATH = re.compile(r"(?P<said>.*?)(?: - at `\$(?P<path>[^`]*)`)?", re.DOTALL)
_WORDS: Mapping[str, str] = {
    "`str`": "text",
    "`int`": "a whole number",
    "`float`": "a number",
    "`bool`": "true or false",
    "`object`": "keys",
    "`array`": "a list",
}


def _convert(data: dict[str, Any], record: type[S], block: str = "") -> S:
    known = [field.name for field in msgspec.structs.fields(record)]
    above = [block] if block else []
    for key in data:
        if key not in known:
            raise _Fault([*above, key], f"there is no key {'.'.join([*above, key])!r}", near_misses(key, known))
    try:
        return msgspec.convert(data, record, strict=False, from_attributes=True)
    except msgspec.ValidationError as error:
        raise _misfit(str(error), data, above) from error


def _misfit(said: str, data: Mapping[str, Any], above: Sequence[str]) -> _Fault:
    """Put what msgspec says of a value into words: the key, the value, and what it should be."""
    found = _PATH.fullmatch(said)
    keys = [step for step in (found["path"] or "").split(".") if step] if found is not None else []
    if not keys:
        missing = said.partition("required field `")[2].rstrip("`")
        return _Fault(above, f"the key {missing!r} is missing", f"write '{missing}: name'")
    value: Any = data
    for step in keys:
        value = value.get(step) if isinstance(value, Mapping) else value
    name = ".".join([*above, *keys])
    return _Fault([*above, *keys], f"{name}={value!r} cannot be", f"give {_wanted(found['said'] if found else said)}")


def _wanted(said: str) -> str:
    """Return what msgspec expects, in words: ``Expected `int` >= 1000`` is a whole number of at least 1000."""
    kind, _, bound = said.removeprefix("Expected ").partition(", got")[0].partition(" ")
    words = " or ".join(_WORDS.get(one, one) for one in kind.split(" | "))
    if "matching regex" in bound:
        return "letters, digits, '_', and inner '-' or '.'"
    if bound.startswith("of length"):
        return f"{words} of {bound.removeprefix('of length ').replace('>=', 'at least').replace('<=', 'at most')} signs"
    for sign, meaning in ((">=", "at least"), ("<=", "at most"), (">", "more than"), ("<", "less than")):
        if bound.startswith(sign):
            return f"{words}, {meaning} {bound.removeprefix(sign).strip().removesuffix('.0')}"
    return words


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


def secret(reference: str, what: str, root: str | os.PathLike[str] = "") -> str:
    """Return the secret that a reference stands for; what is no reference is the secret itself.

    Args:
        reference: ``env:NAME``, ``file:PATH`` (its text, without the line's end), or anything else.
        what: whose secret it is, for messages.
        root: the folder that a relative path starts from.

    Raises:
        ConfigError: the variable is not set, or the file cannot be read; the message never holds a secret.

    Example:
        >>> secret("hunter2", "the password of the online store")
        'hunter2'
    """
    kind, _, name = reference.partition(":")
    if kind == "env":
        found = os.environ.get(name)
        if found is None:
            raise ConfigError(f"{what} is in the variable {name!r}, which is not set", cure="set it")
        return found
    if kind == "file":
        try:
            return (Path(root) / name).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            said = f"{what} is in the file {name!r}, which cannot be read: {error}"
            raise ConfigError(said, cure="check its path and who may read it") from error
    return reference


def place_of(folder: Path | None, file: str | os.PathLike[str] | None) -> tuple[Path, Path]:
    """Return the repo's folder, where relative paths start from, and the file that configures it.

    Args:
        folder: the repo's folder, when it is given.
        file: a file to read instead of the repo's own; None: what the environment names, else the repo's own. Without
            a folder the repo is that of the working folder; if there is none, it is the file's folder when the file is
            a ``feature_store.yaml``, else the working folder.
    """
    other = file or next(filter(None, map(os.environ.get, FILE_VARIABLES)), None)
    if other is None:
        repo = (folder or Path()).resolve()
        return repo, repo / FILE_NAME
    path = Path(other).absolute()
    return (folder.resolve() if folder is not None else _repo_around(path)), path


def _repo_around(file: Path) -> Path:
    try:
        return find_repo(Path.cwd())
    except RepoNotFound:
        return file.resolve().parent if file.name == FILE_NAME else Path.cwd().resolve()


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
