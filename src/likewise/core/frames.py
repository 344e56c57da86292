"""Frames: Arrow tables to pandas without loss, and whatever people hold rows in to Arrow.

Integers and booleans with nulls become pandas' nullable types, and stay what they are (S8); without nulls they are
plain NumPy columns. Lists of numbers without nulls inside are NumPy arrays; all other lists are Python's, and structs
are dicts, with the values that they have: an integer beside a null stays an integer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from likewise.core.errors import BackendMissing, RequestError

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa


@runtime_checkable
class ArrowStream(Protocol):
    """Anything that gives its rows over the Arrow C stream interface, such as polars, DuckDB or pyarrow."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return a capsule with the stream."""
        ...


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """Return a table as a DataFrame; integers and booleans keep their type beside nulls, also in lists and structs.

    Example:
        >>> import pyarrow as pa
        >>> to_pandas(pa.table({"a": pa.array([1, None])}))["a"].dtype
        Int64Dtype()
    """
    import pandas as pd

    columns = {position: _column(column) for position, column in enumerate(table.columns)}
    frame = pd.DataFrame(columns, copy=False) if columns else pd.DataFrame(index=range(table.num_rows))
    frame.columns = pd.Index(table.column_names)
    return frame


def to_polars(table: pa.Table) -> pl.DataFrame:
    """Return a table as a polars DataFrame.

    Raises:
        BackendMissing: polars is not installed.
    """
    try:
        import polars as pl
    except ImportError as error:
        raise BackendMissing("polars is not installed", cure='pip install "likewise[polars]"') from error
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _column(column: pa.ChunkedArray) -> Any:
    import pandas as pd
    import pyarrow as pa

    if column.null_count and (pa.types.is_integer(column.type) or pa.types.is_boolean(column.type)):
        nullable = {
            pa.int8(): pd.Int8Dtype(),
            pa.int16(): pd.Int16Dtype(),
            pa.int32(): pd.Int32Dtype(),
            pa.int64(): pd.Int64Dtype(),
            pa.uint8(): pd.UInt8Dtype(),
            pa.uint16(): pd.UInt16Dtype(),
            pa.uint32(): pd.UInt32Dtype(),
            pa.uint64(): pd.UInt64Dtype(),
            pa.bool_(): pd.BooleanDtype(),
        }
        return column.to_pandas(types_mapper=nullable.get)
    return pd.Series(column.to_pylist(), dtype=object) if _has_parts(column) else column.to_pandas()


def _has_parts(column: pa.ChunkedArray) -> bool:
    """Tell whether pandas' own way may change the values of a column, as it makes floats of integers beside a null."""
    import pyarrow as pa

    checks, held = pa.types, column.type
    if checks.is_struct(held):
        return True
    if not (checks.is_list(held) or checks.is_large_list(held) or checks.is_fixed_size_list(held)):
        return False
    number = checks.is_integer(held.value_type) or checks.is_floating(held.value_type)
    return not number or any(chunk.flatten().null_count for chunk in column.chunks)


def to_table(rows: object, what: str = "rows") -> pa.Table:
    """Return rows as an Arrow table.

    Args:
        rows: a pandas or polars frame, an Arrow table, batch or reader, anything with the Arrow C stream interface, a
            mapping of column to values, or a sequence of mappings, one a row.
        what: what the rows are, for the message.

    Raises:
        RequestError: it is none of these.

    Example:
        >>> to_table([{"a": 1}, {"a": 2}]).num_rows
        2
    """
    import pandas as pd
    import pyarrow as pa

    try:
        match rows:
            case pa.Table():
                return rows
            case pa.RecordBatch():
                return pa.Table.from_batches([rows])
            case pa.RecordBatchReader():
                return rows.read_all()
            case pd.DataFrame():
                return _from_pandas(rows)
            case ArrowStream():
                return pa.RecordBatchReader.from_stream(rows).read_all()
            case Mapping():
                return pa.table({str(name): list(values) for name, values in rows.items()})
            case Sequence() if not isinstance(rows, str | bytes) and all(isinstance(row, Mapping) for row in rows):
                names = dict.fromkeys(name for row in rows for name in row)  # a later row may have more of them
                return pa.table({str(name): [row.get(name) for row in rows] for name in names})
    except (pa.ArrowException, TypeError, OverflowError) as error:
        raise RequestError(f"the {what} cannot be read as columns of one type each: {error}") from error
    raise RequestError(
        f"the {what} are a {type(rows).__name__}",
        cure="give a pandas or polars DataFrame, an Arrow table, or a list of dicts",
    )


def _from_pandas(frame: pd.DataFrame) -> pa.Table:
    """Take every column, and no index: an index is not a column until it is made one."""
    import pyarrow as pa

    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise RequestError(f"the rows have two columns named {twice[0]!r}", cure="rename one of them")
    table = pa.Table.from_pandas(frame, preserve_index=False)
    return table.replace_schema_metadata(None)
