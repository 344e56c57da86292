"""The acceptance of "code written for Feast runs unchanged": every block of five texts about Feast, as printed.

The texts stand beside the repository and are read from there; none of their text is in the project. A test follows one
text from top to bottom, as its reader would: it writes the files the text names, types the shell blocks into a shell
started by `likewise run`, and runs the Python blocks as the cells of one notebook. What the text presumes (data, a
model, names of earlier lessons) the test makes; what should come out it computes with plain pandas.

A block that cannot run yet is in WAITING with the reason, and a check that this is still so. The list may only shrink.
"""

import contextlib
import http.client
import importlib.metadata
import io
import json
import math
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import psycopg
import pytest
import uvicorn
from sklearn.linear_model import LogisticRegression

from likewise import backends
from likewise.config import parse_config
from likewise.core.errors import LikewiseError, SourceDrift
from likewise.define.feast import feast_alias
from likewise.testing.postgres_process import PostgresProcess
from likewise.testing.redis_process import RedisProcess, free_port

SEEDS = Path(__file__).parents[2] / "shared" / "seeds"
pytestmark = [
    pytest.mark.skipif(not SEEDS.is_dir(), reason=f"the texts are not at {SEEDS}; CI has them"),
    pytest.mark.skipif(os.name != "posix", reason="the texts' shell blocks are for bash"),
    pytest.mark.timeout(400),  # a text is a dozen programs, one after the other
]

LANGUAGES = {"python": "python", "yaml": "yaml", "bash": "shell"}


@dataclass(frozen=True)
class Block:
    """One piece of a text that is meant to be run or written to a file."""

    language: str
    """python, yaml or shell."""
    line: int
    """The line of the text it begins on, from 1."""
    text: str
    """What stands in it, without common indentation."""


def seed_path(number: int) -> Path:
    """Return the path of a text."""
    return next(SEEDS.glob(f"{number:03}_*"))


def read_blocks(number: int) -> list[Block]:
    """Return the blocks of a text: those in fences, and the cells of a notebook."""
    lines = seed_path(number).read_text(encoding="utf-8").splitlines()
    blocks: list[Block] = []
    at = 0
    while at < len(lines):
        fence = re.fullmatch(r"\s*```(\w*)\s*", lines[at])
        at += 1
        if fence:
            end = next(i for i in range(at, len(lines)) if lines[i].strip() == "```")
            if fence[1] in LANGUAGES:
                blocks.append(_block(LANGUAGES[fence[1]], lines, at, end))
            at = end + 1
        elif lines[at - 1].startswith("In ["):
            end = next(i for i in range(at, len(lines)) if lines[i].startswith(("In [", "## ")))
            blocks.append(_block("python", lines, at, end))
            at = end
    return blocks


def _block(language: str, lines: list[str], start: int, end: int) -> Block:
    return Block(language, start + 1, textwrap.dedent("\n".join(lines[start:end]) + "\n"))


# What waits


@dataclass(frozen=True)
class Waiting:
    """Why a block is not run."""

    reason: str
    """What it waits for, or why it is not for Likewise to run."""
    still: Callable[[Block], bool]
    """Tells whether that is still so; when it is not, the block has to run and leaves the list."""


def needs_engine(block: Block) -> bool:
    """Tell whether a configuration names an offline store that cannot be opened."""
    try:
        backends.open_engine(parse_config(block.text).offline_store, os.devnull).close()
    except (LikewiseError, ImportError):
        return True
    return False


def needs_module(name: str) -> Callable[[Block], bool]:
    """Return what tells whether a block imports a library that Likewise neither needs nor offers."""
    wanted = importlib.metadata.requires("likewise") or []
    return lambda block: name in block.text and not any(re.match(rf"{name}\b", one) for one in wanted)


def is_no_python(block: Block) -> bool:
    """Tell whether a block is not valid Python."""
    try:
        compile(block.text, "block", "exec")
    except SyntaxError:
        return True
    return False


def installs_feast(block: Block) -> bool:
    """Tell whether a block installs Feast."""
    return "pip install feast" in block.text


INSTALL = Waiting("installs Feast, in whose place Likewise runs", installs_feast)

WAITING: dict[tuple[int, int], Waiting] = {
    (0, 1): INSTALL,
    (1, 0): INSTALL,
    (2, 8): Waiting("'data_warehouse' stands for a warehouse of no kind; the rest of the block is run", needs_engine),
    (3, 3): Waiting("a consumer of Kafka that writes to Redis, without Feast", needs_module("kafka")),
    (3, 6): Waiting("checks data with Great Expectations, without Feast", needs_module("great_expectations")),
    (4, 0): Waiting("shows Python and SQL side by side; it is no program", is_no_python),
    (4, 12): INSTALL,
}


@pytest.mark.parametrize("key", WAITING, ids=lambda key: f"{key[0]}-{key[1]}")
def test_a_block_that_waits_cannot_run_yet(key):
    """Each block in the list still waits for what the list says; else it is run, and leaves the list."""
    number, index = key
    assert WAITING[key].still(read_blocks(number)[index]), f"no longer so: {WAITING[key].reason}"


def test_the_list_only_shrinks():
    """No more blocks wait than did when the list was made; lower the number with the list."""
    assert len(WAITING) <= 7


# The reader


