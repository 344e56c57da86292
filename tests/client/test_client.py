"""The client: what it is told is what the store beside the server says, to the bit, and errors are the same ones."""

import asyncio
import inspect
import math
import pickle
import subprocess
import sys
from decimal import Decimal
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from tests.client.world import AT, TOKENS, spent
from tests.serve.server_process import NOW

from likewise.client import AsyncClient, Client
from likewise.core.errors import (
    ConfigError,
    EntityKeyError,
    FeatureNotFound,
    FeatureServiceNotFound,
    FeatureViewNotFound,
    InvalidTime,
    LikewiseError,
    PushSourceNotFound,
    RequestDataMissing,
    RequestError,
    StoreError,
)
from likewise.testing.online_suite import bits

pytestmark = pytest.mark.filterwarnings("ignore:.*older than its ttl:UserWarning")
EVERYTHING = ["everything", "derived"]


def seen(answer) -> object:
    """Return all that an answer says, so that what differs in type or bits differs."""
    return (
        {name: [bits(value) for value in values] for name, values in answer.to_dict().items()},
        answer.key_types,
        [(feature.name, feature.type) for feature in answer.features],
        answer.statuses(),
        answer.event_timestamps(),
    )


@pytest.mark.parametrize(
    ("features", "rows"),
    [
        (EVERYTHING, [{"token": token} for token in [*TOKENS, b"nobody"]]),
        (EVERYTHING, {"token": TOKENS}),
        (["driver_stats", "driver_city:city", "spending"], [{"driver_id": n} for n in (1, 2, 3, 9)]),
        (["driver_stats:rating", "fares"], [{"driver_id": 1, "fare": 6.0}, {"driver_id": 9, "fare": math.nan}]),
        ("spending", {"driver_id": np.array([1, 2])}),
        ("driver_stats", {"driver_id": pd.Series(["1", "2"])}),
        (["driver_stats"], []),
    ],
)
def test_an_answer_is_the_one_of_the_store(client, store, features, rows):
    """Values, types, statuses, event times and their order are those of the store beside the server, to the bit."""
    for names in (False, True):
        assert seen(client.get_online_features(features, rows, names)) == seen(
            store.get_online_features(features, rows, names)
        )


def test_tables_and_frames_of_an_answer_are_the_same(client, store):
    """to_arrow, to_df and to_numpy of an answer give the same as the store's."""
    asked = EVERYTHING, {"token": TOKENS}
    one, two = client.get_online_features(*asked), store.get_online_features(*asked)
    assert one.to_arrow(True).schema == two.to_arrow(True).schema
    assert repr(one.to_arrow(True).to_pydict()) == repr(two.to_arrow(True).to_pydict())
    pd.testing.assert_frame_equal(one.to_df(True), two.to_df(True))


def test_a_service_a_time_and_columns_may_be_given(client, store):
    """feature_service, entities and as_of are asked for by name, a service object too."""
    service, rows = store.get_feature_service("fleet_v1"), {"driver_id": [1, 2]}
    wanted = seen(store.get_online_features(service, rows, as_of=AT))
    assert seen(client.get_online_features(service, rows, as_of=AT)) == wanted
    by_name = client.get_online_features(feature_service="fleet_v1", entities=rows, as_of=AT.isoformat())
    assert seen(by_name) == wanted


