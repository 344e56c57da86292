"""Diff: what changes between two sets of definitions, field by field, and which of it breaks somebody.

The rules are a table, :data:`RULES`. What no rule names is a change that breaks nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal

from likewise.core.time import span_text
from likewise.registry.catalog import KINDS, Key, PlainDefinition, noun

Path = tuple[str, ...]
"""The steps from a definition down to a field; an element of a list of named things is a step by its name."""
Finding = tuple[bool, str]
"""Whether a change breaks somebody, and why, or what to know of it."""


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field of a definition that differs."""

    path: Path
    """Where it is: ``("ttl",)``, ``("schema", "amount", "type")``."""
    action: Literal["add", "remove", "change"]
    """Whether the field, or the named element, came, went, or is another now."""
    before: Any
    """The old value, plain JSON; None when it was added."""
    after: Any
    """The new value, plain JSON; None when it was removed."""
    breaking: bool = False
    """Whether somebody who relied on the old definition fails, or gets what they did not expect."""
    why: str = ""
    """Who or what it breaks; for what is not breaking, what to know of it; may be empty."""


@dataclass(frozen=True, slots=True)
class Change:
    """One definition that is created, updated or deleted."""

    kind: str
    """The kind of the definition."""
    name: str
    """The name of the definition."""
    action: Literal["create", "update", "delete"]
    """What happens to it."""
    fields: tuple[FieldChange, ...] = ()
    """What differs, for an update."""
    why: str = ""
    """For a delete: who still relies on it; empty when nobody does."""

    @property
    def breaking(self) -> bool:
        """Whether it breaks somebody: a delete of what others read, or an update with a breaking field."""
        return bool(self.why) or any(field.breaking for field in self.fields)


@dataclass(frozen=True, slots=True)
class Rule:
    """What to say of one sort of change."""

    kinds: tuple[str, ...]
    """The kinds it is for."""
    path: Path
    """The path it is for; ``*`` stands for any one step."""
    actions: tuple[str, ...]
    """The actions it is for."""
    judge: Callable[[FieldChange], Finding]
    """Says whether the change is breaking, and why."""

    def covers(self, kind: str, change: FieldChange) -> bool:
        """Say whether the rule is for this change."""
        return (
            kind in self.kinds
            and change.action in self.actions
            and len(change.path) == len(self.path)
            and all(wanted in ("*", step) for wanted, step in zip(self.path, change.path, strict=True))
        )


def breaks(why: str) -> Callable[[FieldChange], Finding]:
    """Judge every change as breaking."""
    return lambda change: (True, why)


def note(why: str) -> Callable[[FieldChange], Finding]:
    """Judge every change as harmless, with something to know."""
    return lambda change: (False, why)


def _ttl(change: FieldChange) -> Finding:
    match change.before, change.after:
        case (int(before), int(after)) if 0 < before <= after:
            return False, ""
        case (_, int(after)) if after > 0:
            return False, f"values older than {_span(after)} become null"
    return False, ""


def _key_type(change: FieldChange) -> Finding:
    return (True, "stored keys are found no more") if change.before else (False, "")  # it was read from the source


def _fewer(change: FieldChange) -> Finding:
    match change.before, change.after:
        case None, _:
            return True, "it had the whole view before"
        case list(before), list(after):
            gone = [str(name) for name in before if name not in after]
            return (True, f"its readers lose {', '.join(gone)}") if gone else (False, "")
    return False, ""  # without a list it has the whole view


VIEWS = ("feature_view", "batch_feature_view", "stream_feature_view")
SERVED = (*VIEWS, "on_demand_feature_view")
ALL, ANY = ("add", "remove", "change"), "*"
_REWRITTEN = note("values may differ: materialize again")
_REMAPPED = note("not served until it is materialized again")

