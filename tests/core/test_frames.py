"""Frames: rows in whatever people hold them, without loss."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from likewise.core.errors import RequestError
from likewise.core.frames import to_pandas, to_table

BIG = 2**53 + 1


def test_a_column_that_only_a_later_row_has_is_kept() -> None:
    """The rows before it have a null."""
    assert to_table([{"a": 1}, {"a": 2, "b": 3}]).to_pylist() == [{"a": 1, "b": None}, {"a": 2, "b": 3}]
    assert to_table([]).num_rows == 0


@pytest.mark.parametrize("rows", [{"a": 1}, pd.DataFrame({"a": [1j]}), [{"a": 1}, {"a": "x"}], [1], "a", None])
def test_what_is_no_table_is_refused_by_name(rows: object) -> None:
    """Every error is one of ours, and says what the rows were for."""
    with pytest.raises(RequestError, match="the pushed rows"):
        to_table(rows, "pushed rows")


@pytest.mark.parametrize(
    "values",
    [
        [[BIG, None], [BIG], None],
        [{"a": BIG}, {"a": None}, None],
        [[{"a": BIG}], [{"a": None}, None]],
        [[[BIG], None, [None]]],
        [{"a": [BIG, None]}],
        [["a", None], []],
        [[True, None]],
    ],
    ids=str,
)
def test_lists_and_structs_keep_their_values(values: list[Any]) -> None:
    """An integer beside a null in a list or struct stays an integer, and the null stays None."""
    found = to_pandas(pa.table({"x": values}))["x"]
    assert found.dtype == object
    assert repr(found.tolist()) == repr(values)


def test_callers_own_lists_keep_their_values() -> None:
    """An Arrow-backed column of lists goes through a table and back unchanged."""
    held = pd.Series(pa.array([[BIG, None]]), dtype=pd.ArrowDtype(pa.list_(pa.int64())))
    assert to_pandas(to_table(pd.DataFrame({"z": held})))["z"].tolist() == [[BIG, None]]


def test_lists_of_numbers_are_arrays() -> None:
    """Embeddings, which have no nulls inside, are NumPy arrays of their own type."""
    found = to_pandas(pa.table({"x": pa.array([[0.5, 1.5], [2.5, 3.5], None], pa.list_(pa.float32()))}))["x"]
    assert found[0].dtype == np.float32
    assert [None if one is None else one.tolist() for one in found] == [[0.5, 1.5], [2.5, 3.5], None]
