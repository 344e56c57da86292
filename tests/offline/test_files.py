"""Which files a source has, in which order, and where a new one goes."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from likewise.core.errors import SourceError, SourceMissing, StoreFull
from likewise.offline.files import add_file, files_of, fingerprint
from likewise.plan.scan import Location
from likewise.testing.disk import small_files

ROWS = pa.table({"a": [1]})


def names(location: Location, folder: Path) -> list[str]:
    """Return a source's files, relative to a folder."""
    return [str(Path(path).relative_to(folder)) for path, _ in files_of(location)]


def made(folder: Path, *paths: str) -> None:
    """Make empty files."""
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"")


def test_a_directory_is_its_files_at_any_depth(tmp_path: Path) -> None:
    """Files of the format count, in the order of their whole paths; hidden ones and folders, and others, do not."""
    made(
        tmp_path,
        "b.parquet",
        "a/2.pq",
        "a/1.PARQUET",
        "a.parquet",
        "_x/1.parquet",
        ".y/1.parquet",
        "_1.parquet",
        "c.csv",
    )
    assert names(Location(str(tmp_path), "parquet"), tmp_path) == ["a.parquet", "a/1.PARQUET", "a/2.pq", "b.parquet"]
    assert names(Location(str(tmp_path), "csv"), tmp_path) == ["c.csv"]


def test_a_glob_may_span_folders(tmp_path: Path) -> None:
    """Two stars stand for folders of any depth, one for a name; what is named so but is a folder does not count."""
    made(tmp_path, "2024/01/a.parquet", "2024/a.parquet", "2023/a.parquet", "2024/b.parquet/c.txt")
    whole = Location(str(tmp_path / "**" / "*.parquet"), "parquet")
    assert names(whole, tmp_path) == ["2023/a.parquet", "2024/01/a.parquet", "2024/a.parquet"]
    assert names(Location(str(tmp_path / "*" / "a.parquet"), "parquet"), tmp_path) == [
        "2023/a.parquet",
        "2024/a.parquet",
    ]


@pytest.mark.parametrize("path", ["rows", "rows/*.parquet", "rows/part-?.parquet", "rows/[a-z]*.parquet"])
def test_a_new_parquet_file_is_one_that_the_path_matches(tmp_path: Path, path: str) -> None:
    """Rows added to a directory or glob are in a file in it, the last in path order, under a name nobody has."""
    made(tmp_path, "rows/part-9.parquet", "rows/part-10.parquet")
    location = Location(str(tmp_path / path), "parquet")
    if "?" in path:
        with pytest.raises(SourceError, match=r"cannot match '.*part-\?.parquet'.*folder/\*\.parquet"):
            add_file(location, ROWS)
        return
    added = [add_file(location, ROWS) for _ in range(20)]
    assert [path for path, _ in files_of(location)][-20:] == added
    assert all(Path(file).parent == tmp_path / "rows" for file in added)


def test_a_clock_that_was_set_back_changes_no_order(tmp_path: Path) -> None:
    """A new file comes after one that is named after a later time."""
    made(tmp_path, "part~99999999999999000-000007-5f3a9c1e.parquet")
    added = add_file(Location(str(tmp_path), "parquet"), ROWS)
    assert Path(added).name.startswith("part~99999999999999001-")


@pytest.mark.parametrize(
    ("path", "form", "folder"),
    [
        ("a.parquet", "parquet", "a.parquet.appended"),
        ("none.parquet", "parquet", "none.parquet.appended"),
        ("a.csv", "csv", "a.csv.appended"),
        ("rows", "jsonl", "rows.appended"),
        ("rows/*.jsonl", "jsonl", "rows/%2A.jsonl.appended"),
    ],
)
def test_rows_beside_what_is_no_folder_of_parquet(tmp_path: Path, path: str, form: str, folder: str) -> None:
    """Rows added to a single file, or to a source of text, are Parquet files in a folder beside it, and come last."""
    made(tmp_path, "a.parquet", "a.csv", "rows/z.jsonl", "rows/y.jsonl")
    location = Location(str(tmp_path / path), form)
    before = files_of(location) if path != "none.parquet" else []
    added = [(add_file(location, ROWS), "parquet") for _ in range(3)]
    assert files_of(location) == before + added
    assert {Path(file).parent for file, _ in added} == {tmp_path / folder}


def test_the_fingerprint_changes_with_the_files(tmp_path: Path) -> None:
    """A file that is added or written anew makes another fingerprint; reading does not."""
    made(tmp_path, "a.parquet")
    location = Location(str(tmp_path), "parquet")
    first = fingerprint(location)
    assert fingerprint(location) == first
    (tmp_path / "a.parquet").write_bytes(b"x")
    second = fingerprint(location)
    add_file(location, ROWS)
    assert len({first, second, fingerprint(location)}) == 3


@pytest.mark.parametrize(
    ("path", "cure"),
    [
        ("data/card.parquet", "did you mean 'cards.parquet'?"),
        ("data/x", "known: 'cards.parquet', 'users.csv'"),
        ("dta/cards.parquet", "there is no folder '.*dta'"),
        ("data/*.jsonl", "known: 'cards.parquet', 'users.csv'"),
        ("empty/a.parquet", "the folder is empty"),
    ],
)
def test_what_is_missing_is_named_with_what_is_near(tmp_path: Path, path: str, cure: str) -> None:
    """A source without files is named as it is defined, and as it was looked for, with names that are there."""
    made(tmp_path, "data/cards.parquet", "data/users.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceMissing, match=cure) as caught:
        files_of(Location(str(tmp_path / path), "parquet", shown=f"my/{path}"))
    assert f"'my/{path}'" in str(caught.value)
    assert f"looked for {tmp_path / path}" in str(caught.value)


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """If a file has no room it is an error by name, and no part of it stays."""
    with small_files(1 << 16), pytest.raises(StoreFull, match=r"no space is left for 100,000 rows in .*rows~"):
        add_file(Location(str(tmp_path / "rows"), "parquet"), pa.table({"a": range(100_000)}))
    assert list((tmp_path / "rows").iterdir()) == []
