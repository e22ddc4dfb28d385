"""Lists as parameters of queries: a server takes a value only up to a size.

In:  texts, however many; SQL with parameters. Out: lists whose text each fits into one field.

ClickHouse refuses a field of a form over `http_max_field_value_size`, 131,072 bytes unless it is set otherwise, and
says so as POCO_EXCEPTION, as it says a hundred other things. Ids have 32 to 60 bytes: a few thousand are too many.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final

__all__ = ["VALUE_BYTES", "chunks", "with_lists_split"]

VALUE_BYTES: Final = 131_072

_AROUND_BYTES: Final = 4
"""Quotes, comma and blank of an element."""
_BRACKETS_BYTES: Final = 2
_ESCAPED: Final = ("\\", "'", "`", '"', "\t", "\n", "\r", "\b", "\f", "\0")


def chunks(texts: Iterable[str], most_bytes: int = VALUE_BYTES) -> Iterator[list[str]]:
    """Return the texts in lists that fit each into one parameter, in order. One that fits into none is left out."""
    some: list[str] = []
    room = most_bytes - _BRACKETS_BYTES
    left = room
    for text in texts:
        size = _size(text)
        if size > room:
            continue
        if size > left:
            yield some
            some, left = [], room
        some.append(text)
        left -= size
    if some:
        yield some


def with_lists_split(sql: str, parameters: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return a query of the same meaning whose lists fit: one that is too long comes as several, put together there."""
    bound: dict[str, Any] = {}
    for name, value in parameters.items():
        if not _is_too_long(value):
            bound[name] = value
            continue
        parts = {f"{name}_{number}": some for number, some in enumerate(chunks(value))}
        bound |= parts
        sql = re.sub(rf"\{{{name}:([^}}]+)\}}", partial(_joined, tuple(parts)), sql)
    return sql, bound


def _is_too_long(value: object) -> bool:
    """Whether it is a list of texts that does not fit. Of numbers no list of ours is long."""
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        return False
    return sum(map(_size, value)) > VALUE_BYTES - _BRACKETS_BYTES


def _joined(names: Iterable[str], found: re.Match[str]) -> str:
    return f"arrayConcat({', '.join(f'{{{name}:{found[1]}}}' for name in names)})"


def _size(text: str) -> int:
    """The bytes of an element as the driver writes it."""
    return len(text.encode("utf-8", "surrogatepass")) + sum(map(text.count, _ESCAPED)) + _AROUND_BYTES
