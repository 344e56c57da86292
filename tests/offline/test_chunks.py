"""Values are taken out of several arrays as out of one."""

from __future__ import annotations

import itertools

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from likewise.offline.chunks import merged, take


@given(
    st.lists(st.lists(st.none() | st.text(max_size=2), max_size=4), max_size=5),
    st.lists(st.none() | st.integers(0, 99)),
)
def test_arrays_that_stay_apart_give_the_same_values(chunks: list[list[str | None]], places: list[int | None]) -> None:
    """Taking from each array by itself gives what taking from one gives, with repeats and gaps, in any order."""
    column = pa.chunked_array([pa.array(chunk, pa.string()) for chunk in chunks], pa.string())
    index = pa.array(
        [place % len(column) if place is not None and len(column) else None for place in places], pa.int64()
    )
    assert (
        take(column, index, largest=0).to_pylist() == take(column, index).to_pylist() == column.take(index).to_pylist()
    )


@pytest.mark.parametrize("columns", [[], [["a"]], [["a"], [], ["b", "c"]]])
def test_columns_after_one_another(columns: list[list[str]]) -> None:
    """Columns and their arrays become one array, also if there are none."""
    given = [pa.chunked_array([column], pa.string()) for column in columns]
    found = merged([*given, pa.array(["z"])], pa.string())
    assert (found.to_pylist(), found.num_chunks) == ([*itertools.chain(*columns), "z"], 1)
    assert merged([], pa.string()).to_pylist() == []
