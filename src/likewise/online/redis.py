"""Redis: an online store that many machines share; one server of version 6.2 or later, sentinels, or a cluster.

What lies in the database::

    {lw}t:shop/cards                1Ab3dE_fg        the table's mark: format, then eight letters drawn at random
    {lw}t:shop/shops                1xYz8_w9q:3600000    another one, whose records go so many ms after their event time
    lw1Ab3dE_fg{entity key}         record
    {lw}dropped                     marks of dropped tables whose records are not all removed yet

A read is one MGET of the marks of its tables and of all records, so it is one round trip and sees one moment; a mark
that is not the one the keys were made with makes it start over. Writes and swaps are programs in Lua, which Redis runs
one at a time: each looks at the mark, then at each key. A program gets at most 1,000 keys, so that others wait no more
than a few milliseconds: a batch up to that size is one atomic step, a larger one is several, in the order given. Marks
are never used twice, whatever was lost or restored meanwhile. While the records of a table get other times to go, a
tilde stands behind what is said of it: whoever finds one begins with that anew.

The braces are Redis's hash tag: in a cluster, the records of one entity key are together, whatever their tables. There
a batch is one program for each slot, a read one command for each slot, all sent at once: each record is whole and newer
wins, but a read that goes to several servers sees each at a moment of its own, and a write looks at the mark just
before its programs, not in them.

The price of having no index is paid by :meth:`RedisStore.scan` and :meth:`RedisStore.drop`: they walk through all keys
of the database.
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha1
from itertools import chain
from typing import Any, Protocol

from redis.exceptions import NoScriptError

from likewise.core.errors import StoreTooNew, StoreUnavailable
from likewise.online.base import OnlineStore, Request, StoreClosed, TableMissing, in_key_order, settled
from likewise.online.redis_address import Address, parse_address
from likewise.online.redis_server import Command, Packed, Server, named, open_server

FORMAT = b"1"
"""The format of what lies in the database, and the first letter of every table's mark."""

