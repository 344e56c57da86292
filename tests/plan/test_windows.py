"""Windows as data: what a view's windows read and compute, told when it is applied, and the plans made of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from likewise import (
    Aggregation,
    BatchFeatureView,
    Entity,
    FeatureService,
    FeatureView,
    Field,
    FileSource,
    PushSource,
    StreamFeatureView,
    ValueType,
)
from likewise.core.aggregates import NAMES
from likewise.core.errors import NotSupported, RepoProblems
from likewise.core.time import EARLIEST, span_micros
from likewise.core.windows import Window
from likewise.define.definition import Definition
from likewise.define.view import WindowedView
from likewise.offline.duckdb_expression import expression_type
from likewise.offline.duckdb_sql import Session
from likewise.offline.schema import common_schema
from likewise.plan.apply import ApplyRequest, plan_apply
from likewise.plan.explain import explain_training
from likewise.plan.lookup import plan_lookup, table_name
from likewise.plan.materialize import Progress, plan_incremental, plan_materialize
from likewise.plan.scan import ScanColumn
from likewise.plan.selection import select
from likewise.plan.training import SpineShape, plan_training
from likewise.plan.windows import WindowFeature, WindowInput, WindowSet, narrowed, window_set
from likewise.registry.codec import decode, encode
from likewise.registry.definitions import Definitions, read_definitions
from likewise.registry.memory import MemoryRegistry
from likewise.types import Array, Bool, Decimal, Float32, Float64, Int32, Int64, String, UnixTimestamp

CARD = Entity(name="card", join_keys=["card_id"], value_type=ValueType.INT64)
ROWS = FileSource(
    name="rows",
    path="rows.parquet",
    timestamp_field="at",
    created_timestamp_column="written",
    field_mapping={"amt": "amount"},
)
COLUMNS = {
    "card_id": pa.int64(),
    "at": pa.timestamp("us"),
    "written": pa.timestamp("us"),
    "amt": pa.float32(),
    "units": pa.int32(),
    "kind": pa.string(),
    "refused": pa.bool_(),
    "price": pa.decimal128(10, 2),
    "odd name": pa.int64(),
    "Units": pa.int64(),
    "length": pa.duration("us"),
}
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass
class Repo:
    """A repo in memory, with one file of events."""

    folder: Path
    registry: MemoryRegistry

    def apply(self, definitions: Sequence[Definition], look: bool = True) -> Definitions:
        """Apply definitions in the place of all that stood, and return what stands."""
        catalog = self.registry.catalog("p")
        read = common_schema if look else lambda location: None
        session = Session(1 << 28, 1, "")
        plan = plan_apply(ApplyRequest(definitions), catalog, str(self.folder), read, partial(expression_type, session))
        return read_definitions(self.registry.commit("p", plan.base, plan.definitions, now=0))


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    """A repo to which nothing was applied."""
    pq.write_table(pa.schema(list(COLUMNS.items())).empty_table(), tmp_path / "rows.parquet")
    return Repo(tmp_path, MemoryRegistry())


def view(*aggregations: Aggregation, **more: Any) -> BatchFeatureView:
    """A windowed view over the file."""
    given = {"name": "cards", "source": ROWS, "entities": [CARD], "online": True, **more}
    return BatchFeatureView(**given, aggregations=aggregations)


def windowed(known: Definitions, name: str = "cards") -> WindowedView:
    """A windowed view among definitions."""
    found = known.view(name)
    assert isinstance(found, WindowedView)
    return found


def applied(repo: Repo, definition: Definition) -> WindowedView:
    """A view as it is after applying, read back from the registry."""
    return windowed(repo.apply([definition]), definition.name)


def refused(repo: Repo, *definitions: Definition) -> list[str]:
    """What is wrong with definitions, each with the place and the cure; nothing is applied."""
    with pytest.raises(RepoProblems) as error:
        repo.apply(definitions)
    assert repo.registry.catalog("p").number == 0
    assert all(problem.file.endswith("test_windows.py") and problem.line for problem in error.value.problems)
    return [f"{problem.what}. {problem.cure}" for problem in error.value.problems]


def test_a_view_says_what_its_windows_read_and_compute(repo: Repo) -> None:
    """Inputs are shared, typed and written in one way; features keep the order of the view."""
    found = window_set(
        applied(
            repo,
            view(
                Aggregation("amount", "SUM", HOUR, name="spent"),
                Aggregation("amount", "avg", DAY, HOUR, delay=timedelta(minutes=5)),
                Aggregation("*", "count", None),
                Aggregation("amount * 2", "last_n(3)", HOUR, name="last", where="kind = 'buy' and units > 0"),
                Aggregation('"odd name"', "max", HOUR, name="odd"),
            ),
        )
    )
    assert found == WindowSet(
        "cards",
        (
            WindowInput("amount", "", Float32, ("amount",)),
            WindowInput("*", "", Int64),
            WindowInput('"amount" * 2', '"kind" = \'buy\' and "units" > 0', Float32, ("amount", "kind", "units")),
            WindowInput("odd name", "", Int64, ("odd name",)),
        ),
        (
            WindowFeature("spent", 0, "sum", Window(3_600_000_000), Float64),
            WindowFeature("avg_amount_86400s", 0, "mean", Window(86_400_000_000, 3_600_000_000, 300_000_000), Float64),
            WindowFeature("count_rows", 1, "count", Window(None), Int64),
            WindowFeature("last", 2, "last_n(3)", Window(3_600_000_000), Array(Float32)),
            WindowFeature("odd", 3, "max", Window(3_600_000_000), Int64),
        ),
        (("amount", Float32), ("kind", String), ("odd name", Int64), ("units", Int32)),
        found.origin,
    )


BAD: dict[str, tuple[Sequence[Aggregation], str]] = {
    "function": ([Aggregation("amount", "summ", HOUR)], "'summ' is not known. did you mean 'sum'?"),
    "number of a function": ([Aggregation("amount", "last_n(0)", HOUR)], "give last_n a whole number from 1"),
    "column": ([Aggregation("amont", "sum", HOUR)], "there is no column 'amont'. did you mean 'amount'?"),
    "column of the file": ([Aggregation("amt", "sum", HOUR)], "there is no column 'amt'. did you mean"),
    "column of a condition": (
        [Aggregation("amount", "sum", HOUR, where="knd = 'buy'")],
        "there is no column 'knd'. did you mean 'kind'?",
    ),
    "zero window": ([Aggregation("amount", "sum", timedelta(0))], "time_window=0:00:00 is not positive"),
    "negative window": ([Aggregation("amount", "sum", -HOUR)], "time_window=-1 day, 23:00:00 is not positive"),
    "zero slide": ([Aggregation("amount", "sum", HOUR, timedelta(0))], "slide_interval=0:00:00 is not positive"),
    "negative slide": ([Aggregation("amount", "sum", HOUR, -HOUR)], "slide_interval=-1 day, 23:00:00 is not positive"),
    "slide over window": (
        [Aggregation("amount", "sum", HOUR, DAY)],
        "slide_interval=1 day, 0:00:00 is longer than time_window=1:00:00. give a slide_interval of at most the window",
    ),
    "zero delay": ([Aggregation("amount", "sum", HOUR, delay=timedelta(0))], "delay=0:00:00 is not positive. leave it"),
    "negative delay": ([Aggregation("amount", "sum", HOUR, delay=-HOUR)], "delay=-1 day, 23:00:00 is not positive"),
    "longer than all time": ([Aggregation("amount", "sum", timedelta.max)], "is longer than all time"),
    "type": ([Aggregation("kind", "sum", HOUR)], "sum does not take String. it takes integers, floats, decimals"),
    "type of an expression": ([Aggregation("kind || '!'", "mean", HOUR, name="n")], "mean does not take String"),
    "column without a type": ([Aggregation("length", "count", HOUR)], "column 'length': no feature type holds"),
    "rows that are summed": ([Aggregation("*", "sum", HOUR)], "'*' stands for rows, which can only be counted"),
    "no expression": ([Aggregation("amount +", "sum", HOUR, name="n")], "'amount +' does not parse as SQL"),
    "chance": ([Aggregation("amount * random()", "sum", HOUR, name="n")], "is not deterministic: 'random'"),
    "the clock": ([Aggregation("amount", "sum", HOUR, where="at > now()")], "is not deterministic: 'now'"),
    "an aggregate": ([Aggregation("sum(amount)", "sum", HOUR, name="n")], "it aggregates rows"),
    "values that do not go": (
        [Aggregation("kind - 1", "sum", HOUR, name="n", where="kind + true")],
        "cannot be computed:",
    ),
    "no condition": (
        [Aggregation("amount", "sum", HOUR, where="units")],
        "where='units' is no condition: it gives Int32",
    ),
    "no name": ([Aggregation("amount * 2", "sum", HOUR)], "the feature 'sum_amount * 2_3600s', which cannot be a name"),
    "the name of a key": ([Aggregation("amount", "sum", HOUR, name="card_id")], "'card_id', which is a key or a time"),
    "the name of a time": ([Aggregation("amount", "sum", HOUR, name="at")], "'at', which is a key or a time"),
    "a name that is taken": ([Aggregation("amount", "sum", HOUR, name="entity_df")], "cannot be named 'entity_df'"),
    "one name twice": (
        [Aggregation("amount", "sum", HOUR), Aggregation("amount", "sum", HOUR, where="units > 1")],
        "two aggregations make the feature 'sum_amount_3600s'",
    ),
    "names that differ in case": (
        [Aggregation("units", "sum", HOUR), Aggregation("Units", "sum", HOUR)],
        "read the columns 'Units' and 'units', which differ only in case",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_window_that_cannot_be_is_refused_by_name(repo: Repo, case: str) -> None:
    """It is named with its place in the file and a cure before anything is stored."""
    aggregations, wanted = BAD[case]
    found = refused(repo, view(*aggregations))
    assert len(found) == 1, found
    assert wanted in found[0]


def test_all_that_is_wrong_with_windows_is_listed_at_once(repo: Repo) -> None:
    """Faults of one aggregation do not hide those of another, nor the schema's."""
    found = refused(
        repo,
        view(
            Aggregation("amont", "sum", HOUR, name="a"),
            Aggregation("amount", "summ", HOUR, name="b"),
            Aggregation("kind", "mean", HOUR, name="c"),
            Aggregation("amount", "sum", HOUR, DAY, name="d", where="now() > at"),
            schema=[
                Field("a", Float64),
                Field("b", Float64),
                Field("c", Float64),
                Field("d", String),
                Field("e", Int64),
            ],
        ),
    )
    assert [wanted for wanted in ("'amont'", "'summ'", "mean does not", "slide", "feature 'e'") if wanted in str(found)]
    assert len(found) == 5


