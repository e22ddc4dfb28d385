"""Validation faults: what is wrong with the fields of a request, and how each must be.

In:  faults, each with its field. Out: a RequestError with the first MAX_FAULTS of them; its text has the first few.

The other errors of this layer are in `schemas.errors`: RequestError for what the caller is not allowed to do or does
not exist, TimedOut, BrokerError, RecordRefused.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from schemas.errors import RequestError

__all__ = ["MAX_FAULTS", "FieldsInvalid", "ValidationFault"]

MAX_FAULTS: Final = 100
"""The most faults that one error lists."""

_FIELD_CHARACTERS: Final = 100
_PROBLEM_CHARACTERS: Final = 300
_IN_WORDS: Final = 5


class ValidationFault(NamedTuple):
    """One invalid field. `problem` says how it must be; a blank `field` means the whole request.

    `place` locates the request among several: `index` from 0, or `line` from 1.
    """

    field: str
    problem: str
    place: Mapping[str, int] = {}

    def clipped(self) -> "ValidationFault":
        """Return it with its texts cut to a bounded length: a field name is the caller's, of any length."""
        return self._replace(
            field=_clipped(self.field, _FIELD_CHARACTERS), problem=_clipped(self.problem, _PROBLEM_CHARACTERS)
        )

    def as_json(self) -> dict[str, Any]:
        """Return the JSON form of the fault."""
        return {**self.place, "field": self.field, "problem": self.problem}

    def __str__(self) -> str:
        where = [f"{name} {number}" for name, number in self.place.items()] + [f"`{self.field}`"] * bool(self.field)
        return ": ".join([*where, self.problem])


class FieldsInvalid(RequestError):
    """Some fields are invalid. It has the first MAX_FAULTS faults; its text has the first few.

    `code` is `invalid-body` by default. `more` has the faults as `errors`, and further members of the problem.
    """

    def __init__(self, faults: Sequence[ValidationFault], *, code: str = "invalid-body", **more: Any) -> None:
        self.faults = [fault.clipped() for fault in faults[:MAX_FAULTS]]
        first = self.faults[:_IN_WORDS]
        rest = f"; and {len(faults) - _IN_WORDS} more" if len(faults) > _IN_WORDS else ""
        super().__init__(
            what="; ".join(map(str, first)) + rest,
            where=", ".join(dict.fromkeys(fault.field or "the whole" for fault in first)),
            mend="Change each field as its fault says",
            code=code,
            more={"errors": [fault.as_json() for fault in self.faults], **more},
        )


def _clipped(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[: characters - 1]}…"
