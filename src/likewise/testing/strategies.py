"""Strategies: generated definitions, histories and entity rows, small and full of the cases that go wrong.

* :func:`view_shapes`: a view as a record: its keys, features, ttl and times; it becomes a ``FeatureView`` or a scan.
* :func:`histories`: a view and its rows, in one to three files.
* :func:`training_cases`: several views with their rows, and entity rows that ask about them; with the oracle's answer.

All that is drawn comes from small pools, so that one key, one time and one pair of times often come twice, and a time
that is asked for often lies exactly on an edge or one microsecond off it. Values are the plain Python ones that the
files hold; times are int64 microseconds.

Example:
    >>> from hypothesis import find
    >>> shape = find(view_shapes(), lambda shape: shape.ttl is not None)
    >>> shape.feature_view("data/view.parquet")
    FeatureView(name='view', entities='user', features='v0 Int64', ttl='unlimited', source='view_source')
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pyarrow as pa

from likewise.core.errors import BackendMissing
from likewise.core.time import EARLIEST, LATEST
from likewise.core.types import FeatureType, UnixTimestamp, arrow_type
from likewise.define.entity import Entity
from likewise.define.field import Field
from likewise.define.source import FileSource
from likewise.define.view import FeatureView
from likewise.plan.scan import Location, Scan, ScanColumn
from likewise.plan.training import AsOfJoin, TrainingPlan
from likewise.testing import oracle
from likewise.testing.kinds import KEY_KINDS, KINDS, NOON, Kind, column
from likewise.testing.values import declared

try:
    from hypothesis import settings
    from hypothesis import strategies as st
except ImportError as missing:
    raise BackendMissing("generated cases need hypothesis", cure='pip install "likewise[testing]"') from missing

EVENT, CREATED = "event time", "created"
"""The columns of times in generated files."""
TTLS = (None, 0, 1, 3, 1000, 86_400_000_000)
"""The ttls that are drawn, in microseconds; None and 0 are without limit."""
_JOIN_KEYS = ("item", "user", "größe")
_ENTITIES = (("user",), ("user",), ("item",), ("item", "user"), ("user", "größe"), _JOIN_KEYS, ())
_COLUMNS = ("v", "V", "at", "k", 'qu"ote', "select", "größe", "a b", "it's", "f0", "user")
_EXTRAS = ("v", "V", CREATED, "at", "f0", "__event_time", "__created_time", "rowid", 'a"b', "select", "label")
_UNITS = ("us", "us", "us", "us", "ns", "ms", "s")
_ZONES = (None, "UTC", "Europe/Berlin")


def examples(short: int, soak: int) -> int:
    """Return how many examples a generated test takes.

    Args:
        short: the number for a normal run.
        soak: the number for a long search, see :func:`soaking`.
    """
    return soak if soaking() else short


def soaking() -> bool:
    """Say whether tests search long: with ``LIKEWISE_SOAK=1``, or a hypothesis profile of 1,000 examples and more."""
    profile = settings.default
    asked = os.environ.get("LIKEWISE_SOAK", "0") not in ("", "0")
    return asked or (profile is not None and profile.max_examples >= 1000)


@dataclass(frozen=True, slots=True)
class KeyPool:
    """The keys that the rows and the entity rows of one case share."""

    join_key: str
    """The name of the entity and of its join key."""
    type: FeatureType
    """The declared type."""
    stored: tuple[pa.DataType, ...]
    """The types in which files may hold them."""
    values: tuple[Any, ...]
    """Two or three of them."""

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(f"<{self.join_key} {self.type}: {self.values!r}>")  # what hypothesis prints of a failing case


@dataclass(frozen=True, slots=True)
class KeyShape:
    """One join key of a view."""

    pool: KeyPool
    """What its values are."""
    column: str
    """The column in the files."""
    stored: pa.DataType
    """The files' type."""


@dataclass(frozen=True, slots=True)
class FeatureShape:
    """One feature of a view."""

    name: str
    """The feature's name."""
    column: str
    """The column in the files."""
    kind: Kind
    """Its types and values."""


