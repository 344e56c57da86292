"""The DynamoDB store against an emulator (moto): what each store promises, throttling, and what is left of a batch."""

import base64
import functools
import itertools
import json
import os
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse

from likewise.config import parse_config
from likewise.core.errors import ConfigError, StoreError, StoreTooNew, StoreUnavailable
from likewise.online.base import OnlineStore, TableMissing
from likewise.online.deadline import Deadline, DeadlineExceeded
from likewise.online.dynamodb import LARGEST, DynamoStore, PartlyWritten, checked_template, name_of, open_store
from likewise.online.dynamodb_service import connect
from likewise.online.guard import guarded
from likewise.testing.moto_process import CREDENTIALS, MotoProcess
from likewise.testing.online_suite import CARDS, SHOPS, OnlineStoreSuite, Opener, row
from likewise.testing.proxy import Link, Proxy

KEYS = [b"%d" % n for n in range(40)]


@functools.cache
def session() -> Any:
    """Return what makes all clients of this process: loading what it knows of DynamoDB takes a while."""
    os.environ.update(CREDENTIALS)
    return boto3.session.Session()


def client_of(address: str, seconds: float = 20.0) -> Any:
    """Return a client of the emulator."""
    return connect("eu-west-1", address, seconds, 30, session())


def open_at(address: str, prefix: str, **settings: Any) -> DynamoStore:
    """Open a store whose tables begin with a prefix, with time to spare: the machine of the tests may be busy."""
    settings = {"seconds": 20.0, "write_seconds": 20.0, "connect": functools.partial(client_of, address), **settings}
    return DynamoStore(settings.pop("connect"), template=prefix + "{project}.{table_name}", **settings)


class TestDynamoStore(OnlineStoreSuite):
    """The DynamoDB store keeps the contract, but for what needs one moment for several keys."""

    backend = "dynamodb"
    runs_on = "DynamoDB of {moto}, a server"
    emulated = True
    written_for = ("DynamoDB of AWS",)
    one_moment = False
    scale = 0.01
    largest = LARGEST - 100
    examples = 4
    prefixes = itertools.count()

    @pytest.fixture(autouse=True)
    def _use(self, dynamo_server: MotoProcess) -> Iterator[None]:
        self.server = dynamo_server
        self.client = client_of(dynamo_server.address)
        yield
        self.client.close()

    def opener(self, folder: Path) -> Opener:
        """Open tables with a prefix of their own."""
        self.prefix = f"suite{next(self.prefixes)}-"
        return functools.partial(open_at, self.server.address, self.prefix)

    def place(self, table: str, key: bytes) -> dict[str, Any]:
        """Return where the record of a key is, found without its bucket."""
        name = self.prefix + table.replace("/", ".")
        found = self.client.scan(TableName=name)["Items"]
        here = [item for item in found if item["k"]["B"] == key and item["b"]["B"] != b"\xff"]
        return {"name": name, "item": here[0] if here else None}

    def raw_get(self, store: OnlineStore, table: str, key: bytes) -> bytes | None:
        """Ask DynamoDB."""
        item = self.place(table, key)["item"]
        return None if item is None else item["r"]["B"]

    def raw_put(self, store: OnlineStore, table: str, key: bytes, record: bytes) -> None:
        """Tell DynamoDB; the bucket is that of the format: CRC-32 of the key, modulo 16."""
        bucket = bytes([zlib.crc32(key) % 16])
        item = {"b": {"B": bucket}, "k": {"B": key}, "r": {"B": record}, "s": {"B": record[9:27]}}
        self.client.put_item(TableName=self.place(table, key)["name"], Item=item)


@pytest.fixture(name="client")
def _client(dynamo_server: MotoProcess) -> Iterator[Any]:
    client = client_of(dynamo_server.address)
    yield client
    client.close()


@pytest.fixture(name="prefix")
def _prefix(request: pytest.FixtureRequest) -> str:
    return f"{abs(hash(request.node.name)) % 10**9}-"


# ---- Large tables, and other people's