_TABLE = b"{lw}t:"
_KNOWN_MARK = re.compile(rb".{9}(:\d{1,15})?~?", re.DOTALL)
"""What is said of a table, as far as this version can read it."""
_DROPPED = b"{lw}dropped"
_MOST_KEYS = 1_000
"""How many keys one program gets at most."""
_MOST_BYTES = 1 << 20
"""How many bytes it gets at most, unless one record is larger."""
_AT_ONCE = 16
"""How many programs are sent before their replies are read."""
_MARK = 9
"""How many letters a mark has; what stands behind them says when the table's records go."""
_CHANGING = b"~"
"""What stands at the end while the table's records get other times to go."""
_SLACK = 3_600_000
"""How much longer than its ttl a record is kept, in milliseconds: clocks differ, and requests may be for the past."""
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
# they are compared as four whole numbers of 32 bits each. What is done for many keys at once takes half the time. The
# time at which a record goes is that of the record that stands, so it is set anew for one that nobody could replace.
_BEGIN = """
local keys, values, life, span, first = KEYS, ARGV, tonumber(ARGV[2]), tonumber(ARGV[3]), 1
if values[1] ~= '' then
  if redis.call('GET', keys[1]) ~= values[1] then return -1 end
  first = 2
end
local last = #keys
if first > last then return EMPTY end
local stored = redis.call('MGET', unpack(keys, first))
local new, count = {}, 0
"""
_GOES = """
local function goes(text, at)
  local a, b = struct.unpack('>I4I4', text, at)
  local ms = math.ceil(((a - 2147483648) * 4294967296 + b) / 1000) + span
  return string.format('%.0f', math.max(ms, 1))
end
"""
_WRITE = (
    _BEGIN.replace("EMPTY", "0")
    + """
local split, kept = struct.unpack, {}
for i = first, last do
  local record, held, newer = values[4 + i - first], stored[1 + i - first], true
  if held then
    local a, b, c, d = split('>I4I4xI4I4', held, 11)
    local e, f, g, h = split('>I4I4xI4I4', record, 11)
    if e ~= a then newer = e > a elseif f ~= b then newer = f > b
    elseif g ~= c then newer = g > c else newer = h >= d end
  end
  if newer then
    new[count + 1], new[count + 2], count = keys[i], record, count + 2
  elseif span or life then
    kept[#kept + 1], kept[#kept + 2] = keys[i], held
  end
end
if span then
"""
    + _GOES
    + """
  for i = 1, count, 2 do redis.call('SET', new[i], new[i + 1], 'PXAT', goes(new[i + 1], 11)) end
  for i = 1, #kept, 2 do redis.call('PEXPIREAT', kept[i], goes(kept[i + 1], 11)) end
elseif life then
  for i = 1, count, 2 do redis.call('SET', new[i], new[i + 1], 'PX', life) end
  for i = 1, #kept, 2 do redis.call('PEXPIRE', kept[i], life) end
elseif count > 0 then
  redis.call('MSET', unpack(new))
end
return count / 2
"""
)
_SWAP = (
    _BEGIN.replace("EMPTY", "{}")
    + """
local lost = {}
for i = first, last do
  local at = i - first
  if (stored[1 + at] or '') == values[4 + 2 * at] then
    new[count + 1], new[count + 2], count = keys[i], values[5 + 2 * at], count + 2
  else
    lost[#lost + 1] = at
  end
end
if count > 0 then redis.call('MSET', unpack(new)) end
return lost
"""
)
_RENEW = (
    "local span = tonumber(ARGV[1])"
    + _GOES
    + """
for i = 1, #KEYS do
  local text = redis.call('GETRANGE', KEYS[i], 10, 17)
  if #text == 8 then
    if span then redis.call('PEXPIREAT', KEYS[i], goes(text, 1)) else redis.call('PERSIST', KEYS[i]) end
  end
end
return 1
"""
)
_CHANGE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""
_DROP = """
local mark = redis.call('GET', KEYS[1])
if mark then
  redis.call('SADD', KEYS[2], string.sub(mark, 1, 9))
  redis.call('DEL', KEYS[1])
end
return 1
"""
_DIGEST = {text: sha1(text.encode()).hexdigest() for text in (_WRITE, _SWAP, _RENEW, _CHANGE, _DROP)}


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
    def expire_with_ttl(self) -> bool:
        """Whether records of views with a ttl go when it is over."""

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
        by_ttl: whether the records of tables that :meth:`keep` gave a span go an hour after that, whatever ``key_ttl``
            says; by the clock of the server.

    Example:
        >>> from likewise.online.redis_address import parse_address
        >>> store = RedisStore(parse_address("localhost:6379"))
        >>> store.close()
    """

    networked = True

    def __init__(
        self,
        address: Address,
        *,
        seconds: float = 1.0,
        write_seconds: float = 10.0,
        key_ttl: int | None = None,
        by_ttl: bool = False,
    ) -> None:
        self._name = str(address)
        self._reader = open_server(address, seconds)
        self._server = open_server(address, write_seconds)
        self._seconds = write_seconds
        self._life = b"" if key_ttl is None else b"%d" % (key_ttl * 1000)
        self._by_ttl = by_ttl
        self._spans: dict[str, bytes] = {}
        self._closed = False
        self._marks: dict[str, bytes] = {}
        """What the database says of each table that was used: its mark, and when its records go."""
        self._ahead: dict[tuple[bytes, bytes], _Ahead] = {}
        self._lock = threading.Lock()

    def create(self, tables: Sequence[str]) -> None:
        """Make tables, empty; those that are there already stay as they are."""
        marks = [FORMAT + _letters() + self._spans.get(table, b"") for table in tables]
        self._run([("SET", _table_key(table), mark, "NX") for table, mark in zip(tables, marks, strict=True)])

    def keep(self, spans: Mapping[str, int | None]) -> None:
        """Say for how long records count; those of tables that are there already get other times to go, one by one.

        Where that changes it walks through all keys of the database. Tables that are made later by this store, too,
        have what was said of them.
        """
        said = {table: _said(span if self._by_ttl else None) for table, span in spans.items()}
        self._spans = {**self._spans, **said}
        if said:
            for table, found in zip(said, self._get_marks(list(said)), strict=True):
                if found is not None and found[_MARK:] != said[table]:
                    self._change(table, found, said[table])

    def _change(self, table: str, found: bytes, said: bytes) -> None:
        """Give the records of a table other times to go; writers go by them from the first moment on."""
        name, changing, done = _table_key(table), found[:_MARK] + said + _CHANGING, found[:_MARK] + said
        [won] = self._run([_call(_CHANGE, [name], [found, changing])])
        if won:
            for keys in self._server.walk(_escaped(b"lw%b{" % found[:_MARK]) + b"*"):
                slots = [[keys[at] for at in slot] for slot in _by_slot(self._server, keys)]
                self._run([_call(_RENEW, slot, [_span(done)]) for slot in slots])
            [won] = self._run([_call(_CHANGE, [name], [changing, done])])
        if not won:
            raise self._made_anew()

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
        done = self._apply(_WRITE, table, keys, records)
        return sum(won for _, won in done)

    def swap(
        self, table: str, keys: Sequence[bytes], expected: Sequence[bytes | None], records: Sequence[bytes]
    ) -> list[int]:
        """Write records, each where the stored one is still the one it was made from; a program in Redis decides."""
        in_key_order(keys, expected, records)
        done = self._apply(_SWAP, table, keys, [wanted or b"" for wanted in expected], records)
        return sorted(part.positions[at] for part, lost in done for at in lost)

    def read(self, requests: Sequence[Request]) -> list[list[bytes | None]]:
        """Read records of any number of tables, all as they were at one moment; hot."""
        self._refuse_closed()
        names = [table for table, _ in requests]
        for _ in range(_TRIES):
            marks = [self._marks.get(table, b"") for table in names]
            found = self._get(requests, marks)
            if found[: len(marks)] == marks:
                return _shared(requests, found)
            self._learn(names, found[: len(marks)])
        raise self._made_anew()

    def scan(self, table: str, after: bytes | None = None, limit: int = 10_000) -> list[tuple[bytes, bytes]]:
        """Read a table in the order of its keys.

        Redis has no order: a scan walks through all keys of the database (some seconds for ten million), and sorts up
        to 500,000 of the table at a time, which the next pages use. So a key that another process adds while a scan is
        at work may be missed, and a whole table of n keys takes n / 500,000 walks.
        """
        page: list[tuple[bytes, bytes]] = []
        while len(page) < limit:
            mark = self._mark(table)[:_MARK]
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

    def _get(self, requests: Sequence[Request], marks: Sequence[bytes]) -> list[bytes | None]:
        """Return the marks of tables, then the records of some keys of each, in one command or in one for each slot."""
        if not requests:
            return []
        server, more = self._reader, sum([len(keys) for _, keys in requests]) * _EACH_KEY
        tables = [_table_key(table) for table, _ in requests]
        groups = [(mark[:_MARK], keys) for mark, (_, keys) in zip(marks, requests, strict=True)]
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
        """Return what the database says of a table now: its mark, and what stands behind it."""
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
            if mark[:1] != FORMAT or not _KNOWN_MARK.fullmatch(mark):
                raise StoreTooNew(
                    f"online table {table!r} in {self._name} has a mark {mark[:20]!r}, which this version cannot read",
                    cure="install the version of Likewise that made it",
                )
            known[table] = mark
        self._marks = known

    # Writing

    def _apply(
        self, program: str, table: str, keys: Sequence[bytes], *columns: Sequence[bytes]
    ) -> list[tuple[_Part, Any]]:
        """Run a program on a batch, in parts; return what it said of each part."""
        self._refuse_closed()
        self._ahead = {}
        done: list[tuple[_Part, Any]] = []
        known = self._server.one and table in self._marks
        mark = self._marks[table] if known else self._mark(table)
        left: Sequence[int] = range(len(keys))
        for _ in range(_TRIES):
            said = self._attempt(program, table, mark, list(self._parts(mark[:_MARK], keys, columns, left)))
            done += [(part, reply) for part, reply in said if reply != _MADE_ANEW]
            late = [part for part, reply in said if reply == _MADE_ANEW]
            if not late:
                return done
            left, mark = [at for part in late for at in part.positions], self._mark(table)
        raise self._made_anew()

    def _attempt(self, program: str, table: str, mark: bytes, parts: Sequence[_Part]) -> list[tuple[_Part, Any]]:
        guard = [_table_key(table)] if self._server.one else []
        # What is swapped was made from what stood there, and the store's own notes begin with a dot: neither expires.
        life = b"" if program is _SWAP or table.rpartition("/")[2].startswith(".") else self._life
        head = [mark if guard else b"", life, _span(mark)]
        calls = [_call(program, [*guard, *part.keys], [*head, *part.values]) for part in parts]
        at_once = _AT_ONCE if self._server.one else max(len(calls), 1)
        replies = [self._run(calls[at : at + at_once]) for at in range(0, len(calls), at_once)]
        return list(zip(parts, chain.from_iterable(replies), strict=True))

    def _parts(
        self, mark: bytes, keys: Sequence[bytes], columns: Sequence[Sequence[bytes]], positions: Sequence[int]
    ) -> Iterator[_Part]:
        """Cut a batch into parts of one slot each, none of them too large; for one server there is at least one."""
        slots: Iterable[Sequence[int]] = [positions]
        if not self._server.one:
            names = [_record_key(mark, keys[at]) for at in positions]
            slots = [[positions[at] for at in slot] for slot in _by_slot(self._server, names)]
        sizes = [sum(map(len, items)) for items in zip(keys, *columns, strict=True)]
        for slot in slots:
            for piece in _pieces(slot, sizes):
                values = [[column[at] for at in piece] for column in columns]
                yield _Part(piece, [_record_key(mark, keys[at]) for at in piece], _woven(values))

    def _sweep(self, marks: Sequence[bytes]) -> None:
        """Remove the records of dropped tables."""
        pattern = b"lw%b{*" % marks[0] if len(marks) == 1 else b"lw%b*" % FORMAT
        gone = frozenset(marks)
        for found in self._server.walk(pattern):
            keys = [key for key in found if key[2:11] in gone]
            self._run([("UNLINK", *(keys[at] for at in slot)) for slot in _by_slot(self._server, keys)])

    def _run(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands; programs that the server does not know are handed over, and called anew."""
        self._refuse_closed()
        if not commands:
            return []
        replies = self._server.exchange(commands)
        unknown = [at for at, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            for text in _DIGEST:
                self._server.install(text)
            known = self._server.exchange([commands[at] for at in unknown])
            for at, reply in zip(unknown, known, strict=True):
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
        return StoreUnavailable(f"{self._name}: others change its tables meanwhile", cure="try again")

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
        by_ttl=config.expire_with_ttl,
    )


