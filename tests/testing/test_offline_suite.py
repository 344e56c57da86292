"""The suite catches engines that are wrong: each engine here is the reference engine with one mistake."""

from collections import Counter
from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from likewise.offline.base import Span
from likewise.testing.offline_case import US, WHOLE
from likewise.testing.offline_suite import OfflineEngineSuite
from likewise.testing.reference_engine import ReferenceEngine
from likewise.testing.strategies import training_cases


class Wrong(ReferenceEngine):
    """The reference engine with a mistake in the plan, the entity rows, the answer, or what is latest."""

    def __init__(self, plan=None, spine=None, answer=None, latest=None):
        same = lambda given: given  # noqa: E731  the right way, where there is no mistake
        self.plan, self.spine, self.answer = plan or same, spine or same, answer or same
        self.asked = latest or (lambda *given: given)

    def training(self, plan, spine):
        """Answer with the mistake, on the entity rows as they were given."""
        answer = super().training(self.plan(plan), self.spine(spine)).read_all()
        for number, name in enumerate(spine.column_names):
            answer = answer.set_column(number, name, spine.column(number))
        return self.answer(answer).to_reader()

    def latest(self, scan, span, part=WHOLE):
        """Answer another question."""
        return super().latest(*self.asked(scan, span, part))


def joins(change):
    """Return a mistake in each join of a plan."""
    return lambda plan: replace(plan, joins=tuple(replace(join, **change(join)) for join in plan.joins))


def shifted(micros):
    """Return a mistake in the times of the entity rows."""

    def change(spine):
        ticks = spine["event_timestamp"].cast(pa.int64()).to_pylist()
        moved = pa.array([None if tick is None else tick + micros for tick in ticks], pa.int64())
        return spine.set_column(spine.column_names.index("event_timestamp"), "event_timestamp", moved.cast(US))

    return change


def without_repeats(answer):
    """Drop all but one of the rows that are alike."""
    last = {str(row): number for number, row in enumerate(answer.to_pylist())}
    return answer.take(pa.array(sorted(last.values()), pa.int64()))


def mixed_up(answer):
    """Put the last feature in the place of another column of its type."""
    alike = [n for n, column in enumerate(answer.columns[:-1]) if column.type == answer.columns[-1].type]
    return answer.set_column(alike[-1], answer.column_names[alike[-1]], answer.columns[-1]) if alike else answer


TRAINING = {
    "sees the future": Wrong(spine=shifted(1)),
    "misses the moment itself": Wrong(spine=shifted(-1)),
    "expires too early": Wrong(plan=joins(lambda j: {"ttl": j.ttl - 1 if (j.ttl or 0) > 1 else j.ttl})),
    "expires too late": Wrong(plan=joins(lambda j: {"ttl": j.ttl + 1 if j.ttl else j.ttl})),
    "never expires": Wrong(plan=joins(lambda j: {"ttl": None})),
    "ignores created times": Wrong(plan=joins(lambda j: {"scan": replace(j.scan, created="")})),
    "ignores known_by": Wrong(plan=lambda plan: replace(plan, known_by=False)),
    "always knows by": Wrong(plan=lambda plan: replace(plan, known_by=True)),
    "drops repeated rows": Wrong(answer=without_repeats),
    "drops rows without a value": Wrong(answer=lambda answer: answer.filter(answer.columns[-1].is_valid())),
    "loses the order": Wrong(answer=lambda answer: answer.take(pa.array(range(answer.num_rows)[::-1], pa.int64()))),
    "mixes up features": Wrong(answer=mixed_up),
}
LATEST = {
    "ignores created times": Wrong(latest=lambda scan, span, part: (replace(scan, created=""), span, part)),
    "leaves out the end": Wrong(latest=lambda scan, span, part: (scan, Span(span.start, (span.end or 0) - 1), part)),
    "ignores parts": Wrong(latest=lambda scan, span, part: (scan, span, WHOLE)),
}


class Suite(OfflineEngineSuite):
    """The suite, not collected: the tests below call its tests."""

    def engine(self):
        """Return a new engine."""
        return ReferenceEngine()


@pytest.mark.parametrize("mistake", TRAINING)
def test_generated_cases_find_the_mistake(mistake, tmp_path):
    """An engine with one mistake does not pass the generated training sets of a normal run."""
    inner = OfflineEngineSuite.test_training_sets_equal_the_oracle.hypothesis.inner_test

    @given(case=training_cases())
    @settings(
        max_examples=100,
        database=None,
        derandomize=True,
        report_multiple_bugs=False,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def run(case):
        inner(Suite(), TRAINING[mistake], tmp_path, Counter(), case)

    with pytest.raises(AssertionError):
        run()


@pytest.mark.parametrize("mistake", LATEST)
def test_tests_by_hand_find_the_mistake(mistake, tmp_path):
    """An engine whose latest rows are wrong fails a test by hand."""

    def run():
        Suite().test_the_latest_row_of_each_key(LATEST[mistake], tmp_path / "a")
        Suite().test_a_span_includes_both_of_its_ends(LATEST[mistake], tmp_path / "b")
        Suite().test_the_parts_are_disjoint_and_complete(LATEST[mistake], tmp_path / "c")

    with pytest.raises(AssertionError):
        run()