RULES: tuple[Rule, ...] = (
    Rule(("entity",), ("join_key",), ALL, breaks("entity rows name the key by its old name")),
    Rule(("entity",), ("type",), ALL, _key_type),
    Rule(("data_source",), ("schema", ANY), ("add",), breaks("requests must give it")),
    Rule(("data_source",), ("schema", ANY, "type"), ALL, breaks("requests must give another type")),
    Rule(("data_source",), ("path",), ALL, _REWRITTEN),
    Rule(("data_source",), ("timestamp_field",), ALL, _REWRITTEN),
    Rule(("data_source",), ("created_timestamp_column",), ALL, _REWRITTEN),
    Rule(("data_source",), ("field_mapping",), ALL, _REMAPPED),
    Rule(("data_source",), ("field_mapping", ANY), ALL, _REMAPPED),
    Rule(("data_source",), ("batch_source",), ALL, _REWRITTEN),
    Rule(VIEWS, ("entities",), ALL, breaks("its key changes: entity rows and stored keys no longer fit")),
    Rule(SERVED, ("schema", ANY), ("remove",), breaks("whoever reads it by name fails")),
    Rule(VIEWS, ("schema", ANY), ("add",), note("null online until it is materialized again")),
    Rule(SERVED, ("schema", ANY, "type"), ALL, breaks("its readers get another type")),
    Rule(VIEWS, ("ttl",), ALL, _ttl),
    Rule(VIEWS, ("offline_only",), ("add",), breaks("online reads of it end")),
    Rule(SERVED, ("disabled",), ("add",), breaks("reads of it end")),
    Rule(VIEWS, ("source",), ALL, _REWRITTEN),
    Rule(VIEWS, ("views",), ALL, _REWRITTEN),
    Rule(VIEWS, ("aggregations",), ALL, _REWRITTEN),
    Rule(VIEWS, ("aggregations", ANY), ALL, _REWRITTEN),
    Rule(VIEWS, ("aggregations", ANY, ANY), ALL, _REWRITTEN),
    Rule(VIEWS, ("inputs", ANY, "type"), ALL, _REWRITTEN),
    Rule(VIEWS, ("derived", ANY), ("change",), _REWRITTEN),
    Rule(VIEWS, ("function", "hash"), ALL, _REWRITTEN),
    Rule(("on_demand_feature_view",), ("function", "hash"), ALL, note("values change in training and serving alike")),
    Rule(("on_demand_feature_view",), ("requests",), ALL, note("requests give other values")),
    Rule(("feature_service",), ("features", ANY), ("remove",), breaks("its readers lose these features")),
    Rule(("feature_service",), ("features", ANY, "features"), ALL, _fewer),
    Rule(("feature_service",), ("features", ANY, "join_key_map"), ALL, breaks("it reads its key from elsewhere")),
    Rule(("feature_service",), ("features",), ("change",), note("the order of its features differs")),
)
"""What is said of a change; the first rule that covers it counts."""


def diff(old: Iterable[Mapping[str, Any]], new: Iterable[Mapping[str, Any]]) -> list[Change]:
    """Return what changes between two complete sets of definitions, in the order of :data:`KINDS`, then by name.

    Args:
        old: the definitions that are applied, as plain JSON objects.
        new: the definitions that are wanted.

    Example:
        >>> before = {"kind": "feature_view", "name": "cards", "ttl": 86_400_000_000}
        >>> for line in describe(diff([before], [{**before, "ttl": 172_800_000_000}])[0]):
        ...     print(line)
        ~ feature view cards
            ttl: 1 day -> 2 days
    """
    before, after = _by_key(old), _by_key(new)
    judge = _Judge(before.values())
    return [
        change
        for key in sorted(before.keys() | after.keys(), key=_order)
        if (change := _change(key, before.get(key), after.get(key), judge)) is not None
    ]


def describe(change: Change) -> list[str]:
    """Write a change as lines for people: its head, then a line for each field, indented."""
    sign = {"create": "+", "update": "~", "delete": "-"}[change.action]
    head = f"{sign} {noun(change.kind)} {change.name}" + _remark(change.action == "delete", change.why)
    shown = (field for field in change.fields if field.path != ("function", "text"))  # its hash says so
    return [head, *(f"    {_field_line(field)}" for field in shown)]


class _Judge:
    """Knows who reads what in the old definitions, and says what a change means to them."""

    def __init__(self, old: Iterable[PlainDefinition]) -> None:
        self._readers: dict[str, list[tuple[str, frozenset[str] | None]]] = {}
        self._join_keys: dict[str, str] = {}
        for definition in old:
            if definition["kind"] == "entity":
                self._join_keys[definition["name"]] = str(definition.get("join_key") or definition["name"])
            self._note_reading(definition)

    def _note_reading(self, definition: PlainDefinition) -> None:
        """Every list of projections in any definition is a reading of views."""
        title = f"{noun(definition['kind'])} {definition['name']}"
        for value in definition.values():
            for part in value if isinstance(value, list) else ():
                match part:
                    case {"view": str(view), "features": list(chosen)}:
                        self._readers.setdefault(view, []).append((title, frozenset(map(str, chosen))))
                    case {"view": str(view)}:
                        self._readers.setdefault(view, []).append((title, None))

    def deletion(self, kind: str, name: str) -> str:
        """Say whom the end of a definition breaks; empty when nobody."""
        if kind == "feature_service":
            return "models that read it fail"
        if kind not in SERVED:
            return ""
        return self._read_by(name, None) or "whoever reads it by name fails"

    def field(self, definition: PlainDefinition, change: FieldChange) -> FieldChange:
        """Return the change of a field with what it means."""
        kind = definition["kind"]
        rule = next((rule for rule in RULES if rule.covers(kind, change)), None)
        if rule is None or self._is_key(definition, change):
            return change
        breaking, why = rule.judge(change)
        if breaking and kind in SERVED and change.path[0] == "schema":
            why = self._read_by(definition["name"], change.path[1]) or why
        return replace(change, breaking=breaking, why=why)

    def _is_key(self, definition: PlainDefinition, change: FieldChange) -> bool:
        """Whether a view merely lists its key among its columns, or does so no more."""
        match definition.get("entities"), change.path:
            case list(entities), ("schema", name):
                return name in [self._join_keys.get(entity, entity) for entity in map(str, entities)]
        return False

    def _read_by(self, view: str, feature: str | None) -> str:
        readers = self._readers.get(view, ())
        titles = sorted({title for title, part in readers if feature is None or part is None or feature in part})
        if not titles:
            return ""
        shown = ", ".join(titles[:5]) + (f" and {len(titles) - 5} more" if len(titles) > 5 else "")
        return f"{shown} read{'s' if len(titles) == 1 else ''} it"


