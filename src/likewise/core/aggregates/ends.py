"""Ends: the first and last values by rank (S2), one or several, with or without repeats."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

from likewise.core.aggregates.base import Aggregate, Parameter, Rank, Value
from likewise.core.aggregates.counts import ANY, SCALAR
from likewise.core.aggregates.packed import packer, unpacker
from likewise.core.aggregates.tally import keyer, unkeyer
from likewise.core.types import Array, FeatureType

Entry = list[Any]
"""One event of a state: [event time, created time, place, value]."""

HOW_MANY = Parameter(default=10, low=1, high=10_000)
"""How many values a function keeps."""

_rank = itemgetter(0, 1, 2)
_value = itemgetter(3)


class Ends(Aggregate):
    """Some values of a history by their rank; the state is their entries, oldest first."""

    takes = ANY
    ranked = True

    def __init__(self, input: FeatureType, parameter: int | float | None = None) -> None:
        super().__init__(input, parameter)
        self._pack, self._unpack = packer(input), unpacker(input)

    @abstractmethod
    def kept(self, entries: list[Entry]) -> list[Entry]:
        """Return those of some entries, in the order of rank, that count."""

    def candidates(self, places: list[int], ranks: Sequence[Rank]) -> list[int]:
        """Return those of a batch's places whose entries may count, in the order of rank."""
        return sorted(places, key=ranks.__getitem__)

    def start(self) -> list[Entry]:
        """Return no entries."""
        return []

    def add(self, state: list[Entry], value: Value, rank: Rank) -> list[Entry]:
        """Put one value in its place."""
        if value is None:
            return state
        entry = [*rank, self._pack(value)]
        if not state or _rank(state[-1]) <= rank:
            return self.kept([*state, entry])
        return self.kept(sorted([*state, entry], key=_rank))

    def add_all(self, state: list[Entry], values: Sequence[Value], ranks: Sequence[Rank]) -> list[Entry]:
        """Put many values in their places."""
        places = [place for place, value in enumerate(values) if value is not None]
        entries = [[*ranks[place], self._pack(values[place])] for place in self.candidates(places, ranks)]
        return self.merge(state, entries)

    def merge(self, a: list[Entry], b: list[Entry]) -> list[Entry]:
        """Take what counts of both."""
        return self.merge_all((a, b))

    def merge_all(self, states: Iterable[list[Entry]]) -> list[Entry]:
        """Take what counts of all."""
        return self.kept(sorted(chain.from_iterable(states), key=_rank))

    def finish(self, state: list[Entry]) -> Value:
        """Return the values, oldest first; None where there are none."""
        return [self._unpack(entry[3]) for entry in state] if state else None


class First(Ends):
    """The value of the first event that has one, in the input's type.

    Example:
        >>> from likewise.core.types import String
        >>> first = First(String)
        >>> first.finish(first.add_all(first.start(), ["b", "a"], [(20, 0, 0), (10, 0, 1)]))
        'a'
    """

    name = "first"

    def candidates(self, places: list[int], ranks: Sequence[Rank]) -> list[int]:
        """Return the first place."""
        return [min(places, key=ranks.__getitem__)] if places else []

    def kept(self, entries: list[Entry]) -> list[Entry]:
        """Return the first."""
        return entries[:1]

    def finish(self, state: list[Entry]) -> Value:
        """Return the value."""
        return self._unpack(state[0][3]) if state else None


class Last(Ends):
    """The value of the last event that has one, in the input's type.

    Example:
        >>> from likewise.core.types import String
        >>> last = Last(String)
        >>> last.finish(last.add_all(last.start(), ["b", "a"], [(20, 0, 0), (10, 0, 1)]))
        'b'
    """

    name = "last"

    def candidates(self, places: list[int], ranks: Sequence[Rank]) -> list[int]:
        """Return the last place."""
        return [max(reversed(places), key=ranks.__getitem__)] if places else []

    def kept(self, entries: list[Entry]) -> list[Entry]:
        """Return the last."""
        return entries[-1:]

    def finish(self, state: list[Entry]) -> Value:
        """Return the value."""
        return self._unpack(state[0][3]) if state else None


class FirstN(Ends):
    """The first n values, as an Array of the input's type, oldest first; written ``first_n(5)``.

    Example:
        >>> from likewise.core.types import Int64
        >>> first = FirstN(Int64, 2)
        >>> first.finish(first.add_all(first.start(), [3, 1, 2], [(30, 0, 0), (10, 0, 0), (20, 0, 0)]))
        [1, 2]
    """

    name = "first_n"
    parameter = HOW_MANY

    def output_type(self) -> FeatureType:
        """Return an Array of the input's type."""
        return Array(self.input)

    def candidates(self, places: list[int], ranks: Sequence[Rank]) -> list[int]:
        """Return the first n places."""
        return sorted(places, key=ranks.__getitem__)[: self.count]

    def kept(self, entries: list[Entry]) -> list[Entry]:
        """Return the first n."""
        return entries[: self.count]

    @property
    def count(self) -> int:
        """How many values it keeps."""
        return int(self.number or 0)


class LastN(FirstN):
    """The last n values, as an Array of the input's type, oldest first; written ``last_n(5)``.

    Example:
        >>> from likewise.core.types import Int64
        >>> last = LastN(Int64, 2)
        >>> last.finish(last.add_all(last.start(), [3, 1, 2], [(30, 0, 0), (10, 0, 0), (20, 0, 0)]))
        [2, 3]
    """

    name = "last_n"

    def candidates(self, places: list[int], ranks: Sequence[Rank]) -> list[int]:
        """Return the last n places."""
        return sorted(places, key=ranks.__getitem__)[-self.count :]

    def kept(self, entries: list[Entry]) -> list[Entry]:
        """Return the last n."""
        return entries[-self.count :]


class LastDistinctN(LastN):
    """The n distinct values that occurred last, ordered by their last occurrence; written ``last_distinct_n(5)``.

    NaN equals NaN, and -0.0 equals 0.0.

    Example:
        >>> from likewise.core.types import String
        >>> last = LastDistinctN(String, 2)
        >>> last.finish(last.add_all(last.start(), ["a", "b", "a"], [(1, 0, 0), (2, 0, 0), (3, 0, 0)]))
        ['b', 'a']
    """

    name = "last_distinct_n"
    takes = SCALAR

    def __init__(self, input: FeatureType, parameter: int | float | None = None) -> None:
        super().__init__(input, parameter)
        self._pack, self._unpack = keyer(input), unkeyer(input)

    def candidates(self, places: list[int], ranks: Sequence[Rank]) -> list[int]:
        """Return all places, any of which may hold a value's last occurrence."""
        return sorted(places, key=ranks.__getitem__)

    def kept(self, entries: list[Entry]) -> list[Entry]:
        """Return the last entry of each of the last n values."""
        latest: dict[Any, Entry] = {}
        for entry in reversed(entries):
            latest.setdefault(entry[3], entry)
            if len(latest) == self.count:
                break
        return list(reversed(latest.values()))
