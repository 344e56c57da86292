"""DynamoDB: calls to the service in a bounded number of threads; what goes wrong is one of our errors.

boto3 bounds the steps of a call, not a call, and has one connection for each. So calls are made by threads of the
store's own, and whoever asked waits for them until its deadline and no longer, whatever the network does. A thread that
is still at a call then is free again when a step of it takes too long. boto3's own retries are off: ours know the
deadline. After a fork, a process has a client and threads of its own.
"""

from __future__ import annotations

import os
import random
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import boto3
from botocore import exceptions as problems
from botocore.config import Config

from likewise.core.errors import ConfigError, StoreError, StoreUnavailable
from likewise.online.base import Disconnected, StoreClosed
from likewise.online.deadline import Deadline, seconds_left
from likewise.online.guard import RetryBudget
from likewise.online.sql_pool import late

Client = Any
"""A client of boto3 for DynamoDB."""
Reply = dict[str, Any]

T = TypeVar("T")
R = TypeVar("R")

THROTTLED = frozenset(
    {
        "LimitExceededException",  # too many tables are made or removed at the same time
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
        "TransactionConflictException",
    }
)
"""What the service says when it did nothing, because too much is asked of it."""
_HICCUPS = frozenset({"InternalFailure", "InternalServerError", "ServiceUnavailable", "ServiceUnavailableException"})
_REFUSED = frozenset(
    {
        "AccessDeniedException",
        "ExpiredTokenException",
        "IncompleteSignatureException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "NotAuthorized",
        "OptInRequired",
        "UnrecognizedClientException",
    }
)
_NO_LOGIN = (problems.NoCredentialsError, problems.PartialCredentialsError, problems.CredentialRetrievalError)
_SLOW = (problems.ConnectTimeoutError, problems.ReadTimeoutError)
_LOGIN = re.compile(r"//[^/\s@]*@")
_PAUSE = (0.02, 1.0)
"""For how long a call waits before it is made again, in seconds: at first, and at most; half of it at random."""


class Gone(Exception):
    """A call used a table of DynamoDB's that is not there."""


class InUse(Exception):
    """A table of DynamoDB's is there already, or is being made or removed."""


class BadRequest(StoreError):
    """A call does not fit its table."""


