"""What the fields of a request may be, looked at before its model and its decoder: the checks that bound their cost.

In:  the JSON object that is asked for, and the model of the record that it is to become.
Out: faults, each naming its field, and no more than MAX_FAULTS.

Records are more lenient, since they were written before anybody could refuse them: they may have unknown fields, and
an address in them may be anything (the gate answers `address_invalid`). So these rules hold for what is asked of us
alone, and the published models don't have them.
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
"""A longer text is no address (docs/reference/records.md), and normalising it costs the square of its length."""
MAX_CC: Final = 50

_ADDRESSES: Final = ("to", "address")
_ONE_LINE: Final = ("to", "address", "from", "sender", "subject")
_BREAKS: Final = ("\r", "\n", "\0")
_COMPARED_CHARACTERS: Final = 64
_VALUE_ERROR: Final = "Value error, "


class _Kind(NamedTuple):
    """What a field holds: a nested model, or many values of one type; else neither is there."""

    model: type[BaseModel] | None = None
    element: TypeAdapter[Any] | None = None


def is_one_line(text: str) -> bool:
    """Return whether a text has neither CR nor LF nor NUL: each would end a header of the mail that it becomes."""
    return not any(sign in text for sign in _BREAKS)


def size_faults(raw: Mapping[str, object], limit: int) -> list[ValidationFault]:
    """Return what is wrong with the size of an object: over `limit` bytes as JSON, its largest field is to blame."""
    sizes = {}
    for name, value in raw.items():
        try:
            sizes[name] = len(orjson.dumps(value))
        except orjson.JSONEncodeError:  # deeper than any field of ours; or half a surrogate pair, from a command line
            return [ValidationFault(name, "must be text that UTF-8 can hold, or JSON that is nested less deeply")]
    total = sum(sizes.values()) + sum(len(name.encode()) + 4 for name in sizes) + 1
    if total <= limit:
        return []
    return [
        ValidationFault(
            max(sizes, key=lambda name: sizes[name]), f"is too long: {total} bytes; all fields may have {limit}"
        )
    ]


def container_faults(kind: type[BaseModel], raw: Mapping[str, object]) -> list[ValidationFault]:
    """Return the first faults of the lists and maps of an object: elements that the model refuses, and too many CCs.

    A model would tell all of them at once, each with a path: 39 MB for a body of 1 MiB.
    """
    return list(islice(_container_faults(kind, raw, ""), MAX_FAULTS))


def unknown_faults(
    kind: type[BaseModel], raw: Mapping[str, object], *, known: Sequence[str] = (), prefix: str = ""
) -> list[ValidationFault]:
    """Return the first fields that the model, and the models in it, don't have. `known` are all that may be there."""
    return list(islice(_unknown_faults(kind, raw, known, prefix), MAX_FAULTS))


def _container_faults(kind: type[BaseModel], raw: Mapping[str, object], prefix: str) -> Iterator[ValidationFault]:
    for name, known in _kinds(kind).items():
        value, path = raw.get(name), f"{prefix}{name}"
        if known.model is not None and isinstance(value, dict):
            yield from _container_faults(known.model, value, f"{path}.")
        if name == "cc" and isinstance(value, list) and len(value) > MAX_CC:
            yield ValidationFault(path, f"must have at most {MAX_CC} addresses; it has {len(value)}")
        elif known.element is not None:
            yield from _element_faults(known.element, value, path)


def _unknown_faults(
    kind: type[BaseModel], raw: Mapping[str, object], known: Sequence[str], prefix: str
) -> Iterator[ValidationFault]:
    kinds = _kinds(kind)
    may_be = known or tuple(kinds)
    for name, value in raw.items():
        model = kinds[name].model if name in kinds else None
        if name not in may_be:
            yield unknown_fault(name, may_be, prefix)
        elif model is not None and isinstance(value, dict):
            yield from _unknown_faults(model, value, (), f"{prefix}{name}.")


def unknown_fault(name: str, known: Sequence[str], prefix: str = "", what: str = "field") -> ValidationFault:
    """Return that a field is unknown, with the one that may be meant, or else all that there are."""
    near = get_close_matches(name[:_COMPARED_CHARACTERS].lower(), known, n=1)
    mend = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(f'`{each}`' for each in sorted(known))}"
    return ValidationFault(f"{prefix}{name}", f"is an unknown {what}: {mend}")


def text_faults(raw: Mapping[str, object]) -> Iterator[ValidationFault]:
    """Yield the addresses of an object that are too long for one, and the texts that break a line."""
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
    """Return what a model refuses, without the value that was wrong."""
    said = error.errors(include_input=False, include_url=False, include_context=False)
    return [ValidationFault(".".join(map(str, e["loc"])), e["msg"].removeprefix(_VALUE_ERROR)) for e in said]


def _element_faults(element: TypeAdapter[Any], value: object, path: str) -> Iterator[ValidationFault]:
    """The elements that the model refuses. One that is a text is not looked at: nothing of ours refuses any."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in pairs:
        if isinstance(one, str):
            continue
        try:
            element.validate_python(one)
        except ValidationError as error:
            yield ValidationFault(f"{path}.{name}", faults_of(error)[0].problem)


@lru_cache
def _kinds(kind: type[BaseModel]) -> dict[str, _Kind]:
    """The fields of a model by the names that JSON has."""
    return {field.alias or name: _kind(field.annotation) for name, field in kind.model_fields.items()}


def _kind(annotation: Any) -> _Kind:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _Kind(model=annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (list, dict):
        return _Kind(element=TypeAdapter(arguments[-1], config=ConfigDict(strict=True)))
    for argument in arguments if origin is not None else ():  # the parts of an optional
        found = _kind(argument)
        if found != _Kind():
            return found
    return _Kind()
