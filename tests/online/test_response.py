"""OnlineResponse: an answer leaves in declared types, whatever Python values it holds."""

import uuid
from decimal import Decimal as Number
from typing import Any

import pytest

from likewise import FieldStatus
from likewise.core.types import FeatureType
from likewise.online.response import Answered, OnlineResponse
from likewise.types import Array, Decimal, Int64, Set, String, Struct, Uuid

ID = uuid.UUID(int=7)
VALUES: dict[FeatureType, tuple[Any, Any]] = {
    Uuid: (ID, str(ID)),
    Decimal: (Number("1.5"), Number("1.5")),
    Array(Uuid): ([ID], [str(ID)]),
    Set(Uuid): ({ID}, [str(ID)]),
    Set(String): ({"b", None, "a"}, ["a", "b", None]),
    Struct({"id": Uuid, "n": Int64}): ({"id": ID, "n": 1}, {"id": str(ID), "n": 1}),
}


@pytest.mark.parametrize("kind", VALUES, ids=str)
def test_every_type_leaves_as_arrow(kind: FeatureType) -> None:
    """A set comes as a list, ascending; a UUID as its text; a null as null."""
    value, expected = VALUES[kind]
    answer = OnlineResponse({}, {}, [Answered("x", kind, [value, None], None, [0, 0])])
    assert answer.to_arrow()["x"].to_pylist() == [expected, None]


def test_keys_leave_as_arrow() -> None:
    """In their own types, UUIDs too."""
    assert OnlineResponse({"k": [ID]}, {"k": Uuid}, []).to_arrow()["k"].to_pylist() == [str(ID)]


def test_a_value_is_null_only_where_its_record_counts() -> None:
    """A record that is not there, or too old, says so; one that is says whether its value is null."""
    states = [FieldStatus.PRESENT, FieldStatus.PRESENT, FieldStatus.NOT_FOUND, FieldStatus.OUTSIDE_MAX_AGE]
    answered = Answered("x", Int64, [1, None, None, None], states, [0, 0, None, 0])
    assert [status.name for status in answered.statuses()] == [
        "PRESENT",
        "NULL_VALUE",
        "NOT_FOUND",
        "OUTSIDE_MAX_AGE",
    ]
