"""Run: cases on both paths: training over the rows as files, serving from what was materialized and pushed by then."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from likewise.cases.case import Approx, Case, Expect
from likewise.cases.sandbox import Sandbox, SourceColumns
from likewise.config import RepoConfig
from likewise.core.errors import FeatureNotFound, LikewiseError, RequestError
from likewise.core.frames import to_rows
from likewise.core.names import near_misses
from likewise.core.time import EARLIEST, from_micros, to_micros
from likewise.define.source import PushMode
from likewise.plan.selection import Pick, Selection, select

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Check:
    """One expected value, and what the two paths gave."""

    feature: str
    """The feature, as the case names it."""
    key: Mapping[str, Any]
    """The entity key."""
    request: Mapping[str, Any]
    """What came with the request."""
    at: int
    """The time, in microseconds since the epoch."""
    line: int
    """The line of the file that expects it."""
    expected: Any
    """What is expected: a value in the feature's type, or an :class:`Approx`."""
    training: Any
    """What the training set has."""
    serving: Any
    """What the online store answers; None where :attr:`status` is empty."""
    status: str
    """The status of the online value; empty when the views are not online, so that nothing was asked of them."""

    @property
    def training_agrees(self) -> bool:
        """Whether training gave what is expected."""
        return _agrees(self.expected, self.training)

    @property
    def serving_agrees(self) -> bool:
        """Whether serving gave what is expected, or nothing was asked of it."""
        return not self.status or _agrees(self.expected, self.serving)

    @property
    def passed(self) -> bool:
        """Whether both paths gave what is expected."""
        return self.training_agrees and self.serving_agrees


@dataclass(frozen=True, slots=True)
class Result:
    """How one case went."""

    case: Case
    """The case."""
    checks: tuple[Check, ...]
    """Every expected value, in the order of the case."""
    error: str = ""
    """Why it could not be run; empty when it was."""

    @property
    def passed(self) -> bool:
        """Whether it was run, and everything was as expected."""
        return not self.error and all(check.passed for check in self.checks)


def run_cases(
    repo: Path,
    config: RepoConfig,
    cases: Sequence[Case],
    online_store: str = "memory",
    report: Callable[[Result], None] = lambda result: None,
) -> list[Result]:
    """Run cases of a repo's definitions, as its files have them now, applied or not.

    Args:
        repo: the repo's folder.
        config: its configuration; its registry and its online store are not touched.
        cases: the cases.
        online_store: the type of the online store that is made for it.
        report: is told of each case once it was run.

    Raises:
        RepoProblems: something in the repo's files is wrong.

    Example:
        >>> run_cases(Path(), RepoConfig(project="shop"), [])
        []
    """
    results = []
    with tempfile.TemporaryDirectory(prefix="likewise-test-") as folder:
        sandbox = Sandbox(repo, config, Path(folder), online_store)
        try:
            for case in cases:
                results.append(run_case(sandbox, case))
                report(results[-1])
        finally:
            sandbox.close()
    return results


def run_case(sandbox: Sandbox, case: Case) -> Result:
    """Run one case; what goes wrong with it is part of the result."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that are too old and the like, which the case is about
        try:
            return Result(case, tuple(_Run(sandbox, case).checks()))
        except LikewiseError as error:
            return Result(case, (), str(error))


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of one source in a case, as its files have them."""

    source: str
    columns: SourceColumns
    table: pa.Table
    known: tuple[int, ...]
    """From which time on each row is there."""

    def between(self, after: int, until: int) -> pa.Table:
        """Return the rows that come after a time and up to another."""
        import pyarrow as pa

        return self.table.filter(pa.array([after < at <= until for at in self.known], pa.bool_()))


