"""Windows end to end: whatever is pushed and back-filled, training, serving and the oracle say the same (S5-S7, G8)."""

import os
import shutil
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from likewise import (
    Aggregation,
    Entity,
    FeatureStore,
    Field,
    FieldStatus,
    FileSource,
    FixedClock,
    PushMode,
    PushSource,
    RepoConfig,
    StreamFeatureView,
)
from likewise.config import MaterializationConfig, OnlineStoreConfig, RegistryConfig
from likewise.core.errors import FeatureNotFound, StoreUnavailable
from likewise.core.types import FeatureType, arrow_type
from likewise.core.windows import BEFORE_ALL, Window
from likewise.jobs.backfill import whole_keys
from likewise.jobs.materialize import Crash
from likewise.jobs.materialize import Event as Progress
from likewise.jobs.push import PushKit, PushRequest, push
from likewise.jobs.states import Push as HowPushed
from likewise.offline.source_lock import guarded
from likewise.online.base import OnlineStore, TableMissing
from likewise.online.window_state import META_KEY
from likewise.plan.lookup import table_name
from likewise.plan.scan import Location
from likewise.registry.crash import no_crash
from likewise.registry.definitions import Definitions
from likewise.registry.watermarks import RunSuperseded
from likewise.testing.oracle import Row, windowed
from likewise.testing.strategies import examples
from likewise.testing.values import exact
from likewise.types import Bool, Bytes, Float64, Int32, Int64, String, UnixTimestamp

MICRO = timedelta(microseconds=1)
START = 1_700_000_000_000_000
SCALES = (1, 3_600_000_000)
"""How many microseconds a tick has: one, so that everything meets; an hour, so that days pass."""
KEYS = (1, 2, 3, 4)
pytestmark = pytest.mark.filterwarnings("ignore:view 'v' is not served yet:UserWarning")


@dataclass(frozen=True)
class Event:
    """One event."""

    key: int
    at: int
    made: int | None
    amount: float | None
    units: int | None
    kind: str | None


@dataclass(frozen=True)
class Feature:
    """One windowed feature: what it aggregates, in SQL and in Python, and how."""

    column: str
    where: str
    function: str
    window: Window

    def aggregation(self) -> Aggregation:
        """Return it as a definition has it; its name says all of it."""
        width, slide, delay = (None if n in (None, 0) else n * MICRO for n in self.spans)
        name = f"f_{zlib.crc32(repr(self).encode()):x}"
        return Aggregation(self.column, self.function, width, slide, name, delay, self.where)

    @property
    def spans(self) -> tuple[int | None, int | None, int]:
        """The window's lengths."""
        return self.window.width, self.window.slide, self.window.delay

    def value(self, event: Event) -> Any:
        """Return what it takes of an event."""
        if self.where and event.kind != "a":
            return None
        match self.column:
            case "*":
                return 1
            case "amount * 2":
                return None if event.amount is None else event.amount * 2
            case name:
                return getattr(event, name)


FUNCTIONS = {
    "*": ("count",),
    "amount": ("count", "sum", "mean", "min", "max", "stddev_samp", "first", "last", "last_n(3)", "median"),
    "amount * 2": ("sum", "max"),
    "units": ("sum", "mean", "var_pop", "last", "top_k(2)"),
    "kind": ("count_distinct", "last_distinct_n(2)", "first", "min", "approx_count_distinct"),
}


def windows(scale: int) -> st.SearchStrategy[Window]:
    """Return windows of some ticks."""

    def made(width: int | None, slide: int | None, delay: int) -> Window:
        if width is None:
            return Window(None, None, delay * scale)
        aligned = None if slide is None or slide > width else slide * scale
        return Window(width * scale, aligned, delay * scale)

    return st.builds(
        made, st.sampled_from([1, 2, 7, 24, None]), st.sampled_from([None, 1, 5]), st.sampled_from([0, 0, 2])
    )


@st.composite
def features(draw: st.DrawFn, scale: int) -> Feature:
    """Return a feature."""
    column = draw(st.sampled_from(list(FUNCTIONS)))
    where = draw(st.sampled_from(["", "", "kind = 'a'"]))
    return Feature(column, where, draw(st.sampled_from(FUNCTIONS[column])), draw(windows(scale)))


def events(scale: int) -> st.SearchStrategy[list[Event]]:
    """Return events, at ticks before the time that is later added to them."""
    ticks = st.builds(lambda t, odd: t * scale + odd, st.integers(-30, 0), st.sampled_from([0, 0, 0, -1]))
    event = st.builds(
        Event,
        st.sampled_from([1, 1, 1, 2]),
        ticks,
        st.none() | st.integers(0, 1),
        st.none() | st.sampled_from([0.1, 0.2, 1e16, 1.0, -1e16, -0.0]) | st.floats(-1e3, 1e3),
        st.none() | st.integers(-3, 3),
        st.none() | st.sampled_from(["a", "b", "ä"]),
    )
    return st.lists(event, max_size=6)


@dataclass(frozen=True)
class Push:
    """Events are pushed."""

    events: list[Event]
    to: Literal["online", "offline", "both"]
    again: bool
    """Whether the push has an idempotency key, and is sent twice."""


@dataclass(frozen=True)
class Hot:
    """One key gets many events at once."""

    count: int


@dataclass(frozen=True)
class Fill:
    """The source is materialized up to some ticks before now."""

    before: int
    incremental: bool


@dataclass(frozen=True)
class Redefine:
    """One feature more, and one less."""

    feature: Feature
    drop: bool


