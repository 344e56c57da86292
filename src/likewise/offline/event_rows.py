"""Event rows: the events of a source as rows, with the inputs of windows, those of one key together (S2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from likewise.core.columns import Column
from likewise.core.types import UnixTimestamp, arrow_type
from likewise.offline.asof import NOBODY
from likewise.offline.base import CREATED_TIME, EVENT_TIME, ORDER
from likewise.offline.chunks import take
from likewise.offline.joins import Evaluate
from likewise.offline.match import number_keys, whole_numbers
from likewise.plan.scan import Scan
from likewise.plan.windows import WindowInput

_BATCH = 1 << 16
"""How many events a batch has."""


def event_schema(scan: Scan, inputs: Sequence[WindowInput]) -> pa.Schema:
    """Return the columns of events: keys, times, place, and the inputs as ``i0``, ``i1`` …"""
    time = arrow_type(UnixTimestamp)
    fields = [(key.column, arrow_type(key.type)) for key in scan.keys]
    fields += [(EVENT_TIME, time), (CREATED_TIME, time), (ORDER, pa.int64())]
    return pa.schema([*fields, *((f"i{number}", arrow_type(given.type)) for number, given in enumerate(inputs))])


def with_inputs(scan: Scan, found: list[Column], inputs: Sequence[WindowInput], evaluate: Evaluate) -> list[Column]:
    """Return events with the inputs' values in place of the columns that they are made of.

    Args:
        scan: the source; its columns are those that the inputs read, in the order of their names.
        found: keys, times, places, and the scan's columns.
        inputs: what windows aggregate.
        evaluate: computes it.
    """
    kept = len(found) - len(scan.columns)
    names = sorted({name for given in inputs for name in given.columns})
    rows = pa.table(found[kept:], names) if names else pa.table([found[kept - 1]], [ORDER])
    return [*found[:kept], *evaluate(rows, inputs)]


def in_order(scan: Scan, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield events by key, then by event time, created time and place; a key that equals nothing is left out.

    Args:
        scan: the source.
        batches: its events, in the order of their places.
        schema: their columns.
    """
    table = pa.Table.from_batches(batches, schema)
    keys = number_keys(table.columns[: len(scan.keys)], [key.type for key in scan.keys], table.num_rows)
    event, created = (whole_numbers(table.column(name)) for name in (EVENT_TIME, CREATED_TIME))
    order = np.lexsort([created, event, keys.codes])  # which keeps the order of places
    order = order[keys.codes[order] != NOBODY]
    for start in range(0, len(order), _BATCH):
        index = pa.array(order[start : start + _BATCH])
        columns = [take(column, index) for column in table.columns]
        yield from pa.table(columns, schema=schema).combine_chunks().to_batches()
