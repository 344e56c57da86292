"""Names, values and files that mean harm stay data, on every store (T31, T32), and lead nowhere (T33, T34, T38)."""

import contextlib
import json
import pickle
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pymysql
import pytest
from tests.guarantees.conftest import SHARED
from tests.guarantees.world import NOW, rows_of
from tests.serve.conftest import make_repo
from tests.serve.server_process import ServerProcess

from likewise import (
    Aggregation,
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    FixedClock,
    PushMode,
    PushSource,
    RepoConfig,
    StreamFeatureView,
)
from likewise.config import parse_config
from likewise.core.errors import ConfigError, LikewiseError, StoreError
from likewise.core.keys import KeyCodec
from likewise.core.types import Int64, String
from likewise.plan.lookup import table_name
from likewise.registry.transfer import read_file, write_file

HOSTILE = (
    *(
        "'; DROP TABLE canary; --",
        '"; DROP TABLE canary; --',
        "`; DROP TABLE canary; --",
        "x'); DELETE FROM canary; --",
    ),
    *("{0}", "{canary}", "%s", "%(x)s", "$1", "?", ":name", "*", "[a-z]", "a b", "a;b", "--", "/*", "*/", "\\", "\\'"),
    *("SELECT", "é", "💳", "null", "NaN", "__class__", "../../x", "\x01", "a\nb", "<script>alert(1)</script>"),
)
"""Texts that mean something to SQL, to formats, to globs, to shells, to paths or to a browser."""
TIMES = pa.timestamp("us", "UTC")