class Reader:
    """Follows a text: one folder, one shell, one notebook.

    Args:
        number: the text's number.
        folder: where the reader begins; empty.
    """

    def __init__(self, number: int, folder: Path) -> None:
        self.number = number
        self.blocks = read_blocks(number)
        self.folder = folder
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.warnings: list[str] = []
        self.done: list[int] = []
        self.now: str | None = None

    def finish(self) -> None:
        """Check that every block was run, in order, or waits."""
        waiting = {index for number, index in WAITING if number == self.number}
        assert self.done == sorted(self.done), "the blocks were not taken in the order of the text"
        missed = set(range(len(self.blocks))) - set(self.done) - waiting
        assert missed == set(), f"blocks that were neither run nor wait: {sorted(missed)}"
        assert waiting & set(self.done) == set(), "a block that is run does not wait"

    def enter(self, path: str) -> Path:
        """Go to a folder below, making it if need be."""
        self.folder = self.folder / path
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder

    def write(self, index: int, path: str) -> Path:
        """Write a block to a file."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(self._take(index).text, encoding="utf-8")
        return file

    def shell(self, index: int) -> str:
        """Run a block in a shell that stays in the folder it ends in; return what it printed."""
        return self.type(self._take(index, "shell").text)

    def type(self, lines: str) -> str:
        """Type lines into the shell."""
        script = self.folder / ".steps.sh"
        script.write_text(f"set -e\n{lines}\npwd -P > '{script}'\n", encoding="utf-8")
        printed = self.run("bash", str(script))
        self.folder = Path(script.read_text(encoding="utf-8").rstrip("\n"))
        script.unlink()
        return printed

    def run(self, *command: str) -> str:
        """Run a program with `likewise run`; return what it printed."""
        environment = os.environ | ({"LIKEWISE_NOW": self.now} if self.now else {})
        done = subprocess.run(
            [sys.executable, "-m", "likewise", "run", *command],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def cell(self, index: int, **presumed: object) -> str:
        """Run a block as a cell of the notebook; return what it printed.

        Args:
            index: the block.
            presumed: names that the text uses without having made them.
        """
        block = self._take(index, "python")
        self.names.update(presumed)
        # Padded to its line, so that a traceback, and inspect.getsource, find it in the text.
        code = compile("\n" * (block.line - 1) + block.text, str(seed_path(self.number)), "exec", dont_inherit=True)
        with self.at_work() as printed:
            exec(code, self.names)  # noqa: S102 - the text's own code
        return printed.getvalue()

    @contextlib.contextmanager
    def at_work(self) -> Iterator[io.StringIO]:
        """Be in the folder, at the text's time, with Feast's names; yields what is printed meanwhile."""
        printed = io.StringIO()
        with (
            contextlib.chdir(self.folder),
            _variable("LIKEWISE_NOW", self.now),
            feast_alias(),
            warnings.catch_warnings(record=True) as caught,
            contextlib.redirect_stdout(printed),
        ):
            warnings.simplefilter("always")
            try:
                yield printed
            finally:
                self.warnings += [str(warning.message) for warning in caught]

    def _take(self, index: int, language: str = "") -> Block:
        block = self.blocks[index]
        assert language in ("", block.language)
        self.done.append(index)
        return block


@contextlib.contextmanager
def _variable(name: str, value: str | None) -> Iterator[None]:
    before = os.environ.pop(name, None)
    if value is not None:
        os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before


@pytest.fixture(autouse=True)
def _utc() -> Iterator[None]:
    """Have the texts' datetime.now() mean UTC, as a server's does."""
    with _variable("TZ", "UTC"):
        time.tzset()
        yield
    time.tzset()


# What should come out


def as_of(
    rows: pd.DataFrame, key: str, value: object, at: object, ttl: timedelta | None, when: str
) -> pd.Series | None:
    """Return the row that counts for a key at a time, the obvious way: the last one up to then that is not too old."""
    at = _utc_time(at)
    times = pd.to_datetime(rows[when], utc=True)
    candidates = rows[(rows[key] == value) & (times <= at) & (times >= (at - ttl if ttl else times.min()))]
    return None if candidates.empty else candidates.loc[times[candidates.index].idxmax()]


def _utc_time(at: object) -> pd.Timestamp:
    stamp = pd.Timestamp(at)  # type: ignore[arg-type]
    return stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")


def expect_training(
    result: pd.DataFrame, spine: pd.DataFrame, rows: pd.DataFrame, features: list[str], ttl: timedelta, when: str
) -> int:
    """Check the features of a training set against the obvious computation; return how many values there are."""
    key = spine.columns[0]
    assert list(result[key]) == list(spine[key]), "the rows are those given, in their order"
    found = 0
    for position, (value, at) in enumerate(zip(spine[key], spine["event_timestamp"], strict=True)):
        row = as_of(rows, key, value, at, ttl, when)
        for feature in features:
            got = result[feature].iloc[position]
            if row is None or pd.isna(row[feature]):
                assert pd.isna(got), f"{feature} of {value} at {at} should be missing, not {got}"
            else:
                assert got == pytest.approx(row[feature], rel=1e-6), f"{feature} of {value} at {at}"
                found += 1
    return found


def expect_online(answer: dict[str, list[Any]], rows: pd.DataFrame, key: str, features: list[str], when: str) -> None:
    """Check an online answer against each key's last row."""
    for position, value in enumerate(answer[key]):
        row = as_of(rows, key, value, "9999-01-01", None, when)
        assert row is not None
        for feature in features:
            assert answer[feature][position] == pytest.approx(row[feature], rel=1e-6), f"{feature} of {value}"


@pytest.fixture(name="server")
def _server(tmp_path_factory) -> Iterator[RedisProcess]:
    """Start the Redis that a text takes for granted; on a port of its own, for 6379 may be somebody's."""
    with RedisProcess(tmp_path_factory.mktemp("redis"), port=free_port()) as server:
        yield server


