"""Windows: which span of time a windowed feature looks at (S5), and the tiles that such a span is made of.

Times and lengths are int64 microseconds. A window at t covers the events in (lo, hi]: the old end does not belong to
it, the new end does. Tiles are storage, and never change a value: tile k of hop h covers (k * h, (k + 1) * h].
"""

from __future__ import annotations

from dataclasses import dataclass

from likewise.core.errors import InvalidDefinition
from likewise.core.time import EARLIEST

BEFORE_ALL = EARLIEST - 1
"""The old end of a window that takes every event: the last microsecond before the first time there is."""


@dataclass(frozen=True, slots=True)
class Window:
    """The span of a windowed feature, in microseconds.

    Raises:
        InvalidDefinition: a length is not positive, or the delay is negative.

    Example:
        >>> Window(width=60, slide=None, delay=0).bounds(100)
        (40, 100)
        >>> Window(width=60, slide=25, delay=10).bounds(100)
        (25, 90)
        >>> Window(width=None, slide=None, delay=0).bounds(100) == (BEFORE_ALL, 100)
        True
    """

    width: int | None
    """Its length, more than zero; None is the whole life of a key."""
    slide: int | None = None
    """What its old end is aligned down to, more than zero, counted from the epoch; None is exact."""
    delay: int = 0
    """How far its new end lies before the time asked for, at least zero."""

    def __post_init__(self) -> None:
        for name, length in (("width", self.width), ("slide", self.slide)):
            if length is not None and length <= 0:
                raise InvalidDefinition(f"a window with {name} {length} µs", cure=f"give a {name} of more than zero")
        if self.delay < 0:
            raise InvalidDefinition(f"a window with delay {self.delay} µs", cure="give a delay of at least zero")

    def bounds(self, t: int) -> tuple[int, int]:
        """Return (lo, hi): the window at t covers the events with lo < event time <= hi."""
        hi = t - self.delay
        if self.width is None:
            return BEFORE_ALL, hi
        lo = hi - self.width
        if self.slide is not None:
            lo -= lo % self.slide
        return max(lo, BEFORE_ALL), hi

    @property
    def reach(self) -> int | None:
        """How far before t the oldest event can lie, at most; None is without limit."""
        return None if self.width is None else self.width + (self.slide or 0) + self.delay


def tile_of(time: int, hop: int) -> int:
    """Return the number of the tile that an event belongs to.

    Example:
        >>> tile_of(10, 10), tile_of(11, 10), tile_of(0, 10)
        (0, 1, -1)
    """
    return (time - 1) // hop


def tile_bounds(tile: int, hop: int) -> tuple[int, int]:
    """Return (lo, hi) of a tile: it covers the events with lo < event time <= hi.

    Example:
        >>> tile_bounds(1, 10)
        (10, 20)
    """
    return tile * hop, (tile + 1) * hop
