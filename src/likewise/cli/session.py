"""Session: what one call of the command line works with: which repo, which form of output, who is there to be asked."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from likewise.cli.exits import NotConfirmed

if TYPE_CHECKING:
    from likewise.store import FeatureStore

FORMS = ("table", "json")
"""The forms of output."""
PACKAGE = Path(__file__).parents[1]


@dataclass(slots=True)
class Session:
    """What one call of the command line works with; the options fill it in before a command runs."""

    folder: Path | None = None
    """The folder to look for the repo from (``-c``); None is the working folder."""
    file: Path | None = None
    """The configuration to read instead of the repo's own (``-f``)."""
    form: str = "table"
    """How results are printed: ``table`` for people, ``json`` for programs."""
    debug: bool = False
    """Whether errors come with their traceback."""
    interactive: bool | None = None
    """Whether somebody is there to be asked; None: if standard input and standard error are a terminal."""

    @property
    def json(self) -> bool:
        """Whether results are printed for programs."""
        return self.form == "json"

    def repo(self) -> Path:
        """Return the repo's folder.

        Raises:
            RepoNotFound: there is none, or it cannot be told which one is meant.
        """
        from likewise.config import find_repo, place_of
        from likewise.core.errors import RepoNotFound

        start = self.start()
        if self.file is not None and self.folder is None:
            return place_of(None, self.file)[0]
        try:
            return find_repo(start)
        except RepoNotFound:
            if self.file is None:
                raise
            return start

    def start(self) -> Path:
        """Return the folder that the search for the repo starts in.

        Raises:
            RepoNotFound: ``-c`` names no folder.
        """
        from likewise.core.errors import RepoNotFound

        if self.folder is None:
            return Path.cwd()
        if not self.folder.is_dir():
            raise RepoNotFound(f"there is no folder {str(self.folder)!r}", cure="give an existing one with -c")
        return self.folder.resolve()

    def config_file(self) -> Path:
        """Return the configuration file that counts."""
        from likewise.config import FILE_NAME

        return self.file if self.file is not None else self.repo() / FILE_NAME

    def open(self) -> FeatureStore:
        """Return the feature store of the repo; close it, or use it in a ``with`` block."""
        from likewise.store import FeatureStore

        return FeatureStore(self.repo(), fs_yaml_file=self.config_file())

    def say(self, line: str = "") -> None:
        """Print a line for people: on standard output, or, when that is for programs, on standard error."""
        click.echo(line, err=self.json)

    def confirm(self, question: str, yes: bool) -> None:
        """Ask before something is deleted.

        Args:
            question: what to ask, without the question mark.
            yes: whether ``--yes`` was given; nothing is asked then.

        Raises:
            NotConfirmed: the answer was no, or there is nobody to ask.
        """
        if yes:
            return
        if not self._anybody():
            raise NotConfirmed(
                "this deletes, and there is nobody to ask; nothing was changed", cure="give --yes if it is meant"
            )
        if not click.confirm(f"{question}?", err=True):
            raise NotConfirmed("not confirmed; nothing was changed")

    def _anybody(self) -> bool:
        return self.interactive if self.interactive is not None else sys.stdin.isatty() and sys.stderr.isatty()


@contextmanager
def one_line_warnings() -> Iterator[None]:
    """Print warnings as one line each, ``warning: …``, on standard error.

    Those of the libraries below are not for whoever types a command, and are left out.
    """
    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.simplefilter("ignore")
            for category in (UserWarning, FutureWarning, RuntimeWarning):
                warnings.filterwarnings("default", category=category)
            warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.showwarning = _show_warning
        yield


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    where = _place(Path(filename), lineno)
    text = " ".join(str(message).split())
    click.echo(f"{click.style('warning:', fg='yellow')} {where}{text}", err=True)


def _place(file: Path, line: int) -> str:
    """Return where a warning was given, if that is in somebody's own file."""
    if file.is_relative_to(PACKAGE) or "site-packages" in file.parts or not file.is_file():
        return ""
    shown = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
    return f"{shown}:{line}: "


def parse_tags(given: Sequence[str]) -> dict[str, str]:
    """Return the tags of ``--tags`` options: ``key:value`` or ``key=value``, several with commas between.

    Raises:
        click.BadParameter: a tag has no value.

    Example:
        >>> parse_tags(["team:fraud, stage=prod"])
        {'team': 'fraud', 'stage': 'prod'}
    """
    tags: dict[str, str] = {}
    for part in (part.strip() for text in given for part in text.split(",")):
        if not part:
            continue
        mark = min((sign for sign in ":=" if sign in part), key=part.index, default="")
        if not mark:
            raise click.BadParameter(f"{part!r} is no tag; write key:value", param_hint="--tags")
        key, _, value = part.partition(mark)
        tags[key.strip()] = value.strip()
    return tags