@dataclass(frozen=True, slots=True)
class ViewShape:
    """A view, as far as its values depend on it."""

    name: str
    """The view's name."""
    keys: tuple[KeyShape, ...]
    """Its join keys, sorted by name; none for a view without entities."""
    features: tuple[FeatureShape, ...]
    """Its features, in order."""
    ttl: int | None
    """Its ttl in microseconds; None and 0 are without limit."""
    time: pa.DataType
    """The files' type of event times."""
    created: pa.DataType | None
    """The files' type of created times; None when there are none."""

    def feature_view(self, path: str) -> FeatureView:
        """Return it as the definition that a feature repo would hold.

        Args:
            path: where its files lie.
        """
        named = [(key.column, key.pool.join_key) for key in self.keys] + [(f.column, f.name) for f in self.features]
        entities = [
            Entity(name=key.pool.join_key, join_keys=[key.pool.join_key], value_type=key.pool.type) for key in self.keys
        ]
        return FeatureView(
            name=self.name,
            entities=entities,
            ttl=None if self.ttl is None else timedelta(microseconds=self.ttl),
            schema=[Field(feature.name, feature.kind.type) for feature in self.features],
            source=FileSource(
                name=f"{self.name}_source",
                path=path,
                timestamp_field=EVENT,
                created_timestamp_column="" if self.created is None else CREATED,
                field_mapping={column: name for column, name in named if column != name},
            ),
        )

    def scan(self, location: Location, asked: Sequence[int] | None = None) -> Scan:
        """Return the scan of some of its features, by their places, or of all of them."""
        places = range(len(self.features)) if asked is None else asked
        return Scan(
            view=self.name,
            location=location,
            time=EVENT,
            created="" if self.created is None else CREATED,
            keys=tuple(ScanColumn(key.column, key.pool.type) for key in self.keys),
            columns=tuple(ScanColumn(self.features[n].column, self.features[n].kind.type) for n in places),
        )


@dataclass(frozen=True, slots=True)
class FileRow:
    """One row of a file."""

    key: tuple[Any, ...]
    """A value or None for each join key."""
    event: int | None
    """The event time."""
    created: int | None
    """The created time; None also when the view has none."""
    values: tuple[Any, ...]
    """A value or None for each feature."""


@dataclass(frozen=True, slots=True)
class History:
    """A view and its rows."""

    shape: ViewShape
    """The view."""
    files: tuple[tuple[FileRow, ...], ...]
    """The rows of each file, in path order."""

    def tables(self) -> list[pa.Table]:
        """Return the files' tables; each begins with another column."""
        return [self._table(number, rows) for number, rows in enumerate(self.files)]

    def rows(self, asked: Sequence[int] | None = None) -> list[oracle.Row]:
        """Return the rows with some of the features, by their places, or with all of them, as the oracle takes them."""
        shape = self.shape
        places = range(len(shape.features)) if asked is None else asked
        found: list[oracle.Row] = []
        for row in (row for file in self.files for row in file):
            values = tuple(declared(row.values[n], shape.features[n].kind.type) for n in places)
            found.append(oracle.Row(row.key, row.event, row.created, len(found), values))
        return found

    def _table(self, number: int, rows: Sequence[FileRow]) -> pa.Table:
        shape = self.shape
        columns = {key.column: column([r.key[n] for r in rows], key.stored) for n, key in enumerate(shape.keys)}
        columns[EVENT] = column([row.event for row in rows], shape.time)
        if shape.created is not None:
            columns[CREATED] = column([row.created for row in rows], shape.created)
        for n, feature in enumerate(shape.features):
            columns[feature.column] = column([row.values[n] for row in rows], feature.kind.stored)
        names = list(columns)
        turn = number % len(names)
        return pa.table({name: columns[name] for name in names[turn:] + names[:turn]})


@dataclass(frozen=True, slots=True)
class Join:
    """One view of a training case."""

    history: History
    """The view and its rows."""
    asked: tuple[int, ...]
    """The features asked for, by their places, in order."""
    columns: tuple[str, ...]
    """The entity rows' column for each join key."""
    outputs: tuple[str, ...]
    """The name of each feature in the answer."""


@dataclass(frozen=True, slots=True)
class Spine:
    """The entity rows of a training case."""

    times: tuple[int | None, ...]
    """The time of each row; its column is ``event_timestamp``."""
    keys: Mapping[str, tuple[FeatureType, tuple[Any, ...]]]
    """The key columns: name to declared type and values."""
    extras: Mapping[str, tuple[Any, ...]]
    """The other columns."""
    given_as: pa.DataType
    """The type of times that a user would give them in."""

    TIME = "event_timestamp"

    def table(self) -> pa.Table:
        """Return the entity rows as an engine gets them: typed, with times in microseconds, UTC."""
        return self._table(arrow_type(UnixTimestamp))

    def given(self) -> pa.Table:
        """Return the entity rows as a user might give them: times in any unit, naive or in a zone."""
        return self._table(self.given_as)

    def rows(self) -> list[dict[str, Any]]:
        """Return the entity rows as the oracle takes them."""
        columns = {self.TIME: self.times, **{n: values for n, (_, values) in self.keys.items()}, **self.extras}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def _table(self, time: pa.DataType) -> pa.Table:
        columns = {name: column(values, arrow_type(kind)) for name, (kind, values) in self.keys.items()}
        columns[self.TIME] = column(self.times, time)
        columns |= {name: pa.array(values) for name, values in self.extras.items()}
        return pa.table(columns)


