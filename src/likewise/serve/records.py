"""Records: POST /online-store/…: the online store itself over HTTP, for stores of type ``remote`` on other machines.

Bodies and answers are msgpack. A call may touch the tables of the served project only (G12), and what it writes is
looked at first: a record that is not whole, or not of its key, is not stored. Each call is one call of the store, so it
has the store's promises: a read sees one moment, a write or swap is one atomic step.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from likewise.core.errors import StoreError
from likewise.online import rows
from likewise.online.base import OnlineStore, TableMissing
from likewise.serve.access import Caller, Scope
from likewise.serve.call import MSGPACK, Answer, Call, Handle, Route
from likewise.serve.deadlines import in_time
from likewise.serve.problem import RETRY_AFTER, Refusal, json_pointer, refusal_of
from likewise.serve.settings import Limits
from likewise.serve.state import State

_QUICK = 1_000
_PAGE = 1_000
_LONGEST_NAME = 4_096
_STEP = re.compile(r"\[(\d+)\]")


class RecordsRead(Struct, frozen=True, array_like=True):
    """What to read."""

    requests: list[tuple[str, list[bytes]]]
    """(table, keys) of each."""


class RecordsWrite(Struct, frozen=True, array_like=True):
    """Records to write, each unless a newer one is stored."""

    table: str
    """The table."""
    keys: list[bytes]
    """Entity keys."""
    records: list[bytes]
    """A record for each."""


class RecordsSwap(Struct, frozen=True, array_like=True):
    """Records to write, each where the stored one is the one expected."""

    table: str
    """The table."""
    keys: list[bytes]
    """Entity keys, none of them twice."""
    expected: list[bytes | None]
    """For each the record that must be stored; null where there must be none."""
    records: list[bytes]
    """What to store instead."""


class RecordsScan(Struct, frozen=True, array_like=True):
    """A page of a table."""

    table: str
    """The table."""
    after: bytes | None
    """The last key of the page before; null to begin."""
    limit: int
    """The most records to return."""


class TableNames(Struct, frozen=True, array_like=True):
    """Tables to make or to drop."""

    tables: list[str]
    """Their names."""


A = TypeVar("A", bound=Struct)


class Work(Generic[A]):
    """One kind of call.

    Args:
        kind: what its body holds.
        scope: what the caller needs.
        run: does it; what it returns is the answer.
        of_tables: returns the tables that it touches.
        size: returns how many keys or tables it has.
    """

    def __init__(
        self,
        kind: type[A],
        scope: Scope,
        run: Callable[[OnlineStore, A, Limits], Any],
        of_tables: Callable[[A], Iterable[str]],
        size: Callable[[A], int],
    ) -> None:
        self.scope = scope
        self._decode = msgspec.msgpack.Decoder(kind).decode
        self._run = run
        self._of_tables = of_tables
        self._size = size

    def asked(self, body: bytes, limits: Limits) -> tuple[A, int]:
        """Return what a body asks for, and how many keys it has.

        Raises:
            Refusal: it is no msgpack, not as it should be, or too much.
        """
        try:
            asked = self._decode(body)
        except msgspec.ValidationError as error:
            said, _, path = str(error).partition(" - at `$")
            raise Refusal("invalid", said[:1].lower() + said[1:], json_pointer(*_STEP.findall(path))) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Refusal("not_msgpack", f"{error}; send one MessagePack value", "") from error
        size = self._size(asked)
        if size > limits.keys:
            raise Refusal("too_large", f"{size:,} keys; send at most {limits.keys:,} at once", "")
        return asked, size

    def tables(self, asked: A) -> list[str]:
        """Return the tables that a call touches."""
        return list(self._of_tables(asked))

    def done(self, store: OnlineStore, asked: A, limits: Limits) -> bytes:
        """Do it, and return the answer's body."""
        tables = self.tables(asked)
        try:
            return _encode(self._run(store, asked, limits))
        except TableMissing as error:
            what = f"there is no online table {error.table!r}; run 'likewise apply', which creates it"
            where = f"/0/{tables.index(error.table)}/0" if isinstance(asked, RecordsRead) else "/0"
            raise Refusal("table_missing", what, where) from error
        except ValueError as error:  # keys and records that are not as many, or a key twice
            raise Refusal("invalid", str(error), "") from error
        except StoreError as error:
            raise refusal_of(error) from error


