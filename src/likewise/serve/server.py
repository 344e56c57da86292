"""Server: starts a feature server, in one process or several, and ends it without failing a request (T18).

A server that is told to end (SIGTERM) first takes requests for a little longer, each of them its connection's last,
while /readyz already says 503; then it stops listening, finishes what it has in hand, and exits with 0. Ctrl-C leaves
out the first part.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from types import FrameType

import uvicorn
from prometheus_client.multiprocess import mark_process_dead

from likewise import __version__
from likewise.core.errors import ConfigError
from likewise.core.secrets import without_secrets
from likewise.serve.app import App, Load
from likewise.serve.connection import connections
from likewise.serve.materializations import Materializations
from likewise.serve.metrics import FOLDER, Metrics
from likewise.serve.openapi import with_description
from likewise.serve.probes import Probes
from likewise.serve.reads import Reads
from likewise.serve.records import Records, record_routes
from likewise.serve.routes import routes_of
from likewise.serve.served_log import ServedLog
from likewise.serve.settings import Limits, Settings
from likewise.serve.state import State
from likewise.serve.writes import Writes

_BACKLOG = 2048
_STARTS_AGAIN = 1.0
_SWITCHES = 0.0005
"""For how long a thread with a large read keeps all others waiting, in seconds; Python's own is ten times as long."""
_log = logging.getLogger("likewise.serve")


def serve(settings: Settings, announce: Callable[[str, State], None]) -> None:
    """Serve until a signal ends it.

    Args:
        settings: what to serve, and where.
        announce: is told the address and the state once the server can be reached.

    Raises:
        ConfigError: the settings cannot be, or the port is taken.
        TransformError: the code of the repo is not what was applied.
    """
    settings.check()
    with _listener(settings) as listener:
        scheme = "https" if settings.tls_cert is not None else "http"
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        address = f"{scheme}://{host}:{listener.getsockname()[1]}"
        if settings.workers == 1:
            _work(settings, listener, lambda state: announce(address, state))
            return
        state = State(settings)
        if state.store.config.online_store.type == "memory":
            raise ConfigError("a memory store is of one process", cure="leave out --workers, or keep it in lmdb")
        try:
            state.start()
            announce(address, state)
        finally:
            state.close()
        _Workers(settings, listener).run()


def _listener(settings: Settings) -> socket.socket:
    try:
        [found, *_] = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
        return socket.create_server(found[4][:2], family=found[0], backlog=_BACKLOG)
    except OSError as error:
        what = f"{settings.host}:{settings.port} cannot be listened on: {error.strerror}"
        raise ConfigError(what, cure="give another address with --host and --port") from error


def _work(settings: Settings, listener: socket.socket, announce: Callable[[State], None]) -> None:
    """Answer requests in this process until a signal ends it."""
    if settings.access_log:
        _log_requests()
    limits, load, metrics = settings.limits, Load(), Metrics()
    state = State(settings)
    log = ServedLog(state.store, settings, limits, metrics)
    reads, writes = Reads(state, limits, metrics, log), Writes(state, limits, metrics)
    runs, records = Materializations(state, limits), Records(state, limits)
    probes = Probes(state, metrics, lambda: load.ending)
    routes = routes_of(reads, writes, runs, probes) + record_routes(records)
    app = App(with_description(routes, __version__), state.access, limits, metrics, load)
    server = _Server(_config(settings, app), load, limits, lambda: announce(state), runs.stop)
    load.requests = lambda: len(server.server_state.tasks)
    load.connections = lambda: len(server.server_state.connections)
    state.on_breaker = lambda is_open: metrics.breaker.set(float(is_open))
    if FOLDER not in os.environ:
        metrics.in_work.set_function(load.requests)
    try:
        state.start()
        if state.has_catalog:
            log.start()
        server.run(sockets=[listener])
    finally:
        for part in (reads, writes, runs, records, log):
            part.close()
        _wait_for_threads(server.ends_at or time.monotonic() + limits.drain_seconds)
        state.close()