@dataclass(frozen=True, slots=True)
class TrainingCase:
    """Views, their rows, and entity rows that ask about them."""

    joins: tuple[Join, ...]
    """What is asked for; two of them may be of one view."""
    spine: Spine
    """Who asks, and as of when."""
    known_by: bool
    """Whether a row counts only once it was created (S4)."""

    def histories(self) -> list[History]:
        """Return the views with their rows, each once."""
        return list({join.history.shape.name: join.history for join in self.joins}.values())

    def plan(self, locations: Mapping[str, Location]) -> TrainingPlan:
        """Return the plan of the training set.

        Args:
            locations: view name to where its files lie.
        """
        joins = tuple(
            AsOfJoin(
                join.history.shape.scan(locations[join.history.shape.name], join.asked),
                join.columns,
                join.outputs,
                join.history.shape.ttl,
            )
            for join in self.joins
        )
        outputs = [(name, c.type) for join in joins for name, c in zip(join.outputs, join.scan.columns, strict=True)]
        return TrainingPlan(
            project="generated",
            catalog=1,
            time=Spine.TIME,
            spine_types=tuple((name, kind) for name, (kind, _) in self.spine.keys.items()),
            joins=joins,
            on_demand=(),
            features=tuple((name, name, kind) for name, kind in outputs),
            known_by=self.known_by,
        )

    def expected(self) -> list[dict[str, Any]]:
        """Return the training set that the oracle makes of it."""
        views = [
            oracle.View(join.history.rows(join.asked), join.columns, join.outputs, join.history.shape.ttl)
            for join in self.joins
        ]
        return oracle.training_set(self.spine.rows(), views, time=Spine.TIME, known_by=self.known_by)


@st.composite
def key_pools(draw: st.DrawFn) -> dict[str, KeyPool]:
    """Draw what the keys of a case are: for each join key its type and a few values."""
    pools = {}
    for join_key in _JOIN_KEYS:
        kind = draw(st.sampled_from(KEY_KINDS))
        values = draw(st.lists(st.sampled_from(kind.values), min_size=2, max_size=3, unique=True))
        pools[join_key] = KeyPool(join_key, kind.type, kind.stored, tuple(values))
    return pools


@st.composite
def view_shapes(draw: st.DrawFn, name: str = "view", pools: Mapping[str, KeyPool] | None = None) -> ViewShape:
    """Draw a view of up to three join keys and six features.

    Args:
        name: the view's name.
        pools: what its keys are; drawn when not given.
    """
    pools = draw(key_pools()) if pools is None else pools
    join_keys = draw(st.sampled_from(_ENTITIES))
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=6))
    turn = draw(st.integers(0, len(_COLUMNS) - 1))
    columns = _COLUMNS[turn:] + _COLUMNS[:turn]
    keys = [
        KeyShape(pools[key], column, draw(st.sampled_from(pools[key].stored)))
        for key, column in zip(join_keys, columns, strict=False)
    ]
    features = [
        FeatureShape(f"v{number}", column, kind)
        for number, (column, kind) in enumerate(zip(columns[len(keys) :], kinds, strict=False))
    ]
    return ViewShape(
        name=name,
        keys=tuple(keys),
        features=tuple(features),
        ttl=draw(st.sampled_from(TTLS)),
        time=draw(_time_types),
        created=draw(st.none() | _time_types),
    )


@st.composite
def histories(draw: st.DrawFn, shape: ViewShape | None = None) -> History:
    """Draw the rows of a view: unsorted, with ties, repeats and nulls.

    Args:
        shape: the view; drawn when not given.
    """
    shape = draw(view_shapes()) if shape is None else shape
    row = st.builds(
        FileRow,
        key=st.tuples(*(_keys(key.pool) for key in shape.keys)),
        event=st.sampled_from([*_times(shape.time, shape.ttl) * 2, None]),
        created=st.none()
        if shape.created is None
        else st.sampled_from([*_times(shape.created, shape.ttl), None, None]),
        values=st.tuples(*(feature.kind.values | feature.kind.values | st.none() for feature in shape.features)),
    )
    files = draw(st.lists(_seldom_few(row), min_size=1, max_size=3))
    return History(shape, tuple(map(tuple, files)))


