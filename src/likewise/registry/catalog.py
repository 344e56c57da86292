"""Catalog: one numbered, immutable set of definitions, each known by the hash of its canonical JSON.

A definition here is a plain JSON object, ``{"kind": "feature_view", "name": "cards", …}``. Nothing in this module reads
or writes a store; every registry makes its catalogs with it, so that hashes and seals agree between all of them.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from likewise.core.errors import InvalidDefinition

PlainDefinition = dict[str, Any]
"""A definition as a plain JSON object with at least ``kind`` and ``name``."""
Key = tuple[str, str]
"""The (kind, name) that identifies a definition in a catalog."""
Manifest = Mapping[Key, str]
"""What a catalog holds: (kind, name) to the hash of the definition, in sorted order."""

KINDS = (
    "project",
    "entity",
    "data_source",
    "feature_view",
    "batch_feature_view",
    "stream_feature_view",
    "on_demand_feature_view",
    "feature_service",
)
"""The kinds of definitions, in the order in which they build on one another."""


def canonical(value: object, what: str = "value") -> bytes:
    """Write plain data as canonical JSON: UTF-8, keys sorted by code point, no spaces, no NaN.

    Args:
        value: None, bool, int, finite float, str, and lists and dicts (with text keys) of them.
        what: what is being written, for the message.

    Raises:
        InvalidDefinition: something in it is not plain JSON; the message has the path to it.

    Example:
        >>> canonical({"name": "cards", "kind": "entity", "tags": {}})
        b'{"kind":"entity","name":"cards","tags":{}}'
    """
    try:
        _refuse_what_is_not_plain(value, what)
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        lone = error.object[error.start : error.end]
        raise InvalidDefinition(
            f"{what} holds {lone!r}, half of a character", cure="give whole Unicode text"
        ) from error
    except RecursionError as error:
        raise InvalidDefinition(f"{what} is nested too deeply, or holds itself", cure="make it flatter") from error


def _refuse_what_is_not_plain(value: object, path: str) -> None:
    if value is None or type(value) in (str, int, bool):
        return
    if type(value) is float:
        if not math.isfinite(value):
            raise InvalidDefinition(f"{path} is {value!r}", cure="JSON has no NaN or infinity; use None")
    elif type(value) is dict:
        for key, inner in value.items():
            if type(key) is not str:
                raise InvalidDefinition(f"{path} has the key {key!r}", cure="keys are text")
            _refuse_what_is_not_plain(inner, f"{path}.{key}")
    elif type(value) in (list, tuple):
        for index, inner in enumerate(value):  # type: ignore[arg-type]
            _refuse_what_is_not_plain(inner, f"{path}[{index}]")
    else:
        raise InvalidDefinition(f"{path} is a {type(value).__name__}: {value!r}", cure="only plain JSON can be stored")


def digest(*parts: bytes) -> str:
    """Return the SHA-256 of the parts, written one after the other, in hexadecimal digits."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part)
    return whole.hexdigest()


def content_hash(definition: Mapping[str, Any]) -> str:
    """Return the hash that identifies a definition: the SHA-256 of its canonical JSON, in hexadecimal digits.

    Example:
        >>> content_hash({"kind": "entity", "name": "card"}) == content_hash({"name": "card", "kind": "entity"})
        True
    """
    return digest(canonical(dict(definition), "the definition"))


@dataclass(frozen=True, slots=True)
class Draft:
    """A complete set of definitions, checked and hashed, that may become the next catalog."""

    manifest: Manifest
    """What it holds, in sorted order."""
    bodies: Mapping[str, bytes]
    """The canonical JSON of each definition, by its hash."""