def test_a_scan_of_a_large_table_is_in_the_order_of_keys(dynamo_server, prefix):
    """A table of more than one call is merged from its buckets: every key once, in order, from any key on."""
    keys = sorted([b"%03d" % n for n in range(24)] + [b"k" * 2_000 + bytes([n]) for n in range(5)])
    records = [row(key, 1) + b"x" * 60_000 for key in keys]
    with open_at(dynamo_server.address, prefix) as store:
        store.create([CARDS])
        store.write(CARDS, keys, records)
        assert store.scan(CARDS) == list(zip(keys, records, strict=True))
        found: list[bytes] = []
        while page := store.scan(CARDS, found[-1] if found else None, 9):
            assert len(page) == 9 or page[-1][0] == keys[-1]
            found += [key for key, _ in page]
        assert found == keys


def test_a_table_of_others_is_left_alone(dynamo_server, client, prefix):
    """A table that Likewise has not made, or that is another online table's, is refused by name, and not deleted."""
    hashed = {"AttributeName": "entity_id", "KeyType": "HASH"}
    kinds = [{"AttributeName": "entity_id", "AttributeType": "S"}]
    name = f"{prefix}demo.cards"
    client.create_table(TableName=name, KeySchema=[hashed], AttributeDefinitions=kinds, BillingMode="PAY_PER_REQUEST")
    with open_at(dynamo_server.address, prefix) as store:
        for use in (store.create, store.drop):
            with pytest.raises(StoreError, match=r"demo\.cards' that Likewise has not made"):
                use([CARDS])
        assert client.describe_table(TableName=name)["Table"]["TableStatus"] == "ACTIVE"
        store.create(["a.b/c"])
        for use in (store.create, store.drop, lambda tables: store.read([(tables[0], [b"k"])])):
            with pytest.raises(StoreError, match=r"of online table 'a/b\.c' is that of 'a\.b/c'"):
                use(["a/b.c"])
        store.drop(["a.b/c"])
        store.create(["a/b.c"])


def test_a_table_whose_making_was_cut_short_is_finished(dynamo_server, client, prefix):
    """A table without a mark is missing, not empty; create gives it one. A newer format is refused."""
    with open_at(dynamo_server.address, prefix) as store:
        store.create([CARDS])
        mark = {"b": {"B": b"\xff"}, "k": {"B": b"likewise"}}
        client.delete_item(TableName=f"{prefix}demo.cards", Key=mark)
    with open_at(dynamo_server.address, prefix) as store:
        with pytest.raises(TableMissing, match="demo/cards"):
            store.read([(CARDS, [b"a"])])
        store.create([CARDS])
        assert store.read([(CARDS, [b"a"])]) == [[None]]
    newer = {**mark, "t": {"B": CARDS.encode()}, "f": {"N": "2"}, "v": {"S": "9.1"}}
    client.put_item(TableName=f"{prefix}demo.cards", Item=newer)
    with open_at(dynamo_server.address, prefix) as store, pytest.raises(StoreTooNew, match=r"Likewise >= 9\.1"):
        store.read([(CARDS, [b"a"])])


# ---- Throttling and batches that are done in part (T17)


