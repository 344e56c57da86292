"""The log of what was served: it is whole, it is right, and it never costs an answer."""

import contextlib
import json
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.jobs.served_repo import CARDS, make_shop
from tests.serve.conftest import make_repo
from tests.serve.server_process import Refused, ServerProcess, columns

from likewise import FeatureStore
from likewise.core.frames import to_rows
from likewise.jobs.served import served_files

QUICK = ("--limit", "log_seconds=0.2")
TRIPS = ["driver_stats:trips", "driver_city:city"]


def logged(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of a log."""
    return [row for file in served_files(folder) for row in to_rows(file.read())]


def figure(server: ServerProcess, name: str) -> float:
    """Return one of the server's figures; 0 where there is none."""
    lines = server.get("/metrics").body.decode().splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), 0.0)


def wait_for(server: ServerProcess, name: str, least: float) -> None:
    """Wait until one of the server's figures is there."""
    end = time.monotonic() + 20
    while figure(server, name) < least and time.monotonic() < end:
        time.sleep(0.05)
    assert figure(server, name) >= least


def ask(server: ServerProcess, cards: list[int]) -> int:
    """Ask for a service of the shop."""
    entities = {"card_id": cards, "amount_asked": [1.5] * len(cards)}
    return server.post("/get-online-features", {"feature_service": "cards_v1", "entities": entities}).status


def test_a_log_has_keys_values_statuses_and_times(tmp_path):
    """A row says who asked what for which time, of which catalog, and what came of it, in the declared types."""
    repo = make_repo(tmp_path / "repo")
    with ServerProcess(repo, "--log-features", str(repo / "served"), *QUICK) as server:
        body = {"features": TRIPS, "entities": {"driver_id": [1, 2, 3, 9]}}
        reply = server.ask(
            "POST",
            "/get-online-features",
            json.dumps(body).encode(),
            content_type="application/json",
            x_request_id="me-1",
        )
        assert columns(reply)["trips"] == [11, None, None, None]
        wait_for(server, "likewise_log_rows_total", 4)
    rows = logged(repo / "served")
    now = datetime(2024, 6, 1, 12, tzinfo=UTC)
    assert [row["driver_id"] for row in rows] == [1, 2, 3, 9]
    assert [row["driver_stats__trips"] for row in rows] == [11, None, None, None]
    assert [row["driver_stats__trips__status"] for row in rows] == [1, 2, 4, 3]
    assert [row["driver_city__city"] for row in rows] == ["Rome", None, None, None]
    assert rows[0]["driver_stats__trips__timestamp"] == now - timedelta(days=1)
    assert {row["__request_id"] for row in rows} == {"me-1"}
    assert {(row["__as_of"], row["__log_timestamp"], row["__catalog"]) for row in rows} == {(now, now, 1)}
    assert {(row["__record_0_from"], row["__record_0_to"]) for row in rows} == {(datetime(2024, 1, 1, tzinfo=UTC), now)}
    [file] = served_files(repo / "served")
    assert file.path.parent == repo / "served" / "log_date=2024-06-01"
    assert (file.project, file.catalog, file.asked, file.service) == ("fleet", 1, tuple(TRIPS), "")


def test_nothing_is_logged_unless_it_is_asked_for(tmp_path):
    """A server without a folder, of services without a logging_config, writes no file."""
    repo = make_repo(tmp_path / "repo")
    with ServerProcess(repo, *QUICK) as server:
        assert server.read(TRIPS, {"driver_id": [1]}).status == 200
        time.sleep(0.5)
        assert figure(server, "likewise_log_rows_total") == 0
    assert list(served_files(repo)) == []


def test_a_share_of_the_requests_is_logged(tmp_path):
    """A sample holds whole requests, about as many as its share; each keeps all of its rows."""
    repo = make_repo(tmp_path / "repo")
    with ServerProcess(repo, "--log-features", str(repo / "served"), "--log-sample", "0.3", *QUICK) as server:
        with contextlib.closing(server.connect()) as connection:
            for _ in range(300):
                body = json.dumps({"features": TRIPS, "entities": {"driver_id": [1, 2]}})
                connection.request("POST", "/get-online-features", body, {"content-type": "application/json"})
                assert connection.getresponse().read()
        assert server.close() == 0
    rows = logged(repo / "served")
    requests = {row["__request_id"] for row in rows}
    assert 40 < len(requests) < 150
    assert len(rows) == 2 * len(requests)


def test_a_service_logs_where_its_logging_config_says(tmp_path):
    """Its answers go to its own folder, divided as it says; all others to that of the server, and each only once."""
    repo = make_shop(tmp_path / "shop")
    code = repo / "features.py"
    code.write_text(code.read_text().replace('path="data/served"', 'path="data/served", partition_by=["card_id"]'))
    with FeatureStore(repo) as store:
        store.apply()
    with ServerProcess(repo, "--log-features", str(repo / "others"), *QUICK, now="") as server:
        assert ask(server, [7, 8]) == 200
        assert server.read(["card_score:score"], {"card_id": [9]}).status == 200
        wait_for(server, "likewise_log_rows_total", 3)
    own = list(served_files(repo / "data/served"))
    assert sorted(file.path.parent.name for file in own) == ["card_id=7", "card_id=8"]
    assert sorted(row["card_id"] for row in logged(repo / "data/served")) == [7, 8]
    assert [row["card_id"] for row in logged(repo / "others")] == [9]