DECLARED = {
    "sum of Float32 as Float32": (Aggregation("amount", "sum", HOUR, name="f"), Float32, ""),
    "sum of Int32 as Int32": (Aggregation("units", "sum", HOUR, name="f"), Int32, ""),
    "count as Float64": (Aggregation("units", "count", HOUR, name="f"), Float64, ""),
    "sum of Decimal as Float64": (Aggregation("price", "sum", HOUR, name="f"), Float64, ""),
    "sum of Decimal as Decimal": (Aggregation("price", "sum", HOUR, name="f"), Decimal, ""),
    "last time": (Aggregation("at", "last", HOUR, name="f"), UnixTimestamp, ""),
    "last of text as text": (Aggregation("kind", "last", HOUR, name="f"), String, ""),
    "top of text": (Aggregation("kind", "top_k(3)", HOUR, name="f"), Array(String), ""),
    "mean as Int64": (
        Aggregation("units", "mean", HOUR, name="f"),
        Int64,
        "is declared Int64, but mean of Int32 gives Float64",
    ),
    "sum of floats as Int64": (Aggregation("amount", "sum", HOUR, name="f"), Int64, "declare it Float64"),
    "count as String": (Aggregation("units", "count", HOUR, name="f"), String, "is declared String"),
    "first bool as Int64": (Aggregation("refused", "first", HOUR, name="f"), Int64, "gives Bool"),
    "last_n of text as text": (Aggregation("kind", "last_n", HOUR, name="f"), String, "gives Array(String)"),
}


