"""WindowInputs: the types of what a view's windows read and make, told once, when the view is applied.

What is told is stored in the definition, so that training, back-fill and push read the same, whatever they look at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from likewise.core.aggregates import aggregate_for, parse_function
from likewise.core.errors import InvalidDefinition, InvalidType, LikewiseError
from likewise.core.names import near_misses
from likewise.core.types import Bool, Family, FeatureType, Int64, Invalid, type_from_arrow
from likewise.define.aggregation import ROWS, Aggregation
from likewise.define.field import Field
from likewise.define.view import WindowedView
from likewise.plan.windows import WindowInput, window_input

if TYPE_CHECKING:
    import pyarrow as pa

Fault = tuple[str, str]
"""(what is wrong, cure)."""
TypeReader = Callable[[str, Sequence[tuple[str, FeatureType]]], "pa.DataType"]
"""Returns the type of an SQL expression's values, given (name, type) of the columns that it reads."""

_WORD = re.compile(r"[^\W\d]\w*")
_KEEP = ("min", "max", "first", "last", "sum")
_LISTS = ("first_n", "last_n", "last_distinct_n", "top_k")
_HOLDS: Mapping[Family, tuple[Family, ...]] = {
    Family.INT: (Family.INT, Family.FLOAT, Family.DECIMAL),
    Family.FLOAT: (Family.FLOAT,),
    Family.DECIMAL: (Family.DECIMAL, Family.FLOAT),
}
"""Family of a function's values to those that a feature may be declared as."""


@dataclass(frozen=True, slots=True)
class EventColumns:
    """What is known of the columns of a view's rows."""

    types: Mapping[str, FeatureType]
    """The type of each, by its name in the view."""
    complete: bool
    """Whether these are all columns that there are."""
    unusable: Mapping[str, LikewiseError] = field(default_factory=dict)
    """Columns that no feature type holds, and why."""


def resolve_windows(view: WindowedView, columns: EventColumns, read_type: TypeReader) -> Iterator[Fault]:
    """Fill in the types of what a view's windows read and make, and return what is wrong with them.

    Args:
        view: the view; its inputs, derived types and fields are filled in.
        columns: what is known of its rows' columns.
        read_type: tells the type of an SQL expression.
    """
    implied = {} if columns.complete else _implied(view)
    resolver = _Resolver(view, {**implied, **columns.types}, columns, read_type)
    for aggregation in view.windows():
        if not list(aggregation.faults()):  # which are said already
            yield from resolver.resolve(aggregation)
    yield from resolver.alike()
    resolver.fill()


@dataclass(slots=True)
class _Resolver:
    view: WindowedView
    types: Mapping[str, FeatureType]
    columns: EventColumns
    read_type: TypeReader
    read: set[str] = field(default_factory=set)
    derived: dict[str, FeatureType] = field(default_factory=dict)
    made: list[Field] = field(default_factory=list)

    def resolve(self, aggregation: Aggregation) -> Iterator[Fault]:
        """Return what is wrong with one aggregation; remember what it reads and makes."""
        said = f"aggregation {aggregation.feature!r}"
        try:
            found = self._input(aggregation)
            output = aggregate_for(aggregation.function, found.type).output
        except LikewiseError as error:
            yield f"{said}: {error.message}", error.cure
            return
        self.read.update(found.columns)
        declared = {each.name: each.dtype for each in self.view.fields}.get(aggregation.feature)
        if declared is None:
            self.made.append(Field(aggregation.feature, output))
        elif declared is not Invalid and not holds(declared, output):
            what = f"{said} is declared {declared}, but {aggregation.function} of {found.type} gives {output}"
            yield what, f"declare it {output}"

    def _input(self, aggregation: Aggregation) -> WindowInput:
        """Return what an aggregation reads, with its type.

        Raises:
            InvalidDefinition, InvalidType: there is no such thing.
        """
        found = window_input(aggregation, {*self.types, *self.columns.unusable})
        for name in found.columns:
            self._refuse_unknown(name)
        if found.where:
            self._check_condition(aggregation, found)
        if found.expression == ROWS:
            return replace(found, type=Int64)
        if found.expression in found.columns:
            return replace(found, type=self.types[found.expression])
        kind = type_from_arrow(self.read_type(found.expression, self._of(found)))
        self.derived[aggregation.column.strip()] = kind
        return replace(found, type=kind)

    def _refuse_unknown(self, name: str) -> None:
        if name in self.columns.unusable:
            error = self.columns.unusable[name]
            raise InvalidType(f"column {name!r}: {error.message}", cure=error.cure)
        if name in self.types:
            return
        if self.columns.complete:
            raise InvalidDefinition(f"there is no column {name!r}", cure=near_misses(name, self.types))
        cure = f"list it: inputs=[Field({name!r}, Float64)]"
        raise InvalidDefinition(f"the type of the column {name!r} cannot be told", cure=cure)

    def _check_condition(self, aggregation: Aggregation, found: WindowInput) -> None:
        kind = type_from_arrow(self.read_type(found.where, self._of(found)))
        if kind != Bool:
            what = f"where={aggregation.where!r} is no condition: it gives {kind}"
            raise InvalidType(what, cure="write a comparison, such as amount > 0")

    def _of(self, found: WindowInput) -> list[tuple[str, FeatureType]]:
        return [(name, self.types[name]) for name in found.columns]

    def alike(self) -> Iterator[Fault]:
        """Return which columns SQL could not tell apart, as it does not look at the case of letters."""
        by_fold: dict[str, str] = {}
        for name in sorted(self.read):
            other = by_fold.setdefault(name.casefold(), name)
            if other != name:
                what = f"its windows read the columns {other!r} and {name!r}, which differ only in case"
                yield what, "give one of them another name with field_mapping"

    def fill(self) -> None:
        """Write what was found into the view."""
        declared = {each.name: each for each in self.view.inputs}
        read = {name: declared.get(name) or Field(name, self.types[name]) for name in self.read}
        self.view.inputs = [each for _, each in sorted({**declared, **read}.items())]
        self.view.derived = dict(sorted(self.derived.items()))
        self.view.fields = [*self.view.fields, *self.made]


def holds(declared: FeatureType, output: FeatureType) -> bool:
    """Tell whether a feature of a declared type can hold a function's values: numbers numbers, others just their own.

    Example:
        >>> from likewise.core.types import Float32, Float64, Int32
        >>> holds(Float32, Float64), holds(Int32, Int64), holds(Int64, Float64)
        (True, True, False)
    """
    return declared == output or declared.family in _HOLDS.get(output.family, ())


def _implied(view: WindowedView) -> dict[str, FeatureType]:
    """Return the types of columns that follow from what features are declared as, where a function keeps the type."""
    declared = {each.name: each.dtype for each in view.fields}
    found: dict[str, FeatureType] = {}
    for aggregation in view.windows():
        kind = declared.get(aggregation.feature)
        if kind is None or list(aggregation.faults()):
            continue
        name = parse_function(aggregation.function).name
        implied = kind if name in _KEEP else kind.inner if name in _LISTS else None
        if implied is not None and _WORD.fullmatch(aggregation.column.strip()):
            found.setdefault(aggregation.column.strip(), implied)
    return found
