"""Frames: rows in whatever people hold them, without loss."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from likewise.core.errors import RequestError
from likewise.core.frames import to_pandas, to_rows, to_table

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


TEXTS = pa.map_(pa.string(), pa.string())


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        (TEXTS, [[("a", "1"), ("b", None)], [], None], [{"a": "1", "b": None}, {}, None]),
        (pa.list_(TEXTS), [[[("a", "1")], None], None], [[{"a": "1"}, None], None]),
        (pa.struct([("m", TEXTS), ("n", pa.int64())]), [{"m": [("a", "1")], "n": BIG}], [{"m": {"a": "1"}, "n": BIG}]),
        (pa.struct([("m", TEXTS)]), [{"m": None}, None], [{"m": None}, None]),
        (pa.map_(pa.string(), TEXTS), [[("a", [("b", "1")]), ("c", None)]], [{"a": {"b": "1"}, "c": None}]),
        (pa.map_(pa.int64(), pa.int64()), [[(1, BIG), (2, None)]], [{1: BIG, 2: None}]),
        (TEXTS, [[("a", "1"), ("a", "2")], [("b", "3")]], [[("a", "1"), ("a", "2")], {"b": "3"}]),
        (pa.map_(pa.list_(pa.int64()), pa.int64()), [[([1], 2)]], [[([1], 2)]]),
    ],
    ids=str,
)
def test_maps_are_dicts(kind: pa.DataType, given: list[Any], expected: list[Any]) -> None:
    """Also inside others; only what a dict cannot hold, such as a key that stands twice, stays a list of pairs."""
    table = pa.table({"a": pa.array(given, kind), "b": pa.array(given, kind)})
    assert to_pandas(table)["a"].tolist() == expected
    assert to_rows(table) == [{"a": value, "b": value} for value in expected]
    assert to_rows(table.to_batches()[0]) == to_rows(table)


def test_a_column_that_stands_twice_is_refused() -> None:
    """Which of the two is meant nobody can know."""
    twice = pa.table([pa.array([1]), pa.array([2])], names=["k", "k"])
    for rows in (twice, twice.to_batches()[0], twice.to_reader()):
        with pytest.raises(RequestError, match="the pushed rows have two columns named 'k'"):
            to_table(rows, "pushed rows")


def test_half_of_a_surrogate_pair_is_refused() -> None:
    """It is no text, and no column holds it."""
    with pytest.raises(RequestError, match="the pushed rows cannot be read"):
        to_table([{"a": "\ud800"}], "pushed rows")
