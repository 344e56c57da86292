"""Commands that tell about the installation: configuration, endpoint, version, completion."""

from __future__ import annotations

import platform
from collections.abc import Mapping

import click

from likewise.cli.command import pass_session, verb
from likewise.cli.output import print_json
from likewise.cli.session import Session

SHELLS = {
    "bash": 'eval "$(likewise completion bash)"  # in ~/.bashrc',
    "zsh": 'eval "$(likewise completion zsh)"  # in ~/.zshrc, after compinit',
    "fish": "likewise completion fish | source  # in ~/.config/fish/config.fish",
}


@verb(
    "configuration",
    ("likewise configuration", "the settings that count, as YAML"),
    ("likewise configuration --output json", "as JSON"),
)
@pass_session
def configuration(session: Session) -> None:
    """Print the settings that count.

    Those are what feature_store.yaml says, and the defaults of all others. Environment variables are filled in.
    Secrets are never shown: *** stands for them.
    """
    import msgspec
    import yaml

    from likewise.config import load_config
    from likewise.core.secrets import without_secrets

    file = session.config_file()
    settings = without_secrets(msgspec.to_builtins(load_config(file)))
    if session.json:
        print_json(settings)
    else:
        click.echo(f"# {file}")
        click.echo(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True).rstrip())


@verb("endpoint", ("likewise endpoint", "the address that 'likewise serve' answers at by default"))
@pass_session
def endpoint(session: Session) -> None:
    """Print the address of the feature server.

    That is the one by default: 'likewise serve' may be told another, and nobody remembers it here.
    """
    address = "http://127.0.0.1:6566"
    if session.json:
        print_json({"endpoint": address})
    else:
        click.echo(address)


@verb("version", ("likewise version", "the version of Likewise"))
@pass_session
def version(session: Session) -> None:
    """Print the version of Likewise."""
    from likewise import __version__

    if session.json:
        print_json({"likewise": __version__, "python": platform.python_version()})
    else:
        click.echo(f"likewise {__version__}")


@verb(
    "completion",
    *((f"{line.partition('  #')[0]}", line.partition("# ")[2]) for line in SHELLS.values()),
)
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what completes commands in a shell.

    With it, the tab key completes commands and options of likewise, and names of templates and applied definitions.
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"click has no completion for {shell}")
    click.echo(found(ctx.find_root().command, {}, "likewise", "_LIKEWISE_COMPLETE").source())


COMMANDS: Mapping[str, click.Command] = {
    "configuration": configuration,
    "endpoint": endpoint,
    "version": version,
    "completion": completion,
}
