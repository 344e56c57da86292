"""Redis: an online store that many machines share; one server of version 6.2 or later, sentinels, or a cluster.

What lies in the database::

    {lw}t:shop/cards                1Ab3dE_fg        the table's mark: format, then eight letters drawn at random
    lw1Ab3dE_fg{entity key}         record
    {lw}dropped                     marks of dropped tables whose records are not all removed yet

A read is one MGET of the marks of its tables and of all records, so it is one round trip and sees one moment; a mark
that is not the one the keys were made with makes it start over. Writes and swaps are programs in Lua, which Redis runs
one at a time: each looks at the mark, then at each key. A program gets at most 1,000 keys, so that others wait no more
than a few milliseconds: a batch up to that size is one atomic step, a larger one is several, in the order given. Marks
are never used twice, whatever was lost or restored meanwhile.

The braces are Redis's hash tag: in a cluster, the records of one entity key are together, whatever their tables. There
a batch is one program for each slot, a read one command for each slot, all sent at once: each record is whole and newer
wins, but a read that goes to several servers sees each at a moment of its own, and a write looks at the mark just
before its programs, not in them.

The price of having no index is paid by :meth:`RedisStore.scan` and :meth:`RedisStore.drop`: they walk through all keys
of the database.
"""

from __future__ import annotations

import secrets
import threading
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha1
from itertools import chain, islice
from typing import Any, Protocol

from redis.exceptions import NoScriptError

from likewise.core.errors import StoreTooNew, StoreUnavailable
from likewise.online.base import OnlineStore, Request, StoreClosed, TableMissing, in_key_order, settled
from likewise.online.redis_address import Address, parse_address
from likewise.online.redis_server import Command, Packed, Server, named, open_server

FORMAT = b"1"
"""The format of what lies in the database, and the first letter of every table's mark."""

_TABLE = b"{lw}t:"
_DROPPED = b"{lw}dropped"
_MOST_KEYS = 1_000
"""How many keys one program gets at most."""
_MOST_BYTES = 1 << 20
"""How many bytes it gets at most, unless one record is larger."""
_AT_ONCE = 16
"""How many programs are sent before their replies are read."""
_MADE_ANEW = -1
"""What a program says when the table's mark is another one."""
_TRIES = 5
"""How often a read starts over because its tables are made anew meanwhile."""
_EACH_KEY = 1e-5
"""How much longer a read may take for each of its keys, in seconds."""
_AHEAD = 500_000
"""How many keys of a table a scan looks up and sorts at a time; about 70 bytes each."""
_AHEAD_SECONDS = 60.0
"""For how long the keys that a scan looked up are used for its next pages."""

# The stamp is bytes 9 to 26 of a record: a tag and eight bytes, twice. Lua compares strings by the server's locale, so
# they are compared as four whole numbers of 32 bits each. What is done for many keys at once takes half the time.
_BEGIN = """
local mark, life, first = ARGV[1], tonumber(ARGV[2]), 1
if mark ~= '' then
  if redis.call('GET', KEYS[1]) ~= mark then return -1 end
  first = 2
end
if first > #KEYS then return EMPTY end
local stored = redis.call('MGET', unpack(KEYS, first))
local new = {}
"""
_END = """
if #new > 0 then redis.call('MSET', unpack(new)) end
"""
_WRITE = (
    _BEGIN.replace("EMPTY", "0")
    + """
for i = first, #KEYS do
  local record, held, newer = ARGV[3 + i - first], stored[1 + i - first], true
  if held then
    local a, b, c, d = struct.unpack('>I4I4xI4I4', held, 11)
    local e, f, g, h = struct.unpack('>I4I4xI4I4', record, 11)
    if e ~= a then newer = e > a elseif f ~= b then newer = f > b
    elseif g ~= c then newer = g > c else newer = h >= d end
  end
  if newer then
    new[#new + 1] = KEYS[i]
    new[#new + 1] = record
  end
end
"""
    + _END
    + """
if life > 0 then
  for i = first, #KEYS do redis.call('PEXPIRE', KEYS[i], life) end
end
return #new / 2
"""
)
_SWAP = (
    _BEGIN.replace("EMPTY", "{}")
    + """
local lost = {}
for i = first, #KEYS do
  local at = i - first
  if (stored[1 + at] or '') == ARGV[3 + 2 * at] then
    new[#new + 1] = KEYS[i]
    new[#new + 1] = ARGV[4 + 2 * at]
  else
    lost[#lost + 1] = at
  end
end
"""
    + _END
    + "return lost"
)
_DROP = """
local mark = redis.call('GET', KEYS[1])
if mark then
  redis.call('SADD', KEYS[2], mark)
  redis.call('DEL', KEYS[1])
end
return 1
"""
_DIGEST = {text: sha1(text.encode()).hexdigest() for text in (_WRITE, _SWAP, _DROP)}


