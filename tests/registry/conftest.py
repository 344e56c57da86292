"""Databases that are empty for the tests of this folder, on servers of PostgreSQL and of MariaDB or MySQL."""

import itertools
from collections.abc import Callable
from urllib.parse import quote

import psycopg
import pymysql
import pytest

from likewise.testing.mysql_process import MySQLProcess
from likewise.testing.postgres_process import PostgresProcess

NewUrl = Callable[[], str]
"""Returns the URL of a registry that nobody has used, each time it is called."""


def url_of(server: PostgresProcess, schema: str, user: str = "postgres") -> str:
    """Return the URL of a schema of the server's database."""
    return f"postgresql://{user}@/postgres?host={quote(server.host)}&options=-csearch_path%3D{schema}"


@pytest.fixture(name="postgres")
def _postgres(postgres_server: PostgresProcess) -> PostgresProcess:
    return postgres_server


_NUMBERS = itertools.count()


@pytest.fixture(name="new_url")
def _new_url(postgres: PostgresProcess) -> NewUrl:
    def new() -> str:
        schema = f"registry_{next(_NUMBERS)}"
        with psycopg.connect(postgres.address, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {schema}")
        return url_of(postgres, schema)

    return new


@pytest.fixture(name="new_mysql_url")
def _new_mysql_url(mysql_server: MySQLProcess) -> NewUrl:
    def new() -> str:
        database = f"registry_{next(_NUMBERS)}"
        with pymysql.connect(unix_socket=mysql_server.host, user=mysql_server.user) as connection:
            connection.cursor().execute(f"CREATE DATABASE {database}")
        return f"mysql://{mysql_server.user}@localhost/{database}?unix_socket={quote(mysql_server.host)}"

    return new
