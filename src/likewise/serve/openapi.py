"""OpenApi: the description of the routes, made from their table: a document for programs, and a page for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import Struct

from likewise.serve.access import Scope
from likewise.serve.call import ARROW, JSON, Answer, Route
from likewise.serve.deadlines import HEADER
from likewise.serve.problem import KINDS, MEDIA_TYPE, Problem

_REFERENCE = "#/components/schemas/{name}"
_ALWAYS = ("forbidden", "overloaded", "not_ready", "failed", "bad_query")
_WITH_KEY = ("unauthorized",)
_KEY = {"type": "http", "scheme": "bearer", "description": "An access key; a server on loopback may ask for none."}
_WITH_BODY = (
    *("not_json", "too_deep", "duplicate_key", "too_large", "wrong_type", "invalid"),
    *("bad_header", "store_shunned", "deadline_exceeded"),
)
_DEADLINE = {
    "name": HEADER.decode(),
    "in": "header",
    "description": "For how many milliseconds an answer is of use; a materialization takes its time anyway.",
    "schema": {"type": "integer", "minimum": 1, "maximum": 60_000},
}


def with_description(routes: Iterable[Route], version: str) -> list[Route]:
    """Return routes with those that describe them.

    Args:
        routes: the others.
        version: the version of Likewise.
    """
    found = list(routes)
    document: bytes = b""
    page: bytes = b""
    found += [
        Route(
            method="GET",
            path="/openapi.json",
            scope=Scope.PUBLIC,
            handle=lambda call: Answer(document),
            summary="Describe the routes, as OpenAPI 3.1.",
            answers={200: JSON.decode()},
        ),
        Route(
            method="GET",
            path="/docs",
            scope=Scope.PUBLIC,
            handle=lambda call: Answer(page, media_type=b"text/html; charset=utf-8", headers=_STRICT),
            summary="Describe the routes, as a page.",
            answers={200: "text/html"},
        ),
    ]
    described = openapi(found, version)
    document, page = msgspec.json.encode(described), _page(described).encode()
    return found


_STRICT = ((b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'"),)


def openapi(routes: Iterable[Route], version: str) -> dict[str, Any]:
    """Return the OpenAPI document of routes."""
    routes = list(routes)
    records: list[type[Struct]] = [Problem]
    for route in routes:
        records += [kind for kind in (route.body, *route.answers.values()) if isinstance(kind, type)]
    _, components = msgspec.json.schema_components(list(dict.fromkeys(records)), ref_template=_REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path = f"{route.path}{{id}}" if route.path.endswith("/") else route.path
        paths.setdefault(path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Likewise feature server", "version": version},
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"key": _KEY}},
    }


def _operation(route: Route) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "query", "description": said, "schema": {"type": "string", "enum": ["true", "false"]}}
        for name, said in route.query.items()
    ]
    parameters += [
        {"name": name, "in": "query", "description": f"With a table as the body: {said}", "schema": {"type": "string"}}
        for name, said in route.table_query.items()
    ]
    if route.body is not None:
        parameters.append(_DEADLINE)
    if route.path.endswith("/"):
        parameters.append({"name": "id", "in": "path", "required": True, "schema": {"type": "string"}})
    operation: dict[str, Any] = {
        "operationId": f"{route.method}{route.path}".strip("/").replace("/", "_").replace("-", "_").lower(),
        "summary": route.summary,
        "x-likewise-scope": route.scope.value,
        "responses": _responses(route),
    }
    if route.scope is not Scope.PUBLIC:
        operation["security"] = [{"key": []}, {}]
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        content = {media.decode(): {"schema": _body_schema(route.body, media)} for media in route.takes}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _responses(route: Route) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status, kind in route.answers.items():
        media, schema = (kind, {}) if isinstance(kind, str) else ("application/json", _schema(kind))
        content: dict[str, Any] = {media: {"schema": schema}}
        if status == HTTPStatus.OK:
            content |= {also.decode(): {} for also in route.gives}
        found[str(status)] = {"description": route.summary, "content": content}
    for code in (
        *_ALWAYS,
        *(_WITH_KEY if route.scope is not Scope.PUBLIC else ()),
        *(_WITH_BODY if route.body is not None else ()),
        *route.problems,
    ):
        known = KINDS[code]
        problem = {"schema": {"$ref": _REFERENCE.format(name="Problem")}}
        response = found.setdefault(str(known.status), {"description": "", "content": {}})
        said = [part for part in (response["description"], f"{code}: {known.title}") if part]
        response["description"] = "; ".join(said)
        response["content"][MEDIA_TYPE] = problem
    return dict(sorted(found.items()))


def _body_schema(record: type[Struct], media: bytes) -> dict[str, str]:
    return {"type": "string", "format": "binary"} if media == ARROW else _schema(record)


def _schema(record: type[Struct]) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(name=record.__name__)}


# The page


def _page(document: Mapping[str, Any]) -> str:
    title = escape(document["info"]["title"])
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{_STYLE}</style>",
        f"<h1>{title}</h1>"
        f"<p>Version {escape(document['info']['version'])}. For programs: <a href=openapi.json>openapi.json</a>.</p>",
    ]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts.append(f"<h2>{method.upper()} {escape(path)}</h2><p>{escape(operation['summary'])}</p>")
            parts.append(f"<p>Scope: {escape(operation['x-likewise-scope'])}</p>")
            body = operation.get("requestBody")
            if body is not None:
                media, told = next(iter(body["content"].items()))
                parts.append(f"<p>Body: {escape(', '.join(body['content']))}</p>")
                parts.append(_members(_referred(document, told["schema"])) if media == "application/json" else "")
            rows = ((status, told["description"]) for status, told in operation["responses"].items())
            parts.append(_table(("status", "meaning"), rows))
    return "".join(parts)


def _referred(document: Mapping[str, Any], schema: Mapping[str, str]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found


def _members(schema: Mapping[str, Any]) -> str:
    needed = schema.get("required", [])
    rows = (
        (name, "needed" if name in needed else "", told.get("description", ""))
        for name, told in schema["properties"].items()
    )
    return _table(("member", "", "meaning"), rows)


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{escape(text)}" for text in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(text)}" for text in row) for row in rows)
    return f"<table><tr>{head}{body}</table>"


_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    "h2{font:600 1.1rem ui-monospace,monospace;margin-top:2.5rem}table{border-collapse:collapse}"
    "td,th{text-align:left;vertical-align:top;padding:.2rem 1rem .2rem 0;border-bottom:1px solid #8886}"
)
