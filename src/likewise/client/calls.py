"""Calls: what a client asks of a server, as data: each is a request, and what makes the result of its answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import urlencode

import msgspec

from likewise.core.errors import LikewiseError, RequestError, StoreError
from likewise.core.packed import pack, unpack
from likewise.core.time import from_micros, to_micros
from likewise.core.types import parse_type
from likewise.define.service import FeatureService
from likewise.define.source import PushMode, push_mode
from likewise.online.remote_server import MSGPACK, Asked, Reply, error_of
from likewise.online.response import Answered, FieldStatus, OnlineResponse

if TYPE_CHECKING:
    import pyarrow as pa

JSON = b"application/json"
ARROW = b"application/vnd.apache.arrow.stream"
Features = str | FeatureService | Sequence[str | FeatureService]
"""What may be asked for: ``view:feature`` texts, names of views and services; a service."""
Columns = Mapping[str, Sequence[Any]]
"""Rows column by column."""
Rows = Sequence[Mapping[str, Any]] | Columns
"""A dict for each row, or columns."""
Time = datetime | str | int
"""A time: a datetime (naive is UTC), ISO text, or microseconds since the epoch."""
T = TypeVar("T")
_STATUS = {int(status): status for status in FieldStatus}


@dataclass(frozen=True, slots=True)
class ServerCall(Generic[T]):
    """One call of a server."""

    asked: Asked
    """The request."""
    result: Callable[[Reply], T]
    """Makes the result of a good answer."""
    again: bool = True
    """Whether it does no harm if it is done twice."""
    good: tuple[int, ...] = (200,)
    """The statuses of good answers."""

    def done(self, reply: Reply, where: str) -> T:
        """Return the result of an answer.

        Args:
            reply: the answer.
            where: the server's address, for messages.

        Raises:
            LikewiseError: the answer is a problem, or cannot be read; of the class that ``FeatureStore`` raises.
        """
        if reply.status not in self.good:
            raise error_of(reply, where)
        try:
            return self.result(reply)
        except (msgspec.MsgspecError, ValueError, TypeError, KeyError, IndexError) as error:
            if isinstance(error, LikewiseError):
                raise
            what = f"{where} gave an answer that cannot be read: {error}"
            raise StoreError(what, cure="use the same version of Likewise on both sides") from error


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """How ready a server is."""

    status: str
    """``ready``, ``not ready`` or ``ending``."""
    catalog: int = 0
    """The number of the catalog that is answered from."""
    registry: str = ""
    """What is wrong with the registry; empty when nothing is."""
    store: str = ""
    """What is wrong with the online store; empty when nothing is."""
    code: list[str] = []
    """The views whose functions there are not the applied ones."""

    @property
    def is_ready(self) -> bool:
        """Whether it can answer."""
        return self.status == "ready"


class Step(msgspec.Struct, frozen=True):
    """What a materialization did for one view."""

    view: str
    """The view."""
    start: str
    """The first event time."""
    end: str
    """The last event time, included."""
    keys: int
    """How many keys had rows."""
    written: int
    """How many records were written."""
    seconds: float
    """How long it took."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One materialization."""

    id: str
    """Its name on the server."""
    status: str
    """``running``, ``done`` or ``failed``."""
    views: list[Step] = []
    """What was done, when it is done."""
    detail: str = ""
    """What went wrong, when it failed."""


# ---- Reads ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a read asks for."""

    features: Features | None
    """``view:feature`` texts, names of views and services, a service; None where ``service`` says it."""
    service: str | None
    """The name of a feature service."""
    full_feature_names: bool
    """Whether features are called ``view__feature``."""
    as_of: Time | None
    """The time the answer is for; None: now."""

    def said(self) -> dict[str, Any]:
        """Return it as members of a request.

        Raises:
            RequestError: it is not either features or a service.
        """
        if (self.features is None) == (self.service is None):
            raise RequestError("either features or feature_service is needed", cure="give one of them")
        found = {"feature_service": self.service} if self.features is None else _features_said(self.features)
        return found if self.as_of is None else {**found, "as_of": _iso(self.as_of, "as_of")}


def _features_said(features: Features) -> dict[str, Any]:
    if isinstance(features, FeatureService):
        return {"feature_service": features.name}
    given: object = features
    if not isinstance(given, Iterable):
        raise RequestError(f"features={given!r} names no features", cure="give features=['view:feature', …]")
    asked: Iterable[object] = [given] if isinstance(given, str) else given
    names = [each.name if isinstance(each, FeatureService) else each for each in asked]
    for each in names:
        if not isinstance(each, str):
            cure = "give 'view:feature' texts, names of views and services, or services"
            raise RequestError(f"{each!r} is no feature", cure=cure)
    return {"features": names}


def _iso(time: Time, what: str) -> str:
    return from_micros(to_micros(time, what)).isoformat()


def read_call(wanted: Wanted, rows: Rows | None, columns: Columns | None) -> ServerCall[OnlineResponse]:
    """Return the call that reads features of some entities.

    Args:
        wanted: which features.
        rows: the entities: a dict for each row, or columns.
        columns: the entities as columns, in the place of rows.

    Raises:
        RequestError: something that cannot be asked, or sent.
    """
    if (rows is None) == (columns is None):
        raise RequestError("either entity_rows or entities is needed", cure="give one of them")
    given = rows if columns is None else columns
    asked = {**wanted.said(), "full_feature_names": wanted.full_feature_names}
    asked["entities" if isinstance(given, Mapping) else "rows"] = (
        given if isinstance(given, Mapping) else _listed(given)
    )
    try:
        body = pack(asked)
    except (TypeError, ValueError, OverflowError) as error:
        raise RequestError(f"the entities cannot be sent: {error}", cure="give plain Python values") from error
    return ServerCall(Asked(b"/get-online-features", body, accept=MSGPACK), response_of)


