"""Commands that read and write the online store by hand: get-online-features, push, delete-online-keys."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from likewise.cli.command import pass_session, verb
from likewise.cli.completion import STORED, VIEWS, definition_names
from likewise.cli.output import cell, iso, print_json, print_pairs, print_records, print_table, some
from likewise.cli.session import Session
from likewise.core.errors import RequestError
from likewise.core.time import from_micros, to_micros
from likewise.core.types import Family, FeatureType

if TYPE_CHECKING:
    from likewise.online.response import OnlineResponse
    from likewise.registry.definitions import Definitions

Row = dict[str, Any]
ENTITIES = click.option(
    "-e",
    "--entities",
    multiple=True,
    required=True,
    metavar="KEY=VALUE",
    help="A key, such as driver_id=1001, or JSON: a row, or a list of rows. Several of one name are several rows.",
)
EXAMPLE = "JSON such as '{\"driver_id\": 1001}'"
TARGETS = {"online": "ONLINE", "offline": "OFFLINE", "both": "ONLINE_AND_OFFLINE"}


@verb(
    "get-online-features",
    ("likewise get-online-features -f driver_stats -e driver_id=1001", "all features of a view, for one driver"),
    ("likewise get-online-features -f fraud_v1 -e driver_id=1001 -e driver_id=1002", "a feature service, for two"),
    ("likewise get-online-features -f driver_stats:conv_rate -e '{\"driver_id\": 1001}' --output json", "JSON"),
    ("likewise get-online-features -f driver_stats -e driver_id=1001 --as-of 2024-01-31T10:00:00", "at a time"),
)
@ENTITIES
@click.option(
    "-f",
    "--features",
    multiple=True,
    required=True,
    metavar="FEATURES",
    shell_complete=definition_names("feature_service", *VIEWS),
    help="view:feature, a view or a feature service; may be given several times.",
)
@click.option("--full-feature-names", is_flag=True, help="Call features view__feature.")
@click.option("--as-of", metavar="TIME", help="The time the answer is for; now by default.")
@pass_session
def get_online_features(
    session: Session, entities: tuple[str, ...], features: tuple[str, ...], full_feature_names: bool, as_of: str | None
) -> None:
    """Read the latest values of features.

    Each value comes with its status: PRESENT, NULL_VALUE (stored as null), NOT_FOUND (nothing stored for the key),
    OUTSIDE_MAX_AGE (older than the view's ttl), or INVALID (it could not be read, and the service asked for takes nulls
    then). What an on-demand view needs from a request is given like a key.
    """
    asked = [part.strip() for text in features for part in text.split(",") if part.strip()]
    with session.open() as store:
        rows = _typed(parse_rows(entities), store.definitions)
        answer = store.get_online_features(asked, rows, full_feature_names, as_of=as_of)
    if session.json:
        print_json(_answer_data(answer))
    else:
        _print_answer(answer)


@verb(
    "push",
    ("likewise push clicks rows.parquet", "write rows to the online store of every view that the source feeds"),
    ("likewise push clicks rows.csv --to both", "and add them to the files of its batch source"),
    ("""likewise push clicks '[{"user_id": 1, "event_timestamp": "2024-01-31T10:00:00", "count": 3}]'""", "JSON"),
)
@click.argument("source", shell_complete=definition_names("data_source"))
@click.argument("rows")
@click.option("--to", type=click.Choice(list(TARGETS)), default="online", show_default=True, help="Where the rows go.")
@pass_session
def push(session: Session, source: str, rows: str, to: str) -> None:
    """Push rows to a push source.

    ROWS is a .parquet, .csv or .json file, JSON text, or - for JSON on standard input. Each row has the keys, the
    event time and the features. Online, a row never replaces a newer one; offline, rows become a new file.
    """
    from likewise.cli.rows import hints_of, read_rows
    from likewise.define.source import PushMode

    with session.open() as store:
        table = read_rows(rows, "pushed rows", hints_of(store.definitions))
        written = store.push(source, table, to=PushMode[TARGETS[to]])
    if session.json:
        print_json({"source": source, "rows": table.num_rows, "to": to, "written_online": written})
        return
    where = {"online": "the online store", "offline": "the files", "both": "the online store and the files"}[to]
    online = "" if to == "offline" else f"; {some(written, 'online record')} written, older ones left out"
    session.say(f"{some(table.num_rows, 'row')} pushed to {where}{online}.")


@verb(
    "delete-online-keys",
    ("likewise delete-online-keys driver_stats -e driver_id=1001", "forget one driver's values, after asking"),
    ("likewise delete-online-keys driver_stats -e driver_id=1001 -e driver_id=1002 --yes", "two, in a script"),
)
@click.argument("view", shell_complete=definition_names(*STORED))
@ENTITIES
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@pass_session
def delete_online_keys(session: Session, view: str, entities: tuple[str, ...], yes: bool) -> None:
    """Delete keys of a view from the online store.

    Rows with an event time up to now do not come back by a materialization; newer ones do. Sources stay as they are.
    """
    with session.open() as store:
        rows = _typed(parse_rows(entities), store.definitions)
        store.definitions.view(view)
        session.confirm(f"Delete {some(len(rows), 'key')} of {view} from the online store", yes)
        deleted = store.delete_from_online_store(view, rows)
    if session.json:
        print_json({"view": view, "keys": len(rows), "deleted": deleted})
    else:
        session.say(f"{some(deleted, 'key')} of {view} deleted from the online store.")


# Rows


def parse_rows(given: Sequence[str]) -> list[Row]:
    """Return the rows that ``--entities`` options give.

    Args:
        given: ``key=value`` texts, or JSON rows or lists of rows, in any mix.

    Raises:
        RequestError: one is neither, or the columns differ in length.

    Example:
        >>> parse_rows(["driver=1", "driver=2", "city=Rome"])
        [{'driver': '1', 'city': 'Rome'}, {'driver': '2', 'city': 'Rome'}]
        >>> parse_rows(['{"driver": 1}', '[{"driver": 2}]'])
        [{'driver': 1}, {'driver': 2}]
    """
    rows: list[Row] = []
    columns: dict[str, list[str]] = {}
    for text in given:
        if text.lstrip()[:1] in ("{", "["):
            rows.extend(_json_rows(text))
            continue
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise RequestError(f"{text!r} is no key", cure=f"write driver_id=1001, or {EXAMPLE}")
        columns.setdefault(key.strip(), []).append(value)
    return [*rows, *_from_columns(columns)]


def _json_rows(text: str) -> list[Row]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        what = f"{text!r} is not JSON: {error.msg} at column {error.colno}"
        raise RequestError(what, cure=f"write {EXAMPLE}") from error
    rows = found if isinstance(found, list) else [found]
    if all(isinstance(row, dict) for row in rows):
        if isinstance(found, dict) and found and all(isinstance(values, list) for values in found.values()):
            return _from_columns(found)
        return rows
    raise RequestError(f"{text!r} is no row", cure=f"write {EXAMPLE}, or a list of such rows")


def _from_columns(columns: Mapping[str, Sequence[Any]]) -> list[Row]:
    """Return columns as rows; a column of one value has it in every row."""
    count = max(map(len, columns.values()), default=0)
    for name, values in columns.items():
        if len(values) not in (1, count):
            lengths = ", ".join(f"{len(each)} of {key!r}" for key, each in columns.items())
            raise RequestError(
                f"the keys make no rows: {lengths}", cure=f"give {name!r} once, or {count} times as the others"
            )
    return [{name: v[0] if len(v) == 1 else v[row] for name, v in columns.items()} for row in range(count)]


def _typed(rows: list[Row], definitions: Definitions) -> list[Row]:
    """Return the rows with the texts of request values read as their declared types; keys are coerced by the store."""
    declared = {
        field.name: field.dtype
        for view in definitions.on_demand.values()
        for request in view.request_sources
        for field in request.schema
    }
    keys = {name for entity in definitions.entities.values() for name in (entity.name, entity.join_key)}
    wanted = {name: kind for name, kind in declared.items() if name not in keys}
    return [{name: _value(value, name, wanted) for name, value in row.items()} for row in rows]


def _value(text: Any, name: str, wanted: Mapping[str, FeatureType]) -> Any:
    declared = wanted.get(name)
    if declared is None or not isinstance(text, str):
        return text
    if declared.family is Family.TIME:
        return from_micros(to_micros(text, name))
    if declared.family in (Family.TEXT, Family.UUID, Family.DECIMAL, Family.BYTES):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise RequestError(f"{name}={text!r} is no {declared}", cure=f"give a value of type {declared}") from error


# Answers


def _answer_data(answer: OnlineResponse) -> dict[str, Any]:
    """Return an answer as Feast's feature server writes it: a list for each column, the keys first."""
    values, statuses, times = answer.to_dict(), answer.statuses(), answer.event_timestamps()
    count = len(next(iter(values.values()), []))
    return {
        "metadata": {"feature_names": list(values)},
        "results": [
            {
                "values": column,
                "statuses": [status.name for status in statuses[name]] if name in statuses else ["PRESENT"] * count,
                "event_timestamps": times.get(name, [None] * count),
            }
            for name, column in values.items()
        ],
    }


def _print_answer(answer: OnlineResponse) -> None:
    values, statuses, times = answer.to_dict(), answer.statuses(), answer.event_timestamps()
    count = len(next(iter(values.values()), []))
    if count != 1:
        columns = [
            [_shown(value, statuses.get(name), row) for row, value in enumerate(column)]
            for name, column in values.items()
        ]
        print_records(list(values), list(zip(*columns, strict=True)))
        return
    print_pairs([(name, column[0]) for name, column in values.items() if name not in statuses], indent=0)
    rows = [(name, values[name][0], statuses[name][0].name, _time(times[name][0])) for name in statuses]
    click.echo()
    print_table(["FEATURE", "VALUE", "STATUS", "EVENT TIME"], rows, right=["VALUE"])


def _time(moment: datetime | None) -> str:
    return "" if moment is None else iso(moment)


def _shown(value: Any, states: Sequence[Any] | None, row: int) -> Any:
    """Return a value, with its status unless that is PRESENT."""
    if states is None or states[row].name == "PRESENT":
        return value
    return f"{cell(value)} ({states[row].name})"


COMMANDS: Mapping[str, click.Command] = {
    "get-online-features": get_online_features,
    "push": push,
    "delete-online-keys": delete_online_keys,
}
