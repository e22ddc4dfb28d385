"""Adds to the OpenAPI document what FastAPI can't infer: roles, responses, and bodies that routes read themselves.

In:  for each route, `operation(…)`: its name, roles, responses, problem codes and body.
Out: a complete OpenAPI 3.1 document: each success has a model, each problem is `application/problem+json` with its
possible codes, and no response is listed that never occurs.

Routes read their bodies as bytes, so that size, JSON and fields are refused with our own problems. So the schema of
each body is declared here.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway.api.models.common import Problem
from gateway.problem_codes import KINDS, ProblemKind
from schemas.records import Record

__all__ = [
    "LIST_CODES",
    "READ_CODES",
    "WRITE_CODES",
    "BodySpec",
    "ResponseSpec",
    "describe",
    "operation",
    "schema_of",
]

REF: Final = "#/components/schemas/"
EXAMPLE_REF: Final = "#/components/examples/"
HEADER_REF: Final = "#/components/headers/"
PROBLEM_JSON: Final = "application/problem+json"

_TOKEN_CODES: Final = ("token-missing", "token-invalid", "role-not-allowed", "rate-limited")
_SERVER_CODES: Final = ("internal-error", "timed-out", "overloaded")
_PARAMETER_CODES: Final = ("unknown-parameter", "repeated-parameter", "invalid-parameter")
READ_CODES: Final = (
    *_PARAMETER_CODES,
    *_TOKEN_CODES,
    "no-such-account",
    "too-many-reads",
    "clickhouse-away",
    *_SERVER_CODES,
)
"""The problem codes of every route that reads from ClickHouse."""
LIST_CODES: Final = (*READ_CODES, "account-required", "invalid-cursor")
WRITE_CODES: Final = (
    *_PARAMETER_CODES,
    *_TOKEN_CODES,
    "no-such-account",
    "malformed-json",
    "body-too-slow",
    "too-large",
    "invalid-body",
    "kafka-away",
    *_SERVER_CODES,
)
"""The problem codes of every route that writes to Kafka."""

_DESCRIPTION: Final = """\
What became of every email and SMS: requests in, decisions and events out.

- **Tokens**: `Authorization: Bearer TOKEN`, made by `sendledger token create`. A token names its accounts and one role.
- **Accounts**: an account that a token does not cover is answered like one that does not exist: 404.
- **Errors** are `application/problem+json`; act on their `code`. Every answer has a `request-id`.
- **Lists** answer `{items, next}`: give `next` as `cursor` for the next page, with the same filters.
- **Names**: unknown parameters are 400, unknown fields of a body 422. Fields may be added to answers.
"""
_TAGS: Final = (
    ("sends", "Request messages to be sent, and get the decisions"),
    ("messages", "What became of each message"),
    ("suppressions", "Addresses that nothing is sent to"),
    ("bounces", "Addresses that messages bounced from"),
    ("stats", "Counts and rates"),
    ("accounts", "Accounts, their policies, and the preferences of their recipients"),
    ("dead-letters", "Records that could not be processed: for operators of all accounts"),
    ("webhooks", "Called by the providers only"),
    ("health", "For probes and Prometheus: no token"),
)
_SECURITY: Final = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "Created by `sendledger token create`",
    },
    "sendgridSignature": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Twilio-Email-Event-Webhook-Signature",
        "description": "ECDSA over timestamp and body",
    },
    "twilioSignature": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Twilio-Signature",
        "description": "HMAC over the URL and the form",
    },
    "postmarkPassword": {
        "type": "http",
        "scheme": "basic",
        "description": "The user and password of the webhook's URL",
    },
}
_HEADERS: Final = {
    "request-id": {
        "description": "Identifies the request in the gateway's log",
        "schema": {"type": "string", "format": "uuid"},
    },
    "Retry-After": {"description": "Seconds to wait before retrying", "schema": {"type": "integer"}},
}
_WORDS: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


class ResponseSpec(NamedTuple):
    """A success response: its description, and its model or, if it is not JSON, its media types."""

    description: str
    model: type[BaseModel] | None = None
    media: Sequence[str] = ()
    example: Any = None


class BodySpec(NamedTuple):
    """A request body: the schema of each media type, and examples."""

    media: Mapping[str, Mapping[str, Any]]
    examples: Mapping[str, Any] = {}


def operation(
    name: str,
    answers: Mapping[int, ResponseSpec],
    *,
    roles: Sequence[str] = (),
    codes: Sequence[str] = (),
    body: BodySpec | None = None,
    security: str | None = "token",
) -> dict[str, Any]:
    """Return the keyword arguments for a route's decorator."""
    responses = {status: _success(answer) for status, answer in answers.items()}
    for status in {KINDS[code].status for code in codes}:
        responses[status] = _problems([KINDS[code] for code in dict.fromkeys(codes) if KINDS[code].status == status])
    _DECLARED[name] = {
        "x-roles": list(roles),
        "security": [{security: []}] if security else [],
        "responses": {str(status): response for status, response in sorted(responses.items())},
    } | (_body(body) if body else {})
    _MODELS.update({answer.model.__name__: answer.model for answer in answers.values() if answer.model})
    return {"operation_id": name, "status_code": min(answers), "response_model": None}


_DECLARED: Final[dict[str, dict[str, Any]]] = {}
"""The declared parts of each operation, by its name. Passed through FastAPI, null values would be dropped."""
_MODELS: Final[dict[str, type[BaseModel]]] = {"Problem": Problem}


