"""DynamoDB: an online store in the cloud of AWS that many machines share.

Each online table is a table of DynamoDB's, called as ``table_name_template`` says. Its items::

    b  partition key   one byte: which of 16 buckets, from the key's CRC-32
    k  sort key        the entity key, or the short form of one of 1,000 bytes or more (``long_keys.py``)
    x                  what the short form lacks; only there
    s                  the record's stamp, bytes 9 to 26
    r                  the record

    b = ff, k = likewise, t = shop/cards, f = 1, v = 0.1.0     the mark: whose table it is, and its format

A write is one conditional put for each key, many at a time: the service compares the stamps, as bytes, in the step that
stores the record. (A batch of DynamoDB's has no conditions; a transaction costs twice as much, and one older record in
it undoes the other 99.) So each key is decided by itself, and a batch that breaks is written in part: the error lists
what is left. A read is one BatchGetItem for each hundred keys, of any tables.

Keys are in order within a bucket, and DynamoDB spreads a bucket that is much used by its sort keys. So a scan reads
sixteen ranges at once and merges them: each item is read once, whatever the table's size, and pages go on from any key.
A table of up to 1 MB is read whole instead, in one call.

Dropping a table deletes DynamoDB's with all it holds, and waits until it is gone. So nothing old is in a new one. A
table without the mark of this online table is never written, read or deleted.
"""

from __future__ import annotations

import copy
import functools
import heapq
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from operator import attrgetter
from string import Formatter
from typing import Any, TypeVar
from zlib import crc32

from likewise.config import DynamoStoreConfig, OnlineStoreConfig
from likewise.core.errors import ConfigError, StoreError, StoreTooNew, StoreUnavailable
from likewise.online.base import OnlineStore, Request, TableMissing, in_key_order, settled
from likewise.online.deadline import Deadline
from likewise.online.dynamodb_service import (
    BadRequest,
    Client,
    Gone,
    InUse,
    NotAsExpected,
    Outcome,
    Reply,
    Service,
    connect,
    where_is,
)
from likewise.online.long_keys import Row, rest_of, scan_in_order, short_key
from likewise.online.rows import STAMP

FORMAT = 1
"""The format of tables that this version makes, and the newest it reads."""
NEEDS = "0.1.0"
"""The oldest version of Likewise that reads :data:`FORMAT`; older ones tell their users so."""
BUCKETS = 16
"""How many partition keys a table has; frozen by :data:`FORMAT`."""
LARGEST = 400 << 10
"""The most bytes of an item: DynamoDB's own limit, names of attributes included."""
TEMPLATE = "{project}.{table_name}"
"""How tables are called, as Feast has it."""

_MARK = {"b": {"B": b"\xff"}, "k": {"B": b"likewise"}}
_SHAPE = [("b", "HASH"), ("k", "RANGE")]
_NAME = re.compile(r"[a-zA-Z0-9_.-]{3,255}")
_READABLE = 230
"""How much of a name that DynamoDB does not take stands before its hash."""
_MAKING_SECONDS = 120.0
"""How long making or removing tables may take; DynamoDB takes up to half a minute for one."""
_EACH_KEY = 1e-5
"""How much longer a read may take for each of its keys, in seconds."""
_EACH_RECORD = 5e-3
"""How much longer a write may take for each of its records, in seconds."""
_TRIES = 5
"""How often a call starts over because its tables are made anew meanwhile."""
_SHOWN = 5
"""How many keys a message lists."""
_NEWER = "attribute_not_exists(k) OR s <= :s"
_NONE = "attribute_not_exists(k)"
_SAME = "r = :r"

T = TypeVar("T")
Item = dict[str, dict[str, Any]]
"""An item as DynamoDB has it: its attributes, each with its type."""


class PartlyWritten(StoreUnavailable):
    """Some keys of a batch are done, and of others that is not known.

    Args:
        message: what happened.
        keys: those that are not known to be done; writing them again does no harm.
    """

    def __init__(self, message: str, keys: Sequence[bytes]) -> None:
        super().__init__(message, cure="write them again; the error's 'keys' lists them all")
        self.keys = tuple(keys)


