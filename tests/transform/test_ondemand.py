import datetime
import math
import subprocess
import sys
import threading
import uuid
import warnings
from datetime import UTC
from decimal import Decimal as Number

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from likewise.core.errors import NotSupported, RequestDataMissing, RequestError
from likewise.core.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
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
from likewise.define.field import Field
from likewise.define.source import RequestSource
from likewise.define.transform import OnDemandFeatureView
from likewise.transform.column import Column
from likewise.transform.ondemand import OnDemandRunner

# Functions that give back what they are given, one for each mode; each input "x" comes back as "o_x".


def echo_pandas(frame):
    """Give back a pandas frame."""
    return frame.rename(columns=lambda name: f"o_{name}")


def echo_lists(columns):
    """Give back lists."""
    return {f"o_{name}": values for name, values in columns.items()}


def echo_row(row):
    """Give back one row."""
    return {f"o_{name}": value for name, value in row.items()}


def echo_polars(frame):
    """Give back a polars frame."""
    return frame.rename({name: f"o_{name}" for name in frame.columns})


ECHOES = [
    pytest.param(echo_pandas, "pandas", False, id="pandas"),
    pytest.param(echo_lists, "python", False, id="python"),
    pytest.param(echo_row, "python", True, id="singleton"),
    pytest.param(echo_polars, "polars", False, id="polars"),
]

# Functions of one arithmetic, one for each mode, whose rows do not see one another.

INPUTS = {"a": Int64, "b": Int32, "x": Float64, "y": Float32, "s": String, "t": UnixTimestamp, "on": Bool}
OUTPUTS = {"total": Int64, "rate": Float64, "more": Bool, "scaled": Float32, "label": String, "day": Int32, "off": Bool}


def features_pandas(frame):
    """Compute OUTPUTS in pandas."""
    out = pd.DataFrame(index=frame.index)
    out["total"] = frame["a"] + frame["b"].fillna(7)
    out["rate"] = frame["a"] / frame["b"]
    out["more"] = frame["x"] > 0.5
    out["scaled"] = frame["y"] * 0.1
    out["label"] = frame["s"].str.upper() + "!"
    out["day"] = frame["t"].dt.day
    out["off"] = ~frame["on"]
    return out


def features_row(row):
    """Compute OUTPUTS of one row."""
    return {
        "total": None if row["a"] is None else row["a"] + (7 if row["b"] is None else row["b"]),
        "rate": row["a"] / row["b"] if row["a"] is not None and row["b"] else None,
        "more": row["x"] is not None and row["x"] > 0.5,
        "scaled": None if row["y"] is None else row["y"] * 0.1,
        "label": None if row["s"] is None else row["s"].upper() + "!",
        "day": None if row["t"] is None else row["t"].day,
        "off": None if row["on"] is None else not row["on"],
    }