class RedisSettings(Protocol):
    """What a configuration says about this store."""

    @property
    def connection_string(self) -> str:
        """Where the server is."""

    @property
    def redis_type(self) -> str:
        """One server, a cluster, or sentinels."""

    @property
    def sentinel_master(self) -> str:
        """What the sentinels call the server."""

    @property
    def password(self) -> str:
        """The password, or a reference to it."""

    @property
    def key_ttl_seconds(self) -> int | None:
        """For how long a record is kept after it was last written, in seconds."""

    @property
    def timeout_seconds(self) -> float:
        """How long a read may take."""

    @property
    def write_timeout_seconds(self) -> float:
        """How long a step of a write or scan may take."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What one program gets: some of the keys of a batch, all of one slot."""

    positions: Sequence[int]
    """Where the keys stand in the batch."""
    keys: Sequence[bytes]
    """The keys, as Redis knows them."""
    values: Sequence[bytes]
    """What the program gets for the keys, in their order."""


@dataclass(frozen=True, slots=True)
class _Ahead:
    """Keys of a table that a scan has looked up, beyond those it has returned."""

    keys: Sequence[bytes]
    """Entity keys in order."""
    whole: bool
    """Whether the table ends with them."""
    until: float
    """When they are too old to be used, on the clock of :func:`time.monotonic`."""


