"""OfflineEngineSuite: what an offline engine must pass; a backend proves itself with a subclass of a few lines.

::

    from likewise.testing.offline_suite import OfflineEngineSuite

    class TestMyEngine(OfflineEngineSuite):
        def engine(self):
            return MyEngine()

Where the engine does not read the local disk, override ``store`` and ``stored`` too: they put files where it reads
them and look at them, around the engine. Tests by hand come from the classes below, each with one theme; this module
adds the generated ones, which compare the engine with the oracle, and say how many cases they tried. They are short in
a normal run and search longer in a soak (:func:`likewise.testing.strategies.examples`).
"""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from collections.abc import Iterator
from functools import cmp_to_key
from pathlib import Path
from typing import Any

import pyarrow as pa

from likewise.core.errors import AggregateOverflow, BackendMissing
from likewise.core.types import arrow_type
from likewise.offline.base import OfflineEngine, Part, Span
from likewise.plan.scan import Location
from likewise.testing import oracle
from likewise.testing.offline_asof import AnswerTests, AsOfTests
from likewise.testing.offline_case import latest, rows
from likewise.testing.offline_drift import DamageTests, DriftTests
from likewise.testing.offline_reads import AppendTests, QueryTests, ReadTests
from likewise.testing.offline_values import FormatTests, TimeTests, ValueTests
from likewise.testing.offline_windows import WindowTests
from likewise.testing.reference_values import plain_values
from likewise.testing.strategies import History, TrainingCase, examples, histories, soaking, training_cases
from likewise.testing.values import exact, exact_all
from likewise.testing.window_strategies import WindowCase, window_cases

try:
    import pytest
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st
except ImportError as missing:
    raise BackendMissing("the suites need pytest and hypothesis", cure='pip install "likewise[testing]"') from missing

__all__ = ["OfflineEngineSuite"]

_CHECKS = (HealthCheck.function_scoped_fixture, HealthCheck.differing_executors, HealthCheck.too_slow)
_FOLDERS = itertools.count()


