"""The reference page of the HTTP API, generated from the OpenAPI document that every gateway serves.

In:  the document. Out: `docs/reference/http.md`: an overview, a section for each operation, the models of the answers.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import orjson

from gateway.app import create_app
from gateway.openapi import PROBLEM_JSON, REF
from projections.store import Store
from schemas.settings import GatewaySettings, read
from schemas.telemetry import Telemetry
from tests.fakes import FakeKafka

__all__ = ["http_document", "http_sections", "sentence"]

_CODE_IN_ANSWER: Final = re.compile(r"\(`([a-z-]+)`\)")
_PATH_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_IN_PATHS: Final = {
    "account_id": "acme",
    "email_id": "$ID",
    "event_id": "$EVENT_ID",
    "id": "$BULK_ID",
    "letter": "3:17",
    "channel": "email",
    "address": "ann@example.com",
    "recipient_kind": "client",
    "recipient_id": "c-17",
}
_MEDIA: Final = {"application/json": "JSON", "text/csv": "CSV", "application/x-ndjson": "NDJSON", "text/plain": "text"}

Table = Any


def http_document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    settings = read(
        GatewaySettings, token_secret="x" * 40, kafka_bootstrap="127.0.0.1:1", clickhouse_url="http://127.0.0.1:1"
    )
    document: dict[str, Any] = create_app(settings, Store("http://127.0.0.1:1"), FakeKafka(), Telemetry()).openapi()
    return document


def http_sections(document: Mapping[str, Any], table: Table) -> Iterator[str]:
    """Yield the sections of the page; `table` makes a table of a head and rows."""
    operations = [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    yield table(
        ("route", "does", "roles"),
        (
            (
                f"[`{method} {path}`](#{operation['operationId'].lower()})",
                _first(operation),
                ", ".join(operation["x-roles"]) or "",
            )
            for method, path, operation in operations
        ),
    )
    for method, path, operation in operations:
        yield from _operation(method, path, operation, table)
    yield "## Models\n\nFields may be added to a response; none is renamed.\n"
    for name, schema in document["components"]["schemas"].items():
        if schema.get("type") == "object":
            yield f"### {name}\n\n{schema.get('description', '')}\n"
            yield table(("field", "is", "meaning"), _fields(schema))


def _operation(method: str, path: str, operation: Mapping[str, Any], table: Table) -> Iterator[str]:
    yield f"## {operation['operationId']}\n\n`{method} {path}`\n\n{operation['description']}\n"
    if parameters := operation.get("parameters"):
        yield table(("parameter", "in", "is", "default", "meaning"), map(_parameter, parameters))
    content = operation.get("requestBody", {}).get("content", {})
    for media, body in content.items():
        schema = body["schema"].get("oneOf", [body["schema"]])[0]
        if schema.get("properties"):
            yield "Body, or a list of such:\n" if "oneOf" in body["schema"] else "Body:\n"
            yield table(("field", "is", "", "meaning"), _body_fields(schema))
        elif "description" in schema:
            yield f"Body, `{media}`: {schema['description'][0].lower()}{schema['description'][1:]}.\n"
    yield from _example(method, path, operation, content)
    yield table(("status", "body", "means"), _responses(operation["responses"]))


def _example(method: str, path: str, operation: Mapping[str, Any], content: Mapping[str, Any]) -> Iterator[str]:
    """The call with curl."""
    if not operation["x-roles"]:
        return
    filled = _PATH_PARAMETER.sub(lambda match: _IN_PATHS[match[1]], path)
    call = f'curl -s -H "Authorization: Bearer $TOKEN" "$API{filled}"'
    if method != "GET":
        call = call.replace("curl -s", "curl -s" + (f" -X {method}" if method != "POST" else ""))
        example = next(iter(content.values()))["example"]
        text = example if isinstance(example, str) else orjson.dumps(example, option=orjson.OPT_INDENT_2).decode()
        call += f" --data-binary @- <<'END'\n{text.rstrip()}\nEND"
    yield f"```sh\n{call}\n```\n"


def _first(operation: Mapping[str, Any]) -> str:
    """The first sentence of a description."""
    text = " ".join(operation["description"].partition("\n\n")[0].split())
    return text.partition(". ")[0].rstrip(".:")


def _parameter(parameter: Mapping[str, Any]) -> tuple[str, ...]:
    schema = parameter["schema"]
    default = schema.get("default")
    shown = (
        "required" if parameter.get("required") else "" if default is None else f"`{orjson.dumps(default).decode()}`"
    )
    bounds = f" From {schema['minimum']} to {schema['maximum']}." if "maximum" in schema else ""
    name = f"`{parameter['name']}`"
    return name, parameter["in"], _type(schema), shown, sentence(parameter["description"]) + bounds


def _responses(responses: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for status, response in responses.items():
        content = response.get("content", {})
        if PROBLEM_JSON in content:
            text = _CODE_IN_ANSWER.sub(
                lambda match: f"([`{match[1]}`](problems.md#{match[1]}))", response["description"]
            )
            yield status, "[Problem](#problem)", text
            continue
        kinds = [
            _type(media["schema"]) if "$ref" in media["schema"] else _MEDIA.get(kind, kind)
            for kind, media in content.items()
        ]
        yield status, " or ".join(kinds), response["description"]


def _body_fields(schema: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, ...]]:
    required = schema.get("required", ())
    for name, field in schema["properties"].items():
        inner = _object(field)
        needed = "required" if name in required else ""
        kind = "object" if inner else _type(field)
        yield f"`{prefix}{name}`", kind, needed, sentence(field.get("description", ""))
        if inner:
            yield from _body_fields(inner, f"{prefix}{name}.")


def _object(schema: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The object that a field is, or is if it is not null."""
    options: Iterable[Mapping[str, Any]] = schema.get("anyOf", [schema])
    return next((option for option in options if "properties" in option), None)


def _fields(schema: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name, field in schema["properties"].items():
        yield f"`{name}`", _type(field), sentence(field.get("description", ""))


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(REF)
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" if value else "blank" for value in schema.get("enum", [schema.get("const")]))
    kinds: Sequence[str] = schema["type"] if isinstance(schema.get("type"), list) else [schema.get("type", "")]
    if "array" in kinds:
        return f"list of {_type(schema['items'])}"
    if schema.get("format") == "date-time":
        return "time"
    names = {"string": "text", "integer": "number", "boolean": "true or false", "object": "object"}
    return " or ".join(names.get(kind, kind) for kind in kinds)


def sentence(text: str) -> str:
    """Return the text with a full stop."""
    return text if text.endswith(".") or not text else f"{text}."
