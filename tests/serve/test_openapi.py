"""The description of the routes, and requests generated from it (T30)."""

import subprocess
import sys

import pytest

from likewise.serve.access import Open, Scope
from likewise.serve.app import App, Load
from likewise.serve.call import Answer, Route
from likewise.serve.metrics import Metrics
from likewise.serve.settings import Limits
from likewise.testing.strategies import examples


def test_the_description_has_every_route_and_record(server):
    """It is OpenAPI 3.1; each route has its scope, its body's record, and its problems."""
    document = server.get("/openapi.json").json
    assert document["openapi"] == "3.1.0"
    reads = document["paths"]["/get-online-features"]["post"]
    assert reads["x-likewise-scope"] == "read"
    assert reads["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/OnlineRequest"
    }
    assert document["components"]["schemas"]["OnlineRequest"]["additionalProperties"] is False
    assert {"200", "400", "404", "413", "415", "422", "503"} <= reads["responses"].keys()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["x-likewise-scope"] in {"public", "read", "write", "admin"}, (path, method)


def test_the_page_needs_nothing_from_elsewhere(server):
    """/docs is one page without scripts, links to other hosts, or anything to load."""
    page = server.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert b"/write-to-online-store" in page.body
    for foreign in (b"<script", b"src=", b"http://", b"https://"):
        assert foreign not in page.body


def test_a_route_without_a_scope_does_not_start():
    """Every route declares what its caller must be allowed; else there is no server (G12)."""
    route = Route("GET", "/open", None, lambda call: Answer(b""), "Forgotten.", {200: "text/plain"})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="declares no scope"):
        App([route], Open(), Limits(), Metrics(), Load())
    assert {scope.value for scope in Scope} == {"public", "read", "write", "admin"}


PROGRAM = """
import msgspec
import schemathesis
from schemathesis.cli import schemathesis as run


def packed(value):
    if isinstance(value, str):
        return value.encode() if len(value) < 8 else value
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return float("inf")
    if isinstance(value, dict):
        return {str(name): packed(item) for name, item in value.items()}
    return [packed(item) for item in value] if isinstance(value, list) else value


@schemathesis.serializer("application/msgpack")
def to_msgpack(context, value):
    return msgspec.msgpack.encode(packed(value))


@schemathesis.deserializer("application/msgpack")
def from_msgpack(context, response):
    return msgspec.msgpack.decode(response.content)


@schemathesis.serializer("application/vnd.apache.arrow.stream")
def to_table(context, value):
    return value if isinstance(value, bytes) else str(value).encode()


run()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="schemathesis is not in the Windows test environment")
@pytest.mark.parametrize("which", ["--exclude-path-regex", "--include-path-regex"])
def test_generated_requests_never_break_the_server(server, which):
    """Requests made from the description, good and bad, get what it says, never a 5xx; remote stores' apart (T30)."""
    cases = examples(40, soak=900)  # of each of the routes, so that a long search has more than 10,000
    options = ["--max-examples", str(cases), "--generation-deterministic", "--no-color", "--exclude-path", "/readyz"]
    options += ["--header", "x-request-deadline-ms: 60000"]  # a millisecond is too short, and a 504 by right
    checks = "not_a_server_error,content_type_conformance,response_schema_conformance,status_code_conformance"
    done = subprocess.run(
        [
            *(sys.executable, "-c", PROGRAM, "run", f"http://127.0.0.1:{server.port}/openapi.json", *options),
            *("--checks", checks, which, "^/online-store/"),
        ],
        capture_output=True,
        text=True,
        timeout=examples(110, soak=3000),
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
