"""Header look-up, shared by verification and storage: the value that was verified is the value that is stored."""

from collections.abc import Mapping

__all__ = ["first_value"]


def first_value(headers: Mapping[str, str], name: str) -> str:
    """Return the first non-blank value of a header, stripped; an empty string if there is none.

    Names are case-insensitive. `headers` may contain a name several times, as Starlette's do.
    """
    lowered = name.lower()
    return next((value.strip() for key, value in headers.items() if key.lower() == lowered and value.strip()), "")
