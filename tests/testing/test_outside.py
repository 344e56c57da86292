"""A store that somebody else wrote (outside/pantry.py): found by its entry point, and found out where it is wrong."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import test_pantry
from pantry import PUT, PantryStore

from likewise.backends import check_online_type
from likewise.core.errors import ConfigError
from likewise.testing.online_suite import CARDS, SHOPS
from run_docs import read_blocks

OUTSIDE = Path(__file__).parent / "outside"
PAGE = Path(__file__).parents[2] / "docs" / "extending.md"

USE = """
from datetime import datetime
import pandas as pd
from likewise import Entity, FeatureStore, FeatureView, Field, FileSource
from likewise.types import Int64

days = pd.to_datetime(["2024-03-01", "2024-03-03"], utc=True)
pd.DataFrame({"user_id": [1, 2], "at": days, "visits": [3, 5]}).to_parquet("users.parquet")
user = Entity(name="user", join_keys=["user_id"])
source = FileSource(path="users.parquet", timestamp_field="at")
view = FeatureView(name="users", entities=[user], schema=[Field("visits", Int64)], source=source)
with FeatureStore(".") as store:
    store.apply([user, view])
    store.materialize(datetime(2024, 1, 1), datetime(2024, 4, 1))
    print(store.get_online_features(["users:visits"], [{"user_id": 2}, {"user_id": 9}]).to_dict())
"""


class Overwriting(PantryStore):
    """Pantry with a mistake: whatever arrives last is stored."""

    def write(self, table, keys, records):
        """Write records, older ones too."""
        with self.step("IMMEDIATE", table) as db:
            db.executemany(PUT, [(table, *each) for each in zip(keys, records, strict=True)])
        return len(set(keys))


class ShortKeys(PantryStore):
    """Pantry with a mistake: of a long key it stores the beginning."""

    def write(self, table, keys, records):
        """Write records under their keys' beginnings."""
        return super().write(table, [key[:512] for key in keys], records)

    def find(self, db, table, key):
        """Return the record of a key's beginning."""
        return super().find(db, table, key[:512])


def install(site: Path) -> None:
    """Do what an installer does with a wheel: copy the module, and write what the distribution says of itself."""
    project = tomllib.loads((OUTSIDE / "pyproject.toml").read_text())["project"]
    (name, points), *_ = project["entry-points"].items()
    about = site / f"likewise_pantry-{project['version']}.dist-info"
    about.mkdir(parents=True)
    shutil.copy(OUTSIDE / "pantry.py", site)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    (about / "entry_points.txt").write_text("\n".join([f"[{name}]", *(f"{key} = {points[key]}" for key in points)]))


def run_with(site: Path, folder: Path) -> str:
    """Run USE in a folder, with one more folder of packages; return what it prints."""
    command = [sys.executable, "-c", USE]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["pantry.py", "test_pantry.py", "pyproject.toml"])
def test_the_page_shows_this_store(name):
    """docs/extending.md shows the very files that are tested here."""
    (block,) = (each for each in read_blocks(PAGE) if each.target == name)
    assert block.text == (OUTSIDE / name).read_text()


def test_a_store_of_another_package_is_used_by_its_type(tmp_path):
    """Once its distribution is installed, a store's type and keys stand in feature_store.yaml as any other's."""
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "feature_store.yaml").write_text(
        "project: shop\nonline_store: {type: pantry, file: kept/here.db}"
    )
    with pytest.raises(ConfigError, match="type 'pantry' is not known"):
        check_online_type("pantry")
    install(tmp_path / "site")
    assert run_with(tmp_path / "site", tmp_path / "repo") == "{'user_id': [2, 9], 'visits': [5, None]}\n"
    assert (tmp_path / "repo" / "kept" / "here.db").exists()


@pytest.mark.parametrize(
    ("kind", "failing"),
    [
        (PantryStore, []),
        (Overwriting, ["test_newer_wins", "test_keys_of_any_bytes_and_length"]),
        (ShortKeys, ["test_keys_of_any_bytes_and_length"]),
    ],
)
def test_the_suite_finds_a_store_out(tmp_path, kind, failing):
    """A store that lets older rows win, and one that cuts long keys, fail tests of just that; the right one passes."""
    suite = test_pantry.TestPantryStore()
    tests = {"test_newer_wins": ((5, None), (4, None), False), "test_keys_of_any_bytes_and_length": ()}
    failed = []
    for name, arguments in tests.items():
        with kind(tmp_path / name) as store:
            store.create([CARDS, SHOPS])
            try:
                getattr(suite, name)(store, *arguments)
            except AssertionError:
                failed.append(name)
    assert failed == failing
