"""Who may call what: every route with every kind of key (T35), and what a server that asks for none refuses (T38)."""

import contextlib
import http.client
import json
import ssl
import subprocess
import time
from itertools import combinations

import pytest
from click.testing import CliRunner
from tests.serve.conftest import FEATURES, make_repo
from tests.serve.server_process import NOW, Refused, Reply, ServerProcess, columns, problem

from likewise import FeatureService, FeatureStore
from likewise.cli.root import cli
from likewise.cli.session import Session
from likewise.core.time import FixedClock, to_micros
from likewise.registry.keys import SCOPES, Grant, create, revoke

READ, PUSH, WRITE, FILL = "/get-online-features", "/push", "/write-to-online-store", "/materialize"
AT = to_micros(NOW)
MORE = """
copies = FeatureView(name="city_copy", entities=[driver], schema=[Field("city", String)], source=cities)
moves = FeatureView(
    name="moves", entities=[driver], schema=[Field("city", String)],
    source=FileSource(name="moves_again", path="./data/moves.parquet", timestamp_field="event_timestamp"),
)
alias = FeatureService(name="alias_v1", features=[city.with_name("driver_stats")])
only_stats = FeatureService(name="stats_v1", features=[stats])
"""
SCOPE_OF = {
    "POST /get-online-features": "read",
    "POST /push": "write",
    "POST /write-to-online-store": "write",
    "POST /materialize": "admin",
    "POST /materialize-incremental": "admin",
    "GET /materializations/{id}": "admin",
    "GET /health": "public",
    "GET /livez": "public",
    "GET /readyz": "public",
    "GET /metrics": "read",
    "GET /openapi.json": "public",
    "GET /docs": "public",
    "POST /online-store/read": "read",
    "POST /online-store/scan": "read",
    "POST /online-store/write": "write",
    "POST /online-store/swap": "write",
    "POST /online-store/create": "admin",
    "POST /online-store/drop": "admin",
}
"""What each route needs; a new route needs a line, and so somebody who thought of it."""
NOON = "2024-05-31T00:00:00Z"
CITY = {"driver_id": [1], "event_timestamp": [NOON], "city": ["Rome"]}
STATS = {"driver_id": [1], "event_timestamp": [NOON], "trips": [11], "rating": [4.0]}
BODY_OF = {
    READ: {"features": ["driver_city:city"], "entities": {"driver_id": [1]}},
    PUSH: {"push_source_name": "cities", "df": CITY},
    WRITE: {"feature_view_name": "driver_city", "df": CITY},
    FILL: {"start_ts": "2024-05-01", "end_ts": NOW, "feature_views": ["driver_city"]},
    "/materialize-incremental": {"feature_views": ["driver_city"]},
}
"""A good request of each route, all of the view ``driver_city``."""
COMBINATIONS = [scopes for count in (1, 2, 3) for scopes in combinations(SCOPES, count)]


class Client:
    """One connection that is used for everything, and the keys there are."""

    def __init__(self, server: ServerProcess, tokens: dict[str, str]) -> None:
        self.tokens = tokens
        self._connection = server.connect()

    def ask(self, method: str, path: str, body: object = None, token: str | None = None, **headers: str) -> Reply:
        """Send one request, with a token or whatever stands in its place."""
        headers = {name.replace("_", "-"): text for name, text in headers.items()}
        if token is not None:
            headers["authorization"] = token if " " in token else f"Bearer {token}"
        given = None if body is None else json.dumps(body).encode()
        kind = {} if given is None else {"content-type": "application/json"}
        self._connection.request(method, path, given, kind | headers)
        answer = self._connection.getresponse()
        return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def post(self, path: str, body: object, key: str) -> Reply:
        """Send JSON with the key of a name."""
        return self.ask("POST", path, body, self.tokens[key])

    def read(self, key: str, *features: str, **more: object) -> Reply:
        """Ask for features of driver 1."""
        asked = {"features": list(features)} if features else {}
        return self.post(READ, {**asked, "entities": {"driver_id": [1], "fare": [8.0]}, **more}, key)

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()


