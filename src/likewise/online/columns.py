"""Columns: Arrow columns to the parts of online records, in batches; hot.

Apart from rows.py, so that a process that only reads needs neither pyarrow nor numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from likewise.core.columns import Column, conform, to_utc_micros
from likewise.core.errors import InvalidTime, SourceDrift
from likewise.core.types import Family, FeatureType, arrow_type
from likewise.online.values import converted, to_arrow, to_wire

_BIAS = 1 << 63
_US = pa.timestamp("us", tz="UTC")


class ColumnWriter:
    """Turns the values of one feature into what stands in records.

    Args:
        name: the feature's name, for messages.
        wanted: its type.

    Raises:
        InvalidType: the type has no values, such as Invalid.

    Example:
        >>> from likewise.core.types import UnixTimestamp
        >>> column = ColumnWriter("opened", UnixTimestamp)
        >>> column.items(column.array(["1970-01-02", None]))
        [86400000000, None]
    """

    def __init__(self, name: str, wanted: FeatureType) -> None:
        self.name = name
        self.type = wanted
        self._arrow = arrow_type(wanted)
        self._stored = _stored_type(wanted)
        self._given = _given_type(wanted)
        self._to_wire = None if wanted.family is Family.TIME else to_wire(wanted)
        self._to_arrow = to_arrow(wanted)

    def conformed(self, column: Column) -> Column:
        """Return a column of the feature in its Arrow type, checked (see :func:`~likewise.core.columns.conform`)."""
        return conform(column, self.type, f"feature {self.name!r}")

    def items(self, column: Column) -> list[Any]:
        """Return the values of a conformed column, each as it stands in a record."""
        plain = column if self._stored == self._arrow else column.cast(self._stored)
        try:
            items: list[Any] = plain.to_pylist()
            return items if self._to_wire is None else converted(items, self._to_wire)
        except ValueError as error:
            raise self._refused(error) from error

    def array(self, values: Sequence[Any]) -> pa.Array:
        """Return Python values as an Arrow column of the feature's type."""
        try:
            if self._to_arrow is not None and not set(map(type, values)) <= {int, type(None)}:
                values = converted(values, self._to_arrow)
            return self.conformed(pa.array(values, self._given))
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> SourceDrift:
        return SourceDrift(
            f"feature {self.name!r} has values that do not fit {self.type}: {error}",
            cure="mend the values, or change the dtype of the Field",
        )


def heads(template: bytes, events: npt.NDArray[np.int64], created: npt.NDArray[np.int64] | None) -> list[bytes]:
    """Return the head of each record: the template with its times put in.

    Args:
        template: the head of a record of the layout, with any times.
        events: event times in microseconds.
        created: created times in microseconds, the least int64 for none; None when no row has one.
    """
    whole = np.tile(np.frombuffer(template, np.uint8), (len(events), 1))
    whole[:, 10:18] = _biased(events)
    if created is not None:
        whole[:, 19:27] = _biased(created)
    cut: list[bytes] = whole.view(f"V{len(template)}").ravel().tolist()
    return cut


def event_ticks(column: Column) -> npt.NDArray[np.int64]:
    """Return event times as microseconds.

    Raises:
        InvalidTime: one is null, or lies outside the years 1 to 9999; the message names the row.
    """
    if column.null_count:
        row = column.is_null().index(pa.scalar(True)).as_py()
        raise InvalidTime(f"row {row} has no event time: it is null", cure="give every row its event time")
    return ticks(column, "the event time")


def ticks(column: Column, what: str) -> npt.NDArray[np.int64]:
    """Return times as microseconds; the least int64 stands for a null.

    Raises:
        InvalidTime: a time lies outside the years 1 to 9999; the message names the row.
    """
    whole = to_utc_micros(column, what).cast(pa.int64())
    flat: npt.NDArray[np.int64] = whole.fill_null(-_BIAS).to_numpy()
    return flat


def times(micros: Sequence[int | None]) -> pa.Array:
    """Return microseconds as a column of times."""
    return pa.array(micros, pa.int64()).cast(_US)


def _biased(micros: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Return eight bytes for each time, which sort as the times do; all zero for none."""
    bits = micros.view(np.uint64) ^ np.uint64(_BIAS)
    return bits.astype(">u8").view(np.uint8).reshape(-1, 8)


def _given_type(t: FeatureType) -> pa.DataType:
    """The Arrow type that Python values are first put in: as doubles, of which those beyond Float32 can be told."""
    match t.family:
        case Family.FLOAT:
            return pa.float64()
        case Family.LIST | Family.SET if t.inner is not None:
            return pa.list_(_given_type(t.inner))
        case Family.STRUCT:
            return pa.struct([(name, _given_type(inner)) for name, inner in t.fields])
    return arrow_type(t)


def _stored_type(t: FeatureType) -> pa.DataType:
    """The Arrow type whose Python values come nearest to what a record holds: times are integers."""
    match t.family:
        case Family.TIME:
            return pa.int64()
        case Family.LIST | Family.SET if t.inner is not None:
            return pa.list_(_stored_type(t.inner))
        case Family.STRUCT:
            return pa.struct([(name, _stored_type(inner)) for name, inner in t.fields])
    return arrow_type(t)
