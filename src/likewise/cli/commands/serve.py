"""The command that answers over HTTP: serve."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from likewise.cli.command import pass_session, verb
from likewise.cli.output import print_json, some
from likewise.cli.session import Session
from likewise.core.errors import BackendMissing

if TYPE_CHECKING:
    from likewise.serve.access import FollowedAccess
    from likewise.serve.state import State

_FILE = click.Path(path_type=Path, dir_okay=False)


@verb(
    "serve",
    ("likewise serve", "answer at http://127.0.0.1:6566; the routes are described at /docs"),
    ("likewise serve -p 7000 --workers 4", "four processes behind port 7000"),
    (
        "likewise serve --log-features data/served --log-sample 0.01",
        "log one answer of a hundred, for likewise verify",
    ),
    ("likewise serve --limit keys=50000 --limit requests=64", "other limits; docs/serving.md lists them"),
    (
        "likewise serve --host 0.0.0.0 --cert cert.pem --key key.pem",
        "for other machines, by TLS, asking for access keys ('likewise keys create')",
    ),
    (
        "likewise serve --host 0.0.0.0 --auth none --allow-remote",
        "asking nobody, where a network or proxy keeps strangers out",
    ),
)
@click.option("--host", default="127.0.0.1", show_default=True, metavar="HOST", help="The address to listen on.")
@click.option("-p", "--port", type=click.IntRange(0, 65535), default=6566, show_default=True, help="The port; 0: any.")
@click.option("-w", "--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="How many processes.")
@click.option("--cert", type=_FILE, metavar="FILE", help="TLS: the certificate, PEM.")
@click.option("--key", type=_FILE, metavar="FILE", help="TLS: its key, PEM.")
@click.option(
    "--auth",
    type=click.Choice(["none", "keys"]),
    help="Whether access keys are asked for. By default they are where other machines reach it, and as soon as the "
    "project has one.",
)
@click.option(
    "--allow-remote",
    is_flag=True,
    help="With --auth none: let others reach it though nobody is asked for a key, from other machines or by a proxy "
    "under another name. Whoever reaches it may read and write.",
)
@click.option("--limit", multiple=True, metavar="NAME=VALUE", help="Set a limit, such as keys or requests.")
@click.option(
    "--log-features",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Log answers to Parquet files in this folder, but for those of services with a logging_config of their own.",
)
@click.option(
    "--log-sample",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    metavar="SHARE",
    help="The share of requests that is logged there.",
)
@click.option("--access-log/--no-access-log", default=False, help="Whether each request is a line on standard error.")
@click.option("-k", "--keep-alive-timeout", type=click.IntRange(1), hidden=True, help="As --limit idle_seconds.")
@click.option("-t", "--type", "kind", type=click.Choice(["http"]), default="http", hidden=True, help="HTTP.")
@click.option("-m", "--metrics", is_flag=True, hidden=True, help="Always on.")
@click.option("-r", "--registry_ttl_sec", type=float, hidden=True, help="The registry's cache_ttl_seconds counts.")
@pass_session
def serve(
    session: Session,
    /,
    host: str,
    port: int,
    workers: int,
    cert: Path | None,
    key: Path | None,
    auth: Literal["none", "keys"] | None,
    allow_remote: bool,
    limit: tuple[str, ...],
    log_features: Path | None,
    log_sample: float,
    access_log: bool,
    keep_alive_timeout: int | None,
    **_feasts: object,
) -> None:
    """Answer reads and pushes over HTTP.

    The routes are Feast's: POST /get-online-features, /push, /write-to-online-store, /materialize and
    /materialize-incremental; beside them /health, /livez, /readyz, /metrics, /openapi.json and /docs. What is applied
    meanwhile is picked up within the registry's cache_ttl_seconds. The server refuses to start when the code of the
    repo is not what was applied, and it ends on SIGTERM or Ctrl-C when what it has in hand is done.

    It listens on this machine only, unless --host says otherwise. Access keys are asked for where other machines reach
    it, and from the first 'likewise keys create' on.
    """
    try:
        from likewise.serve.server import serve as run
        from likewise.serve.settings import Settings, limits_of
    except ModuleNotFoundError as error:
        what = f"serving needs {error.name}, which is not installed"
        raise BackendMissing(what, cure='pip install "likewise[serve]"') from error
    given = [*limit, *([f"idle_seconds={keep_alive_timeout}"] if keep_alive_timeout is not None else [])]
    settings = Settings(
        repo=session.repo(),
        file=session.config_file(),
        host=host,
        port=port,
        workers=workers,
        tls_cert=cert,
        tls_key=key,
        auth=auth,
        allow_remote=allow_remote,
        access_log=access_log,
        log_features=log_features,
        log_sample=log_sample,
        limits=limits_of(given),
    )
    run(settings, lambda address, state: _announce(session, address, state))


def _announce(session: Session, address: str, state: State) -> None:
    project, ready = state.store.project, state.ready
    if session.json:
        auth = "keys" if state.access.asks else "none"
        print_json(
            {"address": address, "project": project, "catalog": ready.catalog, "ready": ready.is_ready, "auth": auth}
        )
        return
    click.echo(f"Serving project {project!r}, catalog {ready.catalog}, at {address} (routes: {address}/docs).")
    click.echo(_asked(state.access))
    for said in filter(None, (ready.registry, ready.store)):
        click.echo(f"Not ready yet: {said}.", err=True)


def _asked(access: FollowedAccess) -> str:
    """Return who may call, in words."""
    if not access.asks:
        return "Access keys are not asked for; 'likewise keys --help' says how they would be."
    usable = access.usable
    none = "; nobody can call before 'likewise keys create'"
    return f"Access keys are asked for; {some(usable, 'key')} can be used{'' if usable else none}."


COMMANDS: Mapping[str, click.Command] = {"serve": serve}
