"""The operations of the OpenAPI document, and every place of a request where a caller can put a value.

Everything is derived from the document, so that a test which walks over operations and places also covers those that
somebody adds tomorrow.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from application.import_files import COLUMNS
from tests.gateway.conforming import document

__all__ = ["Body", "Operation", "Place", "closed_values", "encoded", "operations", "put"]

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A parameter, or a field of the body."""

    where: str
    """`path`, `query`, `header` or `body`."""
    path: Path
    """The parameter's name; of a field, the names that lead to it, with 0 for an element of a list."""
    schema: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The names without places in lists: `recipient.id`."""
        return ".".join(part for part in self.path if isinstance(part, str))

    @property
    def required(self) -> bool:
        """Whether there is no request without it."""
        return self.where == "path"


class Body(NamedTuple):
    """A body that an operation takes: its media type, an example, and the fields that it may have."""

    media: str
    example: Any
    places: Sequence[Place]


class Operation(NamedTuple):
    """One method of one path."""

    name: str
    method: str
    path: str
    roles: Sequence[str]
    takes_token: bool
    parameters: Sequence[Place]
    bodies: Sequence[Body | None]
    """None: no body."""

    @property
    def has_cursor(self) -> bool:
        """Whether it is a list that is read page by page."""
        return any(place.name == "cursor" for place in self.parameters)


def operations() -> list[Operation]:
    """Every operation of the document."""
    return [
        _operation(path, method, said)
        for path, methods in document()["paths"].items()
        for method, said in methods.items()
    ]


def _operation(path: str, method: str, said: Mapping[str, Any]) -> Operation:
    kinds = {p["in"] for p in said.get("parameters", ())}
    assert kinds <= {"path", "query", "header"}, f"tests of tenancy can't put values into {kinds}: teach Gateway.ask"
    parameters = [Place(p["in"], (p["name"],), p["schema"]) for p in said.get("parameters", ())]
    takes_token = any("token" in each for each in said["security"])
    contents = said["requestBody"]["content"] if "requestBody" in said and takes_token else {}
    bodies: Sequence[Body | None] = [_body(media, content) for media, content in contents.items()]
    return Operation(
        said["operationId"], method.upper(), path, said["x-roles"], takes_token, parameters, bodies or [None]
    )


def _body(media: str, content: Mapping[str, Any]) -> Body:
    assert media in _ENCODERS, f"tests/gateway/operations.py can't write {media}: add it to _ENCODERS"
    if media == "application/json":
        return Body(media, content["example"], list(_fields(content["schema"], ())))
    # A line of a file has the fields of one suppression; the document only describes them in prose.
    one = document()["paths"]["/v1/suppressions"]["post"]["requestBody"]["content"]["application/json"]
    places = [place for place in _fields(one["schema"], ()) if place.name in COLUMNS]
    return Body(media, one["example"], places)


def _fields(schema: Mapping[str, Any], path: Path) -> Iterator[Place]:
    """Every field that is neither an object nor a list."""
    if options := schema.get("anyOf") or schema.get("oneOf"):
        for option in options:
            yield from _fields(option, path)
    elif "properties" in schema:
        for name, part in schema["properties"].items():
            yield from _fields(part, (*path, name))
    elif "items" in schema:
        yield from _fields(schema["items"], (*path, 0))
    elif isinstance(schema.get("additionalProperties"), dict):
        yield from _fields(schema["additionalProperties"], (*path, "*"))
    elif schema.get("type") != "null":
        yield Place("body", path, schema)


def closed_values(schema: Mapping[str, Any]) -> list[Any] | None:
    """The values of a place that has no room for a name of anybody's; None for free text."""
    if "items" in schema:
        return closed_values(schema["items"])
    if "enum" in schema:
        return list(schema["enum"])
    if schema.get("type") == "boolean":
        return [True, False]
    if schema.get("type") == "integer":
        return [schema.get("minimum", 1)]
    return None


def put(body: Any, path: Path, value: Any) -> Any:
    """Return a copy of a body with `value` at `path`."""
    if not path:
        return value
    first, *rest = path
    if isinstance(first, int):
        elements = body if isinstance(body, list) and body else [body if rest else None]
        return [put(elements[0], tuple(rest), value), *elements[1:]]
    known = deepcopy(body) if isinstance(body, dict) else {}
    known[first] = put(known.get(first), tuple(rest), value)
    return known


def encoded(media: str, body: Any) -> bytes:
    """The bytes of a body."""
    return _ENCODERS[media](body)


def _csv(row: Mapping[str, Any]) -> bytes:
    lines = (row.keys(), row.values())
    return "\n".join(",".join(f'"{cell}"' for cell in line) for line in lines).encode()


_ENCODERS: Final[Mapping[str, Callable[[Any], bytes]]] = {
    "application/json": orjson.dumps,
    "application/x-ndjson": orjson.dumps,
    "text/csv": _csv,
}
