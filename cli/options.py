"""Options that several commands share."""

from typing import Annotated

import typer

from schemas.decoding.times import rfc3339_us
from schemas.errors import RequestError

__all__ = ["AsJson", "time_us"]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object per line.")]


def time_us(option: str, text: str, *, example: str = "2026-11-30T08:00:00Z or 2026-11-30") -> int:
    """Return the time or date (UTC) that an option states, in microseconds since 1970. Raises RequestError."""
    us = rfc3339_us(text if "T" in text.upper() else f"{text}T00:00:00Z")
    if us is None:
        raise RequestError(f"{text!r:.60} is not understood", option, f"Give {example}")
    return us