class RedisStore(OnlineStore):
    """An online store on a Redis server. Nothing is connected before it is used; it may be used in forked processes.

    A batch of up to 1,000 keys is one atomic step, a larger one several. After a ``StoreUnavailable``, a batch may have
    been written, in part or as a whole: writing it again does no harm, swapping it again reads the new state first.

    Args:
        address: where.
        seconds: how long a read may take, connecting included; 10 µs more for each key.
        write_seconds: how long a step of a write or scan may take.
        key_ttl: for how long a record is kept after it was last written, in seconds; None for ever. A record that is
            kept for less than its view's ttl is NOT_FOUND sooner, and an older row that comes after that is taken.

    Example:
        >>> from likewise.online.redis_address import parse_address
        >>> store = RedisStore(parse_address("localhost:6379"))
        >>> store.close()
    """

    def __init__(
        self,
        address: Address,
        *,
        seconds: float = 1.0,
        write_seconds: float = 10.0,
        key_ttl: int | None = None,
    ) -> None:
        self._name = str(address)
        self._reader = open_server(address, seconds)
        self._server = open_server(address, write_seconds)
        self._seconds = write_seconds
        self._life = (key_ttl or 0) * 1000
        self._closed = False
        self._marks: dict[str, bytes] = {}
        self._ahead: dict[tuple[bytes, bytes], _Ahead] = {}
        self._lock = threading.Lock()

    def create(self, tables: Sequence[str]) -> None:
        """Make tables, empty; those that are there already stay as they are."""
        self._run([("SET", _table_key(table), FORMAT + _letters(), "NX") for table in tables])

    def drop(self, tables: Sequence[str]) -> None:
        """Remove tables with all that they hold; the names are gone at once, the records step by step."""
        self._run([_call(_DROP, [_table_key(table), _DROPPED], []) for table in tables])
        [dropped] = self._run([("SMEMBERS", _DROPPED)])
        if dropped:
            self._sweep(sorted(dropped))
            self._run([("SREM", _DROPPED, *dropped)])

    def write(self, table: str, keys: Sequence[bytes], records: Sequence[bytes]) -> int:
        """Write records, each unless a newer one is stored; a program in Redis decides."""
        keys, records = settled(keys, records)
        done = self._apply(_WRITE, table, keys, [(record,) for record in records])
        return sum(won for _, won in done)

    def swap(
        self, table: str, keys: Sequence[bytes], expected: Sequence[bytes | None], records: Sequence[bytes]
    ) -> list[int]:
        """Write records, each where the stored one is still the one that it was made from; a program in Redis decides.

        It is not tried again when a connection breaks: that it lost would then not mean that another one won.
        """
        in_key_order(keys, expected, records)
        pairs = [(wanted or b"", record) for wanted, record in zip(expected, records, strict=True)]
        done = self._apply(_SWAP, table, keys, pairs, again=False)
        return sorted(part.positions[at] for part, lost in done for at in lost)

    def read(self, requests: Sequence[Request]) -> list[list[bytes | None]]:
        """Read records of any number of tables, all as they were at one moment; hot."""
        self._refuse_closed()
        tables = [_table_key(table) for table, _ in requests]
        for _ in range(_TRIES):
            marks = [self._marks.get(table, b"") for table, _ in requests]
            found = self._get(tables, [(mark, keys) for mark, (_, keys) in zip(marks, requests, strict=True)])
            now = found[: len(tables)]
            if now == marks:
                records = iter(found[len(tables) :])
                return [list(islice(records, len(keys))) for _, keys in requests]
            self._learn([table for table, _ in requests], now)
        raise self._made_anew()

    def scan(self, table: str, after: bytes | None = None, limit: int = 10_000) -> list[tuple[bytes, bytes]]:
        """Read a table in the order of its keys.

        Redis has no order: a scan walks through all keys of the database (some seconds for ten million), and sorts up
        to 500,000 of the table at a time, which the next pages use. So a key that another process adds while a scan is
        at work may be missed, and a whole table of n keys takes n / 500,000 walks.
        """
        page: list[tuple[bytes, bytes]] = []
        while len(page) < limit:
            mark = self._mark(table)
            ahead = self._look_ahead(mark, after)
            batch = ahead.keys[: limit - len(page)]
            [records] = self.read([(table, batch)])
            page += [(key, record) for key, record in zip(batch, records, strict=True) if record is not None]
            rest = ahead.keys[len(batch) :]
            after = batch[-1] if batch else after
            if after is not None and (rest or ahead.whole):
                with self._lock:
                    self._ahead = {(mark, after): _Ahead(rest, ahead.whole, ahead.until)}
            if ahead.whole and not rest:
                break
        return page

    def close(self) -> None:
        """Let go of the connections."""
        self._closed = True
        self._ahead = {}
        self._reader.close()
        self._server.close()

    # Reading

    def _get(self, tables: Sequence[bytes], groups: Sequence[tuple[bytes, Sequence[bytes]]]) -> list[bytes | None]:
        """Return the marks of tables, then the records of some keys of each, in one command or in one for each slot."""
        server, more = self._reader, sum(len(keys) for _, keys in groups) * _EACH_KEY
        if not tables:
            return []
        if server.one:
            [values] = self._checked([server.fetch(_packed_mget(tables, groups), more)])
            found: list[bytes | None] = values
            return found
        names = [*tables, *(_record_key(mark, key) for mark, keys in groups for key in keys)]
        slots = _by_slot(server, names)
        commands: list[Command] = [("MGET", *(names[at] for at in positions)) for positions in slots]
        replies = self._checked(server.exchange(commands, more=more))
        by_position = dict(zip(chain.from_iterable(slots), chain.from_iterable(replies), strict=True))
        return [by_position[at] for at in range(len(names))]

    def _mark(self, table: str) -> bytes:
        """Return the mark of a table as it is now."""
        self._learn([table], self._get_marks([table]))
        return self._marks[table]

    def _get_marks(self, tables: Sequence[str]) -> list[bytes | None]:
        self._refuse_closed()
        [found] = self._run([("MGET", *map(_table_key, tables))])
        marks: list[bytes | None] = found
        return marks

    def _learn(self, tables: Sequence[str], marks: Sequence[bytes | None]) -> None:
        known = dict(self._marks)
        for table, mark in zip(tables, marks, strict=True):
            if mark is None:
                raise TableMissing(table, self._name)
            if mark[:1] != FORMAT or len(mark) != 9:
                raise StoreTooNew(
                    f"online table {table!r} in {self._name} has a mark {mark[:20]!r}, which this version cannot read",
                    cure="install the version of Likewise that made it",
                )
            known[table] = mark
        self._marks = known

    # Writing

    def _apply(
        self, program: str, table: str, keys: Sequence[bytes], values: Sequence[Sequence[bytes]], *, again: bool = True
    ) -> list[tuple[_Part, Any]]:
        """Run a program on a batch, in parts; return what it said of each part."""
        self._refuse_closed()
        self._ahead = {}
        done: list[tuple[_Part, Any]] = []
        known = self._server.one and table in self._marks
        mark = self._marks[table] if known else self._mark(table)
        left: Sequence[int] = range(len(keys))
        for _ in range(_TRIES):
            said = self._attempt(program, table, mark, list(self._parts(mark, keys, values, left)), again)
            done += [(part, reply) for part, reply in said if reply != _MADE_ANEW]
            late = [part for part, reply in said if reply == _MADE_ANEW]
            if not late:
                return done
            left, mark = [at for part in late for at in part.positions], self._mark(table)
        raise self._made_anew()

    def _attempt(
        self, program: str, table: str, mark: bytes, parts: Sequence[_Part], again: bool
    ) -> list[tuple[_Part, Any]]:
        guard = [_table_key(table)] if self._server.one else []
        # What is swapped was made from what stood there, and the store's own notes begin with a dot: neither expires.
        life = 0 if program is _SWAP or table.rpartition("/")[2].startswith(".") else self._life
        head = [mark if guard else b"", b"%d" % life]
        calls = [_call(program, [*guard, *part.keys], [*head, *part.values]) for part in parts]
        at_once = _AT_ONCE if self._server.one else max(len(calls), 1)
        replies = [self._run(calls[at : at + at_once], again=again) for at in range(0, len(calls), at_once)]
        return list(zip(parts, chain.from_iterable(replies), strict=True))

    def _parts(
        self, mark: bytes, keys: Sequence[bytes], values: Sequence[Sequence[bytes]], positions: Sequence[int]
    ) -> Iterator[_Part]:
        """Cut a batch into parts of one slot each, none of them too large; for one server there is at least one."""
        names = {at: _record_key(mark, keys[at]) for at in positions}
        slots: Iterable[Sequence[int]] = [positions]
        if not self._server.one:
            slots = [[positions[at] for at in slot] for slot in _by_slot(self._server, list(names.values()))]
        for slot in slots:
            for piece in _pieces(slot, keys, values):
                yield _Part(piece, [names[at] for at in piece], [value for at in piece for value in values[at]])

    def _sweep(self, marks: Sequence[bytes]) -> None:
        """Remove the records of dropped tables."""
        pattern = b"lw%b{*" % marks[0] if len(marks) == 1 else b"lw%b*" % FORMAT
        gone = frozenset(marks)
        for found in self._server.walk(pattern):
            keys = [key for key in found if key[2:11] in gone]
            self._run([("UNLINK", *(keys[at] for at in slot)) for slot in _by_slot(self._server, keys)])

    def _run(self, commands: Sequence[Command], *, again: bool = True) -> list[Any]:
        """Send commands; programs that the server does not know are handed over, and called anew."""
        self._refuse_closed()
        if not commands:
            return []
        replies = self._server.exchange(commands, again=again)
        unknown = [at for at, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            for text in _DIGEST:
                self._server.install(text)
            for at, reply in zip(
                unknown, self._server.exchange([commands[at] for at in unknown], again=again), strict=True
            ):
                replies[at] = reply
        return self._checked(replies)

    def _checked(self, replies: list[Any]) -> list[Any]:
        for reply in replies:
            if isinstance(reply, Exception):
                raise named(reply, self._name, self._seconds) from reply
        return replies

    # Scanning

    def _look_ahead(self, mark: bytes, after: bytes | None) -> _Ahead:
        """Return the next keys of a table in order: those that the page before has left, or new ones."""
        if after is not None:
            with self._lock:
                left = self._ahead.pop((mark, after), None)
            if left is not None and time.monotonic() < left.until:
                return left
        until, before = time.monotonic() + _AHEAD_SECONDS, b"lw%b{" % mark
        keys: list[bytes] = []
        whole = True
        for found in self._server.walk(_escaped(before) + b"*"):
            keys += [key[len(before) : -1] for key in found]
            if len(keys) > 2 * _AHEAD:
                keys, cut = _first(keys, after)
                whole = whole and not cut
        keys, cut = _first(keys, after)
        return _Ahead(keys, whole and not cut, until)

    def _made_anew(self) -> StoreUnavailable:
        return StoreUnavailable(f"{self._name}: tables are made anew all the time", cure="try again")

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StoreClosed(self._name)


def open_store(config: RedisSettings, root: str) -> RedisStore:
    """Return the store on the server that a configuration names.

    Args:
        config: has the server and the settings.
        root: the repo's folder.

    Raises:
        ConfigError: the connection string says something that cannot be, or a secret cannot be read.
    """
    address = parse_address(config.connection_string, config.redis_type, config.sentinel_master, config.password, root)
    return RedisStore(
        address,
        seconds=config.timeout_seconds,
        write_seconds=config.write_timeout_seconds,
        key_ttl=config.key_ttl_seconds,
    )


def _table_key(table: str) -> bytes:
    return _TABLE + table.encode()


def _record_key(mark: bytes, key: bytes) -> bytes:
    return b"lw%b{%b}" % (mark, key)


def _packed_mget(tables: Sequence[bytes], groups: Sequence[tuple[bytes, Sequence[bytes]]]) -> Packed:
    """Return an MGET of marks and of records as it goes over the wire: the client would pack key by key. Hot."""
    count = 1 + len(tables) + sum(len(keys) for _, keys in groups)
    pieces = [b"*%d\r\n$4\r\nMGET\r\n" % count, *(b"$%d\r\n%b\r\n" % (len(name), name) for name in tables)]
    for mark, keys in groups:
        lengths = set(map(len, keys))
        if len(lengths) == 1:  # as for most entities: all that stands between two keys is the same
            before = b"$%d\r\nlw%b{" % (lengths.pop() + len(mark) + 4, mark)
            pieces += [before, (b"}\r\n" + before).join(keys), b"}\r\n"]
        else:
            pieces += [b"$%d\r\nlw%b{%b}\r\n" % (len(key) + len(mark) + 4, mark, key) for key in keys]
    return b"".join(pieces)


def _letters() -> bytes:
    return secrets.token_urlsafe(6).encode()


def _call(program: str, keys: Sequence[bytes], values: Sequence[bytes]) -> Command:
    return ("EVALSHA", _DIGEST[program], len(keys), *keys, *values)


def _by_slot(server: Server, keys: Sequence[bytes]) -> list[list[int]]:
    """Return the positions of keys that one command may use together."""
    if server.one:
        return [list(range(len(keys)))] if keys else []
    slots: dict[int, list[int]] = {}
    for at, key in enumerate(keys):
        slots.setdefault(server.slot(key), []).append(at)
    return list(slots.values())


def _pieces(slot: Sequence[int], keys: Sequence[bytes], values: Sequence[Sequence[bytes]]) -> Iterator[Sequence[int]]:
    """Cut positions into pieces, none of which has too many keys or bytes; the first one may be empty."""
    start, size = 0, 0
    for number, at in enumerate(slot):
        size += len(keys[at]) + sum(map(len, values[at]))
        if number > start and (number - start >= _MOST_KEYS or size > _MOST_BYTES):
            yield slot[start:number]
            start, size = number, len(keys[at]) + sum(map(len, values[at]))
    yield slot[start:]


def _first(keys: list[bytes], after: bytes | None) -> tuple[list[bytes], bool]:
    """Return the first of some keys beyond one, in order and each once; and whether there are more."""
    ordered = sorted(set(keys))
    begin = 0 if after is None else bisect_right(ordered, after)
    return ordered[begin : begin + _AHEAD], len(ordered) - begin > _AHEAD


def _escaped(text: bytes) -> bytes:
    """Return a pattern of Redis that means just this text."""
    return b"".join(b"\\" + bytes([byte]) if bytes([byte]) in b"*?[]\\^" else bytes([byte]) for byte in text)
