"""Drivers: how each kind of database is reached within a time, and what its errors mean."""

from __future__ import annotations

import enum
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


class Trouble(enum.Enum):
    """What an error of a database means for the one who meets it."""

    LOST = "lost"
    """The server cannot be reached, or the connection to it ended."""
    SLOW = "slow"
    """There was no answer in time."""
    BUSY = "busy"
    """Others were in the way, and this was undone: try again at once."""
    TAKEN = "taken"
    """A key that was free is taken now: somebody else was faster."""
    NO_TABLE = "no table"
    """A table is missing."""
    READ_ONLY = "read only"
    """This user may not write, or nobody may."""
    FULL = "full"
    """There is no space."""
    OTHER = "other"
    """Anything else."""


@dataclass(frozen=True, slots=True)
class Driver:
    """How one kind of database is reached."""

    arguments: Mapping[str, Any]
    """What SQLAlchemy gives the driver for each connection."""
    begin: Callable[[Any], None]
    """Called with each new connection of the driver."""
    trouble: Callable[[BaseException], Trouble]
    """Says what an error of the driver means."""
    connect: Callable[..., Any] | None = None
    """Makes a connection, given what SQLAlchemy gives the driver; None: the driver's own function does."""
    reading: str = ""
    """The isolation level on which all queries of a transaction see the same moment; empty: every level does."""
    writing: str = ""
    """The isolation level on which a query sees what was committed before it; empty: every level does."""


def sqlite_driver(seconds: float) -> Driver:
    """Return how a SQLite file is reached.

    Args:
        seconds: how long to wait for another writer.
    """
    return Driver({"timeout": seconds, "check_same_thread": False}, _begin_sqlite, _sqlite_trouble)


def _begin_sqlite(connection: sqlite3.Connection) -> None:
    connection.isolation_level = None  # transactions begin and end where SQLAlchemy says so
    connection.execute("PRAGMA synchronous=EXTRA")


_SQLITE: Mapping[int, Trouble] = {
    sqlite3.SQLITE_BUSY: Trouble.SLOW,  # it waited already
    sqlite3.SQLITE_LOCKED: Trouble.BUSY,
    sqlite3.SQLITE_CONSTRAINT: Trouble.TAKEN,
    sqlite3.SQLITE_READONLY: Trouble.READ_ONLY,
    sqlite3.SQLITE_FULL: Trouble.FULL,
    sqlite3.SQLITE_CANTOPEN: Trouble.LOST,
}


def _sqlite_trouble(error: BaseException) -> Trouble:
    if isinstance(error, sqlite3.OperationalError) and "no such table" in str(error):
        return Trouble.NO_TABLE
    code: int = vars(error).get("sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return _SQLITE.get(code & 0xFF, Trouble.OTHER)
