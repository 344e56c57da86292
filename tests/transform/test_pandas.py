import math
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from likewise.core.errors import TransformError
from likewise.core.types import (
    Array,
    Bool,
    Bytes,
    Float32,
    Float64,
    Int32,
    Int64,
    Map,
    String,
    UnixTimestamp,
)

TYPES = {
    "i": Int64,
    "k": Int32,
    "f": Float64,
    "g": Float32,
    "b": Bool,
    "s": String,
    "t": UnixTimestamp,
    "n": Array(Int64),
    "m": Map,
    "y": Bytes,
}
FULL = {
    "i": 2**53 + 1,
    "k": 7,
    "f": 0.5,
    "g": 0.5,
    "b": True,
    "s": "a",
    "t": datetime(2024, 1, 1, tzinfo=UTC),
    "n": [2**53 + 1],
    "m": {"a": "b"},
    "y": b"a",
}
ALIKE = {
    "f": "float64",
    "g": "float32",
    "s": "str",
    "t": "datetime64[us, UTC]",
    "n": "object",
    "m": "object",
    "y": "object",
}


@pytest.fixture
def seen(runner):
    """Return what a function sees of rows: each frame as ({column: dtype}, rows), in the order of the calls."""

    def of(*rows):
        frames = []

        def look(frame):
            cells = frame.astype(object).where(frame.notna(), None)
            frames.append(({name: str(dtype) for name, dtype in frame.dtypes.items()}, cells.to_dict("list")))
            assert frame.index.equals(pd.RangeIndex(len(frame)))
            return pd.DataFrame({"out": frame["i"]})

        run = runner(look, TYPES, {"out": Int64})
        answer = run.run_lists({name: [row[name] for row in rows] for name in TYPES}, len(rows))
        assert answer["out"] == [row["i"] for row in rows]
        return frames

    return of


def test_whole_rows_come_in_numpys_dtypes(seen):
    """A row with all integers and bools comes as int64, int32 and bool, whatever else it lacks."""
    (first,) = seen(FULL, FULL | dict.fromkeys(ALIKE))
    assert first[0] == {"i": "int64", "k": "int32", "b": "bool"} | ALIKE


@pytest.mark.parametrize("lacking", ["i", "k", "b"])
def test_rows_that_lack_an_integer_come_apart_in_nullable_dtypes(seen, lacking):
    """A row that lacks an integer or a bool comes in another call, as Int64, Int32 and boolean; no digit is lost."""
    whole, holed = seen(FULL | {lacking: None}, FULL)
    assert whole[0] == {"i": "int64", "k": "int32", "b": "bool"} | ALIKE
    assert holed[0] == {"i": "Int64", "k": "Int32", "b": "boolean"} | ALIKE
    assert holed[1][lacking] == [None]
    assert whole[1]["i"] == [2**53 + 1]


