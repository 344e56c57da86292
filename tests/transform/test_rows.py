"""Functions of batch and stream views: what they are given, what is taken of what they return, and what is refused."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from likewise.core.errors import NotSupported, SourceDrift, TransformError
from likewise.core.types import Array, Bool, Float64, Int64, String, UnixTimestamp
from likewise.offline.duckdb import DuckDBEngine
from likewise.plan.scan import Derivation, GivenRows, ScanColumn
from likewise.transform.rows import RowsRunner

AT = datetime(2024, 1, 1, tzinfo=UTC)
GIVEN = {"user": Int64, "at": UnixTimestamp, "amount": Float64, "count": Int64, "ok": Bool, "city": String}
ROWS = {"user": [1, 2], "at": [AT, AT], "amount": [1.5, None], "count": [3, 4], "ok": [True, False], "city": ["a", "b"]}
HERE = __file__


def runner(function, mode, outputs, given=(GIVEN,), is_open=False):
    """Return what runs a function of tables with the given columns, whose rows have a user and a time."""
    sources = tuple(
        GivenRows(f"t{number}", tuple(ScanColumn(*column) for column in columns.items()), None)
        for number, columns in enumerate(given)
    )
    outputs = {"user": Int64, "at": UnixTimestamp, **outputs}
    columns = tuple(ScanColumn(*column) for column in outputs.items())
    text = "f" if function is not None else ""
    plan = Derivation("v", "batch feature view 'v'", mode, text, sources, ("user",), ("at",), columns, is_open)
    return RowsRunner(plan, function, DuckDBEngine().query)


def table(rows=ROWS):
    """Return rows as the function's source has them."""
    from likewise.core.types import arrow_type

    return pa.table({name: pa.array(values, arrow_type(GIVEN[name])) for name, values in rows.items()})


def run(function, mode, outputs, rows=ROWS, **more):
    """Run a function on rows, and return what comes of it as Python values."""
    return runner(function, mode, outputs, **more).run([table(rows).to_reader()]).read_all().to_pydict()


def fails(function, mode, outputs=None, **more):
    """Return the message of a function that fails."""
    with pytest.raises(TransformError) as caught:
        run(function, mode, outputs or {"twice": Float64}, **more)
    return str(caught.value)


def twice_pandas(df):
    """Double a column in pandas."""
    df["twice"] = df["amount"] * 2
    return df


def twice_polars(df):
    """Double a column in polars."""
    return df.lazy().with_columns((pl.col("amount") * 2).alias("twice"))


def twice_python(rows):
    """Double a column in Python."""
    return {**rows, "twice": [None if amount is None else amount * 2 for amount in rows["amount"]]}


def twice_sql(rows):
    """Double a column in SQL."""
    return f"SELECT *, amount * 2 AS twice FROM {rows}"


TWICE = {"pandas": twice_pandas, "polars": twice_polars, "python": twice_python, "sql": twice_sql}


@pytest.mark.parametrize("mode", TWICE)
def test_each_mode_computes_from_all_rows(mode):
    """Keys, times and declared columns are taken of what is returned; columns of the source may stand beside them."""
    found = run(TWICE[mode], mode, {"twice": Float64})
    assert found == {"user": [1, 2], "at": [AT, AT], "twice": [3.0, None]}


@pytest.mark.parametrize("mode", TWICE)
def test_no_rows_come_as_no_rows(mode):
    """A function may be given no rows; it is called all the same, and none come of them."""
    found = run(TWICE[mode], mode, {"twice": Float64}, {name: [] for name in ROWS})
    assert found == {"user": [], "at": [], "twice": []}


@pytest.mark.parametrize("mode", TWICE)
def test_the_types_of_what_is_returned_can_be_told(mode):
    """Where no schema says them, the types of what a function returns come of its values."""
    schema = runner(TWICE[mode], mode, {}).infer([table().to_reader()])
    assert schema.field("twice").type == pa.float64()
    assert schema.field("user").type == pa.int64()
    assert pa.types.is_timestamp(schema.field("at").type)


@pytest.mark.parametrize("mode", TWICE)
def test_declared_types_hold_for_what_is_returned(mode):
    """A value that the declared type does not hold is refused, with column, row and value; others are converted."""
    with pytest.raises(TransformError, match=r"returned 'twice', declared Int64, holds 3\.5 .*in row 0"):
        run(TWICE[mode], mode, {"twice": Int64}, {**ROWS, "amount": [1.75, None]})
    assert run(TWICE[mode], mode, {"twice": Int64}, {**ROWS, "amount": [1.5, None]})["twice"] == [3, None]


