"""What FastAPI can't see: the bodies that routes read by themselves, described from the models of the records.

A route reads its body as bytes, so that size, JSON and fields are refused in our words; so OpenAPI is told here.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from schemas.records import Record

__all__ = ["PROBLEMS", "READ_PROBLEMS", "body", "json_body", "schema_of"]

PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    401: {"description": "No good token"},
    403: {"description": "The token's role, or its accounts, do not allow it"},
    404: {"description": "No such account, as far as the token sees"},
    413: {"description": "Too large"},
    422: {"description": "Not valid: `errors` names each field and how it must be"},
    503: {"description": "Not acknowledged by Kafka: do the same again, after `Retry-After` seconds"},
}
"""What every route that writes may answer, beside its success."""

READ_PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"description": "A parameter that is unknown, or whose value can't be"},
    401: PROBLEMS[401],
    403: PROBLEMS[403],
    404: PROBLEMS[404],
    503: {"description": "ClickHouse does not answer: ask again, after `Retry-After` seconds"},
}
"""What every route that reads the tables may answer, beside its success."""


def schema_of(
    kind: type[Record], *, optional: Sequence[str] = (), more: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the JSON Schema of a record, complete in itself; `optional` fields may be left out of a body."""
    schema = kind.model_json_schema(by_alias=True)
    whole: dict[str, Any] = _inlined(schema, schema.get("$defs", {}))
    whole["required"] = [name for name in whole["required"] if name not in optional]
    whole["properties"] |= more or {}
    return whole


def json_body(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a route says of a JSON body, for its `openapi_extra`."""
    return body({"application/json": schema})


def body(schemas: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what a route says of its body: a schema for each content type."""
    content = {kind: {"schema": schema} for kind, schema in schemas.items()}
    return {"requestBody": {"required": True, "content": content}}


def _inlined(value: Any, parts: Mapping[str, Any]) -> Any:
    """The schema without references: they would lead to the root of the whole document."""
    if isinstance(value, list):
        return [_inlined(item, parts) for item in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        return _inlined(parts[value["$ref"].rpartition("/")[2]], parts)
    return {name: _inlined(item, parts) for name, item in value.items() if name != "$defs"}