@dataclass(frozen=True)
class Restart:
    """The process ends, and another one begins on the same files."""


Step = Push | Hot | Fill | Redefine | Restart


@dataclass(frozen=True)
class Story:
    """What happens to a view."""

    kind: Literal["memory", "lmdb", "sqlite"]
    way: Literal["both", "load", "pushed"]
    """Pushes go to both places; or online, and to the source before it is read; or there is no source."""
    scale: int
    features: list[Feature]
    history: list[Event]
    steps: list[tuple[int, Step]]


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Return a story."""
    scale = draw(st.sampled_from(SCALES))
    way = draw(st.sampled_from(["both", "both", "load", "pushed"]))
    some = events(scale)
    to = {"both": ["both", "both", "offline"], "load": ["online"], "pushed": ["online"]}[way]
    fills = st.builds(Fill, st.sampled_from([0, 0, 3, 20]), st.booleans())
    kinds: list[st.SearchStrategy[Step]] = [
        *[st.builds(Push, some, st.sampled_from(to), st.booleans())] * 3,
        st.builds(Hot, st.sampled_from([3, 70])),
        st.builds(Redefine, features(scale), st.booleans()),
        st.just(Restart()),
    ]
    steps = st.tuples(st.integers(0, 12), st.one_of(*kinds, *([fills] * 3 if way != "pushed" else [])))
    return Story(
        draw(st.sampled_from(["memory", "lmdb", "sqlite"])),
        way,
        scale,
        draw(st.lists(features(scale), min_size=1, max_size=5, unique_by=repr)),
        draw(some) if way != "pushed" else [],
        draw(st.lists(steps, min_size=2, max_size=8)),
    )


def table(rows: Sequence[Event]) -> pa.Table:
    """Return events as a source holds them."""
    times = pa.timestamp("us", tz="UTC")
    return pa.table(
        {
            "user": pa.array([row.key for row in rows], pa.int64()),
            "at": pa.array([row.at for row in rows], pa.int64()).cast(times),
            "made": pa.array([row.made for row in rows], pa.int64()).cast(times),
            "amount": pa.array([row.amount for row in rows], pa.float64()),
            "units": pa.array([row.units for row in rows], pa.int64()),
            "kind": pa.array([row.kind for row in rows], pa.string()),
        }
    )


def open_store(folder: Path, kind: str, now: int, crash: Crash = no_crash, rows: int = 40) -> FeatureStore:
    """Return a store in a folder."""
    config = RepoConfig(
        project="p",
        registry=RegistryConfig(path="registry.db") if kind != "memory" else RegistryConfig(registry_type="memory"),
        online_store=OnlineStoreConfig(type=kind, path=f"online-{kind}"),
        materialization=MaterializationConfig(chunk_rows=rows),
    )
    return FeatureStore(folder, config, clock=FixedClock(now), crash=crash)


def view(aggregations: Sequence[Aggregation], has_source: bool = True, path: str = "rows.parquet") -> StreamFeatureView:
    """Return a view that is pushed to."""
    history = FileSource(path=path, timestamp_field="at", created_timestamp_column="made", name="rows")
    columns = [Field("amount", Float64), Field("units", Int64), Field("kind", String)]
    alone = PushSource("pushed", schema=columns, timestamp_field="at", created_timestamp_column="made")
    source = PushSource("pushed", history) if has_source else alone
    return StreamFeatureView("v", source=source, entities=[Entity("user", value_type=Int64)], aggregations=aggregations)


@dataclass
class World:
    """A store, and what should be in it."""

    folder: Path
    story: Story
    store: FeatureStore = field(init=False)
    now: int = START
    features: list[Feature] = field(init=False)
    source: list[Event] = field(default_factory=list)
    """The rows of the source, or all that was pushed, in order."""
    waiting: set[int] = field(default_factory=set)
    """The places of events that were pushed online, and are in no file yet."""
    hidden: set[int] = field(default_factory=set)
    """The places of events that are in the source only, and that no back-fill has read."""
    since: dict[Feature, int] = field(default_factory=dict)
    """From which time on a feature has to be known, if at all."""
    begun: int = BEFORE_ALL
    end: int = BEFORE_ALL
    pushes: int = 0
    probes: int = 0
    known: int = 0

    def __post_init__(self) -> None:
        """Apply the first definition."""
        self.features = list(self.story.features)
        if self.has_source:
            self.source = [replace(e, at=e.at - 20 * self.story.scale) for e in self.at_now(self.story.history)]
            pq.write_table(table(self.source), self.folder / "rows.parquet")
            self.hidden = set(range(len(self.source)))
        else:
            self.since = dict.fromkeys(self.features, BEFORE_ALL)
        self.store = open_store(self.folder, self.story.kind, self.now, rows=7)
        self.apply()

    @property
    def has_source(self) -> bool:
        """Whether there is a batch source."""
        return self.story.way != "pushed"

    def at_now(self, events: Sequence[Event]) -> list[Event]:
        """Return events at times up to now."""
        return [
            Event(e.key, e.at + self.now, None if e.made is None else e.made + self.now, *_values(e)) for e in events
        ]

    def apply(self) -> None:
        """Apply the definition."""
        self.store.apply([view([feature.aggregation() for feature in self.features], self.has_source)])

    def do(self, passed: int, step: Step) -> None:
        """Let time pass, and do a step."""
        self.now += passed * self.story.scale
        self.store.clock = FixedClock(self.now)
        match step:
            case Push(given, to, again):
                self.push(self.at_now(given), to, again)
            case Hot(count):
                spread = [Event(1, -(n % 9) * self.story.scale, None, n / 3, n % 4, "ab"[n % 2]) for n in range(count)]
                self.push(self.at_now(spread), "both" if self.story.way == "both" else "online", again=False)
            case Fill(before, incremental):
                self.fill(self.now - before * self.story.scale, incremental)
            case Redefine(feature, drop):
                self.redefine(feature, drop)
            case Restart():
                if self.story.kind != "memory":
                    self.store.close()
                    self.store = open_store(self.folder, self.story.kind, self.now, rows=7)

    def push(self, given: list[Event], to: str, again: bool) -> None:
        """Push events, twice if they have a token."""
        if not given:
            return
        if to == "offline":  # of a key that is in no tile, so that any end of a back-fill divides its events
            given = [replace(event, key=3) for event in given]
        mode = {"online": PushMode.ONLINE, "offline": PushMode.OFFLINE, "both": PushMode.ONLINE_AND_OFFLINE}[to]
        self.pushes += 1
        for _ in range(1 + again):
            self.store.push("pushed", table(given), to=mode, idempotency_key=f"push {self.pushes}" if again else None)
        places = range(len(self.source), len(self.source) + len(given))
        self.source += given
        if to == "offline":
            self.hidden |= set(places)
        if to == "online" and self.has_source:
            self.waiting |= set(places)

    def fill(self, end: int, incremental: bool) -> None:
        """Load what waits into the source, and materialize it."""
        if self.waiting:
            self.store.write_to_offline_store("v", table([self.source[place] for place in sorted(self.waiting)]))
            self.waiting = set()
        if incremental:
            self.store.materialize_incremental(end)
        else:
            self.store.materialize(end - self.story.scale, end)
        self.end = max(self.end, end)
        if self.end >= self.begun:
            self.hidden = {place for place in self.hidden if self.source[place].at > self.end}
            self.since = dict.fromkeys(self.features, BEFORE_ALL)

    def redefine(self, feature: Feature, drop: bool) -> None:
        """Change the definition: what did not change stays known."""
        if feature in self.features:
            return
        self.features = [*self.features[1 if drop and len(self.features) > 1 else 0 :], feature]
        self.since = {known: since for known, since in self.since.items() if known in self.features}
        if not self.has_source:
            self.since[feature] = self.now
        self.begun, self.end = self.now, BEFORE_ALL
        self.apply()

    def check(self) -> None:
        """Compare all features of all keys with the oracle, at the edges of windows and far from them."""
        named = {feature.aggregation().name: feature for feature in self.features}
        asked = [f"v:{name}" for name in named]
        times = sorted(self.times())
        for t in times:
            answer = self.store.get_online_features(asked, {"user": list(KEYS)}, as_of=t)
            served, states = answer.to_dict(), answer.statuses()
            for name, feature in named.items():
                for place, key in enumerate(KEYS):
                    self.compare(feature, key, t, served[name][place], states[name][place])
        if self.has_source:
            self.compare_training(named, times)

    def compare(self, feature: Feature, key: int, t: int, value: Any, state: FieldStatus) -> None:
        """Compare one served value."""
        self.probes += 1
        lo, _ = feature.window.bounds(t)
        if state is FieldStatus.NOT_FOUND:
            must_know = feature in self.since and t >= self.now and lo >= self.since[feature]
            assert value is None
            assert not must_know, (feature, key, t - self.now)
            return
        self.known += 1
        assert feature in self.since, (feature, key, t - self.now, value)
        wanted = self.truth(feature, key, t, self.hidden)
        assert exact(value) == exact(wanted), (feature, key, t - self.now, value, wanted)

    def compare_training(self, named: dict[str, Feature], times: Sequence[int]) -> None:
        """Compare training values, of all that is in the source."""
        asked = [(key, t) for t in times for key in KEYS]
        at = pa.array([t for _, t in asked], pa.int64()).cast(pa.timestamp("us", tz="UTC"))
        spine = pa.table({"user": [key for key, _ in asked], "event_timestamp": at})
        trained = self.store.get_historical_features(spine, [f"v:{name}" for name in named]).to_arrow().to_pydict()
        for name, feature in named.items():
            for value, (key, t) in zip(trained[name], asked, strict=True):
                assert exact(value) == exact(self.truth(feature, key, t, self.waiting)), (feature, key, t - self.now)

    def truth(self, feature: Feature, key: int, t: int, without: Collection[int]) -> Any:
        """Return the oracle's value over all events but some."""
        rows = [
            Row((e.key,), e.at, e.made, place, (feature.value(e),))
            for place, e in enumerate(self.source)
            if place not in without
        ]
        return windowed(rows, (key,), t, feature.window, feature.function, 0)

    def times(self) -> set[int]:
        """Return the times to ask for: where windows end, a microsecond off, and far later."""
        found = {self.now, self.now + 1, self.now + self.story.scale, self.now + 1000 * self.story.scale, self.now - 1}
        latest = self.source[-3:]
        for feature in self.features:
            width, slide, delay = feature.spans
            for event in latest:
                found |= {event.at + delay + odd for odd in (-1, 0, 1)}
                if width is not None:
                    edge = event.at + width + delay
                    edge = edge if slide is None else -(-edge // slide) * slide
                    found |= {edge + odd for odd in (-1, 0, 1)}
        return set(sorted(found, key=lambda t: (t < self.now, t))[:18])


def _values(event: Event) -> tuple[float | None, int | None, str | None]:
    return event.amount, event.units, event.kind


@pytest.mark.hypothesis
def test_training_serving_and_the_oracle_say_the_same() -> None:
    """After each step of generated stories every value that is served is the oracle's, and so is every trained one."""
    worlds: list[tuple[int, int]] = []

    @settings(max_examples=examples(15, 1000), suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(stories())
    def play(story: Story) -> None:
        with TemporaryDirectory() as name:
            world = World(Path(name), story)
            try:
                world.check()
                for passed, step in story.steps:
                    world.do(passed, step)
                    world.check()
            finally:
                world.store.close()
            worlds.append((world.probes, world.known))

    play()
    asked, known = (sum(each) for each in zip(*worlds, strict=True))
    print(f"windows end to end: {asked:,} values were asked for in {len(worlds)} stories, {known:,} of them known")
    assert known * 20 > asked


# ---- one thing at a time

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
COUNT = Aggregation("*", "count", DAY, name="n")
SUM = Aggregation("amount", "sum", DAY, name="spent")
MOST = Aggregation("amount", "max", 7 * DAY, HOUR, name="most")


def micros(span: timedelta) -> int:
    """Return a span in microseconds."""
    return span // MICRO


def event(key: int, before: timedelta, amount: float = 1.0) -> Event:
    """Return an event some time before START."""
    return Event(key, START - micros(before), None, amount, 1, "a")


def store_of(
    folder: Path, rows: Sequence[Event] | None, *aggregations: Aggregation, kind: str = "lmdb"
) -> FeatureStore:
    """Return a store with a view over some rows; None: without a batch source."""
    if rows is not None:
        pq.write_table(table(rows), folder / "rows.parquet")
    store = open_store(folder, kind, START)
    store.apply([view(aggregations, rows is not None)])
    return store


def read(store: FeatureStore, name: str, keys: Sequence[int] = (1,), at: int = START) -> list[Any]:
    """Return what is served of a feature; the word for what is not known."""
    answer = store.get_online_features([f"v:{name}"], {"user": list(keys)}, as_of=at)
    states = answer.statuses()[name]
    return [
        "NOT_FOUND" if s is FieldStatus.NOT_FOUND else v for v, s in zip(answer.to_dict()[name], states, strict=True)
    ]


@pytest.mark.parametrize("kind", ["memory", "lmdb", "sqlite"])
def test_a_view_that_only_pushes_fill_is_live_from_its_first_apply(tmp_path: Path, kind: str) -> None:
    """A key that nobody pushed has an empty window; what is pushed counts at once."""
    with store_of(tmp_path, None, COUNT, SUM, kind=kind) as store:
        assert (read(store, "n"), read(store, "spent")) == ([0], [None])
        store.push("pushed", table([event(1, HOUR), event(1, 30 * HOUR)]))
        assert (read(store, "n"), read(store, "spent")) == ([1], [1.0])
        assert read(store, "n", at=START - micros(DAY)) == [1]


def test_a_pushed_view_that_is_added_again_answers_nothing_partial(tmp_path: Path) -> None:
    """It is known from then on only: a window that reaches further back is NOT_FOUND until it does not any more."""
    with store_of(tmp_path, None, COUNT) as store:
        store.push("pushed", table([event(1, HOUR)]))
        store.delete_feature_view("v")
        store.apply([view([COUNT], has_source=False)])
        assert read(store, "n") == ["NOT_FOUND"]
        assert read(store, "n", at=START + micros(DAY)) == [0]


def test_a_changed_pushed_view_goes_on_with_what_did_not_change(tmp_path: Path) -> None:
    """A new window is NOT_FOUND until all in it was pushed since; an old one is answered from the states of before."""
    with store_of(tmp_path, None, COUNT) as store:
        store.push("pushed", table([event(1, HOUR)]))
        store.apply([view([COUNT, SUM], has_source=False)])
        assert (read(store, "n"), read(store, "spent")) == ([1], ["NOT_FOUND"])
        store.push("pushed", table([event(1, timedelta(0), 5.0)]))
        assert (read(store, "n"), read(store, "spent")) == ([2], ["NOT_FOUND"])
        later = START + micros(DAY)
        assert (read(store, "n", at=later), read(store, "spent", at=later)) == ([0], [None])
        store.clock = FixedClock(START + micros(HOUR))
        store.push("pushed", table([event(1, -HOUR, 7.0)]))
        assert (read(store, "n", at=later), read(store, "spent", at=later)) == ([1], [7.0])


def test_a_changed_view_goes_on_with_what_did_not_change_until_it_is_filled(tmp_path: Path) -> None:
    """Pushes go to both tables; then the new one answers all, and the old one is dropped, under readers who know it."""
    with (
        store_of(tmp_path, [event(1, 2 * HOUR, 2.0)], COUNT, MOST) as store,
        open_store(tmp_path, "lmdb", START) as old,
    ):
        store.materialize(0, START)
        assert read(old, "n") == [1]
        before = table_name("p", store.get_feature_view("v"))
        store.apply([view([COUNT, SUM])])
        store.push("pushed", table([event(1, HOUR, 3.0)]), to=PushMode.ONLINE_AND_OFFLINE)
        assert (read(store, "n"), read(store, "spent")) == ([2], ["NOT_FOUND"])
        assert read(old, "n") == [2]
        store.materialize(0, START)
        assert (read(store, "n"), read(store, "spent")) == ([2], [5.0])
        with pytest.raises(TableMissing):
            store.online_store.scan(before)
        assert read(old, "n") == [2]
        with pytest.raises(FeatureNotFound):
            read(old, "most")


def test_a_feature_that_changed_is_not_answered_by_its_name(tmp_path: Path) -> None:
    """The name alone says nothing: another condition, function or window is another feature."""
    with store_of(tmp_path, [event(1, HOUR)], COUNT) as store:
        store.materialize(0, START)
        for changed in (
            Aggregation("*", "count", HOUR, name="n"),
            Aggregation("*", "count", DAY, name="n", where="kind = 'b'"),
            Aggregation("amount", "count", DAY, name="n"),
            Aggregation("*", "count", DAY, HOUR, name="n"),
        ):
            store.apply([view([changed])])
            assert read(store, "n") == ["NOT_FOUND"]
        store.apply([view([Aggregation("*", "count", DAY, name="renamed")])])
        assert read(store, "renamed") == ["NOT_FOUND"]  # the states of the first definition went with the second
        store.materialize(0, START)
        assert read(store, "renamed") == [1]
        store.apply([view([Aggregation("*", "count", DAY, name="again")])])
        assert read(store, "again") == [1]


def test_a_changed_view_is_served_once_the_source_has_what_was_pushed_before(tmp_path: Path) -> None:
    """A back-fill that ends before the change would lack what was pushed in between; it says so, and is not served."""
    with store_of(tmp_path, [event(1, 3 * HOUR)], COUNT) as store:
        store.materialize(0, START - micros(2 * HOUR))
        store.push("pushed", table([event(1, HOUR)]))
        store.apply([view([COUNT, SUM])])
        with pytest.warns(
            UserWarning, match="view 'v' is not served yet: up to .* what was pushed is in the source only"
        ):
            [done] = store.materialize(0, START - micros(2 * HOUR))
        assert "not served yet" in str(done)
        assert (read(store, "n"), read(store, "spent")) == ([2], ["NOT_FOUND"])
        store.write_to_offline_store("v", table([event(1, HOUR)]))
        [done] = store.materialize(0, START)
        assert done.why == "as asked for"
        assert (read(store, "n"), read(store, "spent")) == ([2], [2.0])


def test_a_definition_that_returns_has_its_states(tmp_path: Path) -> None:
    """A rollback before the new definition was filled finds what was pushed meanwhile; after that it is filled anew."""
    with store_of(tmp_path, [event(1, 2 * HOUR)], COUNT) as store:
        store.materialize(0, START)
        store.apply([view([COUNT, SUM])])
        store.push("pushed", table([event(1, HOUR)]), to=PushMode.ONLINE_AND_OFFLINE)
        store.rollback(1)
        assert read(store, "n") == [2]
        store.apply([view([COUNT, SUM])])
        store.materialize(0, START)
        store.rollback(1)
        assert read(store, "n") == [2]  # by the other definition's states
        store.push("pushed", table([event(1, timedelta(0))]))
        assert read(store, "n") == [3]
        store.write_to_offline_store("v", table([event(1, timedelta(0))]))
        store.materialize(0, START)
        assert read(store, "n") == [3]


def test_a_deleted_view_leaves_nothing_of_any_definition(tmp_path: Path) -> None:
    """All tables that it had are dropped."""
    with store_of(tmp_path, [event(1, HOUR)], COUNT) as store:
        store.materialize(0, START)
        tables = [table_name("p", store.get_feature_view("v"))]
        store.apply([view([COUNT, SUM])])
        tables.append(table_name("p", store.get_feature_view("v")))
        store.delete_feature_view("v")
        for name in tables:
            with pytest.raises(TableMissing):
                store.online_store.scan(name)
        store.apply([view([COUNT])])
        assert read(store, "n") == ["NOT_FOUND"]


def test_a_source_that_is_added_or_changed_begins_anew(tmp_path: Path) -> None:
    """States of pushes alone say nothing of a view with history, nor those of one file of another file's times."""
    with store_of(tmp_path, None, COUNT) as store:
        store.push("pushed", table([event(1, HOUR)]))
        pq.write_table(table([event(1, 2 * HOUR)]), tmp_path / "rows.parquet")
        store.apply([view([COUNT])])
        assert read(store, "n") == ["NOT_FOUND"]
        store.materialize(0, START)
        assert read(store, "n") == [1]
        pq.write_table(table([event(1, 2 * HOUR), event(1, 3 * HOUR)]), tmp_path / "other.parquet")
        store.apply([view([COUNT], path="other.parquet")])
        assert read(store, "n") == [1]  # what the view said before, until it is filled
        store.materialize(0, START)
        assert read(store, "n") == [2]


def test_an_end_before_the_last_one_takes_nothing_away(tmp_path: Path) -> None:
    """A run that ends earlier goes as far as the one before, so that no key has less than it had."""
    with store_of(tmp_path, [event(1, HOUR), event(2, 3 * HOUR)], COUNT) as store:
        store.materialize(0, START)
        store.write_to_offline_store("v", table([event(1, HOUR)]))
        store.materialize(0, START - micros(2 * HOUR))
        assert read(store, "n", (1, 2)) == [2, 1]


def test_deleted_keys_stay_deleted_until_something_newer_comes(tmp_path: Path) -> None:
    """A back-fill does not bring them back; a push of a later time does (T12)."""
    with store_of(tmp_path, [event(1, HOUR), event(2, HOUR)], COUNT) as store:
        store.materialize(0, START)
        store.delete_from_online_store("v", [{"user": 1}])
        store.materialize(0, START)
        assert read(store, "n", (1, 2)) == [0, 1]
        store.clock = FixedClock(START + 2)
        store.push("pushed", table([Event(1, START + 1, None, 1.0, 1, "a")]))
        assert read(store, "n", (1, 2), START + 2) == [1, 1]


def test_a_push_that_is_sent_again_after_a_kill_counts_once(tmp_path: Path) -> None:
    """Its rows were in the source before a back-fill, and not in the states: they are the source's."""
    with store_of(tmp_path, [event(2, HOUR)], COUNT) as store:
        store.materialize(0, START)
        rows = table([event(1, HOUR)])
        store.push("pushed", rows, to=PushMode.OFFLINE, idempotency_key="k")  # as if it had been killed then
        store.materialize(0, START)
        assert read(store, "n") == [1]
        store.push("pushed", rows, to=PushMode.ONLINE_AND_OFFLINE, idempotency_key="k")
        assert read(store, "n") == [1]
        more = table([event(1, 2 * HOUR)])
        store.push("pushed", more, to=PushMode.OFFLINE, idempotency_key="l")
        store.push("pushed", more, to=PushMode.ONLINE_AND_OFFLINE, idempotency_key="l")
        assert read(store, "n") == [2]
        store.materialize(0, START)
        assert read(store, "n") == [2]


def test_a_store_that_was_emptied_is_filled_anew(tmp_path: Path) -> None:
    """Nothing partial is served after it: the source has to have all that was pushed before."""
    with store_of(tmp_path, [event(1, 3 * HOUR)], COUNT) as store:
        store.materialize(0, START - micros(2 * HOUR))
        store.push("pushed", table([event(1, HOUR)]))
        assert read(store, "n") == [2]
    shutil.rmtree(tmp_path / "online-lmdb")
    with open_store(tmp_path, "lmdb", START) as store:
        with pytest.warns(UserWarning, match="not served yet"):
            store.materialize(0, START - micros(2 * HOUR))
        assert read(store, "n") == ["NOT_FOUND"]
        store.write_to_offline_store("v", table([event(1, HOUR)]))
        store.materialize(0, START)
        assert read(store, "n") == [2]


def test_a_store_that_was_used_before_another_one_is_not_trusted(tmp_path: Path) -> None:
    """It lacks what was pushed to the other one, so a back-fill begins with an empty table."""
    with store_of(tmp_path, [event(1, 3 * HOUR)], COUNT) as store:
        store.materialize(0, START - micros(2 * HOUR))
    (tmp_path / "online-lmdb").rename(tmp_path / "first")
    with open_store(tmp_path, "lmdb", START) as store:
        store.push("pushed", table([event(1, HOUR)]), to=PushMode.ONLINE_AND_OFFLINE)
        store.materialize(0, START)
        assert read(store, "n") == [2]
    shutil.rmtree(tmp_path / "online-lmdb")
    (tmp_path / "first").rename(tmp_path / "online-lmdb")
    with open_store(tmp_path, "lmdb", START) as store:
        store.materialize(0, START)
        assert read(store, "n") == [2]


def test_a_start_that_is_too_late_is_moved_back_and_said(tmp_path: Path) -> None:
    """The windows at the end reach further than what was asked for; the run says from where it read, and how far."""
    seen: list[Progress] = []
    with store_of(tmp_path, [event(1, 20 * HOUR), event(2, HOUR)], COUNT) as store:
        [done] = store.materialize(START - micros(HOUR), START, report=seen.append)
        assert done.why == "as asked for, and back to what its windows need at the end"
        assert (done.start, done.keys, read(store, "n")) == (START - micros(DAY), 2, [1])
        assert [(each.view, each.keys) for each in seen][-1] == ("v", 2)
        [done] = store.materialize_incremental(START)
        assert (done.start, done.why) == (START - micros(DAY), "what its windows reach")


KINDS: dict[str, tuple[FeatureType, list[Any]]] = {
    "String": (String, ["", "a", "b\0", "ä"]),
    "Bytes": (Bytes, [b"", b"\0", b"\xff"]),
    "Bool": (Bool, [True, False]),
    "Float64": (Float64, [0.5, float("inf"), -1.0]),
    "Int32": (Int32, [-1, 0, 2**31 - 1]),
    "UnixTimestamp": (UnixTimestamp, [datetime(2024, 1, 1, tzinfo=UTC), datetime(1969, 1, 1, tzinfo=UTC)]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_keys_of_any_type_are_filled_and_pushed(tmp_path: Path, kind: str) -> None:
    """Rows with a null key belong to nobody."""
    declared, values = KINDS[kind]
    user = Entity("user", value_type=declared)
    keys = pa.array([*values, *values, None], arrow_type(declared))
    at = pa.array([START - 5] * len(keys), pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    pq.write_table(pa.table({"user": keys, "at": at}), tmp_path / "rows.parquet")
    source = PushSource("pushed", FileSource(path="rows.parquet", timestamp_field="at"))
    with open_store(tmp_path, "lmdb", START) as store:
        store.apply([StreamFeatureView("v", source=source, entities=[user], aggregations=[COUNT])])
        store.materialize(0, START)
        assert read(store, "n", values) == [2] * len(values)
        store.push("pushed", pa.table({"user": keys[: len(values)], "at": at[: len(values)]}))
        assert read(store, "n", values) == [3] * len(values)


def test_a_view_without_entities_has_one_window(tmp_path: Path) -> None:
    """All rows are of one key, the one without parts, be they many."""
    rows = [event(n, HOUR) for n in range(500)]
    pq.write_table(table(rows), tmp_path / "rows.parquet")
    source = PushSource("pushed", FileSource(path="rows.parquet", timestamp_field="at"))
    with open_store(tmp_path, "lmdb", START) as store:
        store.apply([StreamFeatureView("v", source=source, aggregations=[COUNT, MOST])])
        store.materialize(0, START)
        store.push("pushed", table([event(1, HOUR, 9.0)]))
        answer = store.get_online_features(["v:n", "v:most"], [{}])
        assert (answer.to_dict()["n"], answer.to_dict()["most"]) == ([501], [9.0])


def test_more_keys_than_a_page(tmp_path: Path) -> None:
    """States are written and settled page after page; keys that left the source are settled as well."""
    keys = pa.array(range(25_000))
    at = pa.array([START - 5] * len(keys), pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    pq.write_table(pa.table({"user": keys, "at": at}), tmp_path / "rows.parquet")
    source = PushSource("pushed", FileSource(path="rows.parquet", timestamp_field="at"))
    with open_store(tmp_path, "lmdb", START, rows=10_000) as store:
        store.apply([StreamFeatureView("v", source=source, entities=[Entity("user")], aggregations=[COUNT])])
        [done] = store.materialize(0, START)
        assert (done.keys, done.written) == (25_000, 25_000)
        asked = list(range(0, 25_001, 500))
        assert read(store, "n", asked) == [1] * 50 + [0]
        pq.write_table(pa.table({"user": keys[::500], "at": at[::500]}), tmp_path / "rows.parquet")
        store.materialize(0, START)
        assert read(store, "n", [0, 1, 500, 24_999]) == [1, 0, 1, 0]


@pytest.mark.parametrize("rows", [1, 7, 40])
def test_blocks_of_events_part_no_key(rows: int) -> None:
    """However batches are cut, all events come in order, and each key's in one block."""
    keys = [n // 9 if n < 90 else 10 for n in range(200)]
    batch = pa.table({"k": keys, "n": range(200)}).to_batches(max_chunksize=rows)
    blocks = list(whole_keys(batch, 1, block=20))
    assert pa.concat_tables(blocks).column("n").to_pylist() == list(range(200))
    found = [set(block.column("k").to_pylist()) for block in blocks]
    assert sum(map(len, found)) == len(set(keys))
    assert len(blocks) > 3
    assert list(whole_keys([], 1)) == []


PROGRAM = """
import sys
from pathlib import Path
from test_windows import filled
from likewise.testing.faults import crash_from_environment

filled(Path(sys.argv[1]), crash_from_environment())
"""
KILLED = [COUNT, SUM, MOST]
POINTS = (
    "materialize.opened",
    "materialize.batch_written:3",
    "materialize.chunk_written:2",
    "materialize.chunk_done:3",
    "materialize.finished",
    "materialize.closed",
)


def filled(folder: Path, crash: Crash) -> None:
    """Apply a changed definition, and materialize it."""
    with open_store(folder, "lmdb", START, crash, rows=60) as store:
        store.apply([view(KILLED)])
        store.materialize(0, START)


def run(folder: Path, program: str, crash: str) -> int:
    """Run a program on a folder in another process; return its exit code."""
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path, "LIKEWISE_CRASH_AT": crash}
    command = [sys.executable, "-c", program, str(folder)]
    done = subprocess.run(command, env=environment, timeout=100, check=False, capture_output=True, text=True)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


@pytest.mark.parametrize("point", POINTS)
def test_a_back_fill_killed_anywhere_takes_nothing_away(tmp_path: Path, point: str) -> None:
    """What was known stays right, what is new is known when all of it is, and the next run ends as if alone (T1)."""
    rng = np.random.default_rng(7)
    rows = [event(int(k), int(h) * HOUR, float(h)) for k, h in rng.integers(0, 40, (200, 2))]
    more = [event(int(k), int(h) * HOUR, float(h)) for k, h in rng.integers(0, 40, (60, 2))]
    keys = range(40)

    def wanted(fn: str, width: int, name: str) -> list[Any]:
        found = [Row((e.key,), e.at, None, n, (1, e.amount)) for n, e in enumerate([*rows, *more])]
        window = Window(width, micros(HOUR) if name == "most" else None, 0)
        return [windowed(found, (key,), START, window, fn, 0 if name == "n" else 1) for key in keys]

    n = wanted("count", micros(DAY), "n")
    with store_of(tmp_path, rows, COUNT) as store:
        store.materialize(0, START)
        store.push("pushed", table(more[:30]), to=PushMode.ONLINE_AND_OFFLINE)
    assert run(tmp_path, PROGRAM, crash=point) == -signal.SIGKILL
    with open_store(tmp_path, "lmdb", START) as store:
        store.push("pushed", table(more[30:]), to=PushMode.ONLINE_AND_OFFLINE)
        assert read(store, "n", keys) == n
        assert set(read(store, "spent", keys)) == {"NOT_FOUND"} or point.startswith(
            ("materialize.f", "materialize.closed")
        )
    filled(tmp_path, no_crash)
    with open_store(tmp_path, "lmdb", START) as store:
        assert read(store, "n", keys) == n
        assert read(store, "spent", keys) == wanted("sum", micros(DAY), "spent")
        assert read(store, "most", keys) == wanted("max", micros(7 * DAY), "most")


def test_a_run_whose_definition_changed_meanwhile_is_not_served(tmp_path: Path) -> None:
    """Its states lack what was pushed since the change: the run says so instead."""

    def change(point: str) -> None:
        if point == "materialize.chunk_done":
            with open_store(tmp_path, "lmdb", START) as other:
                other.apply([view([COUNT, SUM])])

    store_of(tmp_path, [event(1, HOUR)], COUNT).close()
    with open_store(tmp_path, "lmdb", START, change) as store:
        with pytest.raises((RunSuperseded, TableMissing)):
            store.materialize(0, START)
        assert read(store, "n") == ["NOT_FOUND"]
        store = open_store(tmp_path, "lmdb", START)
        store.materialize(0, START)
        assert (read(store, "n"), read(store, "spent")) == ([1], [1.0])


# ---- races

PUSHER = """
import random, sys
from pathlib import Path
from test_windows import HOUR, START, PushMode, event, open_store, table

rng = random.Random(sys.argv[2])
with open_store(Path(sys.argv[1]), "lmdb", START) as store:
    for number in range(int(sys.argv[3])):
        some = range(rng.choice([1, 3, 40]))
        rows = [event(rng.randrange(6), rng.randrange(30) * HOUR, float(rng.randrange(9))) for _ in some]
        token = f"{sys.argv[2]}-{number}" if number % 3 == 0 else None
        for _ in range(2 if token else 1):
            store.push("pushed", table(rows), to=PushMode.ONLINE_AND_OFFLINE, idempotency_key=token)
"""


class Meanwhile:
    """An online store in which somebody else does something right before the first states are written."""

    def __init__(self, store: OnlineStore, once: Callable[[], object]) -> None:
        self._store = store
        self._once: Callable[[], object] | None = once

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def swap(self, table: str, keys: Sequence[bytes], *more: Any) -> list[int]:
        """Do it, then write."""
        if META_KEY not in keys and self._once is not None:
            once, self._once = self._once, None
            once()
        return self._store.swap(table, keys, *more)


@pytest.mark.parametrize("back", [False, True])
def test_a_push_whose_table_is_dropped_meanwhile_reaches_the_views_as_they_stand(tmp_path: Path, back: bool) -> None:
    """It is neither an error nor lost: neither when the definition stays another one, nor when it comes back."""
    with open_store(tmp_path, "memory", START) as store:

        def newest() -> Definitions:
            store.refresh_registry()
            return store.definitions

        def change() -> None:
            gone = table_name("p", newest().view("v"))
            store.apply([view([COUNT, MOST], has_source=False)])
            store.online_store.drop([gone])
            if back:
                store.apply([view([COUNT], has_source=False)])

        store.apply([view([COUNT], has_source=False)])
        online = cast(OnlineStore, Meanwhile(store.online_store, change))
        kit = PushKit("p", str(tmp_path), store.engine, online, newest, lambda view: ())
        how = HowPushed(None, in_source=False, now=START)
        push(kit, PushRequest(table([event(1, -MICRO)]), lambda found: list(found.views.values()), True, how))
        assert read(store, "n", at=START + micros(DAY)) == [1]


def test_pushes_to_both_places_race_with_back_fills_and_changes(tmp_path: Path) -> None:
    """However they meet, no event is lost and none counts twice: serving equals training, in every feature."""
    changes = [[COUNT, SUM], [COUNT, SUM, MOST], [COUNT, MOST]]
    pushes = examples(10, 200)
    store_of(tmp_path, [event(k % 6, HOUR * (k % 30)) for k in range(50)], *changes[0]).close()
    with open_store(tmp_path, "lmdb", START, rows=200) as store:
        store.materialize(0, START)
        path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
        command = [sys.executable, "-c", PUSHER, str(tmp_path)]
        pushers = [
            subprocess.Popen([*command, str(n), str(pushes)], env={**os.environ, "PYTHONPATH": path}) for n in range(3)
        ]
        fills = 0
        try:
            while any(pusher.poll() is None for pusher in pushers):
                fills += 1
                if fills % 4 == 0:
                    store.apply([view(changes[fills // 4 % 3])])
                store.materialize(0, START)
        finally:
            for pusher in pushers:
                pusher.kill() if pusher.poll() is None and sys.exc_info()[0] else pusher.wait(100)
        assert [pusher.returncode for pusher in pushers] == [0, 0, 0]
        for again in range(2):
            asked = [aggregation.feature for aggregation in store.get_feature_view("v").aggregations]
            features = [f"v:{name}" for name in asked]
            keys = list(range(7))
            spine = pa.table(
                {"user": keys, "event_timestamp": pa.array([START] * 7).cast(pa.timestamp("us", tz="UTC"))}
            )
            trained = store.get_historical_features(spine, features).to_arrow().to_pydict()
            for name in asked:
                assert read(store, name, keys) == trained[name], (name, fills, again)
            store.materialize(0, START)
        rows = sum(trained["n"])
        print(f"{3 * pushes} pushes, {fills} back-fills, {rows} events of the last day: equal")
        assert rows > 3 * pushes


def test_a_lock_that_others_hold_is_waited_for_and_then_named(tmp_path: Path) -> None:
    """Pushes share it; a back-fill has it alone, and passes those that come after it."""
    place = Location(str(tmp_path / "rows.parquet"), "parquet")
    said = r"others hold the files of .*rows.parquet for too long"
    with (
        guarded(place, alone=False),
        guarded(place, alone=False, wait=0.5),
        pytest.raises(StoreUnavailable, match=said),
    ):
        guarded(place, alone=True, wait=0.05).__enter__()
    with guarded(place, alone=True):
        for alone in (True, False):
            with pytest.raises(StoreUnavailable), guarded(place, alone, wait=0.05):
                pass
    with guarded(place, alone=True, wait=0.05):
        pass
    with guarded(Location(str(tmp_path / "nowhere" / "rows.parquet"), "parquet"), alone=False):
        pass
