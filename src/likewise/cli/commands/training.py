"""The command that makes training sets: get-historical-features."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from likewise.cli.command import pass_session, verb
from likewise.cli.completion import VIEWS, definition_names
from likewise.cli.output import print_json, print_records, some
from likewise.cli.session import Session
from likewise.core.frames import to_rows

if TYPE_CHECKING:
    from likewise.jobs.training import RetrievalJob

SHOWN = 20
"""How many rows are printed unless more are asked for."""


@verb(
    "get-historical-features",
    ("likewise get-historical-features -d drivers.parquet -f driver_stats:conv_rate -o training.parquet", "to a file"),
    ("likewise get-historical-features -d drivers.csv -f fraud_v1", "the first rows, on the screen"),
    (
        """likewise get-historical-features -d '[{"driver_id": 1, "event_timestamp": "2024-01-31"}]' -f fraud_v1""",
        "rows given as JSON",
    ),
    ("likewise get-historical-features -s 2024-01-01 -e 2024-02-01 -f driver_stats", "every row of a month"),
    ("likewise get-historical-features -d drivers.csv -f fraud_v1 --explain", "what would be joined to what"),
)
@click.option(
    "-d",
    "--dataframe",
    metavar="ROWS",
    help="The entity rows, with their keys and an event_timestamp: a .parquet, .csv or .json file, JSON text, or - for "
    "JSON on standard input. Without it, every row that the views have between the dates.",
)
@click.option(
    "-f",
    "--features",
    multiple=True,
    required=True,
    metavar="FEATURES",
    shell_complete=definition_names("feature_service", *VIEWS),
    help="view:feature, a view or a feature service; may be given several times.",
)
@click.option("-s", "--start-date", metavar="TIME", help="Without entity rows: the first event time, else all.")
@click.option("-e", "--end-date", metavar="TIME", help="Without entity rows: the last event time; now by default.")
@click.option(
    "-o",
    "--to-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write to this .parquet, .csv or .jsonl file.",
)
@click.option("--full-feature-names", is_flag=True, help="Call features view__feature.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    metavar="N",
    default=SHOWN,
    help=f"How many rows to print; {SHOWN} by default.",
)
@click.option("--explain", is_flag=True, help="Say what would be joined to what, and do not do it.")
@pass_session
def get_historical_features(
    session: Session,
    dataframe: str | None,
    features: tuple[str, ...],
    start_date: str | None,
    end_date: str | None,
    to_file: Path | None,
    full_feature_names: bool,
    limit: int,
    explain: bool,
) -> None:
    """Make a training set.

    It has the entity rows as they are, with features as they were at the time of each row. Rows come back in the
    order given, each once; a feature that did not exist yet, or was too old, is empty.
    """
    from likewise.cli.rows import hints_of, read_rows

    with session.open() as store:
        rows = None if dataframe is None else read_rows(dataframe, "entity rows", hints_of(store.definitions))
        left = 0
        if rows is not None and not (session.json or explain or to_file):  # what is not shown is not computed
            left, rows = max(0, rows.num_rows - limit), rows.slice(0, limit)
        job = store.get_historical_features(rows, _listed(features), full_feature_names, start_date, end_date)
        if explain:
            _explain(session, job)
        elif to_file is not None:
            _write(session, job, to_file)
        elif session.json:
            print_json(to_rows(job.to_arrow()))
        else:
            _print(session, job, limit, left)


def _listed(features: tuple[str, ...]) -> list[str]:
    """Return the features, also when several stand in one option with commas between, as Feast's users write them."""
    return [part.strip() for text in features for part in text.split(",") if part.strip()]


def _explain(session: Session, job: RetrievalJob) -> None:
    explanation = job.explain()
    if session.json:
        print_json({"title": explanation.title, "lines": list(explanation.lines)})
    else:
        click.echo(str(explanation))


def _write(session: Session, job: RetrievalJob, path: Path) -> None:
    from likewise.cli.rows import write_rows

    rows = write_rows(job, path)
    if session.json:
        print_json({"file": str(path), "rows": rows, "features": job.feature_names})
    else:
        session.say(f"{some(rows, 'row')} with {some(len(job.feature_names), 'feature')} written to {path}.")


def _print(session: Session, job: RetrievalJob, limit: int, left: int) -> None:
    table = job.to_arrow()
    shown = to_rows(table.slice(0, limit))
    print_records(table.column_names, [list(row.values()) for row in shown])
    if more := left + table.num_rows - len(shown):
        session.say(f"… {some(more, 'more row')}; --limit shows more, -o FILE writes all of them")


COMMANDS: Mapping[str, click.Command] = {"get-historical-features": get_historical_features}