class Records:
    """Answers calls of remote stores.

    Args:
        state: the store.
        limits: what is bounded.
    """

    def __init__(self, state: State, limits: Limits) -> None:
        self._state = state
        self._limits = limits
        self._at_work = 0
        self._threads = ThreadPoolExecutor(limits.read_threads, "likewise-records")

    def close(self) -> None:
        """Let go of the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def read(self, call: Call) -> Answer | Awaitable[Answer]:
        """Return records; a few of them at once, if the store is embedded."""
        return self._answered(call, _READ)

    def scan(self, call: Call) -> Answer | Awaitable[Answer]:
        """Return a page of a table, and whether there may be more."""
        return self._answered(call, _SCAN)

    def write(self, call: Call) -> Answer | Awaitable[Answer]:
        """Write records, and return how many keys got theirs."""
        return self._answered(call, _WRITE)

    def swap(self, call: Call) -> Answer | Awaitable[Answer]:
        """Swap records, and return the positions of those that were not as expected."""
        return self._answered(call, _SWAP)

    def create(self, call: Call) -> Answer | Awaitable[Answer]:
        """Make tables."""
        return self._answered(call, _CREATE)

    def drop(self, call: Call) -> Answer | Awaitable[Answer]:
        """Drop tables."""
        return self._answered(call, _DROP)

    def _answered(self, call: Call, work: Work[A]) -> Answer | Awaitable[Answer]:
        asked, size = work.asked(call.body, self._limits)
        store = self._state.store
        for table in work.tables(asked):
            refuse_table(table, store.project, call.caller, work.scope)
        if work.scope is Scope.READ and size and self._state.embedded and size <= _QUICK:
            return Answer(work.done(store.online_store, asked, self._limits), media_type=MSGPACK)
        return self._from_thread(lambda: work.done(store.online_store, asked, self._limits), work.scope, call.end)

    async def _from_thread(self, work: Callable[[], bytes], scope: Scope, end: float | None) -> Answer:
        if scope is Scope.READ:
            return Answer(await in_time(self._threads, end, work), media_type=MSGPACK)
        if self._at_work >= self._limits.writes:
            raise Refusal("overloaded", f"{self._at_work} writes wait already; try again", headers=RETRY_AFTER)
        self._at_work += 1
        try:
            return Answer(await in_time(self._threads, end, work), media_type=MSGPACK)
        finally:
            self._at_work -= 1


def refuse_table(table: str, project: str, caller: Caller, scope: Scope) -> None:
    """Refuse a table that is not of the project, or whose view the caller may not touch.

    Raises:
        Refusal: it is not for the caller.

    Example:
        >>> from likewise.serve.access import ANYBODY
        >>> refuse_table("shop/cards@26e817d3", "shop", ANYBODY, Scope.READ)
    """
    own = project + "/"
    if not table.startswith(own) or len(table.encode(errors="surrogatepass")) > _LONGEST_NAME:
        raise Refusal("forbidden", f"the table {table[:100]!r} is not of the project {project!r}, which is served here")
    caller.may(scope, view=view_of(table, project))


def view_of(table: str, project: str) -> str:
    """Return the view that a table of a project belongs to; a name that no view has, for the project's own notes.

    Example:
        >>> view_of("shop/cards@26e817d3", "shop"), view_of("shop/cards!deleted@26e817d3", "shop")
        ('cards', 'cards')
    """
    return table.removeprefix(project + "/").partition("@")[0].removesuffix("!deleted")


# What is done


def _read(store: OnlineStore, asked: RecordsRead, limits: Limits) -> list[list[bytes | None]]:
    if not all(map(all, (keys for _, keys in asked.requests))):
        raise Refusal("invalid", "a key is empty", "")
    found = store.read(asked.requests)
    size = sum(len(record) for records in found for record in records if record is not None)
    if size > limits.records_bytes:
        most = limits.records_bytes
        raise Refusal("too_large", f"the records have {size:,} bytes; ask for at most {most:,} at once", "")
    return found


def _write(store: OnlineStore, asked: RecordsWrite, limits: Limits) -> int:
    _refuse_bad(asked.keys, asked.records, asked.table)
    return store.write(asked.table, asked.keys, asked.records)


def _swap(store: OnlineStore, asked: RecordsSwap, limits: Limits) -> list[int]:
    _refuse_bad(asked.keys, asked.records, asked.table)
    return store.swap(asked.table, asked.keys, asked.expected, asked.records)


def _refuse_bad(keys: Sequence[bytes], records: Sequence[bytes], table: str) -> None:
    """Refuse records that are not what was made for their keys, to the bit."""
    if len(keys) != len(records):
        raise Refusal("invalid", f"{len(keys)} keys and {len(records)} records: each key needs one", "")
    try:
        if not all(keys) or any(len(record) < _SHORTEST for record in records):
            raise Refusal("invalid", "a key is empty, or a record too short to be one", "")
        rows.check(keys, records, table)
    except StoreError as error:
        raise Refusal("invalid", str(error), "") from error


_SHORTEST = len(rows.tombstone(b"", 0))


def _scan(store: OnlineStore, asked: RecordsScan, limits: Limits) -> tuple[list[tuple[bytes, bytes]], bool]:
    """Return a page, and whether the table goes on behind it: a page ends early where it has bytes enough."""
    left, size, after = min(max(asked.limit, 0), limits.keys), 0, asked.after
    page: list[tuple[bytes, bytes]] = []
    while left:
        some = store.scan(asked.table, after, min(left, _PAGE))
        page += some
        size += sum(len(key) + len(record) for key, record in some)
        if len(some) < min(left, _PAGE):
            return page, False
        left, after = left - len(some), some[-1][0]
        if size > limits.records_bytes:
            break
    return page, True


def _create(store: OnlineStore, asked: TableNames, limits: Limits) -> None:
    store.create(asked.tables)


def _drop(store: OnlineStore, asked: TableNames, limits: Limits) -> None:
    store.drop(asked.tables)


_encode = msgspec.msgpack.Encoder().encode
_READ = Work(
    RecordsRead,
    Scope.READ,
    _read,
    lambda asked: [table for table, _ in asked.requests],
    lambda asked: sum([len(keys) for _, keys in asked.requests]) + len(asked.requests),
)
_WRITE = Work(RecordsWrite, Scope.WRITE, _write, lambda asked: [asked.table], lambda asked: len(asked.keys))
_SWAP = Work(RecordsSwap, Scope.WRITE, _swap, lambda asked: [asked.table], lambda asked: len(asked.keys))
_SCAN = Work(RecordsScan, Scope.READ, _scan, lambda asked: [asked.table], lambda asked: 0)
_CREATE = Work(TableNames, Scope.ADMIN, _create, lambda asked: asked.tables, lambda asked: len(asked.tables))
_DROP = Work(TableNames, Scope.ADMIN, _drop, lambda asked: asked.tables, lambda asked: len(asked.tables))


def record_routes(records: Records) -> list[Route]:
    """Return the routes of remote stores."""
    return [
        _route("read", RecordsRead, records.read, _READ, "Return records of any number of tables, as of one moment."),
        _route("scan", RecordsScan, records.scan, _SCAN, "Return a page of a table, in the order of its keys."),
        _route("write", RecordsWrite, records.write, _WRITE, "Write records, each unless a newer one is stored."),
        _route("swap", RecordsSwap, records.swap, _SWAP, "Write records, each where the stored one is as expected."),
        _route("create", TableNames, records.create, _CREATE, "Make tables, empty; those that are there stay."),
        _route("drop", TableNames, records.drop, _DROP, "Remove tables with all that they hold."),
    ]


def _route(name: str, body: type[Struct], handle: Handle, work: Work[Any], summary: str) -> Route:
    return Route(
        method="POST",
        path=f"/online-store/{name}",
        scope=work.scope,
        handle=handle,
        summary=summary,
        answers={200: MSGPACK.decode()},
        body=body,
        takes=(MSGPACK,),
        problems=("not_msgpack", "table_missing", "store_unavailable", "store_failed", "store_full"),
        checks_limits=True,
    )
