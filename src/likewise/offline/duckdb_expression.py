"""Expressions: what an SQL expression over the columns of events gives, told by DuckDB, which also computes it."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from likewise.core.errors import InvalidDefinition
from likewise.core.types import Family, FeatureType, arrow_type
from likewise.offline.duckdb_sql import Session

_EVENTS = "events"


def column_type(feature_type: FeatureType) -> pa.DataType:
    """Return the type in which an expression sees a column: its own, but for times, which are naive, in UTC.

    So no function of times depends on a time zone, or on the extension that knows them.

    Example:
        >>> from likewise.core.types import UnixTimestamp
        >>> column_type(UnixTimestamp)
        TimestampType(timestamp[us])
    """
    return pa.timestamp("us") if feature_type.family is Family.TIME else arrow_type(feature_type)


def expression_type(session: Session, sql: str, columns: Sequence[tuple[str, FeatureType]]) -> pa.DataType:
    """Return the type of an expression's values.

    Args:
        session: how DuckDB is set up.
        sql: the expression, as :func:`likewise.plan.expression.parse_expression` writes it.
        columns: (name, type) of the columns that it reads.

    Raises:
        InvalidDefinition: it calls something with values that it does not take.

    Example:
        >>> from likewise.core.types import Int32
        >>> expression_type(Session(1 << 28, 1, ""), '"amount" / 2', [("amount", Int32)])
        DataType(double)
    """
    read = [(name, column_type(kind)) for name, kind in columns]
    events = pa.schema(read or [("none", pa.null())]).empty_table()  # DuckDB takes no table without columns
    with session.connection() as connection:
        connection.register(_EVENTS, events)
        try:
            found = connection.sql(f"SELECT ({sql}) AS value FROM {_EVENTS}").to_arrow_table()
        except duckdb.Error as error:
            said = str(error).partition("\n")[0].rstrip(". ")
            raise InvalidDefinition(f"{sql!r} cannot be computed: {said}", cure="see DuckDB's functions") from error
    return found.schema.field("value").type