def _by_key(definitions: Iterable[Mapping[str, Any]]) -> dict[Key, PlainDefinition]:
    return {(each["kind"], each["name"]): dict(each) for each in definitions}


def _order(key: Key) -> tuple[int, str, str]:
    kind, name = key
    return (KINDS.index(kind) if kind in KINDS else len(KINDS)), kind, name


def _change(key: Key, old: PlainDefinition | None, new: PlainDefinition | None, judge: _Judge) -> Change | None:
    kind, name = key
    if old is None:
        return Change(kind, name, "create")
    if new is None:
        return Change(kind, name, "delete", why=judge.deletion(kind, name))
    if _same(old, new):
        return None
    return Change(kind, name, "update", tuple(judge.field(old, field) for field in _field_changes((), old, new)))


def _same(old: Any, new: Any) -> bool:
    return json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)  # == would take 1 for True


def _field_changes(path: Path, old: Any, new: Any) -> Iterator[FieldChange]:
    """Walk two values side by side and yield where they differ."""
    if _same(old, new):
        return
    if isinstance(old, dict) and isinstance(new, dict):
        yield from _member_changes(path, old, new)
        return
    old_named, new_named = _named(old), _named(new)
    if old_named is not None and new_named is not None:
        yield from _member_changes(path, old_named, new_named)
        if _common(old_named, new_named) != _common(new_named, old_named):
            yield FieldChange(path, "change", list(old_named), list(new_named))
    else:
        yield FieldChange(path, "change", old, new)


def _member_changes(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[FieldChange]:
    for step in [*old, *(added for added in new if added not in old)]:
        here = (*path, step)
        if step not in new:
            yield FieldChange(here, "remove", old[step], None)
        elif step not in old:
            yield FieldChange(here, "add", None, new[step])
        else:
            yield from _field_changes(here, old[step], new[step])


def _common(one: Iterable[str], other: Mapping[str, Any]) -> list[str]:
    return [step for step in one if step in other]


def _named(value: Any) -> dict[str, Any] | None:
    """Return a list of named things by their names; None when it is no such list, or when two share a name."""
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        return None
    by_name = {_name_of(each): each for each in value}
    return by_name if "" not in by_name and len(by_name) == len(value) else None


def _name_of(thing: Mapping[str, Any]) -> str:
    name = str(thing.get("name") or thing.get("alias") or thing.get("view") or "")
    if not name and "function" in thing:  # an aggregation without a name
        window = _shown(("time_window",), thing.get("time_window"))
        return f"{thing['function']} of {thing.get('column', '')} over {window}"
    return name


def _field_line(change: FieldChange) -> str:
    label, remark = _label(change.path), _remark(change.breaking, change.why)
    if change.action == "change" or len(change.path) == 1 or change.path[0] == "function":
        return f"{label}: {_shown(change.path, change.before)} -> {_shown(change.path, change.after)}{remark}"
    sign, value = ("+", change.after) if change.action == "add" else ("-", change.before)
    if isinstance(value, dict):
        of_type = f" ({value['type']})" if "type" in value else ""
        return f"{sign} {label}{of_type}{remark}"
    return f"{sign} {label}: {_shown(change.path, value)}{remark}"


_NOUNS = {
    "schema": "feature",
    "pushed": "pushed column",
    "features": "features of",
    "views": "view",
    "aggregations": "aggregation",
    "inputs": "column read",
    "derived": "expression",
    "tags": "tag",
}
"""What an element of a list is called."""


def _label(path: Path) -> str:
    first, *rest = path
    if first == "function":
        return "function"
    return f"{_NOUNS[first]} {' '.join(rest)}" if rest and first in _NOUNS else ".".join(path)


_SPANS = frozenset({"ttl", "lookback", "time_window", "slide_interval", "delay", "tiling_hop_size"})
"""Fields that hold a span of time, in microseconds."""
_WIDEST = 60


def _shown(path: Path, value: Any) -> str:
    if path[-1] in _SPANS and isinstance(value, int):
        return _span(value)
    if value is None:
        return "unlimited" if path[-1] == "ttl" else "none"
    if path[-1] == "hash" and isinstance(value, str):
        return value[:12]
    if isinstance(value, str) and "\n" in value:
        return f"{len(value.splitlines())} lines"
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"


def _span(micros: int) -> str:
    return span_text(timedelta(microseconds=micros))


def _remark(breaking: bool, why: str) -> str:
    if breaking and why:
        return f"   BREAKING: {why}"
    return f"   ({why})" if why else ""
