import math

import polars as pl
import pytest

from likewise.core.errors import TransformError
from likewise.core.types import Array, Float32, Float64, Int32, Int64, Map, String, UnixTimestamp

TYPES = {"i": Int64, "f": Float32, "s": String, "t": UnixTimestamp, "n": Array(Int32)}


def test_column_types_are_those_declared_whatever_the_rows_hold(runner, arrow):
    """A polars column has its declared type, for rows of nothing but null too."""
    seen = []

    def look(frame):
        seen.append(dict(frame.schema))
        return frame.select(out="i")

    run = runner(look, TYPES, {"out": Int64}, "polars")
    run.run_lists({name: [None] for name in TYPES}, 1)
    run.run_arrow(arrow(TYPES, {"i": [1], "f": [0.5], "s": ["a"], "t": [0], "n": [[1]]}), 1)
    times = pl.Datetime("us", "UTC")
    assert seen == [{"i": pl.Int64, "f": pl.Float32, "s": pl.String, "t": times, "n": pl.List(pl.Int32)}] * 2


def test_nan_stays_nan_and_null_is_null(runner):
    """In mode polars NaN is a number and null is null."""

    def both(frame):
        return pl.DataFrame({"out": [math.nan, None]})

    first, second = runner(both, {"a": Int64}, {"out": Float64}, "polars").run_lists({"a": [1, 2]}, 2)["out"]
    assert math.isnan(first)
    assert second is None


def test_polars_types_become_the_declared_ones(runner):
    """Categories, small integers, bools, dates and untyped nulls are taken as the declared types."""

    def convert(frame):
        return frame.select(
            word=pl.col("s").cast(pl.Categorical),
            small=pl.col("i").cast(pl.UInt8),
            flag=pl.col("i") > 1,
            day=pl.col("t").dt.date(),
            none=pl.lit(None),
            list=pl.col("i").cast(pl.Int8).reshape((-1, 1)).arr.to_list(),
        )

    outputs = {"word": String, "small": Int32, "flag": Int64, "day": UnixTimestamp, "none": Map, "list": Array(Int64)}
    run = runner(convert, {"s": String, "i": Int64, "t": UnixTimestamp}, outputs, "polars")
    answer = run.run_lists({"s": ["a", None], "i": [1, 2], "t": [None, None]}, 2)
    assert answer == {
        "word": ["a", None],
        "small": [1, 2],
        "flag": [0, 1],
        "day": [None, None],
        "none": [None, None],
        "list": [[1], [2]],
    }


ANSWERS = [
    (lambda f: f.lazy(), "returned a LazyFrame instead of a polars DataFrame. return frame.collect()"),
    (lambda f: f["a"], "returned a Series instead of a polars DataFrame. return frame.select(…)"),
    (lambda f: {"out": [1, 2]}, "returned {'out': [1, 2]} (dict) instead of a polars DataFrame"),
    (lambda f: f.select(b="a"), "did not return the column 'out'; it returned 'b'"),
    (lambda f: f.select(out="a", b="a"), "returned the column 'b', which the schema does not declare"),
    (lambda f: f.select(out="a").head(1), "returned 1 rows for 2. return one row for each row given"),
    (
        lambda f: pl.DataFrame({"out": ["x", "y"]}),
        "declared Int64, holds 'x' (str) in row 0, which is not a whole number",
    ),
    (lambda f: pl.DataFrame({"out": [1.0, math.nan]}), "holds nan (float) in row 1, which is not a whole number"),
    (lambda f: pl.DataFrame({"out": [0, 2**63]}, {"out": pl.UInt64}), "in row 1, which is out of range"),
    (lambda f: f.select(out=pl.col("gone")), "raised ColumnNotFoundError: "),
]


@pytest.mark.parametrize(("answer", "what"), ANSWERS)
def test_an_answer_of_the_wrong_shape_is_refused_by_name(runner, arrow, answer, what):
    """Every wrong answer is an error that names view, function, file, line, what was returned and the cure."""
    run = runner(answer, {"a": Int64}, {"out": Int64}, "polars")
    with pytest.raises(TransformError) as online:
        run.run_lists({"a": [1, 2]}, 2)
    place = f"function '<lambda>' ({__file__}:{answer.__code__.co_firstlineno}) "
    assert str(online.value).startswith(f"on-demand feature view 'rates': {place}")
    assert what in str(online.value)
    with pytest.raises(TransformError) as training:
        run.run_arrow(arrow({"a": Int64}, {"a": [1, 2]}), 2)
    assert str(training.value) == str(online.value)
