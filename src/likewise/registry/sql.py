"""SqlRegistry: the registry in a database that many machines share: PostgreSQL, MySQL, MariaDB, or a SQLite file.

A commit is compare-and-set in one short transaction: its catalog's row takes the number, and the primary key (project,
number) decides between two that want it; the slower one is undone, looks again, and says what the faster one did.
Nothing locks a table. Values of the side table are written one transaction after the other, behind the row of their
clock. A read is one transaction too, on which all queries see the same moment.
"""

from __future__ import annotations

import os
import random
import sys
import time
import weakref
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as NoConnectionLeft
from sqlalchemy.schema import CreateTable

from likewise.core.errors import BackendMissing, ConfigError, LikewiseError, StoreError, StoreFull, StoreUnavailable
from likewise.core.names import near_misses
from likewise.registry.base import RegistryReadOnly, RegistryTooNew
from likewise.registry.catalog import Catalog
from likewise.registry.crash import CrashHook, no_crash
from likewise.registry.rows import NoRows, RowReader, RowWriter
from likewise.registry.sql_address import Address, parse_address
from likewise.registry.sql_drivers import Driver, Trouble, sqlite_driver
from likewise.registry.sql_rows import CLOCK, FORMATS, METADATA, SqlRows
from likewise.registry.stored import COMMIT_POINTS, StoredRegistry

T = TypeVar("T")
FORMAT = 1
"""The newest format of the tables that this version reads, and the one it writes."""
NEEDS = "0.1.0"
"""The oldest version of Likewise that reads :data:`FORMAT`; older ones tell their users so."""
TRIES = 20
"""How often something is tried at most while others are in the way, or where a connection was lost."""
CRASH_POINTS = ("registry.create.tables", "registry.create.done", *COMMIT_POINTS)
"""The moments of a first commit, in order but for its beginning."""
SETTINGS: Mapping[str, Any] = MappingProxyType(
    {
        "pool_size": 2,
        "max_overflow": 6,
        "pool_recycle": 1800,
        "pool_pre_ping": False,
        "pool_timeout": None,
        "echo": None,
    }
)
"""The settings of SQLAlchemy that may be given, with their defaults; None: ``pool_timeout`` is that of the registry,
and ``echo`` is accepted and not used, because it prints definitions."""


class CommitInDoubt(StoreUnavailable):
    """The connection was lost while a transaction ended: nobody here knows whether it is stored."""

    def __init__(self, place: str, outcome: object) -> None:
        self.outcome = outcome
        super().__init__(
            f"the connection to the registry {place!r} was lost in the middle of a commit; it may be stored or not",
            cure="see 'likewise history', then try again",
        )


