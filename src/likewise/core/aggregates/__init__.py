"""Aggregates: the functions of windowed features, by name; one small class each, used by every engine and store (S6).

A new function is one class and one line in `_CLASSES`; then it works in training, back-fill, push, serving and explain.
The tests take it up by themselves, and ask for its plain form, the oracle's, in `testing/oracle_functions.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from likewise.core.aggregates.base import NEVER, Aggregate, Rank, State, Value
from likewise.core.aggregates.counts import Count
from likewise.core.aggregates.distinct import ApproxCountDistinct, CountDistinct
from likewise.core.aggregates.ends import First, FirstN, Last, LastDistinctN, LastN
from likewise.core.aggregates.extremes import Max, Min
from likewise.core.aggregates.frequent import TopK
from likewise.core.aggregates.moments import StddevPop, StddevSamp, VarPop, VarSamp
from likewise.core.aggregates.quantiles import ApproxPercentile, Median
from likewise.core.aggregates.sums import Mean, Sum
from likewise.core.errors import InvalidDefinition, InvalidType
from likewise.core.names import near_misses
from likewise.core.types import Family, FeatureType

__all__ = [
    "ALIASES",
    "FUNCTIONS",
    "NAMES",
    "NEVER",
    "Aggregate",
    "Function",
    "Rank",
    "State",
    "Value",
    "aggregate_for",
    "parse_function",
]

_CLASSES: tuple[type[Aggregate], ...] = (
    Count,
    Sum,
    Mean,
    Min,
    Max,
    VarSamp,
    VarPop,
    StddevSamp,
    StddevPop,
    First,
    Last,
    FirstN,
    LastN,
    LastDistinctN,
    CountDistinct,
    ApproxCountDistinct,
    ApproxPercentile,
    Median,
    TopK,
)

FUNCTIONS: Mapping[str, type[Aggregate]] = {aggregate.name: aggregate for aggregate in _CLASSES}
"""Every function, by its canonical name."""
ALIASES: Mapping[str, str] = {"avg": "mean", "std": "stddev_samp", "var": "var_samp", "nunique": "count_distinct"}
"""Other names that people know the functions by, with the canonical one."""
NAMES = (*FUNCTIONS, *ALIASES)
"""Every name that a function may be called by."""

_TEXT = re.compile(r"\s*(\w+)\s*(?:\(([^()]*)\)\s*)?")


@dataclass(frozen=True, slots=True)
class Function:
    """A function as an aggregation names it; its text is the canonical one.

    Example:
        >>> str(Function("last_n", 5)), str(Function("sum"))
        ('last_n(5)', 'sum')
    """

    name: str
    """The canonical name, one of FUNCTIONS."""
    parameter: int | float | None = None
    """The number it takes; None where it takes none."""

    def __str__(self) -> str:
        return self.name if self.parameter is None else f"{self.name}({self.parameter})"


def parse_function(text: str) -> Function:
    """Read a function from its text: a name or an alias in any case, with its number in brackets where it takes one.

    Raises:
        InvalidDefinition: no function has this name, or the number is missing its bounds.

    Example:
        >>> parse_function("last_n(5)"), parse_function("AVG")
        (Function(name='last_n', parameter=5), Function(name='mean', parameter=None))
        >>> str(parse_function("top_k"))
        'top_k(10)'
    """
    found = _TEXT.fullmatch(text)
    called = found[1].lower() if found else text
    name = ALIASES.get(called, called)
    if found is None or name not in FUNCTIONS:
        raise InvalidDefinition(f"aggregation function {text!r} is not known", cure=near_misses(called, NAMES))
    parameter = FUNCTIONS[name].parameter
    if found[2] is None:
        return Function(name, None if parameter is None else parameter.default)
    if parameter is None:
        raise InvalidDefinition(f"aggregation function {text!r} takes no number", cure=f"write {called!r}")
    return Function(name, parameter.read(found[2], name))


@lru_cache(maxsize=4096)
def aggregate_for(function: str, input: FeatureType) -> Aggregate:
    """Return what computes a function over a type of input.

    Args:
        function: its text, such as ``sum`` or ``last_n(5)``.
        input: the type of the values.

    Raises:
        InvalidDefinition: there is no such function.
        InvalidType: it does not take such values.

    Example:
        >>> from likewise.core.types import Int32
        >>> total = aggregate_for("sum", Int32)
        >>> total.output, total.finish(total.add_all(total.start(), [1, None, 2], []))
        (Int64, 3)
    """
    called = parse_function(function)
    aggregate = FUNCTIONS[called.name]
    if input.family not in aggregate.takes:
        raise InvalidType(
            f"{called} does not take {input}",
            cure=f"it takes {_listed(aggregate)}; convert the column, or take another function",
        )
    return aggregate(input, called.parameter)


def _listed(aggregate: type[Aggregate]) -> str:
    return ", ".join(_NOUNS[family] for family in aggregate.takes)


_NOUNS: Mapping[Family, str] = {
    Family.BOOL: "booleans",
    Family.INT: "integers",
    Family.FLOAT: "floats",
    Family.DECIMAL: "decimals",
    Family.TEXT: "text",
    Family.BYTES: "bytes",
    Family.TIME: "times",
    Family.UUID: "UUIDs",
    Family.LIST: "lists",
    Family.SET: "sets",
    Family.MAP: "maps",
    Family.STRUCT: "structs",
}
