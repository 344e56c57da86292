"""Addresses: which database a registry's URL means, with which driver, and how it is shown without its secrets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from likewise.core.errors import ConfigError
from likewise.core.secrets import without_secrets

DRIVERS: Mapping[str, str] = {
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
    "sqlite": "sqlite+pysqlite",
}
"""The kind of database, as a URL begins, to the driver that is used whichever the URL names."""
_FORMS = "postgresql://user@host/database, mysql://user@host/database or sqlite:///file.db"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a registry's database is."""

    url: URL
    """What a driver needs, the password among it; its text shows none."""
    shown: str
    """What messages call it: the URL without password."""
    more: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What else a driver needs and no text may show: further passwords, by the driver's names for them."""

    @property
    def secrets(self) -> list[str]:
        """What no message may hold."""
        return [each for each in (self.url.password, *self.more.values()) if each]

    def scrubbed(self, text: str) -> str:
        """Return a text with ``***`` in place of every secret."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def parse_address(text: str, password: str = "", root: str = "") -> Address:
    """Return what a URL means.

    Args:
        text: the URL, in SQLAlchemy's form; Feast's ``postgresql+psycopg2://`` is taken for psycopg 3.
        password: the password, instead of the URL's; empty: what the URL has.
        root: the folder that the relative path of a SQLite file starts from.

    Raises:
        ConfigError: it is no URL, or of a database that this version does not know.

    Example:
        >>> parse_address("postgresql+psycopg2://me:hunter2@db:5433/feast").shown
        'postgresql+psycopg://me:***@db:5433/feast'
        >>> parse_address("oracle://db/x")
        Traceback (most recent call last):
        ...
        likewise.core.errors.ConfigError: registry: the database 'oracle' is not known. give \
postgresql://user@host/database, mysql://user@host/database or sqlite:///file.db
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        what = f"registry: {without_secrets(text)!r} is not the URL of a database"
        raise ConfigError(what, cure=f"give {_FORMS}; write '@', '/' and ':' of a password as %40, %2F, %3A") from error
    kind = url.get_backend_name()
    if kind not in DRIVERS:
        raise ConfigError(f"registry: the database {kind!r} is not known", cure=f"give {_FORMS}")
    url = url.set(drivername=DRIVERS[kind], password=password or url.password)
    if kind == "sqlite":
        url = url.set(database=_file(url, root))
    elif not url.database:
        raise ConfigError(f"registry: {_shown(url)!r} names no database", cure=f"give {_FORMS}")
    hidden = {key: str(value) for key, value in url.query.items() if "pass" in key and key != "passfile"}
    return Address(url.difference_update_query(hidden), _shown(url), hidden)


def _file(url: URL, root: str) -> str:
    if not url.database or url.database == ":memory:":
        cure = "give sqlite:///file.db, or 'registry_type: memory'"
        raise ConfigError(f"registry: {_shown(url)!r} names no file", cure=cure)
    return str(Path(root) / url.database)


def _shown(url: URL) -> str:
    return str(without_secrets(url.render_as_string(hide_password=True)))