def make_keys(store: FeatureStore) -> dict[str, str]:
    """Make keys of every kind, and return their tokens."""
    side = store.registry.side

    def made(name, scopes=SCOPES, project="fleet", expires=None, **limits):
        return create(side, project, Grant(name=name, scopes=tuple(scopes), expires=expires, **limits), AT)[1]

    tokens = {}
    for scopes in COMBINATIONS:
        name = "_".join(scopes)
        tokens[name] = made(name, scopes)
        tokens[f"{name}_city"] = made(f"{name}_city", scopes, views=("driver_city", "city_copy"))
        tokens[f"{name}_stats"] = made(f"{name}_stats", scopes, views=("driver_stats",))
        tokens[f"{name}_pricing"] = made(f"{name}_pricing", scopes, services=("pricing_v1",))
    tokens["other"] = made("other", project="fleet2")
    tokens["expired"] = made("expired", expires=AT)
    tokens["nearly"] = made("nearly", expires=AT + 1)
    tokens["revoked"] = made("revoked")
    revoke(side, "fleet", "revoked", AT)
    tokens["fares"] = made("ratio", views=("fares",))
    tokens["fares_and_stats"] = made("fares_and_stats", views=("fares", "driver_stats"))
    tokens["all_cities"] = made("all_cities", views=("driver_city", "city_copy", "moves"))
    tokens["one_city"] = made("one_city", views=("driver_city",))
    tokens["gone"] = made("gone", views=("deleted_view",), services=("deleted_service",))
    return tokens


@pytest.fixture(scope="module")
def guarded(repo):
    """The repo with more views and services, and keys of every kind."""
    (repo / "features.py").write_text(FEATURES + MORE)
    with FeatureStore(repo, clock=FixedClock(NOW)) as store:
        store.apply(skip_source_validation=True)
        yield repo, make_keys(store)


@pytest.fixture(scope="module")
def client(guarded):
    """A client of a server that asks for keys."""
    repo, tokens = guarded
    with ServerProcess(repo) as server:
        assert server.told["auth"] == "keys"
        with contextlib.closing(Client(server, tokens)) as found:
            yield found


@pytest.fixture(scope="module")
def routes(client):
    """Every route of the server's own table as (method, path, scope that it declares)."""
    paths = client.ask("GET", "/openapi.json").json["paths"]
    return [
        (method.upper(), path, told["x-likewise-scope"])
        for path, methods in paths.items()
        for method, told in methods.items()
    ]


def call(client, method, path, token):
    """Send a good request to a route."""
    body = BODY_OF.get(path, {}) if method == "POST" else None
    return client.ask(method, path.replace("{id}", "0123456789abcdef"), body, token)


def test_the_description_says_where_a_key_goes(client):
    """Each route but the public ones takes a bearer token, and tells of 401 and 403."""
    document = client.ask("GET", "/openapi.json").json
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for methods in document["paths"].values():
        for told in methods.values():
            is_public = told["x-likewise-scope"] == "public"
            assert ("security" in told, "401" in told["responses"]) == (not is_public, not is_public)


def test_every_route_declares_the_scope_that_it_is_to_have(routes):
    """The table of routes says what was decided here for each of them, and there is no other route."""
    assert {f"{method} {path}": scope for method, path, scope in routes} == SCOPE_OF


@pytest.mark.parametrize("scopes", COMBINATIONS, ids="_".join)
def test_every_route_with_every_combination_of_scopes(client, routes, scopes):
    """A key calls exactly the routes whose scope it has; no scope includes another (T35)."""
    for method, path, scope in routes:
        reply = call(client, method, path, client.tokens["_".join(scopes)])
        if scope in (*scopes, "public"):
            assert reply.status not in (401, 403), (method, path, reply.body)
            assert reply.status < 500
        else:
            assert problem(reply)[:2] == (403, "forbidden"), (method, path)
            assert f"this needs {scope}" in reply.json["detail"]


@pytest.mark.parametrize("limit", ["stats", "pricing"])
@pytest.mark.parametrize("scopes", COMBINATIONS, ids="_".join)
def test_every_route_with_keys_that_are_limited_to_something_else(client, routes, scopes, limit):
    """What touches a view is refused to a key of another view or service, with the right scope too (T35)."""
    for method, path, scope in routes:
        reply = call(client, method, path, client.tokens[f"{'_'.join(scopes)}_{limit}"])
        if scope == "public":
            assert reply.status in (200, 503)
        elif path == "/materializations/{id}" and scope in scopes:
            assert problem(reply) == (404, "not_found", None)
        elif path.startswith("/online-store/") and scope in scopes:
            assert 400 <= reply.status < 500  # the body here is none of theirs; their own tests have more
        else:
            assert problem(reply)[:2] == (403, "forbidden"), (method, path)


