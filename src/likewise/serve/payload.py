"""Payload: the bodies of requests as records, read from JSON without guessing: no key twice, no depth without end.

The records are also what the description of the routes is made from.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar, get_args

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
_NESTED = (dict, list)


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
    if body.count(b'":') != count or _SPACED.search(body) is not None:
        said = len(_MEMBER.findall(body))  # at least as many as there are, twins counted in
        if said not in (count, _all_members(found)):
            _refuse_twins(body)
    return record_of(found, record)


def record_of(found: Any, record: type[S]) -> S:
    """Return the record that a body holds which was decoded already.

    Raises:
        Refusal: it is no such record; with a pointer.
    """
    try:
        return msgspec.convert(found, record)
    except msgspec.ValidationError as error:
        raise _misfit(str(error), found, record) from error


def _too_deep(limits: Limits) -> Refusal:
    return Refusal("too_deep", f"it may be {limits.depth} levels deep at most", "")


def _is_deeper(value: Any, most: int) -> bool:
    return sum(1 for _ in itertools.islice(_levels(value), most + 1)) > most


def _all_members(value: Any) -> int:
    return sum(len(inner) for level in _levels(value) for inner in level if type(inner) is dict)


def _levels(value: Any) -> Iterator[list[Any]]:
    """Return the objects and arrays of each level; a body may have millions, and each level is one pass."""
    level = [value] if type(value) in _NESTED else []
    while level:
        yield level
        inner = (each.values() if type(each) is dict else each for each in level)
        level = [each for each in itertools.chain.from_iterable(inner) if type(each) in _NESTED]


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
    twins: list[_Twin] = []

    def made(pairs: list[tuple[str, Any]]) -> Any:
        record = dict(pairs)
        if len(record) == len(pairs):
            return record
        seen: set[str] = set()
        twins.append(_Twin(next(name for name, _ in pairs if name in seen or seen.add(name))))  # type: ignore[func-returns-value]
        return twins[-1]

    found = json.loads(body, object_pairs_hook=made)
    if twins:
        *steps, twin = _way_to_twin(found)
        raise Refusal("duplicate_key", f"{twin!r} stands there twice; give each key once", json_pointer(*steps, twin))


def _way_to_twin(value: Any) -> list[str]:
    """Return the steps to the first object that has a key twice, then the key; empty where there is none."""
    if isinstance(value, _Twin):
        return [value.key]
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        way = _way_to_twin(inner)
        if way:
            return [str(step), *way]
    return []


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
    if what.startswith("Invalid enum value"):
        what += f"; known: {_choices(record, steps[0])}"
    return Refusal("invalid", what[:1].lower() + what[1:], json_pointer(*steps))


def _choices(record: type[Struct], member: str) -> str:
    """Return the texts that a member may be."""
    [field] = [field for field in msgspec.structs.fields(record) if field.name == member]
    return ", ".join(map(repr, get_args(get_args(field.type)[0])))


def _first_misfit(columns: Mapping[str, Any]) -> str:
    """Return which member of columns is no list: msgspec does not say it."""
    return next((name for name, values in columns.items() if not isinstance(values, list)), "")
