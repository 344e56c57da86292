import pytest

from likewise.core.errors import InvalidDefinition
from likewise.core.time import EARLIEST
from likewise.core.windows import BEFORE_ALL, Window, tile_bounds, tile_of


@pytest.mark.parametrize(
    ("window", "t", "bounds"),
    [
        (Window(60), 100, (40, 100)),
        (Window(60, delay=7), 100, (33, 93)),
        (Window(60, slide=25), 100, (25, 100)),
        (Window(60, slide=20), 100, (40, 100)),
        (Window(60, slide=25, delay=10), 100, (25, 90)),
        (Window(60, slide=25), 0, (-75, 0)),
        (Window(None), 100, (BEFORE_ALL, 100)),
        (Window(None, slide=25, delay=10), 100, (BEFORE_ALL, 90)),
        (Window(60), EARLIEST, (BEFORE_ALL, EARLIEST)),
    ],
)
def test_the_bounds_of_a_window(window, t, bounds):
    """A window ends at t minus its delay and begins its width before, aligned down to a multiple of its slide."""
    assert window.bounds(t) == bounds


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0,), "width 0"), ((-5,), "width -5"), ((60, 0), "slide 0"), ((60, None, -1), "delay -1")],
)
def test_a_window_that_cannot_be(arguments, message):
    """A width or slide that is not positive, or a delay below zero, is refused with its value."""
    with pytest.raises(InvalidDefinition, match=message):
        Window(*arguments)


@pytest.mark.parametrize(
    ("window", "reach"), [(Window(60), 60), (Window(60, 25, 10), 95), (Window(None, 25, 10), None)]
)
def test_how_far_a_window_reaches(window, reach):
    """The oldest event of a window is at most its width, slide and delay before t; a lifetime has no limit."""
    assert window.reach == reach


@pytest.mark.parametrize("time", [-21, -20, -19, -1, 0, 1, 9, 10, 11, 20])
def test_a_tile_holds_its_new_end_and_not_its_old_one(time):
    """Every time lies in exactly the tile that tile_of names."""
    low, high = tile_bounds(tile_of(time, 10), 10)
    assert low < time <= high