def on_redis(file: Path, server: RedisProcess) -> None:
    """Put the port of a test's own server into a configuration that is otherwise as printed."""
    file.write_text(file.read_text().replace("localhost:6379", server.address))


# Text 0: churn


def churn_data(repo: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make the data that the text's feature views read: rows of January 2024, and fresh ones."""
    fresh = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)
    users, payments = [], []
    for number, user in enumerate(range(1001, 1006)):
        january = [datetime(2024, 1, day, 6 + number, tzinfo=UTC) for day in range(10, 20) if (day + number) % 4]
        for step, at in enumerate([*january, fresh]):
            users.append(
                (
                    user,
                    at,
                    at + timedelta(minutes=5),
                    3 * step + number,
                    20.5 + step * 9 + number,
                    step,
                    "ab"[step % 2],
                    2 + step,
                )
            )
            payments.append((user, at - timedelta(hours=3), 9.25 + step, step + number, 4.5 * step))
    columns = "user_id event_timestamp created_timestamp total_purchases avg_purchase_amount days_since_last_purchase"
    frame = pd.DataFrame(users, columns=[*columns.split(), "customer_segment", "tenure_months"])
    last = {1001: (45, 67.5), 1002: (23, 89.2)}  # what the text shows
    for user, (total, average) in last.items():
        chosen = (frame["user_id"] == user) & (frame["event_timestamp"] == fresh)
        frame.loc[chosen, ["total_purchases", "avg_purchase_amount"]] = [total, average]
    columns = "user_id transaction_timestamp transaction_amount transaction_count_7d avg_transaction_7d"
    transactions = pd.DataFrame(payments, columns=columns.split())
    (repo / "data").mkdir(parents=True, exist_ok=True)
    frame.sample(frac=1, random_state=7).to_parquet(repo / "data" / "user_features.parquet", index=False)
    transactions.to_parquet(repo / "data" / "transactions.parquet", index=False)
    return frame, transactions


def churn_model(path: Path) -> LogisticRegression:
    """Train and store a model of five features, as the text's reader has one."""
    rng = np.random.default_rng(0)
    inputs = rng.uniform(0, 50, (200, 5))
    model = LogisticRegression(max_iter=1000).fit(inputs, inputs[:, 0] + inputs[:, 1] > 50)
    path.parent.mkdir(parents=True)
    joblib.dump(model, path)
    return model


CHURN = ["total_purchases", "avg_purchase_amount", "days_since_last_purchase", "tenure_months"]


def test_text_0_churn(tmp_path, server):
    """Views, an on-demand view and a window; a training set, online reads, a model on top, a pipeline that feeds it."""
    reader = Reader(0, tmp_path)
    reader.cell(0)
    repo = tmp_path / "feature_repo"
    users, transactions = churn_data(repo)
    on_redis(reader.write(2, "feature_repo/feature_store.yaml"), server)
    # As cells they build on one another; as files the second one uses what the first one defines.
    for index, name in ((3, "user_features"), (4, "transaction_features")):
        reader.cell(index)
        (repo / "features").mkdir(exist_ok=True)
        (repo / "features" / f"{name}.py").write_text(reader.blocks[index].text)

    reader.enter("feature_repo")
    printed = reader.shell(5)
    for name in ("user_features", "transaction_features", "transaction_streaming_features", "user_id"):
        assert name in printed

    reader.folder = tmp_path
    with reader.at_work():
        from feast import FeatureStore  # type: ignore[import-not-found]

        [windowed] = FeatureStore(repo_path="./feature_repo").list_stream_feature_views()
    # Unnamed aggregations take the schema's names by position, as the text means it.
    assert [one.feature for one in windowed.windows()] == [field.name for field in windowed.schema]
    train_churn(reader, users, transactions)
    serve_churn(reader, users)
    call_churn(reader, users)
    feed_churn(reader, repo)
    stream_churn(reader, repo, transactions)
    reader.finish()


def train_churn(reader: Reader, users: pd.DataFrame, transactions: pd.DataFrame) -> None:
    """Build the text's training set, on two views and an on-demand view."""
    printed = reader.cell(6)
    training, spine = reader.names["training_df"], reader.names["entity_df"]
    assert "Training data shape: (5, 8)" in printed
    assert expect_training(training, spine, users, CHURN, timedelta(days=1), "event_timestamp") > 10
    frequency = (training["total_purchases"] / training["tenure_months"]).astype(float)
    np.testing.assert_allclose(training["purchase_frequency"].astype(float), frequency, rtol=1e-6)
    count = ["transaction_count_7d"]
    assert expect_training(training, spine, transactions, count, timedelta(days=7), "transaction_timestamp") == 5


def serve_churn(reader: Reader, users: pd.DataFrame) -> None:
    """Materialize and read online, directly, over HTTP, and from a class around a model."""
    reader.cell(7, datetime=datetime)
    answer = reader.names["feature_vector"]
    assert answer["user_id"] == [1001, 1002]
    assert answer["total_purchases"] == [45, 23]
    assert answer["avg_purchase_amount"] == pytest.approx([67.5, 89.2], rel=1e-6)
    expect_online(answer, users, "user_id", CHURN[:3], "event_timestamp")

    start, call = re.split(r"\n(?=\n# API call)", reader.blocks[8].text, maxsplit=1)
    body = json.loads(in_background(reader, 8, start, call, "feature_repo", 6566))
    assert body["metadata"]["feature_names"] == ["user_id", "total_purchases", "avg_purchase_amount"]
    assert [result["values"] for result in body["results"][:2]] == [[1001, 1002], [45, 23]]
    assert body["results"][2]["values"] == pytest.approx([67.5, 89.2], rel=1e-6)

    model = churn_model(reader.folder / "models" / "churn_model.pkl")
    reader.cell(9)
    result = reader.names["result"]
    latest = as_of(users, "user_id", 1001, datetime.now(UTC), None, "event_timestamp")
    assert latest is not None
    vector = [*(float(latest[name]) for name in CHURN), latest["total_purchases"] / latest["tenure_months"]]
    assert list(result["features_used"].values()) == pytest.approx(vector, rel=1e-6)
    assert result["probability"] == pytest.approx(list(model.predict_proba([vector])[0]), rel=1e-4)
    assert result["prediction"] == int(model.predict([vector])[0])


