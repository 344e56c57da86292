"""OnlineResponse: the answer of an online read: values, a status for each, and event times."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from likewise.core.errors import RequestError
from likewise.core.frames import to_pandas
from likewise.core.time import from_micros
from likewise.core.types import FeatureType, UnixTimestamp, arrow_type

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa


class FieldStatus(enum.IntEnum):
    """What is known of a value; Feast's names and numbers.

    Example:
        >>> FieldStatus.OUTSIDE_MAX_AGE.value
        4
    """

    INVALID = 0
    """It could not be read: the store failed. Only services with another ``on_failed_read`` than ``error`` have it."""
    PRESENT = 1
    """It is there."""
    NULL_VALUE = 2
    """A null is stored."""
    NOT_FOUND = 3
    """There is no record of the key, or it does not have the feature yet."""
    OUTSIDE_MAX_AGE = 4
    """Its event time is older than the view's ttl."""


class Timed(Protocol):
    """The records of one view for the rows of a request."""

    @property
    def times(self) -> Sequence[int | None]:
        """The event time of each row's record, in microseconds since the epoch; None where there is no record."""
        ...

    @property
    def span(self) -> tuple[int, int] | None:
        """The earliest and the latest of them, where they are known; also of records that do not count."""
        ...


class Answered(msgspec.Struct, frozen=True):
    """One feature of an answer."""

    name: str
    """Its name."""
    type: FeatureType
    """Its type."""
    values: Sequence[Any]
    """A value for each row; None where there is none."""
    states: Sequence[FieldStatus] | None
    """What is known of each row's record; None when all are there."""
    times: Sequence[int | None]
    """The event time of each row's record, in microseconds since the epoch; None where there is no record."""

    def statuses(self) -> list[FieldStatus]:
        """Return the status of each value."""
        present, null = FieldStatus.PRESENT, FieldStatus.NULL_VALUE
        if self.states is None:
            return [null if value is None else present for value in self.values]
        return [
            null if state is present and value is None else state
            for state, value in zip(self.states, self.values, strict=True)
        ]


