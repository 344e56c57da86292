"""Files: what is written appears whole; what cannot be written is refused by its own path."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from likewise import SavedDatasetFileStorage
from likewise.core.errors import InvalidType, RequestError, SourceMissing
from likewise.define.source import CsvFormat, ParquetFormat
from likewise.jobs.files import write_parquet

TABLE = pa.table({"a": [1, 2]})


def write(storage: Any, **more: Any) -> Path:
    """Write two rows."""
    return write_parquet(TABLE.to_reader(), storage, more.pop("allow_overwrite", False), **more)


@pytest.mark.parametrize(
    "name", ["a.parquet", "a", "a.pq", "deep/er/a.parquet", "ä" * 123 + ".parquet", "model.v2", "x" * 255]
)
def test_a_path_of_any_length_that_the_system_takes_is_written(tmp_path: Path, name: str) -> None:
    """Folders are made; what is written beside it meanwhile needs no longer name."""
    path = write(tmp_path / name)
    assert pq.ParquetFile(path).read() == TABLE
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_storage_may_say_that_it_is_parquet(tmp_path: Path) -> None:
    """As Feast's has it."""
    storage = SavedDatasetFileStorage(str(tmp_path / "a.parquet"), ParquetFormat())
    assert write(storage).name == "a.parquet"
    assert write(storage, allow_overwrite=True).name == "a.parquet"


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "csv": (lambda root: root / "x.csv", "would hold Parquet, .* ending '.csv'. give a path that ends in .parquet"),
    "json": (lambda root: str(root / "x.JSON"), "ending '.JSON'"),
    "format": (lambda root: SavedDatasetFileStorage(str(root / "x"), CsvFormat()), r"file_format=CsvFormat\(\)"),
    "there": (lambda root: root / "there.parquet", "there.parquet is there already"),
    "folder": (lambda root: root, "is a folder. give the path of a file"),
    "nul": (lambda root: f"{root}/a\0b.parquet", "holds a NUL character"),
    "long": (lambda root: root / ("x" * 300), r"x cannot be written: File name too long\. give a shorter path"),
    "below a file": (lambda root: root / "there.parquet" / "x.parquet", "x.parquet cannot be written: "),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_path_that_cannot_be_written_is_named_with_its_cure(tmp_path: Path, case: str) -> None:
    """And nothing is left behind."""
    write(tmp_path / "there.parquet")
    make, said = REFUSED[case]
    with pytest.raises(RequestError, match=said) as caught:
        write(make(tmp_path))
    assert caught.value.cure
    assert ".part" not in str(caught.value)
    assert [each.name for each in tmp_path.iterdir()] == ["there.parquet"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc here")
def test_a_folder_that_takes_no_files_is_named() -> None:
    """Not the hidden file that would have been written first."""
    with pytest.raises(RequestError, match=r"^/proc/p.parquet cannot be written: .*a folder that you may write to$"):
        write("/proc/p.parquet")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    """Permissions are the system's to give."""
    tmp_path.chmod(0o500)
    with pytest.raises(RequestError, match=r"a.parquet cannot be written: Permission denied"):
        write(tmp_path / "a.parquet")


@pytest.mark.parametrize("storage", [5, SavedDatasetFileStorage(5), None])  # type: ignore[arg-type]
def test_what_is_no_storage_is_refused(storage: object) -> None:
    """The message shows both ways to write it."""
    with pytest.raises(InvalidType, match=r"is no storage. give a path, or SavedDatasetFileStorage"):
        write(storage)


def test_an_error_of_the_rows_is_not_taken_for_one_of_the_file(tmp_path: Path) -> None:
    """A source that is gone is an OSError, too."""

    def rows() -> Any:
        raise SourceMissing("there is no a.parquet", cure="bring it back")
        yield

    with pytest.raises(SourceMissing):
        write_parquet(pa.RecordBatchReader.from_batches(TABLE.schema, rows()), tmp_path / "b.parquet", False)
    assert list(tmp_path.iterdir()) == []