class NotAsExpected(Exception):
    """The condition of a write was not met."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[R]):
    """What became of some things to do."""

    found: Sequence[R | None]
    """The result of each; None for those that were not done, or of which that is not known."""
    error: Exception | None
    """The first error; None when all were done."""

    def all(self) -> list[R]:
        """Return all results.

        Raises:
            StoreError: one was not done, and why.
        """
        if self.error is not None:
            raise self.error
        return [each for each in self.found if each is not None]


class _Jobs(Generic[T, R]):
    """Things to do, of which several threads take one after the other.

    Args:
        work: does one; never returns None.
        things: what is to be done.
        seconds: how long the whole may take.
    """

    def __init__(self, work: Callable[[T], R], things: Sequence[T], seconds: float | None) -> None:
        self.found: list[R | None] = [None] * len(things)
        self.left = deque(range(len(things)))
        self._work = work
        self._things = things
        self._end = None if seconds is None else time.monotonic() + seconds

    def run(self) -> None:
        """Take one after the other until none is left."""
        with Deadline(1e9 if self._end is None else self._end - time.monotonic()):
            while self.left:
                try:
                    at = self.left.popleft()
                except IndexError:  # another thread took the last one
                    return
                self.found[at] = self._work(self._things[at])


class _Crew:
    """A client and the threads of one process that use it."""

    def __init__(self, connect: Callable[[], Client], readers: int, writers: int) -> None:
        self.client = connect()
        self.readers = ThreadPoolExecutor(readers, "likewise-dynamodb-read")
        self.writers = ThreadPoolExecutor(writers, "likewise-dynamodb-write")

    def close(self) -> None:
        """Let go of the connections; calls that are being made come to their end."""
        for pool in (self.readers, self.writers):
            pool.shutdown(wait=False, cancel_futures=True)
        self.client.close()


class Service:
    """DynamoDB, as one process sees it.

    Args:
        connect: makes a client; called once in each process that uses the store, when it first does.
        where: the service's name, for messages.
        readers: how many threads read.
        writers: how many threads write.
    """

    def __init__(self, connect: Callable[[], Client], where: str, readers: int, writers: int) -> None:
        self.where = where
        self._connect = connect
        self._sizes = readers, writers
        self._budget = RetryBudget()
        self._closed = False
        self._crew: _Crew | None = None
        self._begin()

    def open(self) -> None:
        """Make the client, unless this process has one.

        Raises:
            StoreClosed: it was closed.
        """
        if self._closed:
            raise StoreClosed(self.where)
        if os.getpid() != self._process:
            self._begin()
        if self._crew is None:
            with self._lock:
                if self._crew is None:
                    self._crew = _Crew(self._connect, *self._sizes)

    def close(self) -> None:
        """Let go of the connections; more than once is fine."""
        self._closed = True
        crew, self._crew = self._crew, None
        if crew is not None and os.getpid() == self._process:
            crew.close()

    def each(self, work: Callable[[T], R], things: Sequence[T], *, writes: bool = False) -> Outcome[R]:
        """Do the same with each of some things, several at a time, within the thread's deadline.

        After an error no more is begun; what is being done then is waited for, as long as there is time.

        Args:
            work: does one, and never returns None.
            things: what it is done with.
            writes: whether the threads that write do it.
        """
        given = seconds_left()
        jobs = _Jobs(work, things, given)
        crew = self._crew
        if crew is None:
            raise StoreClosed(self.where)
        pool, size = (crew.writers, self._sizes[1]) if writes else (crew.readers, self._sizes[0])
        try:
            futures = [pool.submit(jobs.run) for _ in range(min(size, len(things)))]
        except RuntimeError as error:  # closed by another thread
            raise StoreClosed(self.where) from error
        done, still = wait(futures, given, FIRST_EXCEPTION)
        jobs.left.clear()
        if still:
            for future in still:
                future.cancel()
            done, still = wait(futures, max(0.0, seconds_left() or 0.0))
        raised = [future.exception() for future in done if not future.cancelled()]
        for fatal in raised:
            if fatal is not None and not isinstance(fatal, Exception):
                raise fatal
        known = [each for each in raised if isinstance(each, Exception)]
        if still and not known:
            known = [late(self.where, given)]
        return Outcome(list(jobs.found), known[0] if known else None)

    def call(self, ask: Callable[[Client], Reply], *, again: bool = True, freely: bool = True) -> Reply:
        """Make one call, and make it again where that helps, within the thread's deadline.

        Args:
            ask: makes it.
            again: whether making it again does no harm when it may have been done.
            freely: whether a call that was throttled is made again as long as there is time; if not, within the
                budget of one in ten calls.

        Raises:
            Gone, InUse, NotAsExpected: the service says so.
            StoreUnavailable: no answer in time, throttled, or the connection broke.
            StoreError: the call is refused.
        """
        turn = 0
        self._budget.add()
        while True:
            crew = self._crew
            if crew is None:
                raise StoreClosed(self.where)
            try:
                return ask(crew.client)
            except problems.ClientError as error:
                code = error.response["Error"]["Code"]
                named, throttled = _said(code, error, self.where), code in THROTTLED
            except problems.BotoCoreError as error:
                named, throttled = _broke(error, self.where), False
            hiccup = again and isinstance(named, Disconnected)
            if not ((throttled and freely) or ((throttled or hiccup) and self._budget.take())):
                raise named
            if not self.pause(turn):
                raise named
            turn += 1

    def spare(self) -> bool:
        """Whether there may be one more try, of the one in ten calls."""
        return self._budget.take()

    def pause(self, turn: int) -> bool:
        """Wait a moment before something is tried again; whether there was the time.

        Args:
            turn: how often it was tried already, from 0.
        """
        first, longest = _PAUSE
        seconds, left = min(longest, first * 2**turn) * random.uniform(0.5, 1.0), seconds_left()
        if left is not None and seconds >= left:
            return False
        time.sleep(seconds)
        return True

    def _begin(self) -> None:
        """Have no client; one that came over a fork is the parent's, and is left as it is."""
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._crew = None