@pytest.mark.parametrize("case", DECLARED)
def test_a_declared_type_counts_where_it_holds_the_functions_values(repo: Repo, case: str) -> None:
    """Numbers go into wider families of numbers, everything else only into its own type."""
    aggregation, declared, wrong = DECLARED[case]
    made = view(aggregation, schema=[Field("f", declared)])
    if wrong:
        [found] = refused(repo, made)
        assert wrong in found
    else:
        assert [feature.type for feature in window_set(applied(repo, made)).features] == [declared]


def test_every_function_has_a_type_for_some_column(repo: Repo) -> None:
    """Whatever functions there are, a view without a schema gets fields of their types."""
    found = applied(repo, view(*(Aggregation("units", name, HOUR, name=name) for name in NAMES)))
    assert [field.name for field in found.features] == list(NAMES)
    assert {field.name: field.dtype for field in found.features if field.name in ("count", "mean", "last_n")} == {
        "count": Int64,
        "mean": Float64,
        "last_n": Array(Int32),
    }


def test_times_and_keys_can_be_read(repo: Repo) -> None:
    """They have the types that they count as: a key its entity's, times UnixTimestamp."""
    keys = Aggregation("card_id", "count_distinct", HOUR, name="keys")
    hours = Aggregation("hour(at)", "count_distinct", HOUR, name="hours", where="written - at > interval 1 hour")
    found = window_set(applied(repo, view(keys, hours)))
    assert found.columns == (("at", UnixTimestamp), ("card_id", Int64), ("written", UnixTimestamp))
    assert [each.type for each in found.inputs] == [Int64, Int64]


