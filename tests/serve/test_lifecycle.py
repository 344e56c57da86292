"""Start, follow, drain and end (T8, T18, T29), with real processes."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from tests.serve.conftest import FEATURES, make_repo
from tests.serve.server_process import NOW, Refused, ServerProcess, columns, problem

from likewise import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, ValueType
from likewise.core.errors import ConfigError
from likewise.core.time import FixedClock
from likewise.serve.settings import Settings, limits_of
from likewise.types import Float64, Int64

posix = pytest.mark.skipif(os.name != "posix", reason="Windows has no SIGTERM that a process can hear")
BODY = json.dumps({"features": ["driver_stats:trips"], "entities": {"driver_id": [1]}}).encode()
JSON = {"content-type": "application/json"}


@pytest.fixture
def own(tmp_path):
    """A repo of the test's own."""
    return make_repo(tmp_path / "repo")


def wait_for(check, seconds=20.0):
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "it never held"
        time.sleep(0.02)


def test_a_server_whose_code_differs_from_what_was_applied_refuses_to_start(own):
    """It says which view's function is another one (S10)."""
    (own / "features.py").write_text(FEATURES.replace("f / r if r and f", "2 * f / r if r and f"))
    with pytest.raises(Refused, match=r"'fares': its function in the repo differs from the applied one"):
        ServerProcess(own)


def test_code_that_is_applied_elsewhere_makes_the_server_unready(own):
    """A catalog with another function is not computed with the old one: /readyz names the view, whose reads fail."""
    with ServerProcess(own) as server:
        assert server.get("/readyz").json["code"] == []
        (own / "features.py").write_text(FEATURES.replace("f / r if r and f", "2 * f / r if r and f"))
        with FeatureStore(own, clock=FixedClock(NOW)) as store:
            store.apply(skip_source_validation=True)
        wait_for(lambda: server.get("/readyz").status == 503)
        assert server.get("/readyz").json["code"] == ["on-demand feature view 'fares'"]
        asked = server.read(["fares"], {"driver_id": [1], "fare": [8.0]})
        assert problem(asked) == (500, "function_failed", None)
        assert columns(server.read(["driver_stats:trips"], {"driver_id": [1]}))["trips"] == [11]


def test_nothing_applied_is_alive_and_not_ready_and_heals_by_itself(tmp_path):
    """A server on an empty repo answers probes, and reads as soon as something is applied (T18)."""
    repo = tmp_path / "empty"
    repo.mkdir()
    (repo / "feature_store.yaml").write_text("project: p\nregistry: {path: r.db, cache_ttl_seconds: 0.1}\n")
    with ServerProcess(repo) as server:
        assert server.get("/livez").status == 200
        assert server.get("/health").json == {"status": "healthy"}
        assert (server.get("/readyz").status, server.get("/readyz").json["status"]) == (503, "not ready")
        with FeatureStore(repo) as store:
            source = FileSource(path="x.parquet", timestamp_field="t")
            view = FeatureView(
                "v", source, [Field("a", Int64)], [Entity(name="k", join_keys=["k"], value_type=ValueType.STRING)]
            )
            store.apply([view], skip_source_validation=True)
        wait_for(lambda: server.get("/readyz").status == 200)
        assert columns(server.read(["v:a"], {"k": ["1"]})) == {"k": ["1"], "a": [None]}


def test_applies_under_load_never_mix_two_catalogs(tmp_path):
    """Each answer is wholly of one catalog, and none fails, while the definitions change (T8)."""
    repo = tmp_path / "repo"
    repo.mkdir()
    (repo / "feature_store.yaml").write_text("project: p\nregistry: {path: r.db, cache_ttl_seconds: 0.1}\n")
    entity = Entity(name="k", join_keys=["k"], value_type=ValueType.STRING)
    source = FileSource(path="x.parquet", timestamp_field="t")

    def definitions(number):
        fields = [Field(f"a{n}", Float64 if number % 2 else Int64) for n in range(3 + number % 3)]
        views = [FeatureView(name, source, fields, [entity]) for name in ("one", "two")]
        return [*views, FeatureService("both", features=views)]

    with FeatureStore(repo) as store:
        store.apply(definitions(0), skip_source_validation=True)
        with ServerProcess(repo) as server:
            seen, wrong, end = set(), [], threading.Event()
            body = {"feature_service": "both", "entities": {"k": ["1"]}, "full_feature_names": True}

            def ask():
                while not end.is_set():
                    reply = server.post("/get-online-features", body)
                    names = columns(reply) if reply.status == 200 else {}
                    parts = [tuple(n[5:] for n in names if n.startswith(view)) for view in ("one__", "two__")]
                    seen.add(parts[0])
                    if reply.status != 200 or parts[0] != parts[1]:
                        wrong.append(reply.body)

            threads = [threading.Thread(target=ask) for _ in range(3)]
            for thread in threads:
                thread.start()
            for number in range(1, 13):
                store.apply(definitions(number), skip_source_validation=True)
                time.sleep(0.15)
            end.set()
            for thread in threads:
                thread.join()
    assert wrong == []
    assert len(seen) == 3, "every shape was served"


