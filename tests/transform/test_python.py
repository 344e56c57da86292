import math

import numpy as np
import pytest

from likewise.core.errors import TransformError
from likewise.core.types import Array, Float64, Int64, Set, String


def place_of(function, line=0):
    """Return where a function is, as messages say it; with ``line``, so many lines below its start."""
    return f"function {function.__name__!r} ({__file__}:{function.__code__.co_firstlineno + line})"


def failure(run, columns, rows):
    """Return the error of an online read, having checked that training gives the same one."""
    with pytest.raises(TransformError) as online:
        run.run_lists(columns, rows)
    return online.value


def test_nan_stays_nan_and_none_is_null(runner):
    """In mode python NaN is a number and None is null."""

    def both(columns):
        return {"out": [math.nan, None]}

    first, second = runner(both, {"a": Int64}, {"out": Float64}, "python").run_lists({"a": [1, 2]}, 2)["out"]
    assert math.isnan(first)
    assert second is None


@pytest.mark.parametrize("answer", [(1, 2), np.array([1, 2]), np.array([1.0, 2.0])], ids=["tuple", "ints", "floats"])
def test_a_column_may_be_a_tuple_or_a_numpy_array(runner, answer):
    """A list, a tuple and a numpy array are all columns."""

    def constant(columns):
        return {"out": answer}

    assert runner(constant, {"a": Int64}, {"out": Int64}, "python").run_lists({"a": [0, 0]}, 2) == {"out": [1, 2]}


def test_inputs_may_come_back(runner):
    """An input that a function returns as well is left out of the answer, as Feast's users are used to."""

    def extend(columns):
        columns["out"] = columns["a"]
        return columns

    run = runner(extend, {"a": Int64, "b": Int64}, {"out": Int64}, "python")
    assert run.run_lists({"a": [1], "b": [2]}, 1) == {"out": [1]}


def test_an_exception_names_the_failing_line_and_is_chained(runner):
    """An exception in a function names the function, its file and the failing line, and keeps the traceback."""

    def divide(columns):
        whole = columns["a"]
        return {"out": [1 / value for value in whole]}

    error = failure(runner(divide, {"a": Int64}, {"out": Float64}, "python"), {"a": [0]}, 1)
    assert str(error) == (
        f"on-demand feature view 'rates': {place_of(divide, 2)} raised ZeroDivisionError: division by zero. "
        "correct that line, or let it handle the values it was given"
    )
    assert isinstance(error.__cause__, ZeroDivisionError)


def test_an_exception_in_a_helper_of_the_same_file_names_the_helpers_line(runner):
    """The deepest line in the function's own file is named."""

    def helper(value):
        return [][value]

    def calls(columns):
        return {"out": [helper(value) for value in columns["a"]]}

    error = failure(runner(calls, {"a": Int64}, {"out": Int64}, "python"), {"a": [7]}, 1)
    line = helper.__code__.co_firstlineno + 1
    assert f"function 'calls' ({__file__}:{line}) raised IndexError: list index out of range" in str(error)


def test_an_exception_for_one_row_names_the_row(runner):
    """A singleton's exception says for which row it was raised."""

    def divide(row):
        return {"out": 1 / row["a"]}

    error = failure(runner(divide, {"a": Int64}, {"out": Float64}, "python", True), {"a": [1, 2, 0]}, 3)
    assert f"{place_of(divide, 1)} raised ZeroDivisionError: division by zero for row 2" in str(error)


ANSWERS = [
    ({"a": [1, 2]}, False, "did not return the column 'out'; it returned 'a'. return every column"),
    ({}, False, "did not return the column 'out'; it returned no columns"),
    (
        {"out": [1, 2], "more": [1, 2]},
        False,
        "returned the column 'more', which the schema does not declare. add it",
    ),
    (
        {"out": [1]},
        False,
        "returned 1 rows in the column 'out' for 2. return one row for each row given, in their order",
    ),
    (
        {"out": 5},
        False,
        "returned 5 (int) instead of a list for the column 'out'. return a list with one value for each",
    ),
    ({"out": "ab"}, False, "returned 'ab' (str) instead of a list for the column 'out'"),
    ([1, 2], False, "returned [1, 2] (list) instead of a dict of lists. return {'column'"),
    (None, False, "returned None (NoneType) instead of a dict of lists"),
    ({"out": [1, "x"]}, False, "returned 'out', declared Int64, holds 'x' (str) in row 1, which is not a whole number"),
    (
        {"out": [1, 2**63]},
        False,
        "holds 9223372036854775808 (int) in row 1, which is out of range. return whole numbers",
    ),
    ({"out": [1, math.nan]}, False, "holds nan (float) in row 1, which is not a whole number"),
    ({"out": [1, float(2**60)]}, False, "which is a float from 2**53 on, which may have lost its last digits"),
    ({"more": 1}, True, "did not return the column 'out'; it returned 'more'"),
    ({"out": 1, "more": 1}, True, "returned the column 'more', which the schema does not declare"),
    (
        {"out": [1]},
        True,
        "returned [1] (list) instead of one value of Int64 for the column 'out'. return the value itself",
    ),
    (7, True, "returned 7 (int) instead of a dict of values"),
    ({"out": "x"}, True, "holds 'x' (str) in row 0, which is not a whole number"),
]


@pytest.mark.parametrize(("answer", "singleton", "what"), ANSWERS)
def test_an_answer_of_the_wrong_shape_is_refused_by_name(runner, arrow, answer, singleton, what):
    """Every wrong answer is an error that names view, function, file, line, what was returned and the cure."""

    def wrong(given):
        return answer

    run = runner(wrong, {"a": Int64}, {"out": Int64}, "python", singleton)
    error = failure(run, {"a": [1, 2]}, 2)
    assert str(error).startswith(f"on-demand feature view 'rates': {place_of(wrong)} ")
    assert what in str(error)
    assert error.cure
    with pytest.raises(TransformError) as training:
        run.run_arrow(arrow({"a": Int64}, {"a": [1, 2]}), 2)
    assert str(training.value) == str(error)


@pytest.mark.parametrize(
    ("declared", "answer", "taken"),
    [(Array(Int64), [1], [1]), (Set(String), {"b", "a"}, {"a", "b"})],
    ids=["list", "set"],
)
def test_a_singleton_returns_a_list_where_one_is_declared(runner, declared, answer, taken):
    """For a declared list or set, a singleton's value is a list or a set."""

    def constant(row):
        return {"out": answer}

    assert runner(constant, {"a": Int64}, {"out": declared}, "python", True).run_lists({"a": [1]}, 1) == {
        "out": [taken]
    }


def test_a_lambda_and_a_wrapped_function_are_named_too(runner):
    """A lambda's error names its line."""
    fails = lambda columns: {"out": columns["b"]}  # noqa: E731
    error = failure(runner(fails, {"a": Int64}, {"out": Int64}, "python"), {"a": [1]}, 1)
    assert f"{place_of(fails)} raised KeyError: 'b'" in str(error)


@pytest.mark.parametrize(("declared", "rows"), [(Int64, [1, 2]), (Array(Int64), [[1], [2]])], ids=str)
def test_a_singleton_may_return_the_same_dict_again(runner, declared, rows):
    """A function that fills one dict over and over gives each row its own values."""
    out = {"out": [0]}

    def refill(row):
        if declared is Int64:
            out["out"] = row["a"]
        else:
            out["out"][0] = row["a"]
        return out

    run = runner(refill, {"a": Int64}, {"out": declared}, "python", True)
    assert run.run_lists({"a": [1, 2]}, 2) == {"out": rows}