@contextlib.contextmanager
def canary(kind, request, world) -> Iterator[None]:
    """Put a table of somebody else's beside the store's; it must hold the same row afterwards."""
    made, read = "CREATE TABLE canary (n INT)", "SELECT n FROM canary"
    if kind == "postgres":
        schema = world.online["db_schema"]
        with psycopg.connect(request.getfixturevalue("postgres_server").address, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
            connection.execute(f"SET search_path TO {schema}")
            connection.execute(made)
            connection.execute("INSERT INTO canary VALUES (7)")
            yield
            assert connection.execute(read).fetchall() == [(7,)]
    elif kind == "mysql":
        server = request.getfixturevalue("mysql_server")
        given = {
            "unix_socket": server.host,
            "user": server.user,
            "database": world.online["database"],
            "autocommit": True,
        }
        with contextlib.closing(pymysql.connect(**given)) as connection, connection.cursor() as cursor:
            cursor.execute(made)
            cursor.execute("INSERT INTO canary VALUES (7)")
            yield
            cursor.execute(read)
            assert cursor.fetchall() == ((7,),)
    else:
        yield


@pytest.mark.parametrize("kind", ["memory", *SHARED])
def test_hostile_columns_keys_values_and_paths_stay_data(kind, new_world, request, figures):
    """They are trained on, materialized, pushed, served and deleted as they are, and nothing else happens (T32)."""
    world = new_world(kind)
    path = Path(world.folder, "'; DROP TABLE canary; -- {0} [a].parquet")
    count = len(HOSTILE)
    columns = {f"c{n}": pa.array([HOSTILE[(row + n) % count] for row in range(count)]) for n in range(3)}
    mapping = {HOSTILE[n]: f"c{n}" for n in range(3)} | {HOSTILE[3]: "who"}
    stored = {HOSTILE[n]: columns[f"c{n}"] for n in range(3)}
    at = pa.array([NOW - 1] * count, TIMES)
    pq.write_table(pa.table({HOSTILE[3]: list(HOSTILE), HOSTILE[0] + "at": at, **stored}), path)
    user = Entity(name="who", value_type=String)
    files = FileSource(path=path.name, timestamp_field=HOSTILE[0] + "at", name=f"f_{world.view}", field_mapping=mapping)
    source = PushSource(world.pushed, files)
    fields = [Field(name, String) for name in columns]
    view = FeatureView(
        name=world.view, entities=[user], schema=fields, source=source, description=HOSTILE[0], owner="'"
    )
    count_of = Aggregation("c0", "last", name="newest")
    windows = StreamFeatureView(name=f"w_{world.view}", entities=[user], source=source, aggregations=[count_of])
    asked = [f"{world.view}:{name}" for name in columns] + [f"w_{world.view}:newest"]
    with canary(kind, request, world), world.open() as store:
        store.apply([view, windows])
        store.materialize(0, NOW, [world.view, windows.name])
        served = store.get_online_features(asked, {"who": list(HOSTILE)}).to_dict()
        spine = pa.table({"who": list(HOSTILE), "event_timestamp": pa.array([NOW] * count, TIMES)})
        trained = store.get_historical_features(spine, asked).to_arrow()
        wanted = {**{name: column.to_pylist() for name, column in columns.items()}, "newest": columns["c0"].to_pylist()}
        wrong = sum(served[name] != values or trained[name].to_pylist() != values for name, values in wanted.items())
        rows = pa.table({"who": list(HOSTILE), HOSTILE[0] + "at": pa.array([NOW] * count, TIMES), **columns})
        store.push(world.pushed, rows, to=PushMode.ONLINE_AND_OFFLINE)
        store.delete_from_online_store(world.view, {"who": list(HOSTILE[:5])})
        left = store.get_online_features(asked, {"who": list(HOSTILE)}).to_dict()["c0"]
        wrong += left != [None] * 5 + wanted["c0"][5:]
        figures(cases=count * len(asked), differences=wrong)
        assert wrong == 0
        store.apply([], objects_to_delete=[view, windows])


def test_no_hostile_name_is_applied(figures):
    """Names of tables, routes and files are letters, digits and '_' ('-', '.' inside), else refused (T32, T33)."""
    config = RepoConfig(project="p", registry={"registry_type": "memory"}, online_store={"type": "memory"})
    source = FileSource(path="x.parquet", timestamp_field="at", name="rows")
    plain = {"entities": [Entity(name="k")], "schema": [Field("n", Int64)], "source": source}
    names = [name for name in HOSTILE if not name.isidentifier()]
    tried = 0
    with FeatureStore(config=config) as store:
        for name in names:
            for made in (
                Entity(name=name),
                FeatureView(**{**plain, "name": "v", "schema": [Field(name, Int64)]}),
                FeatureView(**{**plain, "name": "v", "source": PushSource(name, source)}),
                FeatureView(**{**plain, "name": name}),
                FeatureService(name=name, features=[FeatureView(**{**plain, "name": "v"})]),
            ):
                with pytest.raises(LikewiseError, match="cannot be the name"):
                    store.apply([made], skip_source_validation=True)
                tried += 1
        assert store.registry.head("p") == 0
    for name in names:
        with pytest.raises(ConfigError):
            parse_config(json.dumps({"project": name}))
    figures(cases=tried + len(names), differences=0)


class Canary:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(self.path),)


def read_any(store: FeatureStore, path: Path) -> object:
    """Read a file as what its name says: a part of a backup, an export, or the registry."""
    if "set" in path.parts:
        return store.restore(path.parents[1] if path.suffix == ".arrow" else path.parent)
    return read_file(path) if path.suffix == ".jsonl" else store.list_feature_views()


