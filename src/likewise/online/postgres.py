"""PostgreSQL: an online store in a database that many machines share; version 12 or later.

What lies in the database is what ``sql_store.py`` says, in one schema::

    likewise_tables (name bytea primary key, mark text, format int, needs text)
    lw_<mark>       (key bytea primary key, record bytea, rest bytea)

A read of any number of tables is one statement, so it sees one moment, in one round trip. A batch is one transaction
in one round trip: upserts of 1,000 rows each, which compare the stamps (bytes 9 to 26 of a record, as bytes) and write
what is not older. Rows are locked in the order of their keys, so that writers do not wait for each other in a circle;
where a swap and a write do, the server undoes one of them, and it is done again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from struct import pack, unpack
from typing import Any

from psycopg.conninfo import make_conninfo
from psycopg.pq import abc

from likewise.config import OnlineStoreConfig, PostgresStoreConfig, secret
from likewise.online.long_keys import Row
from likewise.online.postgres_server import TEXT, PostgresLink, Statement, array, array_with_nulls
from likewise.online.sql_pool import Pool
from likewise.online.sql_store import CATALOG, Entry, Rows, SqlStore, TablesChanged, path_in, table_of

_CREATE_CATALOG = """CREATE TABLE IF NOT EXISTS {catalog}
(name bytea PRIMARY KEY, mark text NOT NULL, format int NOT NULL, needs text NOT NULL)"""
# Updates find room in the page of the row they replace, so that the index stays as it is; large records are kept as
# they are, for they seldom shrink, and the part that is compared is found at once.
_CREATE = "CREATE TABLE {table} (key bytea PRIMARY KEY, record bytea NOT NULL, rest bytea) WITH (fillfactor = 85)"
_PLAIN = "ALTER TABLE {table} ALTER record SET STORAGE EXTERNAL, ALTER key SET STORAGE PLAIN"
_ADD = "INSERT INTO {catalog} (name, mark, format, needs) VALUES ($1, $2, $3, $4)"
_ENTRIES = "SELECT name, mark, format, needs FROM {catalog} WHERE name = ANY($1::bytea[])"
_FORGET = "DELETE FROM {catalog} WHERE mark = ANY($1::text[])"
# Stamps are bytes 9 to 26 of a record, which SQL counts from 1.
_UPSERT = """INSERT INTO {table} AS stored (key, record{rest}) SELECT * FROM unnest({arrays})
ON CONFLICT (key) DO UPDATE SET record = excluded.record
WHERE substring(excluded.record FROM 10 FOR 18) >= substring(stored.record FROM 10 FOR 18)"""
_LOCK = "SELECT count(*) FROM (SELECT FROM {table} WHERE key = ANY($1::bytea[]) ORDER BY key FOR UPDATE) AS locked"
_SWAP = """WITH asked AS MATERIALIZED (
    SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bytea[]) AS a (key, expected, record, rest)
), replaced AS (
    UPDATE {table} AS stored SET record = asked.record FROM asked
    WHERE stored.key = asked.key AND stored.record = asked.expected RETURNING stored.key
), added AS (
    INSERT INTO {table} (key, record, rest) SELECT key, record, rest FROM asked WHERE expected IS NULL
    ON CONFLICT DO NOTHING RETURNING key
) SELECT key FROM replaced UNION ALL SELECT key FROM added"""
_READ = "SELECT key, record FROM {table} WHERE key = ANY($1::bytea[])"
_RANGE = "SELECT key, rest, record FROM {table} WHERE key >= $1 AND key <= $2 ORDER BY key LIMIT $3"
_GUARD = Statement("SELECT pg_advisory_xact_lock(x'4C6B574F'::int)", prepared=False)
"""Waits for others that make or drop tables; the number spells "LkWO"."""


class PostgresStore(SqlStore):
    """An online store in a PostgreSQL database.

    Args:
        address: libpq's connection string or address.
        schema: the schema that holds the tables; it is made with the first of them.
        name: the server's name, for messages.
        seconds: how long a read may take, connecting included; 10 µs more for each key.
        write_seconds: how long a write or a page of a scan may take; 100 µs more for each record that is written.
        connections: how many there are at most.

    Example:
        >>> store = PostgresStore("host=localhost dbname=features")
        >>> store.close()
    """

    def __init__(
        self,
        address: str,
        *,
        schema: str = "public",
        name: str = "PostgreSQL",
        seconds: float = 1.0,
        write_seconds: float = 10.0,
        connections: int = 10,
    ) -> None:
        super().__init__(name, seconds, write_seconds)
        milliseconds = str(round(1000 * max(seconds, write_seconds)))
        settings = [
            ("default_transaction_isolation", "read committed"),
            ("statement_timeout", milliseconds),
            ("idle_in_transaction_session_timeout", milliseconds),
            # Every statement finds its rows by the primary key, however few there were when it was prepared.
            ("enable_seqscan", "off"),
            ("plan_cache_mode", "force_generic_plan"),
            ("max_parallel_workers_per_gather", "0"),
        ]
        self._pool = Pool(lambda: PostgresLink(address, name, settings), connections, name)
        self._schema = schema
        self._quoted = '"' + schema.replace('"', '""') + '"'
        self._catalog = f"{self._quoted}.{CATALOG}"

    def _entries(self, names: Sequence[bytes]) -> dict[bytes, Entry]:
        try:
            [found] = self._run([self._on_catalog(_ENTRIES, array(names))])
        except TablesChanged:
            return {}
        return {
            name: Entry(mark.decode(), unpack(">i", number)[0], needs.decode())
            for name, mark, number, needs in _cells(found)
        }

    def _make(self, entries: Mapping[bytes, Entry]) -> None:
        statements = [_GUARD, self._on_catalog(_CREATE_CATALOG)]
        for name, entry in entries.items():
            added = [name, entry.mark.encode(), pack(">i", entry.format), entry.needs.encode()]
            once = [self._on(entry.mark, text) for text in (_CREATE, _PLAIN)]
            statements += [*(Statement(text, prepared=False) for text in once), self._on_catalog(_ADD, *added)]
        try:
            self._run(statements)
        except TablesChanged:  # the schema is not there
            self._run([_GUARD, Statement(f"CREATE SCHEMA IF NOT EXISTS {self._quoted}", prepared=False), *statements])

    def _remove(self, names: Sequence[bytes]) -> None:
        marks = [entry.mark for entry in self._entries(names).values()]
        if marks:
            forgotten = self._on_catalog(_FORGET, array([mark.encode() for mark in marks], TEXT))
            drops = [Statement(self._on(mark, "DROP TABLE IF EXISTS {table}"), prepared=False) for mark in marks]
            self._run([_GUARD, forgotten, *drops])

    def _upsert(self, mark: str, pieces: Sequence[Rows]) -> int:
        results = self._run(self._upsert_of(mark, piece) for piece in pieces)
        return sum(int(result.command_tuples or 0) for result in results)

    def _upsert_of(self, mark: str, rows: Rows) -> Statement:
        arrays = [array(rows.keys), array(rows.records)]
        if not rows.rests:
            return Statement(self._on(mark, _UPSERT, arrays="$1::bytea[], $2::bytea[]", rest=""), arrays)
        text = self._on(mark, _UPSERT, arrays="$1::bytea[], $2::bytea[], $3::bytea[]", rest=", rest")
        return Statement(text, [*arrays, array_with_nulls(rows.rests)])

    def _exchange(self, mark: str, pieces: Sequence[Rows]) -> set[bytes]:
        statements: list[Statement] = []
        for rows in pieces:
            keys = array(rows.keys)
            rests = array_with_nulls(rows.rests or [None] * len(rows.keys))
            statements.append(Statement(self._on(mark, _LOCK), [keys]))
            asked = [keys, array_with_nulls(rows.expected), array(rows.records), rests]
            statements.append(Statement(self._on(mark, _SWAP), asked))
        return {key for result in self._run(statements)[1::2] for (key,) in _cells(result)}

    def _find(self, groups: Sequence[tuple[str, Sequence[bytes]]]) -> Sequence[Mapping[bytes, bytes]]:
        if len(groups) == 1:
            [(mark, keys)] = groups
            [found] = self._run([Statement(self._on(mark, _READ), [array(keys)])])
            return [dict(_cells(found))]
        parts = [
            f"SELECT {number}, key, record FROM {self._on(mark, '{table}')} WHERE key = ANY(${number + 1}::bytea[])"
            for number, (mark, _) in enumerate(groups)
        ]
        [found] = self._run([Statement(" UNION ALL ".join(parts), [array(keys) for _, keys in groups])])
        records: list[dict[bytes, bytes]] = [{} for _ in groups]
        for number, key, record in _cells(found):
            records[int.from_bytes(number)][key] = record
        return records

    def _range(self, mark: str, first: bytes, last: bytes, limit: int | None) -> list[Row]:
        most = None if limit is None else pack(">q", limit)
        [found] = self._run([Statement(self._on(mark, _RANGE), [first, last, most])])
        value = found.get_value
        return [Row(key, value(at, 1), record) for at, (key, _, record) in enumerate(_cells(found))]

    def _disconnect(self) -> None:
        self._pool.close()

    def _run(self, statements: Iterable[Statement]) -> list[abc.PGresult]:
        with self._pool.lend() as link:
            return link.run(statements)

    def _on(self, mark: str, text: str, **more: str) -> str:
        return text.format(table=f'{self._quoted}."{table_of(mark)}"', **more)

    def _on_catalog(self, text: str, *parameters: bytes) -> Statement:
        return Statement(text.format(catalog=self._catalog), parameters, prepared=False)


def _cells(found: abc.PGresult) -> Iterator[Any]:
    """Yield the rows of a result; hot."""
    value, width = found.get_value, range(found.nfields)
    if len(width) == 2:
        return ((value(at, 0), value(at, 1)) for at in range(found.ntuples))
    return ([value(at, column) for column in width] for at in range(found.ntuples))


def open_store(config: OnlineStoreConfig, root: str) -> PostgresStore:
    """Return the store in the database that a configuration names.

    Args:
        config: has the server and the settings, as its ``options``.
        root: the repo's folder, where relative paths start from.

    Raises:
        ConfigError: a secret cannot be read.
    """
    options: PostgresStoreConfig = config.options
    said: dict[str, Any] = {
        "host": options.host,
        "port": options.port,
        "dbname": options.database,
        "user": options.user,
        "password": secret(options.password, "the password of the online store", root),
        "sslmode": options.sslmode,
        "sslkey": path_in(root, options.sslkey_path),
        "sslcert": path_in(root, options.sslcert_path),
        "sslrootcert": path_in(root, options.sslrootcert_path),
        "keepalives_idle": options.keepalives_idle,
        "application_name": "likewise",
        "client_encoding": "utf8",
    }
    return PostgresStore(
        make_conninfo(**{key: value for key, value in said.items() if value}),
        schema=options.db_schema,
        name=f"postgres at {options.host}:{options.port}",
        seconds=options.timeout_seconds,
        write_seconds=options.write_timeout_seconds,
        connections=options.max_conn,
    )
