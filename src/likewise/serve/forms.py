"""Forms: reads whose request or answer is not JSON: Python values as msgpack, and tables.

In both the values are what they are in Python, and nothing has to be decoded by its type, as JSON's texts have to be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from likewise.core.errors import RequestError
from likewise.core.names import near_misses
from likewise.core.packed import pack, unpack
from likewise.online.response import OnlineResponse
from likewise.serve.answer import Counts
from likewise.serve.call import ARROW, JSON, MSGPACK, Call
from likewise.serve.payload import OnlineRequest, PushBody, WriteBody, read_body, record_of
from likewise.serve.problem import Refusal
from likewise.serve.settings import Limits

TABLE_QUERY = {
    "features": "A `view:feature` text, or the name of a view or service; it may stand there several times.",
    "feature_service": "The name of a feature service, in the place of features.",
    "full_feature_names": "`true`: call features `view__feature`.",
    "as_of": "The time that the answer is for, ISO 8601; now by default.",
}
"""What a read of a table has in its query string."""

S = TypeVar("S", PushBody, WriteBody)
PUSH_QUERY = {
    "push_source_name": "The push source.",
    "to": "Where the rows go: `online` (by default), `offline`, `online_and_offline`.",
    "idempotency_key": "Names this push, so that it counts once however often it is sent.",
}
"""What a push of a table has in its query string."""
WRITE_QUERY = {"feature_view_name": "The feature view."}
"""What a write of a table has in its query string."""


class TypedColumns(dict[str, list[Any]]):
    """Rows column by column, whose values are Python's already."""


class TypedRows(list[dict[str, Any]]):
    """Rows whose values are Python's already."""


def read_request(call: Call, limits: Limits) -> OnlineRequest:
    """Return what a read asks for; hot.

    Args:
        call: its body is JSON or msgpack.
        limits: what is bounded.

    Raises:
        Refusal: it is not as it should be.
    """
    if call.media == JSON:
        return read_body(call.body, OnlineRequest, limits)
    try:
        found = unpack(call.body)
    except ValueError as error:
        raise Refusal("not_msgpack", f"{error}; send one MessagePack value", "") from error
    asked = record_of(found, OnlineRequest)
    if asked.entities is not None:
        return msgspec.structs.replace(asked, entities=TypedColumns(asked.entities))
    return msgspec.structs.replace(asked, rows=TypedRows(asked.rows)) if asked.rows is not None else asked


def table_request(call: Call) -> OnlineRequest:
    """Return what a read of a table asks for, without the rows, which the body holds.

    Raises:
        Refusal: the query string is not as it should be.
    """
    given = query_of(call, TABLE_QUERY, ("features",))
    full = given.get("full_feature_names", ["false"])[-1]
    if full not in ("true", "false"):
        raise Refusal("bad_query", f"full_feature_names={full!r}; give true or false")
    return OnlineRequest(
        features=given.get("features"),
        feature_service=given.get("feature_service", [None])[-1],
        full_feature_names=full == "true",
        as_of=given.get("as_of", [None])[-1],
        entities=TypedColumns(),
    )


def push_of_table(call: Call) -> PushBody:
    """Return what a push of a table says, without the rows, which the body holds.

    Raises:
        Refusal: the query string is not as it should be.
    """
    return _record_of_query(call, PUSH_QUERY, PushBody)


def write_of_table(call: Call) -> WriteBody:
    """Return what a write of a table says, without the rows, which the body holds.

    Raises:
        Refusal: the query string is not as it should be.
    """
    return _record_of_query(call, WRITE_QUERY, WriteBody)


def _record_of_query(call: Call, known: Mapping[str, str], record: type[S]) -> S:
    given = {name: values[0] for name, values in query_of(call, known).items()}
    try:
        return record_of({**given, "df": {}}, record)
    except Refusal as refusal:
        raise Refusal("bad_query", f"with a table as the body: {refusal.detail}") from refusal


def query_of(call: Call, known: Mapping[str, str], many: Sequence[str] = ()) -> dict[str, list[Any]]:
    """Return the parameters of a query string.

    Args:
        call: the request.
        known: the names that it may have.
        many: those that may stand there several times.

    Raises:
        Refusal: one is not known, or stands there twice.
    """
    found: dict[str, list[Any]] = {}
    try:
        pairs = parse_qsl(call.query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=20_000)
    except ValueError as error:
        raise Refusal("bad_query", f"it cannot be read: {error}") from error
    for name, value in pairs:
        if name not in known:
            raise Refusal("bad_query", f"there is no parameter {name[:100]!r}; {near_misses(name[:100], list(known))}")
        if name in found and name not in many:
            raise Refusal("bad_query", f"{name} stands there twice; give it once")
        found.setdefault(name, []).append(value)
    return found


def media_of_answer(call: Call) -> bytes:
    """Return the content type that a read is answered in; hot.

    Example:
        >>> from likewise.serve.access import ANYBODY
        >>> media_of_answer(Call(b"", b"", "", ANYBODY, {b"accept": b"application/msgpack, */*;q=0.1"}))
        b'application/msgpack'
    """
    accept = call.headers.get(b"accept")
    if accept is None or accept == b"*/*":
        return JSON
    return ARROW if call.wants(ARROW) else MSGPACK if call.wants(MSGPACK) else JSON


def written_as(media: bytes, answer: OnlineResponse, limits: Limits) -> tuple[bytes, list[Counts]]:
    """Return the body of an answer that is not JSON, and how many values of each feature have each status."""
    counts: list[Counts] = [Counter(feature.statuses()) for feature in answer.features]
    if media == MSGPACK:
        return packed_answer(answer), counts
    from likewise.serve.tables import TableWriter

    writer = TableWriter(list(answer.key_types.items()), [(f.name, f.type) for f in answer.features])
    return writer.write([answer], limits.bulk_answer_bytes), counts


def packed_answer(answer: OnlineResponse) -> bytes:
    """Return an answer as msgpack, in the form that :class:`likewise.client.Client` reads.

    That is a mapping: ``keys`` has (name, type, values) of each column of entities, ``features`` (name, type, values,
    statuses, which of the times) of each feature, and ``times`` event times in microseconds since the epoch. Statuses
    are Feast's numbers, null where all values are there.
    """
    times: dict[int, int] = {}
    listed: list[Sequence[int | None]] = []
    features = []
    for feature in answer.features:
        if id(feature.times) not in times:
            times[id(feature.times)] = len(listed)
            listed.append(list(feature.times))
        states = None if feature.states is None else list(map(int, feature.states))
        features.append((feature.name, feature.type.name, feature.values, states, times[id(feature.times)]))
    keys = [(name, answer.key_types[name].name, values) for name, values in answer.keys.items()]
    failed, stale = answer.failed_values, answer.stale_values
    return pack({"keys": keys, "features": features, "times": listed, "failed": failed, "stale": stale})


def in_slice(error: RequestError, start: int) -> RequestError:
    """Return an error in some rows of a table as one of the whole table.

    Args:
        error: its row counts from where the rows begin.
        start: where they begin.
    """
    if start == 0 or error.row is None:
        return error
    what = f"of the rows from {start:,} on, counted from 0: {error.message}"
    return type(error)(what, cure=error.cure, column=error.column, row=error.row + start)
