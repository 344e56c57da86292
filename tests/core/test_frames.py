"""Frames: rows in whatever people hold them, without loss."""

import pandas as pd
import pytest

from likewise.core.errors import RequestError
from likewise.core.frames import to_table


def test_a_column_that_only_a_later_row_has_is_kept() -> None:
    """The rows before it have a null."""
    assert to_table([{"a": 1}, {"a": 2, "b": 3}]).to_pylist() == [{"a": 1, "b": None}, {"a": 2, "b": 3}]
    assert to_table([]).num_rows == 0


@pytest.mark.parametrize("rows", [{"a": 1}, pd.DataFrame({"a": [1j]}), [{"a": 1}, {"a": "x"}], [1], "a", None])
def test_what_is_no_table_is_refused_by_name(rows: object) -> None:
    """Every error is one of ours, and says what the rows were for."""
    with pytest.raises(RequestError, match="the pushed rows"):
        to_table(rows, "pushed rows")