def connect(region: str, endpoint: str, seconds: float, connections: int, session: Any = None) -> Client:
    """Return a client; nothing is asked of the service yet. Who asks is found where AWS's programs look.

    Args:
        region: the region; empty: what the environment and AWS's files say.
        endpoint: the service's address; empty: the region's.
        seconds: how long a step of a call may take: connecting, or waiting for the next bytes.
        connections: how many there are at most.
        session: boto3's, which makes it and knows who asks; None for a new one.

    Raises:
        ConfigError: there is no region, or the address is none.
    """
    settings = Config(
        connect_timeout=seconds,
        read_timeout=seconds,
        max_pool_connections=connections,
        retries={"total_max_attempts": 1, "mode": "standard"},
        parameter_validation=False,
        tcp_keepalive=True,
        user_agent_extra="likewise",
    )
    try:
        return (session or boto3.session.Session()).client(
            "dynamodb", region_name=region or None, endpoint_url=endpoint or None, config=settings
        )
    except problems.NoRegionError as error:
        raise ConfigError("DynamoDB: no region is given", cure="set online_store.region, or AWS_REGION") from error
    except (problems.BotoCoreError, ValueError) as error:
        what = f"DynamoDB: online_store does not lead to a service: {without_login(error)}"
        raise ConfigError(what, cure="check online_store.region and online_store.endpoint_url") from error


def where_is(region: str, endpoint: str) -> str:
    """Return the name of a service, for messages.

    Example:
        >>> where_is("eu-west-1", ""), where_is("", "http://me:secret@localhost:8000")
        ('dynamodb in eu-west-1', 'dynamodb at localhost:8000')
    """
    if endpoint:
        return f"dynamodb at {urlsplit(endpoint).netloc.rpartition('@')[2]}"
    return f"dynamodb in {region}" if region else "dynamodb"


def without_login(error: Exception) -> str:
    """Return what an error says, in which no address shows a login.

    Example:
        >>> without_login(ValueError("cannot use http://me:secret@host"))
        'cannot use http://host'
    """
    return _LOGIN.sub("//", str(error))


# ---- Errors --------------------------------------------------------------------------------------------------------

_BUSY = "try again, or give the call more time; see that the service is reached and not busy"


def _said(code: str, error: Exception, where: str) -> Exception:
    """Return what an error that the service answered means."""
    text = without_login(error)
    if code == "ResourceNotFoundException":
        return Gone(text)
    if code == "ResourceInUseException":
        return InUse(text)
    if code == "ConditionalCheckFailedException":
        return NotAsExpected(text)
    if code == "ValidationException":
        return BadRequest(f"{where} cannot do that: {text}", cure="see what it says; check online_store in the repo")
    if code in THROTTLED:
        cure = "try again later, or give its tables more throughput (on-demand tables grow by themselves)"
        return StoreUnavailable(f"{where} is asked for too much at once: {text}", cure=cure)
    if code in _HICCUPS:
        return Disconnected(f"{where} has trouble: {text}", cure="try again")
    if code in _REFUSED:
        cure = "check AWS's credentials of this process (environment, profile or role), and what they may do"
        return StoreError(f"{where} refuses: {text}", cure=cure)
    return StoreError(f"{where} cannot do that: {text}", cure="see what it says; check online_store in the repo")


def _broke(error: problems.BotoCoreError, where: str) -> StoreError:
    """Return what it means that a call could not be made."""
    text = without_login(error)
    if isinstance(error, _NO_LOGIN):
        cure = "give this process AWS's credentials: environment, profile or role"
        return StoreError(f"{where} was not asked: {text}", cure=cure)
    if isinstance(error, _SLOW):
        return StoreUnavailable(f"{where} did not answer in time", cure=_BUSY)
    if isinstance(error, problems.SSLError):
        return StoreError(f"{where}: no safe connection: {text}", cure="check the address, and AWS_CA_BUNDLE")
    return Disconnected(f"{where} cannot be reached: {text}", cure="check region, address and network, and try again")