def features_lists(columns):
    """Compute OUTPUTS of lists."""
    rows = [features_row(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
    return {name: [row[name] for row in rows] for name in rows[0]}


def features_polars(frame):
    """Compute OUTPUTS in polars."""
    return frame.select(
        total=pl.col("a") + pl.col("b").fill_null(7),
        rate=pl.col("a") / pl.col("b"),
        more=pl.col("x") > 0.5,
        scaled=pl.col("y") * 0.1,
        label=pl.col("s").str.to_uppercase() + "!",
        day=pl.col("t").dt.day(),
        off=~pl.col("on"),
    )


FEATURES = [
    pytest.param(features_pandas, "pandas", False, id="pandas"),
    pytest.param(features_lists, "python", False, id="python"),
    pytest.param(features_row, "python", True, id="singleton"),
    pytest.param(features_polars, "polars", False, id="polars"),
]

# Generated values, with the edges that are easy to lose.

WHOLE = st.sampled_from([0, 1, -1, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)]) | st.integers(
    -(2**63), 2**63 - 1
)
SMALL = st.sampled_from([0, 1, 2**31 - 1, -(2**31)]) | st.integers(-(2**31), 2**31 - 1)
WIDE = st.floats() | st.sampled_from([0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324, 2.0**53])
NARROW = st.floats(width=32)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
TIMES = st.datetimes(timezones=st.just(UTC))
SAFE = st.integers(-(2**61), 2**61)  # whose sums fit

ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "a": st.none() | SAFE,
            "b": st.none() | SMALL,
            "x": st.none() | WIDE,
            "y": st.none() | NARROW,
            "s": st.none() | TEXT,
            "t": st.none() | TIMES,
            "on": st.none() | st.booleans(),
        }
    ),
    min_size=1,
    max_size=8,
)
VALUES = {
    Int64: ("whole", WHOLE),
    Int32: ("small", SMALL),
    Float64: ("wide", WIDE),
    Float32: ("narrow", NARROW),
    Bool: ("on", st.booleans()),
    String: ("text", TEXT),
    Bytes: ("raw", st.binary(max_size=4)),
    UnixTimestamp: ("time", TIMES),
    Uuid: ("uuid", st.uuids().map(str)),
    Decimal: ("decimal", st.integers(-(10**22), 10**22).map(lambda number: plain(Number(number) / 1000))),
    Map: ("map", st.dictionaries(TEXT, TEXT, max_size=2)),
    Array(Int64): ("wholes", st.lists(WHOLE, max_size=3)),
    Array(String): ("texts", st.lists(TEXT | st.none(), max_size=3)),
    Array(Float32): ("narrows", st.lists(NARROW, max_size=3)),
    Array(UnixTimestamp): ("times", st.lists(TIMES | st.none(), max_size=2)),
    Array(Array(Bool)): ("nested", st.lists(st.none() | st.lists(st.none() | st.booleans(), max_size=2), max_size=2)),
    Set(Int64): ("set", st.sets(WHOLE, max_size=3).map(sorted)),
    Struct({"n": Int64, "tags": Array(String)}): (
        "struct",
        st.fixed_dictionaries({"n": WHOLE | st.none(), "tags": st.none() | st.lists(TEXT, max_size=2)}),
    ),
}
"""Each type, the name of a column of it, and values in the one form they have as Python values."""


def plain(number):
    """Write a decimal number without trailing zeros and without an exponent."""
    return Number(f"{number:f}".rstrip("0").rstrip(".") if number % 1 else f"{number:.0f}") if number else Number(0)


def columns_of(rows, names):
    """Turn rows into columns."""
    return {name: [row[name] for row in rows] for name in names}


def lists_of(columns, types):
    """Turn Arrow columns into Python values."""
    return {name: Column(name, declared).to_lists(columns[name]) for name, declared in types.items()}


@pytest.mark.parametrize(("function", "mode", "singleton"), ECHOES)
@given(rows=st.lists(st.fixed_dictionaries({n: st.none() | v for n, v in VALUES.values()}), min_size=1, max_size=4))
def test_every_value_passes_through_every_mode_unchanged(runner, arrow, bits, function, mode, singleton, rows):
    """A function that gives back its inputs gives back the same types and bits, in training and online alike."""
    types = {name: declared for declared, (name, _) in VALUES.items()}
    returned = {f"o_{name}": declared for name, declared in types.items()}
    run = runner(function, types, returned, mode, singleton)
    columns = columns_of(rows, types)
    pairs = [value and list(value.items()) for value in columns["map"]]
    trained = run.run_arrow(arrow(types, columns | {"map": pairs}), len(rows))
    online = run.run_lists(columns, len(rows))
    for name in ("uuid", "set"):  # which a function sees as text and as a sorted list
        online[f"o_{name}"] = Column(name, types[name]).lists(online[f"o_{name}"])
    assert bits(lists_of(trained, returned)) == bits(online)
    for name in ("wide", "narrow"):
        if mode == "pandas":  # which does not tell NaN from null
            columns[name] = [value if value == value else None for value in columns[name]]
    assert bits({name.removeprefix("o_"): values for name, values in online.items()}) == bits(columns)


@pytest.mark.parametrize(("function", "mode", "singleton"), FEATURES)
@given(rows=ROWS)
def test_training_and_serving_compute_the_same_bits(runner, arrow, bits, function, mode, singleton, rows):
    """The same rows give bit-identical values from Arrow columns and from lists."""
    run = runner(function, INPUTS, OUTPUTS, mode, singleton)
    columns = columns_of(rows, INPUTS)
    trained = run.run_arrow(arrow(INPUTS, columns), len(rows))
    assert {name: column.type for name, column in trained.items()} == {n: arrow_type(t) for n, t in OUTPUTS.items()}
    assert bits(lists_of(trained, OUTPUTS)) == bits(run.run_lists(columns, len(rows)))