def test_a_rows_dtypes_depend_on_the_row_alone(runner, bits):
    """pandas computes 7 // 0 as inf in int64 and as 0 in Int64; a null in another row does not change which."""

    def divide(frame):
        return pd.DataFrame({"out": (frame["a"] // frame["b"]).astype("Float64")})

    run = runner(divide, {"a": Int64, "b": Int64}, {"out": Float64})
    assert run.run_lists({"a": [7], "b": [0]}, 1) == {"out": [math.inf]}
    assert run.run_lists({"a": [7, None], "b": [0, 0]}, 2) == {"out": [math.inf, None]}


def test_missing_values_look_missing(runner):
    """A missing float, text, time or list is what pandas counts as missing."""

    def look(frame):
        return pd.DataFrame({name: frame[name].isna() for name in TYPES}).rename(columns=lambda name: f"o_{name}")

    run = runner(look, TYPES, {f"o_{name}": Bool for name in TYPES})
    for row, missing in ((FULL, False), (dict.fromkeys(TYPES), True)):
        answer = run.run_lists({name: [value] for name, value in row.items()}, 1)
        assert answer == {f"o_{name}": [missing] for name in TYPES}


def test_lists_come_as_numpy_arrays_of_their_own_dtype(runner):
    """Each list is a numpy array whose dtype depends on that list alone."""
    seen = {}

    def look(frame):
        seen.update({name: [(str(cell.dtype), cell.tolist()) for cell in frame[name]] for name in frame})
        return pd.DataFrame({"out": frame["n"].map(len)})

    types = {"n": Array(Int64), "f": Array(Float32), "b": Array(Bool), "s": Array(String)}
    columns = {"n": [[1, 2], [None], []], "f": [[0.5], [None], []], "b": [[True], [None], []], "s": [["a"], [None], []]}
    assert runner(look, types, {"out": Int64}).run_lists(columns, 3) == {"out": [2, 1, 0]}
    assert seen["n"] == [("int64", [1, 2]), ("object", [None]), ("int64", [])]
    assert [kind for kind, _ in seen["f"]] == ["float32"] * 3
    assert seen["b"] == [("bool", [True]), ("object", [None]), ("bool", [])]
    assert seen["s"] == [("object", ["a"]), ("object", [None]), ("object", [])]


@pytest.mark.parametrize(
    ("declared", "returned", "taken"),
    [
        (Float64, pd.Series([1.5, np.nan]), [1.5, None]),
        (Float64, pd.Series([1, 2]), [1.0, 2.0]),
        (Float64, pd.Series([1.5, None], dtype="Float64"), [1.5, None]),
        (Float64, pd.Series([0, 1], dtype="Int64") / pd.Series([0, 1], dtype="Int64"), [None, 1.0]),
        (Float64, pd.Series([1.5, None], dtype=object), [1.5, None]),
        (Float32, pd.Series([0.1, np.nan]), [0.10000000149011612, None]),
        (Int64, pd.Series([1.0, np.nan]), [1, None]),
        (Int64, pd.Series([2**53 + 1, None], dtype="Int64"), [2**53 + 1, None]),
        (Int64, pd.Series([2**53 + 1, np.nan], dtype=object), [2**53 + 1, None]),
        (Int64, pd.Series([True, False]), [1, 0]),
        (Int64, pd.Series(["a", "b"]).map({"a": 1}), [1, None]),
        (Int32, pd.Series([1, 2], dtype="uint8"), [1, 2]),
        (Bool, pd.Series([True, None], dtype="boolean"), [True, None]),
        (Bool, pd.Series([1, 0]), [True, False]),
        (Bool, pd.Series([True, None], dtype=object), [True, None]),
        (String, pd.Series(["a", None]), ["a", None]),
        (String, pd.Series(["a", None], dtype="string"), ["a", None]),
        (String, pd.Series(["a", None], dtype=object), ["a", None]),
        (String, pd.Series(["a", None], dtype="category"), ["a", None]),
        (Int64, pd.Series([5, 6], dtype="category"), [5, 6]),
        (Int64, pd.arrays.SparseArray([5, 0]), [5, 0]),
        (UnixTimestamp, pd.to_datetime(["2024-01-01", None]), [FULL["t"], None]),
        (UnixTimestamp, pd.to_datetime(["2024-01-01T09:00+09:00", None]), [FULL["t"], None]),
        (UnixTimestamp, pd.Series([FULL["t"], pd.NaT], dtype=object), [FULL["t"], None]),
        (Array(Int64), pd.Series([np.array([1]), None]), [[1], None]),
        (Array(Float64), pd.Series([[1, 2.5], [np.nan]]), [[1.0, 2.5], ["nan"]]),
        (Map, pd.Series([{"a": "b"}, None]), [{"a": "b"}, None]),
        (Bytes, pd.Series([b"a", None]), [b"a", None]),
    ],
)
def test_what_pandas_calls_missing_is_null(runner, declared, returned, taken):
    """NaN, NaT, NA and None are null, and the rest is taken as declared, from every dtype that pandas may return."""

    def constant(frame):
        return pd.DataFrame({"out": returned})

    run = runner(constant, {"a": Int64}, {"out": declared})
    answer = run.run_lists({"a": [1, 2]}, 2)["out"]
    assert str(answer).replace("nan", "'nan'") == str(taken)


def test_rows_are_put_back_by_their_index(runner):
    """Rows that come back in another order, with the index they had, are put back into their order."""

    def sort(frame):
        return pd.DataFrame({"out": frame["a"] * 10}).sort_values("out", ascending=False)

    assert runner(sort, {"a": Int64}, {"out": Int64}).run_lists({"a": [2, 3, 1]}, 3) == {"out": [20, 30, 10]}


def test_inputs_may_come_back(runner):
    """A function may add its columns to the frame it was given and return that."""

    def extend(frame):
        frame["out"] = frame["a"] + 1
        return frame

    assert runner(extend, {"a": Int64, "b": String}, {"out": Int64}).run_lists({"a": [1], "b": ["x"]}, 1) == {
        "out": [2]
    }


def test_an_exception_over_missing_integers_says_what_to_fill(runner):
    """A function that fails over NA is told which columns lack values, and how to fill them."""

    def flag(frame):
        return pd.DataFrame({"out": (frame["a"] > 1).astype(int)})

    run = runner(flag, {"a": Int64, "b": Int64}, {"out": Int64})
    assert run.run_lists({"a": [1, 2], "b": [1, 2]}, 2) == {"out": [0, 1]}
    with pytest.raises(TransformError) as caught:
        run.run_lists({"a": [1, None], "b": [1, 2]}, 2)
    assert str(caught.value) == (
        f"on-demand feature view 'rates': function 'flag' ({__file__}:{flag.__code__.co_firstlineno + 1}) raised "
        "ValueError: cannot convert NA to integer. rows that lack an integer or a bool ('a') come with NA, in dtypes "
        "Int64, Int32 and boolean, in a call of their own; fill them first: frame['a'].fillna(0)"
    )


def test_a_misfit_is_numbered_as_in_the_callers_batch(runner):
    """The row in a message is the row of the batch, although whole and holed rows are called apart."""

    def low(frame):
        return pd.DataFrame({"out": frame["b"]})

    run = runner(low, {"a": Int64, "b": Float64}, {"out": Int64})
    with pytest.raises(TransformError, match=r"holds 1\.5 \(float\) in row 3, which is not a whole number"):
        run.run_lists({"a": [1, None, 3, None], "b": [1.0, 1.0, 1.0, 1.5]}, 4)


ANSWERS = [
    (lambda f: f["a"], "instead of a pandas DataFrame. return series.to_frame('column')"),
    (
        lambda f: {"out": [1, 2, 3]},
        "returned {'out': [1, 2, 3]} (dict) instead of a pandas DataFrame. return pd",
    ),
    (lambda f: None, "returned None (NoneType) instead of a pandas DataFrame"),
    (lambda f: f.rename(columns={"a": "b"}), "did not return the column 'out'; it returned 'b'"),
    (
        lambda f: pd.DataFrame({"out": f["a"], "b": f["a"]}),
        "returned the column 'b', which the schema does not",
    ),
    (lambda f: pd.DataFrame({"out": f["a"], 7: f["a"]}), "returned the column 7, which the schema does not declare"),
    (lambda f: pd.concat([f, f], axis=1).set_axis(["out", "out"], axis=1), "returned the column 'out' 2 times"),
    (lambda f: pd.DataFrame({"out": [1]}), "returned 1 rows for 3. return one row for each row given, in their order"),
    (lambda f: f.rename(columns={"a": "out"}).head(2), "returned 2 rows for 3"),
    (
        lambda f: pd.DataFrame({"out": [1, 2, 3]}, index=[1, 2, 3]),
        "whose index, [1, 2, 3], is not that of the rows given",
    ),
    (lambda f: pd.DataFrame({"out": [1, 2, 3]}, index=[0, 0, 2]), "whose index, [0, 0, 2], is not that of the rows"),
    (lambda f: pd.DataFrame({"out": [1, 2, 3]}, index=list("abc")), "whose index, ['a', 'b', 'c'], is not that of the"),
    (
        lambda f: pd.DataFrame({"out": [1, 2, 3]}, index=pd.Index([2, 0, 1], name="id")),
        "whose index, 'id' [2, 0, 1], is not that of the rows given, 0 to 2. keep the index of the frame given",
    ),
    (
        lambda f: pd.DataFrame({"out": ["1", "2", "3"]}),
        "declared Int64, holds '1' (str) in row 0, which is not a whole",
    ),
    (lambda f: pd.DataFrame({"out": [1, 2, 3.5]}), "holds 3.5 (float) in row 2, which is not a whole number"),
    (lambda f: pd.DataFrame({"out": [1, 2, 2.0**53]}), "in row 2, which is a float from 2**53 on"),
    (lambda f: pd.DataFrame({"out": [1, 2, np.inf]}), "holds inf (float) in row 2, which is not a whole number"),
    (lambda f: pd.DataFrame({"out": pd.to_timedelta([1, 2, 3])}), "(Timedelta) in row 0, which is not a"),
    (lambda f: pd.DataFrame({"out": [1, 2, 3j]}), "in row 0, which is not a whole number"),
    (lambda f: pd.DataFrame({"out": [1, "x", None]}), "holds 'x' (str) in row 1, which is not a whole number"),
    (lambda f: f["gone"], "raised KeyError: 'gone'. correct that line, or let it handle the values it was given"),
]


@pytest.mark.parametrize(("answer", "what"), ANSWERS)
def test_an_answer_of_the_wrong_shape_is_refused_by_name(runner, arrow, answer, what):
    """Every wrong answer is an error that names view, function, file, line, what was returned and the cure."""
    run = runner(answer, {"a": Int64}, {"out": Int64})
    with pytest.raises(TransformError) as online:
        run.run_lists({"a": [1, 2, 3]}, 3)
    place = f"function '<lambda>' ({__file__}:{answer.__code__.co_firstlineno}) "
    assert str(online.value).startswith(f"on-demand feature view 'rates': {place}")
    assert what in str(online.value)
    with pytest.raises(TransformError) as training:
        run.run_arrow(arrow({"a": Int64}, {"a": [1, 2, 3]}), 3)
    assert str(training.value) == str(online.value)


def test_a_time_beyond_the_calendar_is_refused(runner):
    """A time that pandas can hold and Python cannot is refused by name."""

    def shift(frame):
        return pd.DataFrame({"out": frame["t"] + pd.Timedelta(days=3_000_000).as_unit("us")})

    run = runner(shift, {"t": UnixTimestamp}, {"out": UnixTimestamp})
    with pytest.raises(TransformError, match=r"which as timestamp\[us, tz=UTC\] is not a time from year 1 to 9999"):
        run.run_lists({"t": [datetime(9000, 1, 1, tzinfo=UTC)]}, 1)


def test_many_inputs_do_not_fragment_the_frame(runner):
    """A function may add columns to a frame of hundreds without pandas' warning about its memory."""

    def extend(frame):
        frame["out"] = frame["c0"]
        return frame[["out"]]

    types = {f"c{number}": Float64 for number in range(300)}
    assert runner(extend, types, {"out": Float64}).run_lists({name: [1.0] for name in types}, 1) == {"out": [1.0]}
