"""Frames: Arrow tables to pandas without loss, and whatever people hold rows in to Arrow.

Integers and booleans with nulls become pandas' nullable types, and stay what they are (S8); without nulls they are
plain NumPy columns. Lists of numbers without nulls inside are NumPy arrays; all other lists are Python's, and structs
and maps are dicts, with the values that they have: an integer beside a null stays an integer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from likewise.core.errors import BackendMissing, RequestError
from likewise.core.types import is_list

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


def to_rows(table: pa.Table | pa.RecordBatch) -> list[dict[str, Any]]:
    """Return a table as one dict of Python values for each row; maps are dicts, also inside lists and structs.

    Example:
        >>> import pyarrow as pa
        >>> to_rows(pa.table({"a": [1], "m": pa.array([[("k", "v")]], pa.map_(pa.string(), pa.string()))}))
        [{'a': 1, 'm': {'k': 'v'}}]
    """
    columns = [_values(column) for column in table.columns]
    names = table.column_names
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def to_columns(table: pa.Table) -> dict[str, list[Any]]:
    """Return a table as lists of Python values, column by column; maps are dicts, also inside lists and structs.

    Example:
        >>> import pyarrow as pa
        >>> to_columns(pa.table({"a": [1, None]}))
        {'a': [1, None]}
    """
    return {name: _values(column) for name, column in zip(table.column_names, table.columns, strict=True)}


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
    return pd.Series(_values(column), dtype=object) if _has_parts(column) else column.to_pandas()


def _values(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Return a column's values as Python has them: structs and maps are dicts, also inside lists."""
    values: list[Any] = column.to_pylist()
    turn = _with_dicts(column.type)
    return values if turn is None else _each(values, turn)


def _with_dicts(held: pa.DataType) -> Callable[[Any], Any] | None:
    """Return what makes dicts of the maps in one value of an Arrow type; None where there are none."""
    import pyarrow as pa

    if pa.types.is_map(held):
        return _dict_of(_with_dicts(held.item_type))
    if pa.types.is_struct(held):
        turns = {field.name: turn for field in held if (turn := _with_dicts(field.type)) is not None}
        return partial(_each_field, turns=turns) if turns else None
    inner = _with_dicts(held.value_type) if is_list(held) else None
    return None if inner is None else partial(_each, turn=inner)


def _dict_of(turn: Callable[[Any], Any] | None) -> Callable[[list[tuple[Any, Any]]], Any]:
    def make(pairs: list[tuple[Any, Any]]) -> Any:
        items = (
            pairs if turn is None else zip([key for key, _ in pairs], _each([v for _, v in pairs], turn), strict=True)
        )
        try:
            found = dict(items)
        except TypeError:  # keys that are lists or structs
            return pairs
        return found if len(found) == len(pairs) else pairs  # a caller's own map may hold a key twice

    return make


def _each(values: list[Any], turn: Callable[[Any], Any]) -> list[Any]:
    return [None if value is None else turn(value) for value in values]


def _each_field(record: dict[str, Any], turns: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
    return {name: turns[name](item) if name in turns and item is not None else item for name, item in record.items()}


def _has_parts(column: pa.ChunkedArray) -> bool:
    """Tell whether pandas' own way may change the values of a column, as it makes floats of integers beside a null."""
    import pyarrow as pa

    checks, held = pa.types, column.type
    if checks.is_struct(held) or checks.is_map(held):
        return True
    if not is_list(held):
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
    table = _read_table(rows, what)
    refuse_twins(table.column_names, what)
    return table


def refuse_twins(names: Sequence[str], what: str) -> None:
    """Refuse columns of which two have one name.

    Raises:
        RequestError: two have.
    """
    for number, name in enumerate(names) if len(set(names)) < len(names) else ():
        if name in names[:number]:
            raise RequestError(f"the {what} have two columns named {name!r}", cure="rename one of them")


def _read_table(rows: object, what: str) -> pa.Table:
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
                return _from_pandas(rows, what)
            case ArrowStream():
                return pa.RecordBatchReader.from_stream(rows).read_all()
            case Mapping():
                return pa.table({str(name): list(values) for name, values in rows.items()})
            case Sequence() if not isinstance(rows, str | bytes) and all(isinstance(row, Mapping) for row in rows):
                names = dict.fromkeys(name for row in rows for name in row)  # a later row may have more of them
                return pa.table({str(name): [row.get(name) for row in rows] for name in names})
    except (pa.ArrowException, TypeError, OverflowError, UnicodeEncodeError) as error:
        raise RequestError(f"the {what} cannot be read as columns of one type each: {error}") from error
    raise RequestError(
        f"the {what} are a {type(rows).__name__}",
        cure="give a pandas or polars DataFrame, an Arrow table, or a list of dicts",
    )


def _from_pandas(frame: pd.DataFrame, what: str) -> pa.Table:
    """Take every column, and no index: an index is not a column until it is made one."""
    import pyarrow as pa

    refuse_twins(list(frame.columns), what)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    return table.replace_schema_metadata(None)