@pytest.mark.parametrize("scopes", COMBINATIONS, ids="_".join)
def test_every_route_with_keys_that_are_limited_to_just_this(client, routes, scopes):
    """A key of the view itself reaches what its scopes say of that view, and no figures of the others (T35)."""
    for method, path, scope in routes:
        reply = call(client, method, path, client.tokens[f"{'_'.join(scopes)}_city"])
        allowed = scope == "public" or (scope in scopes and path != "/metrics")
        assert (reply.status not in (401, 403)) == allowed, (method, path, reply.body)


STRANGERS = [
    "",
    "missing",
    "lw_",
    "lw_000000000000_" + "x" * 43,
    "Basic YTpi",
    "Bearer  ",
    "expired",
    "revoked",
    "other",
]


@pytest.mark.parametrize("given", [*STRANGERS, "cut", "longer", "swapped", "upper"])
def test_every_route_with_keys_that_are_not_good(client, routes, given):
    """Whatever is wrong with a key, each route but the public ones says the same 401, and not what it is (T35, T36)."""
    good, other = client.tokens["read_write_admin"], client.tokens["read"]
    made = {"cut": good[:-1], "longer": good + "x", "swapped": good[:16] + other[16:], "upper": good.upper()}
    token = None if given == "missing" else made.get(given) or client.tokens.get(given, given)
    for method, path, scope in routes:
        reply = call(client, method, path, token)
        if scope == "public":
            assert reply.status in (200, 503)
            continue
        assert problem(reply) == (401, "unauthorized", None), (method, path)
        assert reply.headers["www-authenticate"] == 'Bearer realm="likewise"'
        assert reply.json["detail"] == call(client, "GET", "/metrics", None).json["detail"]


def test_a_key_is_good_until_its_last_microsecond(client):
    """A key that ends a microsecond from now is good; the scheme's name may be written as anybody likes."""
    token = client.tokens["nearly"]
    for header in (f"Bearer {token}", f"bearer {token}", f"BEARER   {token} "):
        assert client.ask("GET", "/metrics", token=header).status == 200


def test_a_key_is_asked_for_before_the_body(client, guarded):
    """The answer of 401 comes when the headers are there, whatever the body would be (G12)."""
    repo, _ = guarded
    head = f"POST {READ} HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\ncontent-length: 1000000\r\n\r\n"
    with ServerProcess(repo) as server, server.raw(10) as raw:
        raw.sendall(head.encode())
        assert raw.recv(65536).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize(
    ("key", "request_"),
    [
        ("read_stats", {"features": ["driver_stats:trips", "driver_city:city"]}),
        ("read_stats", {"features": ["driver_city"]}),
        ("read_stats", {"features": ["driver_city@v1:city"]}),
        ("read_stats", {"features": ["driver_city@latest"]}),
        ("read_stats", {"features": [" driver_city:city "]}),
        ("read_stats", {"features": ["nobody:has_it"]}),
        ("read_stats", {"features": ["nobody"]}),
        ("read_stats", {"features": ["fares:fare_per_star"]}),
        ("read_stats", {"features": ["fleet_v1"]}),
        ("read_stats", {"features": ["pricing_v1"]}),
        ("read_stats", {"features": ["alias_v1"]}),
        ("read_stats", {"feature_service": "fleet_v1"}),
        ("read_stats", {"feature_service": "alias_v1"}),
        ("read_stats", {"feature_service": "nobody"}),
        ("read_stats", {"feature_service": "driver_city"}),
        ("fares", {"features": ["fares"]}),
        ("fares", {"features": ["fares:fare_per_star"]}),
        ("fares", {"feature_service": "pricing_v1"}),
        ("read_pricing", {"features": ["driver_stats:rating"]}),
        ("read_pricing", {"features": ["fares"]}),
        ("read_pricing", {"features": ["pricing_v1", "driver_stats:trips"]}),
        ("read_pricing", {"features": ["pricing_v1:rating"]}),
        ("read_pricing", {"feature_service": "stats_v1"}),
    ],
)
def test_a_limited_key_reads_nothing_else(client, key, request_):
    """Not in a list, by a service, an alias, a version, an on-demand view's inputs; nor is it told what there is."""
    reply = client.read(key, **request_)
    pointer = "/features" if "features" in request_ else "/feature_service"
    assert problem(reply) == (403, "forbidden", pointer)
    asked = request_.get("features") or [request_["feature_service"]]
    said = reply.json["detail"]
    for name in ("driver_city", "fares", "fleet_v1", "city_copy", "moves", "everything"):
        assert name not in said or any(name in each for each in asked)


