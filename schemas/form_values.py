"""Forms as strangers post them: `application/x-www-form-urlencoded`, as the body of a post or the query of a URL.

In:  its text. Out: its names and values, decoded and in order, repeats included. Every text is a form: what stands
before the first `=` of a part is the name, `+` is a blank, an escape that is none (`%zz`) stays as it is, and escaped
bytes that are no UTF-8 become U+FFFD.
"""

from urllib.parse import unquote

from schemas.caching import caching_short

__all__ = ["form_pairs"]


def form_pairs(text: str) -> list[tuple[str, str]]:
    """Return the names and values of a form. A part without a `=` is a name with a blank value."""
    plain = text.replace("%2B", "+")
    if "%" not in plain and "+" not in text:  # nearly all: no escape, or the sign before a number alone
        return [(name, value) for name, _, value in [part.partition("=") for part in plain.split("&") if part]]
    pairs = []
    for part in text.split("&"):
        name, _, value = part.partition("=")
        if "%" in part or "+" in part:
            pairs.append((_plain(name), _plain(value)))
        elif part:
            pairs.append((name, value))
    return pairs


@caching_short(entries=1 << 12)  # one sender's number is in every callback
def _plain(text: str) -> str:
    return unquote(text.replace("+", " "))