class OfflineEngineSuite(
    AsOfTests,
    AnswerTests,
    ValueTests,
    TimeTests,
    FormatTests,
    DriftTests,
    DamageTests,
    ReadTests,
    AppendTests,
    QueryTests,
    WindowTests,
):
    """All that an offline engine must pass (S1-S6, S8; T21-T25)."""

    @given(case=training_cases())
    @settings(max_examples=examples(50, soak=10_000), deadline=None, suppress_health_check=_CHECKS)
    def test_training_sets_equal_the_oracle(
        self, subject: OfflineEngine, tmp_path: Path, tally: Counter[str], case: TrainingCase
    ) -> None:
        """A training set of generated views, rows and entity rows is the oracle's, to the row and to the bit (T25)."""
        folder = tmp_path / str(next(_FOLDERS))
        locations = {h.shape.name: self._written(folder / h.shape.name, h) for h in case.histories()}
        answer = subject.training(case.plan(locations), case.spine.table()).read_all()
        expected = case.expected()
        assert answer.num_rows == len(expected), "no row is lost, none is added"
        outputs = [name for join in case.joins for name in join.outputs]
        assert answer.column_names == [*case.spine.table().column_names, *outputs]
        for name, got in zip(answer.column_names, answer.columns, strict=True):
            assert exact_all(plain_values(got)) == exact_all(row[name] for row in expected), name
        tally["training sets"] += 1
        tally["values of training sets"] += len(expected) * len(outputs)
        shutil.rmtree(folder)

    @given(
        history=histories(), ends=st.tuples(*[st.none() | st.sampled_from(range(-2, 5))] * 2), parts=st.integers(1, 3)
    )
    @settings(max_examples=examples(20, soak=3000), deadline=None, suppress_health_check=_CHECKS)
    def test_latest_and_rows_equal_the_oracle(
        self,
        subject: OfflineEngine,
        tmp_path: Path,
        tally: Counter[str],
        history: History,
        ends: tuple[int | None, int | None],
        parts: int,
    ) -> None:
        """The latest rows of a span, in parts or whole, and all of its rows, are the oracle's (T25)."""
        folder = tmp_path / str(next(_FOLDERS))
        scan = history.shape.scan(self._written(folder, history))
        whole = [row for row in history.rows() if row.event is not None and None not in row.key]
        events = sorted({row.event for row in whole if row.event is not None}) or [0]
        span = Span(*(None if end is None else events[end % len(events)] for end in ends))
        assert subject.count(scan) == len(history.rows())
        assert exact_all(rows(subject, scan)) == exact_all(_flat(row) for row in whole)
        expected = {row.key: exact(_flat(row)) for row in oracle.latest(whole, span.start, span.end)}
        found = [latest(subject, scan, span, Part(number, parts)) for number in range(parts)]
        assert sum(map(len, found)) == len(expected)
        assert {key: exact((*key, *rest)) for part in found for key, rest in part.items()} == expected
        tally["histories"] += 1
        shutil.rmtree(folder)

    @given(case=window_cases())
    @settings(max_examples=examples(60, soak=10_000), deadline=None, suppress_health_check=_CHECKS)
    def test_windows_equal_the_oracle(
        self, subject: OfflineEngine, tmp_path: Path, tally: Counter[str], case: WindowCase
    ) -> None:
        """Every function over generated windows and events is the oracle's at every time, to the bit (S4-S6)."""
        folder = tmp_path / str(next(_FOLDERS))
        location = self._written(folder, case.history)
        plan, spine = case.plan(location), case.spine()
        try:
            expected = case.expected()
        except AggregateOverflow:
            with pytest.raises(AggregateOverflow):
                subject.training(plan, spine).read_all()
            return
        answer = subject.training(plan, spine).read_all()
        assert answer.num_rows == len(case.asked)
        for feature, output, values in zip(case.windows().features, plan.windows[0].outputs, expected, strict=True):
            wanted = pa.array(values, arrow_type(feature.type))
            assert exact_all(plain_values(answer.column(output))) == exact_all(plain_values(wanted)), feature
        tally["training sets of windows"] += 1
        tally["values of windows"] += len(case.asked) * len(expected)
        shutil.rmtree(folder)

    @given(case=window_cases(), parts=st.integers(1, 3))
    @settings(max_examples=examples(15, soak=3000), deadline=None, suppress_health_check=_CHECKS)
    def test_events_equal_the_oracle(
        self, subject: OfflineEngine, tmp_path: Path, tally: Counter[str], case: WindowCase, parts: int
    ) -> None:
        """The events of all parts are the source's, with their inputs, those of one key together and ranked (S2)."""
        folder = tmp_path / str(next(_FOLDERS))
        scan = case.scan(self._written(folder, case.history))
        inputs = case.windows().inputs
        whole = [row for row in case.events() if row.event is not None and oracle.same_key(row.key, row.key)]
        found: list[tuple[Any, ...]] = []
        for number in range(parts):
            for batch in subject.events(scan, inputs, Span(None, None), Part(number, parts)):
                found.extend(zip(*map(plain_values, batch.columns), strict=True))
        keys = [exact(row[: len(scan.keys)]) for row in found]
        assert len([key for key, _ in itertools.groupby(keys)]) == len(set(keys)), "those of one key come together"
        ranked = sorted(whole, key=cmp_to_key(_compared))
        for key in set(keys):
            got = [row for row, own in zip(found, keys, strict=True) if own == key]
            wanted = [row for row in ranked if exact(row.key) == key]
            assert exact_all(got) == exact_all((*r.key, r.event, r.created, r.order, *r.values) for r in wanted)
        assert len(found) == len(whole)
        tally["histories"] += 1
        shutil.rmtree(folder)

    def _written(self, folder: Path, history: History) -> Location:
        for number, table in enumerate(history.tables()):
            self.write(folder / f"{number}.parquet", table)
        return Location(str(folder), "parquet")

    @pytest.fixture
    def tally(self, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Iterator[Counter[str]]:
        """Count the generated cases that passed, and say how many: in a soak always, else with pytest -rP."""
        counts: Counter[str] = Counter()
        yield counts
        shown = ", ".join(f"{count:,} {what}" for what, count in counts.items()) + " equal the oracle's"
        request.node.add_report_section("teardown", "count", shown)
        reporter = request.config.pluginmanager.get_plugin("terminalreporter")
        if soaking() and reporter is not None:  # a worker process has none
            with capsys.disabled():
                reporter.write_line(f"\n{request.node.name}: {shown}")


def _compared(one: oracle.Row, other: oracle.Row) -> int:
    return oracle.is_later(one, other) - oracle.is_later(other, one)


def _flat(row: oracle.Row) -> tuple[Any, ...]:
    return (*row.key, row.event, row.created, *row.values)