class Trouble:
    """Stands between a store and the emulator: answers some calls itself.

    Args:
        address: the emulator's.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._lock = threading.Lock()
        self.calls: dict[str, int] = {}
        self.answer: Callable[[str, int, dict[str, Any]], tuple[int, dict[str, Any]] | None] = lambda *_: None
        """Given the operation, how often it was called before, and its body: status and body to answer; None: none."""

    def connect(self) -> Any:
        """Return a client."""
        client = client_of(self._address)
        client.meta.events.register("before-send.dynamodb", self._send)
        return client

    def _send(self, request: Any, **_: Any) -> AWSResponse | None:
        operation = request.headers["X-Amz-Target"].decode().partition(".")[2]
        with self._lock:
            count = self.calls[operation] = self.calls.get(operation, 0) + 1
        answer = self.answer(operation, count - 1, json.loads(request.body))
        if answer is None:
            return None
        status, body = answer
        return AWSResponse(request.url, status, {"Content-Type": "application/x-amz-json-1.0"}, Raw(json.dumps(body)))


class Raw:
    """The body of an answer, as botocore reads it."""

    def __init__(self, text: str) -> None:
        self._text = text.encode()

    def stream(self, **_: Any) -> Iterator[bytes]:
        """Yield all of it."""
        yield self._text


def throttled(code: str = "ProvisionedThroughputExceededException") -> tuple[int, dict[str, Any]]:
    """Return the answer of a table that is asked for too much."""
    return 400, {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "slow down"}


@pytest.fixture(name="trouble")
def _trouble(dynamo_server: MotoProcess) -> Trouble:
    return Trouble(dynamo_server.address)


@pytest.fixture(name="store")
def _store(dynamo_server: MotoProcess, trouble: Trouble, prefix: str) -> Iterator[DynamoStore]:
    with open_at(dynamo_server.address, prefix, connect=trouble.connect) as store:
        store.create([CARDS, SHOPS])
        trouble.calls.clear()
        yield store


@pytest.mark.parametrize("code", ["ProvisionedThroughputExceededException", "ThrottlingException"])
def test_a_throttled_batch_is_written_in_the_end(store, trouble, code):
    """Every second put is refused as too much: all rows are present, and older ones still lose (T17)."""
    trouble.answer = lambda operation, count, _: throttled(code) if operation == "PutItem" and count % 2 == 0 else None
    assert store.write(CARDS, KEYS, [row(key, 5) for key in KEYS]) == len(KEYS)
    assert trouble.calls["PutItem"] > len(KEYS)
    assert store.write(CARDS, KEYS, [row(key, 4 + n % 2 * 2) for n, key in enumerate(KEYS)]) == len(KEYS) // 2
    trouble.answer = lambda *_: None
    assert store.read([(CARDS, KEYS)]) == [[row(key, 6 if n % 2 else 5) for n, key in enumerate(KEYS)]]


def test_what_throttling_left_out_is_listed(store, trouble):
    """Some keys are throttled until the deadline is over: the error counts what is written and lists the rest (T17)."""
    bad = {KEYS[3], KEYS[17]}

    def answer(operation: str, _: int, body: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        return throttled() if operation == "PutItem" and base64.b64decode(body["Item"]["k"]["B"]) in bad else None

    trouble.answer = answer
    began = time.monotonic()
    with Deadline(1.5), pytest.raises(PartlyWritten, match="38 of 40 keys of online table 'demo/cards'") as caught:
        store.write(CARDS, KEYS, [row(key, 1) for key in KEYS])
    assert time.monotonic() - began < 3
    assert caught.value.transient
    assert set(caught.value.keys) == bad
    assert "asked for too much at once" in str(caught.value)
    assert all(key.hex() in str(caught.value) for key in bad)
    trouble.answer = lambda *_: None
    [found] = store.read([(CARDS, KEYS)])
    assert {key for key, record in zip(KEYS, found, strict=True) if record is None} == bad
    assert store.write(CARDS, list(caught.value.keys), [row(key, 1) for key in caught.value.keys]) == 2


def test_a_refused_swap_is_no_lost_one(store, trouble):
    """A swap that is throttled is tried again; one whose answer is lost is an error, never a claim that others won."""
    trouble.answer = lambda operation, count, _: throttled() if operation == "PutItem" and count == 0 else None
    assert store.swap(CARDS, KEYS[:5], [None] * 5, [row(key, 1) for key in KEYS[:5]]) == []
    trouble.calls.clear()
    broken = 500, {"__type": "InternalServerError", "message": "it may have been done"}
    trouble.answer = lambda operation, count, _: broken if operation == "PutItem" and count == 0 else None
    with pytest.raises(PartlyWritten) as caught:
        store.swap(CARDS, [b"new"], [None], [row(b"new", 1)])
    assert caught.value.keys == (b"new",)
    assert trouble.calls["PutItem"] == 1


def test_unprocessed_keys_are_asked_for_again(store, trouble):
    """A read that is answered in part goes on until it has all; one that gets nothing at all ends within its budget."""
    store.write(CARDS, KEYS, [row(key, 1) for key in KEYS])
    store.write(SHOPS, KEYS[:1], [row(KEYS[0], 2)])

    def answer(_: str, count: int, body: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        if count % 2:
            return None
        return 200, {"Responses": {}, "UnprocessedKeys": body["RequestItems"]}

    trouble.answer = answer
    found = store.read([(CARDS, [*KEYS, b"none"]), (SHOPS, KEYS[:1])])
    assert found == [[*(row(key, 1) for key in KEYS), None], [row(KEYS[0], 2)]]
    trouble.answer = lambda _, __, body: (200, {"Responses": {}, "UnprocessedKeys": body["RequestItems"]})
    trouble.calls.clear()
    with pytest.raises(StoreUnavailable, match="3 keys are not read"):
        store.read([(CARDS, KEYS[:3])])
    assert trouble.calls["BatchGetItem"] <= 1 + (len(KEYS) + 12) // 10
    trouble.answer = lambda *_: throttled()
    with pytest.raises(StoreUnavailable, match="too much at once"):
        store.read([(CARDS, KEYS[:3])])


def test_a_read_asks_for_each_key_once(store, trouble):
    """A read of many keys and tables is a call for each hundred different ones."""
    keys = [b"%d" % n for n in range(150)]
    store.read([(CARDS, [b"a"]), (SHOPS, [b"a"])])
    trouble.calls.clear()
    assert store.read([(CARDS, [*keys, *keys]), (SHOPS, KEYS)]) == [[None] * 300, [None] * 40]
    assert trouble.calls == {"BatchGetItem": 2}


def test_cheap_reads_are_not_for_checks(dynamo_server, trouble, prefix):
    """With consistent=False reads ask for the cheap kind; checks and scans never do, for it may be out of date."""
    asked: list[tuple[str, bool]] = []

    def answer(operation: str, _: int, body: dict[str, Any]) -> None:
        parts = body.get("RequestItems", {"": body}).values()
        asked.extend((operation, part["ConsistentRead"]) for part in parts if "ConsistentRead" in part)

    with open_at(dynamo_server.address, prefix, connect=trouble.connect, consistent=False) as store:
        store.create([CARDS])
        store.write(CARDS, KEYS[:3], [row(key, 1) for key in KEYS[:3]])
        trouble.answer = answer
        store.read([(CARDS, KEYS[:3])])
        assert asked == [("BatchGetItem", False)]
        asked.clear()
        store.check([CARDS])
        assert {consistent for _, consistent in asked} == {True}
        assert "BatchGetItem" in {operation for operation, _ in asked}


# ---- Deadlines, logins, configuration


def test_a_silent_service_is_an_error_in_time(dynamo_server, prefix):
    """A service that accepts and says nothing, or trickles, costs a call its deadline, not more (T13, T15)."""
    with Proxy(("127.0.0.1", dynamo_server.port)) as proxy:
        address = f"http://127.0.0.1:{proxy.port}"
        with open_at(dynamo_server.address, prefix) as direct:
            direct.create([CARDS])
        quick = functools.partial(client_of, address, 1.0)
        with open_at(address, prefix, connect=quick, seconds=0.4, write_seconds=0.5) as store:
            assert store.write(CARDS, KEYS, [row(key, 1) for key in KEYS]) == 40
            for link in (Link(stall=True), Link(rate=50)):
                proxy.set(to_client=link)
                for use, seconds in (
                    (lambda: store.read([(CARDS, KEYS)]), 0.4),
                    (lambda: store.write(CARDS, KEYS[:2], [row(key, 2) for key in KEYS[:2]]), 0.51),
                ):
                    began = time.monotonic()
                    with pytest.raises(StoreUnavailable):
                        use()
                    assert time.monotonic() - began < seconds + 0.4
            began = time.monotonic()
            with Deadline(0.1), pytest.raises(DeadlineExceeded):
                guarded(store).read([(CARDS, KEYS)])
            assert time.monotonic() - began < 0.5
            proxy.set()


def test_a_service_that_is_not_there_is_transient(prefix):
    """Nobody at the address: an error that may pass, and that names the address without its login (T37)."""
    with open_at("http://me:s3cr3t@127.0.0.1:9", prefix, name="dynamodb at 127.0.0.1:9") as store:
        with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:9 cannot be reached") as caught:
            store.create([CARDS])
        assert "s3cr3t" not in str(caught.value)


def test_a_login_that_is_missing_or_refused_is_terminal(dynamo_server, prefix, monkeypatch, trouble):
    """Without credentials, or with ones that may not do it, the error says so, is terminal, and shows none (T37)."""
    refused = 400, {"__type": "UnrecognizedClientException", "message": "The security token is invalid."}
    trouble.answer = lambda *_: refused
    with open_at(dynamo_server.address, prefix, connect=trouble.connect) as store:
        with pytest.raises(StoreError, match=r"refuses: .*credentials") as caught:
            store.create([CARDS])
        assert not caught.value.transient
        assert CREDENTIALS["AWS_SECRET_ACCESS_KEY"] not in f"{caught.value} {store!r}"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    bare = functools.partial(connect, "eu-west-1", dynamo_server.address, 5.0, 4)
    with open_at(dynamo_server.address, prefix, connect=bare) as store:
        with pytest.raises(StoreError, match="Unable to locate credentials") as caught:
            store.read([(CARDS, [b"a"])])
        assert not caught.value.transient


def test_a_configuration_opens_it(dynamo_server, tmp_path, client, monkeypatch):
    """Feast's keys open a store; what cannot be is named; no region is an error of the configuration."""
    text = f"""
project: demo
online_store:
  type: dynamodb
  region: eu-west-1
  endpoint_url: {dynamo_server.address}
  table_name_template: "configured-{{project}}-{{table_name}}"
  batch_size: 20
  consistent_reads: false
  max_read_workers: 2
  max_pool_connections: 50
  session_based_auth: false
  tags: {{team: risk}}
  timeout_seconds: 20
"""
    with open_store(parse_config(text).online_store, str(tmp_path)) as store:
        store.create([CARDS])
        assert store.write(CARDS, KEYS, [row(key, 1) for key in KEYS]) == len(KEYS)
        assert store.read([(CARDS, KEYS)]) == [[row(key, 1) for key in KEYS]]
        arn = client.describe_table(TableName="configured-demo-cards")["Table"]["TableArn"]
        assert client.list_tags_of_resource(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "risk"}]
        store.drop([CARDS])
    for said in ("batch_size: 101", "max_read_workers: 0", "regoin: x"):
        with pytest.raises(ConfigError, match=said.partition(":")[0]):
            parse_config(f"project: demo\nonline_store: {{type: dynamodb, {said}}}")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    bare = parse_config("project: demo\nonline_store: {type: dynamodb}")
    with open_store(bare.online_store, "") as store, pytest.raises(ConfigError, match="no region"):
        store.create([CARDS])


@pytest.mark.parametrize("template", ["features", "{project}", "{table_name}{0}", "{table_name.x}", "{table_name"])
def test_a_form_of_names_that_cannot_be_is_refused(template):
    """Names need a place for the table, and have no others than those two."""
    with pytest.raises(ConfigError, match="table_name_template"):
        checked_template(template)


def test_names_are_frozen():
    """How DynamoDB calls a table never changes, or what is stored would not be found."""
    names = [name_of("{project}.{table_name}", table) for table in ("shop/cards", "shop/naïve", "a/" + "b" * 300)]
    assert names == [
        "shop.cards",
        "shop.na_ve.89c7580c067eba07",
        f"a.{'b' * 228}.17f64ca12ddd93b2",
    ]
    assert max(map(len, names)) <= 255