@pytest.mark.parametrize(
    ("key", "request_"),
    [
        ("read_stats", {"features": ["driver_stats:trips"]}),
        ("read_stats", {"features": ["driver_stats"]}),
        ("read_stats", {"features": ["stats_v1"]}),
        ("read_stats", {"feature_service": "stats_v1"}),
        ("fares_and_stats", {"features": ["fares", "driver_stats:trips"]}),
        ("fares_and_stats", {"feature_service": "pricing_v1"}),
        ("read_pricing", {"feature_service": "pricing_v1"}),
        ("read_pricing", {"features": ["pricing_v1"]}),
    ],
)
def test_a_limited_key_reads_what_it_is_for(client, key, request_):
    """A view by any of its references, a service by its name, and a service all of whose views are its own."""
    for _ in range(2):
        assert columns(client.read(key, **request_))["driver_id"] == [1]


def test_a_limited_key_is_not_told_of_others_when_its_own_is_gone(client):
    """A view or service that was deleted is not found, without the near misses that others are told."""
    for request in ({"features": ["deleted_view:a"]}, {"features": ["deleted_service"]}):
        reply = client.read("gone", **request)
        assert problem(reply) == (404, "not_found", "/features")
        assert "known" not in reply.json["detail"]
        assert "did you mean" not in reply.json["detail"]
    missing = client.read("gone", feature_service="deleted_view")
    assert problem(missing) == (404, "not_found", "/feature_service")
    written = client.post(WRITE, {"feature_view_name": "deleted_view", "df": CITY}, "gone")
    assert problem(written) == (404, "not_found", "/feature_view_name")
    filled = client.post("/materialize-incremental", {"feature_views": ["deleted_view"]}, "gone")
    assert problem(filled) == (404, "not_found", "/feature_views")
    assert "driver" not in written.json["detail"] + filled.json["detail"] + missing.json["detail"]


def test_what_a_key_materializes_is_entered_under_its_name(client, guarded):
    """The audit log says which key filled the online store, not which machine the server runs on."""
    assert client.post("/materialize-incremental", {"feature_views": ["driver_city"]}, "admin_city").status == 200
    with FeatureStore(guarded[0], clock=FixedClock(NOW)) as store:
        entry = [entry for entry in store.check_audit() if entry.what == "materialize"][-1]
    assert entry.objects == ("feature view 'driver_city'",)
    assert entry.who.startswith("key 'admin_city' (")


@pytest.mark.parametrize(
    ("path", "body", "key", "pointer"),
    [
        (WRITE, {"feature_view_name": "driver_stats", "df": STATS}, "write_city", "/feature_view_name"),
        (WRITE, {"feature_view_name": "nobody", "df": STATS}, "write_city", "/feature_view_name"),
        (WRITE, {"feature_view_name": "driver_stats", "df": STATS}, "write_pricing", "/feature_view_name"),
        (PUSH, {"push_source_name": "cities", "df": CITY}, "write_stats", "/push_source_name"),
        (PUSH, {"push_source_name": "cities", "df": CITY}, "one_city", "/push_source_name"),
        (PUSH, {"push_source_name": "nobody", "df": CITY}, "write_city", "/push_source_name"),
        (PUSH, {"push_source_name": "trips", "df": CITY}, "write_city", "/push_source_name"),
        (PUSH, {"push_source_name": "cities", "df": CITY, "to": "offline"}, "write_city", "/push_source_name"),
        (
            PUSH,
            {"push_source_name": "cities", "df": CITY, "to": "online_and_offline"},
            "write_city",
            "/push_source_name",
        ),
        (FILL, {"start_ts": "2024-05-01", "end_ts": NOW}, "admin_city", "/feature_views"),
        (FILL, {"disable_event_timestamp": True}, "admin_city", "/feature_views"),
        (FILL, {**BODY_OF[FILL], "feature_views": ["driver_city", "driver_stats"]}, "admin_city", "/feature_views"),
        (FILL, {**BODY_OF[FILL], "feature_views": ["nobody"]}, "admin_city", "/feature_views"),
        ("/materialize-incremental", {}, "admin_city", "/feature_views"),
        ("/materialize-incremental", {"feature_views": ["driver_stats"]}, "admin_city", "/feature_views"),
        ("/materialize-incremental", {"feature_views": ["driver_city"]}, "admin_pricing", "/feature_views"),
    ],
)
def test_a_limited_key_writes_and_fills_nothing_else(client, path, body, key, pointer):
    """Not a view, not a source that feeds another view or, offline, whose files another reads, and never all views."""
    assert problem(client.post(path, body, key)) == (403, "forbidden", pointer)


