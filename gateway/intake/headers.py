"""One way to look for a header, for the checks and for what is kept: what verified is what is stored."""

from collections.abc import Mapping

__all__ = ["first_said"]


def first_said(headers: Mapping[str, str], name: str) -> str:
    """Return the first value of a header that is not blank, without blanks around it; blank if there is none.

    Names have no case. `headers` may have a name several times, as Starlette's have.
    """
    lowered = name.lower()
    return next((value.strip() for key, value in headers.items() if key.lower() == lowered and value.strip()), "")
