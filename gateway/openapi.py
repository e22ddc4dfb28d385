"""What FastAPI can't see of the routes: who may call them, what they answer, the bodies that they read by themselves.

In:  for each route, `operation(…)`: its name, its roles, its answers, the codes of its problems, its body.
Out: an OpenAPI 3.1 document, complete: each success has a model, each problem is `application/problem+json` with the
codes that it may have, and no answer is named that never comes.

A route reads its body as bytes, so that size, JSON and fields are refused in our words; so the document is told here.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway.answers import Problem
from gateway.problem_codes import KINDS, ProblemKind
from schemas.records import Record

__all__ = [
    "LIST_CODES",
    "READ_CODES",
    "WRITE_CODES",
    "Answer",
    "Body",
    "describe",
    "operation",
    "schema_of",
]

REF: Final = "#/components/schemas/"
EXAMPLE_REF: Final = "#/components/examples/"
HEADER_REF: Final = "#/components/headers/"
PROBLEM_JSON: Final = "application/problem+json"

_TOKEN_CODES: Final = ("token-missing", "token-invalid", "role-not-allowed", "rate-limited")
_OURS: Final = ("internal-error", "timed-out", "overloaded")
_PARAMETER_CODES: Final = ("unknown-parameter", "repeated-parameter", "invalid-parameter")
READ_CODES: Final = (*_PARAMETER_CODES, *_TOKEN_CODES, "no-such-account", "too-many-reads", "clickhouse-away", *_OURS)
"""The problems of every route that reads the tables."""
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
    *_OURS,
)
"""The problems of every route that writes."""

_DESCRIPTION: Final = """\
What became of every email and SMS: requests in, decisions and events out.

- **Tokens**: `Authorization: Bearer TOKEN`, made by `sendledger token create`. A token names its accounts and one role.
- **Accounts**: an account that a token does not cover answers as one that does not exist: 404.
- **Errors** are `application/problem+json`; act on their `code`. Every answer has a `request-id`.
- **Lists** answer `{items, next}`: give `next` as `cursor` for the next page, with the same filters.
- **Names**: unknown parameters are 400, unknown fields of a body 422. Fields may be added to answers.
"""
_TAGS: Final = (
    ("sends", "Ask for messages to be sent, and hear what was decided"),
    ("messages", "What became of them"),
    ("suppressions", "Addresses that nothing is sent to"),
    ("bounces", "Addresses that messages bounced from"),
    ("stats", "Counts and rates"),
    ("accounts", "Accounts, their policies, and what their recipients wish"),
    ("webhooks", "For providers alone"),
    ("health", "For probes and Prometheus: no token"),
)
_SECURITY: Final = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "Made by `sendledger token create`",
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
        "description": "Names the request in the gateway's log",
        "schema": {"type": "string", "format": "uuid"},
    },
    "Retry-After": {"description": "Seconds to wait before the same again", "schema": {"type": "integer"}},
}
_WORDS: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


class Answer(NamedTuple):
    """A success: what it means, and its model or, where it is no JSON, the media types that it may have."""

    description: str
    model: type[BaseModel] | None = None
    media: Sequence[str] = ()
    example: Any = None


class Body(NamedTuple):
    """What a route reads: the schema of each media type, and an example of some."""

    media: Mapping[str, Mapping[str, Any]]
    examples: Mapping[str, Any] = {}


def operation(
    name: str,
    answers: Mapping[int, Answer],
    *,
    roles: Sequence[str] = (),
    codes: Sequence[str] = (),
    body: Body | None = None,
    security: str | None = "token",
) -> dict[str, Any]:
    """Return what a route's decorator is given beside its path."""
    responses = {status: _success(answer) for status, answer in answers.items()}
    for status in {KINDS[code].status for code in codes}:
        responses[status] = _problems([KINDS[code] for code in dict.fromkeys(codes) if KINDS[code].status == status])
    _TOLD[name] = {
        "x-roles": list(roles),
        "security": [{security: []}] if security else [],
        "responses": {str(status): response for status, response in sorted(responses.items())},
    } | (_body(body) if body else {})
    _MODELS.update({answer.model.__name__: answer.model for answer in answers.values() if answer.model})
    return {"operation_id": name, "status_code": min(answers), "response_model": None}


_TOLD: Final[dict[str, dict[str, Any]]] = {}
"""What `operation` was told, by its name. FastAPI would change it on its way: it drops what is null."""
_MODELS: Final[dict[str, type[BaseModel]]] = {"Problem": Problem}