def test_a_limited_key_writes_what_it_is_for(client):
    """A push goes to all views of its source, offline too when all that read the files are within the limits."""
    assert client.post(PUSH, {"push_source_name": "cities", "df": CITY}, "write_city").json.keys() == {"written"}
    both = {"push_source_name": "cities", "df": CITY, "to": "online_and_offline"}
    assert client.post(PUSH, both, "all_cities").status == 200
    assert client.post(WRITE, {"feature_view_name": "driver_city", "df": CITY}, "write_city").status == 200


def test_a_limited_key_sees_its_own_runs_only(client):
    """The status of a materialization is for whoever started it, and for keys without limits."""
    run = client.post(FILL, BODY_OF[FILL], "admin_city").json
    place = f"/materializations/{run['id']}"
    assert client.ask("GET", place, token=client.tokens["admin_city"]).json == run
    assert client.ask("GET", place, token=client.tokens["admin"]).json == run
    other = client.ask("GET", place, token=client.tokens["admin_stats"])
    assert problem(other) == (404, "not_found", None)


def wait_for(check, seconds=20.0):
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "it never held"
        time.sleep(0.02)


@pytest.fixture
def own(tmp_path):
    """A repo of the test's own."""
    return make_repo(tmp_path / "repo")


def keys(repo, *args):
    """Run likewise keys, and return what it prints."""
    done = CliRunner().invoke(cli, ["-c", str(repo), "--output", "json", "keys", *args], obj=Session())
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def asks(server, token=None):
    """Return the status of a read, with a token or without."""
    body = json.dumps(BODY_OF[READ]).encode()
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    return server.ask("POST", READ, body, content_type="application/json", **headers).status


@pytest.mark.parametrize("workers", ["1", "2"])
def test_keys_count_soon_after_they_are_made_and_revoked(own, workers):
    """A server asks for keys from the first one on, and goes on asking; a revoked one is refused, by every worker."""
    with ServerProcess(own, "--workers", workers) as server:
        assert server.told["auth"] == "none"
        wait_for(lambda: asks(server) == 200)
        token = keys(own, "create", "web", "--scope", "read", "--expires", "never")["token"]
        wait_for(lambda: {asks(server) for _ in range(20)} == {401})
        wait_for(lambda: {asks(server, token) for _ in range(20)} == {200})
        keys(own, "revoke", "web")
        wait_for(lambda: {asks(server, token) for _ in range(20)} == {401})
    with ServerProcess(own) as server:
        assert server.told["auth"] == "keys"
        assert (asks(server), asks(server, token), server.get("/livez").status) == (401, 401, 200)
    with ServerProcess(own, "--auth", "none") as server:
        assert (server.told["auth"], asks(server)) == ("none", 200)


def test_a_service_that_reads_more_now_is_beyond_the_limits_now(own):
    """What a limited key may read follows the catalog that is answered from."""
    with FeatureStore(own, clock=FixedClock(NOW)) as store, ServerProcess(own, "--auth", "keys") as server:
        stats, city = store.get_feature_view("driver_stats"), store.get_feature_view("driver_city")
        grant = Grant(name="k", scopes=("read",), views=("driver_stats",), expires=None)
        _, token = create(store.registry.side, "fleet", grant, AT)
        for views, status in (([stats], 200), ([stats, city], 403), ([stats], 200)):
            service = FeatureService(name="grows", features=views)
            store.apply([service], skip_source_validation=True)
            body = json.dumps({"feature_service": "grows", "entities": {"driver_id": [1]}}).encode()
            headers = {"content_type": "application/json", "authorization": f"Bearer {token}"}
            wait_for(lambda: server.ask("POST", READ, body, **headers).status == status)  # noqa: B023


def test_other_machines_need_keys_from_the_start(own):
    """On an address that others reach, keys are asked for though the project has none yet (G12)."""
    with ServerProcess(own, "--host", "0.0.0.0") as server:
        assert server.told["auth"] == "keys"
        assert (asks(server), server.get("/readyz").status) == (401, 200)
    with ServerProcess(own, "--host", "0.0.0.0", "--auth", "none", "--allow-remote") as server:
        assert (server.told["auth"], asks(server)) == ("none", 200)
    with pytest.raises(Refused, match="say --allow-remote too"):
        ServerProcess(own, "--host", "0.0.0.0", "--auth", "none")


