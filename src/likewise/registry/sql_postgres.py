"""PostgreSQL by psycopg 3: connections that give up on a server that does not answer, and what its errors mean."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from functools import partial
from typing import Any

import psycopg

from likewise.registry.sql_drivers import Driver, Trouble


class TooSlow(psycopg.OperationalError):
    """The server did not answer in time; the connection is closed."""


class BoundedConnection(psycopg.Connection[Any]):
    """A connection whose exchanges end in time, also where the server is frozen and its sockets stay open."""

    seconds: float = 10.0
    """How long an exchange may take."""

    def wait(self, gen: Generator[Any, Any, Any], *args: Any, **more: Any) -> Any:
        """Wait for an exchange.

        Raises:
            TooSlow: it did not end in time.
        """
        return super().wait(self._bounded(gen), *args, **more)

    def _bounded(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Go through the steps of an exchange; psycopg resumes it a few times a second, with 0 when nothing came."""
        end = time.monotonic() + self.seconds
        try:
            step = next(gen)
            while True:
                ready = yield step
                if not ready and time.monotonic() > end:
                    gen.close()
                    self.pgconn.finish()
                    raise TooSlow(f"no answer within {self.seconds:g} s")
                step = gen.send(ready)
        except StopIteration as done:
            return done.value


def _connect(seconds: float, *args: Any, **settings: Any) -> BoundedConnection:
    connection: BoundedConnection = BoundedConnection.connect(*args, **settings)
    connection.seconds = seconds
    return connection


def _begin(seconds: float, connection: BoundedConnection) -> None:
    """Let the server end statements too, and transactions of a program that was stopped in the middle of one."""
    wait = f"{seconds * 1000:.0f}"
    limits = {"statement_timeout": wait, "lock_timeout": wait, "idle_in_transaction_session_timeout": f"{wait}0"}
    calls = ", ".join("set_config(%s, %s, false)" for _ in limits)
    values = [part for pair in limits.items() for part in pair]
    connection.execute(f"SELECT {calls}", values)
    connection.commit()


_STATES: Mapping[str, Trouble] = {
    "40001": Trouble.BUSY,  # serialization failure
    "40P01": Trouble.BUSY,  # deadlock
    "23505": Trouble.TAKEN,
    "42P07": Trouble.TAKEN,  # the table is there already
    "42P01": Trouble.NO_TABLE,
    "25006": Trouble.READ_ONLY,
    "42501": Trouble.READ_ONLY,
    "53100": Trouble.FULL,
    "57014": Trouble.SLOW,  # statement timeout
    "55P03": Trouble.SLOW,  # lock timeout
    "25P03": Trouble.LOST,  # idle in a transaction for too long
    "57P01": Trouble.LOST,  # the server goes down
    "57P02": Trouble.LOST,
    "57P03": Trouble.LOST,
    "53300": Trouble.LOST,  # too many connections
}


def _trouble(error: BaseException) -> Trouble:
    if isinstance(error, TooSlow | psycopg.errors.ConnectionTimeout):
        return Trouble.SLOW
    state = error.sqlstate if isinstance(error, psycopg.Error) else None
    if state is not None:
        return _STATES.get(state, Trouble.LOST if state.startswith("08") else Trouble.OTHER)
    return Trouble.LOST if isinstance(error, psycopg.OperationalError) else Trouble.OTHER


def postgres_driver(seconds: float) -> Driver:
    """Return how PostgreSQL is reached.

    Args:
        seconds: how long connecting, and each statement, may take.
    """
    arguments = {"connect_timeout": max(2, round(seconds)), "prepare_threshold": None}
    return Driver(
        arguments, partial(_begin, seconds), _trouble, partial(_connect, seconds), "REPEATABLE READ", "READ COMMITTED"
    )