def in_background(reader: Reader, index: int, start: str, call: str, folder: str, port: int) -> str:
    """Run a block of two commands, the first of them a server in another shell; return what the second prints.

    Args:
        reader: who reads.
        index: the block.
        start: its first part, which starts the server.
        call: its second part.
        folder: where the server is started, below the reader's.
        port: where it will answer.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", port))  # else somebody else would answer
    reader.done.append(index)
    command = [sys.executable, "-m", "likewise", "run", "bash", "-c", f"exec {start.splitlines()[-1]}"]
    with subprocess.Popen(
        command, cwd=reader.folder / folder, stdout=subprocess.PIPE, start_new_session=True
    ) as server:
        try:
            assert server.stdout is not None
            assert b"Serving project" in server.stdout.readline()
            return reader.type(f"{call.strip()} --silent --fail-with-body --max-time 30")
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(30)


def call_churn(reader: Reader, users: pd.DataFrame) -> None:
    """Run the text's own FastAPI program as printed, with a model of its three features, and ask it over HTTP."""
    rng = np.random.default_rng(0)
    inputs = rng.uniform(0, 50, (200, 3))
    model = LogisticRegression(max_iter=1000).fit(inputs, inputs[:, 0] > 25)
    joblib.dump(model, reader.folder / "models" / "churn_model.pkl")
    reader.cell(10)
    names = ["total_purchases", "avg_purchase_amount", "tenure_months"]
    latest = as_of(users, "user_id", 1001, datetime.now(UTC), None, "event_timestamp")
    assert latest is not None
    vector = [float(latest[name]) for name in names]
    with serving(reader.names["app"]) as ask:
        assert ask("GET", "/health", None) == (200, {"status": "healthy"})
        assert ask("POST", "/predict", {"user_id": "many"})[0] == 422
        status, told = ask("POST", "/predict", {"user_id": 1001})
    assert status == 200, told
    assert list(told["features"]) == names
    assert list(told["features"].values()) == pytest.approx(vector, rel=1e-6)
    assert told["prediction"] == int(model.predict([vector])[0])
    assert told["probability"] == pytest.approx(list(model.predict_proba([vector])[0]), rel=1e-4)