def test_types_of_rows_that_no_file_shows_are_told_otherwise(repo: Repo) -> None:
    """By the push source, by inputs, or by a feature whose function keeps the type; else they are asked for."""
    total, best = Aggregation("amount", "mean", HOUR, name="m"), Aggregation("score", "max", HOUR, name="best")
    given: dict[str, Any] = {
        "entities": [CARD],
        "aggregations": [total, best],
        "schema": [Field("m", Float64), Field("best", Int32)],
    }
    named = PushSource("live", timestamp_field="at", schema=[Field("amount", Float32)])
    found = applied(repo, StreamFeatureView("v", named, **given))
    assert found.inputs == [Field("amount", Float32), Field("score", Int32)]
    bare = PushSource("live", timestamp_field="at")
    found = applied(repo, StreamFeatureView("v", bare, **given, inputs=[Field("amount", Float64)]))
    assert found.inputs == [Field("amount", Float64), Field("score", Int32)]
    with pytest.raises(RepoProblems, match=r"the type of the column 'cents' cannot be told. list it: inputs=\["):
        repo.apply([StreamFeatureView("v", bare, entities=[CARD], aggregations=[Aggregation("cents", "sum", HOUR)])])


def test_a_repo_that_is_applied_without_a_look_at_files_keeps_the_types(repo: Repo) -> None:
    """What was told once is not asked for again."""
    made = view(Aggregation("amount * units", "sum", HOUR, name="s"))
    before = window_set(applied(repo, made))
    (repo.folder / "rows.parquet").unlink()
    assert window_set(windowed(repo.apply([made], look=False))) == before


def test_inputs_that_the_source_does_not_hold_are_refused(repo: Repo) -> None:
    """A declared input is checked against the files like a feature."""
    spent = Aggregation("amount", "sum", HOUR)
    wrong = refused(repo, view(spent, inputs=[Field("amount", Bool), Field("gone", Int64)]))
    assert "'amount' of its inputs is Bool, but column 'amt' holds float" in wrong[0]
    assert "its source has no column 'gone'" in wrong[1]
    found = applied(repo, view(spent, inputs=[Field("amount", Float64, "what was paid")]))
    assert found.inputs == [Field("amount", Float64, "what was paid")]


