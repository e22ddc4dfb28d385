"""Split long list parameters of queries, since ClickHouse limits the size of a form field.

In:  any number of texts; SQL with parameters. Out: lists that each fit into one form field.

ClickHouse refuses a form field over `http_max_field_value_size` (default 131,072 bytes), with the unspecific error
POCO_EXCEPTION. Ids have 32 to 60 bytes, so a few thousand of them are too many for one field.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final

__all__ = ["VALUE_BYTES", "chunks", "with_lists_split"]

VALUE_BYTES: Final = 131_072

_SEPARATOR_BYTES: Final = 4
"""Quotes, comma and space of an element."""
_BRACKETS_BYTES: Final = 2
_ESCAPED: Final = ("\\", "'", "`", '"', "\t", "\n", "\r", "\b", "\f", "\0")


def chunks(texts: Iterable[str], max_bytes: int = VALUE_BYTES) -> Iterator[list[str]]:
    """Yield the texts in lists that each fit into one parameter, in order. One that is too long is left out."""
    chunk: list[str] = []
    capacity = max_bytes - _BRACKETS_BYTES
    remaining = capacity
    for text in texts:
        size = _size(text)
        if size > capacity:
            continue
        if size > remaining:
            yield chunk
            chunk, remaining = [], capacity
        chunk.append(text)
        remaining -= size
    if chunk:
        yield chunk


def with_lists_split(sql: str, parameters: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return an equivalent query: a list that is too long is split into parameters, which the SQL concatenates."""
    bound: dict[str, Any] = {}
    for name, value in parameters.items():
        if not _is_too_long(value):
            bound[name] = value
            continue
        parts = {f"{name}_{number}": chunk for number, chunk in enumerate(chunks(value))}
        bound |= parts
        sql = re.sub(rf"\{{{name}:([^}}]+)\}}", partial(_joined, tuple(parts)), sql)
    return sql, bound


def _is_too_long(value: object) -> bool:
    """Whether it is a list of texts that does not fit. Our lists of numbers are always short."""
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        return False
    return sum(map(_size, value)) > VALUE_BYTES - _BRACKETS_BYTES


def _joined(names: Iterable[str], found: re.Match[str]) -> str:
    return f"arrayConcat({', '.join(f'{{{name}:{found[1]}}}' for name in names)})"


def _size(text: str) -> int:
    """Return the bytes of an element as the driver encodes it."""
    return len(text.encode("utf-8", "surrogatepass")) + sum(map(text.count, _ESCAPED)) + _SEPARATOR_BYTES
