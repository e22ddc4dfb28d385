"""Lenient decoding of forms (`application/x-www-form-urlencoded`), from the body of a POST or the query of a URL.

In:  the text of a form. Out: its names and values, decoded, in order, repeated names included. Any text is accepted:
the name of a part is what precedes its first `=`, `+` is a space, an invalid escape (`%zz`) is kept as it is, and
escaped bytes that are not UTF-8 become U+FFFD.
"""

from urllib.parse import unquote

from schemas.decoding.caching import cache_short_texts

__all__ = ["form_pairs"]


def form_pairs(text: str) -> list[tuple[str, str]]:
    """Return the names and values of a form. A part without `=` is a name with a blank value."""
    plain = text.replace("%2B", "+")
    if "%" not in plain and "+" not in text:  # most forms: no escape but the `+` of a number
        return [(name, value) for name, _, value in [part.partition("=") for part in plain.split("&") if part]]
    pairs = []
    for part in text.split("&"):
        name, _, value = part.partition("=")
        if "%" in part or "+" in part:
            pairs.append((_unescaped(name), _unescaped(value)))
        elif part:
            pairs.append((name, value))
    return pairs


@cache_short_texts(entries=1 << 12)  # one sender's number is in every callback
def _unescaped(text: str) -> str:
    return unquote(text.replace("+", " "))