def test_windows_come_back_from_the_registry_as_they_were_applied(repo: Repo) -> None:
    """Types of inputs and of expressions are stored with the view."""
    found = applied(repo, view(Aggregation("amount / units", "sum", HOUR, name="s", where="kind <> ''")))
    stored = encode(found)
    assert stored["inputs"] == [
        {"name": "amount", "type": "Float32"},
        {"name": "kind", "type": "String"},
        {"name": "units", "type": "Int32"},
    ]
    assert stored["derived"] == {"amount / units": found.derived["amount / units"].name}
    [back] = decode([encode(each) for each in [CARD, ROWS, found]]).views
    assert isinstance(back, WindowedView)
    assert window_set(back) == window_set(found)
    assert encode(back) == stored


def test_a_view_stored_before_windows_were_computed_is_still_read(repo: Repo) -> None:
    """Its data comes back as it was; its windows are refused by name, until it is applied again."""
    old = {"kind": "batch_feature_view", "name": "cards", "source": "rows", "entities": ["card"], "mode": "python"}
    hour = {"column": "amount", "function": "sum", "time_window": 3_600_000_000, "delay": 0}
    [back] = decode([encode(CARD), encode(ROWS), {**old, "aggregations": [hour]}]).views
    assert encode(back) == {**old, "aggregations": [hour]}
    assert isinstance(back, WindowedView)
    assert table_name("p", back).startswith("p/cards@")
    with pytest.raises(NotSupported, match="did not compute its windows"):
        window_set(back)


def test_the_hash_tells_what_is_computed(repo: Repo) -> None:
    """Another name, function, window, type, condition or column is another hash, and so another table."""
    spent = Aggregation("amount", "sum", DAY, HOUR, "spent", HOUR, "units > 0")
    changes: list[dict[str, Any]] = [
        {},
        {"name": "paid"},
        {"function": "mean"},
        {"time_window": 2 * DAY},
        {"slide_interval": None},
        {"delay": None},
        {"where": ""},
        {"where": "units > 1"},
        {"column": "units"},
    ]
    views = [applied(repo, view(replace(spent, **change))) for change in changes]
    views.append(applied(repo, view(spent, schema=[Field("spent", Float32)])))
    views.append(applied(repo, view(spent, inputs=[Field("amount", Float64)])))
    moved = FileSource(name="rows", path="rows.parquet", timestamp_field="at", field_mapping={"price": "amount"})
    views.append(applied(repo, view(spent, source=moved, inputs=[Field("amount", Float32)])))
    assert len({window_set(each).hash for each in views}) == len(views)
    assert len({table_name("p", each) for each in views}) == len(views)


def test_hashes_are_stable() -> None:
    """States that are stored under a hash are found again by later versions."""
    amount = WindowInput("amount", "", Float64, ("amount",))
    derived = WindowInput('"amount" * 2', "\"kind\" = 'buy'", Float64, ("amount", "kind"))
    features = (
        WindowFeature("a", 0, "sum", Window(3_600_000_000), Float64),
        WindowFeature("b", 1, "last_n(3)", Window(None, None, 60), Array(Float64)),
    )
    whole = WindowSet("v", (amount, derived), features, (("amount", Float64), ("kind", String)))
    assert whole.hash == "a5b9a3d02219e5bcf76a5932deedeb4c8993ac44af69abe6ee6da589d740750f"
    assert replace(whole, view="other").hash == whole.hash


def test_the_longest_window_counts_its_slide_and_delay() -> None:
    """The oldest event that can count lies that far back; a whole life has no limit."""
    amount = (WindowInput("amount", "", Float64, ("amount",)),)
    one = WindowFeature("a", 0, "sum", Window(100, 30, 7), Float64)
    two = WindowFeature("b", 0, "sum", Window(120), Float64)
    assert WindowSet("v", amount, (one, two)).longest == 137
    assert WindowSet("v", amount, (two,)).longest == 120
    assert WindowSet("v", amount, (one, replace(two, window=Window(None)))).longest is None