class SqlRegistry(StoredRegistry):
    """A registry in a database; its tables are made by the first write.

    Args:
        url: the database, such as ``postgresql://user:password@host/database``.
        password: the password, instead of the URL's; empty: what the URL has.
        root: the folder that the relative path of a SQLite file starts from.
        seconds: how long connecting, and each statement, may take, in seconds.
        settings: settings of SQLAlchemy's engine: those of :data:`SETTINGS`.
        crash: called with the name of each crash point of a write.

    Raises:
        ConfigError: the URL or a setting cannot be.
        BackendMissing: the driver is not installed.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> with SqlRegistry(f"sqlite:///{folder.name}/registry.db") as registry:
        ...     first = registry.commit("demo", 0, [{"kind": "entity", "name": "card"}], message="hello", now=1)
        ...     print(registry.head("demo"), [info.message for info in registry.history("demo")])
        1 ['hello']
        >>> folder.cleanup()
    """

    def __init__(
        self,
        url: str,
        *,
        password: str = "",
        root: str = "",
        seconds: float = 10.0,
        settings: Mapping[str, Any] = MappingProxyType({}),
        crash: CrashHook = no_crash,
    ) -> None:
        self._address = parse_address(url, password, root)
        super().__init__(self._address.shown, crash)
        self._seconds = seconds
        self._driver = _driver(self._address.url, seconds)
        self.engine = _engine(self._address, self._driver, seconds, settings)
        self._has_tables = False
        _OPEN.add(self)

    def head(self, project: str) -> int:
        """Return the number of the newest catalog, 0 if there is none: one indexed query, outside of a transaction."""
        if not self._has_tables or self._address.url.get_backend_name() == "sqlite":
            return super().head(project)
        options = {"isolation_level": "AUTOCOMMIT"}
        return self._tried(lambda: self._run(options, lambda rows: self._rows(rows, project).head()[0]))

    def read(self, work: Callable[[RowReader], T]) -> T:
        """Return what ``work`` makes of the rows, all of one moment; there are none while there are no tables."""
        options = {"isolation_level": self._driver.reading} if self._driver.reading else {}
        return self._tried(lambda: self._run(options, work))

    def write(self, work: Callable[[RowWriter], T]) -> T:
        """Return what ``work`` makes of the rows, in one transaction; again where others were faster."""
        return self._tried(lambda: self._written(work))

    def commit(self, project: str, expected: int, *args: Any, **more: Any) -> Catalog:
        """Make the next catalog of a project, if the newest one is still the expected one.

        Where the connection is lost at the very end, what is stored is looked up: the seal tells the own catalog.
        """
        try:
            return super().commit(project, expected, *args, **more)
        except CommitInDoubt as doubt:
            made = doubt.outcome
            if not isinstance(made, Catalog) or self.head(project) < made.number:
                raise
            found = self.catalog(project, made.number)
            if found.seal != made.seal:
                raise
            return found

    def close(self) -> None:
        """Close the connections; the registry opens others when it is used again."""
        self.engine.dispose()
        self.forget()

    def let_go(self) -> None:
        """Forget the connections without closing them: they are another process's."""
        self.engine.dispose(close=False)

    def _run(self, options: Mapping[str, Any], work: Callable[[RowReader], T]) -> T:
        with self.engine.connect().execution_options(**options) as connection:
            if not self._has_tables and not self._find_tables(connection):
                return work(NoRows())
            return work(SqlRows(connection))

    def _written(self, work: Callable[[RowWriter], T]) -> T:
        options = {"isolation_level": self._driver.writing} if self._driver.writing else {}
        with self.engine.connect().execution_options(likewise_writes=True, **options) as connection:
            if not self._has_tables and not self._find_tables(connection):
                self._make_tables(connection)
            outcome = work(SqlRows(connection))
            try:
                connection.commit()
            except DBAPIError as error:
                if self._driver.trouble(error.orig or error) in (Trouble.LOST, Trouble.SLOW):
                    raise CommitInDoubt(self.place, outcome) from error
                raise
        return outcome

    def _find_tables(self, connection: Connection) -> bool:
        """Say whether the tables are there, in a format that this version knows."""
        if not inspect(connection).has_table(FORMATS.name):
            return False
        stated = connection.execute(select(FORMATS.c.format, FORMATS.c.needs)).first()
        if stated is None:
            return False
        if stated.format > FORMAT:
            raise RegistryTooNew(self.place, stated.format, FORMAT, stated.needs)
        self._has_tables = True
        return True

    def _make_tables(self, connection: Connection) -> None:
        """Make the tables; the format is written last, and only with it they count."""
        METADATA.create_all(connection)
        self._crash("registry.create.tables")
        connection.execute(insert(CLOCK), {"id": 1, "version": 0})
        connection.execute(insert(FORMATS), {"id": 1, "format": FORMAT, "needs": NEEDS})
        connection.commit()
        self._crash("registry.create.done")
        self._has_tables = True

    def _tried(self, attempt: Callable[[], T]) -> T:
        """Return what an attempt does; try again what can succeed then, until the time is over."""
        end = time.monotonic() + self._seconds
        for number in range(TRIES):
            try:
                return attempt()
            except NoConnectionLeft as error:
                raise self._named(Trouble.BUSY, error) from error
            except DBAPIError as error:
                trouble = self._driver.trouble(error.orig or error)
                self._has_tables = self._has_tables and trouble is not Trouble.NO_TABLE
                if not self._may_retry(trouble, error, number) or time.monotonic() > end:
                    raise self._named(trouble, error.orig or error) from error
            except StatementError as error:
                if isinstance(error.orig, LikewiseError):  # our own types refused a value
                    raise error.orig from None
                raise self._named(Trouble.OTHER, error) from error
            time.sleep(random.uniform(0, min(0.1, 0.002 * 2**number)))
        raise self._named(Trouble.BUSY, None)

    def _may_retry(self, trouble: Trouble, error: DBAPIError, number: int) -> bool:
        if trouble is Trouble.LOST:  # a connection from the pool may be older than the server; a new one is not
            return number < 2 and error.connection_invalidated
        return number < TRIES - 1 and trouble in (Trouble.BUSY, Trouble.TAKEN)

    def _named(self, trouble: Trouble, error: BaseException | None) -> LikewiseError:
        said = self._address.scrubbed(" ".join(str(error).split("\n", 1)[0].split())) if error is not None else ""
        place = f"the registry {self.place!r}"
        match trouble:
            case Trouble.LOST:
                cure = "start the server, or correct registry: in feature_store.yaml"
                return StoreUnavailable(f"{place} cannot be reached: {said}", cure=cure)
            case Trouble.SLOW:
                what = f"{place} did not answer within {self._seconds:g} s"
                return StoreUnavailable(what, cure="try again when the server is less busy, or look after it")
            case Trouble.BUSY | Trouble.TAKEN:
                what = f"others kept writing to {place} for {self._seconds:g} s, or {TRIES} times"
                return StoreUnavailable(what, cure="try again")
            case Trouble.READ_ONLY:
                cure = "give this user the right to read and write its tables, or name another registry"
                return RegistryReadOnly(f"{place} may not be written: {said}", cure=cure)
            case Trouble.FULL:
                return StoreFull(f"no space is left for {place}: {said}", cure="free some space; nothing was changed")
            case Trouble.NO_TABLE:
                cure = "put them back, or open the store anew to begin with an empty registry"
                return StoreError(f"tables of {place} were removed while it was in use", cure=cure)
        return StoreError(f"{place} failed: {said}", cure="look at the server's log, then try again")


