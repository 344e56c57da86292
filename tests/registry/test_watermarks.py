"""Watermarks move last, runs resume, and a run that was overtaken writes nothing more (G4)."""

import itertools

import hypothesis.strategies as st
import pytest
from hypothesis import given

from likewise.core.errors import StoreError
from likewise.registry.base import Registry
from likewise.registry.memory import MemoryRegistry
from likewise.registry.watermarks import (
    Run,
    RunSuperseded,
    all_watermarks,
    chunk_done,
    close_run,
    forget,
    merge,
    open_run,
    read_watermark,
)


@pytest.fixture
def registry() -> Registry:
    """Return a registry in which nothing is materialized."""
    return MemoryRegistry()


def run(registry: Registry, start: int, end: int, *, token: int = 1, definition: str = "v1") -> None:
    """Open and close a run of two chunks."""
    opened = open_run(registry.side, "demo", "cards", Run(f"run {token}", token, definition, start, end, chunks=2))
    for chunk in opened.missing():
        opened = chunk_done(registry.side, "demo", "cards", opened, chunk)
    close_run(registry.side, "demo", "cards", opened)


def test_nothing_is_materialized_at_first(registry: Registry) -> None:
    """A view that was never materialized has no end, no intervals and no run."""
    mark = read_watermark(registry.side, "demo", "cards")
    assert (mark.end, mark.intervals, mark.definition, mark.run) == (None, (), "", None)
    assert all_watermarks(registry.side, "demo") == {}


def test_only_closing_moves_the_watermark(registry: Registry) -> None:
    """While a run is open the watermark stays; it moves when every chunk is stored and the run is closed."""
    opened = open_run(registry.side, "demo", "cards", Run("run", 1, "v1", 0, 99, chunks=2))
    chunk_done(registry.side, "demo", "cards", opened, 1)
    mark = read_watermark(registry.side, "demo", "cards")
    assert (mark.end, mark.run) == (None, Run("run", 1, "v1", 0, 99, 2, done=((1, 1),)))
    with pytest.raises(StoreError, match="run 'run' of view 'cards' lacks chunk 0"):
        close_run(registry.side, "demo", "cards", opened)
    chunk_done(registry.side, "demo", "cards", opened, 0)
    chunk_done(registry.side, "demo", "cards", opened, 0)
    closed = close_run(registry.side, "demo", "cards", opened)
    assert (closed.end, closed.intervals, closed.definition, closed.run) == (99, ((0, 99),), "v1", None)
    assert all_watermarks(registry.side, "demo") == {"cards": closed}
    assert read_watermark(registry.side, "demo", "other").end is None


def test_intervals_are_merged(registry: Registry) -> None:
    """Spans that overlap or touch become one; the watermark is the latest end, in whatever order they came."""
    run(registry, 50, 60)
    run(registry, 0, 10, token=2)
    assert read_watermark(registry.side, "demo", "cards").intervals == ((0, 10), (50, 60))
    run(registry, 10, 49, token=3)
    assert read_watermark(registry.side, "demo", "cards").intervals == ((0, 60),)


def test_another_definition_moves_the_watermark_only_by_a_run_that_begins_anew(registry: Registry) -> None:
    """What was there of v1 says nothing of v2, and a span somebody asked for nothing of what lies before it."""
    run(registry, 0, 60)
    run(registry, 10, 49, token=2, definition="v2")
    mark = read_watermark(registry.side, "demo", "cards")
    assert (mark.intervals, mark.end, mark.definition, mark.run) == (((0, 60),), 60, "v1", None)
    opened = open_run(registry.side, "demo", "cards", Run("r", 3, "v2", 10, 49, 1))
    chunk_done(registry.side, "demo", "cards", opened, 0)
    mark = close_run(registry.side, "demo", "cards", opened, anew=True)
    assert (mark.intervals, mark.end, mark.definition) == (((10, 49),), 49, "v2")


def test_a_killed_run_is_resumed(registry: Registry) -> None:
    """The next run of the same definition, span and chunks goes on with what is missing."""
    first = open_run(registry.side, "demo", "cards", Run("first", 1, "v1", 0, 99, chunks=4))
    for chunk in (0, 2):
        chunk_done(registry.side, "demo", "cards", first, chunk)
    second = open_run(registry.side, "demo", "cards", Run("second", 2, "v1", 0, 99, chunks=4))
    assert second.missing() == [1, 3]


@pytest.mark.parametrize(
    "other",
    [
        Run("b", 2, "v2", 0, 99, 4),
        Run("b", 2, "v1", 1, 99, 4),
        Run("b", 2, "v1", 0, 98, 4),
        Run("b", 2, "v1", 0, 99, 5),
    ],
)
def test_another_run_begins_anew(registry: Registry, other: Run) -> None:
    """A run of another definition, span or number of chunks takes over nothing."""
    first = open_run(registry.side, "demo", "cards", Run("a", 1, "v1", 0, 99, chunks=4))
    chunk_done(registry.side, "demo", "cards", first, 0)
    assert open_run(registry.side, "demo", "cards", other).done == ()


def test_a_run_that_was_overtaken_is_fenced_off(registry: Registry) -> None:
    """Once a run with a greater token is open, an older one can note no chunk, not close, and not open again."""
    old = open_run(registry.side, "demo", "cards", Run("old", 1, "v1", 0, 99, chunks=1))
    new = open_run(registry.side, "demo", "cards", Run("new", 2, "v1", 0, 99, chunks=1))
    with pytest.raises(RunSuperseded, match="run 'old' of view 'cards' was overtaken"):
        chunk_done(registry.side, "demo", "cards", old, 0)
    with pytest.raises(RunSuperseded):
        close_run(registry.side, "demo", "cards", old)
    with pytest.raises(RunSuperseded):
        open_run(registry.side, "demo", "cards", Run("old", 1, "v1", 0, 99, chunks=1))
    chunk_done(registry.side, "demo", "cards", new, 0)
    close_run(registry.side, "demo", "cards", new)
    with pytest.raises(RunSuperseded):
        close_run(registry.side, "demo", "cards", new)


def test_a_view_can_be_forgotten(registry: Registry) -> None:
    """After its table was dropped a view is as if it was never materialized."""
    run(registry, 0, 99)
    forget(registry.side, "demo", "cards")
    forget(registry.side, "demo", "cards")
    assert read_watermark(registry.side, "demo", "cards").end is None


SPANS = st.lists(st.tuples(st.integers(-20, 20), st.integers(0, 6)).map(lambda pair: (pair[0], pair[0] + pair[1])))


@given(SPANS)
def test_merged_spans_cover_the_same_numbers(spans: list[tuple[int, int]]) -> None:
    """Merging keeps exactly the numbers covered, in order and with a gap between each two spans."""
    merged = merge(spans)
    covered = {n for first, last in spans for n in range(first, last + 1)}
    assert {n for first, last in merged for n in range(first, last + 1)} == covered
    assert all(one[1] + 1 < two[0] for one, two in itertools.pairwise(merged))
    assert merge(merged) == merged