@pytest.fixture(scope="module")
def unguarded(guarded):
    """A server that asks nobody for a key, on this machine."""
    with ServerProcess(guarded[0], "--auth", "none") as running:
        yield running


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "127.0.0.1:6566"}, 200),
        ({"host": "localhost"}, 200),
        ({"host": "LOCALHOST:80"}, 200),
        ({"host": "[::1]:6566"}, 200),
        ({"host": "127.0.0.1", "origin": "http://localhost:3000"}, 200),
        ({"host": "evil.example"}, 403),
        ({"host": "evil.example:6566"}, 403),
        ({"host": "localhost.evil.example"}, 403),
        ({"host": "127.0.0.1.evil.example"}, 403),
        ({"host": "127.0.0.1@evil.example"}, 403),
        ({"host": "evil.example#127.0.0.1"}, 403),
        ({"host": "[evil"}, 403),
        ({"host": ""}, 403),
        ({"host": "10.0.0.1"}, 403),
        ({"host": "127.0.0.1", "origin": "http://evil.example"}, 403),
        ({"host": "127.0.0.1", "origin": "null"}, 403),
        ({"host": "127.0.0.1", "origin": "file://"}, 403),
        ({"host": "127.0.0.1", "origin": "http://127.0.0.1@evil.example"}, 403),
    ],
)
def test_pages_from_elsewhere_reach_nothing_where_no_key_is_asked_for(unguarded, headers, status):
    """A hostile Host (DNS rebinding) or Origin is 403 on every route that does something; probes are inert (T38)."""
    body = json.dumps({"features": ["driver_city:city"], "entities": {"driver_id": [1]}}).encode()
    reply = unguarded.ask("POST", READ, body, content_type="application/json", **headers)
    assert reply.status == status, reply.body
    if status == 403:
        assert problem(reply)[:2] == (403, "forbidden")
        assert problem(unguarded.ask("GET", "/metrics", **headers))[:2] == (403, "forbidden")
    assert unguarded.ask("GET", "/livez", **headers).status == 200


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x"])
@pytest.mark.parametrize("path", [PUSH, WRITE, FILL, "/materialize-incremental", READ])
def test_what_a_form_can_post_is_inert(unguarded, path, kind):
    """A page can post a form anywhere, but no JSON: such a body is 415, and nothing is done (T38)."""
    body = json.dumps(BODY_OF[path]).encode()
    assert problem(unguarded.ask("POST", path, body, content_type=kind)) == (415, "wrong_type", None)


def test_a_proxy_under_another_name_is_let_in_when_it_is_said(own):
    """With --auth none --allow-remote, or with keys, the Host may be any."""
    with ServerProcess(own, "--auth", "none", "--allow-remote") as server:
        assert server.ask("GET", "/metrics", host="shop.example").status == 200
    token = keys(own, "create", "web", "--scope", "read", "--expires", "never")["token"]
    with ServerProcess(own) as server:
        assert server.ask("GET", "/metrics", host="shop.example", authorization=f"Bearer {token}").status == 200


def test_keys_travel_by_tls(own, tmp_path):
    """With --cert and --key the server answers by TLS alone, to who trusts its certificate and has a key."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run([*made.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    token = keys(own, "create", "web", "--scope", "read", "--expires", "never")["token"]
    with ServerProcess(own, "--cert", str(certificate), "--key", str(key)) as server:
        assert server.told["address"].startswith("https://")
        trusting = ssl.create_default_context(cafile=str(certificate))
        secure = http.client.HTTPSConnection("localhost", server.port, timeout=30, context=trusting)
        with contextlib.closing(secure):
            for headers, status in (({}, 401), ({"authorization": f"Bearer {token}"}, 200)):
                secure.request("GET", "/metrics", headers=headers)
                answer = secure.getresponse()
                assert (answer.read() != b"", answer.status) == (True, status)
        stranger = http.client.HTTPSConnection("localhost", server.port, timeout=30)
        with contextlib.closing(stranger), pytest.raises(ssl.SSLCertVerificationError):
            stranger.request("GET", "/livez")
        with pytest.raises((http.client.HTTPException, OSError)):
            server.get("/livez")