@dataclass(frozen=True, slots=True)
class _Put:
    """A record to store."""

    name: str
    """The table in DynamoDB."""
    item: Item
    """The item."""
    condition: str
    """What must hold for what is stored."""
    values: Item
    """What the condition compares with."""
    again: bool
    """Whether putting it twice does no harm."""


class DynamoStore(OnlineStore):
    """An online store in DynamoDB. Nothing is asked before it is used; it may be used in forked processes.

    Each key is decided by itself. After a ``StoreUnavailable`` a batch may have been written in part: writing it again
    does no harm, swapping it again reads the new state first.

    Args:
        connect: makes a client of boto3 for DynamoDB; called once in each process.
        name: the service's name, for messages.
        template: how tables are called; ``{project}`` and ``{table_name}`` stand for what they say.
        seconds: how long a read may take, connecting included; 10 µs more for each key.
        write_seconds: how long a write or a page of a scan may take; 5 ms more for each record.
        consistent: whether a read sees every write before it; otherwise it costs half, and may be a second old.
        batch: how many keys one call reads, at most 100.
        readers: how many calls of reads are made at the same time.
        writers: how many of writes.
        tags: names and values for the tables that are made, for bills and rights.

    Example:
        >>> store = DynamoStore(lambda: None)
        >>> store.close()
    """

    networked = True

    def __init__(
        self,
        connect: Callable[[], Client],
        *,
        name: str = "dynamodb",
        template: str = TEMPLATE,
        seconds: float = 1.0,
        write_seconds: float = 10.0,
        consistent: bool = True,
        batch: int = 100,
        readers: int = 10,
        writers: int = 16,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self._service = Service(connect, name, readers, writers)
        self._name = name
        self._template = template
        self._seconds = seconds
        self._write_seconds = write_seconds
        self._consistent = consistent
        self._batch = batch
        self._tags = dict(tags or {})
        self._known: frozenset[str] = frozenset()
        """Tables whose marks were looked at."""
        self._large: frozenset[str] = frozenset()
        """Tables that were too large to be read in one call."""
        self._lock = threading.Lock()

    def create(self, tables: Sequence[str]) -> None:
        """Make tables, empty, and wait until they can be used; those that are there already stay as they are."""
        with self._deadline(_MAKING_SECONDS):
            marked = self._service.each(self._is_marked, tables).all()
            missing = [table for table, there in zip(tables, marked, strict=True) if not there]
            self._service.each(self._make, list(dict.fromkeys(missing)), writes=True).all()

    def drop(self, tables: Sequence[str]) -> None:
        """Remove tables with all that they hold, and wait until they are gone."""
        with self._deadline(_MAKING_SECONDS):
            self._forget(tables)
            marked = self._service.each(self._is_marked, tables).all()
            there = [table for table, is_there in zip(tables, marked, strict=True) if is_there]
            self._service.each(self._remove, list(dict.fromkeys(there)), writes=True).all()

    def write(self, table: str, keys: Sequence[bytes], records: Sequence[bytes]) -> int:
        """Write records, each unless a newer one is stored; DynamoDB decides key by key."""
        keys, records = settled(keys, records)
        name = self._name_of(table)
        puts = [
            _Put(name, item, _NEWER, {":s": item["s"]}, True)
            for item in (self._item(table, key, record) for key, record in zip(keys, records, strict=True))
        ]
        return sum(self._put_all(table, keys, puts))

    def swap(
        self, table: str, keys: Sequence[bytes], expected: Sequence[bytes | None], records: Sequence[bytes]
    ) -> list[int]:
        """Write records, each where the stored one is still the one it was made from; DynamoDB decides key by key."""
        in_key_order(keys, expected, records)
        name = self._name_of(table)
        puts = [
            _Put(
                name,
                self._item(table, key, record),
                *((_NONE, {}) if old is None else (_SAME, {":r": {"B": old}})),
                False,
            )
            for key, old, record in zip(keys, expected, records, strict=True)
        ]
        return [at for at, won in enumerate(self._put_all(table, keys, puts)) if not won]

    def read(self, requests: Sequence[Request]) -> list[list[bytes | None]]:
        """Read records of any number of tables; each is whole, but they are not of one moment; hot."""
        groups = [(self._name_of(table), list(map(short_key, keys))) for table, keys in requests]
        asked = list(dict.fromkeys((name, key) for name, keys in groups for key in keys))
        parts = [asked[at : at + self._batch] for at in range(0, len(asked), self._batch)]
        with self._deadline(self._seconds + len(asked) * _EACH_KEY):
            self._forget([table for table, keys in requests if not keys])
            found = self._repeat([table for table, _ in requests], lambda: self._service.each(self._fetch, parts).all())
        records: dict[tuple[str, bytes], bytes] = {}
        for some in found:
            records.update(some)
        return [[records.get((name, key)) for key in keys] for name, keys in groups]

    def scan(self, table: str, after: bytes | None = None, limit: int = 10_000) -> list[tuple[bytes, bytes]]:
        """Read a table in the order of its keys.

        A page of a table of up to 1 MB reads all of it; one of a larger table sixteen ranges, which it merges.
        """
        name = self._name_of(table)
        with self._deadline(self._write_seconds + limit * _EACH_KEY):
            rows = self._repeat([table], lambda: self._service.each(self._small, [name]).all())[0]
            if rows.whole:
                return scan_in_order(rows.page, after or b"", limit)
            page = functools.partial(self._page, name)
            return self._repeat([table], lambda: scan_in_order(page, after or b"", limit))

    def check(self, tables: Sequence[str]) -> None:
        """Look at every record of some tables, as they are now: what may be a second old is not compared."""
        exact = copy.copy(self)
        exact._consistent = True
        OnlineStore.check(exact, tables)

    def close(self) -> None:
        """Let go of the connections."""
        self._service.close()

    # Reading. What begins with the name of a table is done by a thread of the service's.

    def _fetch(self, part: Sequence[tuple[str, bytes]]) -> dict[tuple[str, bytes], bytes]:
        """Return the records of up to a hundred keys; hot."""
        found: dict[tuple[str, bytes], bytes] = {}
        left: dict[str, Any] = {}
        for name, key in part:
            if name not in left:
                left[name] = {"Keys": [], "ConsistentRead": self._consistent, "ProjectionExpression": "k, r"}
            left[name]["Keys"].append(_key(key))
        for turn in count():
            reply = self._service.call(functools.partial(_get, left), freely=False)
            before = len(found)
            for name, items in reply["Responses"].items():
                found.update({(name, item["k"]["B"]): item["r"]["B"] for item in items})
            left = reply.get("UnprocessedKeys", {})
            if not left:
                break
            if len(found) == before and not (self._service.spare() and self._service.pause(turn)):
                keys = sum(len(each["Keys"]) for each in left.values())
                raise StoreUnavailable(
                    f"{self._name} is asked for too much at once: {keys} keys are not read", cure=_LESS
                )
        return found

    def _small(self, name: str) -> _Rows:
        """Return all rows of a table, if one call reads them."""
        if name in self._large:
            return _Rows((), False)
        reply = self._service.call(lambda client: client.scan(TableName=name, ConsistentRead=True))
        if "LastEvaluatedKey" in reply:
            with self._lock:
                self._large |= {name}
            return _Rows((), False)
        rows = [_row(item) for item in reply["Items"] if item["b"] != _MARK["b"]]
        return _Rows(sorted(rows, key=attrgetter("key")), True)

    def _page(self, name: str, first: bytes, last: bytes, limit: int | None) -> list[Row]:
        """Return rows of a table in the order of their keys, from sixteen ranges."""
        each = None if limit is None else min(limit, limit // BUCKETS * 5 // 4 + 8)
        asked = functools.partial(self._range, name, first, last, each)
        ranges = self._service.each(asked, range(BUCKETS)).all()
        ends = [rows[-1].key for rows, more in ranges if more]
        merged = list(heapq.merge(*(rows for rows, _ in ranges), key=attrgetter("key")))
        if ends:  # behind the first of the ends, rows may be missing
            last = min(ends)
            merged = [row for row in merged if row.key <= last]
        return merged[:limit]

    def _range(self, name: str, first: bytes, last: bytes, limit: int | None, bucket: int) -> tuple[list[Row], bool]:
        """Return rows of one bucket, and whether there may be more; all of them when there is no limit."""
        asked = {
            "TableName": name,
            "ConsistentRead": True,
            "KeyConditionExpression": "b = :b AND k BETWEEN :first AND :last",
            "ExpressionAttributeValues": {":b": {"B": bytes([bucket])}, ":first": {"B": first}, ":last": {"B": last}},
        }
        if limit is not None:
            asked["Limit"] = limit
        rows: list[Row] = []
        while True:
            reply = self._service.call(lambda client: client.query(**asked))
            rows += map(_row, reply["Items"])
            more = "LastEvaluatedKey" in reply
            if not more or (limit is not None and rows):
                return rows, more
            asked["ExclusiveStartKey"] = reply["LastEvaluatedKey"]

    # Writing

    def _item(self, table: str, key: bytes, record: bytes) -> Item:
        """Return the item of a record.

        Raises:
            StoreError: it is larger than DynamoDB takes.
        """
        item: Item = {**_key(short_key(key)), "r": {"B": record}, "s": {"B": record[STAMP]}}
        rest = rest_of(key)
        if rest is not None:
            item["x"] = {"B": rest}
        size = sum(1 + len(value["B"]) for value in item.values())
        if size > LARGEST:
            raise StoreError(
                f"{self._name}: the record of key {key[:60].hex()} of online table {table!r} makes an item of {size:,} "
                f"bytes, and DynamoDB takes {LARGEST:,}; nothing of its batch was written",
                cure="keep such values elsewhere and their address here, or use another online store",
            )
        return item

    def _put_all(self, table: str, keys: Sequence[bytes], puts: Sequence[_Put]) -> list[bool]:
        """Store items; for each, whether its condition was met."""

        def put() -> list[bool]:
            outcome = self._service.each(self._put, puts, writes=True)
            half_swapped = isinstance(outcome.error, Gone) and any(
                won and not put.again for won, put in zip(outcome.found, puts, strict=True)
            )
            if half_swapped or isinstance(outcome.error, StoreUnavailable):
                raise self._partly(table, keys, outcome) from outcome.error
            return outcome.all()

        with self._deadline(self._write_seconds + len(puts) * _EACH_RECORD):
            if not puts:
                self._forget([table])
            return self._repeat([table], put)

    def _put(self, put: _Put) -> bool:
        asked: dict[str, Any] = {"TableName": put.name, "Item": put.item, "ConditionExpression": put.condition}
        if put.values:
            asked["ExpressionAttributeValues"] = put.values
        try:
            self._service.call(lambda client: client.put_item(**asked), again=put.again)
        except NotAsExpected:
            return False
        return True

    def _partly(self, table: str, keys: Sequence[bytes], outcome: Outcome[bool]) -> PartlyWritten:
        left = [key for key, known in zip(keys, outcome.found, strict=True) if known is None]
        shown = ", ".join(key[:60].hex() for key in left[:_SHOWN]) + (", …" if len(left) > _SHOWN else "")
        why = outcome.error.message if isinstance(outcome.error, StoreError) else f"{self._name}: {outcome.error}"
        done = (
            f"{len(keys) - len(left)} of {len(keys)} keys of online table {table!r} were written or had newer records"
        )
        return PartlyWritten(f"{why}; {done}, and {len(left)} may be missing: {shown}", left)

    # Tables

    def _name_of(self, table: str) -> str:
        return name_of(self._template, table)

    def _repeat(self, tables: Sequence[str], work: Callable[[], T]) -> T:
        """Do something with tables that are there; start over when they are made anew meanwhile."""
        for _ in range(_TRIES):
            self._learn(tables)
            try:
                return work()
            except Gone:
                self._forget(tables)
        raise StoreUnavailable(f"{self._name}: its tables are being made anew", cure="try again in a moment")

    def _learn(self, tables: Sequence[str]) -> None:
        if self._known.issuperset(tables):
            return
        new = [table for table in dict.fromkeys(tables) if table not in self._known]
        for table, marked in zip(new, self._service.each(self._is_marked, new).all(), strict=True):
            if not marked:
                raise TableMissing(table, self._name)
        with self._lock:
            self._known |= frozenset(new)

    def _forget(self, tables: Sequence[str]) -> None:
        if tables:
            with self._lock:
                self._known -= frozenset(tables)
                self._large -= frozenset(map(self._name_of, tables))

    def _is_marked(self, table: str) -> bool:
        """Whether a table is there, and is that online table's.

        Raises:
            StoreError: it is another one's.
            StoreTooNew: a newer version has made it.
        """
        name = self._name_of(table)
        try:
            reply = self._service.call(lambda client: client.get_item(TableName=name, Key=_MARK, ConsistentRead=True))
        except Gone:
            return False
        except BadRequest:
            self._state(name)  # it says whose table that is
            raise
        if "Item" not in reply:
            return False
        mark = reply["Item"]
        if mark["t"]["B"] != table.encode():
            raise StoreError(
                f"{self._name}: the table {name!r} of online table {table!r} is that of {mark['t']['B'].decode()!r}",
                cure="give online_store.table_name_template a form that tells them apart",
            )
        if int(mark["f"]["N"]) > FORMAT:
            raise StoreTooNew(
                f"online table {table!r} in {self._name} has format {mark['f']['N']}, and this version reads {FORMAT}",
                cure=f"install Likewise >= {mark['v']['S']}",
            )
        return True

    def _make(self, table: str) -> bool:
        """Make a table, wait until it can be used, and mark it."""
        name = self._name_of(table)
        state = self._begin(name)
        for turn in count():
            if state in ("ACTIVE", "UPDATING"):
                try:
                    self._mark(name, table)
                    return True
                except Gone:
                    state = "ACTIVE, but not yet for all"
            if not self._service.pause(turn):
                raise StoreUnavailable(f"{self._name}: the table {name!r} is still {state}", cure="try again later")
            state = self._state(name) or self._begin(name)
        raise AssertionError(state)

    def _begin(self, name: str) -> str:
        """Begin to make a table, unless it is there or going; return its state."""
        asked: dict[str, Any] = {
            "TableName": name,
            "KeySchema": [{"AttributeName": attribute, "KeyType": kind} for attribute, kind in _SHAPE],
            "AttributeDefinitions": [{"AttributeName": attribute, "AttributeType": "B"} for attribute, _ in _SHAPE],
            "BillingMode": "PAY_PER_REQUEST",
        }
        if self._tags:
            asked["Tags"] = [{"Key": key, "Value": value} for key, value in self._tags.items()]
        try:
            state: str = self._service.call(lambda client: client.create_table(**asked))["TableDescription"][
                "TableStatus"
            ]
        except InUse:
            return self._state(name) or "DELETING"
        return state

    def _state(self, name: str) -> str:
        """Return the state of a table; empty when it is not there.

        Raises:
            StoreError: it is not made as those of Likewise are.
        """
        try:
            found: Reply = self._service.call(lambda client: client.describe_table(TableName=name))["Table"]
        except Gone:
            return ""
        if [(part["AttributeName"], part["KeyType"]) for part in found["KeySchema"]] != _SHAPE:
            raise StoreError(
                f"{self._name} has a table {name!r} that Likewise has not made",
                cure="give online_store.table_name_template another form, or delete that table",
            )
        state: str = found["TableStatus"]
        return state

    def _mark(self, name: str, table: str) -> None:
        mark = {**_MARK, "t": {"B": table.encode()}, "f": {"N": str(FORMAT)}, "v": {"S": NEEDS}}
        try:
            self._service.call(lambda client: client.put_item(TableName=name, Item=mark, ConditionExpression=_NONE))
        except NotAsExpected:  # another process was quicker
            self._is_marked(table)

    def _remove(self, table: str) -> bool:
        """Remove a table, and wait until it is gone."""
        name = self._name_of(table)
        for turn in count():
            try:
                self._service.call(lambda client: client.delete_table(TableName=name))
            except Gone:
                return True
            except InUse:
                pass
            state = self._state(name)
            if not state:
                return True
            if not self._service.pause(turn):
                raise StoreUnavailable(f"{self._name}: the table {name!r} is still {state}", cure="try again later")
        raise AssertionError(name)

    def _deadline(self, seconds: float) -> AbstractContextManager[None]:
        self._service.open()
        return Deadline(seconds)


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of a table, if it is small."""

    rows: Sequence[Row]
    """The rows, in the order of their keys."""
    whole: bool
    """Whether they are all that there are; False for a large table, of which none is here."""

    def page(self, first: bytes, last: bytes, limit: int | None) -> list[Row]:
        """Return some of them."""
        return [row for row in self.rows if first <= row.key <= last][:limit]


def name_of(template: str, table: str) -> str:
    """Return how DynamoDB calls an online table.

    One whose own name has signs that DynamoDB does not take, or is too long, is called after what is left of it and a
    hash.

    Args:
        template: the form of names, with ``{project}`` and ``{table_name}``.
        table: the online table.

    Example:
        >>> name_of("{project}.{table_name}", "shop/cards"), name_of("lw-{project}-{table_name}", "shop/crème")
        ('shop.cards', 'lw-shop-cr_me.4f925f099d191397')
    """
    project, _, view = table.partition("/")
    name = template.format(project=project, table_name=view)
    if _NAME.fullmatch(name):
        return name
    return f"{re.sub('[^a-zA-Z0-9_.-]', '_', name)[:_READABLE]}.{sha256(table.encode()).hexdigest()[:16]}"


def checked_template(template: str) -> str:
    """Return a template of names.

    Raises:
        ConfigError: it has other places than {project} and {table_name}, or not the latter.

    Example:
        >>> checked_template("features-{table_name}")
        'features-{table_name}'
    """
    try:
        places = {place for _, place, _, _ in Formatter().parse(template) if place is not None}
    except ValueError:
        places = {template}
    if not places <= {"project", "table_name"} or "table_name" not in places:
        raise ConfigError(
            f"online_store.table_name_template={template!r} cannot be", cure=f"give one like {TEMPLATE!r}"
        )
    return template


def _get(asked: Mapping[str, Any], client: Client) -> Reply:
    found: Reply = client.batch_get_item(RequestItems=asked)
    return found


def _key(key: bytes) -> Item:
    return {"b": {"B": (crc32(key) % BUCKETS).to_bytes()}, "k": {"B": key}}


def _row(item: Item) -> Row:
    return Row(item["k"]["B"], item["x"]["B"] if "x" in item else None, item["r"]["B"])


_LESS = "try again later, or ask for less at once"


def open_store(config: OnlineStoreConfig, root: str) -> DynamoStore:
    """Return the store in DynamoDB that a configuration names.

    Args:
        config: has the region and the settings, as its ``options``.
        root: the repo's folder; nothing in it is needed.

    Raises:
        ConfigError: the form of names is none.
    """
    options: DynamoStoreConfig = config.options
    connections = options.max_read_workers + options.max_write_workers
    longest = max(options.timeout_seconds, options.write_timeout_seconds)
    return DynamoStore(
        functools.partial(connect, options.region, options.endpoint_url or "", longest, connections),
        name=where_is(options.region, options.endpoint_url or ""),
        template=checked_template(options.table_name_template),
        seconds=options.timeout_seconds,
        write_seconds=options.write_timeout_seconds,
        consistent=options.consistent_reads,
        batch=options.batch_size,
        readers=options.max_read_workers,
        writers=options.max_write_workers,
        tags=options.tags,
    )
