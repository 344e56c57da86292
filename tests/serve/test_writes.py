"""Writes and materializations over HTTP."""

import contextlib
import threading
import time

import pytest
from tests.serve.conftest import make_repo
from tests.serve.server_process import NOW, ServerProcess, columns, problem

FILLED = ["driver_stats", "driver_city"]
AT = "2024-05-31T00:00:00Z"


@pytest.fixture
def own(tmp_path):
    """A repo of the test's own."""
    return make_repo(tmp_path / "repo")


def test_a_push_is_read_at_once_and_an_older_one_does_not_replace_it(server):
    """POST /push writes what is newer, and says how many records that were."""
    newer = {"driver_id": [7, 8], "event_timestamp": [AT, AT], "city": ["Oslo", None]}
    older = {"driver_id": [7], "event_timestamp": ["2024-05-01T00:00:00Z"], "city": ["Bern"]}
    assert server.post("/push", {"push_source_name": "cities", "df": newer}).json == {"written": 2}
    assert server.post("/push", {"push_source_name": "cities", "df": older, "to": "online"}).json == {"written": 0}
    assert columns(server.read(["driver_city:city"], {"driver_id": [7, 8]}))["city"] == ["Oslo", None]


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/push", {"push_source_name": "nope", "df": {}}, (404, "not_found", "/push_source_name")),
        ("/push", {"push_source_name": "cities", "df": {}, "to": "x"}, (422, "invalid", "/to")),
        ("/push", {"push_source_name": "cities", "df": {"a": [1], "b": []}}, (422, "invalid", None)),
        ("/push", {"push_source_name": "cities", "df": {"city": ["x"]}}, (422, "invalid", None)),
        (
            "/push",
            {"push_source_name": "cities", "df": {"driver_id": [1], "event_timestamp": [5], "city": ["x"]}},
            (422, "invalid", "/df/event_timestamp/0"),
        ),
        ("/write-to-online-store", {"feature_view_name": "nope", "df": {}}, (404, "not_found", "/feature_view_name")),
        ("/write-to-online-store", {"df": {}}, (422, "invalid", "")),
        (
            "/write-to-online-store",
            {"feature_view_name": "everything", "df": {"token": ["?"], "event_timestamp": [AT]}},
            (422, "invalid", "/df/token/0"),
        ),
        ("/materialize", {"end_ts": AT}, (422, "invalid", "/start_ts")),
        ("/materialize", {"start_ts": "x", "end_ts": AT}, (422, "invalid", "/start_ts")),
        ("/materialize-incremental", {"end_ts": "2124-01-01"}, (422, "invalid", "/end_ts")),
        ("/materialize-incremental", {"feature_views": ["nope"]}, (404, "not_found", "/feature_views")),
        ("/materialize-incremental?async=perhaps", {}, (400, "bad_query", None)),
    ],
)
def test_what_cannot_be_written_is_a_problem(server, path, body, expected):
    """Nothing is written, and the problem says what is wrong."""
    assert problem(server.post(path, body)) == expected


def test_a_word_that_cannot_be_is_told_those_that_can(server):
    """A member that is one of a few words says which, when it is another."""
    refused = server.post("/push", {"push_source_name": "cities", "df": {}, "to": "x"}).json["detail"]
    assert refused == "invalid enum value 'x'; known: 'online', 'offline', 'online_and_offline'"


def test_a_materialization_answers_when_it_is_done(own):
    """POST /materialize writes a span of time, and tells what it did for each view."""
    with ServerProcess(own) as server:
        body = {"start_ts": "2024-05-01", "end_ts": NOW, "feature_views": ["driver_stats"]}
        run = server.post("/materialize", body).json
        assert (run["status"], run["views"][0]["view"], run["views"][0]["keys"]) == ("done", "driver_stats", 3)
        assert server.get(f"/materializations/{run['id']}").json == run


def test_a_materialization_in_the_background_has_a_status(own):
    """With async=true the answer is 202 and a place; a failed one says why; an unknown one is 404."""
    with ServerProcess(own) as server:
        started = server.post("/materialize-incremental?async=true", {"feature_views": ["driver_stats"]})
        assert started.status == 202
        assert ended(server, started.headers["location"])["status"] == "done"
        (own / "data" / "trips.parquet").unlink()
        failed = server.post("/materialize-incremental?async=true", {"feature_views": ["driver_stats"]})
        assert ended(server, failed.headers["location"])["status"] == "failed"
        assert problem(server.post("/materialize-incremental", {})) == (500, "source_failed", None)
        assert problem(server.get("/materializations/nope")) == (404, "not_found", None)


def ended(server, place):
    """Wait for a run, and return it."""
    end = time.monotonic() + 30
    while (run := server.get(place).json)["status"] == "running" and time.monotonic() < end:
        time.sleep(0.02)
    return run


def test_one_materialization_runs_at_a_time(own):
    """Of runs asked for at once one works, and the others get 409 and Retry-After; reads go on meanwhile."""
    with ServerProcess(own) as server:
        replies = []

        def ask():
            replies.append(
                server.post("/materialize", {"start_ts": "2024-01-01", "end_ts": NOW, "feature_views": FILLED})
            )

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            assert server.read(["driver_stats:trips"], {"driver_id": [1]}).status == 200
        assert {reply.status for reply in replies} <= {200, 409}
        assert any(reply.status == 200 for reply in replies)
        for reply in replies:
            with contextlib.suppress(KeyError):
                assert reply.headers["retry-after"] == "1"
                assert problem(reply)[1] == "busy"