@contextlib.contextmanager
def serving(app: Any) -> Iterator[Callable[[str, str, object], tuple[int, Any]]]:
    """Serve a program's app on a free port of this machine; yields what asks it, and returns status and JSON."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()

        def ask(method: str, path: str, body: object) -> tuple[int, Any]:
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
                text = None if body is None else json.dumps(body)
                connection.request(method, path, text, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                return answer.status, json.loads(answer.read())

        try:
            yield ask
        finally:
            server.should_exit = True
            thread.join(30)


def feed_churn(reader: Reader, repo: Path) -> None:
    """Run the text's pipeline, whose output lacks a column that the text's view declares; then with the view mended."""
    rng = np.random.default_rng(1)
    now = datetime.now().replace(microsecond=0)
    raw = pd.DataFrame(
        {
            "user_id": rng.integers(1001, 1006, 300),
            "transaction_amount": rng.uniform(1, 200, 300).round(2),
            "transaction_date": [now - timedelta(days=int(days)) for days in rng.integers(1, 300, 300)],
        }
    )
    (reader.folder / "data").mkdir()
    raw.to_parquet(reader.folder / "data" / "raw_transactions.parquet", index=False)
    with pytest.raises(SourceDrift, match=r"user_features.parquet.*customer_segment|customer_segment.*user_features"):
        reader.cell(11)

    definitions = repo / "features" / "user_features.py"
    without = [line for line in definitions.read_text().splitlines() if "customer_segment" not in line]
    definitions.write_text("\n".join(without))
    reader.enter("feature_repo")
    reader.type("feast apply --yes")
    reader.folder = repo.parent
    reader.done.pop()
    printed = reader.cell(11)
    assert "Features saved to" in printed
    totals = raw.groupby("user_id")["transaction_amount"].agg(["count", "mean"])
    with reader.at_work():
        answer = (
            reader.names["store"]
            .get_online_features(
                features=["user_features:total_purchases", "user_features:avg_purchase_amount"],
                entity_rows=[{"user_id": user} for user in range(1001, 1006)],
            )
            .to_dict()
        )
    assert answer["total_purchases"] == list(totals["count"])
    assert answer["avg_purchase_amount"] == pytest.approx(list(totals["mean"]), rel=1e-6)


HOURLY = ["transaction_count_1h", "total_amount_1h"]


def stream_churn(reader: Reader, repo: Path, transactions: pd.DataFrame) -> None:
    """Push events as the text does, and read its windows online and in training, over events and history alike."""
    reader.cell(12)
    with reader.at_work():
        for amount in (12.5, 3.0, 7.25):
            reader.names["process_streaming_event"]({"user_id": 1001, "amount": amount})
    now = pd.Timestamp.now(UTC).floor("us")
    rng = np.random.default_rng(4)
    minutes = [0, 0, 12, 35, 59, 61, 80, 100, 119]  # ties, and both sides of an hour
    events = pd.DataFrame(
        {
            "user_id": rng.integers(1002, 1005, len(minutes)),
            "transaction_amount": rng.uniform(1, 200, len(minutes)).round(2),
            "transaction_timestamp": [now - timedelta(minutes=one) for one in minutes],
        }
    )
    users = list(range(1001, 1006))
    with reader.at_work():
        store = reader.names["store"]
        store.push(push_source_name="transaction_push_source", df=events)
        references = [f"transaction_streaming_features:{name}" for name in HOURLY]
        asked = [now + timedelta(minutes=one) for one in (0, 1, 25, 59, 61)]
        online = [store.get_online_features(references, {"user_id": users}, as_of=at).to_dict() for at in asked]
    for at, answer in zip(asked, online, strict=True):
        expected = list(hourly(events, users[1:], at))
        assert list(zip(answer[HOURLY[0]][1:], answer[HOURLY[1]][1:], strict=True)) == expected, f"at {at}"
    assert [answer["transaction_count_1h"][0] for answer in (online[0], online[-1])] == [3, 0], (
        "an hour later it is empty"
    )
    assert [answer["total_amount_1h"][0] for answer in (online[0], online[-1])] == [22.75, None]

    # The same events come to rest in the batch source: training says what online said, and what happened in January.
    history = pd.concat([transactions, events.assign(transaction_count_7d=0, avg_transaction_7d=0.0)])
    history.to_parquet(repo / "data" / "transactions.parquet", index=False)
    january = transactions["transaction_timestamp"].head(8) + timedelta(minutes=40)
    spine = pd.DataFrame({"event_timestamp": [*asked, *january]}).merge(
        pd.DataFrame({"user_id": users[1:]}), how="cross"
    )
    with reader.at_work():
        training = store.get_historical_features(spine, references).to_df()
        store.materialize_incremental(end_date=now)
        again = store.get_online_features(references, {"user_id": users}, as_of=now).to_dict()
    for name, position in (("transaction_count_1h", 0), ("total_amount_1h", 1)):
        for got, user, at in zip(training[name], spine["user_id"], spine["event_timestamp"], strict=True):
            [value] = list(hourly(history, [user], at))
            assert (None if pd.isna(got) else got) == value[position], f"{name} of {user} at {at}"
        # Up to the end of a materialization the files are the truth: what is in them counts once, what is not, no more.
        assert again[name] == [(0, None)[position], *online[0][name][1:]], f"{name} from the files"


def hourly(events: pd.DataFrame, users: list[int], at: pd.Timestamp) -> Iterator[tuple[int, float | None]]:
    """Yield how much each user paid in the hour up to a time, and how often, the obvious way."""
    for user in users:
        own = events[(events["user_id"] == user) & (events["transaction_timestamp"] <= at)]
        amounts = own["transaction_amount"][own["transaction_timestamp"] > at - timedelta(hours=1)]
        yield len(amounts), float(np.float32(math.fsum(amounts))) if len(amounts) else None


# Text 1: a notebook about user activity


def test_text_1_user_activity(tmp_path):
    """A notebook that writes its own repo, applies it, trains, serves, and cleans up, at the end of its own data."""
    reader = Reader(1, tmp_path)
    reader.now = "2024-04-01"
    for index in (1, 2, 3):
        reader.cell(index)
    rows = reader.names["user_features_df"]

    printed = reader.cell(4)
    assert "Feature store initialized" in printed
    assert "Features materialized" in printed
    assert "Note:" not in printed
    assert "not installed" not in printed

    printed = reader.cell(5)
    assert "point-in-time correct" in printed
    assert "[Simulated]" not in printed
    training, spine = reader.names["training_df"], reader.names["entity_df"]
    features = ["daily_spend", "num_sessions", "items_purchased"]
    assert list(training.columns) == [*spine.columns, *features]
    assert list(training["label"]) == list(spine["label"])
    assert expect_training(training, spine, rows, features, timedelta(days=7), "event_timestamp") == 24

    printed = reader.cell(6)
    assert "[Simulated]" not in printed
    assert reader.names["online_features"]["user_id"] == [1, 2]
    expect_online(reader.names["online_features"], rows, "user_id", features, "event_timestamp")
    assert not (tmp_path / "feast_demo").exists(), "the text cleans up"
    reader.finish()


# Text 2: a platform's readme

PLATFORM = """
from datetime import timedelta
from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, Int64

