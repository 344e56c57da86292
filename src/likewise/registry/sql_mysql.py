"""MySQL and MariaDB by PyMySQL: time limits, strict types, and what the server's errors mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pymysql

from likewise.registry.sql_drivers import Driver, Trouble

_CODES: Mapping[int, Trouble] = {
    1213: Trouble.BUSY,  # deadlock
    1020: Trouble.BUSY,  # the record has changed since it was read
    1205: Trouble.SLOW,  # lock wait timeout
    1317: Trouble.SLOW,
    1969: Trouble.SLOW,  # MariaDB: max_statement_time
    3024: Trouble.SLOW,  # MySQL: max_execution_time
    1062: Trouble.TAKEN,
    1050: Trouble.TAKEN,  # the table is there already
    1146: Trouble.NO_TABLE,
    1142: Trouble.READ_ONLY,
    1290: Trouble.READ_ONLY,
    1792: Trouble.READ_ONLY,
    1836: Trouble.READ_ONLY,
    1021: Trouble.FULL,
    1114: Trouble.FULL,
    1040: Trouble.LOST,  # too many connections
    1053: Trouble.LOST,  # the server goes down
    1927: Trouble.LOST,  # the connection was killed
    2002: Trouble.LOST,
    2003: Trouble.LOST,
    2006: Trouble.LOST,
    2013: Trouble.LOST,
}


def _trouble(error: BaseException) -> Trouble:
    code = error.args[0] if isinstance(error, pymysql.err.Error) and error.args else None
    if "timed out" in str(error):
        return Trouble.SLOW
    if isinstance(error, pymysql.err.InterfaceError):
        return Trouble.LOST
    return _CODES.get(code, Trouble.OTHER) if isinstance(code, int) else Trouble.OTHER


def _begin(connection: Any) -> None:
    """Do nothing: what a connection needs is in its arguments."""


def mysql_driver(seconds: float) -> Driver:
    """Return how MySQL and MariaDB are reached.

    Args:
        seconds: how long connecting, and each statement, may take.
    """
    whole = max(1, round(seconds))
    strict = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO"
    arguments = {
        "connect_timeout": whole,
        "read_timeout": seconds,
        "write_timeout": seconds,
        "charset": "utf8mb4",
        "init_command": f"SET SESSION sql_mode = '{strict}', innodb_lock_wait_timeout = {whole}, "
        f"lock_wait_timeout = {whole}",
    }
    return Driver(arguments, _begin, _trouble, None, "REPEATABLE READ", "READ COMMITTED")