class _Run:
    """One case while it is run."""

    def __init__(self, sandbox: Sandbox, case: Case) -> None:
        sandbox.begin()
        self._sandbox = sandbox
        self._store = sandbox.store
        self._case = case
        self._selection = select(self._store.definitions, list(case.features), True, None)
        self._times = [to_micros(expect.at, "at") for expect in case.expect]
        self._picks = [{name: self._pick(name) for name in expect.values} for expect in case.expect]
        self._rows = [self._read(name, rows) for name, rows in case.rows.items()]

    def checks(self) -> Iterator[Check]:
        """Serve, train, and yield each expected value with what came out."""
        served = self._serve() if self._is_online else {}
        trained = self._train()
        for number, expect in enumerate(self._case.expect):
            for name, pick in self._picks[number].items():
                value, status = served.get(number, {}).get(pick.name, (None, ""))
                yield Check(
                    name,
                    expect.key,
                    expect.request,
                    self._times[number],
                    expect.origin.line,
                    _wanted(expect.values[name], pick),
                    trained[number][pick.name],
                    value,
                    status,
                )

    @property
    def _is_online(self) -> bool:
        return all(view.online for view in self._selection.views.values())

    def _pick(self, name: str) -> Pick:
        """Return the feature that a case means by a name."""
        found = [pick for pick in self._selection.picks if name in _names(pick)]
        if len(found) == 1:
            return found[0]
        full = [f"{pick.part.name}:{pick.feature}" for pick in found]
        if found:
            raise RequestError(f"{name!r} is the name of several features", cure=f"write one of {', '.join(full)}")
        known = [known for pick in self._selection.picks for known in _names(pick)]
        raise FeatureNotFound(f"the case does not ask for a feature {name!r}", cure=near_misses(name, known))

    def _read(self, name: str, rows: Sequence[Mapping[str, Any]]) -> _Rows:
        source = self._sandbox.source_named(name)
        columns = self._sandbox.sources[source]
        known = tuple(columns.known(row, number, self._case.known_by) for number, row in enumerate(rows))
        return _Rows(source, columns, columns.table(rows), known)

    # ---- serving

    def _serve(self) -> dict[int, dict[str, tuple[Any, str]]]:
        """Return value and status of each feature for each expectation, time after time."""
        self._open_pushed()
        found: dict[int, dict[str, tuple[Any, str]]] = {}
        before = EARLIEST - 1
        for time in sorted(set(self._times)):
            self._sandbox.clock.set(time)
            self._fill(before, time)
            numbers = [number for number, at in enumerate(self._times) if at == time]
            found |= zip(numbers, self._ask(numbers, time), strict=True)
            before = time
        return found

    def _open_pushed(self) -> None:
        """Push nothing, at the beginning of time: what only pushes fill is complete from its first push on."""
        for name in {stream.name for view in self._read_views() if (stream := view.stream_source) is not None}:
            if self._sandbox.sources[name].alone:
                self._store.push(name, self._sandbox.sources[name].table([]))

    def _fill(self, before: int, time: int) -> None:
        """Add the rows that came since the time before, as they come: to files, by materialization, by push."""
        for rows in self._rows:
            if not rows.columns.pushed and (table := rows.between(before, time)).num_rows:
                self._sandbox.add(rows.source, table)
        views = [view.name for view in self._read_views() if view.batch_source is not None]
        if views:
            self._store.materialize(EARLIEST, time, views)
        for rows in self._rows:
            if rows.columns.pushed and (table := rows.between(before, time)).num_rows:
                to = PushMode.ONLINE if rows.columns.alone else PushMode.ONLINE_AND_OFFLINE
                self._store.push(rows.source, table, to=to)

    def _read_views(self) -> list[Any]:
        """Return the views whose records are read."""
        return list(
            {view.name: self._store.definitions.view(view.name) for view in self._selection.views.values()}.values()
        )

    def _ask(self, numbers: Sequence[int], time: int) -> Iterator[dict[str, tuple[Any, str]]]:
        expected = [self._case.expect[number] for number in numbers]
        rows = [{**expect.key, **_request(expect, self._selection)} for expect in expected]
        answer = self._store.get_online_features(list(self._case.features), rows, True, as_of=time)
        statuses = answer.statuses()
        for row, values in enumerate(to_rows(answer.to_arrow())):
            yield {name: (values[name], column[row].name) for name, column in statuses.items()}

    # ---- training

    def _train(self) -> list[dict[str, Any]]:
        """Return what the training set has for each expectation, with all rows in the files, also later ones."""
        self._sandbox.clock.set(max(self._times))
        self._sandbox.give_history()
        last = max(self._times) if self._is_online else EARLIEST - 1
        for rows in self._rows:
            left = rows.table if rows.columns.alone else rows.between(last, max(rows.known, default=last))
            self._sandbox.add(rows.columns.files, left)
        spine = [
            {**expect.key, **_request(expect, self._selection), "event_timestamp": from_micros(time)}
            for expect, time in zip(self._case.expect, self._times, strict=True)
        ]
        job = self._store.get_historical_features(
            spine, list(self._case.features), True, filter_by_created_timestamp=self._case.known_by
        )
        return to_rows(job.to_arrow())


def _names(pick: Pick) -> tuple[str, str, str]:
    return pick.feature, f"{pick.part.name}:{pick.feature}", pick.name


def _request(expect: Expect, selection: Selection) -> dict[str, Any]:
    """Return the request's values, times among them as times."""
    from likewise.core.types import UnixTimestamp

    fields = [field for view in selection.on_demand.values() for of in view.request_sources for field in of.schema]
    times = {field.name for field in fields if field.dtype == UnixTimestamp}
    return {
        name: from_micros(to_micros(value, name)) if name in times and value is not None else value
        for name, value in expect.request.items()
    }


def _wanted(value: Any, pick: Pick) -> Any:
    """Return an expected value in the feature's type."""
    import pyarrow as pa

    from likewise.online.columns import ColumnWriter

    if isinstance(value, Approx):
        return value
    column = ColumnWriter(pick.feature, pick.type).array([value])
    return to_rows(pa.table({"value": column}))[0]["value"]


def _agrees(expected: Any, found: Any) -> bool:
    """Tell whether a value is what was expected; NaN is NaN, and a zero has no sign."""
    if isinstance(expected, Approx):
        return expected.holds(found)
    if isinstance(expected, list) and isinstance(found, list):
        return len(expected) == len(found) and all(map(_agrees, expected, found))
    if isinstance(expected, dict) and isinstance(found, dict):
        return expected.keys() == found.keys() and all(_agrees(expected[name], found[name]) for name in expected)
    if isinstance(expected, float) and isinstance(found, float) and expected != expected:
        return found != found
    return type(expected) is type(found) and bool(expected == found)