def test_pandas_dtypes_do_not_depend_on_the_rows():
    """Integers and bools come nullable whether or not one is missing, so a push computes just as a source."""
    seen = []

    def look(df):
        seen.append({name: str(dtype) for name, dtype in df.dtypes.items()})
        return df

    run(look, "pandas", {})
    run(look, "pandas", {}, {**ROWS, "count": [None, 4], "ok": [None, None]})
    run(look, "pandas", {}, {name: [] for name in ROWS})
    assert seen[0] == seen[1] == seen[2]
    assert (seen[0]["count"], seen[0]["ok"]) == ("Int64", "boolean")
    assert seen[0]["at"] == "datetime64[us, UTC]"


def test_a_function_cannot_change_its_source():
    """What a function does to the columns it is given is not seen in the rows it was given them from."""
    rows = table()

    def spoil(df):
        df["amount"] = 0.0
        df.loc[:, "count"] = 9
        return df

    runner(spoil, "pandas", {}).run([rows.to_reader()]).read_all()
    assert rows.to_pydict() == ROWS


def test_a_function_may_see_all_rows_and_change_their_number():
    """Rows may be dropped, added and put in another order; the index of a frame counts for nothing."""

    def kept(df):
        return df[df["count"] > df["count"].mean()].assign(rank=1)

    assert run(kept, "pandas", {"rank": Int64}) == {"user": [2], "at": [AT], "rank": [1]}


def test_sql_may_read_its_table_more_than_once():
    """A query is given a table, not a stream: what it reads twice is there twice."""

    def share(rows):
        return f'SELECT "user", "at", "count" / (SELECT sum("count") FROM {rows}) AS share FROM {rows}'

    assert run(share, "sql", {"share": Float64})["share"] == [3 / 7, 4 / 7]


def test_sums_of_integers_in_sql_are_integers():
    """DuckDB's wide sums are taken as Int64, also where no schema says so."""

    def total(rows):
        return f'SELECT "user", "at", sum("count") OVER () AS total FROM {rows}'

    assert run(total, "sql", {"total": Int64})["total"] == [7, 7]
    assert runner(total, "sql", {}).infer([table().to_reader()]).field("total").type == pa.int64()


def test_sql_keeps_the_order_of_rows():
    """Rows of a query without an order come in the order of the table, so ties end as they do in files (S2)."""
    many = {name: values * 50_000 for name, values in ROWS.items()} | {"count": list(range(100_000))}
    found = run(lambda rows: f'SELECT "user", "at", "count" AS place FROM {rows}', "sql", {"place": Int64}, many)
    assert found["place"] == list(range(100_000))


def test_sql_reads_nothing_else():
    """A query over tables cannot read files."""
    message = fails(lambda rows: f"SELECT * FROM read_text('{HERE}')", "sql")
    assert "returned a query that does not run" in message
    assert "Permission" in message or "disabled" in message


def test_errors_of_the_rows_come_out_as_what_they_are():
    """What is wrong with a source is no fault of the query that reads it."""

    def broken():
        yield from table().to_batches()
        raise SourceDrift("the source is broken")

    reader = pa.RecordBatchReader.from_batches(table().schema, broken())
    with pytest.raises(SourceDrift, match="the source is broken"):
        runner(twice_sql, "sql", {"twice": Float64}).run([reader]).read_all()


def test_several_sources_come_as_several_arguments():
    """A function of two views is given the rows of both, in their order."""

    def joined(left, right):
        return left.merge(right[["user", "city"]], on="user", suffixes=("", "_there"))

    def queried(left, right):
        return f'SELECT l.*, r.city AS city_there FROM {left} l JOIN {right} r USING ("user")'

    for mode, function in (("pandas", joined), ("sql", queried)):
        made = runner(function, mode, {"city_there": String}, given=(GIVEN, GIVEN))
        found = made.run([table().to_reader(), table().to_reader()]).read_all().to_pydict()
        assert found["city_there"] == ["a", "b"]


def test_rows_without_a_function_pass():
    """A view of another view has that one's rows, in its own types."""
    found = run(None, "", {"count": Float64})
    assert found == {"user": [1, 2], "at": [AT, AT], "count": [3.0, 4.0]}


def raising(df):
    """Ask for a column that is not there."""
    raise KeyError("amuont")