def schema_of(url: str) -> list[str]:
    """Return the statements that make the tables, for whoever makes them by hand.

    Args:
        url: the database; only what kind it is counts, nothing is connected to.

    Example:
        >>> schema_of("postgresql://db/x")[0].startswith("CREATE TABLE likewise_")
        True
    """
    address = parse_address(url)
    dialect = address.url.get_dialect()()
    made = [str(CreateTable(table).compile(dialect=dialect)).strip() for table in METADATA.sorted_tables]
    inserts = [
        f"INSERT INTO {CLOCK.name} (id, version) VALUES (1, 0)",
        f"INSERT INTO {FORMATS.name} (id, format, needs) VALUES (1, {FORMAT}, '{NEEDS}')",
    ]
    return [*made, *inserts]


def _driver(url: URL, seconds: float) -> Driver:
    try:
        match url.get_backend_name():
            case "postgresql":
                from likewise.registry.sql_postgres import postgres_driver

                return postgres_driver(seconds)
            case "mysql" | "mariadb":
                from likewise.registry.sql_mysql import mysql_driver

                return mysql_driver(seconds)
        return sqlite_driver(seconds)
    except ImportError as error:
        what = f"{url.drivername!r} needs {error.name}, which is not installed"
        raise BackendMissing(what, cure='pip install "likewise[sql]"') from error


def _engine(address: Address, driver: Driver, seconds: float, settings: Mapping[str, Any]) -> Engine:
    unknown = next((key for key in settings if key not in SETTINGS), None)
    if unknown is not None:
        what = f"registry: sqlalchemy_config_kwargs has {unknown!r}, which cannot be given"
        raise ConfigError(what, cure=near_misses(unknown, SETTINGS))
    wanted = {**SETTINGS, "pool_timeout": seconds, **settings}
    del wanted["echo"]
    try:
        given = {**driver.arguments, **address.more}
        engine = create_engine(address.url, connect_args=given, hide_parameters=True, **wanted)
    except (TypeError, ValueError, SQLAlchemyError) as error:
        raise ConfigError(f"registry: sqlalchemy_config_kwargs={dict(settings)!r} cannot be: {error}") from error
    connect = driver.connect
    if connect is not None:
        event.listen(engine, "do_connect", lambda dialect, record, args, more: connect(*args, **more))
    event.listen(engine, "connect", lambda connection, record: driver.begin(connection))
    if address.url.get_backend_name() == "sqlite":
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("likewise_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


_OPEN: weakref.WeakSet[SqlRegistry] = weakref.WeakSet()


def _let_go_after_fork() -> None:
    for registry in list(_OPEN):
        registry.let_go()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_let_go_after_fork)  # two processes cannot talk over one connection


class SqlSettings(Protocol):
    """What :func:`open_registry` needs of a configuration."""

    @property
    def path(self) -> str:
        """The URL."""
        ...

    @property
    def password(self) -> str:
        """The password itself; empty: what the URL has."""
        ...

    @property
    def timeout_seconds(self) -> float:
        """How long connecting, and each statement, may take."""
        ...

    @property
    def sqlalchemy_config_kwargs(self) -> Mapping[str, Any]:
        """Settings of the engine."""
        ...


def open_registry(config: SqlSettings, root: str) -> SqlRegistry:
    """Return the registry in the database that a configuration names.

    Args:
        config: has the URL and what goes with it; the password is itself, not a reference.
        root: the repo's folder.
    """
    return SqlRegistry(
        config.path,
        password=config.password,
        root=root,
        seconds=config.timeout_seconds,
        settings=config.sqlalchemy_config_kwargs,
    )