@pytest.mark.parametrize("kind", ["memory", "lmdb", "sqlite"])
def test_whatever_a_file_carries_is_not_run(kind, new_world, tmp_path, figures):
    """A pickle or YAML tag as registry, record, export, backup, source or yaml is an error, never run (T31)."""
    trap = tmp_path / "canary"
    loads = [
        *(pickle.dumps(Canary(trap), protocol) for protocol in (0, 2, 5)),
        f"!!python/object/apply:os.system ['touch {trap}']".encode(),
        f"!!python/object/new:pathlib.Path.touch [{trap}]\n".encode(),
        f"__import__('pathlib').Path({str(trap)!r}).touch()".encode(),
    ]
    refused, [key] = 0, KeyCodec([Int64], ["user"]).encode([[7]])
    for load in loads:
        world = new_world(kind)
        with world.open() as store:
            world.write(rows_of([]))
            store.apply([world.definition()])
            table = table_name("proof", store.get_feature_view(world.view))
            store.online_store.swap(table, [key], [None], [load])
            store.backup(Path(world.folder, "set"))
            write_file(Path(world.folder, "export.jsonl"), store.registry.holdings())
            for read in (
                lambda: store.get_online_features([f"{world.view}:n"], {"user": [7]}),  # noqa: B023
                lambda: store.online_store.check([table]),  # noqa: B023
            ):
                with pytest.raises(StoreError):
                    read()
                refused += 1
        for name in ("registry.db", "export.jsonl", "set/backup.json", "set/registry.jsonl", "set/online/00000.arrow"):
            path = Path(world.folder, name)
            kept = path.read_bytes()
            path.write_bytes(load)
            with world.open() as store, pytest.raises(LikewiseError):
                read_any(store, path)
            path.write_bytes(kept)
            refused += 1
        Path(world.folder, world.rows.name).write_bytes(load)
        Path(world.folder, "feature_store.yaml").write_bytes(b"project: " + load if load[0] != 0x80 else load)
        with pytest.raises(LikewiseError), world.open() as store:
            store.materialize(0, NOW)
        with pytest.raises(LikewiseError):
            FeatureStore(world.folder)
        refused += 2
        assert not trap.exists(), load
    figures(cases=refused, differences=int(trap.exists()))
    pickle.loads(loads[0])  # noqa: S301 - the trap works
    assert trap.exists()


# ---- What a request can reach

BODIES: dict[str, dict[str, Any]] = {
    "/get-online-features": {"features": ["driver_city:city"], "entities": {"driver_id": [1]}},
    "/push": {"push_source_name": "cities", "df": {"driver_id": [1], "event_timestamp": [0], "city": ["x"]}},
    "/write-to-online-store": {"feature_view_name": "driver_city", "df": {"driver_id": [1], "city": ["x"]}},
    "/materialize": {"start_ts": "2024-05-01", "end_ts": "2024-05-02", "feature_views": ["driver_city"]},
    "/materialize-incremental": {"feature_views": ["driver_city"], "end_ts": "2024-05-02"},
}


@pytest.fixture(scope="module", name="reached")
def _reached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, ServerProcess]]:
    """Give a server, in a folder beside a file with a secret, whose definitions are described in hostile texts."""
    folder = tmp_path_factory.mktemp("reached")
    (folder / "secret.txt").write_text("the secret of somebody else")
    repo = make_repo(folder / "repo")
    with FeatureStore(repo, clock=FixedClock("2024-06-01T12:00:00Z")) as store:
        views = [view for view in store.list_feature_views() if view.name == "driver_city"]
        views[0].description, views[0].owner, views[0].tags = SCRIPT, SCRIPT, {"team": SCRIPT}
        store.apply(views, skip_source_validation=True)
        assert store.get_feature_view("driver_city").description == SCRIPT
    with ServerProcess(repo) as server:
        yield repo, server


SCRIPT = "</p><script>alert('of a description')</script><img src=x onerror=alert(1)>"


def with_text_at(value: Any, text: str) -> Iterator[Any]:
    """Yield copies of a JSON value, each with the text in the place of one of its texts, names included."""
    if isinstance(value, dict):
        for name, held in value.items():
            yield {**{other: value[other] for other in value if other != name}, text: held}
            for changed in with_text_at(held, text):
                yield {**value, name: changed}
    elif isinstance(value, list):
        for place, held in enumerate(value):
            for changed in with_text_at(held, text):
                yield [*value[:place], changed, *value[place + 1 :]]
    else:
        yield text


def tree(folder: Path) -> dict[str, int]:
    """Return all files of a folder but the stores' and logs, with their sizes."""
    kept = (
        path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".mdb", ".log", ".db", ".lock")
    )
    return {str(path): path.stat().st_size for path in kept}


