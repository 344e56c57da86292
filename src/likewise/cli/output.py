"""Output: results as aligned text for people, and as JSON for programs.

JSON follows protobuf's rules where JSON itself has none: times are ISO 8601 in UTC, bytes are base64, and NaN and the
infinities are the texts ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``.
"""

from __future__ import annotations

import base64
import json
import math
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from numbers import Number
from typing import Any

import click

from likewise.core.time import EARLIEST, from_micros

Cells = Sequence[object]
"""The values of one line of a table."""


def print_json(value: object) -> None:
    """Print a value as JSON on standard output."""
    click.echo(json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def plain(value: object) -> Any:
    """Return a value as JSON can hold it.

    Example:
        >>> plain({"at": datetime(2024, 1, 1), "x": [float("nan"), b"a"]})
        {'at': '2024-01-01T00:00:00Z', 'x': ['NaN', 'YQ==']}
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
        case datetime():
            return iso(value)
        case bytes():
            return base64.b64encode(value).decode()
        case Mapping():
            return {str(key): plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [plain(inner) for inner in value]
        case set() | frozenset():
            return sorted((plain(inner) for inner in value), key=repr)
    return str(value)


def iso(moment: datetime) -> str:
    """Write a time as ISO 8601 in UTC; a naive one is UTC."""
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat().replace("+00:00", "Z")


def moment(micros: int | None) -> str:
    """Write microseconds since the epoch for people, down to the second.

    Example:
        >>> moment(1_704_067_200_000_000), moment(None)
        ('2024-01-01T00:00:00Z', 'never')
    """
    if micros is None:
        return "never"
    return "the beginning" if micros <= EARLIEST else iso(from_micros(micros).replace(microsecond=0))


def cell(value: object) -> str:
    """Write one value of a table.

    Example:
        >>> [cell(value) for value in (None, 0.1 + 0.2, 1234567.5, True, "a\\nb")]
        ['-', '0.3', '1234567.50', 'true', 'a b']
    """
    match value:
        case None | "":
            return "-"
        case bool():
            return "true" if value else "false"
        case float():
            return _float(value)
        case str():
            return " ".join(value.split())
    return " ".join(str(plain(value)).split())


def _float(value: float) -> str:
    short = f"{value:.6g}"
    return f"{value:.2f}" if "e" in short and 1e-4 <= abs(value) < 1e15 else short


def in_words(value: object) -> object:
    """Write what a description says of something: names with commas between, labels as key=value, yes or no.

    Example:
        >>> in_words(["a", "b"]), in_words({"team": "fraud", "stage": "prod"}), in_words(True), in_words(3)
        ('a, b', 'team=fraud, stage=prod', 'yes', 3)
    """
    match value:
        case bool():
            return "yes" if value else "no"
        case Mapping():
            return ", ".join(f"{key}={in_words(inner)}" for key, inner in value.items())
        case list() | tuple():
            return ", ".join(str(in_words(inner)) for inner in value)
    return value


def some(count: int, noun: str) -> str:
    """Write how many there are of something.

    Example:
        >>> some(1, "row"), some(2000, "row")
        ('1 row', '2,000 rows')
    """
    return f"{count:,} {noun}{'s' if count != 1 else ''}"


def print_table(heads: Sequence[str], rows: Iterable[Cells], right: Sequence[str] = ()) -> None:
    """Print rows in aligned columns, two spaces apart.

    On a terminal the heads are bold, and a last column that does not fit is cut.

    Args:
        heads: the names of the columns.
        rows: the values of each row.
        right: the columns that are aligned to the right, such as numbers.
    """
    for line in table_lines(heads, rows, right, _room()):
        click.echo(line)


def table_lines(
    heads: Sequence[str], rows: Iterable[Cells], right: Sequence[str] = (), room: int | None = None
) -> list[str]:
    """Return the lines of a table.

    Example:
        >>> for line in table_lines(["NAME", "ROWS"], [["cards", 12], ["users", 3]], right=["ROWS"]):
        ...     print(line)
        NAME   ROWS
        cards    12
        users     3
    """
    body = [[cell(value) for value in row] for row in rows]
    widths = [max(map(width, column)) for column in zip(heads, *body, strict=True)]
    flush = [head in right for head in heads]
    first, *rest = (_line(row, widths, flush, room) for row in [heads, *body])
    return [first if room is None else click.style(first, bold=True), *rest]


def print_list(heads: Sequence[str], rows: Sequence[Cells], right: Sequence[str] = ()) -> None:
    """Print a list of things, without the columns that are empty for all of them."""
    kept = [place for place in range(len(heads)) if place == 0 or any(row[place] not in ("", None) for row in rows)]
    print_table([heads[place] for place in kept], [[row[place] for place in kept] for row in rows], right)


def print_records(names: Sequence[str], rows: Sequence[Cells]) -> None:
    """Print rows of values: as a table, or one below the other where a table is too wide for the terminal."""
    body = [[cell(value) for value in row] for row in rows]
    numbers = [name for index, name in enumerate(names) if all(isinstance(row[index], Number | None) for row in rows)]
    widths = [max(map(width, column)) for column in zip(names, *body, strict=True)]
    room = _room()
    if room is None or sum(widths) + 2 * (len(widths) - 1) <= room:
        print_table(names, rows, numbers)
        return
    for number, row in enumerate(body):
        click.echo(click.style(f"row {number}", bold=True))
        print_pairs(list(zip(names, row, strict=True)))


def print_pairs(pairs: Sequence[tuple[str, object]], indent: int = 2) -> None:
    """Print labels and their values, one pair a line."""
    longest = max((width(label) for label, _ in pairs), default=0)
    for label, value in pairs:
        click.echo(f"{' ' * indent}{_padded(label, longest)}  {cell(value)}")


def width(text: str) -> int:
    """Return how many columns of a terminal a text takes.

    Example:
        >>> width("カード"), width("naïve")
        (6, 5)
    """
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(sign) in "WF" for sign in text)
    return len(text) + wide - sum(unicodedata.combining(sign) > 0 for sign in text)


def _line(texts: Sequence[str], widths: Sequence[int], flush: Sequence[bool], room: int | None) -> str:
    parts = [_padded(text, wide, right) for text, wide, right in zip(texts, widths, flush, strict=True)]
    line = "  ".join(parts).rstrip()
    used = sum(widths[:-1]) + 2 * (len(widths) - 1)
    if room is None or width(line) <= room or room - used < width(parts[-1][:12]):
        return line
    return f"{line[: room - 1]}…"


def _padded(text: str, wanted: int, to_right: bool = False) -> str:
    space = " " * (wanted - width(text))
    return space + text if to_right else text + space


def _room() -> int | None:
    """Return the width of the terminal; None when the output is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
