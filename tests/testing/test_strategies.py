import subprocess
import sys

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings

from likewise.testing import oracle
from likewise.testing.strategies import History, Spine, TrainingCase, examples, histories, training_cases, view_shapes

QUICK = settings(
    max_examples=2000,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@given(shape=view_shapes())
@settings(max_examples=examples(50, soak=1000))
def test_every_shape_is_a_good_definition(shape):
    """A generated view breaks no rule, and has the features, keys and columns of its scan."""
    view = shape.feature_view("data/view.parquet")
    assert [*view.problems, *view.source.problems, *(p for e in view.entity_objects for p in e.problems)] == []
    assert [(field.name, field.dtype) for field in view.features] == [(f.name, f.kind.type) for f in shape.features]
    assert view.join_keys == [key.pool.join_key for key in shape.keys]
    assert [view.source.column_of(field.name) for field in view.features] == [f.column for f in shape.features]


@given(history=histories())
@settings(max_examples=examples(50, soak=1000), suppress_health_check=[HealthCheck.too_slow])
def test_every_history_is_files_and_rows(history):
    """The files' tables have the rows that the oracle gets, and the columns of the scan."""
    tables = history.tables()
    assert sum(table.num_rows for table in tables) == len(history.rows())
    wanted = {f.column for f in history.shape.features} | {key.column for key in history.shape.keys} | {"event time"}
    assert all(wanted <= set(table.column_names) for table in tables)


@given(case=training_cases())
@settings(max_examples=examples(30, soak=1000), suppress_health_check=[HealthCheck.too_slow])
def test_a_user_gives_the_rows_that_the_engine_gets(case):
    """Entity rows in the user's unit and zone are the same instants, to the microsecond, that the plan is about."""
    given_times, typed = case.spine.given()[Spine.TIME], case.spine.table()[Spine.TIME]
    per_micro = {"s": 1, "ms": 1, "us": 1, "ns": 1000}[given_times.type.unit]
    micros = {"s": 1_000_000, "ms": 1000, "us": 1, "ns": 1}[given_times.type.unit]
    raw = given_times.cast("int64").to_pylist()
    assert [None if t is None else t * micros // per_micro for t in raw] == typed.cast("int64").to_pylist()


def answers(case: TrainingCase):
    """Yield each answer of a case: view, rows, time, what was found."""
    for join in case.joins:
        rows = join.history.rows(join.asked)
        for entity_row in case.spine.rows():
            key = tuple(entity_row[column] for column in join.columns)
            time, ttl = entity_row[Spine.TIME], join.history.shape.ttl
            yield join.history, rows, time, oracle.as_of(rows, key, time, ttl, case.known_by)


def tied(rows, found, *, created):
    """Say whether another row has the event time, and if asked the created time, of the one that was found."""
    row = found.row
    others = [r for r in rows if row is not None and r is not row and r.key == row.key and r.event == row.event]
    return any(not created or other.created == row.created for other in others)


@pytest.mark.parametrize(
    "happens",
    [
        lambda history, rows, time, found: found.status(0) == "PRESENT",
        lambda history, rows, time, found: found.status(0) == "NULL_VALUE",
        lambda history, rows, time, found: found.status(0) == "OUTSIDE_MAX_AGE",
        lambda history, rows, time, found: tied(rows, found, created=False) and not tied(rows, found, created=True),
        lambda history, rows, time, found: tied(rows, found, created=True) and found.row.created is not None,
        lambda history, rows, time, found: found.row is not None and found.row.event == time,
        lambda history, rows, time, found: (
            found.row is not None and found.row.event + (history.shape.ttl or 0) == time - 1
        ),
        lambda history, rows, time, found: (
            (history.shape.ttl or 0) > 1 and found.row is not None and found.row.event + history.shape.ttl == time
        ),
        lambda history, rows, time, found: time is None and len(rows) > 2,
        lambda history, rows, time, found: not history.shape.keys and found.row is not None,
        lambda history, rows, time, found: len(history.shape.keys) == 3 and found.row is not None,
        lambda history, rows, time, found: history.shape.time.unit == "ns" and tied(rows, found, created=False),
    ],
    ids=[
        "present",
        "null",
        "expired",
        "tie-by-created",
        "tie-by-place",
        "at-its-moment",
        "just-past-its-ttl",
        "at-its-ttl",
        "no-time",
        "no-entities",
        "three-keys",
        "ns-ties",
    ],
)
def test_the_cases_that_go_wrong_are_drawn(happens):
    """Each kind of answer that an engine may get wrong is among the generated ones."""
    assert find(training_cases(), lambda case: any(happens(*answer) for answer in answers(case)), settings=QUICK)


@pytest.mark.parametrize(
    "happens",
    [
        lambda history: len(history.files) == 3,
        lambda history: () in history.files and len(history.files) > 1,
        lambda history: (
            len({id(row) for file in history.files for row in file}) > len(set(map(str, history.rows()))) > 0
            or len(history.rows()) > len({str((r.key, r.event, r.created, r.values)) for r in history.rows()}) > 0
        ),
        lambda history: any(None in row.key for row in history.rows()),
        lambda history: any(row.event is None for row in history.rows()),
        lambda history: (
            [r.event for r in history.rows() if r.event] != sorted(r.event for r in history.rows() if r.event)
        ),
    ],
    ids=["three-files", "empty-file", "repeats", "null-key", "null-time", "unsorted"],
)
def test_the_files_that_go_wrong_are_drawn(happens):
    """Histories come in several files, unsorted, with repeats, nulls and empty files."""
    found: History = find(histories(), happens, settings=QUICK)
    assert found.tables()


@pytest.mark.parametrize("module", ["strategies", "kinds", "offline_suite"])
def test_a_missing_library_says_what_to_install(module):
    """Without hypothesis the import says which extra to install."""
    code = f"import sys; sys.modules['hypothesis'] = None; import likewise.testing.{module}"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "BackendMissing" in ran.stderr
    assert 'pip install "likewise[testing]"' in ran.stderr


def test_the_oracle_needs_nothing():
    """The oracle itself is plain Python: importing it loads neither hypothesis, pytest, numpy, pandas nor pyarrow."""
    names = ("hypothesis", "pytest", "pandas", "numpy", "pyarrow")
    code = f"import sys, likewise.testing.oracle; print([name for name in {names} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