def schema_of(
    kind: type[Record], *, optional: Sequence[str] = (), more: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the JSON Schema of a record as a body: without references, and closed, since unknown fields are 422.

    `optional` fields may be omitted from a body; `more` are fields that only a body has.
    """
    schema = kind.model_json_schema(by_alias=True)
    whole: dict[str, Any] = _without_extra_fields(_without_references(schema, schema.get("$defs", {})))
    whole["required"] = [name for name in whole.get("required", ()) if name not in optional]
    # Null means omitted, as in the optional fields of a record.
    whole["properties"] |= {name: _or_null(whole["properties"][name]) for name in optional}
    whole["properties"] |= more or {}
    return whole


def describe(app: FastAPI) -> None:
    """Make `app.openapi()` return the complete document."""
    made = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _complete_document(made(), app.state.public_path)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign] # FastAPI's own way to do it


def _problems(kinds: Sequence[ProblemKind]) -> dict[str, Any]:
    examples = {kind.code: {"$ref": f"{EXAMPLE_REF}{kind.code}"} for kind in kinds}
    description = "; ".join(f"{kind.title} (`{kind.code}`)" for kind in kinds)
    content = {PROBLEM_JSON: {"schema": {"$ref": f"{REF}Problem"}, "examples": examples}}
    headers = ["request-id", "Retry-After"] if kinds[0].status in (429, 503) else ["request-id"]
    return {"description": description, "headers": _headers(headers), "content": content}


def _headers(names: Sequence[str]) -> dict[str, Any]:
    return {name: {"$ref": f"{HEADER_REF}{name}"} for name in names}


def _example(kind: ProblemKind) -> dict[str, Any]:
    return {
        "type": kind.type,
        "title": kind.title,
        "status": kind.status,
        "detail": kind.meaning,
        "instance": "/v1/…",
        "code": kind.code,
        "request_id": "0199d29b-09c0-7abc-8def-0123456789ab",
    }


def _success(answer: ResponseSpec) -> dict[str, Any]:
    content: dict[str, Any] = {media: {"schema": {"type": "string"}} for media in answer.media}
    if answer.model is not None:
        content["application/json"] = {"schema": {"$ref": f"{REF}{answer.model.__name__}"}}
        if answer.example is not None:
            content["application/json"]["example"] = answer.example
    response = {"description": answer.description, "headers": _headers(["request-id"])}
    return response | ({"content": content} if content else {})


def _body(body: BodySpec) -> dict[str, Any]:
    content = {
        media: {"schema": schema} | ({"example": body.examples[media]} if media in body.examples else {})
        for media, schema in body.media.items()
    }
    return {"requestBody": {"required": True, "content": content}}


def _complete_document(document: dict[str, Any], public_path: str) -> dict[str, Any]:
    document["info"]["description"] = _DESCRIPTION
    document["servers"] = [{"url": f"{public_path}/", "description": "This gateway"}]
    document["tags"] = [{"name": name, "description": description} for name, description in _TAGS]
    for methods in document["paths"].values():
        for method, generated in methods.items():
            methods[method] = _complete_operation(generated)
    _, models = models_json_schema(
        [(model, "serialization") for model in _MODELS.values()], ref_template=f"{REF}{{model}}", by_alias=True
    )
    parts = {
        "schemas": dict(sorted(models["$defs"].items())),
        "examples": {code: {"summary": kind.title, "value": _example(kind)} for code, kind in KINDS.items()},
        "headers": _HEADERS,
        "securitySchemes": _SECURITY,
    }
    return document | {"components": parts}


def _complete_operation(generated: dict[str, Any]) -> dict[str, Any]:
    """An operation with its declared parts. FastAPI's default responses go: an invalid parameter is 400 here."""
    declared = _DECLARED[generated["operationId"]] | {"summary": _WORDS.sub(" ", generated["operationId"]).capitalize()}
    if roles := declared["x-roles"]:
        generated = generated | {"description": f"{generated['description']}\n\nRoles: {', '.join(roles)}."}
    for parameter in generated.get("parameters", ()):
        parameter["schema"] = _non_null(parameter["schema"])
    return generated | declared


def _non_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a parameter, without null: a parameter is omitted instead."""
    options = [option for option in schema.pop("anyOf", ()) if option.get("type") != "null"]
    schema.pop("title", None)
    schema.pop("description", None)  # the parameter has it already
    return (options[0] if options else {}) | schema


def _or_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    beside = {name: schema[name] for name in ("title", "description") if name in schema}
    kept = {name: value for name, value in schema.items() if name not in beside}
    return {"anyOf": [kept, {"type": "null"}]} | beside


def _without_references(value: Any, parts: Mapping[str, Any]) -> Any:
    """The schema without references: they would resolve against the root of the OpenAPI document."""
    if isinstance(value, list):
        return [_without_references(item, parts) for item in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        return _without_references(parts[value["$ref"].rpartition("/")[2]], parts)
    return {name: _without_references(item, parts) for name, item in value.items() if name != "$defs"}


def _without_extra_fields(value: Any) -> Any:
    """The schema with `additionalProperties: false` in every object that lists its properties."""
    if isinstance(value, list):
        return [_without_extra_fields(item) for item in value]
    if not isinstance(value, dict):
        return value
    closed = {name: _without_extra_fields(item) for name, item in value.items()}
    return closed | {"additionalProperties": False} if isinstance(value.get("properties"), dict) else closed
