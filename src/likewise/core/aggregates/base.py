"""The interface of aggregates: start, add, merge, finish (S6), the one arithmetic of training, serving and streams.

A *value* is what Arrow's ``to_pylist`` gives, except that a time is an int of microseconds: bool, int, float, str,
bytes, ``decimal.Decimal``, a UUID's text, lists and dicts of these; None is null. ``finish`` gives the same kinds.

A *state* is plain data that msgpack holds: None, bool, int of 64 bits, float, str, bytes, lists, and dicts whose keys
are scalars. Whether it was written and read back changes nothing.

A *rank* says which of two events is the later (S2): (event time, created time or NEVER, place in the source).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from likewise.core.errors import InvalidDefinition
from likewise.core.types import Family, FeatureType

Value = Any
"""An input or a result, in the plain form above."""
State = Any
"""What an aggregate remembers, as plain data."""
Rank = tuple[int, int, int]
"""(event time, created time or NEVER, place in the source)."""

NEVER = -(2**63)
"""The created time of an event that has none: it ranks before all others."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """The number that a function takes, as in ``last_n(5)``."""

    default: int | float
    """What it is where the text gives none; an int where only whole numbers are taken."""
    low: int | float
    """The least that it may be."""
    high: int | float
    """The most that it may be."""

    def read(self, text: str, function: str) -> int | float:
        """Return the number that a text stands for.

        Raises:
            InvalidDefinition: it is no number, not a whole one where that is needed, or out of bounds.

        Example:
            >>> Parameter(10, 1, 100).read(" 5 ", "last_n"), Parameter(0.5, 0.0, 1.0).read("1", "approx_percentile")
            (5, 1.0)
        """
        kind = type(self.default)
        try:
            number = kind(text)
        except ValueError:
            number = None
        if number is not None and self.low <= number <= self.high:
            return number + 0
        noun = "a whole number" if kind is int else "a number"
        raise InvalidDefinition(
            f"aggregation function {function}({text.strip()!r}) is not known",
            cure=f"give {function} {noun} from {self.low} to {self.high}, such as {function}({self.default})",
        )


class Aggregate(ABC):
    """One function over one type of input; stateless itself, so one object serves all keys and threads.

    A state that is given to ``add`` or ``add_all`` belongs to it and may change in place; ``merge``, ``merge_all`` and
    ``finish`` leave theirs as they are. The order of the calls never changes what ``finish`` gives, except between
    events of one rank, of which the one that was added later is the later.

    Args:
        input: the type of the values.
        parameter: the function's number, checked; None for its default, and where it takes none.
    """

    name: ClassVar[str]
    """The function's canonical name."""
    takes: ClassVar[tuple[Family, ...]]
    """The families of the types that it takes."""
    parameter: ClassVar[Parameter | None] = None
    """The number that it takes; None where it takes none."""
    ranked: ClassVar[bool] = False
    """Whether ranks matter; where they do not, `ranks` may be empty and `rank` anything."""

    def __init__(self, input: FeatureType, parameter: int | float | None = None) -> None:
        self.input = input
        default = None if self.parameter is None else self.parameter.default
        self.number = default if parameter is None else parameter
        self.output = self.output_type()

    @property
    def kind(self) -> str:
        """What its state is: two aggregates over one input with equal kinds have the same states; keep one."""
        return self.name if self.number is None else f"{self.name}({self.number})"

    def output_type(self) -> FeatureType:
        """Return the type of the results; by default the input's."""
        return self.input

    @abstractmethod
    def start(self) -> State:
        """Return the state of no events."""

    @abstractmethod
    def add(self, state: State, value: Value, rank: Rank) -> State:
        """Return the state with one event more; a null changes nothing."""

    def add_all(self, state: State, values: Sequence[Value], ranks: Sequence[Rank]) -> State:
        """Return the state with a batch of events more: the same as adding one after the other, but quicker.

        Args:
            state: the state so far.
            values: one for each event; None is null.
            ranks: one for each event; may be empty where the function is not `ranked`.
        """
        for value, rank in zip(values, ranks or [(0, 0, 0)] * len(values), strict=True):
            state = self.add(state, value, rank)
        return state

    @abstractmethod
    def merge(self, a: State, b: State) -> State:
        """Return the state of the events of both; of two with one rank, b's is the later."""

    def merge_all(self, states: Iterable[State]) -> State:
        """Return the state of the events of all; of two with one rank, the one of the later state is the later."""
        whole = self.start()
        for state in states:
            whole = self.merge(whole, state)
        return whole

    @abstractmethod
    def finish(self, state: State) -> Value:
        """Return the result; None (or a count of 0) where there was no value that is not null."""
