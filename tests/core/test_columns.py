"""Columns: brought to the declared type without loss, or an error that names column and row."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from likewise.core.columns import conform, to_utc_micros
from likewise.core.errors import InvalidTime, SourceDrift
from likewise.core.types import Array, Bool, Float32, Float64, Int32, Int64, String, Uuid


@given(st.lists(st.integers(-(2**62), 2**62)))
def test_nanoseconds_are_cut_off_downwards(ticks: list[int]) -> None:
    """A row a nanosecond after t never becomes a row at t's next microsecond, also before 1970."""
    column = to_utc_micros(pa.array(ticks, pa.timestamp("ns")), "t")
    assert column.cast(pa.int64()).to_pylist() == [tick // 1000 for tick in ticks]


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_a_time_beyond_the_year_9999_names_its_row(unit: str) -> None:
    """The wrong unit is found out where it stands."""
    with pytest.raises(InvalidTime, match=r"column 'at', row 1"):
        to_utc_micros(pa.array([0, 2**60], pa.timestamp(unit)), "column 'at'")


@pytest.mark.parametrize(
    ("column", "declared"),
    [
        (pa.array([1.0, None, 3.0]), Int64),
        (pa.array([1, 2], pa.int8()), Int64),
        (pa.array([1, 2], pa.int64()), Int32),
        (pa.array([1, 2]), Float64),
        (pa.array(["a", None]).dictionary_encode(), String),
        (pa.array([None, None]), Bool),
        (pa.array([[1], None]), Array(Float32)),
    ],
)
def test_values_that_fit_are_taken(column: pa.Array, declared: object) -> None:
    """Widening, whole floats and all-null columns cost nothing."""
    assert conform(column, declared, "c").to_pylist() == column.to_pylist()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("column", "declared", "said"),
    [
        (pa.array([1.0, 1.5]), Int64, "row 1: 1.5 does not fit Int64"),
        (pa.array([2**40]), Int32, "row 0: 1099511627776 does not fit Int32"),
        (pa.array([2**53 + 1]), Float64, "row 0: 9007199254740993 does not fit Float64"),
        (pa.array(["1"]), Int64, "holds string, not Int64"),
        (pa.array([True]), Int64, "holds bool, not Int64"),
    ],
)
def test_values_that_do_not_fit_are_named(column: pa.Array, declared: object, said: str) -> None:
    """Nothing is rounded, cut or guessed in silence."""
    with pytest.raises(SourceDrift, match=said):
        conform(column, declared, "column 'c'")  # type: ignore[arg-type]


def test_float32_is_the_nearest_float32() -> None:
    """A Float64 column declared Float32 is rounded, for training and serving alike."""
    assert conform(pa.array([0.1]), Float32, "c").to_pylist() == [float(np.float32(0.1))]


def test_uuids_in_bytes_become_their_text() -> None:
    """Sixteen bytes are a UUID."""
    assert conform(pa.array([bytes(16)]), Uuid, "c").to_pylist() == ["00000000-0000-0000-0000-000000000000"]
