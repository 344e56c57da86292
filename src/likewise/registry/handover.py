"""Handover: whether what one registry held can go to another: every hash is checked, and histories must continue."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from likewise.core.errors import StoreError
from likewise.registry import audit, leases
from likewise.registry.base import RegistryCorrupt
from likewise.registry.catalog import (
    CatalogInfo,
    Entry,
    Key,
    canonical,
    digest,
    empty_catalog,
    entries_hash,
    manifest_hash,
    seal_of,
)
from likewise.registry.holdings import Holdings, SideItem


class HistoriesDiffer(StoreError):
    """A project's history, or its audit log, here is not the beginning of the one that is to be taken over."""


def verify(holdings: Holdings, place: str) -> None:
    """Check every hash and seal.

    Args:
        holdings: what to check.
        place: where it comes from, for messages.

    Raises:
        RegistryCorrupt: one fails; the message says which.
    """
    for found, body in holdings.bodies.items():
        if digest(body) != found:
            raise _corrupt(place, f"the text of definition {found[:12]} fails its hash")
    for project, infos in holdings.histories.items():
        _verify_project(project, infos, holdings.entries.get(project, ()), holdings.bodies, place)


def _verify_project(
    project: str, infos: Sequence[CatalogInfo], entries: Sequence[Entry], bodies: Mapping[str, bytes], place: str
) -> None:
    grouped = {number: list(group) for number, group in itertools.groupby(entries, lambda entry: entry.number)}
    manifest: dict[Key, str] = {}
    parent = empty_catalog(project).info
    for info in infos:
        mine = grouped.pop(info.number, [])
        lost = next((entry for entry in mine if entry.hash is not None and entry.hash not in bodies), None)
        if lost is not None:
            raise _corrupt(place, f"the text of {lost.kind} {lost.name!r} in catalog {info.number} is missing")
        step(manifest, mine)
        expected = (project, parent.number + 1, parent.number, seal_of(info, parent.seal))
        held = (len(manifest), manifest_hash(manifest), entries_hash(mine))
        if (info.project, info.number, info.parent, info.seal) != expected:
            raise _corrupt(place, f"catalog {info.number} of project {project!r} fails its seal")
        if (info.size, info.contents, info.delta) != held:
            raise _corrupt(place, f"the entries of catalog {info.number} of project {project!r} fail their hash")
        parent = info
    if grouped:
        raise _corrupt(place, f"project {project!r} has entries of catalogs that it does not have")


def step(manifest: dict[Key, str], entries: Iterable[Entry]) -> None:
    """Change a manifest, in place, as the entries of one commit say."""
    for entry in entries:
        if entry.hash is None:
            manifest.pop((entry.kind, entry.name), None)
        else:
            manifest[entry.kind, entry.name] = entry.hash


def _corrupt(place: str, what: str) -> RegistryCorrupt:
    return RegistryCorrupt(place, what, cure="take it from its source again")


def still_missing(
    project: str, here: CatalogInfo, arriving: Sequence[CatalogInfo], place: str
) -> Sequence[CatalogInfo]:
    """Return the catalogs that continue a project's history.

    Args:
        project: the project.
        here: the newest catalog that is here; 0 when there is none.
        arriving: the catalogs that are to be here afterwards, from 1 on.
        place: the registry that they go to, for messages.

    Raises:
        HistoriesDiffer: what is here is not how the other history begins.
    """
    if here.number > len(arriving):
        raise HistoriesDiffer(
            f"project {project!r} is at catalog {here.number} in {place!r}, and ends at {len(arriving)} in what is "
            "to be imported",
            cure="import something newer, or into an empty registry; nothing was changed",
        )
    if here.number and arriving[here.number - 1].seal != here.seal:
        raise HistoriesDiffer(
            f"project {project!r} has another history in {place!r} than in what is to be imported",
            cure="import into an empty registry; nothing was changed",
        )
    return arriving[here.number :]


def refuse_other_history(here: Holdings, arriving: Holdings, place: str) -> None:
    """Refuse what cannot be taken over, before anything else is done with it.

    Args:
        here: what a registry holds.
        arriving: what is to be taken over.
        place: the registry, for messages.

    Raises:
        HistoriesDiffer: a history or an audit log here is not how the other one begins.
    """
    for project, infos in arriving.histories.items():
        mine = here.histories.get(project, ())
        still_missing(project, mine[-1] if mine else empty_catalog(project).info, infos, place)
    bodies = {(item.project, item.space, item.key): item.body for item in here.sides}
    for _ in arriving_sides(arriving.sides, bodies):
        break


def arriving_sides(arriving: Iterable[SideItem], here: Mapping[tuple[str, str, str], bytes]) -> Iterator[SideItem]:
    """Yield the side values to write, by their versions: those that are not here as they are, leases without holder.

    Args:
        arriving: the values that arrive.
        here: the canonical JSON of the values that are here, by project, space and key.

    Raises:
        HistoriesDiffer: an entry of an audit log is another one here; raised before any value is yielded.
    """
    by_version = sorted(arriving, key=lambda item: item.version)
    for item in by_version:
        if item.space == audit.SPACE and here.get((item.project, item.space, item.key), item.body) != item.body:
            raise HistoriesDiffer(
                f"the audit log of project {item.project!r} has another entry {int(item.key)} here than in what is to "
                "be imported",
                cure="import into an empty registry; nothing was changed",
            )
    for item in by_version:
        mine = here.get((item.project, item.space, item.key))
        body = _handed_over(item.body, mine) if item.space == leases.SPACE else item.body
        if body != mine and not (item.space == audit.NEWEST and _is_behind(body, mine)):
            yield replace(item, body=body)


def _is_behind(body: bytes, mine: bytes | None) -> bool:
    """Whether a note of the newest entry of an audit log is of an earlier one than the note that is here."""
    return mine is not None and bool(json.loads(body)["number"] < json.loads(mine)["number"])


def _handed_over(body: bytes, mine: bytes | None) -> bytes:
    lease = leases.handed_over(json.loads(body), None if mine is None else json.loads(mine))
    return canonical(lease, "the lease")
