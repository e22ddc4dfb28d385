"""Lenient decoding of JSON from other systems, and conversion of any JSON value to a string.

In:  the body of a POST. Out: the value that `json` would return, but without half surrogate pairs, NaN and infinite
numbers, so that it can be encoded again and stored.
"""

import json
import math
import re
from typing import Any, Final, NamedTuple

import orjson

__all__ = ["TooDeep", "decode_json", "decode_list", "elements_of", "nests_deeper_than", "text_of"]

_BOM: Final = b"\xef\xbb\xbf"
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")
# A whole string (its end may be missing), a run of brackets, or a comma. Possessive, so that no byte is read twice.
_TOKEN: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{]+|[\]}]+|,', re.S)
_BLANKS: Final = b" \t\r\n"
_OPENING: Final = b"[{"
_COMMA, _QUOTE = b',"'
_NO_BRACKETS: Final = b',"'


def decode_json(body: bytes) -> Any:
    """Return the JSON value of a body. Raises ValueError or RecursionError."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        return orjson.loads(body.removeprefix(_BOM))
    except orjson.JSONDecodeError:
        return _decode_leniently(body.removeprefix(_BOM))


class TooDeep(NamedTuple):
    """An element that nests too deep to be decoded."""

    value: bytes
    """Its JSON, byte for byte."""


def decode_list(body: bytes) -> Any:
    """Return the JSON value of a body like `decode_json`, except that one element can't make a whole list unreadable.

    An element that nests too deep for the decoder becomes a `TooDeep`. Raises ValueError or RecursionError.
    """
    try:
        return decode_json(body)
    except RecursionError:
        return [_element(value) for value in elements_of(body)]


def _element(value: bytes) -> Any:
    try:
        return decode_json(value)
    except RecursionError:
        return TooDeep(value)


def elements_of(body: bytes) -> list[bytes]:
    """Return the JSON of each element of a list, byte for byte. Raises ValueError if the body is not a complete list.

    It works at any depth and in linear time, but it looks at brackets, commas and quotes only.
    """
    body = body.removeprefix(_BOM).strip(_BLANKS)
    if body[:1] != b"[" or body[-1:] != b"]":
        raise ValueError("the JSON nests too deep to be decoded, and is not a list")
    elements: list[bytes] = []
    depth, start = 0, 1
    for token in _TOKEN.finditer(body):
        first = body[token.start()]
        if first in _OPENING:
            depth += token.end() - token.start()
        elif first == _COMMA:
            if depth == 1:
                elements.append(body[start : token.start()].strip(_BLANKS))
                start = token.end()
        elif first != _QUOTE:
            depth -= token.end() - token.start()
            if depth < 1 and token.end() != len(body):
                raise ValueError("there is text after the end of the list")
    if depth != 0:
        raise ValueError("the list has no end")
    last = body[start:-1].strip(_BLANKS)
    return [*elements, last] if last or elements else []


def nests_deeper_than(levels: int, body: bytes) -> bool:
    """Return whether the lists and objects of a JSON text nest more than so many levels deep."""
    if body.count(b"[") + body.count(b"{") <= levels:  # nearly all bodies: two counts are faster
        return False
    depth = 0
    for token in _TOKEN.finditer(body):
        first = body[token.start()]
        if first in _OPENING:
            depth += token.end() - token.start()
            if depth > levels:
                return True
        elif first not in _NO_BRACKETS:
            depth -= token.end() - token.start()
    return False


def text_of(value: object) -> str:
    """Return any JSON value as a string. `1`, `1.0` and `"1"` give the same string."""
    if type(value) is str:
        return value
    if value is None:
        return ""
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, int):
        return str(value)
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _decode_leniently(body: bytes) -> Any:
    """Return the JSON value of a body that orjson rejects. Raises ValueError or RecursionError.

    Half surrogate pairs (an emoji cut in two) and bytes that are not UTF-8 become U+FFFD. NaN and numbers beyond the
    range of a float become strings.
    """
    text = body.decode("utf-8", "replace")
    value = json.loads(text, strict=False, parse_int=_number, parse_float=_number, parse_constant=str)
    return [_clean_or_same(part) for part in value] if type(value) is list else _clean_or_same(value)


def _number(text: str) -> object:
    """Return a number as orjson does; a string if it is beyond the range of a float."""
    if len(text) <= 20 and text.lstrip("-").isdecimal():
        whole = int(text)
        if -(2**63) <= whole < 2**64:
            return whole
    number = float(text)
    return number if math.isfinite(number) else text


def _clean_or_same(value: Any) -> Any:
    try:
        return _clean(value)
    except RecursionError:  # only this element will fail then, not the others of the list
        return value


def _clean(value: Any) -> Any:
    if type(value) is str:
        return _LONE_SURROGATE.sub("\ufffd", value)
    if type(value) is list:
        return [_clean(part) for part in value]
    if type(value) is dict:
        return {_clean(key): _clean(part) for key, part in value.items()}
    return value
