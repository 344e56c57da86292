"""Python values as msgpack: each comes back as what it was."""

import math
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given

from likewise.core.packed import pack, unpack

PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**80), 2**80),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.decimals(allow_nan=False),
    st.uuids(),
    st.datetimes(timezones=st.just(UTC)),
)
VALUES = st.recursive(
    st.one_of(PLAIN, st.sets(st.integers(-(2**70), 2**70)), st.sets(st.uuids())),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=20,
)


@given(VALUES)
def test_every_value_comes_back(value):
    """Numbers of any size, texts, bytes, times, decimals, UUIDs and sets, nested in any way, keep type and value."""
    assert exact(unpack(pack(value))) == exact(value)


def exact(value):
    """Return what tells values apart that compare as equal, such as 1 and True."""
    if isinstance(value, list):
        return [exact(item) for item in value]
    if isinstance(value, dict):
        return {name: exact(item) for name, item in value.items()}
    if isinstance(value, datetime):
        return repr(value.replace(fold=0))  # which means nothing in UTC
    return sorted(map(repr, value)) if isinstance(value, set) else repr(value)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (math.nan, "nan"),
        (-0.0, "-0.0"),
        (np.int64(5), "5"),
        (np.float32(0.1), "0.10000000149011612"),
        (np.array([1, 2]), "[1, 2]"),
        (np.array([7]), "[7]"),
        (np.array(["2024-01-01"], "datetime64[ns]"), repr([datetime(2024, 1, 1, tzinfo=UTC)])),
        (pd.Timestamp("2024-01-01", tz="UTC"), repr(datetime(2024, 1, 1, tzinfo=UTC))),
        (pd.NaT, "None"),
        (datetime(2024, 1, 1), repr(datetime(2024, 1, 1, tzinfo=UTC))),
        (datetime(2024, 1, 1, 5, tzinfo=timezone(timedelta(hours=5))), repr(datetime(2024, 1, 1, tzinfo=UTC))),
        ((1, (2,)), "[1, [2]]"),
        (frozenset({UUID(int=1)}), repr({UUID(int=1)})),
        (Decimal("1.100"), "Decimal('1.100')"),
    ],
)
def test_what_python_has_in_other_forms_is_turned(value, wanted):
    """NumPy's and pandas' values are Python's, times without a zone are UTC, tuples are lists."""
    assert repr(unpack(pack(value))) == wanted


@pytest.mark.parametrize("value", [object(), 1j, {1: 2}, [{"a": object()}]])
def test_what_has_no_form_is_refused(value):
    """Other objects, and mappings whose keys are no text, are a TypeError, never a guess."""
    with pytest.raises(TypeError):
        pack(value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\xdd\xff\xff\xff\xff",
        b"\x91" * 100_000,
        b"\xd4\x09a",  # an extension that nobody knows
        b"\xd4\x01x",  # a decimal that is none
        b"\xd4\x02x",  # a UUID that is too short
        b"\xd4\x03\xc0",  # a set that is no list
        b"\xd5\x03\x91\x90",  # a set of lists
        b"\xc7\x0c\xff" + b"\xff" * 12,  # a time that cannot be
    ],
)
def test_what_is_no_such_msgpack_is_refused(data):
    """Truncated, deep and impossible bytes are a ValueError."""
    with pytest.raises(ValueError):
        unpack(data)
