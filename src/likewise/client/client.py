"""Client and AsyncClient: what a program asks of a feature server; each method makes a call and has it done."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self, TypeVar

from likewise.client.async_server import AsyncServer
from likewise.client.calls import (
    HEALTH,
    READY,
    Columns,
    Features,
    Rows,
    Run,
    ServerCall,
    Time,
    Told,
    Wanted,
    materialize_call,
    push_call,
    read_call,
    run_call,
    table_call,
    write_call,
)
from likewise.config import secret
from likewise.core.errors import StoreError
from likewise.define.source import PushMode
from likewise.online.base import Disconnected
from likewise.online.deadline import Deadline, checked_seconds
from likewise.online.guard import RetryBudget
from likewise.online.remote_server import Login, RemoteServer, parse_server
from likewise.online.response import OnlineResponse

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")
_HOUR = 3600.0


class Client:
    """Asks a feature server. Threads may share it, and it may be used in forked processes; nothing is connected yet.

    A call whose connection broke is made once more if that does no harm, for at most one call in ten. The errors are
    those of ``FeatureStore``, and ``AccessRefused``, ``StoreUnavailable`` and ``DeadlineExceeded`` (a TimeoutError).

    Args:
        url: the server's address, such as ``http://127.0.0.1:6566``.
        key: the access key, or ``env:NAME`` or ``file:PATH``; empty for none.
        cert: the file of the authorities to trust, PEM; empty for the system's.
        timeout: how long a read may take, connecting included, in seconds; the server is told, and stops then.
        write_timeout: how long a push or write may take, in seconds.
        connections: the most connections.

    Raises:
        ConfigError: the address cannot be, or the key or certificate cannot be read.

    Example:
        >>> Client("http://127.0.0.1:6566", key="hunter2")
        Client('http://127.0.0.1:6566')
    """

    def __init__(
        self,
        url: str,
        *,
        key: str = "",
        cert: str = "",
        timeout: float = 5.0,
        write_timeout: float = 30.0,
        connections: int = 50,
    ) -> None:
        login = Login(secret(key, "the access key"), cert, connections)
        self._server = RemoteServer(parse_server(url, "url"), login)
        self._name = str(self._server.address)
        self._seconds = checked_seconds(timeout, "timeout")
        self._write_seconds = checked_seconds(write_timeout, "write_timeout")
        self._budget = RetryBudget()
        self._closed = False

    def get_online_features(
        self,
        features: Features | None = None,
        entity_rows: Rows | None = None,
        full_feature_names: bool = False,
        *,
        feature_service: str | None = None,
        entities: Columns | None = None,
        as_of: Time | None = None,
        timeout: float | None = None,
    ) -> OnlineResponse:
        """Return the features of some entities, as ``FeatureStore.get_online_features`` beside the server does.

        Args:
            features: ``view:feature`` texts, names of views and services, services.
            entity_rows: a dict of keys (and request values) for each row, or columns of them.
            full_feature_names: call features ``view__feature``.
            feature_service: the name of a feature service, in the place of ``features``.
            entities: columns, in the place of ``entity_rows``.
            as_of: the time the answer is for; now by default.
            timeout: how long it may take, in seconds; the client's by default.

        Raises:
            FeatureNotFound, FeatureViewNotFound, FeatureServiceNotFound: a name nobody has.
            EntityKeyError: a key is missing, null or of the wrong type.
            RequestDataMissing: a value that an on-demand view needs is missing.
            StoreUnavailable: the server, or its store, did not answer in time.
        """
        wanted = Wanted(features, feature_service, full_feature_names, as_of)
        return self._done(read_call(wanted, entity_rows, entities), self._seconds if timeout is None else timeout)

    def read_table(
        self,
        entities: object,
        features: Features | None = None,
        full_feature_names: bool = False,
        *,
        feature_service: str | None = None,
        as_of: Time | None = None,
        timeout: float = 60.0,
    ) -> pa.Table:
        """Return the features of many entities as an Arrow table; ``docs/serving.md`` says which columns it has.

        Args:
            entities: the keys (and request values): a pandas or polars frame, an Arrow table, or columns; up to a
                million rows by default.
            features: as for :meth:`get_online_features`.
            full_feature_names: call features ``view__feature``.
            feature_service: the name of a feature service, in the place of ``features``.
            as_of: the time the answer is for; now by default.
            timeout: how long it may take, in seconds.
        """
        return self._done(table_call(Wanted(features, feature_service, full_feature_names, as_of), entities), timeout)

    def push(
        self,
        push_source_name: str,
        df: object,
        to: PushMode | str = PushMode.ONLINE,
        *,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> int:
        """Write rows to all views of a push source, and return how many online records were written.

        Args:
            push_source_name: the push source.
            df: the rows: a pandas or polars frame, an Arrow table, columns, or a list of dicts.
            to: where they go: online (by default), offline, or both.
            idempotency_key: names this push, so that it counts once however often it is sent; only with it the call is
                made again when its connection broke.
            timeout: how long it may take, in seconds; ``write_timeout`` by default.
        """
        return self._done(
            push_call(push_source_name, df, to, idempotency_key), self._write_seconds if timeout is None else timeout
        )

    def write_to_online_store(self, feature_view_name: str, df: object, *, timeout: float | None = None) -> int:
        """Write rows of a view to the online store, each unless a newer one is there, and return how many were.

        Args:
            feature_view_name: the view.
            df: the rows, as for :meth:`push`.
            timeout: how long it may take, in seconds; ``write_timeout`` by default.
        """
        return self._done(write_call(feature_view_name, df), self._write_seconds if timeout is None else timeout)

    def materialize(
        self,
        start_date: Time,
        end_date: Time,
        feature_views: Sequence[str] | None = None,
        *,
        wait: bool = True,
        timeout: float = _HOUR,
    ) -> Run:
        """Have the server write a span of event times to the online store.

        Args:
            start_date: the first event time.
            end_date: the last event time, included.
            feature_views: the views; by default all that are online and have a batch source.
            wait: whether to wait until it is done; if not, :meth:`materialization` tells how far it is.
            timeout: how long to wait, in seconds; the run goes on after that.

        Raises:
            LeaseHeld: another run is at work.
        """
        return self._done(materialize_call(start_date, end_date, feature_views, wait, incremental=False), timeout)

    def materialize_incremental(
        self,
        end_date: Time | None = None,
        feature_views: Sequence[str] | None = None,
        *,
        wait: bool = True,
        timeout: float = _HOUR,
    ) -> Run:
        """Have the server write what came since the last time to the online store.

        Args:
            end_date: the last event time, included; now by default.
            feature_views: as for :meth:`materialize`.
            wait: as for :meth:`materialize`.
            timeout: as for :meth:`materialize`.
        """
        return self._done(materialize_call(None, end_date, feature_views, wait, incremental=True), timeout)

    def materialization(self, run: str) -> Run:
        """Return how far a materialization is.

        Args:
            run: its id.
        """
        return self._done(run_call(run), self._seconds)

    def ready(self) -> Told:
        """Return how ready the server is, whether it is or not."""
        return self._done(READY, self._seconds)

    def health(self) -> bool:
        """Return True when the server lives."""
        return self._done(HEALTH, self._seconds)

    def close(self) -> None:
        """Let go of the connections."""
        self._closed = True
        self._server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _done(self, call: ServerCall[T], seconds: float) -> T:
        if self._closed:
            raise _closed(self._name)
        self._budget.add()
        with Deadline(checked_seconds(seconds, "timeout")):
            try:
                reply = self._server.exchange(call.asked)
            except Disconnected:
                if not (call.again and self._budget.take()):
                    raise
                reply = self._server.exchange(call.asked)
        return call.done(reply, self._name)

    def __repr__(self) -> str:
        return f"Client({self._name!r})"


class AsyncClient:
    """Asks a feature server from an event loop; the methods are those of :class:`Client`.

    Args:
        url: the server's address.
        key: the access key, or ``env:NAME`` or ``file:PATH``; empty for none.
        cert: the file of the authorities to trust, PEM; empty for the system's.
        timeout: how long a read may take, connecting included, in seconds; the server is told, and stops then.
        write_timeout: how long a push or write may take, in seconds.
        connections: the most connections.

    Raises:
        ConfigError: the address cannot be, or the key or certificate cannot be read.

    Example:
        >>> AsyncClient("https://features.internal", key="hunter2")
        AsyncClient('https://features.internal:443')
    """

    def __init__(
        self,
        url: str,
        *,
        key: str = "",
        cert: str = "",
        timeout: float = 5.0,
        write_timeout: float = 30.0,
        connections: int = 50,
    ) -> None:
        login = Login(secret(key, "the access key"), cert, connections)
        self._server = AsyncServer(parse_server(url, "url"), login)
        self._name = str(self._server.address)
        self._seconds = checked_seconds(timeout, "timeout")
        self._write_seconds = checked_seconds(write_timeout, "write_timeout")
        self._budget = RetryBudget()
        self._closed = False

    async def get_online_features(
        self,
        features: Features | None = None,
        entity_rows: Rows | None = None,
        full_feature_names: bool = False,
        *,
        feature_service: str | None = None,
        entities: Columns | None = None,
        as_of: Time | None = None,
        timeout: float | None = None,
    ) -> OnlineResponse:
        """Return the features of some entities; see :meth:`Client.get_online_features`."""
        wanted = Wanted(features, feature_service, full_feature_names, as_of)
        return await self._done(read_call(wanted, entity_rows, entities), self._seconds if timeout is None else timeout)

    async def read_table(
        self,
        entities: object,
        features: Features | None = None,
        full_feature_names: bool = False,
        *,
        feature_service: str | None = None,
        as_of: Time | None = None,
        timeout: float = 60.0,
    ) -> pa.Table:
        """Return the features of many entities as an Arrow table; see :meth:`Client.read_table`."""
        wanted = Wanted(features, feature_service, full_feature_names, as_of)
        return await self._done(await asyncio.to_thread(table_call, wanted, entities), timeout)

    async def push(
        self,
        push_source_name: str,
        df: object,
        to: PushMode | str = PushMode.ONLINE,
        *,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> int:
        """Write rows to all views of a push source; see :meth:`Client.push`."""
        call = await asyncio.to_thread(push_call, push_source_name, df, to, idempotency_key)
        return await self._done(call, self._write_seconds if timeout is None else timeout)

    async def write_to_online_store(
        self,
        feature_view_name: str,
        df: object,
        *,
        timeout: float | None = None,
    ) -> int:
        """Write rows of a view to the online store; see :meth:`Client.write_to_online_store`."""
        call = await asyncio.to_thread(write_call, feature_view_name, df)
        return await self._done(call, self._write_seconds if timeout is None else timeout)

    async def materialize(
        self,
        start_date: Time,
        end_date: Time,
        feature_views: Sequence[str] | None = None,
        *,
        wait: bool = True,
        timeout: float = _HOUR,
    ) -> Run:
        """Have the server write a span of event times; see :meth:`Client.materialize`."""
        return await self._done(materialize_call(start_date, end_date, feature_views, wait, incremental=False), timeout)

    async def materialize_incremental(
        self,
        end_date: Time | None = None,
        feature_views: Sequence[str] | None = None,
        *,
        wait: bool = True,
        timeout: float = _HOUR,
    ) -> Run:
        """Have the server write what came since the last time; see :meth:`Client.materialize_incremental`."""
        return await self._done(materialize_call(None, end_date, feature_views, wait, incremental=True), timeout)

    async def materialization(self, run: str) -> Run:
        """Return how far a materialization is."""
        return await self._done(run_call(run), self._seconds)

    async def ready(self) -> Told:
        """Return how ready the server is, whether it is or not."""
        return await self._done(READY, self._seconds)

    async def health(self) -> bool:
        """Return True when the server lives."""
        return await self._done(HEALTH, self._seconds)

    async def aclose(self) -> None:
        """Let go of the connections."""
        self._closed = True
        await self._server.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _done(self, call: ServerCall[T], seconds: float) -> T:
        if self._closed:
            raise _closed(self._name)
        self._budget.add()
        end = asyncio.get_running_loop().time() + checked_seconds(seconds, "timeout")
        try:
            reply = await self._server.exchange(call.asked, end)
        except Disconnected:
            if not (call.again and self._budget.take()):
                raise
            reply = await self._server.exchange(call.asked, end)
        return call.done(reply, self._name)

    def __repr__(self) -> str:
        return f"AsyncClient({self._name!r})"


def _closed(name: str) -> StoreError:
    return StoreError(f"the client of {name} is closed", cure="open another one")
