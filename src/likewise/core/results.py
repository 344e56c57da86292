"""Results: what a window's function gives, in the type that the feature is declared to have (S6)."""

from __future__ import annotations

from likewise.core.columns import Column, cast_exactly, first_misfit, shown
from likewise.core.errors import AggregateOverflow, SourceDrift
from likewise.core.types import Family, FeatureType, arrow_type


def declared_results(column: Column, declared: FeatureType, feature: str) -> Column:
    """Return a function's results in a declared type: numbers as numbers, all else as it is.

    Args:
        column: the results, in the function's own type.
        declared: a type that holds the function's, or other numbers.
        feature: the feature's name, for the message.

    Raises:
        AggregateOverflow: a number is beyond the declared type; floats are rounded, but stay finite.

    Example:
        >>> import pyarrow as pa
        >>> from likewise.core.types import Int32
        >>> declared_results(pa.array([2**40]), Int32, "clicks")
        Traceback (most recent call last):
        likewise.core.errors.AggregateOverflow: feature 'clicks' is 1099511627776, beyond Int32. declare it wider
    """
    wanted = arrow_type(declared)
    if column.type == wanted:
        return column

    def convert(part: Column) -> Column:
        wide = part.cast("float64", safe=False) if declared.family is Family.FLOAT else part
        return cast_exactly(wide, wanted)

    try:
        return convert(column)
    except (ValueError, SourceDrift) as error:  # Arrow's errors of a bad value are ValueErrors
        value = shown(column[first_misfit(convert, column)])
        raise AggregateOverflow(
            f"feature {feature!r} is {value}, beyond {declared}", cure="declare it wider"
        ) from error