@posix
@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_under_load_fails_no_request(own, workers):
    """Told to end, a server answers all that it is sent, says that each connection ends, and exits with 0 (T18)."""
    with ServerProcess(own, "--workers", workers) as server:
        wait_for(lambda: _answers(server))
        replies, ended, failed = [], [], []
        threads = [threading.Thread(target=_until_closed, args=(server, replies, ended, failed)) for _ in range(8)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(replies) > 50)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(30)
        assert server.process.wait(30) == 0
        assert time.monotonic() - began < 12
    assert failed == []
    assert len(ended) == 8, "each connection was told to end"
    assert set(replies) == {200}


def _answers(server):
    with contextlib.suppress(OSError):
        return server.get("/livez").status == 200
    return False


def _until_closed(server, replies, ended, failed):
    """Ask on one connection until the server says it is the last answer."""
    with contextlib.closing(server.connect()) as connection:
        while True:
            try:
                connection.request("POST", "/get-online-features", BODY, JSON)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                failed.append(repr(error))
                return
            replies.append(answer.status)
            if answer.getheader("connection") == "close":
                ended.append(True)
                return


def test_too_many_at_once_are_shed_and_it_recovers(own):
    """Beyond the limits a request gets 503 and Retry-After, and none waits long; afterwards all is well (T29)."""
    with ServerProcess(own, "--limit", "connections=8") as server:
        statuses, retries = [], []

        def ask():
            for _ in range(10):
                reply = server.ask("POST", "/get-online-features", BODY, content_type="application/json")
                statuses.append(reply.status)
                if reply.status == 503:
                    retries.append(reply.headers["retry-after"])
                    assert problem(reply)[1] == "overloaded"

        with contextlib.ExitStack() as stack:
            for _ in range(8):
                stack.enter_context(server.raw())
            threads = [threading.Thread(target=ask) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert server.get("/livez").status == 200
        assert set(statuses) == {503}
        assert set(retries) == {"1"}
        wait_for(lambda: server.read(["driver_stats:trips"], {"driver_id": [1]}).status == 200, 10)


def test_other_hosts_are_refused_without_a_flag(own):
    """Where other machines reach it, it does not go without access keys, unless it is said outright (G12)."""
    with pytest.raises(Refused, match="with --auth none it asks nobody for a key"):
        ServerProcess(own, "--host", "0.0.0.0", "--auth", "none")
    Settings(repo=own, host="0.0.0.0", auth="none", allow_remote=True).check()
    with pytest.raises(ConfigError, match="give both --cert and --key"):
        Settings(repo=own, tls_cert=own / "features.py").check()
    with pytest.raises(ConfigError, match=r"features\.py' are no certificate and its key"):
        Settings(repo=own, tls_cert=own / "features.py", tls_key=own / "features.py").check()


def test_a_taken_port_is_named(own):
    """A port that somebody else has is refused with the address and the cure."""
    with ServerProcess(own) as server:
        command = [sys.executable, "-m", "likewise", "-c", str(own), "serve", "--port", str(server.port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1
        assert f"127.0.0.1:{server.port} cannot be listened on" in done.stderr


def test_limits_are_set_by_name():
    """A limit that is not known, or no positive number, is refused by name."""
    assert limits_of(["keys=5", "body_seconds=1.5"]).body_seconds == 1.5
    with pytest.raises(ConfigError, match="did you mean 'keys'"):
        limits_of(["kyes=5"])
    for text in ("keys=-1", "keys=many", "keys", "body_seconds=nan", "body_seconds=inf"):
        with pytest.raises(ConfigError, match="cannot be"):
            limits_of([text])


def test_figures_count_requests_stages_and_statuses(server):
    """/metrics has the latency of each route and stage, and the values of each view by status."""
    server.read(["driver_stats:trips"], {"driver_id": [1, 2, 9]})
    server.get("/nowhere")
    text = server.get("/metrics").body.decode()
    for line in (
        'likewise_request_seconds_count{route="/get-online-features"}',
        'likewise_requests_total{route="other",status="404"}',
        'likewise_online_stage_seconds_bucket{le="0.001",stage="read"}',
        'likewise_online_values_total{status="NOT_FOUND",view="driver_stats"}',
        'likewise_online_values_total{status="NULL_VALUE",view="driver_stats"}',
        "process_resident_memory_bytes",
    ):
        assert line in text or not line.startswith("likewise"), line


def test_workers_share_their_figures(own):
    """With several processes each of them tells the figures of all."""
    with ServerProcess(own, "--workers", "2") as server:
        wait_for(lambda: _answers(server))
        for _ in range(40):
            assert server.read(["driver_stats:trips"], {"driver_id": [1]}).status == 200
        text = server.get("/metrics").body.decode()
        assert 'likewise_requests_total{route="/get-online-features",status="200"} 40.0' in text
