"""JSON as strangers post it: read whole, whatever is a little wrong in it, and any value of it as a text.

In:  the body of a post. Out: what `json` would give, but never half a surrogate pair, NaN or an infinite number, so
that what was read can be written again, and stored.
"""

import json
import math
import re
from typing import Any, Final

import orjson

__all__ = ["decode_json", "text_of"]

_BOM: Final = b"\xef\xbb\xbf"
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")


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


def text_of(value: object) -> str:
    """Return any JSON value as a text: numbers alike whether they come as `1`, `1.0` or `"1"`."""
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
    """Return the JSON value of a body that orjson refuses. Raises ValueError or RecursionError.

    Met are halves of surrogate pairs (an emoji cut in two), bytes that are no UTF-8, NaN, and numbers beyond any
    float. The first two become U+FFFD, the others texts.
    """
    text = body.decode("utf-8", "replace")
    value = json.loads(text, strict=False, parse_int=_number, parse_float=_number, parse_constant=str)
    return [_clean_or_same(part) for part in value] if type(value) is list else _clean_or_same(value)


def _number(text: str) -> object:
    """Return a number as orjson does; as text if it is beyond any float."""
    if len(text) <= 20 and text.lstrip("-").isdecimal():
        whole = int(text)
        if -(2**63) <= whole < 2**64:
            return whole
    number = float(text)
    return number if math.isfinite(number) else text


def _clean_or_same(value: Any) -> Any:
    try:
        return _clean(value)
    except RecursionError:  # then this element alone will fail, not its neighbours
        return value


def _clean(value: Any) -> Any:
    if type(value) is str:
        return _LONE_SURROGATE.sub("\ufffd", value)
    if type(value) is list:
        return [_clean(part) for part in value]
    if type(value) is dict:
        return {_clean(key): _clean(part) for key, part in value.items()}
    return value