class OnlineResponse:
    """The features of some entities, in the order asked for.

    Args:
        keys: the key columns of the request, in order, each with its values.
        key_types: the type of each key column.
        features: the features, in the order asked for.
        records: what was read to answer, also for on-demand features only.
        failed_values: how many values could not be read.
        stale_values: how many values come from records that were read earlier.

    Example:
        >>> from likewise.core.types import Int64
        >>> answer = OnlineResponse({"user": [1]}, {"user": Int64}, [Answered("visits", Int64, [7], None, [0])])
        >>> answer.to_dict()
        {'user': [1], 'visits': [7]}
        >>> answer.statuses()
        {'visits': [<FieldStatus.PRESENT: 1>]}
    """

    __slots__ = ("_failed", "_features", "_key_types", "_keys", "_records", "_stale")

    def __init__(
        self,
        keys: Mapping[str, Sequence[Any]],
        key_types: Mapping[str, FeatureType],
        features: Sequence[Answered],
        records: Sequence[Timed] = (),
        failed_values: int = 0,
        stale_values: int = 0,
    ) -> None:
        self._keys = keys
        self._key_types = key_types
        self._features = features
        self._records = records
        self._failed = failed_values
        self._stale = stale_values

    @property
    def keys(self) -> Mapping[str, Sequence[Any]]:
        """The key columns of the request, in order, each with its values."""
        return self._keys

    @property
    def key_types(self) -> Mapping[str, FeatureType]:
        """The type of each key column."""
        return self._key_types

    @property
    def features(self) -> Sequence[Answered]:
        """The features, in the order asked for, as columns."""
        return self._features

    @property
    def failed_values(self) -> int:
        """How many values could not be read, as the store failed: None, with status INVALID."""
        return self._failed

    @property
    def stale_values(self) -> int:
        """How many values are made of records that were read earlier, as the store failed now."""
        return self._stale

    @property
    def record_times(self) -> list[Sequence[int | None]]:
        """The event time of each row's record, for each of the reads that the answer was made of."""
        return [read.times for read in self._records]

    @property
    def record_spans(self) -> list[tuple[int, int] | None]:
        """The earliest and the latest event time of the records of each read, in microseconds; None where unknown."""
        return [read.span for read in self._records]

    @property
    def feature_names(self) -> list[str]:
        """The names of the features, in the order asked for."""
        return [feature.name for feature in self._features]

    def to_dict(self, include_event_timestamps: bool = False) -> dict[str, list[Any]]:
        """Return key and feature columns as lists, one value for each row.

        Args:
            include_event_timestamps: add ``{feature}__ts``, the event time in whole seconds since the epoch; 0 where
                there is no value's record.
        """
        columns = {name: list(values) for name, values in self._keys.items()}
        for feature in self._features:
            columns[feature.name] = list(feature.values)
        if include_event_timestamps:
            for feature in self._features:
                columns[f"{feature.name}__ts"] = [0 if at is None else at // 1_000_000 for at in feature.times]
        return columns

    def statuses(self) -> dict[str, list[FieldStatus]]:
        """Return the status of every value, by feature."""
        return {feature.name: feature.statuses() for feature in self._features}

    def event_timestamps(self) -> dict[str, list[datetime | None]]:
        """Return the event time of every value, by feature; None where there is no record."""
        return {
            feature.name: [None if at is None else from_micros(at) for at in feature.times]
            for feature in self._features
        }

    def to_arrow(self, include_event_timestamps: bool = False) -> pa.Table:
        """Return key and feature columns as an Arrow table, in the declared types.

        Args:
            include_event_timestamps: add ``{feature}__ts``, the event times.
        """
        import pyarrow as pa

        columns = {name: _arrow(name, values, self._key_types[name]) for name, values in self._keys.items()}
        for feature in self._features:
            columns[feature.name] = _arrow(feature.name, feature.values, feature.type)
        if include_event_timestamps:
            for feature in self._features:
                columns[f"{feature.name}__ts"] = pa.array(feature.times, arrow_type(UnixTimestamp))
        return pa.table(columns)

    def to_df(self, include_event_timestamps: bool = False) -> pd.DataFrame:
        """Return key and feature columns as a DataFrame; integers with nulls stay integers.

        Args:
            include_event_timestamps: add ``{feature}__ts``, the event times.
        """
        return to_pandas(self.to_arrow(include_event_timestamps))

    def to_numpy(self, dtype: str = "float64") -> np.ndarray[Any, Any]:
        """Return the features, without the keys, as a matrix of rows x features.

        Args:
            dtype: the dtype of the matrix; a null is NaN where it has one.

        Raises:
            RequestError: a feature's values are not of that dtype.
        """
        import numpy as np

        columns = []
        for feature in self._features:
            try:
                columns.append(np.asarray([np.nan if v is None else v for v in feature.values], dtype=dtype))
            except (TypeError, ValueError, OverflowError) as error:
                raise RequestError(
                    f"the values of feature {feature.name!r} ({feature.type}) are no {dtype}: {error}",
                    cure="leave the feature out, or take dtype='object'",
                ) from error
        return np.stack(columns, axis=1) if columns else np.empty((0, 0), dtype=dtype)

    def __repr__(self) -> str:
        rows = len(next(iter(self._keys.values()), self._features[0].values if self._features else ()))
        return f"OnlineResponse({rows} rows: {', '.join([*self._keys, *self.feature_names])})"

    def _repr_html_(self) -> str:
        html: str = self.to_df().to_html(max_rows=20)
        return html


def _arrow(name: str, values: Sequence[Any], feature_type: FeatureType) -> pa.Array:
    from likewise.online.columns import ColumnWriter

    return ColumnWriter(name, feature_type).array([_ordered(value) for value in values])


def _ordered(value: Any) -> Any:
    """Return a set as a list, ascending, for a set's own order differs from process to process."""
    if not isinstance(value, set | frozenset):
        return value
    return [*sorted(item for item in value if item is not None), *([None] if None in value else [])]