thing = Entity(name="entity", join_keys=["entity_id"], value_type=ValueType.STRING)
source = FileSource(path="data/things.parquet", timestamp_field="event_timestamp")
view = FeatureView(
    name="feature_view_name",
    entities=[thing],
    ttl=timedelta(days=30),
    schema=[Field(name="feature_1", dtype=Int64), Field(name="feature_2", dtype=Float64)],
    source=source,
)
service = FeatureService(name="feature_service_name", features=[view])
"""


PLATFORM_FEATURES = ["feature_1", "feature_2"]


def platform_repo(folder: Path) -> pd.DataFrame:
    """Make a repo of the names that the text uses as placeholders, and its data."""
    now = datetime.now(UTC).replace(microsecond=0)
    names = [*(f"id_{number:03}" for number in range(1, 6)), "entity_123"]
    rows = pd.DataFrame(
        [
            (name, now - timedelta(days=age), 10 * age + place, age + place / 8)
            for age in (1, 5, 40)
            for place, name in enumerate(names)
        ],
        columns=["entity_id", "event_timestamp", "feature_1", "feature_2"],
    )
    (folder / "data").mkdir(parents=True, exist_ok=True)
    rows.to_parquet(folder / "data" / "things.parquet", index=False)
    (folder / "feature_definitions.py").write_text(PLATFORM)
    return rows


class Recorder:
    """A model that keeps what it is asked about."""

    def predict(self, features: dict[str, list[Any]]) -> str:
        """Return a text, and keep the features."""
        self.asked = features
        return "predicted"


def test_text_2_platform(tmp_path):
    """Shell first: apply, list, materialize up to the shell's own date; a service by its bare name; a second repo."""
    reader = Reader(2, tmp_path)
    repo = tmp_path / "feature_store" / "model_features"
    rows = platform_repo(repo)
    config = reader.blocks[6].text.replace("new_model_features", "model_features")
    (repo / "feature_store.yaml").write_text(config)

    printed = reader.shell(0)
    assert reader.folder == repo
    assert "feature_view_name" in printed
    assert "entity" in printed
    reader.shell(1)

    (tmp_path / "path" / "to").mkdir(parents=True)
    (tmp_path / "path" / "to" / "feature_store").symlink_to(repo)
    reader.folder = tmp_path
    use_platform(reader, rows)

    reader.shell(5)
    new = tmp_path / "feature_store" / "new_model_features"
    assert (new / "data").is_dir()
    reader.write(6, "feature_store/new_model_features/feature_store.yaml")
    rows = platform_repo(new)
    reader.folder = new
    reader.shell(7)
    assert (new / "data" / "online_store.db").exists()
    with reader.at_work():
        from feast import FeatureStore  # type: ignore[import-not-found]

        store = FeatureStore(repo_path=".")
        answer = store.get_online_features("feature_service_name", [{"entity_id": "id_002"}]).to_dict()
    expect_online(answer, rows, "entity_id", PLATFORM_FEATURES, "event_timestamp")
    reader.finish()


def test_text_2_production(tmp_path, server):
    """The production configuration: PostgreSQL and Redis by their printed addresses; DuckDB as "data_warehouse"."""
    reader = Reader(2, tmp_path)
    repo = tmp_path / "feature_store" / "model_features"
    rows = platform_repo(repo)
    with PostgresProcess(free_port()) as postgres:
        with psycopg.connect(postgres.address, autocommit=True) as connection:
            connection.execute("CREATE USER \"user\" PASSWORD 'pass'")
            connection.execute('CREATE DATABASE registry OWNER "user"')
        config = reader.blocks[8].text.replace("@host:5432", f"@127.0.0.1:{postgres.port}")
        config = config.replace("//host:6379", f"//{server.address}").replace("type: data_warehouse", "type: duckdb")
        (repo / "feature_store.yaml").write_text(config)
        reader.enter("feature_store/model_features")
        reader.type('feast apply && feast materialize-incremental $(date -u +"%Y-%m-%dT%H:%M:%S")')
        with reader.at_work():
            from feast import FeatureStore  # type: ignore[import-not-found]

            with FeatureStore(repo_path=".") as store:
                answer = store.get_online_features("feature_service_name", [{"entity_id": "id_002"}]).to_dict()
        expect_online(answer, rows, "entity_id", PLATFORM_FEATURES, "event_timestamp")
        with psycopg.connect(postgres.address.replace("dbname=postgres", "dbname=registry")) as connection:
            kept = connection.execute("SELECT count(*) FROM likewise_catalogs").fetchone()
        assert kept == (1,)
        assert not (repo / "data" / "registry.db").exists()


def use_platform(reader: Reader, rows: pd.DataFrame) -> None:
    """Read online and build a training set, by features and by the service's bare name."""
    reader.cell(2)
    answer = reader.names["features"]
    assert answer["entity_id"] == ["entity_123"]
    expect_online(answer, rows, "entity_id", PLATFORM_FEATURES, "event_timestamp")

    now = datetime.now(UTC)
    times = {f"timestamp_{number}": now - timedelta(days=days) for number, days in ((1, 2), (2, 6), (3, 39))}
    reader.cell(3, **times)
    training, spine = reader.names["training_data"], reader.names["entity_df"]
    assert list(training.columns) == ["entity_id", "event_timestamp", *PLATFORM_FEATURES]
    found = expect_training(training, spine, rows, PLATFORM_FEATURES, timedelta(days=30), "event_timestamp")
    assert found == 4, "what was known of the second one then had outlived its ttl"

    model = Recorder()
    reader.cell(4, model=model)
    assert reader.names["prediction"] == "predicted"
    assert model.asked["entity_id"] == ["id_001"]
    expect_online(model.asked, rows, "entity_id", PLATFORM_FEATURES, "event_timestamp")


# Text 3: fraud


def fraud_data(folder: Path) -> pd.DataFrame:
    """Make payments, labels and the features of the last hour."""
    now = datetime.now().replace(microsecond=0)
    rng = np.random.default_rng(3)
    size = 600
    payments = pd.DataFrame(
        {
            "customer_id": rng.integers(1, 21, size),
            "timestamp": [now - timedelta(minutes=int(minutes)) for minutes in rng.integers(10, 40 * 1440, size)],
            "amount": rng.uniform(1, 400, size).round(2),
            "merchant_id": rng.integers(1, 30, size),
        }
    )
    payments.loc[payments["customer_id"] == 20, "timestamp"] = now - timedelta(days=10)  # idle for the last week
    hour = pd.DataFrame(
        {
            "customer_id": range(1, 21),
            "event_timestamp": [now - timedelta(minutes=5 if number != 7 else 90) for number in range(1, 21)],
            "transactions_last_hour": range(20),
            "amount_last_hour": [number * 1.5 for number in range(20)],
            "failed_transactions_last_hour": [number % 3 for number in range(20)],
        }
    )
    labels = pd.DataFrame(
        {
            "customer_id": [3, 1, 20, 3, 99],
            "event_timestamp": [now + timedelta(minutes=minutes) for minutes in (5, 6, 5, -60, 5)],
            "is_fraud": [1, 0, 0, 1, 0],
            "left_out": 0,
        }
    )
    (folder / "data").mkdir()
    payments.to_parquet(folder / "data" / "raw_transactions.parquet", index=False)
    hour.to_parquet(folder / "data" / "customer_realtime.parquet", index=False)
    labels.to_parquet(folder / "data" / "fraud_labels.parquet", index=False)
    return payments


