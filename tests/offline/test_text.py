"""What the fields of CSV and JSON lines files mean is what the reference says, in bulk and one by one."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal as Exact
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from likewise.core.errors import SourceDrift
from likewise.core.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
    FeatureType,
    Float32,
    Float64,
    Int32,
    Int64,
    Map,
    Set,
    String,
    Struct,
    UnixTimestamp,
    Uuid,
    arrow_type,
)
from likewise.offline.text import copy_csv, copy_json_lines, from_csv, from_json
from likewise.testing import reference_values as reference
from likewise.testing.reference_values import plain_values
from likewise.testing.values import exact_all

SCALARS: list[FeatureType] = [Int32, Int64, Float32, Float64, Bool, String, Uuid, Decimal, UnixTimestamp, Bytes]
TEXTS = [
    *("0", "7", "007", "-1", "+5", "1.0", "1.5", ".5", "5.", "1e3", "1E-2", "0x1F", " 5", "5 ", "1_000", "٣"),
    *(
        "2147483647",
        "2147483648",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "1e19",
        "1e300",
    ),
    *("nan", "NaN", "inf", "-Infinity", "true", "False", "TRUE", "yes", "", "NULL", "null", "é", "a\0b"),
    *("2024-01-31", "2024-01-31T10:00:00Z", "2024-01-31 10:00:00.123456+02:00", "2024-01-31T10:00:00.123456789"),
    *("1969-12-31 23:59:59.9999999", "0001-01-01", "9999-12-31T23:59:59.999999", "2024-02-30", "20240131", "12:00"),
    *("2024-01-31T10:00:00-0530", "2024-01-31T10", "-0.000000000000000001", "99999999999999999999.5"),
]
JSON = [
    *(None, True, False, 0, 1, -1, 1.0, 1.5, 2**31, 2**53 + 1, 2**63, -(2**63), 1e300, float("nan"), "a", "1", "a\0b"),
    *(
        "2024-01-31",
        "2024-01-31T10:00:00+02:00",
        [],
        [1, None],
        [1.0, 2.5],
        ["a"],
        [[1]],
        {},
        {"x": 1},
        {"x": "1", "y": None},
    ),
]
JSON_TYPES = [*SCALARS, Array(Int64), Array(Float64), Array(Array(Int64)), Set(String), Map, Struct({"x": Int64})]


def meant(rule: Callable[[Any, FeatureType], Any], values: list[Any], kind: FeatureType) -> list[Any] | None:
    """Return what the reference makes of values; None if it refuses one of them."""
    try:
        found = [None if value is None else rule(value, kind) for value in values]
        return plain_values(pa.array(found, arrow_type(kind)))
    except (ValueError, TypeError, OverflowError, pa.ArrowException):
        return None


def bulk(convert: Callable[..., Any], column: pa.Array, kind: FeatureType) -> list[Any] | None:
    """Return what a converter makes of a column; None if it refuses."""
    try:
        done = convert(column, kind, "column 'v' of a file")
    except SourceDrift:
        return None
    assert done.type == arrow_type(kind)
    return plain_values(done)


@pytest.mark.parametrize("kind", SCALARS, ids=str)
def test_each_csv_field_means_what_the_reference_says(kind: FeatureType) -> None:
    """Every text, alone and beside one that is surely right, is the reference's value or refused."""
    good = next((text for text in TEXTS if meant(reference.from_text, [text], kind)), None)
    for text in TEXTS:
        for values in ([text], [good, text, None, good]):
            expected = meant(reference.from_text, values, kind)
            found = bulk(from_csv, pa.array(values, pa.string()), kind)
            assert (found is None) == (expected is None), values
            assert found is None or exact_all(found) == exact_all(expected or []), values


@given(st.lists(st.sampled_from([*TEXTS, None]), max_size=6), st.sampled_from(SCALARS))
def test_csv_columns_mean_what_the_reference_says(values: list[str | None], kind: FeatureType) -> None:
    """Any mixture of texts is the reference's values or refused."""
    expected = meant(reference.from_text, values, kind)
    found = bulk(from_csv, pa.array(values, pa.string()), kind)
    assert (found is None) == (expected is None)
    assert found is None or exact_all(found) == exact_all(expected or [])


@pytest.mark.parametrize("kind", JSON_TYPES, ids=str)
def test_each_json_value_means_what_the_reference_says(kind: FeatureType) -> None:
    """Every JSON value, alone and beside one that is surely right, is the reference's value or refused."""
    good = next((value for value in JSON[1:] if meant(reference.from_json, [value], kind)), None)
    for value in JSON:
        for values in ([value], [good, value, None, good]):
            expected = meant(reference.from_json, values, kind)
            texts = [None if one is None else json.dumps(one).encode() for one in values]
            found = bulk(from_json, pa.array(texts, pa.binary()), kind)
            assert (found is None) == (expected is None), values
            assert found is None or exact_all(found) == exact_all(expected or []), values


@pytest.mark.parametrize("kind", [Int64, Decimal], ids=str)
def test_a_huge_exponent_is_refused_at_once(kind: FeatureType) -> None:
    """A number of a hundred million digits is refused without writing them all out."""
    with pytest.raises(SourceDrift, match="column 'v', row 1: '1e99999999' does not fit"):
        from_csv(pa.array(["1", "1e99999999"]), kind, "column 'v'")


