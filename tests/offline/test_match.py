"""Keys as numbers: alike where they are one key, apart where they are not."""

from __future__ import annotations

from decimal import Decimal as Exact
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from likewise.core.types import (
    Bool,
    Bytes,
    Decimal,
    FeatureType,
    Float32,
    Float64,
    Int32,
    Int64,
    String,
    UnixTimestamp,
    Uuid,
    arrow_type,
)
from likewise.offline.match import comparable, dense_codes, number_keys, part_numbers

LEAST, MOST = -(2**63), 2**63 - 1


def test_close_integers_are_numbered_by_subtraction() -> None:
    """Integer keys that lie close together have the number of their distance from the smallest."""
    found = number_keys([pa.array([12, None, 10, 12])], [Int64], 4)
    assert (found.codes.tolist(), found.count, found.low, found.distinct) == ([2, -1, 0, 2], 3, 10, ())


def test_integers_far_apart_are_looked_up() -> None:
    """Integer keys with wide gaps between them are numbered as they come."""
    found = number_keys([pa.array([MOST, LEAST, None, MOST])], [Int64], 4)
    assert (found.codes.tolist(), found.low) == ([0, 1, -1, 0], None)
    assert [part.to_pylist() for part in found.distinct] == [[MOST, LEAST]]


@pytest.mark.parametrize(("low", "count"), [(LEAST, 3), (MOST - 2, 3), (-1, 3), (0, 1 << 20)])
def test_codes_do_not_wrap_around(low: int, count: int) -> None:
    """Keys at both ends of 64 bits are in the range of codes exactly when they are in the range of keys."""
    keys = [LEAST, LEAST + 1, LEAST + 2, -1, 0, 1, MOST - 2, MOST - 1, MOST]
    codes, known = dense_codes(pa.array([*keys, None]), low, count)
    assert known.tolist() == [*(low <= key < low + count for key in keys), False]
    assert codes[known].tolist() == [key - low for key in keys if low <= key < low + count]


def test_parts_of_keys_do_not_run_together() -> None:
    """Each combination of parts has a number of its own; one with a null in it has none."""
    first, second = ["a", "ab", "a", None, "a"], ["bc", "c", "bc", "c", None]
    found = number_keys([pa.array(first), pa.chunked_array([second[:2], second[2:]])], [String, String], 5)
    assert found.codes.tolist() == [0, 1, 0, -1, -1]
    assert [part.to_pylist() for part in found.distinct] == [["a", "ab"], ["bc", "c"]]


def test_three_parts() -> None:
    """Keys of three parts are told apart by each of them."""
    columns = [[1, 1, 1, 2], [1.0, 1.0, 2.0, 1.0], [True, False, True, True]]
    found = number_keys([pa.array(column) for column in columns], [Int64, Float64, Bool], 4)
    assert found.codes.tolist() == [0, 1, 2, 3]
    assert [part.to_pylist() for part in found.distinct] == columns


@pytest.mark.parametrize("kind", [Int64, String])
def test_no_keys_at_all(kind: FeatureType) -> None:
    """Nothing but nulls, or nothing, has no numbers."""
    for values in ([None, None], []):
        assert number_keys([pa.array(values, arrow_type(kind))], [kind], len(values)).codes.tolist() == [-1] * len(
            values
        )
        pair = number_keys([pa.array(values, arrow_type(kind))] * 2, [kind] * 2, len(values))
        assert (pair.codes.tolist(), pair.count) == ([-1] * len(values), 0)


def test_a_view_without_entities_has_one_key() -> None:
    """Without key columns every row has the key 0."""
    assert number_keys([], [], 3).codes.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        (Int32, pa.array([1], pa.int32()), [1]),
        (Float32, pa.array([0.5, -0.0, float("nan")], pa.float32()), [0.5, 0.0, None]),
        (UnixTimestamp, pa.array([5], pa.timestamp("us", tz="UTC")), [5]),
        (Decimal, pa.array([Exact("1.10")]).cast(pa.decimal128(38, 18)), [Exact("1.10").quantize(Exact(10) ** -18)]),
    ],
    ids=str,
)
def test_keys_are_compared_in_one_width(kind: FeatureType, values: pa.Array, expected: list[Any]) -> None:
    """Keys of a family are compared as one type, both zeros as one, and what equals nothing is null."""
    assert comparable(values, kind).to_pylist() == expected


def test_the_part_of_a_key_is_frozen() -> None:
    """These numbers never change: a materialization may be taken up by a later version."""
    columns = [(comparable(pa.array(values, arrow_type(kind)), kind), len(values)) for kind, values, _ in GOLDEN]
    found = [part_numbers([column], 1000, count).tolist() for column, count in columns]
    assert found == [numbers for _, _, numbers in GOLDEN]
    pair = part_numbers([pa.array([1, 2, 1]), pa.array(["a", "a", "b"])], 1000, 3)
    assert pair.tolist() == [938, 401, 504]


GOLDEN: list[tuple[FeatureType, list[Any], list[int]]] = [
    (Int64, [0, 1, -1, LEAST], [0, 789, 67, 50]),
    (String, ["", "a", "b", "\0", "user-00000001", "x" * 3_000_000, "é"], [0, 441, 252, 730, 231, 737, 524]),
    (Bytes, [b"", b"\xff\0"], [0, 150]),
    (Float64, [0.0, 1.5], [0, 784]),
    (Bool, [False, True], [0, 789]),
    (UnixTimestamp, [0, 1], [0, 789]),
    (Uuid, ["6ba7b810-9dad-11d1-80b4-00c04fd430c8"], [636]),
    (Decimal, [Exact("1.1"), Exact("-1")], [241, 129]),
]


def test_parts_do_not_depend_on_neighbours() -> None:
    """A text is in the same part alone, in a slice and among many others."""
    texts = [f"key {number} {'é' * (number % 50)}" for number in range(60_000)]
    column = pa.array(texts)
    whole = part_numbers([column], 97, len(texts))
    assert part_numbers([column.slice(41_234, 3)], 97, 3).tolist() == whole[41_234:41_237].tolist()
    halves = pa.chunked_array([texts[:30_000], texts[30_000:]])
    assert part_numbers([halves], 97, len(texts)).tolist() == whole.tolist()
    sizes = np.bincount(whole, minlength=97)
    assert sizes.min() > 500