@pytest.mark.parametrize(
    "text",
    [
        "../../secret.txt",
        "/etc/passwd",
        "..%2f..%2fsecret.txt",
        "....//secret.txt",
        "file:///etc/passwd",
        "C:\\\\secret",
        "a\0b",
    ],
)
def test_no_text_of_a_request_is_a_path(reached, text, figures):
    """In the place of any text of a body, query or path, traversal is a 4xx or data, and no file is read (T33)."""
    repo, server = reached
    before = tree(repo.parent)
    asked = 0
    for path, body in BODIES.items():
        for changed in with_text_at(body, text):
            reply = server.post(path, changed)
            assert reply.status < 500, (path, changed, reply.body)
            assert b"the secret of" not in reply.body
            assert b"root:" not in reply.body
            asked += 1
    quoted = quote(text, safe="./%")
    for path in (f"/materializations/{quoted}", f"/{quoted}", f"/docs/{quoted}", f"/openapi.json?x={quoted}"):
        reply = server.get(path)
        assert reply.status in (200, 400, 404), (path, reply.status)
        assert b"the secret of" not in reply.body
        asked += 1
    assert tree(repo.parent) == before
    figures(cases=asked, differences=0)


def test_no_text_of_a_request_is_an_address(reached, figures):
    """The server takes no URLs: in the place of any text, an address of ours is never called (T34)."""
    _, server = reached
    called: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        text = f"http://127.0.0.1:{listener.getsockname()[1]}/x"
        done = threading.Event()

        def listen() -> None:
            while not done.is_set():
                with contextlib.suppress(TimeoutError):
                    called.append(listener.accept())

        thread = threading.Thread(target=listen)
        thread.start()
        asked = 0
        for url in (text, text.replace("http", "s3", 1), f"\\\\127.0.0.1:{listener.getsockname()[1]}\\x"):
            for path, body in BODIES.items():
                for changed in with_text_at(body, url):
                    headers = {"referer": text, "x_forwarded_host": text, "x_callback": text}
                    reply = server.ask(
                        "POST", path, json.dumps(changed).encode(), content_type="application/json", **headers
                    )
                    assert reply.status < 500, (path, changed, reply.body)
                    asked += 1
        done.set()
        thread.join()
    figures(cases=asked, differences=len(called))
    assert called == []


def test_what_requests_may_name_is_decided_here(reached):
    """Each member of a body, and each parameter, of the routes' table is a name, value or time; none a place (T34)."""
    _, server = reached
    document = server.get("/openapi.json").json
    places = (
        "url",
        "uri",
        "path",
        "file",
        "host",
        "address",
        "callback",
        "webhook",
        "endpoint",
        "location",
        "redirect",
    )
    members = {
        f"{name}.{member}"
        for name, kind in document["components"]["schemas"].items()
        for member in kind.get("properties", {})
    }
    parameters = {
        f"{method} {path} {told['name']}"
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        for told in operation.get("parameters", [])
    }
    suspicious = {
        name for name in members | parameters if any(place in name.rpartition(".")[2].split()[-1] for place in places)
    }
    assert len(members) > 20
    assert suspicious <= ALLOWED, suspicious


ALLOWED: set[str] = set()
"""Members that sound like a place, and are none."""


def test_descriptions_are_no_part_of_a_page(reached):
    """Script tags in descriptions, owners and tags stand in no page, and the page may run nothing (T38)."""
    _, server = reached
    page, document, metrics = (server.get(path) for path in ("/docs", "/openapi.json", "/metrics"))
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    for reply in (page, document, metrics):
        assert b"<script" not in reply.body
        assert b"onerror" not in reply.body
    for path in ("/<script>alert(1)</script>", "/docs?<script>alert(1)</script>"):
        reply = server.get(quote(path, safe="/?<>()"))
        if reply.headers["content-type"].startswith("text/html"):
            assert b"<script" not in reply.body
    for body in BODIES:
        for changed in with_text_at(BODIES[body], SCRIPT):
            reply = server.post(body, changed)
            assert "html" not in reply.headers["content-type"]
