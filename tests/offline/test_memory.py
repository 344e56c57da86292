"""Sizes, and what they are cut into."""

from __future__ import annotations

import pytest

from likewise.core.errors import ConfigError
from likewise.offline.memory import parse_size, slices, usual_limit


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4GB", 4_000_000_000),
        ("1.5 GiB", 1_610_612_736),
        ("512mb", 512_000_000),
        ("100", 100),
        ("2 k", 2000),
        ("1TB", 10**12),
    ],
)
def test_sizes(text: str, size: int) -> None:
    """Sizes are read as people and DuckDB write them."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["lots", "", "-1GB", "0", "60%", "1 GB more"])
def test_what_is_no_size_is_refused(text: str) -> None:
    """Other text is refused, with the key that it stands under."""
    with pytest.raises(ConfigError, match=r"memory_limit: .*write it like 4GB"):
        parse_size(text)


def test_the_usual_limit_is_some_of_the_machine() -> None:
    """Without a setting there is a limit, of at least some megabytes."""
    assert usual_limit() > 64 << 20


def test_slices_cover_all_rows_once() -> None:
    """Slices follow one another without gaps, at least 65,536 rows each; no rows have no slices."""
    assert list(slices(0, 8, 1 << 30)) == []
    assert list(slices(100, 8, 1)) == [(0, 100)]
    cut = list(slices(1_000_000, 1000, 1 << 28))
    assert len(cut) > 3
    assert [start for start, _ in cut] == [sum(count for _, count in cut[:n]) for n in range(len(cut))]
    assert sum(count for _, count in cut) == 1_000_000