def fraud_features(payments: pd.DataFrame, customer: int, at: pd.Timestamp) -> dict[str, Any]:
    """Compute one customer's features at a time, the obvious way."""
    own = payments[(payments["customer_id"] == customer) & (payments["timestamp"] <= at)]
    month = own[own["timestamp"] > at - timedelta(days=30)]
    return {
        "total_transactions_30d": month["amount"].sum(),
        "avg_transaction_amount_30d": month["amount"].mean(),
        "max_transaction_amount_30d": month["amount"].max(),
        "transaction_count_7d": int((own["timestamp"] > at - timedelta(days=7)).sum()),
        "unique_merchants_30d": month["merchant_id"].nunique(),
    }


class SumModel:
    """A model whose prediction is the sum of what it is given."""

    def predict(self, inputs: list[np.ndarray]) -> list[float]:
        """Return the sum of each row."""
        return [float(sum(row)) for row in inputs]


def test_text_3_fraud(tmp_path, server):
    """The oldest spellings; a batch pipeline that feeds the store; a prediction service; a training set."""
    reader = Reader(3, tmp_path)
    repo = tmp_path / "feature_repo"
    reader.write(0, "feature_repo/feature_definitions.py")
    on_redis(reader.write(1, "feature_repo/feature_store.yaml"), server)
    payments = fraud_data(tmp_path)
    (repo / "data").symlink_to(tmp_path / "data")  # the text says data/ for the pipeline's folder and for the repo's

    reader.cell(2)
    with reader.at_work() as printed:
        reader.names["run_batch_pipeline"]()
    assert "Built features for 20 customers" in printed.getvalue()
    built = pd.read_parquet(tmp_path / "data" / "customer_transactions.parquet")
    at = built["event_timestamp"].iloc[0]
    reader.enter("feature_repo")
    reader.type('feast apply && feast materialize-incremental $(date -u +"%Y-%m-%dT%H:%M:%S")')
    reader.folder = tmp_path

    reader.cell(4, fraud_model=SumModel())
    with reader.at_work():
        features = reader.names["feature_service"].get_features([3, 7, 20, 99])
        fraud = reader.names["predict_fraud"](3, 50.0)
    for customer in (3, 7, 20):
        expected = fraud_features(payments, customer, at)
        for name in list(expected)[:4]:
            # The pipeline has no row for a week without payments, so a customer of none has no count of that week.
            idle = name == "transaction_count_7d" and customer == 20
            wanted = None if idle else pytest.approx(expected[name], rel=1e-5)
            assert features[customer][name] == wanted, f"{name} of {customer}"
    assert features[3]["transactions_last_hour"] == 2
    assert features[7]["transactions_last_hour"] is None, "an hour is its ttl, and the row is 90 minutes old"
    assert set(features[99].values()) == {None}
    vector = [value or 0.0 for value in features[3].values()]
    assert fraud == pytest.approx(sum(vector) + 50.0, rel=1e-6)

    reader.cell(5)
    with reader.at_work():
        training = reader.names["build_fraud_training_data"]()
    names = list(fraud_features(payments, 3, at))
    assert list(training.columns) == ["customer_id", "event_timestamp", "is_fraud", *names]
    assert list(training["customer_id"]) == [3, 1, 20, 3, 99]
    for position, customer in ((0, 3), (1, 1)):
        assert list(training[names].iloc[position]) == pytest.approx(
            list(fraud_features(payments, customer, at).values()), rel=1e-5
        )
    assert training[names].iloc[3:].isna().all(axis=None), "an hour ago, and for an unknown customer, nothing was known"
    reader.finish()


# Text 4: a course module

KNOWN_THEN = """
from datetime import timedelta
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, Int64

user = Entity(name="user_id", value_type=ValueType.INT64)
user_features = FeatureView(
    name="user_features",
    entities=[user],
    ttl=timedelta(days=3),
    schema=[Field(name="avg_purchase_7d", dtype=Float64), Field(name="total_purchases", dtype=Int64)],
    source=FileSource(path="data/purchases.parquet", timestamp_field="event_timestamp"),
)
"""
FEATURES = ["total_purchases", "avg_purchase_amount", "days_since_last_purchase"]


def frame_of_days(days: int) -> pd.DataFrame:
    """Make rows of a few users, one a day from 2024-01-01, with every column that the text's snippets use."""
    at = pd.Timestamp("2024-01-01")
    rng = np.random.default_rng(5)
    rows = [
        (user, at + timedelta(days=day), rng.uniform(1, 90), day + 10 * user)
        for user in (1, 2, 3)
        for day in range(days)
    ]
    frame = pd.DataFrame(rows, columns=["user_id", "event_timestamp", "amount", "total_purchases"])
    frame["avg_purchase_7d"] = frame["amount"] / 7
    for name in ("total_spend", "num_purchases", "purchase_amount", "avg_7d", "avg_90d", "price", "quantity"):
        frame[name] = rng.uniform(1, 9, len(frame))
    for name in ("user_age", "account_tenure", "days_active", "hour"):
        frame[name] = rng.integers(1, 24, len(frame))
    return frame


