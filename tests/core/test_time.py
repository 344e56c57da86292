"""Times: one rule for every way to write one (S1)."""

from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from likewise.core.errors import InvalidTime
from likewise.core.time import EARLIEST, LATEST, FixedClock, from_micros, process_clock, span_text, to_micros


@pytest.mark.parametrize(
    ("value", "micros"),
    [
        ("1970-01-01", 0),
        ("1970-01-01T00:00:00.000001Z", 1),
        ("1970-01-01T02:00:00+02:00", 0),
        (datetime(1970, 1, 2), 86_400_000_000),
        (datetime(1970, 1, 1, tzinfo=timezone(timedelta(hours=-5))), 5 * 3_600_000_000),
        (date(1970, 1, 2), 86_400_000_000),
        (pd.Timestamp("1970-01-01T00:00:00.000001999"), 1),
        (np.datetime64("1970-01-01T00:00:01"), 1_000_000),
        (np.datetime64(-1, "ns"), -1),
        (7, 7),
        ("0001-01-01", EARLIEST),
        ("9999-12-31T23:59:59.999999", LATEST),
    ],
)
def test_every_way_to_write_a_time_gives_its_microseconds(value: object, micros: int) -> None:
    """A naive time is UTC, an aware one is converted, and finer digits are cut off downwards."""
    assert to_micros(value) == micros


@pytest.mark.parametrize("value", ["yesterday", "", None, True, 1.5, pd.NaT, np.datetime64("NaT"), [], LATEST + 1])
def test_what_is_no_time_is_refused_by_name(value: object) -> None:
    """The message quotes the value and says what it was for."""
    with pytest.raises(InvalidTime, match="end_date"):
        to_micros(value, "end_date")


@given(st.integers(EARLIEST, LATEST))
def test_microseconds_survive_the_way_through_a_datetime(micros: int) -> None:
    """Every time of the years 1 to 9999 comes back exactly."""
    assert to_micros(from_micros(micros)) == micros


def test_the_environment_sets_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """LIKEWISE_NOW makes a process live at a fixed time, for audits and documents."""
    monkeypatch.setenv("LIKEWISE_NOW", "2024-04-01T00:00:00Z")
    assert from_micros(process_clock().now()) == datetime(2024, 4, 1, tzinfo=UTC)


def test_a_fixed_clock_moves_only_when_it_is_set() -> None:
    """Tests and audits decide what time it is."""
    clock = FixedClock("2024-01-01")
    assert clock.now() == clock.now() == to_micros("2024-01-01")


@pytest.mark.parametrize(
    ("span", "text"),
    [(timedelta(days=7), "7 days"), (timedelta(hours=1), "1 hour"), (timedelta(seconds=90), "90 seconds")],
)
def test_spans_are_written_in_their_largest_whole_unit(span: timedelta, text: str) -> None:
    """A ttl of 7 days reads as 7 days."""
    assert span_text(span) == text