@st.composite
def training_cases(draw: st.DrawFn) -> TrainingCase:
    """Draw up to three views, one of them perhaps under two names, and entity rows that ask about them."""
    pools = draw(key_pools())
    found = [draw(histories(draw(view_shapes(f"view{n}", pools)))) for n in range(draw(st.integers(1, 3)))]
    asked = [(history, "", history.shape.name) for history in found]
    if draw(st.booleans()):
        asked.append((found[0], "other ", "alias"))
    joins = tuple(_join(history, prefix, alias, draw) for history, prefix, alias in asked)
    return TrainingCase(joins, draw(spines(joins, pools)), draw(st.booleans()))


@st.composite
def spines(draw: st.DrawFn, joins: Sequence[Join], pools: Mapping[str, KeyPool]) -> Spine:
    """Draw entity rows: duplicates, unknown and null keys, times on the edges of the rows' times and of their ttls.

    Args:
        joins: what they ask for.
        pools: what the keys are.
    """
    given_as = draw(st.builds(pa.timestamp, st.sampled_from(_UNITS), st.sampled_from(_ZONES)))
    columns = {c: key.pool for join in joins for c, key in zip(join.columns, join.history.shape.keys, strict=True)}
    times = [_cut(time, given_as) for time in _edges(joins) if _fits(time, given_as)]
    late = times[len(times) // 2 :]
    row = st.tuples(st.sampled_from([*times, *late, *late, None]), *map(_keys, columns.values()))
    rows = draw(_seldom_few(row))
    extras = draw(
        st.lists(st.sampled_from(_EXTRAS), max_size=3, unique=True).filter(lambda e: not set(e) & set(columns))
    )
    return Spine(
        times=tuple(row[0] for row in rows),
        keys={name: (pool.type, tuple(row[n] for row in rows)) for n, (name, pool) in enumerate(columns.items(), 1)},
        extras={name: tuple(f"{name} {number}" for number in range(len(rows))) for name in extras},
        given_as=given_as,
    )


_time_types = st.builds(pa.timestamp, st.sampled_from(_UNITS), st.sampled_from(_ZONES))


def _seldom_few(row: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draw lists of three to nine rows, seldom of fewer or none."""
    return st.sampled_from((3, 3, 3, 3, 3, 0)).flatmap(lambda least: st.lists(row, min_size=least, max_size=least * 3))


def _keys(pool: KeyPool) -> st.SearchStrategy[Any]:
    """Draw one of the keys, mostly the first, seldom null."""
    return st.sampled_from([pool.values[0]] * 8 + [*pool.values, None])


def _times(stored: pa.DataType, ttl: int | None) -> list[int]:
    """Return times close to each other, some a ttl apart, a few at the ends of the world."""
    steps = {0, 1, 2, 3, -1, ttl or 0, (ttl or 0) + 1, 2 * (ttl or 0), 1_000_000}
    near = [NOON + step for step in sorted(steps)]
    return [_cut(time, stored) for time in [*near, EARLIEST, LATEST, -1, 0] if _fits(time, stored)]


def _cut(time: int, stored: pa.DataType) -> int:
    size = {"s": 1_000_000, "ms": 1000}.get(stored.unit, 1)
    return time // size * size


def _fits(time: int, stored: pa.DataType) -> bool:
    return stored.unit != "ns" or abs(time) < 2**53


def _edges(joins: Sequence[Join]) -> list[int]:
    """Return the times at which an answer may change, with those just beside them."""
    edges = {NOON, EARLIEST, LATEST, 0}
    for join in joins:
        ttl = join.history.shape.ttl or 0
        for row in (row for file in join.history.files for row in file):
            for time in (row.event, row.created):
                edges |= {time, time + ttl} if time is not None else set()
    return sorted({near for edge in edges for near in (edge - 1, edge, edge + 1) if EARLIEST <= near <= LATEST})


def _join(history: History, prefix: str, alias: str, draw: st.DrawFn) -> Join:
    places = range(len(history.shape.features))
    asked = draw(st.lists(st.sampled_from(places), min_size=1, unique=True))
    return Join(
        history=history,
        asked=tuple(asked),
        columns=tuple(prefix + key.pool.join_key for key in history.shape.keys),
        outputs=tuple(f"{alias}__{history.shape.features[place].name}" for place in asked),
    )
