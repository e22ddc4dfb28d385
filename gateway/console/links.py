"""Links from a page to itself with some parameters changed.

In:  the parameters of the request. Out: URLs that keep all other parameters. A link that changes a filter leads to the
first page, since a cursor is valid only for the filters that it was made for.
"""

from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import urlencode

__all__ = ["Links"]

_PAGING: Final = ("cursor", "back")


class Links:
    """The links of one page; `path` is its path, as a browser sees it."""

    def __init__(self, path: str, given: Iterable[tuple[str, str]]) -> None:
        self.path = path
        self.given = tuple(given)

    def first(self, name: str) -> str:
        """Return the first value of a parameter; a blank if it is not given."""
        return next((value for key, value in self.given if key == name), "")

    def every(self, name: str) -> Sequence[str]:
        """Return all values of a parameter."""
        return [value for key, value in self.given if key == name]

    @property
    def filters(self) -> Sequence[tuple[str, str]]:
        """The parameters without those of paging."""
        return [pair for pair in self.given if pair[0] not in _PAGING]

    def here(self, path: str = "") -> str:
        """Return this page's URL, or that of another path with the same parameters."""
        return _url(path or self.path, self.given)

    def to(self, path: str, *without: str) -> str:
        """Return the URL of another path with the same filters, except `without`."""
        return _url(path, [pair for pair in self.filters if pair[0] not in without])

    def set(self, **values: str | Sequence[str]) -> str:
        """Return the URL with these values of these parameters. A blank removes a parameter. `from_` means `from`."""
        named = {name.rstrip("_"): [value] if isinstance(value, str) else value for name, value in values.items()}
        kept = [pair for pair in self.filters if pair[0] not in named]
        return _url(self.path, kept + [(name, value) for name, several in named.items() for value in several if value])

    def toggled(self, name: str, value: str) -> str:
        """Return the URL with this value of a parameter added, or removed if it is given."""
        if (name, value) in self.filters:
            return _url(self.path, [pair for pair in self.filters if pair != (name, value)])
        return _url(self.path, [*self.filters, (name, value)])

    def at(self, cursor: str, *, back: bool = False) -> str:
        """Return the URL of the page after a cursor; with `back`, of the page before it."""
        return _url(self.path, [*self.filters, ("cursor", cursor), *([("back", "1")] if back else [])])


def _url(path: str, pairs: Iterable[tuple[str, str]]) -> str:
    query = urlencode(list(pairs))
    return f"{path}?{query}" if query else path
