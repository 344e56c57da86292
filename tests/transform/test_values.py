import enum
import math
import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal as Number

import numpy as np
import pandas as pd
import pytest

from likewise.core.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
    Float32,
    Float64,
    Int32,
    Int64,
    Invalid,
    Json,
    Map,
    Set,
    String,
    Struct,
    UnixTimestamp,
    Uuid,
)
from likewise.transform.values import Refused, each_given, giver, taker, wanted

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


class Colour(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("declared", "value", "taken"),
    [
        (Bool, np.bool_(True), True),
        (Bool, 0, False),
        (Bool, 1.0, True),
        (Int64, True, 1),
        (Int64, np.bool_(False), 0),
        (Int64, -3.0, -3),
        (Int64, 2**63 - 1, 2**63 - 1),
        (Int64, np.uint8(255), 255),
        (Int64, float(2**53 - 1), 2**53 - 1),
        (Int32, np.float32(7), 7),
        (Float64, 7, 7.0),
        (Float64, True, 1.0),
        (Float64, -math.inf, -math.inf),
        (Float64, np.float32(0.1), 0.10000000149011612),
        (Float32, 0.1, 0.10000000149011612),
        (Float32, 16777217, 16777216.0),
        (Float32, math.inf, math.inf),
        (String, Colour.RED, "red"),
        (String, "é\0", "é\0"),
        (Json, "{}", "{}"),
        (Bytes, memoryview(b"ab"), b"ab"),
        (UnixTimestamp, NOON, NOON),
        (UnixTimestamp, datetime(2024, 1, 1, 12), NOON),
        (UnixTimestamp, datetime(2024, 1, 1, 14, tzinfo=timezone(timedelta(hours=2))), NOON),
        (UnixTimestamp, date(2024, 1, 1), datetime(2024, 1, 1, tzinfo=UTC)),
        (UnixTimestamp, pd.Timestamp("2024-01-01T12:00:00.000000999Z"), NOON),
        (UnixTimestamp, np.datetime64("2024-01-01T12", "h"), NOON),
        (Uuid, uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Decimal, 100, Number(100)),
        (Decimal, Number("1.50"), Number("1.5")),
        (Decimal, Number(1) / Number(3), Number("0.333333333333333333")),
        (Array(Int64), (1, None, 2.0), [1, None, 2]),
        (Array(Float64), np.array([1, 2]), [1.0, 2.0]),
        (Array(Array(Int64)), np.array([[1], [2]]), [[1], [2]]),
        (Array(UnixTimestamp), np.array(["2024-01-01T12", "NaT"], dtype="datetime64[ns]"), [NOON, None]),
        (Set(String), {"b", "a"}, ["a", "b"]),
        (Set(Int64), [2, 1, 2.0], [1, 2]),
        (Set(Float64), {None, math.nan, 1.0}, [1.0, math.nan, None]),
        (Map, {"a": "b", "c": None}, {"a": "b", "c": None}),
        (Struct({"a": Int64, "b": String}), {"b": "x"}, {"a": None, "b": "x"}),
    ],
)
def test_a_value_of_the_same_worth_is_taken(declared, value, taken):
    """A value is taken as the declared type's value of the very same worth."""
    found = taker(declared)(value)
    assert (type(found), repr(found)) == (type(taken), repr(taken))


@pytest.mark.parametrize(
    ("declared", "value", "why"),
    [
        (Bool, 2, "neither true nor false"),
        (Bool, "true", "neither true nor false"),
        (Bool, math.nan, "neither true nor false"),
        (Int64, 1.5, "not a whole number"),
        (Int64, math.nan, "not a whole number"),
        (Int64, math.inf, "not a whole number"),
        (Int64, "1", "not a whole number"),
        (Int64, Number(1), "not a whole number"),
        (Int64, float(2**53), "lost its last digits"),
        (Int64, np.uint64(2**63), "out of range"),
        (Int32, 2**31, "out of range"),
        (Float64, "1", "not a number"),
        (Float64, 10**400, "out of range"),
        (Float64, 1 + 0j, "not a number"),
        (Float32, 1e300, "out of range"),
        (String, 1, "not text"),
        (String, b"a", "not text"),
        (String, "\ud800", "surrogate"),
        (Bytes, "a", "not bytes"),
        (UnixTimestamp, 0, "not a time"),
        (UnixTimestamp, "2024-01-01", "not a time"),
        (UnixTimestamp, pd.NaT, "not a time from year 1 to 9999"),
        (UnixTimestamp, np.datetime64("20000-01-01"), "not a time from year 1 to 9999"),
        (Uuid, "1", "not a UUID"),
        (Decimal, 0.5, "not a decimal number"),
        (Decimal, Number("NaN"), "20 digits"),
        (Decimal, Number(10) ** 20, "20 digits"),
        (Array(Int64), "12", "not a list"),
        (Array(Int64), [1, "2"], "not a whole number"),
        (Array(Int64), {1, 2}, "not a list"),
        (Map, {"a": 1}, "not text"),
        (Map, "a", "not a dict"),
        (Struct({"a": Int64}), {"b": 1}, "field 'b' that is not declared"),
        (Struct({"a": Int64}), [1], "not a dict"),
        (Invalid, 1, "no declared type"),
    ],
)
def test_a_value_of_another_worth_is_refused(declared, value, why):
    """A value that the declared type cannot hold exactly, or that would be a guess, is refused with the reason."""
    with pytest.raises(Refused, match=why):
        taker(declared)(value)


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        (Int32, "whole numbers from -2147483648 to 2147483647"),
        (Array(Bool), "lists of True and False"),
        (Struct({"a": Int64, "b": String}), "dicts with 'a', 'b'"),
        (Decimal, "decimal.Decimal values"),
    ],
)
def test_a_type_says_what_to_give(declared, words):
    """Every type has words for what to give instead."""
    assert wanted(declared) == words


@pytest.mark.parametrize(
    ("declared", "value", "given"),
    [
        (Uuid, str(uuid.UUID(int=1)), uuid.UUID(int=1)),
        (Set(String), ["a", "b"], {"a", "b"}),
        (Array(Uuid), [str(uuid.UUID(int=1)), None], [uuid.UUID(int=1), None]),
        (Set(Uuid), [str(uuid.UUID(int=1))], {uuid.UUID(int=1)}),
        (Struct({"a": Set(Int64), "b": Int64}), {"a": [1], "b": 1}, {"a": {1}, "b": 1}),
    ],
)
def test_a_reader_gets_sets_and_uuids_as_objects(declared, value, given):
    """What a function sees as a sorted list or as text is a set or a UUID for the reader of an answer."""
    assert each_given([value, None], giver(declared)) == [given, None]


@pytest.mark.parametrize("declared", [Int64, Map, Array(String), Struct({"a": Int64})])
def test_other_values_are_given_as_they_are(declared):
    """Most types need nothing done, which is known beforehand."""
    assert giver(declared) is None