@lru_cache(maxsize=4096)
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


def _said(span: int | None) -> bytes:
    """Return what stands behind a table's mark if its records count for some microseconds after their event time."""
    return b"" if span is None else b":%d" % (-(-span // 1000) + _SLACK)


def _span(mark: bytes) -> bytes:
    """Return how many milliseconds after their event time records go, from what is said of a table; empty for never."""
    return mark[_MARK + 1 :].rstrip(_CHANGING)


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


def _pieces(slot: Sequence[int], sizes: Sequence[int]) -> Iterator[Sequence[int]]:
    """Cut positions into pieces, none of which has too many keys or bytes; the first one may be empty."""
    start, size = 0, 0
    for number, at in enumerate(slot):
        size += sizes[at]
        if number > start and (number - start >= _MOST_KEYS or size > _MOST_BYTES):
            yield slot[start:number]
            start, size = number, sizes[at]
    yield slot[start:]


def _woven(columns: Sequence[Sequence[bytes]]) -> Sequence[bytes]:
    """Return the first of each column, then the second of each, and so on."""
    return columns[0] if len(columns) == 1 else list(chain.from_iterable(zip(*columns, strict=True)))


def _shared(requests: Sequence[Request], found: Sequence[bytes | None]) -> list[list[bytes | None]]:
    """Return what was found for each request; the tables' marks come before."""
    records: list[list[bytes | None]] = []
    at = len(requests)
    for _, keys in requests:
        records.append(list(found[at : at + len(keys)]))
        at += len(keys)
    return records


def _first(keys: list[bytes], after: bytes | None) -> tuple[list[bytes], bool]:
    """Return the first of some keys beyond one, in order and each once; and whether there are more."""
    ordered = sorted(set(keys))
    begin = 0 if after is None else bisect_right(ordered, after)
    return ordered[begin : begin + _AHEAD], len(ordered) - begin > _AHEAD


def _escaped(text: bytes) -> bytes:
    """Return a pattern of Redis that means just this text."""
    return b"".join(b"\\" + bytes([byte]) if bytes([byte]) in b"*?[]\\^" else bytes([byte]) for byte in text)