def draft(definitions: Iterable[Mapping[str, Any]]) -> Draft:
    """Check and hash a complete set of definitions.

    Args:
        definitions: plain JSON objects with ``kind`` and ``name``, each pair once.

    Raises:
        InvalidDefinition: one is not plain JSON, has no kind or name, or stands twice.

    Example:
        >>> sorted(draft([{"kind": "entity", "name": "card"}]).manifest)
        [('entity', 'card')]
    """
    manifest: dict[Key, str] = {}
    bodies: dict[str, bytes] = {}
    for definition in definitions:
        kind, name = key = _key(definition)
        if key in manifest:
            raise InvalidDefinition(f"the {noun(kind)} {name!r} stands twice in one set", cure="remove one of them")
        body = canonical(dict(definition), f"{noun(kind)} {name!r}")
        manifest[key] = digest(body)
        bodies[manifest[key]] = body
    return Draft(MappingProxyType(dict(sorted(manifest.items()))), MappingProxyType(bodies))


def _key(definition: Mapping[str, Any]) -> Key:
    kind, name = definition.get("kind"), definition.get("name")
    if type(kind) is str and type(name) is str and kind and name:
        return kind, name
    raise InvalidDefinition(
        f"a definition has the kind {kind!r} and the name {name!r}", cure="give both as text that is not empty"
    )


def noun(kind: str) -> str:
    """Return a kind as people say it.

    Example:
        >>> noun("on_demand_feature_view")
        'on-demand feature view'
    """
    return kind.replace("on_demand", "on-demand").replace("_", " ")


@dataclass(frozen=True, slots=True)
class Signature:
    """Who makes a catalog, when and why."""

    created: int
    """The time, in microseconds since the epoch."""
    author: str = ""
    """Who; may be empty."""
    message: str = ""
    """Why; may be empty."""


@dataclass(frozen=True, slots=True)
class CatalogInfo:
    """What is known of a catalog without reading its definitions."""

    project: str
    """The project it belongs to."""
    number: int
    """Its place in the project's history, from 1; 0 is the empty catalog before the first commit."""
    parent: int
    """The number of the catalog it was made from, which is always the one before; 0 for the first, and for 0."""
    created: int
    """When it was committed, in microseconds since the epoch; 0 for catalog 0."""
    author: str
    """Who committed it; may be empty."""
    message: str
    """Why; may be empty."""
    size: int
    """How many definitions it holds."""
    contents: str
    """The hash of its manifest: two catalogs with equal contents hold the same definitions."""
    delta: str
    """The hash of the entries of its commit: what it did to each definition."""
    seal: str
    """The hash over all of the above and the parent's seal; it identifies the catalog and its whole history."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """One numbered, immutable set of definitions, read in one go; a definition is decoded when it is asked for.

    Two catalogs are equal when their infos are: the seal stands for everything they hold.

    Example:
        >>> catalog = empty_catalog("demo")
        >>> catalog.number, catalog.names("entity"), catalog.find("entity", "card")
        (0, [], None)
    """

    info: CatalogInfo
    """Who made it, when and why."""
    manifest: Manifest = field(repr=False, compare=False)
    """What it holds: (kind, name) to hash, in sorted order."""
    bodies: Mapping[str, bytes] = field(repr=False, compare=False)
    """The canonical JSON of each definition, by its hash; already verified."""

    @property
    def project(self) -> str:
        """The project it belongs to."""
        return self.info.project

    @property
    def number(self) -> int:
        """Its place in the project's history, from 1; 0 is the empty catalog before the first commit."""
        return self.info.number

    @property
    def seal(self) -> str:
        """The hash that identifies it and its whole history; unlike the number, it differs between registries."""
        return self.info.seal

    def find(self, kind: str, name: str) -> PlainDefinition | None:
        """Return a fresh copy of a definition, or None when the catalog has none of that kind and name."""
        found = self.manifest.get((kind, name))
        return None if found is None else decode(self.bodies[found])

    def names(self, kind: str) -> list[str]:
        """Return the names of all definitions of a kind, sorted."""
        return [name for each, name in self.manifest if each == kind]

    def definitions(self, *kinds: str) -> list[PlainDefinition]:
        """Return fresh copies of the definitions of these kinds, or of all; sorted by kind and name."""
        return [decode(self.bodies[found]) for (kind, _), found in self.manifest.items() if not kinds or kind in kinds]