def response_of(reply: Reply) -> OnlineResponse:
    """Return the answer that a body holds; values are what they were on the server, to the bit."""
    told: Any = unpack(reply.body)
    keys = {name: values for name, _, values in told["keys"]}
    key_types = {name: parse_type(kind) for name, kind, _ in told["keys"]}
    times: list[Sequence[int | None]] = told["times"]
    features = [
        Answered(name, parse_type(kind), values, _states(states), times[at])
        for name, kind, values, states, at in told["features"]
    ]
    _refuse_uneven([*keys.values(), *times, *(part for each in features for part in (each.values, each.states))])
    return OnlineResponse(keys, key_types, features, (), told["failed"], told["stale"])


def _refuse_uneven(columns: Iterable[object]) -> None:
    """Refuse an answer whose columns are not as long as each other: its values would be taken for those of others."""
    lengths = {len(column) if isinstance(column, list) else -1 for column in columns if column is not None}
    if len(lengths) > 1 or -1 in lengths:
        raise ValueError("its columns differ in length")


def _states(numbers: Sequence[int] | None) -> list[FieldStatus] | None:
    return None if numbers is None else [_STATUS[number] for number in numbers]


def table_call(wanted: Wanted, entities: object) -> ServerCall[pa.Table]:
    """Return the call that reads features of a table of entities, as a table."""
    asked = wanted.said()
    if wanted.full_feature_names:
        asked["full_feature_names"] = "true"
    target = b"/get-online-features?" + urlencode(asked, doseq=True).encode()
    return ServerCall(Asked(target, _stream(entities, "entities"), media=ARROW, accept=ARROW), _table)


def _table(reply: Reply) -> pa.Table:
    import pyarrow as pa

    try:
        return pa.ipc.open_stream(pa.py_buffer(reply.body)).read_all()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(str(error)) from error


def _listed(rows: object) -> list[Any]:
    if isinstance(rows, str | bytes) or not isinstance(rows, Sequence):
        raise RequestError(
            f"entity_rows is a {type(rows).__name__}",
            cure="give a list of dicts, such as [{'user_id': 1}], or columns, such as {'user_id': [1, 2]}",
        )
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            what = f"row {number} of entity_rows is {row!r}"
            raise RequestError(what, cure="give a dict of key columns for each row")
    return list(rows)


# ---- Writes --------------------------------------------------------------------------------------------------------


def push_call(source: str, rows: object, to: PushMode | str, idempotency_key: str | None) -> ServerCall[int]:
    """Return the call that pushes rows; it is not sent twice without a key, for windows would count the rows twice."""
    asked = {"push_source_name": source, "to": push_mode(to).name.lower()}
    if idempotency_key is not None:
        asked["idempotency_key"] = idempotency_key
    target = b"/push?" + urlencode(asked).encode()
    again = idempotency_key is not None
    return ServerCall(Asked(target, _stream(rows, "pushed rows"), media=ARROW), _written, again)


def write_call(view: str, rows: object) -> ServerCall[int]:
    """Return the call that writes rows of a view."""
    target = b"/write-to-online-store?" + urlencode({"feature_view_name": view}).encode()
    return ServerCall(Asked(target, _stream(rows, "rows"), media=ARROW), _written, again=False)


def _written(reply: Reply) -> int:
    return int(msgspec.json.decode(reply.body)["written"])


def _stream(rows: object, what: str) -> bytes:
    """Return rows as a stream of Arrow's, its texts written out."""
    import pyarrow as pa

    from likewise.core.frames import to_table

    table = to_table(rows, what).replace_schema_metadata(None)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


# ---- Materializations ----------------------------------------------------------------------------------------------


def materialize_call(
    start: Time | None, end: Time | None, views: Sequence[str] | None, wait: bool, incremental: bool
) -> ServerCall[Run]:
    """Return the call that fills the online store."""
    asked: dict[str, Any] = {"feature_views": None if views is None else list(views)}
    for name, given in (("start_ts", start), ("end_ts", end)):
        if given is not None:
            asked[name] = _iso(given, name)
    route = b"/materialize-incremental" if incremental else b"/materialize"
    body = json.dumps(asked).encode()
    return ServerCall(
        Asked(route if wait else route + b"?async=true", body, media=JSON), _run, again=False, good=(200, 202)
    )


def run_call(run: str) -> ServerCall[Run]:
    """Return the call that asks how far a materialization is."""
    return ServerCall(Asked(b"/materializations/" + run.encode(), method=b"GET"), _run)


def _run(reply: Reply) -> Run:
    return msgspec.json.decode(reply.body, type=Run)


# ---- Probes --------------------------------------------------------------------------------------------------------

READY: ServerCall[Told] = ServerCall(
    Asked(b"/readyz", method=b"GET"), lambda reply: msgspec.json.decode(reply.body, type=Told), good=(200, 503)
)
"""Asks whether a server can answer."""
HEALTH: ServerCall[bool] = ServerCall(Asked(b"/health", method=b"GET"), lambda reply: True)
"""Asks whether a server lives."""