@pytest.mark.parametrize(
    ("features", "rows", "kind"),
    [
        (["nobody:x"], [{"driver_id": 1}], FeatureViewNotFound),
        (["driver_stats:nothing"], [{"driver_id": 1}], FeatureNotFound),
        (["driver_stats"], [{"driver_id": 1}, {"driver_id": None}], EntityKeyError),
        (["driver_stats"], [{"driver_id": "x"}], EntityKeyError),
        (["driver_stats"], [{"driver_id": 2**70}], EntityKeyError),
        (["driver_stats"], [{"token": b"x"}], EntityKeyError),
        (["everything"], [{"token": "text"}], EntityKeyError),
        (["everything"], [{"token": UUID(int=1)}], EntityKeyError),
        (["everything"], [{"token": Decimal(1)}], EntityKeyError),
        (["fares"], [{"driver_id": 1}], RequestDataMissing),
        (["driver_stats"], {"driver_id": [1], "fare": [1, 2]}, RequestError),
        ("driver_stats", "driver_id", RequestError),
        ("driver_stats", [5], RequestError),
        (7, [{"driver_id": 1}], RequestError),
    ],
)
def test_errors_are_those_of_the_store(client, store, features, rows, kind):
    """What the store refuses the client refuses with the same class, saying the same, in the same column and row."""
    told = []
    for asked in (client, store):
        try:
            told.append(asked.get_online_features(features, rows))
        except LikewiseError as error:
            told.append(error)
    one, two = told
    assert isinstance(one, kind)
    assert (type(one), str(one)) == (type(two), str(two))
    assert (getattr(one, "column", None), getattr(one, "row", None)) == (
        getattr(two, "column", None),
        getattr(two, "row", None),
    )


def test_names_that_nobody_has_are_named(client):
    """Services, push sources and times that cannot be are errors of their own classes."""
    with pytest.raises(FeatureServiceNotFound):
        client.get_online_features(feature_service="nobody", entity_rows=[{"driver_id": 1}])
    with pytest.raises(InvalidTime):
        client.get_online_features("driver_stats", [{"driver_id": 1}], as_of="yesterday")
    with pytest.raises(PushSourceNotFound):
        client.push("nobody", {"driver_id": [1]})
    with pytest.raises(RequestError, match="event_timestamp"):
        client.push("cities", {"driver_id": [1], "city": ["Rome"]})
    with pytest.raises(InvalidTime, match="future"):
        client.materialize("2024-01-01", "2030-01-01")
    with pytest.raises(RequestError, match="either"):
        client.get_online_features()


def test_what_a_client_writes_is_read(client, store):
    """Pushes and writes of frames, tables and lists of dicts arrive with the types that they have."""
    day = AT.replace(day=30)
    frame = pd.DataFrame({"driver_id": [71], "event_timestamp": [pd.Timestamp(day)], "city": ["Bari"]})
    assert client.push("cities", frame) == 1
    stats = [{"driver_id": 71, "event_timestamp": day, "trips": 2**53 + 1, "rating": math.nan}]
    assert client.write_to_online_store("driver_stats", stats) == 1
    assert client.push("spends", spent([71, 71], [1.0, 2.0]), to="online", idempotency_key="a") == 1
    assert client.push("spends", spent([71, 71], [1.0, 2.0]), to="online", idempotency_key="a") <= 1
    asked = ["driver_city", "driver_stats", "spending"], [{"driver_id": 71}]
    answer = client.get_online_features(*asked)
    assert seen(answer) == seen(store.get_online_features(*asked))
    assert answer.to_dict()["trips"] == [2**53 + 1]
    assert answer.to_dict()["sum_amount_172800s"] == [3.0]


def test_a_client_has_the_store_filled(client):
    """Materializations are waited for, or run on and are asked about."""
    done = client.materialize("2024-05-01", NOW, ["driver_stats"])
    assert (done.status, done.views[0].view, done.views[0].keys) == ("done", "driver_stats", 3)
    begun = client.materialize_incremental(feature_views=["driver_stats"], wait=False)
    while (run := client.materialization(begun.id)).status == "running":
        pass
    assert run.status == "done"
    assert client.health() is True
    assert client.ready().is_ready


