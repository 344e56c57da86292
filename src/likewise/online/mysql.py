"""MySQL and MariaDB: an online store in a database that many machines share; MySQL 8 or MariaDB 10.5, or later.

What lies in the database is what ``sql_store.py`` says, in InnoDB tables of bytes, without any collation::

    likewise_tables  (name, mark, format, needs)
    likewise_dropped (mark)                          SQL tables that are to be dropped, or are not wholly made yet
    lw_<mark>        (key, record, turn, rest)       turn: changes whenever the record is written again

A read of any number of tables is one statement, so it sees one moment, in one round trip; one of more than 10,000 keys
is several in a read-only transaction. A batch is one transaction of upserts, which compare the stamps (bytes 9 to 26 of
a record) and write what is not older; a small one is a single statement. MySQL counts a row that is written with what
it holds already as not changed, so ``turn`` is changed with it. Rows are locked in the order of their keys; where that
does not keep two writers from waiting for each other, the server undoes one of them, and it is done again.

MySQL ends a transaction before it makes or drops a table, so that is done in steps that whoever comes next can finish,
by one at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import compress

from likewise.config import MySQLStoreConfig, OnlineStoreConfig, secret
from likewise.core.errors import StoreUnavailable
from likewise.online.long_keys import LONGEST, Row
from likewise.online.mysql_server import Address, MySQLLink, literals
from likewise.online.sql_pool import Pool
from likewise.online.sql_store import (
    CATALOG,
    Conflict,
    Entry,
    Rows,
    SqlStore,
    TablesChanged,
    path_in,
    table_of,
)

_DROPPED = "likewise_dropped"
_ENGINE = "ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET binary"
_CREATE_CATALOG = (
    f"CREATE TABLE IF NOT EXISTS {CATALOG} (name VARBINARY({LONGEST}) NOT NULL PRIMARY KEY,"
    f" mark VARBINARY(64) NOT NULL, format INT NOT NULL, needs VARBINARY(64) NOT NULL) {_ENGINE}",
    f"CREATE TABLE IF NOT EXISTS {_DROPPED} (mark VARBINARY(64) NOT NULL PRIMARY KEY) {_ENGINE}",
)
_CREATE = (
    f"CREATE TABLE {{table}} (`key` VARBINARY({LONGEST}) NOT NULL PRIMARY KEY, record LONGBLOB NOT NULL,"
    f" turn TINYINT NOT NULL DEFAULT 0, rest LONGBLOB) {_ENGINE}"
)
# Stamps are bytes 9 to 26 of a record, which SQL counts from 1. Assignments are made from left to right.
_NEWER = "SUBSTR(VALUES(record), 10, 18) >= SUBSTR(record, 10, 18)"
_IF_NEWER = f"turn = IF({_NEWER}, 1 - turn, turn), record = IF({_NEWER}, VALUES(record), record)"
_ALWAYS = "record = VALUES(record)"
_NEVER = "turn = turn"
_GUARD = "CONCAT('lw', SHA1(DATABASE()))"
_AT_ONCE = 10_000
"""How many keys one statement reads at most."""


class MySQLStore(SqlStore):
    """An online store in a MySQL or MariaDB database, which must be there.

    Args:
        address: where, and how to log in.
        seconds: how long a read may take, connecting included; 10 µs more for each key.
        write_seconds: how long a write or a page of a scan may take; 100 µs more for each record that is written.
        connections: how many there are at most.

    Example:
        >>> from likewise.online.mysql_server import Address
        >>> store = MySQLStore(Address("localhost", 3306, "features", "likewise", ""))
        >>> store.close()
    """

    piece_bytes = 400_000  # as hex numbers they are twice as many, and a server may take no more than a megabyte

    def __init__(
        self, address: Address, *, seconds: float = 1.0, write_seconds: float = 10.0, connections: int = 10
    ) -> None:
        super().__init__(str(address), seconds, write_seconds)
        longest = max(seconds, write_seconds)
        self._pool = Pool(lambda: MySQLLink(address, longest), connections, str(address))

    def _entries(self, names: Sequence[bytes]) -> dict[bytes, Entry]:
        try:
            with self._pool.lend() as link:
                return _entries(link, names)
        except TablesChanged:
            return {}

    def _make(self, entries: Mapping[bytes, Entry]) -> None:
        with self._alone() as link:
            link.run(*_CREATE_CATALOG)
            there = _entries(link, list(entries))
            missing = {name: entry for name, entry in entries.items() if name not in there}
            if not missing:
                return
            marks = literals(entry.mark.encode() for entry in missing.values())
            link.run(f"INSERT INTO {_DROPPED} VALUES ({marks.replace(',', '),(')})")
            for entry in missing.values():
                link.run(_CREATE.format(table=table_of(entry.mark)))
            added = ",".join(
                f"({literals([name, entry.mark.encode()])},{entry.format},{literals([entry.needs.encode()])})"
                for name, entry in missing.items()
            )
            link.run(
                "START TRANSACTION",
                f"INSERT INTO {CATALOG} VALUES {added}",
                f"DELETE FROM {_DROPPED} WHERE mark IN ({marks})",
                "COMMIT",
            )

    def _remove(self, names: Sequence[bytes]) -> None:
        with self._alone() as link:
            try:
                some = f"FROM {CATALOG} WHERE name IN ({literals(names)})"
                link.run("START TRANSACTION", f"INSERT INTO {_DROPPED} SELECT mark {some}", f"DELETE {some}", "COMMIT")
            except TablesChanged:
                return
            [left] = link.run(f"SELECT mark FROM {_DROPPED}")
            for (mark,) in left.rows:
                link.run(f"DROP TABLE IF EXISTS {table_of(mark.decode())}")
                link.run(f"DELETE FROM {_DROPPED} WHERE mark = {literals([mark])}")

    def _upsert(self, mark: str, pieces: Sequence[Rows]) -> int:
        with self._pool.lend() as link:
            return sum(_insert(link, mark, piece, _IF_NEWER) for piece in _in_transaction(link, pieces))

    def _exchange(self, mark: str, pieces: Sequence[Rows]) -> set[bytes]:
        won: set[bytes] = set()
        with self._pool.lend() as link:
            link.run("START TRANSACTION")
            for piece in pieces:
                won |= _swap(link, mark, piece)
            link.run("COMMIT")
        return won

    def _find(self, groups: Sequence[tuple[str, Sequence[bytes]]]) -> Sequence[Mapping[bytes, bytes]]:
        records: list[dict[bytes, bytes]] = [{} for _ in groups]
        statements = list(_selects(groups))
        with self._pool.lend() as link:
            if len(statements) > 1:
                link.run(
                    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
                    "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
                )
            for statement in statements:
                [found] = link.run(statement)
                if len(groups) == 1:
                    records[0].update(found.rows)
                else:
                    for number, key, record in found.rows:
                        records[int(number)][key] = record
            if len(statements) > 1:
                link.run("COMMIT")
        return records

    def _range(self, mark: str, first: bytes, last: bytes, limit: int | None) -> list[Row]:
        between = f"`key` >= {literals([first])} AND `key` <= {literals([last])}"
        most = "" if limit is None else f" LIMIT {limit:d}"
        with self._pool.lend() as link:
            [found] = link.run(f"SELECT `key`, rest, record FROM {table_of(mark)} WHERE {between} ORDER BY `key`{most}")
        return [Row(*row) for row in found.rows]

    def _disconnect(self) -> None:
        self._pool.close()

    @contextmanager
    def _alone(self) -> Iterator[MySQLLink]:
        """Lend a link while no other one makes or drops tables; it is not used again, which gives the lock back."""
        with self._pool.lend() as link:
            try:
                [got] = link.run(f"SELECT GET_LOCK({_GUARD}, {max(1, round(self._write_seconds))})")
                if got.rows[0][0] != "1":
                    raise StoreUnavailable(f"{self._name}: another one makes or drops tables", cure="try again")
                yield link
            finally:
                link.close()


def _entries(link: MySQLLink, names: Sequence[bytes]) -> dict[bytes, Entry]:
    [found] = link.run(f"SELECT name, mark, format, needs FROM {CATALOG} WHERE name IN ({literals(names)})")
    return {name: Entry(mark.decode(), int(number), needs.decode()) for name, mark, number, needs in found.rows}


def _in_transaction(link: MySQLLink, pieces: Sequence[Rows]) -> Iterator[Rows]:
    """Yield the pieces of a batch, between begin and end of a transaction if it needs one."""
    if len(pieces) == 1:
        yield pieces[0]
        return
    link.run("START TRANSACTION")
    yield from pieces
    link.run("COMMIT")


def _insert(link: MySQLLink, mark: str, rows: Rows, otherwise: str) -> int:
    """Insert rows, and do something else with those whose keys are there; return how many were written."""
    table = table_of(mark)
    if not rows.keys:
        link.run(f"SELECT 1 FROM {table} LIMIT 0")
        return 0
    pairs = zip(rows.keys, rows.records, strict=True)
    if rows.rests:
        values = ",".join([f"({literals(pair)},{_rest(rest)})" for pair, rest in zip(pairs, rows.rests, strict=True)])
    else:
        values = ",".join([f"(0x{key.hex()},0x{record.hex()},NULL)" for key, record in pairs])
    [done] = link.run(f"INSERT INTO {table} (`key`, record, rest) VALUES {values} ON DUPLICATE KEY UPDATE {otherwise}")
    return done.changed - done.updated


def _rest(rest: bytes | None) -> str:
    return "NULL" if rest is None else literals([rest])


def _swap(link: MySQLLink, mark: str, rows: Rows) -> set[bytes]:
    """Write what is expected to be written; return the keys."""
    keys = literals(rows.keys) or "NULL"
    [found] = link.run(f"SELECT `key`, record FROM {table_of(mark)} WHERE `key` IN ({keys}) FOR UPDATE")
    held = dict(found.rows)
    won = [held.get(key) == expected for key, expected in zip(rows.keys, rows.expected, strict=True)]
    there = [key in held for key in rows.keys]
    replaced = _chosen(rows, [good and old for good, old in zip(won, there, strict=True)])
    added = _chosen(rows, [good and not old for good, old in zip(won, there, strict=True)])
    if replaced.keys:
        _insert(link, mark, replaced, _ALWAYS)
    if added.keys and _insert(link, mark, added, _NEVER) < len(added.keys):
        raise Conflict("another one has added a key meanwhile")
    return {*replaced.keys, *added.keys}


def _chosen(rows: Rows, chosen: Sequence[bool]) -> Rows:
    """Return some of the rows."""
    some = [list(compress(column, chosen)) for column in (rows.keys, rows.records)]
    return Rows(some[0], some[1], list(compress(rows.rests, chosen)))


def _selects(groups: Sequence[tuple[str, Sequence[bytes]]]) -> Iterator[str]:
    """Yield statements that read the records of some tables, none of too many keys; one if possible."""
    parts: list[str] = []
    size = 0
    for number, (mark, keys) in enumerate(groups):
        for at in range(0, max(len(keys), 1), _AT_ONCE):
            some = keys[at : at + _AT_ONCE]
            if parts and size + len(some) > _AT_ONCE:
                yield " UNION ALL ".join(parts)
                parts, size = [], 0
            size += len(some)
            number_too = f"{number}, " if len(groups) > 1 else ""
            wanted = literals(some) or "NULL"
            parts.append(f"SELECT {number_too}`key`, record FROM {table_of(mark)} WHERE `key` IN ({wanted})")
    if parts:
        yield " UNION ALL ".join(parts)


def open_store(config: OnlineStoreConfig, root: str) -> MySQLStore:
    """Return the store in the database that a configuration names.

    Args:
        config: has the server and the settings, as its ``options``.
        root: the repo's folder, where relative paths start from.

    Raises:
        ConfigError: a secret cannot be read.
    """
    options: MySQLStoreConfig = config.options
    address = Address(
        options.host,
        options.port,
        options.database,
        options.user,
        secret(options.password, "the password of the online store", root),
        options.sslmode,
        path_in(root, options.sslrootcert_path),
        path_in(root, options.sslcert_path),
        path_in(root, options.sslkey_path),
    )
    return MySQLStore(
        address,
        seconds=options.timeout_seconds,
        write_seconds=options.write_timeout_seconds,
        connections=options.max_conn,
    )
