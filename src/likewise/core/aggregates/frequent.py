"""Frequent values: those that occur most often."""

from __future__ import annotations

from likewise.core.aggregates.base import Parameter, Value
from likewise.core.aggregates.tally import Tallied, Tally
from likewise.core.types import Array, FeatureType


class TopK(Tallied):
    """The k most frequent values, as an Array of the input's type; of equally frequent ones, the smaller first.

    Written ``top_k(3)``. NaN equals NaN and is greater than all other numbers, and -0.0 equals 0.0.

    Example:
        >>> from likewise.core.types import String
        >>> top = TopK(String, 2)
        >>> top.finish(top.add_all(top.start(), ["b", "c", "a", "c", "b"], []))
        ['b', 'c']
    """

    name = "top_k"
    parameter = Parameter(default=10, low=1, high=10_000)

    def output_type(self) -> FeatureType:
        """Return an Array of the input's type."""
        return Array(self.input)

    def finish(self, state: Tally) -> list[Value] | None:
        """Return the values, the most frequent first."""
        ranked = sorted(self.ascending(state), key=lambda pair: -pair[1])
        return [value for value, _ in ranked[: int(self.number or 0)]] or None