def test_a_narrowed_set_keeps_only_what_its_features_need(repo: Repo) -> None:
    """In the order asked for; inputs and columns that nobody reads are gone."""
    whole = window_set(
        applied(
            repo,
            view(
                Aggregation("amount", "sum", HOUR, name="a"),
                Aggregation("kind", "last", HOUR, name="b"),
                Aggregation("units", "max", HOUR, name="c", where="kind = 'buy'"),
            ),
        )
    )
    assert narrowed(whole, ["a", "b", "c"]) == whole
    found = narrowed(whole, ["c", "a"])
    assert [(feature.name, found.inputs[feature.input].expression) for feature in found.features] == [
        ("c", "units"),
        ("a", "amount"),
    ]
    assert narrowed(whole, ["b"]).columns == (("kind", String),)


def plain() -> FeatureView:
    """A view without windows over the same rows."""
    return FeatureView(name="last", source=ROWS, entities=[CARD], schema=[Field("kind", String)])


def test_a_training_plan_computes_windows_beside_joins(repo: Repo) -> None:
    """A window join reads just the columns that the features asked for need, as the files call them."""
    cards = view(
        Aggregation("amount", "sum", HOUR, name="spent", where="units > 0"),
        Aggregation("kind", "last", DAY, HOUR, name="kind_1d", delay=HOUR),
        Aggregation("*", "count", None, name="ever"),
    )
    known = repo.apply([cards, plain()])
    asked = select(known, ["cards:ever", "last:kind", "cards:spent"], full_feature_names=False)
    plan = plan_training(known, asked, SpineShape(("card", "event_timestamp"), "event_timestamp"), "/repo")
    assert [join.scan.view for join in plan.joins] == ["last"]
    [join] = plan.windows
    assert [feature.name for feature in join.windows.features] == ["ever", "spent"]
    assert join.windows == narrowed(window_set(windowed(known)), ["ever", "spent"])
    assert join.scan.columns == (ScanColumn("amt", Float32), ScanColumn("units", Int32))
    assert (join.scan.time, join.scan.created, join.spine_keys) == ("at", "written", ("card",))
    outputs = [*(name for each in plan.joins for name in each.outputs), *join.outputs]
    assert len(set(outputs)) == 3
    assert [name for _, name, _ in plan.features] == ["ever", "kind", "spent"]
    assert [kind for _, _, kind in plan.features] == [Int64, String, Float64]
    assert {column for column, _, _ in plan.features} == set(outputs)


def test_a_training_plan_is_explained_with_each_window(repo: Repo) -> None:
    """Function, input, condition and which events count, in words."""
    cards = view(
        Aggregation("amount", "sum", DAY, HOUR, name="spent", where="units > 0", delay=timedelta(minutes=5)),
        Aggregation("*", "count", None, name="ever"),
    )
    known = repo.apply([cards])
    asked = select(known, ["cards"], full_feature_names=False)
    spine = SpineShape(("card_id", "t"), "t")
    plan = plan_training(known, asked, spine, "/repo", known_by=True)
    assert list(explain_training(plan, 2, {"cards": "0123456789abcdef"}).lines[:-1]) == [
        "aggregate view 'cards' (definition 0123456789ab) on card_id",
        "  read at, amt, units of rows.parquet",
        '  spent = sum of amount where "units" > 0, events after t - 5 minutes - 1 day, down to a multiple of 1 hour,'
        " up to t - 5 minutes that was created (written) by then",
        "  ever = count of *, events up to t that was created (written) by then",
    ]


def test_a_lookup_plan_reads_the_states_of_all_windows(repo: Repo) -> None:
    """The records are laid out by the whole set, in the order of the view, and no ttl makes their values old."""
    both = [Aggregation("amount", "sum", HOUR, name="a"), Aggregation("units", "max", HOUR, name="b")]
    known = repo.apply([view(*both, ttl=HOUR), plain()])
    plan = plan_lookup(known, select(known, ["cards:b", "last:kind"], full_feature_names=False))
    [cards, last] = plan.reads
    assert cards.windows == window_set(windowed(known))
    assert [feature.name for feature in cards.windows.features] == list(cards.names) == ["a", "b"]
    assert (cards.wanted, cards.ttl, cards.table) == (("b",), None, table_name("p", windowed(known)))
    assert (last.windows, last.ttl) == (None, None)


END = span_micros(datetime(2024, 3, 1) - datetime(1970, 1, 1))