@pytest.mark.parametrize(("function", "mode", "singleton"), FEATURES)
@given(rows=ROWS, data=st.data())
def test_rows_never_see_one_another(runner, arrow, bits, function, mode, singleton, rows, data):
    """However a batch is cut into calls, in whatever order, each row gets the same bits."""
    run = runner(function, INPUTS, OUTPUTS, mode, singleton)
    whole = run.run_lists(columns_of(rows, INPUTS), len(rows))
    order = data.draw(st.permutations(range(len(rows))))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(rows)), max_size=4)) | {len(rows)})
    start = 0
    for end in cuts:
        part = order[start:end]
        columns = columns_of([rows[i] for i in part], INPUTS)
        expected = bits({name: [values[i] for i in part] for name, values in whole.items()})
        assert bits(run.run_lists(columns, len(part))) == expected
        assert bits(lists_of(run.run_arrow(arrow(INPUTS, columns), len(part)), OUTPUTS)) == expected
        start = end


@pytest.mark.parametrize(("function", "mode", "singleton"), FEATURES)
def test_arrow_columns_come_in_any_layout(runner, arrow, function, mode, singleton):
    """Chunked, sliced and differently typed Arrow columns with the same values give the same answer."""
    run = runner(function, INPUTS, OUTPUTS, mode, singleton)
    moment = datetime.datetime(2024, 2, 29, tzinfo=UTC)
    values = {"a": 3, "b": 2, "x": 1.0, "y": 0.5, "s": "k", "t": moment, "on": True}
    columns = {name: [value, value, None] for name, value in values.items()}
    plain = arrow(INPUTS, columns)
    chunked = {name: pa.chunked_array([column.slice(0, 1), column.slice(1)]) for name, column in plain.items()}
    sliced = {name: pa.concat_arrays([column, column]).slice(3) for name, column in plain.items()}
    other = plain | {
        "a": plain["a"].cast(pa.float64()),
        "b": plain["b"].cast(pa.int8()),
        "x": pa.array([1, 1, None]),
        "y": plain["y"].cast(pa.float64()),
        "s": plain["s"].dictionary_encode(),
        "t": plain["t"].cast(pa.timestamp("ns", tz="Asia/Tokyo")),
    }
    expected = run.run_arrow(plain, 3)
    for columns in (chunked, sliced, other):
        assert run.run_arrow(columns, 3) == expected


@pytest.mark.parametrize(("function", "mode", "singleton"), ECHOES)
def test_no_rows_call_no_function(runner, function, mode, singleton):
    """For no rows the function is not called, and the answer has the declared types."""

    def refuse(given):
        raise AssertionError("called")

    run = runner(refuse, {"a": Int64}, {"b": Array(Float32)}, mode, singleton)
    assert run.run_lists({"a": []}, 0) == {"b": []}
    assert run.run_arrow({"a": pa.array([], pa.null())}, 0) == {"b": pa.array([], pa.list_(pa.float32()))}


# A function cannot change what it was given for others.


def spoil_pandas(frame):
    """Write over a pandas frame in every way."""
    frame.loc[0, "a"] = 99
    frame["x"] += 1
    frame["n"].iloc[0][:] = 0
    frame["s"] = "spoiled"
    return pd.DataFrame({"out": frame["a"]})


def spoil_lists(columns):
    """Write over lists in every way."""
    columns["a"][0] = 99
    columns["n"][0].clear()
    out = columns["a"]
    columns.clear()
    return {"out": out}


def spoil_row(row):
    """Write over one row in every way."""
    row["a"] = 99
    row["n"].clear()
    return {"out": row["a"]}


def spoil_polars(frame):
    """Write over a polars frame."""
    frame[0, "a"] = 99
    return frame.select(out="a")