@dataclass(frozen=True, slots=True)
class DefinitionVersion:
    """One content that a definition had, and the catalogs that hold it."""

    kind: str
    """The kind of the definition."""
    name: str
    """The name of the definition."""
    version: int
    """Its place among the versions of this definition, from 1; ``view@v2`` means 2."""
    since: int
    """The first catalog that holds it."""
    until: int | None
    """The first catalog that holds it no more; None when the newest catalog holds it."""
    hash: str
    """The hash of the definition; a version that returned has the hash it had before."""
    body: bytes = field(repr=False, compare=False)
    """Its canonical JSON."""

    @property
    def definition(self) -> PlainDefinition:
        """A fresh copy of the definition."""
        return decode(self.body)


@dataclass(frozen=True, slots=True)
class Entry:
    """What one commit did to one definition; the entries of a project, in order, are its history."""

    kind: str
    """The kind of the definition."""
    name: str
    """The name of the definition."""
    number: int
    """The catalog that the commit made."""
    hash: str | None
    """The hash of the new content; None when the commit removed it."""


def decode(body: bytes) -> PlainDefinition:
    """Read a definition from its canonical JSON."""
    found: PlainDefinition = json.loads(body)
    return found


def entries_between(old: Manifest, new: Manifest, number: int) -> list[Entry]:
    """Return what a commit that makes catalog ``number`` does to each definition that it touches, in sorted order."""
    touched = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
    return [Entry(kind, name, number, new.get((kind, name))) for kind, name in touched]


def versions(entries: Sequence[Entry], bodies: Mapping[str, bytes]) -> list[DefinitionVersion]:
    """Return the versions of one definition from all of its entries in order."""
    found: list[DefinitionVersion] = []
    ends: list[int | None] = [*(entry.number for entry in entries[1:]), None]
    for entry, until in zip(entries, ends, strict=False):
        if entry.hash is not None:
            place, body = len(found) + 1, bodies[entry.hash]
            found.append(DefinitionVersion(entry.kind, entry.name, place, entry.number, until, entry.hash, body))
    return found


# Hashes and seals


def manifest_hash(manifest: Manifest) -> str:
    """Return the hash of a manifest, whatever its order."""
    return digest(canonical([[kind, name, found] for (kind, name), found in sorted(manifest.items())]))


def entries_hash(entries: Iterable[Entry]) -> str:
    """Return the hash of the entries of one commit, in sorted order."""
    return digest(canonical([[entry.kind, entry.name, entry.hash] for entry in entries]))


def seal_of(info: CatalogInfo, parent_seal: str) -> str:
    """Return the seal that a catalog must carry: the hash over its facts and its parent's seal."""
    place = [parent_seal, info.project, info.number, info.parent, info.created, info.author, info.message]
    return digest(canonical([*place, info.size, info.contents, info.delta], "the catalog"))


def empty_catalog(project: str) -> Catalog:
    """Return catalog 0 of a project: the empty one, before any commit."""
    nothing: Manifest = MappingProxyType({})
    info = CatalogInfo(project, 0, 0, 0, "", "", 0, manifest_hash(nothing), entries_hash([]), "")
    return Catalog(replace(info, seal=seal_of(info, "")), nothing, MappingProxyType({}))


def successor(parent: CatalogInfo, new: Draft, entries: Iterable[Entry], signature: Signature) -> Catalog:
    """Return the catalog that a commit on top of ``parent`` makes.

    Args:
        parent: the newest catalog.
        new: what the new one holds.
        entries: what the commit does to each definition.
        signature: who commits, when and why.
    """
    by = (signature.created, signature.author, signature.message)
    hashes = (manifest_hash(new.manifest), entries_hash(entries))
    info = CatalogInfo(parent.project, parent.number + 1, parent.number, *by, len(new.manifest), *hashes, "")
    return Catalog(replace(info, seal=seal_of(info, parent.seal)), new.manifest, new.bodies)