def test_a_materialization_begins_where_the_longest_window_does(repo: Repo) -> None:
    """Whatever is asked for, all rows that count at the end are read; more are where more is asked for."""
    cards = applied(
        repo,
        view(
            Aggregation("amount", "sum", DAY, HOUR, name="a", delay=HOUR), Aggregation("units", "max", HOUR, name="b")
        ),
    )
    reach = span_micros(DAY + 2 * HOUR)
    plan = plan_materialize("p", cards, "/repo", END - 5, END)
    assert (plan.start, plan.end) == (END - reach, END)
    assert plan.why == "as asked for, and back to what its windows need at the end"
    assert plan.windows == window_set(cards)
    assert plan.scan.columns == (ScanColumn("amt", Float32), ScanColumn("units", Int32))
    assert (plan.names, plan.types) == (("a", "b"), (Float64, Int32))
    early = plan_materialize("p", cards, "/repo", END - 2 * reach, END)
    assert (early.start, early.why) == (END - 2 * reach, "as asked for")
    assert plan_materialize("p", cards, "/repo", EARLIEST, EARLIEST).start == EARLIEST


def test_an_incremental_materialization_of_windows_reads_what_they_reach(repo: Repo) -> None:
    """Each time anew, for the batch's part is replaced; a whole life takes all history."""
    cards = applied(repo, view(Aggregation("amount", "sum", HOUR, name="a")))
    first = plan_incremental("p", cards, "/repo", Progress(None, ""), END)
    assert (first.start, first.why, first.anew) == (END - span_micros(HOUR), "first run: what its windows reach", True)
    again = plan_incremental("p", cards, "/repo", Progress(END - 5, first.definition), END)
    assert (again.start, again.why, again.anew) == (first.start, "what its windows reach", True)
    changed = plan_incremental("p", cards, "/repo", Progress(END - 5, "other"), END)
    assert changed.why == "its definition changed: what its windows reach"
    life = applied(repo, view(Aggregation("amount", "sum", name="a")))
    plan = plan_incremental("p", life, "/repo", Progress(None, ""), END)
    assert (plan.start, plan.why) == (EARLIEST, "first run: all history, as it has a window without limit")
    assert plan.definition != first.definition


def test_feasts_tiling_changes_nothing_that_is_computed(repo: Repo) -> None:
    """``enable_tiling`` and ``tiling_hop_size`` are kept and shown; how states are stored is not theirs to say."""
    made = Aggregation("amount", "sum", DAY, name="a")
    without = applied(repo, view(made))
    tiled = applied(repo, view(made, enable_tiling=True, tiling_hop_size=HOUR))
    assert window_set(tiled) == window_set(without)
    assert table_name("p", tiled) == table_name("p", without)
    assert dict(tiled.summary())["tiling_hop_size"] == "1 hour"


def test_parts_of_a_view_have_the_windows_of_the_whole() -> None:
    """Names that are given by position do not depend on which features a part has."""
    both = [Aggregation("a", "count", HOUR), Aggregation("a", "sum", HOUR)]
    schema = [Field("n", Int64), Field("total", Float64)]
    whole = view(*both, schema=schema, inputs=[Field("a", Float64)])
    part = whole[["total"]]
    assert isinstance(part, WindowedView)
    assert [field.name for field in part.features] == ["total"]
    assert window_set(part) == window_set(whole)


def test_a_service_may_read_windows_that_no_schema_lists(repo: Repo) -> None:
    """A window makes its feature whether it is declared or not; a name that nothing makes is refused."""
    cards = view(
        Aggregation("amount", "sum", HOUR, name="a"),
        Aggregation("units", "max", HOUR, name="b"),
        schema=[Field("a", Float64)],
    )
    known = repo.apply([FeatureService("s", [cards[["b"]]]), cards])
    assert [field.name for field in windowed(known).features] == ["a", "b"]
    asked = select(known, known.service("s"), full_feature_names=False)
    assert [pick.name for pick in asked.picks] == ["b"]
    assert "has no feature 'c'. known: 'a', 'b'" in refused(Repo(repo.folder, MemoryRegistry()), cards[["c"]])[0]
