"""The commands for access keys: who may use the feature server: keys create, list and revoke."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from likewise.cli.command import Noun, pass_session, verb
from likewise.cli.completion import VIEWS, definition_names
from likewise.cli.output import iso, moment, print_json, print_table
from likewise.cli.session import Session
from likewise.core.time import LATEST, from_micros, span_micros, to_micros

if TYPE_CHECKING:
    from likewise.registry.keys import Grant, Key
    from likewise.store import FeatureStore

SCOPES = ("read", "write", "admin")
"""What ``likewise.registry.keys`` calls so; help is shown without loading that."""
_SPAN = re.compile(r"([0-9]{1,9})([wdhms])")
_UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


@verb(
    "create",
    ("likewise keys create web --scope read", "may read everything, for 90 days"),
    ("likewise keys create shop --scope read --service shop_v1", "may read one service, whatever views it reads"),
    ("likewise keys create clicks --scope write --view clicks --expires 365d", "may push to what feeds one view"),
    ("likewise keys create nightly --scope admin --view cards --view users", "may materialize two views"),
    ("likewise keys create ops --scope read --scope write --scope admin --expires 12h", "may do all, for half a day"),
    ("export LIKEWISE_KEY=$(likewise keys create job --scope read)", "the token alone is on standard output"),
)
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(SCOPES),
    multiple=True,
    required=True,
    help="What it may do; may be given several times. None includes another.",
)
@click.option(
    "--view",
    "views",
    multiple=True,
    metavar="VIEW",
    shell_complete=definition_names(*VIEWS),
    help="Limit it to this view; may be given several times.",
)
@click.option(
    "--service",
    "services",
    multiple=True,
    metavar="SERVICE",
    shell_complete=definition_names("feature_service"),
    help="Limit it to reading this feature service; may be given several times.",
)
@click.option(
    "--expires",
    default="90d",
    show_default=True,
    metavar="WHEN",
    help="When it ends: in 12h, 90d or 8w, at a time (ISO 8601, UTC), or never.",
)
@pass_session
def keys_create(
    session: Session,
    name: str,
    scopes: tuple[str, ...],
    views: tuple[str, ...],
    services: tuple[str, ...],
    expires: str,
) -> None:
    """Make an access key for the feature server, and print its token.

    The token is printed this once and kept nowhere: pass it on as a secret. Programs send it in the header
    'Authorization: Bearer TOKEN'. From the first key on, servers of the project ask everybody for one.

    Scopes: read is for online features and the server's figures, write for pushing, admin for materializing.

    With --view or --service the key is limited: it may read, write and materialize those views only, and read those
    services, whatever views they read. An on-demand view is read with all views that it is computed from, and a push
    touches all views that its source feeds: they have to be within the limits too. A limited key gets no figures.
    """
    from likewise.registry.keys import Grant

    with session.open() as store:
        now = store.clock.now()
        grant = Grant(
            name=name,
            scopes=_unique(scopes),
            views=_unique(views),
            services=_unique(services),
            expires=_expiry(expires, now),
        )
        _check(store, grant)
        key, token = store.create_key(grant)
        project, seconds = store.project, store.config.registry.cache_ttl_seconds
    if session.json:
        print_json({**_data(key, now), "token": token})
        return
    click.echo(f"Access key {key.name!r} (id {key.id}) for project {project!r}: {_allowed(key)}.", err=True)
    click.echo(f"It ends: {moment(key.expires)}. Servers know it within {max(seconds, 0.1):g} s.", err=True)
    click.echo("This is its token, which is not shown again; send it as 'Authorization: Bearer TOKEN':", err=True)
    click.echo(token)


def _check(store: FeatureStore, grant: Grant) -> None:
    """Refuse a key that names what there is not, or that could not do what it is for.

    Raises:
        FeatureViewNotFound, FeatureServiceNotFound: a view or service is not applied.
        RequestError: it could not do what it is for.
    """
    from likewise.core.errors import RequestError
    from likewise.define.transform import OnDemandFeatureView

    views = [store.definitions.any_view(view) for view in grant.views]
    for service in grant.services:
        store.definitions.service(service)
    for view in views:
        inputs = [source.name for source in view.source_views] if isinstance(view, OnDemandFeatureView) else []
        lacking = [source for source in inputs if source not in grant.views]
        if lacking:
            more = " ".join(f"--view {source}" for source in lacking)
            raise RequestError(f"{view.title} is computed from views that the key may not read", cure=f"add {more}")
    beyond = [scope for scope in grant.scopes if scope != "read"]
    if grant.services and not grant.views and beyond:
        what = f"a key that is limited to services may only read, and this one is to {' and '.join(beyond)}"
        raise RequestError(what, cure="limit it to views with --view, or make two keys")


def _expiry(text: str, now: int) -> int | None:
    """Return the time that ``--expires`` says, in microseconds; None for never.

    Raises:
        click.BadParameter: it is no time, or has passed.

    Example:
        >>> _expiry("90d", 0) == 90 * 86_400_000_000, _expiry("1970-01-02", 0), _expiry("never", 0)
        (True, 86400000000, None)
    """
    from likewise.core.errors import InvalidTime

    if text == "never":
        return None
    span = _SPAN.fullmatch(text)
    try:
        end = now + span_micros(timedelta(**{_UNITS[span[2]]: int(span[1])})) if span else to_micros(text, "--expires")
    except (InvalidTime, OverflowError) as error:
        what = f"{text!r} is no time; give a span such as 12h, 90d or 8w, a time such as 2030-01-31, or never"
        raise click.BadParameter(what, param_hint="--expires") from error
    if not now < end <= LATEST:
        what = "has passed already" if end <= now else "is after the year 9999; say never if it is meant"
        raise click.BadParameter(f"{text!r} {what}", param_hint="--expires")
    return end


@verb(
    "list",
    ("likewise keys list", "all keys, also those that ended"),
    ("likewise keys list --output json", "for a program"),
)
@pass_session
def keys_list(session: Session) -> None:
    """List the access keys of the project, without their tokens, which nobody knows.

    An active key lets somebody in; expired and revoked ones do not.
    """
    from likewise.registry.keys import read_keys

    with session.open() as store:
        keys, now, project = read_keys(store.registry.side, store.project), store.clock.now(), store.project
    if session.json:
        print_json([_data(key, now) for key in keys])
    elif not keys:
        session.say(f"Project {project!r} has no access keys; make one with 'likewise keys create'.")
    else:
        print_table(
            ["ID", "NAME", "STATE", "CREATED", "EXPIRES", "ALLOWED"],
            [
                (key.id, key.name, key.state(now), moment(key.created), moment(key.expires), _allowed(key))
                for key in keys
            ],
        )


@verb(
    "revoke",
    ("likewise keys revoke web", "end a key by its name"),
    ("likewise keys revoke 048213377001", "or by its id, which its token holds too: lw_048213377001_…"),
)
@click.argument("key", metavar="ID|NAME")
@pass_session
def keys_revoke(session: Session, key: str) -> None:
    """End an access key for good.

    Running servers refuse it within the registry's cache_ttl_seconds. It stays in the list. Other keys go on; a new one
    may have the same name. A token that was found where it should not be may be given as it is.
    """
    with session.open() as store:
        now, seconds = store.clock.now(), store.config.registry.cache_ttl_seconds
        ended = store.revoke_key(key)
    if session.json:
        print_json(_data(ended, now))
    else:
        session.say(f"Access key {ended.name!r} (id {ended.id}) is revoked since {moment(ended.revoked)}.")
        session.say(f"Servers refuse it within {max(seconds, 0.1):g} s.")


def _allowed(key: Key) -> str:
    """Return what a key allows, in words."""
    views = ", ".join(f"view {view}" for view in key.views)
    services = ", ".join(f"service {service}" for service in key.services)
    limits = ", ".join(filter(None, (views, services))) or "everything"
    return f"{', '.join(key.scopes)}: {limits}"


def _data(key: Key, now: int) -> dict[str, Any]:
    """Return what may be known of a key, which leaves out the hash of its token."""
    times = {"created": key.created, "expires": key.expires, "revoked": key.revoked}
    told = {label: None if at is None else iso(from_micros(at)) for label, at in times.items()}
    facts = {"id": key.id, "name": key.name, "state": key.state(now), "scopes": key.scopes}
    return {**facts, "views": key.views, "services": key.services, **told}


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


COMMANDS: Mapping[str, click.Command] = {
    "keys": Noun(
        "keys",
        help="Make, list or revoke access keys.",
        commands=[keys_create, keys_list, keys_revoke],
    ),
}
