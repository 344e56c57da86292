"""Bodies that are tables: honest ones are answered, those that mean harm are a 4xx and take no memory (T27, T28)."""

import contextlib
import random
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pyarrow as pa
import pytest
from tests.serve.server_process import Reply, ServerProcess, problem

from likewise.serve.problem import Refusal
from likewise.serve.settings import Limits
from likewise.serve.tables import read_table

ARROW = "application/vnd.apache.arrow.stream"
READ = "/get-online-features?" + urlencode({"features": "driver_stats:trips"})
MANY = 1_000_000


def stream(table, **options) -> bytes:
    """Return a table as the bytes of a stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write(table)
    return sink.getvalue().to_pybytes()


def send(server, body, path=READ):
    """Send a body as a table."""
    return server.ask("POST", path, body, content_type=ARROW)


def answered(reply) -> pa.Table:
    """Return the table of an answer."""
    assert reply.status == 200, reply.body
    assert reply.headers["content-type"] == ARROW
    return pa.ipc.open_stream(reply.body).read_all()


GOOD = pa.table({"driver_id": [1, 2, 9]})


def test_a_table_is_answered_with_a_table(server):
    """Keys first, then the features, then the status and the event time of each."""
    table = answered(send(server, stream(GOOD)))
    assert table.column_names == ["driver_id", "trips", "trips__status", "trips__ts"]
    assert table.column("trips").to_pylist() == [11, None, None]
    assert table.column("trips__status").to_pylist() == [1, 2, 3]
    assert [at and at.isoformat() for at in table.column("trips__ts").to_pylist()] == [
        "2024-05-31T12:00:00+00:00",
        "2024-05-30T12:00:00+00:00",
        None,
    ]


def test_json_is_answered_with_a_table_if_it_asks_for_one(server):
    """The header Accept chooses: a table, msgpack, or JSON for everything else."""
    body = b'{"features": ["driver_stats:trips"], "entities": {"driver_id": [1]}}'
    for accept in (ARROW, f"application/json;q=0.1, {ARROW}"):
        reply = server.ask("POST", "/get-online-features", body, content_type="application/json", accept=accept)
        assert answered(reply).column("trips").to_pylist() == [11]
    for accept in ("*/*", "text/html", "application/json"):
        reply = server.ask("POST", "/get-online-features", body, content_type="application/json", accept=accept)
        assert reply.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, 2], pa.int8()),
        pa.array(["1", "2"], pa.large_string()),
        pa.array(["1", "2"], pa.string_view()),
        pa.array(["1", "2", "1"]).dictionary_encode(),
        pa.chunked_array([[1], [2]]),
    ],
)
def test_keys_of_other_types_are_coerced_as_in_python(server, column):
    """Integers of any width, texts, views and dictionaries are keys as the same values in Python are."""
    assert answered(send(server, stream(pa.table({"driver_id": column})))).column("driver_id").to_pylist()[:2] == [1, 2]


def test_rows_are_pushed_and_written_as_tables(server):
    """/push and /write-to-online-store take tables, with what JSON has as members in the query string."""
    rows = pa.table(
        {
            "driver_id": [501],
            "event_timestamp": pa.array([1_717_000_000], pa.timestamp("s")),
            "city": ["Bari"],
        }
    )
    assert send(server, stream(rows), "/push?push_source_name=cities&to=online").json == {"written": 1}
    stats = rows.drop_columns("city").append_column("trips", [[5]]).append_column("rating", [[2.5]])
    assert send(server, stream(stats), "/write-to-online-store?feature_view_name=driver_stats").json == {"written": 1}
    found = server.read(["driver_city:city", "driver_stats:trips"], {"driver_id": [501]}).json["results"]
    assert [result["values"] for result in found] == [[501], ["Bari"], [5]]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/get-online-features", "bad_query"),
        (READ + "&feature_service=fleet_v1", "bad_query"),
        (READ + "&nonsense=1", "bad_query"),
        (READ + "&full_feature_names=yes", "bad_query"),
        (READ + "&as_of=1&as_of=2", "bad_query"),
        ("/get-online-features?features=%ff", "bad_query"),
        ("/push", "bad_query"),
        ("/push?push_source_name=cities&to=nowhere", "bad_query"),
        ("/write-to-online-store?push_source_name=cities", "bad_query"),
        ("/get-online-features?features=nobody:x", "not_found"),
        (READ + "&as_of=yesterday", "invalid"),
    ],
)
def test_what_the_query_string_lacks_is_named(server, path, code):
    """A parameter that is missing, unknown, double or wrong is refused."""
    assert problem(send(server, stream(GOOD), path))[1] == code


def test_a_bad_key_is_found_in_any_slice(server):
    """A null far down in a table is refused with the column and the row of the whole table."""
    keys = [*range(5000), None, 7]
    assert problem(send(server, stream(pa.table({"driver_id": pa.array(keys, pa.int64())})))) == (
        422,
        "invalid",
        "/entities/driver_id/5000",
    )
    assert problem(send(server, stream(pa.table({"other": [1]}))))[:2] == (422, "invalid")


def bomb_of_a_dictionary() -> pa.Table:
    """Return a million values that each stand for a text of a megabyte."""
    column = pa.DictionaryArray.from_arrays(np.zeros(MANY, np.int8), pa.array(["x" * (1 << 20)]))
    return pa.table({"driver_id": column})


def bomb_of_views() -> pa.Table:
    """Return a million views of one text of a megabyte."""
    view = np.array([1 << 20, 0x78787878, 0, 0], np.uint32)
    buffers = [None, pa.py_buffer(np.tile(view, MANY).tobytes()), pa.py_buffer(b"x" * (1 << 20))]
    return pa.table({"driver_id": pa.Array.from_buffers(pa.string_view(), MANY, buffers)})


def bomb_of_nulls() -> pa.Table:
    """Return one list of two billion nulls, which take no bytes."""
    offsets = pa.py_buffer(np.array([0, 2**31 - 1], np.int32).tobytes())
    column = pa.Array.from_buffers(pa.list_(pa.null()), 1, [None, offsets], children=[pa.nulls(2**31 - 1)])
    return pa.table({"driver_id": column})


def bomb_of_fixed_lists() -> pa.Table:
    """Return a thousand lists of two million nulls each."""
    kind = pa.list_(pa.null(), 2_000_000)
    column = pa.Array.from_buffers(kind, 1000, [None], children=[pa.nulls(2_000_000_000)])
    return pa.table({"driver_id": column})


def nested(depth: int) -> pa.Table:
    """Return a list in a list in a list."""
    column = pa.array([1])
    for _ in range(depth):
        column = pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), column)
    return pa.table({"driver_id": column})


@pytest.mark.parametrize(
    ("table", "options", "wanted"),
    [
        (pa.table({"driver_id": np.zeros(MANY, np.int64)}), {"compression": "zstd"}, (400, "not_arrow", "")),
        (pa.table({"driver_id": np.zeros(MANY, np.int64)}), {"compression": "lz4"}, (400, "not_arrow", "")),
        (
            pa.table({"driver_id": pa.array(["a", "a"]).dictionary_encode()}),
            {"compression": "zstd"},
            (400, "not_arrow", ""),
        ),
        (bomb_of_a_dictionary(), {}, (413, "too_large", "/driver_id")),
        (bomb_of_nulls(), {}, (413, "too_large", "/driver_id")),
        (bomb_of_fixed_lists(), {}, (413, "too_large", "/driver_id")),
        (pa.table({"driver_id": pa.nulls(2_000_000)}), {}, (413, "too_large", "")),
        (nested(40), {}, (422, "invalid", "/driver_id")),
        (pa.table({"driver_id": pa.array([1], pa.duration("s"))}), {}, (422, "invalid", "/driver_id")),
        (pa.table([[1], [2]], names=["driver_id", "driver_id"]), {}, (422, "invalid", None)),
        (pa.table({f"c{n}": [1] for n in range(6000)}), {}, (413, "too_large", "")),
    ],
)
def test_tables_that_mean_harm_are_refused(server, table, options, wanted):
    """Compressed buffers, dictionaries and lists that unfold without end, odd types and doubled columns are a 4xx."""
    began = time.monotonic()
    assert problem(send(server, stream(table, **options))) == wanted
    assert time.monotonic() - began < 20
    assert server.get("/livez").status == 200


def test_views_that_unfold_without_end_are_refused(server):
    """A million views of one long text are refused before they are written out."""
    assert problem(send(server, stream(bomb_of_views()))) == (413, "too_large", "/driver_id")


def test_more_rows_than_the_limit_are_refused(repo: Path):
    """A table of a million rows is answered by default, one row more is 413; each limit can be set."""
    with ServerProcess(repo, "--limit", "bulk_rows=5000") as server:
        keys = np.arange(5001)
        assert problem(send(server, stream(pa.table({"driver_id": keys}))))[1] == "too_large"
        assert answered(send(server, stream(pa.table({"driver_id": keys[1:]})))).num_rows == 5000
    with ServerProcess(repo, "--limit", "bulk_answer_bytes=10000") as server:
        assert problem(send(server, stream(pa.table({"driver_id": keys}))))[1] == "too_large"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_million_rows_take_bounded_memory_and_hold_up_nobody(server):
    """A million keys are one table; the process grows by less than 400 MiB, and other reads go on meanwhile (T27)."""
    body = stream(pa.table({"driver_id": np.arange(MANY)}))
    server.read(["driver_stats:trips"], {"driver_id": [1]})
    before, waited = peak(server), []
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(send_patiently, server, body)
        while not asked.done():
            began = time.monotonic()
            assert server.read(["driver_stats:trips"], {"driver_id": [1]}).status == 200
            waited.append(time.monotonic() - began)
        table = answered(asked.result())
    assert table.num_rows == MANY
    assert table.column("driver_id").to_pylist()[::250_000] == [0, 250_000, 500_000, 750_000]
    assert table.column("trips")[1].as_py() == 11
    assert peak(server) - before < 400
    assert sorted(waited)[len(waited) // 2] < 0.5


def peak(server) -> int:
    """Return the most memory that a server has had, in MiB."""
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith("VmHWM")]
    return int(line.split()[1]) // 1024


def send_patiently(server, body):
    """Send a body as a table, and wait for long."""
    with contextlib.closing(server.connect(100)) as connection:
        connection.request("POST", READ, body, {"content-type": ARROW})
        reply = connection.getresponse()
        return Reply(reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read())


def test_truncated_and_damaged_streams_are_refused_or_read():
    """Cut anywhere, or with any bytes changed, a stream is a refusal or a table; Arrow's checks come first."""
    whole = stream(pa.table({"a": pa.array(["x", None, "yy"]), "b": [[1], [2, 3], None], "c": [1.5, 2.5, None]}))
    chance = random.Random(7)
    bodies = [whole[:size] for size in range(0, len(whole), 7)]
    for _ in range(400):
        bad = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            bad[chance.randrange(len(bad))] = chance.randrange(256)
        bodies.append(bytes(bad))
    for body in bodies:
        try:
            read_table(body, Limits()).to_pylist()
        except (Refusal, ValueError):
            continue


def test_lengths_that_cannot_be_are_refused(server):
    """A message that says it has more bytes, or rows, than there are is a 400 at once."""
    whole = stream(GOOD)
    for bad in (b"", b"\xff" * 100, whole[:20], b"\xff\xff\xff\xff" + struct.pack("<i", 2**31 - 1), b"ARROW1" + whole):
        assert problem(send(server, bad)) == (400, "not_arrow", "")


def test_a_wrong_type_is_named(server):
    """Each route says which content types it reads."""
    reply = server.ask("POST", "/online-store/read", b"{}", content_type="application/json")
    assert problem(reply) == (415, "wrong_type", None)
    assert "application/msgpack" in reply.json["detail"]
