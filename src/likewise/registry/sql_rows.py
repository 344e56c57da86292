"""SqlRows: the rows of a registry in the tables of a database, by SQLAlchemy Core.

All text lies as UTF-8 bytes: no collation takes two names for one, and none refuses a character. Table names begin with
``likewise_``, so that a database can be shared.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Dialect,
    Integer,
    LargeBinary,
    MetaData,
    Select,
    String,
    Table,
    and_,
    case,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.types import TypeDecorator, TypeEngine

from likewise.core.errors import InvalidDefinition
from likewise.registry.catalog import CatalogInfo, Entry, Key
from likewise.registry.rows import HeadRow, RowWriter, SideRow, batches

_MOST = 500
"""How many values stand in one list."""


class Bytes(TypeDecorator[Any]):
    """Bytes: of at most so many where they stand in a key, of any number else.

    Args:
        most: the most bytes; 0 for any number.
    """

    impl = LargeBinary
    cache_ok = True

    def __init__(self, most: int = 0) -> None:
        super().__init__()
        self.most = most

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the database's own type."""
        if dialect.name in ("mysql", "mariadb"):
            return mysql.VARBINARY(self.most) if self.most else mysql.LONGBLOB()
        return LargeBinary()

    def process_bind_param(self, value: Any, dialect: Dialect) -> bytes | None:
        """Return what is stored.

        Raises:
            InvalidDefinition: it is longer than a key can be.
        """
        if value is not None and self.most and len(value) > self.most:
            shown = value[:40].decode("utf-8", "replace")
            raise InvalidDefinition(
                f"the name {shown!r}… has {len(value):,} bytes, and a registry in a database keeps up to {self.most:,}",
                cure="shorten it",
            )
        return None if value is None else bytes(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Return what was stored."""
        return None if value is None else bytes(value)


class Utf8(Bytes):
    """Text as its UTF-8 bytes: of at most so many where it stands in a key, of any number else."""

    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> bytes | None:
        """Return what is stored; half characters are refused by the seals."""
        return None if value is None else super().process_bind_param(value.encode("utf-8", "surrogatepass"), dialect)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Return what was stored; damaged text fails its seal later, with a better message."""
        return None if value is None else bytes(value).decode("utf-8", "replace")


METADATA = MetaData()
_NAME, _KIND, _HASH = 1020, 255, 32


def _table(name: str, *columns: Column[Any]) -> Table:
    return Table(f"likewise_{name}", METADATA, *columns, mysql_engine="InnoDB", mariadb_engine="InnoDB")


def _number(name: str, *, key: bool = False) -> Column[Any]:
    return Column(name, BigInteger, primary_key=key, autoincrement=False, nullable=False)


def _text(name: str, most: int = 0, *, key: bool = False) -> Column[Any]:
    return Column(name, Utf8(most), primary_key=key, nullable=False)


def _bytes(name: str, most: int = 0, *, key: bool = False, nullable: bool = False) -> Column[Any]:
    return Column(name, Bytes(most), primary_key=key, nullable=nullable)


# Every format has this table, so that an older program can say which version reads the registry.
FORMATS = _table(
    "registry",
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("format", Integer, nullable=False),
    Column("needs", String(32), nullable=False),
)
# The newest catalog of each project; sealed, because it is what says that a project exists.
HEADS = _table("heads", _text("project", _NAME, key=True), _number("number"), _bytes("seal", _HASH))
# The primary key is what decides between two that commit at the same time.
CATALOGS = _table(
    "catalogs",
    _text("project", _NAME, key=True),
    _number("number", key=True),
    _number("parent"),
    _number("created"),
    _text("author"),
    _text("message"),
    _number("size"),
    *(_bytes(name, _HASH) for name in ("contents", "delta", "seal")),
)
# What each commit did to each definition; hash is null where it removed it.
ENTRIES = _table(
    "entries",
    _text("project", _NAME, key=True),
    _text("kind", _KIND, key=True),
    _text("name", _NAME, key=True),
    _number("number", key=True),
    _bytes("hash", _HASH, nullable=True),
)
DEFINITIONS = _table("definitions", _bytes("hash", _HASH, key=True), _bytes("body"))
SIDES = _table(
    "sides",
    _text("project", _NAME, key=True),
    _text("space", _KIND, key=True),
    _text("key", _NAME, key=True),
    _number("version"),
    _bytes("value"),
    _bytes("seal", _HASH),
)
# The version that the side table gave out last.
CLOCK = _table("clock", Column("id", Integer, primary_key=True, autoincrement=False), _number("version"))

_INSERTS: Mapping[str, Callable[[Table], Any]] = {
    "postgresql": postgresql.insert,
    "sqlite": sqlite.insert,
    "mysql": mysql.insert,
    "mariadb": mysql.insert,
}


def put(table: Table, dialect: str) -> Any:
    """Return the statement that stores a row in place of the one with its key."""
    made = _INSERTS[dialect](table)
    kept = [column.name for column in table.columns if not column.primary_key]
    if dialect in ("mysql", "mariadb"):
        return made.on_duplicate_key_update({name: made.inserted[name] for name in kept})
    keys = [column.name for column in table.primary_key]
    return made.on_conflict_do_update(index_elements=keys, set_={name: made.excluded[name] for name in kept})


def _heads() -> Select[Any]:
    same = and_(CATALOGS.c.project == HEADS.c.project, CATALOGS.c.number == HEADS.c.number)
    size = func.coalesce(CATALOGS.c.size, 0)
    columns = (HEADS.c.project, HEADS.c.number, HEADS.c.seal, CATALOGS.c.seal, size)
    return select(*columns).select_from(HEADS.outerjoin(CATALOGS, same))


def _manifest(project: str, number: int) -> Select[Any]:
    columns, where = (ENTRIES.c.kind, ENTRIES.c.name), and_(ENTRIES.c.project == project, ENTRIES.c.number <= number)
    last = select(*columns, func.max(ENTRIES.c.number).label("number")).where(where).group_by(*columns).subquery()
    same = and_(*(ENTRIES.c[name] == last.c[name] for name in ("kind", "name", "number")))
    return select(*columns, ENTRIES.c.hash).join(last, same).where(ENTRIES.c.project == project)


class SqlRows(RowWriter):
    """The rows of a registry in the tables of a database.

    Args:
        connection: inside a transaction; for :meth:`head` alone, without one.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._dialect = connection.dialect.name

    def heads(self) -> dict[str, HeadRow]:
        """Return the newest catalog of every project."""
        return {project: HeadRow(*row) for project, *row in self._connection.execute(_heads())}

    def head(self, project: str) -> HeadRow | None:
        """Return the newest catalog of a project; None when there is none."""
        row = self._connection.execute(_heads().where(HEADS.c.project == project)).first()
        return None if row is None else HeadRow(*row[1:])

    def infos(self, project: str, first: int = 1, last: int | None = None) -> list[CatalogInfo]:
        """Return the rows of catalogs by number."""
        where: list[ColumnElement[bool]] = [CATALOGS.c.project == project, CATALOGS.c.number >= max(first, 1)]
        if last is not None:
            where.append(CATALOGS.c.number <= last)
        rows = self._connection.execute(select(CATALOGS).where(*where).order_by(CATALOGS.c.number))
        return [CatalogInfo(*row[:7], *(found.hex() for found in row[7:])) for row in rows]

    def entries(self, project: str) -> list[Entry]:
        """Return all entries, sorted by number, kind and name."""
        columns = (ENTRIES.c.kind, ENTRIES.c.name, ENTRIES.c.number)
        order = (ENTRIES.c.number, ENTRIES.c.kind, ENTRIES.c.name)
        rows = self._connection.execute(
            select(*columns, ENTRIES.c.hash).where(ENTRIES.c.project == project).order_by(*order)
        )
        return [Entry(*row[:3], _hex(row[3])) for row in rows]

    def manifest(self, project: str, number: int) -> Iterable[tuple[Key, str | None]]:
        """Return the last entry of each definition up to a catalog."""
        for kind, name, found in self._connection.execute(_manifest(project, number)):
            yield (kind, name), _hex(found)

    def bodies(self, hashes: Collection[str]) -> dict[str, bytes]:
        """Return the texts of definitions by hash, as far as they are there."""
        found: dict[str, bytes] = {}
        for part in batches(hashes, _MOST):
            wanted = DEFINITIONS.c.hash.in_([bytes.fromhex(each) for each in part])
            found |= {each.hex(): body for each, body in self._connection.execute(select(DEFINITIONS).where(wanted))}
        return found

    def sides(self, project: str | None = None, space: str | None = None, key: str | None = None) -> list[SideRow]:
        """Return the side values of a project, space and key."""
        columns = (SIDES.c.project, SIDES.c.space, SIDES.c.key)
        given = zip(columns, (project, space, key), strict=True)
        query = select(SIDES).where(*(column == value for column, value in given if value is not None))
        return [SideRow(*row) for row in self._connection.execute(query.order_by(*columns))]

    def write_definitions(self, bodies: Mapping[str, bytes]) -> None:
        """Store texts by hash; one that is stored already is left, or healed if it was damaged."""
        stored = self.bodies(bodies)
        wanted = sorted(found for found, body in bodies.items() if stored.get(found) != body)
        self._write(put(DEFINITIONS, self._dialect), [(bytes.fromhex(found), bodies[found]) for found in wanted])

    def write_entries(self, project: str, entries: Iterable[Entry]) -> None:
        """Store what commits did to definitions."""
        rows = [(project, e.kind, e.name, e.number, None if e.hash is None else bytes.fromhex(e.hash)) for e in entries]
        self._write(insert(ENTRIES), rows)

    def write_info(self, info: CatalogInfo) -> None:
        """Store a catalog's own row."""
        hashes = (bytes.fromhex(info.contents), bytes.fromhex(info.delta), bytes.fromhex(info.seal))
        facts = (info.project, info.number, info.parent, info.created, info.author, info.message, info.size)
        self._write(insert(CATALOGS), [(*facts, *hashes)])

    def write_head(self, project: str, number: int, seal: bytes) -> None:
        """Make a catalog the newest of its project."""
        self._write(put(HEADS, self._dialect), [(project, number, seal)])

    def next_version(self, at_least: int = 0) -> int:
        """Return a version that no side value ever had; who asks meanwhile waits for the end of the transaction."""
        following = CLOCK.c.version + 1
        greater = case((following < at_least, at_least), else_=following)
        self._connection.execute(update(CLOCK).values(version=greater))
        return int(self._connection.execute(select(CLOCK.c.version)).scalar_one())

    def write_side(self, row: SideRow) -> None:
        """Store a side value."""
        self._write(put(SIDES, self._dialect), [row])

    def remove_side(self, project: str, space: str, key: str) -> None:
        """Remove a side value, if it is there."""
        where = (SIDES.c.project == project, SIDES.c.space == space, SIDES.c.key == key)
        self._connection.execute(delete(SIDES).where(*where))

    def _write(self, statement: Any, rows: Iterable[tuple[Any, ...]]) -> None:
        names = statement.table.columns.keys()
        if given := [dict(zip(names, row, strict=True)) for row in rows]:
            self._connection.execute(statement, given)


def _hex(found: bytes | None) -> str | None:
    return None if found is None else found.hex()
