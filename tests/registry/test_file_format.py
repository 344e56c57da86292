"""Files of every format that was ever written open; newer ones are refused with the version needed (T6)."""

import contextlib
import gzip
import sqlite3
from pathlib import Path

import pytest

from likewise.registry.base import RegistryCorrupt, RegistryTooNew
from likewise.registry.database import APPLICATION_ID, FORMAT
from likewise.registry.file import FileRegistry

GOLDEN = Path(__file__).parent / "golden"
CARD = {"kind": "entity", "name": "card", "join_key": "card_id"}
VIEW = {
    "kind": "feature_view",
    "name": "cards",
    "entities": ["card"],
    "ttl": 86_400_000_000,
    "tags": {"é": "naïve \0 💳"},
}


def write_golden(path: Path) -> None:
    """Write what the golden files hold; run it once for each new format, and never again."""
    with FileRegistry(path) as registry:
        registry.commit("demo", 0, [CARD], message="first", author="ada", now=1_700_000_000_000_000)
        registry.commit("demo", 1, [CARD, VIEW], message="", now=1_700_000_000_000_001)
        registry.commit("demo", 2, [{**VIEW, "ttl": None}], message="naïve", now=1_700_000_000_000_002)
        registry.commit("other", 0, [CARD], now=-1)
        registry.side.put("demo", "lease", "job", {"token": 7}, 0)


@pytest.mark.parametrize("version", range(1, FORMAT + 1))
def test_a_file_of_every_format_opens(tmp_path: Path, version: int) -> None:
    """A file as this format was first written is read to the bit and can be written."""
    path = tmp_path / "registry.db"
    path.write_bytes(gzip.decompress((GOLDEN / f"format-{version}.db.gz").read_bytes()))
    with FileRegistry(path) as registry:
        assert registry.projects() == ["demo", "other"]
        sets = [registry.catalog("demo", number).definitions() for number in range(4)]
        assert sets == [[], [CARD], [CARD, VIEW], [{**VIEW, "ttl": None}]]
        assert [(i.message, i.author, i.created) for i in registry.history("demo")] == [
            ("first", "ada", 1_700_000_000_000_000),
            ("", "", 1_700_000_000_000_001),
            ("naïve", "", 1_700_000_000_000_002),
        ]
        assert registry.catalog("demo").seal == "16d24b2d9bb8a36e7a695326ff45d18ee33fac12006b3f8ce3f6ce507d71e6ca"
        found = registry.side.get("demo", "lease", "job")
        assert found is not None
        assert (found.value, found.version) == ({"token": 7}, 1)
        assert registry.commit("demo", 3, [CARD], now=2).number == 4


def change(path: Path, *statements: str) -> None:
    """Run SQL on a registry's file, around the registry."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a registry with one catalog."""
    with FileRegistry(tmp_path / "registry.db") as registry:
        registry.commit("demo", 0, [CARD], now=1)
    return tmp_path / "registry.db"


def test_the_file_says_what_it_is(path: Path) -> None:
    """The header of a registry file has the application id and the format."""
    header = path.read_bytes()[:100]
    assert header[:16] == b"SQLite format 3\0"
    assert header[68:72] == b"LkW1"
    assert int.from_bytes(header[68:72]) == APPLICATION_ID
    assert int.from_bytes(header[60:64]) == FORMAT
    assert header[18:20] == b"\x01\x01", "a rollback journal, no write-ahead log"


def test_a_newer_format_is_refused(path: Path) -> None:
    """A file of a newer format is not touched, and the error names the version of Likewise that reads it."""
    change(path, "PRAGMA user_version = 9", "UPDATE likewise SET format = 9, needs = '3.1'", "CREATE TABLE more (a)")
    before = path.read_bytes()
    with FileRegistry(path) as registry, pytest.raises(RegistryTooNew) as caught:
        registry.commit("demo", 1, [], now=2)
    assert str(caught.value) == (
        f"the registry {str(path)!r} has format 9; this version of Likewise reads up to format {FORMAT}. "
        "install Likewise >= 3.1"
    )
    assert path.read_bytes() == before


def test_a_header_alone_tells_of_a_newer_format(path: Path) -> None:
    """What a newer version left where this one looks for a table may be anything; the header's number is enough."""
    change(path, "PRAGMA user_version = 9")
    with FileRegistry(path) as registry, pytest.raises(RegistryTooNew, match=r"has format 9; .* install a newer"):
        registry.catalog("demo")


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("PRAGMA user_version = 0", "its header says format 0, its table says 1"),
        ("UPDATE likewise SET format = 9", "its header says format 1, its table says 9"),
        ("PRAGMA application_id = 1", "its application id is 0x1"),
        ("CREATE TABLE more (a)", "its tables are not those of a registry"),
        ("CREATE TRIGGER t AFTER INSERT ON heads BEGIN DELETE FROM catalogs; END", "its tables are not those"),
        ("CREATE VIEW v AS SELECT 1", "its tables are not those"),
        ("DROP TABLE sides", "its tables are not those"),
        ("DELETE FROM clock", "its side table's clock"),
        ("DELETE FROM catalogs", "the head of project 'demo' fails its seal"),
        ("UPDATE heads SET project = 'other'", "the head of project 'other' fails its seal"),
        ("UPDATE heads SET number = 0", "the head of project 'demo' fails its seal"),
        ("UPDATE catalogs SET message = 'forged'", "catalog 1 of project 'demo' fails its seal"),
        ("DELETE FROM entries", "the manifest of catalog 1 of project 'demo' fails its hash"),
        ("DELETE FROM definitions", "the text of entity 'card' in catalog 1 of project 'demo' is missing"),
    ],
)
def test_a_foreign_hand_is_noticed(path: Path, statement: str, what: str) -> None:
    """What somebody else changed in the file is an error and never an answer."""
    change(path, statement)
    with FileRegistry(path) as registry, pytest.raises(RegistryCorrupt, match=what):
        registry.catalog("demo")


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    """A SQLite file of another program is refused, and stays as it is."""
    path = tmp_path / "registry.db"
    change(path, "CREATE TABLE notes (a)")
    before = path.read_bytes()
    with FileRegistry(path) as registry, pytest.raises(RegistryCorrupt, match="it is a SQLite file of another program"):
        registry.commit("demo", 0, [CARD], now=1)
    assert path.read_bytes() == before


def test_a_write_ahead_log_is_taken_in(path: Path) -> None:
    """A file that somebody switched to a write-ahead log is switched back, with all that the log has."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode=WAL").fetchone() == ("wal",)
        with FileRegistry(path, wait=0.1) as registry:
            assert registry.head("demo") == 1
    with FileRegistry(path) as registry:
        assert registry.commit("demo", 1, [], now=2).number == 2
    assert [each.name for each in path.parent.iterdir()] == ["registry.db"]
