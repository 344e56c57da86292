"""Routes: the table of all routes, each with the scope it needs, what it takes and what it answers."""

from __future__ import annotations

from likewise.serve.access import Scope
from likewise.serve.answer import OnlineAnswer
from likewise.serve.call import ARROW, JSON, MSGPACK, Route
from likewise.serve.forms import PUSH_QUERY, TABLE_QUERY, WRITE_QUERY
from likewise.serve.materializations import PATH, Materializations, Run
from likewise.serve.payload import IncrementalBody, MaterializeBody, OnlineRequest, PushBody, WriteBody
from likewise.serve.probes import Health, Probes, Readiness
from likewise.serve.reads import Reads
from likewise.serve.writes import Writes, Written

_ASYNC = {
    "async": "Answer at once with 202, and do it in the background; the header location says where its status is."
}


def routes_of(reads: Reads, writes: Writes, runs: Materializations, probes: Probes) -> list[Route]:
    """Return all routes but those that describe them."""
    return [
        Route(
            method="POST",
            path="/get-online-features",
            scope=Scope.READ,
            handle=reads,
            summary="Return the features of some entities as they are now.",
            answers={200: OnlineAnswer},
            body=OnlineRequest,
            takes=(JSON, MSGPACK, ARROW),
            gives=(MSGPACK, ARROW),
            table_query=TABLE_QUERY,
            problems=("not_found", "not_supported", "function_failed", "store_unavailable", "store_failed"),
            checks_limits=True,
        ),
        Route(
            method="POST",
            path="/push",
            scope=Scope.WRITE,
            handle=writes.push,
            summary="Write rows to all views of a push source: to the online store, to their files, or both.",
            answers={200: Written},
            body=PushBody,
            takes=(JSON, ARROW),
            table_query=PUSH_QUERY,
            problems=("not_found", "not_supported", "busy", "function_failed", "source_failed", "store_full"),
            checks_limits=True,
        ),
        Route(
            method="POST",
            path="/write-to-online-store",
            scope=Scope.WRITE,
            handle=writes.write,
            summary="Write rows of one view to the online store, each unless a newer one is there.",
            answers={200: Written},
            body=WriteBody,
            takes=(JSON, ARROW),
            table_query=WRITE_QUERY,
            problems=("not_found", "not_supported", "busy", "store_full", "store_unavailable"),
            checks_limits=True,
        ),
        Route(
            method="POST",
            path="/materialize",
            scope=Scope.ADMIN,
            handle=runs.materialize,
            summary="Write the latest rows of a span of event times to the online store.",
            answers={200: Run, 202: Run},
            body=MaterializeBody,
            query=_ASYNC,
            problems=("not_found", "not_supported", "busy", "function_failed", "source_failed", "store_full"),
            checks_limits=True,
        ),
        Route(
            method="POST",
            path="/materialize-incremental",
            scope=Scope.ADMIN,
            handle=runs.incremental,
            summary="Write what came since the last time to the online store.",
            answers={200: Run, 202: Run},
            body=IncrementalBody,
            query=_ASYNC,
            problems=("not_found", "not_supported", "busy", "function_failed", "source_failed", "store_full"),
            checks_limits=True,
        ),
        Route(
            method="GET",
            path=PATH,
            scope=Scope.ADMIN,
            handle=runs.status,
            summary="Tell how far a materialization is.",
            answers={200: Run},
            problems=("not_found",),
            checks_limits=True,
        ),
        Route(
            method="GET",
            path="/health",
            scope=Scope.PUBLIC,
            handle=probes.health,
            summary="Tell that the server lives, as Feast's does.",
            answers={200: Health},
        ),
        Route(
            method="GET",
            path="/livez",
            scope=Scope.PUBLIC,
            handle=probes.health,
            summary="Tell that the server lives, whatever its stores do.",
            answers={200: Health},
        ),
        Route(
            method="GET",
            path="/readyz",
            scope=Scope.PUBLIC,
            handle=probes.ready,
            summary="Tell whether the server can answer: registry, online store, and the code of the repo.",
            answers={200: Readiness, 503: Readiness},
        ),
        Route(
            method="GET",
            path="/metrics",
            scope=Scope.READ,
            handle=probes.metrics,
            summary="Tell the server's figures, as Prometheus text.",
            answers={200: "text/plain"},
        ),
    ]
