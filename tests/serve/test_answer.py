"""Answers as bytes: whatever the number of rows, of views and of nulls, they say what the columns say."""

import json
import math
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from likewise.core.types import Bool, FeatureType, Float32, Float64, Int64, String
from likewise.online.response import Answered, FieldStatus, OnlineResponse
from likewise.online.rows import EventTimes, tombstone
from likewise.serve.answer import AnswerWriter

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
KINDS: list[FeatureType] = [Float64, Int64, Bool, Float32, String, Int64, Float64]
VALUES: dict[str, list[Any]] = {
    "Float64": [0.1, -1e300, 5.0, None, math.nan, math.inf],
    "Float32": [0.5, -2.0, 1.0, None, -math.inf],
    "Int64": [0, -(2**63), 2**63 - 1, None],
    "Bool": [True, False, None],
    "String": ["n", "null", "],[", "", None],
}
TEXTS = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}


def as_json(value: Any) -> Any:
    """Return a value as the answer has it."""
    return TEXTS.get(str(value), value) if isinstance(value, float) else value


@pytest.mark.parametrize("rows", [0, 1, 3, 40])
@pytest.mark.parametrize("full", [True, False], ids=["all there", "nulls"])
@pytest.mark.parametrize("seed", range(5))
def test_an_answer_says_what_its_columns_say(rows: int, full: bool, seed: int) -> None:
    """Values, statuses and times come back from the bytes as they were, also where columns are written together."""
    rng = random.Random(f"{rows} {full} {seed}")
    micros = [[rng.randrange(-(10**15), 10**15) or 1 for _ in range(rows)] for _ in range(2)]
    times = [EventTimes([tombstone(b"key", at) for at in one]) for one in micros]
    choices = {name: values[:3] if full else values for name, values in VALUES.items()}
    features = [
        Answered(f"f{place}", kind, [rng.choice(choices[kind.name]) for _ in range(rows)], None, times[place // 4])
        for place, kind in enumerate(KINDS)
    ]
    views = ["first" if place < 4 else "second" for place in range(len(KINDS))]
    writer = AnswerWriter(["user", *(feature.name for feature in features)], [Int64, *KINDS], views)
    body, counts = writer.write(OnlineResponse({"user": list(range(rows))}, {"user": Int64}, features))
    _, *results = json.loads(body)["results"]
    for place, (feature, result) in enumerate(zip(features, results, strict=True)):
        assert result["values"] == [as_json(value) for value in feature.values]
        assert result["statuses"] == [status.name for status in feature.statuses()]
        read = [datetime.fromisoformat(at) for at in result["event_timestamps"]]
        assert read == [EPOCH + timedelta(microseconds=at) for at in micros[place // 4]]
    nulls = [feature.values.count(None) for feature in features]
    if counts is None:
        assert not any(nulls)
    else:
        assert [counted.get(FieldStatus.NULL_VALUE, 0) for counted in counts] == nulls


def test_times_that_are_none_and_the_epoch_are_told_apart() -> None:
    """A row without a record has the epoch in whole seconds, an event at the epoch has it with all its digits."""
    states = [FieldStatus.PRESENT, FieldStatus.NOT_FOUND, FieldStatus.PRESENT]
    visits = Answered("visits", Int64, [1, None, 3], states, [0, None, 1_500_000])
    body, _ = AnswerWriter(["visits"], [Int64], ["users"]).write(OnlineResponse({}, {}, [visits]))
    [result] = json.loads(body)["results"]
    assert result["statuses"] == ["PRESENT", "NOT_FOUND", "PRESENT"]
    assert result["event_timestamps"] == [
        "1970-01-01T00:00:00.000000Z",
        "1970-01-01T00:00:00Z",
        "1970-01-01T00:00:01.500000Z",
    ]