def _wait_for_threads(end: float) -> None:
    """Wait for what is still at work in threads; what is not done by then is cut off, as a kill would do.

    A materialization that waits for its source, or a push for a store that is silent, would keep the process alive.
    What they leave behind is whole, and both may be done again; closing a store under their hands would not be safe.
    """
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("likewise-") and not thread.daemon]
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    late = [thread.name for thread in threads if thread.is_alive()]
    if late:
        _log.warning("still at work, and cut off: %s; do it again, it goes on where it was", ", ".join(late))
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _log_requests() -> None:
    """Write each request as a line on standard error, without the secrets that somebody put into its address."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("uvicorn.access").addFilter(_without_secrets)


def _without_secrets(record: logging.LogRecord) -> bool:
    record.args = tuple(without_secrets(list(record.args))) if isinstance(record.args, tuple) else record.args
    return True


def _config(settings: Settings, app: App) -> uvicorn.Config:
    limits = settings.limits
    return uvicorn.Config(
        app,
        http=connections(limits),  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=settings.access_log,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=max(1, round(limits.idle_seconds)),
        timeout_graceful_shutdown=max(1, round(limits.drain_seconds)),
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )


class _Server(uvicorn.Server):
    """A server that goes on a little when it is told to end."""

    def __init__(
        self,
        config: uvicorn.Config,
        load: Load,
        limits: Limits,
        announce: Callable[[], None],
        stop: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._load = load
        self._settle = limits.settle_seconds
        self._drain = limits.drain_seconds
        self._announce = announce
        self._stop = stop
        self.ends_at: float | None = None
        """When all that is in hand has to be done, on the clock of ``time.monotonic``; None: it was not told to end."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        gc.collect()
        gc.freeze()  # what is there now stays, and need not be looked at again
        sys.setswitchinterval(_SWITCHES)
        self._announce()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit or sig == signal.SIGINT:
            self._settle = 0.0
        self.force_exit = self.should_exit
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._load.ending = True
        end = time.monotonic() + self._settle
        while time.monotonic() < end and self._settle and not self.force_exit:
            await asyncio.sleep(0.05)
        self.ends_at = time.monotonic() + self._drain
        self._stop()
        await super().shutdown(sockets)


# Several processes


def _worker(settings: Settings, listener: socket.socket) -> None:
    """Be one of several processes."""
    with contextlib.suppress(KeyboardInterrupt):
        _work(settings, listener, lambda state: None)


class _Workers:
    """Several processes that share one listening socket; one that dies is started again."""

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._settings = settings
        self._listener = listener
        self._spawn = multiprocessing.get_context("spawn")
        self._ending = False

    def run(self) -> None:
        """Keep them going until a signal ends them all."""
        folder = os.environ[FOLDER] = tempfile.mkdtemp(prefix="likewise-metrics-")
        before = {sig: signal.signal(sig, self._end) for sig in (signal.SIGINT, signal.SIGTERM)}
        workers = [self._started() for _ in range(self._settings.workers)]
        try:
            while not self._ending:
                time.sleep(0.1)
                workers = [worker if worker.is_alive() else self._again(worker) for worker in workers]
        finally:
            self._stop(workers)
            for sig, handler in before.items():
                signal.signal(sig, handler)
            shutil.rmtree(folder, ignore_errors=True)
            del os.environ[FOLDER]

    def _end(self, sig: int, frame: FrameType | None) -> None:
        self._ending = True

    def _started(self) -> BaseProcess:
        worker = self._spawn.Process(target=_worker, args=(self._settings, self._listener), name="likewise-serve")
        worker.start()
        return worker

    def _again(self, worker: BaseProcess) -> BaseProcess:
        if self._ending:
            return worker
        _log.error("worker %s ended with %s; another one is started", worker.pid, worker.exitcode)
        mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
        time.sleep(_STARTS_AGAIN)
        return self._started()

    def _stop(self, workers: list[BaseProcess]) -> None:
        limits = self._settings.limits
        for worker in workers:
            worker.terminate()
        end = time.monotonic() + limits.settle_seconds + limits.drain_seconds + 5
        for worker in workers:
            worker.join(max(0.0, end - time.monotonic()))
            if worker.is_alive():
                worker.kill()
                worker.join()
