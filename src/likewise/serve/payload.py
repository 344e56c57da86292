"""Payload: the bodies of requests as records, read from JSON without guessing: no key twice, no depth without end.

The records are also what the description of the routes is made from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from likewise.core.names import near_misses
from likewise.serve.problem import Refusal, json_pointer
from likewise.serve.settings import Limits

Columns = dict[str, list[Any]]
"""Rows, column by column."""
S = TypeVar("S", bound=Struct)
_MEMBER = re.compile(rb'"\s*:')
_SPACED = re.compile(rb'"\s')


class OnlineRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which features of which entities: ``features`` or ``feature_service``, and ``entities`` or ``rows``."""

    features: Annotated[
        list[str] | None, Meta(description="`view:feature` texts, names of views and services, in any mix.")
    ] = None
    feature_service: Annotated[str | None, Meta(description="The name of a feature service.")] = None
    entities: Annotated[
        Columns | None,
        Meta(description="Column to values, each as long as the others: join keys, and what on-demand views need."),
    ] = None
    rows: Annotated[list[dict[str, Any]] | None, Meta(description="The same, row by row.")] = None
    full_feature_names: Annotated[bool, Meta(description="Call features `view__feature`.")] = False
    as_of: Annotated[
        str | None, Meta(description="The time that the answer is for, ISO 8601; now by default. For tests and audits.")
    ] = None
    include_feature_view_version_metadata: Annotated[bool, Meta(description="Accepted and not used.")] = False


class PushBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rows for all views of a push source."""

    push_source_name: Annotated[str, Meta(description="The push source.")]
    df: Annotated[Columns, Meta(description="Column to values: keys, event time, and what the views read.")]
    to: Annotated[Literal["online", "offline", "online_and_offline"], Meta(description="Where the rows go.")] = "online"
    idempotency_key: Annotated[
        str | None, Meta(description="Names this push, so that it counts once however often it is sent.")
    ] = None
    allow_registry_cache: Annotated[bool, Meta(description="Accepted and not used.")] = True
    transform_on_write: Annotated[bool, Meta(description="Accepted and not used.")] = True


class WriteBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rows of one view."""

    feature_view_name: Annotated[str, Meta(description="The feature view.")]
    df: Annotated[Columns, Meta(description="Column to values: keys, event time and features.")]
    allow_registry_cache: Annotated[bool, Meta(description="Accepted and not used.")] = True
    transform_on_write: Annotated[bool, Meta(description="Accepted and not used.")] = True


class MaterializeBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A span of event times to write to the online store."""

    start_ts: Annotated[str | None, Meta(description="The first event time, ISO 8601.")] = None
    end_ts: Annotated[str | None, Meta(description="The last event time, included; not in the future.")] = None
    feature_views: Annotated[
        list[str] | None, Meta(description="The views; by default all that are online and have a batch source.")
    ] = None
    disable_event_timestamp: Annotated[bool, Meta(description="Take everything up to now, whatever the times.")] = False
    version: Annotated[str | None, Meta(description="The views' applied version, such as `v2`.")] = None
    full_feature_names: Annotated[bool, Meta(description="Accepted and not used.")] = False
    force: Annotated[bool, Meta(description="Accepted and not used.")] = False


class IncrementalBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The end of what is new."""

    end_ts: Annotated[str | None, Meta(description="The last event time, included; now by default.")] = None
    feature_views: Annotated[
        list[str] | None, Meta(description="The views; by default all that are online and have a batch source.")
    ] = None
    version: Annotated[str | None, Meta(description="The views' applied version, such as `v2`.")] = None
    full_feature_names: Annotated[bool, Meta(description="Accepted and not used.")] = False
    force: Annotated[bool, Meta(description="Accepted and not used.")] = False


def read_body(body: bytes, record: type[S], limits: Limits) -> S:
    """Return the record that a body holds; hot.

    Args:
        body: JSON.
        record: what it should be.
        limits: what is bounded.

    Raises:
        Refusal: it is not JSON, has a key twice, is too deep, or is no such record; with a pointer.

    Example:
        >>> read_body(b'{"features": ["users:age"], "entities": {"user": [1]}}', OnlineRequest, Limits()).entities
        {'user': [1]}
    """
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:  # a ValidationError is one: a number beyond all bounds
        raise Refusal("not_json", f"{error}; send one JSON object in UTF-8", "") from error
    except RecursionError as error:
        raise _too_deep(limits) from error
    if body.count(b"[") + body.count(b"{") > limits.depth and _is_deeper(found, limits.depth):
        raise _too_deep(limits)
    count = _members(found)
    if (body.count(b'":') != count or _SPACED.search(body) is not None) and len(_MEMBER.findall(body)) != count:
        _refuse_twins(body)
    try:
        return msgspec.convert(found, record)
    except msgspec.ValidationError as error:
        raise _misfit(str(error), found, record) from error


def _too_deep(limits: Limits) -> Refusal:
    return Refusal("too_deep", f"it may be {limits.depth} levels deep at most", "")


def _is_deeper(value: Any, left: int) -> bool:
    if isinstance(value, dict):
        return left == 0 or any(_is_deeper(inner, left - 1) for inner in value.values())
    return isinstance(value, list) and (left == 0 or any(_is_deeper(inner, left - 1) for inner in value))


def _members(found: Any) -> int:
    """Return how many members the usual body has; a body that is nested more is looked at with more care."""
    if not isinstance(found, dict):
        return 0
    count = len(found)
    for value in found.values():
        if isinstance(value, dict):
            count += len(value)
    rows = found.get("rows")
    if isinstance(rows, list):
        count += sum(len(row) for row in rows if isinstance(row, dict))
    return count


class _Twin:
    """Stands for an object that has a key twice."""

    def __init__(self, key: str) -> None:
        self.key = key


def _refuse_twins(body: bytes) -> None:
    def made(pairs: list[tuple[str, Any]]) -> Any:
        record = dict(pairs)
        if len(record) == len(pairs):
            return record
        names = [name for name, _ in pairs]
        return _Twin(next(name for name in names if names.count(name) > 1))

    for pointer, key in _twins(json.loads(body, object_pairs_hook=made), ""):
        raise Refusal("duplicate_key", f"{key!r} stands there twice; give each key once", pointer)


def _twins(value: Any, pointer: str) -> list[tuple[str, str]]:
    if isinstance(value, _Twin):
        return [(pointer + json_pointer(value.key), value.key)]
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [twin for step, inner in steps for twin in _twins(inner, pointer + json_pointer(str(step)))]


_STEP = re.compile(r"\.(?P<name>\w+)|\[(?P<index>\d+)\]|(?P<any>\[\.\.\.\])")


def _misfit(said: str, found: Any, record: type[Struct]) -> Refusal:
    """Put what msgspec says of a value into words, with a pointer."""
    what, _, path = said.partition(" - at `$")
    if "unknown field `" in what:
        name = what.partition("unknown field `")[2].rstrip("`")
        known = [field.name for field in msgspec.structs.fields(record)]
        return Refusal("invalid", f"there is no member {name!r}; {near_misses(name, known)}", json_pointer(name))
    steps, value = [], found
    for match in _STEP.finditer(path):
        step = match["name"] or match["index"] or _first_misfit(value)
        steps.append(step)
        value = value[int(step)] if isinstance(value, list) else value.get(step) if isinstance(value, dict) else None
    return Refusal("invalid", what[:1].lower() + what[1:], json_pointer(*steps))


def _first_misfit(columns: Mapping[str, Any]) -> str:
    """Return which member of columns is no list: msgspec does not say it."""
    return next((name for name, values in columns.items() if not isinstance(values, list)), "")
