"""The command verify: a table for people, JSON for programs, and an exit code for both."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from tests.jobs.served_repo import CARDS, log_read, make_shop

from likewise import FeatureStore
from likewise.cli.root import cli


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A shop that logged an answer to its service."""
    repo = make_shop(tmp_path / "shop")
    with FeatureStore(repo) as store:
        log_read(store, CARDS)
    return repo


def run(repo: Path, *words: str) -> Result:
    """Run the command in a repo."""
    return CliRunner().invoke(cli, ["--chdir", str(repo), "verify", "--no-progress", *words])


def test_verify_prints_a_line_for_each_feature(shop):
    """What was compared, equal, stale and different, and a last line of all; exit code 0."""
    done = run(shop)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["FEATURE", "COMPARED", "EQUAL", "STALE", "DIFFERENT", "NOT", "COMPARED"]
    assert lines[1].split() == ["card_limit:limit", "40", "40", "0", "0", "0"]
    assert lines[-1] == "40 rows of 1 file: 280 values compared, 0 different"


def test_verify_shows_differences_and_exits_with_2(shop):
    """A source that says something else now: each feature's first differences, with both values."""
    path = shop / "data/scores.parquet"
    table = pq.read_table(path)
    scores = [0.5 if card == 7 else score for card, score in enumerate(table["score"].to_pylist())]
    pq.write_table(table.set_column(2, "score", pa.array(scores)), path)
    done = run(shop)
    assert done.exit_code == 2, done.output
    assert "card_score:score differs for card_id=7, amount_asked=1.5 at " in done.stdout
    assert "  served  0.1 (PRESENT, event time " in done.stdout
    assert "  source  0.5 (PRESENT, event time " in done.stdout
    assert "not compared, 1 values: what the on-demand function was given could not be compared" in done.stdout
    told = json.loads(run(shop, "--output", "json").stdout)
    found = {check["feature"]: check for check in told["features"]}
    assert (told["different"], found["card_score:score"]["different"]) == (1, 1)
    [example] = found["card_score:score"]["examples"]
    assert (example["served"], example["recomputed"], example["key"]["card_id"]) == (0.1, 0.5, 7)
    assert found["room:room"]["not_compared"] == {"inputs": 1}


def test_verify_takes_folders_and_bounds(shop):
    """The folder of a log, a service, a span of time and a number of rows; what there is none of is said."""
    assert run(shop, str(shop / "data/served"), "--limit", "5").stdout.splitlines()[-1].startswith("5 rows of 1 file")
    later = (datetime.now() + timedelta(days=2)).isoformat()
    assert run(shop, "--since", later).stdout == "The logs have no such answers.\n"
    unknown = run(shop, "--service", "cards_v2")
    assert unknown.exit_code == 1
    assert "did you mean 'cards_v1'" in unknown.output