def test_what_a_function_raises_names_it_and_its_line():
    """The error says function, file and line, and what the function is given."""
    line = raising.__code__.co_firstlineno + 2
    message = fails(raising, "pandas")
    assert f"batch feature view 'v': function 'raising' ({HERE}:{line}) raised KeyError: 'amuont'" in message
    assert "it is given a pandas DataFrame with the columns 'user', 'at', 'amount'" in message


def lost(columns):
    """Return a function that loses some columns."""

    def function(df):
        return df[[name for name in df.columns if name not in columns]].assign(twice=1.0)

    return function


def test_lost_keys_and_times_are_refused():
    """Rows without their key or their time are nobody's, and are refused by the column's name."""
    assert "did not return the column 'user', a key; it returned 'at'" in fails(lost(["user"]), "pandas")
    assert "did not return the column 'at', a time of its rows" in fails(lost(["at"]), "pandas")
    assert "reset_index() turns an index into columns" in fails(
        lambda df: df.groupby(["user", "at"])[["amount"]].sum().rename(columns={"amount": "twice"}), "pandas"
    )


def test_columns_that_are_missing_or_not_declared_are_refused():
    """What the schema declares has to come, and what comes has to be declared, unless windows read only part of it."""
    assert "did not return the column 'twice'" in fails(lambda df: df, "pandas")
    extra = fails(lambda df: df.assign(twice=1.0, thrice=2.0), "pandas")
    assert "returned the column 'thrice', which the schema does not declare" in extra
    assert run(lambda df: df.assign(x=1.0, y=2.0), "pandas", {"x": Float64}, is_open=True)["x"] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("mode", "function", "said"),
    [
        ("pandas", lambda df: None, "returned None (NoneType) instead of a pandas DataFrame"),
        ("pandas", lambda df: df["amount"], "returned a Series instead of a pandas DataFrame"),
        ("pandas", lambda df: pd.concat([df, df["amount"]], axis=1), "returned two columns named 'amount'"),
        ("polars", lambda df: df["amount"], "returned a Series instead of a polars DataFrame"),
        ("polars", lambda df: df.lazy().select(pl.col("nothing")), "raised ColumnNotFoundError"),
        ("python", lambda rows: [1], "returned [1] (list) instead of a dict of lists"),
        (
            "python",
            lambda rows: {**rows, "twice": 2.0},
            "returned 2.0 (float) instead of a list for the column 'twice'",
        ),
        ("python", lambda rows: {**rows, "twice": [1.0]}, "returned lists of different lengths"),
        ("sql", lambda rows: 5, "returned 5 (int) instead of the text of a query"),
        ("sql", lambda rows: "SELEC 1", "returned a query that does not run"),
        ("sql", lambda rows: f"DROP TABLE {rows}", "is not one SQL query"),
        ("sql", lambda rows: f"SELECT *, error('no') AS twice FROM {rows}", "cannot run: Invalid Input Error: no"),
    ],
)
def test_answers_of_the_wrong_kind_are_refused(mode, function, said):
    """What is not the mode's kind of rows is refused, with what it was."""
    assert said in fails(function, mode)


def test_lists_and_text_come_through_every_mode():
    """Columns that are no numbers are given and taken as well."""
    one = {"user": Int64, "at": UnixTimestamp, "tags": Array(String)}
    rows = pa.table(
        {"user": [1, 2], "at": pa.array([AT, AT], pa.timestamp("us", tz="UTC")), "tags": [["x", "y"], None]}
    )
    same = {
        "pandas": lambda df: df,
        "polars": lambda df: df,
        "python": lambda d: d,
        "sql": lambda t: f"SELECT * FROM {t}",
    }
    for mode, function in same.items():
        made = runner(function, mode, {"tags": Array(String)}, given=(one,))
        assert made.run([rows.to_reader()]).read_all().to_pydict()["tags"] == [["x", "y"], None]


def test_numpy_arrays_are_lists():
    """A function in mode python may return numpy arrays."""
    found = run(lambda rows: {**rows, "twice": np.array(rows["count"]) * 2}, "python", {"twice": Int64})
    assert found["twice"] == [6, 8]


def test_a_type_that_cannot_be_told_is_refused():
    """Values of several types have no type to infer."""
    made = runner(lambda rows: {**rows, "odd": [1, "a"]}, "python", {})
    with pytest.raises(TransformError, match=r"returned the column 'odd', whose type cannot be told.*declare it"):
        made.infer([table().to_reader()])


def test_other_modes_are_refused():
    """A mode that is not run is refused by name."""
    with pytest.raises(NotSupported, match="mode='spark' is not run"):
        runner(twice_pandas, "spark", {})