def test_a_copy_of_csv_has_the_texts(tmp_path: Path) -> None:
    """Fields are copied as they stand, in order; an empty one is null, a quoted empty one is empty."""
    (tmp_path / "a.csv").write_bytes(b'\xef\xbb\xbfa,b,"c,d"\r\n007,"x\ny",\r\n,"",1\r\n')
    names = copy_csv(str(tmp_path / "a.csv"), ["c,d", "b", "none"], str(tmp_path / "copy"))
    assert names == ["a", "b", "c,d"]
    assert pq.read_table(tmp_path / "copy").to_pydict() == {"c,d": [None, "1"], "b": ["x\ny", ""]}


def test_a_copy_of_tsv(tmp_path: Path) -> None:
    """The fields of a .tsv file end at tabs."""
    (tmp_path / "a.tsv").write_text("a\tb\n1,5\t2\n")
    assert copy_csv(str(tmp_path / "a.tsv"), ["a"], str(tmp_path / "copy")) == ["a", "b"]
    assert pq.read_table(tmp_path / "copy").to_pydict() == {"a": ["1,5"]}


def test_a_copy_of_json_lines_has_the_texts(tmp_path: Path) -> None:
    """Values are copied as JSON; blank lines are nothing, null and what is left out are null, NaN is known."""
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"a": 1, "b": [1,  2]}\n\n{"b": null, "c": {"x": "\\u00e9"}}\r\n')
    names = copy_json_lines(str(tmp_path / "a.jsonl"), ["b", "a", "none"], str(tmp_path / "copy"))
    assert names == ["a", "b", "c"]
    assert pq.read_table(tmp_path / "copy").to_pydict() == {
        "b": [b"[1,  2]", None],
        "a": [b"1", None],
        "none": [None, None],
    }
    (tmp_path / "a.jsonl").write_bytes(b'{"a": NaN}\n{"a": -Infinity}')
    copy_json_lines(str(tmp_path / "a.jsonl"), ["a"], str(tmp_path / "copy"))
    assert pq.read_table(tmp_path / "copy").to_pydict() == {"a": [b"NaN", b"-Infinity"]}


def test_order_over_many_blocks(tmp_path: Path) -> None:
    """A text file of many blocks is copied in the order of its lines."""
    padding = "x" * 200
    lines = "".join(f"{number},{padding}\n" for number in range(200_000))
    (tmp_path / "a.csv").write_text("n,p\n" + lines)
    copy_csv(str(tmp_path / "a.csv"), ["n"], str(tmp_path / "copy"))
    assert pq.read_table(tmp_path / "copy")["n"].to_pylist() == [str(number) for number in range(200_000)]


def json_column(*texts: str) -> pa.Array:
    """Return JSON texts as they stand in a file's copy."""
    return pa.array([text.encode() for text in texts], pa.binary())


def test_json_numbers_with_a_fraction_are_exact() -> None:
    """A number that is written with a fraction or an exponent never goes through a double."""
    assert from_json(json_column("9007199254740993.0", "1e3"), Int64, "v").to_pylist() == [2**53 + 1, 1000]
    assert from_json(json_column("[9007199254740993.0, 1]"), Array(Int64), "v").to_pylist() == [[2**53 + 1, 1]]
    exact = "12345678901234567.123456789012345678"
    assert from_json(json_column(exact), Decimal, "v").to_pylist() == [Exact(exact)]
    with pytest.raises(SourceDrift, match=r"row 1: b'4503599627370497\.25' does not fit Int64"):
        from_json(json_column("1", "4503599627370497.25"), Int64, "v")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("1e999", Float64),
        ("1e300", Float32),
        ("[1e300]", Array(Float32)),
        ("1e999", Int64),
        ("1e999", Decimal),
        ("1234567890123456789012", Decimal),
        ("0.1234567890123456789", Decimal),
    ],
)
def test_json_numbers_out_of_range_are_refused(text: str, kind: FeatureType) -> None:
    """A finite number never becomes infinite, and none is rounded where the type is exact."""
    with pytest.raises(SourceDrift, match="v, row 1: "):
        from_json(json_column("null", text), kind, "v")


@pytest.mark.parametrize(("text", "kind"), [("1e999", Float64), ("-1e999", Float64), ("1e300", Float32)])
def test_csv_numbers_out_of_range_are_refused(text: str, kind: FeatureType) -> None:
    """Text that is infinite says so."""
    with pytest.raises(SourceDrift, match="v, row 1: "):
        from_csv(pa.array(["inf", text]), kind, "v")
    assert from_csv(pa.array(["inf", "-Infinity"]), kind, "v").to_pylist() == [float("inf"), float("-inf")]


@pytest.mark.parametrize("beside", ["1", "NaN"])
def test_a_copy_of_json_lines_keeps_every_digit(tmp_path: Path, beside: str) -> None:
    """Values are copied as they are written, also beside what only Python's own reader knows."""
    line = '{ "n" : 9007199254740993.0 , "a": BESIDE,"s":"\\u00e9}", "e": {"x": [1.50, {}]} }\n{}\n'
    (tmp_path / "a.jsonl").write_text(line.replace("BESIDE", beside))
    copy_json_lines(str(tmp_path / "a.jsonl"), ["n", "s", "e"], str(tmp_path / "copy"))
    assert pq.read_table(tmp_path / "copy").to_pydict() == {
        "n": [b"9007199254740993.0", None],
        "s": [b'"\\u00e9}"', None],
        "e": [b'{"x": [1.50, {}]}', None],
    }
