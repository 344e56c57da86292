"""Root: the command ``likewise`` itself: the table of all commands, the options before them, and how each call ends."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import click

from likewise import __version__
from likewise.cli.command import Noun, shared_options
from likewise.cli.exits import MEANINGS, ExitCode, Unread, code_of, colours, tell
from likewise.cli.footer import Footer, Sections
from likewise.cli.session import Session
from likewise.core.errors import NotSupported
from likewise.core.names import near_misses

COMMANDS: Mapping[str, Mapping[str, str]] = {
    "Begin": {
        "init": "begin",
        "demo": "begin",
        "run": "begin",
    },
    "Change definitions": {
        "test": "test",
        "plan": "change",
        "apply": "change",
        "history": "change",
        "rollback": "change",
        "delete": "change",
        "teardown": "change",
    },
    "Look at definitions": {
        "feature-views": "definitions",
        "on-demand-feature-views": "definitions",
        "stream-feature-views": "definitions",
        "features": "catalog",
        "feature-services": "definitions",
        "entities": "definitions",
        "data-sources": "definitions",
        "saved-datasets": "catalog",
        "projects": "catalog",
        "registry-dump": "catalog",
        "registry": "registry",
    },
    "Move and read values": {
        "get-historical-features": "training",
        "materialize": "materialize",
        "materialize-incremental": "materialize",
        "push": "online",
        "get-online-features": "online",
        "serve": "serve",
        "explain": "explain",
        "verify": "verify",
        "delete-online-keys": "online",
    },
    "Look after it": {
        "keys": "keys",
        "backup": "backup",
        "restore": "backup",
        "forget": "forget",
        "verify-online": "online_check",
        "rebuild-online": "online_check",
        "audit": "audit",
        "doctor": "doctor",
        "configuration": "about",
        "endpoint": "about",
        "version": "about",
        "completion": "about",
    },
}
"""Heading to the commands below it, each with the module of ``commands/`` that has it in its table ``COMMANDS``."""
LATER: Mapping[str, str] = {
    "listen": "push over HTTP with 'likewise serve', or with 'likewise push'",
    "serve_offline": "make training sets with 'likewise get-historical-features'",
    "serve_registry": "give programs the registry's file; 'likewise registry-dump' prints what it holds",
    "serve_transformations": "on-demand views are computed in the program that reads them",
    "serve_lineage": "see who reads a view with 'likewise feature-views describe'",
    "ui": "look at definitions with 'likewise feature-views list' and 'likewise feature-views describe'",
    "validate": "compare training sets in a Python program",
    "validation-references": "save the training set to compare with: FeatureStore(…).create_saved_dataset",
    "monitor": "see how old the values are with 'likewise doctor'",
    "permissions": "guard the files of the registry and the stores by their own permissions",
    "label-views": "keep labels in a feature view",
    "dbt": "point FileSources at the tables that dbt writes",
    "demo-notebooks": "see 'likewise demo' and 'likewise init --templates'",
}
"""Feast's commands that come in a later version, and what to do until then."""
EXIT_CODES: Footer = [("Exit codes", [(str(code.value), words) for code, words in MEANINGS.items()])]


class Root(Noun):
    """The command that has all others below it."""

    @property
    def sections(self) -> Sections:
        """The headings of the help page."""
        return {title: list(names) for title, names in COMMANDS.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of the help page."""
        return [name for names in COMMANDS.values() for name in names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, importing its module now."""
        module = next((names[cmd_name] for names in COMMANDS.values() if cmd_name in names), None)
        if module is None:
            return None
        found: click.Command = import_module(f"likewise.cli.commands.{module}").COMMANDS[cmd_name]
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that was meant, and its arguments.

        Raises:
            NotSupported: Feast has it, and this version does not.
            click.UsageError: nobody has it.
        """
        name = args[0]
        if name in LATER:
            raise NotSupported(f"'likewise {name}' comes in a later version", cure=f"until then, {LATER[name]}")
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            close = near_misses(name, self.list_commands(ctx))
            hint = f"; {close}" if close.startswith("did you mean") else ""
            raise click.UsageError(f"there is no command {name!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands under their headings."""
        widest = max(map(len, self.list_commands(ctx)))
        for title, names in COMMANDS.items():
            found = [(name, self.get_command(ctx, name)) for name in names]
            room = formatter.width - widest - 6
            with formatter.section(title):
                formatter.write_dl(
                    [(name.ljust(widest), command.get_short_help_str(room)) for name, command in found if command]
                )

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        """Read the options, which may print help already."""
        with _heard():
            return super().make_context(*args, **more)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _heard():
            return super().invoke(ctx)

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, *_: Any, **extra: Any) -> NoReturn:
        """Run a command line, and exit; the one place where every error ends."""
        session = extra.pop("obj", None) or Session()
        try:
            code = super().main(
                args, prog_name, **{**extra, "standalone_mode": False, "obj": session, "color": colours()}
            )
        except Exception as error:  # noqa: BLE001 - the surface: every error is told, and none leaves a bare traceback
            tell(error, session.debug, session.json or _asks_for_json(sys.argv[1:] if args is None else args))
            code = code_of(error)
        if code == ExitCode.UNREAD:
            _stop_printing()
        sys.exit(int(code or 0))


def _asks_for_json(args: Sequence[str]) -> bool:
    """Tell whether a command line asks for JSON, also when it is wrong and its options were not read."""
    own = args[: args.index("run")] if "run" in args else args
    return "--output=json" in own or ("--output", "json") in pairwise(own)


@contextmanager
def _heard() -> Iterator[None]:
    """Notice when nobody reads what is printed."""
    try:
        yield
        if sys.__stdout__ is not None:  # it is None where standard output is closed
            sys.stdout.flush()
    except BrokenPipeError as error:
        raise Unread from error


def _stop_printing() -> None:
    """Point standard output nowhere, so that nothing is said when Python flushes it at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())


@click.command(cls=Root, footer=EXIT_CODES)
@click.option(
    "-f",
    "--feature-store-yaml",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    envvar=["LIKEWISE_FS_YAML_FILE_PATH", "FEAST_FS_YAML_FILE_PATH"],
    help="Read this configuration, not the feature_store.yaml of the repo; the repo stays where it is.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error", "critical"], case_sensitive=False),
    metavar="LEVEL",
    help="Print log messages from debug, info, warning, error or critical on, on standard error.",
)
@click.version_option(__version__, "-V", "--version", prog_name="likewise", message="%(prog)s %(version)s")
@click.pass_obj
def cli(session: Session, feature_store_yaml: Path | None, log_level: str | None) -> None:
    """Likewise, a feature store: what you train on, likewise you serve.

    A command works on the repo of the working folder: the folder with a feature_store.yaml, or one above it, or the
    only one right below it. Feast's commands and options work as they are.
    """
    if feature_store_yaml is not None:
        session.file = feature_store_yaml.absolute()
    if log_level is not None:
        logging.basicConfig(level=log_level.upper(), format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)


cli.params[:0] = shared_options()