def schema_of(
    kind: type[Record], *, optional: Sequence[str] = (), more: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the JSON Schema of a record as a body: complete in itself, and closed, since unknown fields are 422.

    `optional` fields may be left out of a body; `more` are fields that only a body has.
    """
    schema = kind.model_json_schema(by_alias=True)
    whole: dict[str, Any] = _closed(_inlined(schema, schema.get("$defs", {})))
    whole["required"] = [name for name in whole["required"] if name not in optional]
    # Null is left out, here as in the fields that a record may lack.
    whole["properties"] |= {name: _or_null(whole["properties"][name]) for name in optional}
    whole["properties"] |= more or {}
    return whole


def describe(app: FastAPI) -> None:
    """Make `app.openapi()` the complete document."""
    made = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(made(), app.state.public_path)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign] # FastAPI's own way to do it


def _problems(kinds: Sequence[ProblemKind]) -> dict[str, Any]:
    examples = {kind.code: {"$ref": f"{EXAMPLE_REF}{kind.code}"} for kind in kinds}
    said = "; ".join(f"{kind.title} (`{kind.code}`)" for kind in kinds)
    content = {PROBLEM_JSON: {"schema": {"$ref": f"{REF}Problem"}, "examples": examples}}
    headers = ["request-id", "Retry-After"] if kinds[0].status in (429, 503) else ["request-id"]
    return {"description": said, "headers": _headers(headers), "content": content}


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


def _success(answer: Answer) -> dict[str, Any]:
    content: dict[str, Any] = {media: {"schema": {"type": "string"}} for media in answer.media}
    if answer.model is not None:
        content["application/json"] = {"schema": {"$ref": f"{REF}{answer.model.__name__}"}}
        if answer.example is not None:
            content["application/json"]["example"] = answer.example
    said = {"description": answer.description, "headers": _headers(["request-id"])}
    return said | ({"content": content} if content else {})


def _body(body: Body) -> dict[str, Any]:
    content = {
        media: {"schema": schema} | ({"example": body.examples[media]} if media in body.examples else {})
        for media, schema in body.media.items()
    }
    return {"requestBody": {"required": True, "content": content}}


def _completed(document: dict[str, Any], public_path: str) -> dict[str, Any]:
    document["info"]["description"] = _DESCRIPTION
    document["servers"] = [{"url": f"{public_path}/", "description": "This gateway"}]
    document["tags"] = [{"name": name, "description": said} for name, said in _TAGS]
    for methods in document["paths"].values():
        for method, said in methods.items():
            methods[method] = _whole(said)
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


def _whole(said: dict[str, Any]) -> dict[str, Any]:
    """An operation with what `operation` was told; FastAPI's own answers are left out: a bad parameter is our 400."""
    told = _TOLD[said["operationId"]] | {"summary": _WORDS.sub(" ", said["operationId"]).capitalize()}
    if roles := told["x-roles"]:
        said = said | {"description": f"{said['description']}\n\nRoles: {', '.join(roles)}."}
    for parameter in said.get("parameters", ()):
        parameter["schema"] = _never_null(parameter["schema"])
    return said | told


def _never_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a parameter: it is left out, and never null."""
    options = [option for option in schema.pop("anyOf", ()) if option.get("type") != "null"]
    schema.pop("title", None)
    schema.pop("description", None)  # it stands beside it
    return (options[0] if options else {}) | schema


def _or_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    beside = {name: schema[name] for name in ("title", "description") if name in schema}
    kept = {name: value for name, value in schema.items() if name not in beside}
    return {"anyOf": [kept, {"type": "null"}]} | beside


def _inlined(value: Any, parts: Mapping[str, Any]) -> Any:
    """The schema without references: they would lead to the root of the whole document."""
    if isinstance(value, list):
        return [_inlined(item, parts) for item in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        return _inlined(parts[value["$ref"].rpartition("/")[2]], parts)
    return {name: _inlined(item, parts) for name, item in value.items() if name != "$defs"}


def _closed(value: Any) -> Any:
    """The schema with every object closed whose fields it names."""
    if isinstance(value, list):
        return [_closed(item) for item in value]
    if not isinstance(value, dict):
        return value
    closed = {name: _closed(item) for name, item in value.items()}
    return closed | {"additionalProperties": False} if isinstance(value.get("properties"), dict) else closed
