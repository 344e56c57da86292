"""What windowed features are in a training set (S4-S6), and how an engine hands out the events they are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal as Exact
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from likewise.core.aggregates import aggregate_for, parse_function
from likewise.core.errors import AggregateOverflow, SourceError
from likewise.core.types import (
    Array,
    Decimal,
    FeatureType,
    Float32,
    Float64,
    Int32,
    Int64,
    String,
    UnixTimestamp,
    arrow_type,
)
from likewise.core.windows import Window
from likewise.define.aggregation import ROWS
from likewise.offline.base import CREATED_TIME, EVENT_TIME, ORDER, OfflineEngine, Part, Span
from likewise.plan.scan import Location
from likewise.plan.windows import WindowFeature, WindowInput, WindowJoin, WindowSet
from likewise.testing.offline_case import ALWAYS, DAY, US, OfflineEngineCase, T, join, plan_of, scan, spine, table
from likewise.testing.reference_values import plain_values

LIFETIME = Window(None)
"""The window that takes every event."""


def of(column: str = "v", kind: FeatureType = Int64, where: str = "", reads: Sequence[str] = ()) -> WindowInput:
    """Return an input: a column or an expression, or :data:`~likewise.define.aggregation.ROWS`.

    Example:
        >>> of("amount").columns, of(ROWS).columns
        (('amount',), ())
    """
    read = set(reads) or ({column} if column != ROWS else set())
    return WindowInput(column, where, kind, tuple(sorted(read)))


def windowed(
    location: Location,
    *asked: tuple[str, WindowInput, Window],
    columns: Mapping[str, FeatureType] | None = None,
    types: Sequence[FeatureType | None] = (),
    created: str = "",
) -> WindowJoin:
    """Return windows over a source with the key ``k``; the outputs are ``out_0``, ``out_1`` …

    Args:
        location: the source.
        asked: (function, input, window) of each feature.
        columns: the types of the columns that the inputs read; by default ``v`` is Int64.
        types: what features are declared as; None and what is missing: the function's own type.
        created: the column of created times.
    """
    known = {"v": Int64} if columns is None else columns
    inputs = tuple(dict.fromkeys(given for _, given, _ in asked))
    features = []
    for number, (function, given, window) in enumerate(asked):
        text = str(parse_function(function))
        own = aggregate_for(text, given.type).output
        declared = types[number] if number < len(types) else None
        features.append(WindowFeature(f"w{number}", inputs.index(given), text, window, declared or own))
    read = sorted({name for given in inputs for name in given.columns})
    windows = WindowSet("the_view", inputs, tuple(features), tuple((name, known[name]) for name in read))
    source = scan(location, columns={name: known[name] for name in read}, created=created)
    return WindowJoin(source, windows, ("k",), tuple(f"out_{number}" for number in range(len(asked))))


class WindowTests(OfflineEngineCase):
    """S5 and S6, each with the smallest data that can break it."""

    def answers(
        self, engine: OfflineEngine, asked: pa.Table, windows: WindowJoin, known_by: bool = False
    ) -> list[list[Any]]:
        """Return the values of each windowed feature, after checking the columns' names and types."""
        plan = replace(plan_of(known_by=known_by), windows=(windows,))
        answer = engine.training(plan, asked).read_all()
        assert answer.select(asked.column_names).equals(asked), "the entity rows come back as they are"
        wanted = [(name, arrow_type(f.type)) for name, f in zip(windows.outputs, windows.windows.features, strict=True)]
        found = list(answer.schema)[asked.num_columns :]
        assert [(field.name, field.type) for field in found] == wanted
        return [plain_values(column) for column in answer.columns[asked.num_columns :]]

    def test_a_window_covers_its_new_end_and_not_its_old_one(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """An event counts from its time on, and no longer when the window's length has passed, to the microsecond."""
        source = self.put(tmp_path, a=table(at=[T + 10, T], k=[1, 1], v=[1, 2]))
        asked = spine([T - 1, T, T + 9, T + 10, T + 19, T + 20], k=[1] * 6)
        one = windowed(source, ("sum", of(), Window(10)), ("count", of(), Window(10)))
        assert self.answers(subject, asked, one) == [[None, 2, 2, 1, 1, None], [0, 1, 1, 1, 1, 0]]

    def test_a_slide_aligns_the_old_end_down(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """With a slide the old end is a multiple of it, downwards, also before 1970; the new end stays exact."""
        source = self.put(tmp_path, a=table(at=[-11, -10, -9, 0, 1], k=[1] * 5, v=[1, 2, 4, 8, 16]))
        asked = spine([-1, 0, 9, 10, 11, 20], k=[1] * 6)
        one = windowed(source, ("sum", of(), Window(10, 10)), ("sum", of(), Window(3, 10)))
        assert self.answers(subject, asked, one) == [[7, 12, 28, 16, 16, None], [4, 12, 16, 16, 16, None]]

    def test_a_delay_moves_both_ends(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """With a delay the window is the one that stood that long before."""
        source = self.put(tmp_path, a=table(at=[T, T + 5], k=[1, 1], v=[1, 2]))
        asked = spine([T + 2, T + 3, T + 7, T + 8, T + 12, T + 13, T + 18], k=[1] * 7)
        one = windowed(source, ("sum", of(), Window(10, None, 3)), ("sum", of(), Window(None, None, 3)))
        assert self.answers(subject, asked, one) == [[None, 1, 1, 3, 3, 2, None], [None, 1, 1, 3, 3, 3, 3]]

    def test_windows_longer_than_time(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """A window, a slide or a delay longer than all of time is in order."""
        source = self.put(tmp_path, a=table(at=[-5, T], k=[1, 1], v=[1, 2]))
        far = 1 << 80
        asked = [("sum", of(), each) for each in (Window(far), Window(1, far), Window(1, None, far), LIFETIME)]
        assert self.answers(subject, spine([T], k=[1]), windowed(source, *asked)) == [[3], [2], [None], [3]]

    def test_who_has_no_events(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """A window without events has count 0, all else is null, also of unknown keys; at no time all is null."""
        source = self.put(tmp_path, a=table(at=[T, None, T], k=[1, 1, None], v=[7, 8, 9]))
        asked = spine([T, T + 99, T, T, None, T - 1], k=pa.array([1, 1, 2, None, 1, 1], pa.int64()))
        one = windowed(source, ("count", of(), Window(50)), ("max", of(), Window(50)), ("last_n", of(), Window(50)))
        counts, most, lists = self.answers(subject, asked, one)
        assert counts == [1, 0, 0, 0, None, 0]
        assert most == [7, None, None, None, None, None]
        assert lists == [[7], None, None, None, None, None]

    def test_a_source_without_rows(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """Windows over no events at all, and windows of no entity rows, are in order."""
        empty = table(at=[], k=pa.array([], pa.int64()), v=pa.array([], pa.int64()))
        source = self.put(tmp_path, a=empty)
        one = windowed(source, ("count", of(), Window(1)), ("mean", of(), LIFETIME))
        assert self.answers(subject, spine([T], k=[1]), one) == [[0], [None]]
        assert self.answers(subject, spine([], k=pa.array([], pa.int64())), one) == [[], []]

    def test_nulls_are_ignored(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """A null is no value to any function, but its row is a row."""
        source = self.put(tmp_path, a=table(at=[T, T + 1, T + 2], k=[1] * 3, v=pa.array([None, 5, None], pa.int64())))
        functions = ("count", "first", "last", "last_n", "mean", "count_distinct", "var_pop", "var_samp")
        one = windowed(source, *((name, of(), LIFETIME) for name in functions), ("count", of(ROWS), LIFETIME))
        found = self.answers(subject, spine([T, T + 9], k=[1, 1]), one)
        assert [values[0] for values in found] == [0, None, None, None, None, None, None, None, 1]
        assert [values[1] for values in found] == [1, 5, 5, [5], 5.0, 1, 0.0, None, 3]

    def test_equal_rows_are_several_events(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """Rows that are alike in everything all count."""
        alike = table(at=[T] * 3, k=[1] * 3, v=[5] * 3)
        source = self.put(tmp_path, a=alike, b=alike)
        one = windowed(source, ("sum", of(), Window(1)), ("count", of(ROWS), Window(1)), ("top_k", of(), Window(1)))
        assert self.answers(subject, spine([T], k=[1]), one) == [[30], [6], [[5]]]

    def test_events_of_one_time_are_ranked(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """First and last go by event time, created time and place (S2); no created time is the earliest."""
        source = self.put(
            tmp_path,
            b=table(at=[T, T, T - 1], made=[T + 9, None, T + 99], k=[1] * 3, v=[1, 2, 3]),
            a=table(at=[T, T], made=[T + 9, T + 10], k=[1] * 2, v=[4, 5]),
        )
        names = ("first", "last", "last_n", "last_n(2)", "first_n(2)", "last_distinct_n(3)")
        one = windowed(source, *((name, of(), LIFETIME) for name in names), created="made")
        found = self.answers(subject, spine([T], k=[1]), one)
        assert [values[0] for values in found] == [3, 5, [3, 2, 4, 1, 5], [1, 5], [3, 2], [4, 1, 5]]

    def test_known_by_counts_what_was_known(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """With known_by an event counts from its created time on, whatever the window's delay; none is known."""
        at, made = [T, T + 1, T + 2, T + 3], [T + 8, T + 1, None, T + 5]
        source = self.put(tmp_path, a=table(at=at, made=made, k=[1] * 4, v=[1, 2, 4, 8]))
        asked = spine([T, T + 3, T + 4, T + 5, T + 7, T + 8, T + 14], k=[1] * 7)
        features = [("sum", of(), LIFETIME), ("sum", of(), Window(4)), ("last", of(), Window(9, None, 4))]
        one = windowed(source, *features, created="made")
        known = self.answers(subject, asked, one, known_by=True)
        assert known[0] == [None, 6, 6, 14, 14, 15, 15]
        assert known[1] == [None, 6, 6, 12, None, None, None]
        assert known[2] == [None, None, None, 2, 8, 8, 8]
        assert self.answers(subject, asked, one)[0] == [1, 15, 15, 15, 15, 15, 15]

    def test_expressions_and_conditions(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """An input may be an SQL expression, and count only where an SQL condition is true; null is not true."""
        columns = {"v": Float64, "kind": String}
        kinds = ["in", "out", None, "in"]
        source = self.put(tmp_path, a=table(at=[T] * 4, k=[1] * 4, v=[1.0, 2.0, 4.0, None], kind=kinds))
        doubled = of('"v" * 2', Float64, "", ["v"])
        inside = of("v", Float64, "\"kind\" = 'in'", ["v", "kind"])
        rows = of(ROWS, Int64, "\"kind\" = 'in'", ["kind"])
        initial = of('upper("kind")', String, "", ["kind"])
        asked = [("sum", doubled), ("sum", inside), ("count", rows), ("count", of(ROWS)), ("top_k", initial)]
        one = windowed(source, *((name, given, LIFETIME) for name, given in asked), columns=columns)
        assert self.answers(subject, spine([T], k=[1]), one) == [[14.0], [1.0], [2], [4], [["IN", "OUT"]]]

    def test_an_expression_of_times(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """SQL sees times without a zone, in UTC, and gives them back as such."""
        source = self.put(tmp_path, a=table(at=[T], k=[1], when=pa.array([T], pa.timestamp("us", "Asia/Tokyo"))))
        hour = of('hour("when")', Int64, "", ["when"])
        day = of("date_trunc('day', \"when\")", UnixTimestamp, "", ["when"])
        asked = [("max", hour, LIFETIME), ("max", day, LIFETIME), ("last", of("when", UnixTimestamp), LIFETIME)]
        found = self.answers(subject, spine([T], k=[1]), windowed(source, *asked, columns={"when": UnixTimestamp}))
        assert found == [[22], [T // DAY * DAY], [T]]

    def test_an_expression_that_fails(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """A value that an expression cannot take is an error with a name, not a null."""
        source = self.put(tmp_path, a=table(at=[T], k=[1], v=["x"]))
        number = of('CAST("v" AS INTEGER)', Int32, "", ["v"])
        with pytest.raises(SourceError, match="CAST"):
            self.answers(subject, spine([T], k=[1]), windowed(source, ("sum", number, LIFETIME), columns={"v": String}))

    def test_sums_of_floats_are_exact(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """What leaves a window leaves nothing behind, and no order or size of the values changes the sum."""
        values = [1e16, 1.0, -1e16, 1e-300, 3.0]
        source = self.put(tmp_path, a=table(at=[T + n for n in range(5)], k=[1] * 5, v=values))
        asked = spine([T + 2, T + 3, T + 4, T + 5, T + 9], k=[1] * 5)
        given = of("v", Float64)
        one = windowed(source, ("sum", given, LIFETIME), ("sum", given, Window(2)), columns={"v": Float64})
        assert self.answers(subject, asked, one) == [[1.0, 1.0, 4.0, 4.0, 4.0], [-1e16, -1e16, 3.0, 3.0, None]]

    def test_a_small_variance_around_a_large_mean(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """A variance is that of the values, however far from zero they lie."""
        values = [1e9 + n / 4 for n in (1, 2, 3)]
        source = self.put(tmp_path, a=table(at=[T, T + 1, T + 2], k=[1] * 3, v=values))
        names = ("var_samp", "var_pop", "stddev_samp", "stddev_pop")
        one = windowed(source, *((name, of("v", Float64), Window(3)) for name in names), columns={"v": Float64})
        found = self.answers(subject, spine([T, T + 2, T + 3], k=[1] * 3), one)
        assert found[0] == [None, 0.0625, 0.03125]
        assert found[1] == [0.0, 0.0625 * 2 / 3, 0.015625]
        assert found[2][1:] == [0.25, 0.03125**0.5]
        assert found[3][::2] == [0.0, 0.125]

    @pytest.mark.parametrize("kind", [Int64, Decimal], ids=str)
    def test_a_sum_beyond_its_type(self, subject: OfflineEngine, tmp_path: Path, kind: FeatureType) -> None:
        """A sum that its type does not hold is an error with a name; parts of it that would not fit are no harm."""
        large = 2**63 - 1 if kind is Int64 else 10**20 - 1
        values = pa.array([large, 1, -2]).cast(arrow_type(kind)) if kind is Int64 else _decimals([large, 1, -2])
        source = self.put(tmp_path, a=table(at=[T, T + 1, T + 2], k=[1] * 3, v=values))
        one = windowed(source, ("sum", of("v", kind), LIFETIME), columns={"v": kind})
        assert self.answers(subject, spine([T, T + 2], k=[1, 1]), one)[0] == [large, large - 1]
        with pytest.raises(AggregateOverflow, match=str(large + 1)):
            self.answers(subject, spine([T + 1], k=[1]), one)

    def test_declared_types(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """A feature's declared type is the answer's: floats are rounded to it, what it cannot hold is an error."""
        source = self.put(tmp_path, a=table(at=[T, T + 1], k=[1] * 2, v=[2**30, 2**30 + 1]))
        features = [("mean", of(), LIFETIME), ("sum", of(), LIFETIME), ("count", of(), LIFETIME)]
        one = windowed(source, *features, types=[Float32, Int32, Float64])
        assert self.answers(subject, spine([T], k=[1]), one) == [[2.0**30], [2**30], [1.0]]
        with pytest.raises(AggregateOverflow, match="'w1'"):
            self.answers(subject, spine([T + 1], k=[1]), one)

    def test_windows_beside_joins(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """One plan may ask for as-of joins and several sets of windows; outputs come in this order."""
        source = self.put(tmp_path, a=table(at=[T, T + 1], k=[1, 1], v=[5, 6], text=["a", "b"]))
        first = replace(windowed(source, ("sum", of(), LIFETIME)), outputs=("one",))
        texts = ("last_n", of("text", String), Window(1))
        second = replace(windowed(source, texts, columns={"text": String}), outputs=("two",), spine_keys=("other",))
        plan = replace(plan_of(join(scan(source))), windows=(first, second))
        answer = subject.training(plan, spine([T + 1, T + 1], k=[1, 2], other=[2, 1])).read_all()
        assert answer.column_names == ["t", "k", "other", "out_v", "one", "two"]
        assert [answer[name].to_pylist() for name in ("out_v", "one", "two")] == [[6, None], [11, None], [None, ["b"]]]

    def test_windows_of_a_view_without_keys(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """The events of a view without entities are everybody's."""
        source = self.put(tmp_path, a=table(at=[T, T + 5], v=[1, 2]))
        one = windowed(source, ("sum", of(), Window(5)))
        one = replace(one, scan=replace(one.scan, keys=()), spine_keys=())
        assert self.answers(subject, spine([T + 4, T + 5], k=[1, None]), one) == [[1, 2]]

    def test_lists_of_every_kind_of_value(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """The last values of a column come in a list, whatever its type."""
        given = {"v": pa.array([[1], None, []], pa.list_(pa.int64())), "at": [T, T, T], "k": [1] * 3}
        source = self.put(tmp_path, a=table(given))
        one = windowed(source, ("last_n", of("v", Array(Int64)), LIFETIME), columns={"v": Array(Int64)})
        assert self.answers(subject, spine([T], k=[1]), one) == [[[[1], []]]]

    def test_computing_inputs_of_rows_in_memory(self, subject: OfflineEngine) -> None:
        """The inputs of rows in memory are computed in their order, for a single row as well as for many."""
        inputs = [of(), of(ROWS), of('"v" + 1', Int64, '"v" > 1', ["v"]), of("s", String, '"v" = 1', ["s", "v"])]
        rows = pa.table({"v": [1, 2, None], "s": ["a", "b", "c"]})
        found = [plain_values(column) for column in subject.compute(rows, inputs)]
        assert found == [[1, 2, None], [1, 1, 1], [None, 3, None], ["a", None, None]]
        assert [plain_values(column) for column in subject.compute(rows.slice(1, 1), inputs)] == [[2], [1], [3], [None]]
        assert [len(column) for column in subject.compute(rows.slice(0, 0), inputs)] == [0] * 4

    def test_events_come_by_key_and_rank(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """Events of one key come together, by event time, created time and place, with the windows' inputs."""
        source = self.put(
            tmp_path,
            b=table(at=[T + 1, T, T, None], made=[T, T + 5, None, T], k=["x", "y", "x", "x"], v=[1, 2, 3, 4]),
            a=table(at=[T, T, T], made=[T, None, T], k=["x", "x", None], v=[5, 6, 7]),
        )
        inputs = (of(), of('"v" % 2', Int64, '"v" > 1', ["v"]))
        one = scan(source, keys={"k": String}, created="made")
        batches = list(subject.events(one, inputs, ALWAYS))
        keys_and_times = [("k", pa.string()), (EVENT_TIME, US), (CREATED_TIME, US), (ORDER, pa.int64())]
        assert batches[0].schema == pa.schema([*keys_and_times, ("i0", pa.int64()), ("i1", pa.int64())])
        found = [row for batch in batches for row in zip(*map(plain_values, batch.columns), strict=True)]
        assert sorted(found, key=lambda row: row[0]) == [
            ("x", T, None, 1, 6, 0),
            ("x", T, None, 5, 3, 1),
            ("x", T, T, 0, 5, 1),
            ("x", T + 1, T, 3, 1, None),
            ("y", T, T + 5, 4, 2, 0),
        ]
        assert [row[0] for row in found] in (["x"] * 4 + ["y"], ["y"] + ["x"] * 4)
        assert [len(batch) for batch in subject.events(one, inputs, Span(T + 1, T + 1))] == [1]

    def test_parts_of_events(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """Each key's events are in one part, and all parts together are all events; a part can be asked for again."""
        rows = range(400)
        source = self.put(tmp_path, a=table(at=[T - n for n in rows], k=[n % 37 for n in rows], v=list(rows)))
        parts = []
        for number in (0, 1, 2, 1):
            batches = subject.events(scan(source), (of(),), ALWAYS, Part(number, 3))
            parts.append([row for batch in batches for row in zip(*map(plain_values, batch.columns), strict=True)])
        keys = [{row[0] for row in part} for part in parts]
        assert sum(map(len, keys[:3])) == 37
        assert set.union(*keys) == set(range(37))
        assert sorted(row[-1] for part in parts[:3] for row in part) == list(rows)
        assert parts[1] == parts[3]
        for part in parts:
            turns = list(dict.fromkeys(row[0] for row in part))
            assert part == sorted(part, key=lambda row: (turns.index(row[0]), row[1]))


def _decimals(values: Sequence[int]) -> pa.Array:
    return pa.array([Exact(value) for value in values], arrow_type(Decimal))