def test_a_closed_client_says_so_and_hides_its_key(server):
    """Nothing is asked after close; neither repr nor errors show the key; addresses with secrets are refused."""
    client = Client(f"http://127.0.0.1:{server.port}", key="hunter2")
    client.close()
    with pytest.raises(StoreError, match="closed"):
        client.health()
    assert "hunter2" not in repr(client) + repr(vars(client))
    with pytest.raises(ConfigError) as caught:
        Client("http://user:hunter2@127.0.0.1")
    assert "hunter2" not in str(caught.value)
    with pytest.raises((TypeError, AttributeError)):
        pickle.dumps(client)


def test_the_async_client_does_the_same(server, store):
    """Many reads at once from one event loop are each their own; its methods are those of the other client."""

    async def ask():
        async with AsyncClient(f"http://127.0.0.1:{server.port}", timeout=30.0) as client:
            asked = [client.get_online_features("driver_stats", [{"driver_id": n % 4}]) for n in range(100)]
            answers = await asyncio.gather(*asked)
            table = await client.read_table({"driver_id": [1]}, ["driver_stats"])
            assert await client.push("cities", [{"driver_id": 8, "event_timestamp": AT, "city": "Rome"}]) <= 1
            with pytest.raises(FeatureViewNotFound):
                await client.get_online_features("nobody:x", [{"driver_id": 1}])
            assert (await client.ready()).is_ready
            return answers, table

    answers, table = asyncio.run(ask())
    for number, answer in enumerate(answers):
        assert seen(answer) == seen(store.get_online_features("driver_stats", [{"driver_id": number % 4}]))
    assert table.column("trips").to_pylist() == [11]
    public = {name for name in dir(Client) if not name.startswith("_")}
    assert public - {"close"} == {name for name in dir(AsyncClient) if not name.startswith("_")} - {"aclose"}
    for name in public - {"close"}:
        one, two = (list(inspect.signature(getattr(kind, name)).parameters) for kind in (Client, AsyncClient))
        assert one == two, name


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan"), "1", True])
def test_a_time_that_cannot_be_is_refused(client, seconds):
    """No timeout stands for another one: what is not above 0, or has no end, is an error, as in FeatureStore."""
    url = "http://127.0.0.1:9"
    for call in (
        lambda: client.get_online_features(EVERYTHING, [], timeout=seconds),
        lambda: client.push("spent", [], timeout=seconds),
        lambda: client.write_to_online_store("everything", [], timeout=seconds),
        lambda: client.materialize_incremental(AT, timeout=seconds),
        lambda: Client(url, timeout=seconds),
        lambda: Client(url, write_timeout=seconds),
        lambda: AsyncClient(url, timeout=seconds),
        lambda: asyncio.run(AsyncClient(url).get_online_features(EVERYTHING, [], timeout=seconds)),
    ):
        with pytest.raises(RequestError, match=r"timeout=.* cannot be"):
            call()


def test_importing_the_client_loads_no_tables():
    """A program that only asks for features of some entities loads neither pandas nor pyarrow nor DuckDB."""
    code = "import sys, likewise.client; print(sorted({'pandas', 'pyarrow', 'duckdb', 'lmdb'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_table_is_answered_with_a_table(client, store):
    """read_table gives the values in Arrow's types, the statuses by number, and event times, row by row."""
    keys = pa.table({"token": pa.array([*TOKENS, b"nobody"], pa.binary())})
    table = client.read_table(keys, EVERYTHING)
    answer = store.get_online_features(EVERYTHING, {"token": keys.column("token").to_pylist()})
    wanted = answer.to_arrow(True)
    for feature in answer.features:
        assert table.column(feature.name).to_pylist().__repr__() == wanted.column(feature.name).to_pylist().__repr__()
        assert table.schema.field(feature.name).type == wanted.schema.field(feature.name).type
        assert table.column(f"{feature.name}__status").to_pylist() == list(map(int, feature.statuses()))
        assert table.column(f"{feature.name}__ts").to_pylist() == answer.event_timestamps()[feature.name]
        assert table.schema.field(feature.name).metadata[b"likewise.type"].decode() == feature.type.name
