"""Rules for the fields of a request, checked before the model and the decoder: they bound the cost of both.

In:  the JSON object of a request, and the model of its record. Out: up to MAX_FAULTS faults, each naming its field.

Records in Kafka are read more leniently, since they are written already: they may have unknown fields, and any text as
an address (the gate answers `address_invalid`). So these rules apply to requests only and are not in the published
models.
"""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from itertools import islice
from typing import Any, Final, NamedTuple, get_args, get_origin

import orjson
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from application.errors import MAX_FAULTS, ValidationFault

__all__ = [
    "MAX_ADDRESS_CHARACTERS",
    "MAX_CC",
    "container_faults",
    "faults_of",
    "is_one_line",
    "size_faults",
    "text_faults",
    "unknown_fault",
    "unknown_faults",
]

MAX_ADDRESS_CHARACTERS: Final = 320
"""No address is longer (docs/reference/records.md), and normalising a text takes time quadratic in its length."""
MAX_CC: Final = 50

_ADDRESSES: Final = ("to", "address")
_ONE_LINE: Final = ("to", "address", "from", "sender", "subject")
_BREAKS: Final = ("\r", "\n", "\0")
_COMPARED_CHARACTERS: Final = 64
_VALUE_ERROR: Final = "Value error, "


class _FieldType(NamedTuple):
    """The type of a field: a nested model, or a list or map with elements of one type; else both are None."""

    model: type[BaseModel] | None = None
    element: TypeAdapter[Any] | None = None


def is_one_line(text: str) -> bool:
    """Return whether a text has no CR, LF or NUL: each would end a mail header."""
    return not any(sign in text for sign in _BREAKS)


def size_faults(raw: Mapping[str, object], limit: int) -> list[ValidationFault]:
    """Return a fault for an object of more than `limit` bytes of JSON; it names the largest field."""
    sizes = {}
    for name, value in raw.items():
        try:
            sizes[name] = len(orjson.dumps(value))
        except orjson.JSONEncodeError:  # nested too deeply, or a lone surrogate from a command line
            return [ValidationFault(name, "must be text in valid UTF-8, or JSON that is nested less deeply")]
    total = sum(sizes.values()) + sum(len(name.encode()) + 4 for name in sizes) + 1
    if total <= limit:
        return []
    return [
        ValidationFault(
            max(sizes, key=lambda name: sizes[name]), f"is too long: {total} bytes; all fields may have {limit}"
        )
    ]


def container_faults(kind: type[BaseModel], raw: Mapping[str, object]) -> list[ValidationFault]:
    """Return the first faults in the lists and maps of an object: elements that the model refuses, and too many CCs.

    The model itself would report all of them, each with a path: 39 MB for a body of 1 MiB.
    """
    return list(islice(_container_faults(kind, raw, ""), MAX_FAULTS))


def unknown_faults(
    kind: type[BaseModel], raw: Mapping[str, object], *, known: Sequence[str] = (), prefix: str = ""
) -> list[ValidationFault]:
    """Return the first fields that the model and its nested models don't have. `known` overrides the allowed fields."""
    return list(islice(_unknown_faults(kind, raw, known, prefix), MAX_FAULTS))


def _container_faults(kind: type[BaseModel], raw: Mapping[str, object], prefix: str) -> Iterator[ValidationFault]:
    for name, type_ in _field_types(kind).items():
        value, path = raw.get(name), f"{prefix}{name}"
        if type_.model is not None and isinstance(value, dict):
            yield from _container_faults(type_.model, value, f"{path}.")
        if name == "cc" and isinstance(value, list) and len(value) > MAX_CC:
            yield ValidationFault(path, f"must have at most {MAX_CC} addresses; it has {len(value)}")
        elif type_.element is not None:
            yield from _element_faults(type_.element, value, path)


def _unknown_faults(
    kind: type[BaseModel], raw: Mapping[str, object], known: Sequence[str], prefix: str
) -> Iterator[ValidationFault]:
    types = _field_types(kind)
    may_be = known or tuple(types)
    for name, value in raw.items():
        model = types[name].model if name in types else None
        if name not in may_be:
            yield unknown_fault(name, may_be, prefix)
        elif model is not None and isinstance(value, dict):
            yield from _unknown_faults(model, value, (), f"{prefix}{name}.")


def unknown_fault(name: str, known: Sequence[str], prefix: str = "", what: str = "field") -> ValidationFault:
    """Return the fault for an unknown field; it suggests a similar field, or else lists all fields."""
    near = get_close_matches(name[:_COMPARED_CHARACTERS].lower(), known, n=1)
    mend = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(f'`{each}`' for each in sorted(known))}"
    return ValidationFault(f"{prefix}{name}", f"is an unknown {what}: {mend}")


def text_faults(raw: Mapping[str, object]) -> Iterator[ValidationFault]:
    """Yield the addresses that are too long, and the texts that contain a line break."""
    cc = raw.get("cc")
    copies = {f"cc.{n}": text for n, text in enumerate(cc[:MAX_CC])} if isinstance(cc, list) else {}
    texts = {name: raw[name] for name in _ONE_LINE if name in raw} | copies
    for name, text in texts.items():
        if not isinstance(text, str):
            continue
        is_address = name in _ADDRESSES or name in copies
        if is_address and len(text) > MAX_ADDRESS_CHARACTERS:
            yield ValidationFault(name, f"must have at most {MAX_ADDRESS_CHARACTERS} characters; it has {len(text)}")
        elif not is_one_line(text):
            yield ValidationFault(name, "must be one line: no CR, LF or NUL")


def faults_of(error: ValidationError) -> list[ValidationFault]:
    """Return the faults that a model reports, without the invalid values."""
    details = error.errors(include_input=False, include_url=False, include_context=False)
    return [ValidationFault(".".join(map(str, e["loc"])), e["msg"].removeprefix(_VALUE_ERROR)) for e in details]


def _element_faults(element: TypeAdapter[Any], value: object, path: str) -> Iterator[ValidationFault]:
    """The elements that the model refuses. Strings are skipped: no model of ours refuses one."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        if isinstance(item, str):
            continue
        try:
            element.validate_python(item)
        except ValidationError as error:
            yield ValidationFault(f"{path}.{name}", faults_of(error)[0].problem)


@lru_cache
def _field_types(kind: type[BaseModel]) -> dict[str, _FieldType]:
    """The fields of a model, by their JSON names."""
    return {field.alias or name: _field_type(field.annotation) for name, field in kind.model_fields.items()}


def _field_type(annotation: Any) -> _FieldType:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _FieldType(model=annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (list, dict):
        return _FieldType(element=TypeAdapter(arguments[-1], config=ConfigDict(strict=True)))
    for argument in arguments if origin is not None else ():  # the parts of an optional
        found = _field_type(argument)
        if found != _FieldType():
            return found
    return _FieldType()