def test_text_4_course(tmp_path):
    """Snippets, a project of several files that import each other, and a repo made by `init`, filled and used."""
    reader = Reader(4, tmp_path)
    frame = frame_of_days(20)
    check_snippets(reader, frame)
    check_project(reader, tmp_path / "feast-project", frame)
    check_exercise(reader, tmp_path)
    reader.finish()


def check_snippets(reader: Reader, frame: pd.DataFrame) -> None:
    """Run what stands before the project: feature code, and a training set from a repo that the text presumes."""
    reader.cell(1)
    made = reader.names["create_user_features"](frame)
    np.testing.assert_allclose(made["hour_sin"], np.sin(frame["hour"] * np.pi / 12))
    np.testing.assert_allclose(made["purchase_frequency"], frame["num_purchases"] / frame["days_active"])

    start = reader.folder
    repo = reader.enter("presumed")
    (repo / "data").mkdir()
    frame.to_parquet(repo / "data" / "purchases.parquet", index=False)
    (repo / "features.py").write_text(KNOWN_THEN)
    (repo / "feature_store.yaml").write_text("project: presumed\nprovider: local\nregistry: data/registry.db\n")
    reader.type("feast apply")
    reader.cell(2, datetime=datetime)
    training, spine = reader.names["training_df"], reader.names["entity_df"]
    features = ["avg_purchase_7d", "total_purchases"]
    assert expect_training(training, spine, frame, features, timedelta(days=3), "event_timestamp") == 6
    reader.folder = start


def check_project(reader: Reader, project: Path, frame: pd.DataFrame) -> None:
    """Lay out the text's project, apply it, and use it; then run the snippets that follow."""
    reader.folder = project
    for index, name in ((3, "feature_store.yaml"), (4, "entities.py"), (5, "data_sources.py"), (6, "features.py")):
        reader.write(index, f"feature_repo/{name}")
    now = datetime.now(UTC).replace(microsecond=0)
    times = [datetime(2024, 1, day, tzinfo=UTC) for day in (1, 15, 30)] + [
        now - timedelta(hours=hour) for hour in (30, 1)
    ]
    rows = pd.DataFrame(
        [
            (user, at, 40 + 2 * user - step, 25.49 + user * 2 + step / 8, step)
            for user in (1, 2, 3)
            for step, at in enumerate(times)
        ],
        columns=["user_id", "event_timestamp", *FEATURES],
    )
    (project / "feature_repo" / "data").mkdir()
    rows.to_parquet(project / "feature_repo" / "data" / "user_stats.parquet", index=False)
    reader.enter("feature_repo")
    reader.type("feast apply\nfeast materialize 2024-01-01 2024-01-31")
    reader.type('feast materialize-incremental $(date -u +"%Y-%m-%dT%H:%M:%S")')
    reader.folder = project
    reader.cell(7)
    training, spine = reader.names["training_df"], reader.names["entity_df"]
    assert expect_training(training, spine, rows, FEATURES[:2], timedelta(days=1), "event_timestamp") == 6
    assert reader.names["online_features"]["user_id"] == [1]
    expect_online(reader.names["online_features"], rows, "user_id", FEATURES[:2], "event_timestamp")

    for index in (8, 9, 10, 11):
        reader.cell(index)
    names = reader.names
    lagged = names["create_lag_features"](frame.copy(), "amount", [1])
    assert lagged["amount_lag_1d"].iloc[1] == frame["amount"].iloc[0]
    rolled = names["create_rolling_features"](frame.copy(), "amount", [7])
    assert rolled["amount_mean_7d"].iloc[6] == pytest.approx(frame["amount"].iloc[:7].mean())
    assert names["create_ratio_features"](frame.copy())["purchase_vs_avg"].mean() == pytest.approx(1.0)
    crossed = names["create_interaction_features"](frame.copy())
    assert crossed["age_x_tenure"].iloc[0] == frame["user_age"].iloc[0] * frame["account_tenure"].iloc[0]


def check_exercise(reader: Reader, folder: Path) -> None:
    """Do the exercise: init, data, definitions, apply, materialize, use; at the dates that it prints."""
    reader.folder = folder
    demo = reader.enter("feast-demo")
    reader.shell(13)
    repo = demo / "feature_repo"
    assert reader.folder == repo
    reader.write(14, "create_data.py")
    assert "Created 3000 records" in reader.shell(15)
    reader.folder = demo
    reader.write(16, "feature_repo/features.py")
    reader.folder = repo
    reader.now = "2024-02-01"
    reader.shell(17)

    program = reader.write(18, "use_features.py")
    rows = pd.read_parquet(repo / "data" / "user_features.parquet")
    for reader.now in ("2024-01-30T12:00:00", "2024-02-01"):
        printed = reader.run("use_features.py")
        assert "Online features (latest):" in printed
        with reader.at_work():
            names = runpy.run_path(str(program), run_name="__main__")
        found = expect_training(
            names["training_df"], names["entity_df"], rows, FEATURES, timedelta(days=1), "event_timestamp"
        )
        assert found == 15
        answer = names["online_features"]
        assert answer["user_id"] == [1, 2]
        if reader.now == "2024-02-01":  # the newest rows are of January 30, and live for a day
            assert answer["total_purchases"] == answer["avg_purchase_amount"] == [None, None]
            assert [text for text in reader.warnings if "user_features" in text]
        else:
            expect_online(answer, rows, "user_id", FEATURES[:2], "event_timestamp")
            assert f"  total_purchases: {answer['total_purchases']}" in printed