@pytest.mark.parametrize(
    ("function", "mode", "singleton"),
    [
        (spoil_pandas, "pandas", False),
        (spoil_lists, "python", False),
        (spoil_row, "python", True),
        (spoil_polars, "polars", False),
    ],
)
def test_a_function_cannot_change_the_columns_it_is_given(runner, arrow, function, mode, singleton):
    """Whatever a function does to its argument, the caller's columns stay as they were."""
    types = {"a": Int64, "x": Float64, "s": String, "n": Array(Int64)}
    columns = {"a": [1, 2], "x": [0.5, 1.5], "s": ["p", "q"], "n": [[1, 2], [3]]}
    before = {name: list(map(str, values)) for name, values in columns.items()}
    run = runner(function, types, {"out": Int64}, mode, singleton)
    batch = arrow(types, columns)
    assert run.run_arrow(batch, 2)["out"][0].as_py() == 99
    assert run.run_lists(columns, 2)["out"][0] == 99
    assert {name: list(map(str, values)) for name, values in columns.items()} == before
    assert batch == arrow(types, columns)


def test_an_answer_shares_nothing_with_what_the_function_keeps(runner):
    """Changing an answer does not change the list that the function returned."""
    kept = [[1, 2]]

    def constant(columns):
        return {"out": kept}

    run = runner(constant, {"a": Int64}, {"out": Array(Int64)}, "python")
    run.run_lists({"a": [1]}, 1)["out"][0].append(3)
    assert kept == [[1, 2]]


# What goes in.


def double(columns):
    """Return twice what is given."""
    return {"out": [None if value is None else value * 2 for value in columns["a"]]}


@pytest.mark.parametrize(
    ("declared", "given_value", "taken"),
    [
        (Float64, 3, 6.0),
        (Float32, 0.1, 0.20000000298023224),
        (Int64, 3.0, 6),
        (Int64, np.int16(3), 6),
        (Int64, math.nan, None),
        (Int64, True, 2),
        (String, np.str_("k"), "kk"),
        (Bytes, bytearray(b"k"), b"kk"),
    ],
)
def test_request_values_are_taken_to_the_declared_type(runner, bits, declared, given_value, taken):
    """A request value in another form than declared is the declared value, online and in training."""
    run = runner(double, {"a": declared}, {"out": declared}, "python")
    expected = Column("out", declared).lists([taken])
    assert bits(run.run_lists({"a": [given_value]}, 1)["out"]) == bits(expected)
    if not isinstance(given_value, bytearray):
        trained = run.run_arrow({"a": pa.array([given_value])}, 1)["out"]
        assert bits(lists_of({"out": trained}, {"out": declared})["out"]) == bits(expected)


@pytest.mark.parametrize(
    ("declared", "value", "why"),
    [
        (Int64, 1.5, "'a', declared Int64, holds 1.5 (float) in row 1, which is not a whole number"),
        (Int64, 2**63, "is out of range"),
        (Int64, "7", "'a', declared Int64, holds '7' (str) in row 1, which is not a whole number. give whole numbers"),
        (Float64, "7", "is not a number"),
        (Bool, "yes", "is neither true nor false"),
        (String, 7, "is not text"),
        (UnixTimestamp, 7, "is not a time"),
        (Uuid, "7", "is not a UUID"),
        (Array(Int64), 7, "is not a list"),
    ],
)
def test_a_request_value_of_another_type_is_refused_by_name(runner, declared, value, why):
    """A request value that is not of the declared type is an error that says column, row, value and cure."""
    run = runner(double, {"a": declared}, {"out": declared}, "python")
    with pytest.raises(RequestError) as online:
        run.run_lists({"a": [None, value]}, 2)
    assert str(online.value).startswith("on-demand feature view 'rates': the input 'a', declared")
    assert why in str(online.value)
    if value != 2**63:
        with pytest.raises(RequestError) as training:
            run.run_arrow({"a": pa.array([None, value])}, 2)
        assert str(training.value) == str(online.value)


def test_an_input_that_is_not_given_is_refused_by_name(runner):
    """A missing input is named."""
    run = runner(double, {"a": Int64}, {"out": Int64}, "python")
    with pytest.raises(RequestDataMissing, match="'rates' needs the input 'a', which was not given"):
        run.run_lists({"b": [1]}, 1)


def test_an_input_of_another_length_is_refused_by_name(runner):
    """An input with more or fewer values than rows is named."""
    run = runner(double, {"a": Int64}, {"out": Int64}, "python")
    with pytest.raises(RequestError, match="the input 'a' has 2 values for 3 rows"):
        run.run_lists({"a": [1, 2]}, 3)