def test_sigterm_writes_what_is_left_of_every_worker(tmp_path):
    """Two processes have files of their own, and each writes the last of its rows before it ends: none is lost."""
    repo = make_shop(tmp_path / "shop")
    with ServerProcess(repo, "--workers", "2", now="") as server:
        with ThreadPoolExecutor(8) as threads:
            assert set(threads.map(lambda _: ask(server, [1, 2, 3]), range(80))) == {200}
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0
    rows = logged(repo / "data/served")
    assert len(rows) == 240
    assert len({row["__request_id"] for row in rows}) == 80
    assert not list((repo / "data/served").rglob("*.part"))


def test_a_folder_that_cannot_be_written_costs_rows_and_no_answer(tmp_path):
    """Rows are dropped and counted, the log says so once, and every request is answered."""
    repo = make_repo(tmp_path / "repo")
    (repo / "served").write_text("a file where the folder should be")
    with pytest.raises(Refused, match="is a file"):
        ServerProcess(repo, "--log-features", str(repo / "served"))
    (repo / "served").unlink()
    with ServerProcess(repo, "--log-features", str(repo / "served" / "below"), *QUICK) as server:
        (repo / "served").write_text("a file where the folder should be")
        for wanted in range(1, 4):
            assert server.read(TRIPS, {"driver_id": [1]}).status == 200
            wait_for(server, 'likewise_log_dropped_total{reason="write_failed"}', wanted)
        (repo / "served").unlink()
        assert server.read(TRIPS, {"driver_id": [1]}).status == 200
        wait_for(server, "likewise_log_rows_total", 1)
    assert server.log.read_text().count("cannot be logged") == 1
    assert len(logged(repo / "served")) == 1


def test_what_does_not_fit_the_queue_is_dropped_and_counted(tmp_path):
    """A request of more values than may wait is answered, and its rows are counted as dropped."""
    repo = make_repo(tmp_path / "repo")
    limits = (*QUICK, "--limit", "log_values=200")
    with ServerProcess(repo, "--log-features", str(repo / "served"), *limits) as server:
        assert server.read(TRIPS, {"driver_id": [1] * 50}).status == 200
        assert figure(server, 'likewise_log_dropped_total{reason="queue_full"}') == 50
        assert server.read(TRIPS, {"driver_id": [1]}).status == 200
        wait_for(server, "likewise_log_rows_total", 1)
    assert len(logged(repo / "served")) == 1


def test_a_log_that_cannot_be_is_said_and_answers_go_on(tmp_path):
    """A folder in an object store, and a partition by a column that there is not, are named in the server's log."""
    repo = make_shop(tmp_path / "shop")
    code, text = repo / "features.py", (repo / "features.py").read_text()
    for path in ("s3://bucket/served", 'data/served", partition_by=["nope'):
        code.write_text(
            text.replace('path="data/served"', f'path="{path}"' if "nope" not in path else f'path="{path}"]')
        )
        with FeatureStore(repo) as store:
            store.apply()
        with ServerProcess(repo, *QUICK, now="") as server:
            assert [ask(server, [1]), ask(server, [1])] == [200, 200]
        assert server.log.read_text().count("are not logged") == 1


def test_the_ages_of_values_are_figures(tmp_path):
    """The metrics have how old the oldest and the newest record of answers were, by view."""
    repo = make_repo(tmp_path / "repo")
    with ServerProcess(repo) as server:
        assert server.read(["driver_stats:trips"], {"driver_id": [1, 2, 9]}).status == 200
        name = 'likewise_online_value_age_seconds_sum{view="driver_stats",which="%s"}'
        assert figure(server, name % "oldest") == 2 * 86_400
        assert figure(server, name % "newest") == 86_400


@pytest.mark.filterwarnings("ignore:view 'card_limit' has:UserWarning")
def test_what_a_server_answers_while_rows_come_is_what_the_source_says(tmp_path):
    """Reads go on while rows are pushed to both places or online only, late ones too, and views are materialized."""
    repo = make_shop(tmp_path / "shop")
    end, failed = threading.Event(), []

    def read(server: ServerProcess, seed: int) -> None:
        dice = random.Random(seed)
        while not end.is_set():
            failed.extend([status for status in [ask(server, dice.sample([*CARDS, 1000], 10))] if status != 200])

    def push(server: ServerProcess) -> None:
        dice = random.Random(7)
        while not end.is_set():
            cards = dice.sample(CARDS, 4)
            now = datetime.now(UTC)
            at = [(now - timedelta(seconds=dice.choice([0, 1, 100, 4000]))).isoformat() for _ in cards]
            to = dice.choice(["online", "online_and_offline", "online_and_offline"])
            for source, column in (("limits", "limit"), ("payments", "amount")):
                values = [dice.randrange(1000) for _ in cards]
                body = {"push_source_name": source, "df": {"card_id": cards, "at": at, column: values}, "to": to}
                failed.extend([status for status in [server.post("/push", body).status] if status != 200])

    with ServerProcess(repo, *QUICK, now="") as server, FeatureStore(repo) as store:
        threads = [threading.Thread(target=read, args=(server, seed)) for seed in range(2)]
        threads.append(threading.Thread(target=push, args=(server,)))
        for thread in threads:
            thread.start()
        for _ in range(8):
            store.materialize_incremental(store.clock.now())
            time.sleep(0.4)
        end.set()
        for thread in threads:
            thread.join()
        assert server.close() == 0
        found = store.verify_served()
    assert failed == []
    assert found.different == 0, [check.examples for check in found.features.values()]
    assert found.rows > 100
    for check in found.features.values():
        assert check.compared > found.rows / 2, check
    assert found.features["card_limit:limit"].stale > 0
