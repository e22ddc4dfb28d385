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