def test_columns_that_are_no_input_stay_out(runner):
    """The function gets its declared inputs, in their order, and nothing else."""
    seen = []

    def look(columns):
        seen.append(list(columns))
        return {"out": columns["b"]}

    run = runner(look, {"b": Int64, "a": Int64}, {"out": Int64}, "python")
    run.run_lists({"a": [1], "b": [2], "c": [3]}, 1)
    assert seen == [["b", "a"]]


# The rest.


def test_warnings_of_a_function_pass_through(runner):
    """A warning raised inside a function reaches the caller as it is."""

    def divide(frame):
        return pd.DataFrame({"out": frame["a"].to_numpy() / 0.0})

    run = runner(divide, {"a": Float64}, {"out": Float64})
    with pytest.warns(RuntimeWarning, match="divide by zero") as caught:
        assert run.run_lists({"a": [1.0]}, 1) == {"out": [math.inf]}
    assert caught[0].filename == __file__


def test_taking_values_warns_of_nothing(runner):
    """Overflow, NaN and infinities in what a function returns raise no warnings of our own."""

    def edges(frame):
        return pd.DataFrame({"out": [1e300, math.nan, math.inf]})

    run = runner(edges, {"a": Float64}, {"out": Float64})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run.run_lists({"a": [1.0, 2.0, 3.0]}, 3) == {"out": [1e300, None, math.inf]}


def test_one_runner_serves_many_threads(runner):
    """Calls from many threads at once do not meet."""
    run = runner(features_pandas, INPUTS, OUTPUTS)
    wrong = []

    def work(number):
        row = {"a": number, "b": 1, "x": 0.0, "y": 0.0, "s": str(number), "t": None, "on": number % 2 == 0}
        for _ in range(20):
            answer = run.run_lists({name: [value] for name, value in row.items()}, 1)
            if (answer["total"], answer["label"]) != ([number + 1], [f"{number}!"]):
                wrong.append(answer)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_mode_that_nobody_computes_is_refused_by_name():
    """A mode that is not known is an error that lists the known ones."""
    view = OnDemandFeatureView(
        "v", [RequestSource("r", [Field("a", Int64)])], [Field("b", Int64)], echo_row, "substrait"
    )
    with pytest.raises(NotSupported, match=r"mode='substrait' is not computed\. use one of pandas, python, polars"):
        OnDemandRunner(view, echo_row, [("a", Int64)])


WITHOUT_POLARS = """
import sys
sys.modules["polars"] = None
from likewise.core.errors import BackendMissing
from likewise.core.types import Int64
from likewise.define.field import Field
from likewise.define.source import RequestSource
from likewise.define.transform import OnDemandFeatureView
from likewise.transform.ondemand import OnDemandRunner
from json import dumps
view = OnDemandFeatureView("v", [RequestSource("r", [Field("a", Int64)])], [Field("b", Int64)], dumps, "polars")
try:
    OnDemandRunner(view, dumps, [("a", Int64)])
except BackendMissing as error:
    print(error)
"""


def test_a_missing_polars_says_what_to_install():
    """Without polars, mode polars says the exact command that installs it."""
    done = subprocess.run([sys.executable, "-c", WITHOUT_POLARS], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == (
        "on-demand feature view 'v': mode='polars' needs polars, which is not installed. "
        'pip install "likewise[polars]"'
    )


def test_a_mode_imports_only_its_own_library():
    """A view in mode python loads neither pandas nor polars."""
    code = WITHOUT_POLARS.replace('"polars"', '"python"').replace('sys.modules["python"] = None', "")
    code += "\nassert not {'pandas', 'polars'} & set(sys.modules)\n"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_uuid_is_text_in_its_plain_form(runner):
    """A UUID in any spelling is the lower-case text to a function and in training, and an object in online answers."""
    run = runner(echo_lists, {"v": Uuid}, {"o_v": Uuid}, "python")
    plain = "0000000a-0000-0000-0000-000000000000"
    assert run.run_lists({"v": [uuid.UUID(plain), plain.upper()]}, 2) == {"o_v": [uuid.UUID(plain)] * 2}
    assert run.run_arrow({"v": pa.array([plain.upper(), plain])}, 2)["o_v"].to_pylist() == [plain, plain]
