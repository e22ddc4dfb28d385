"""What is wrong with the fields of a request, in words that say how each must be.

In:  faults, each with its field. Out: a RequestError with the first MAX_FAULTS of them, whose text names the first few.

The other errors of this layer are in `schemas.errors`: RequestError for what the caller may not do or can't have,
TimedOut, BrokerError, RecordRefused.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from schemas.errors import RequestError

__all__ = ["MAX_FAULTS", "FieldsInvalid", "ValidationFault"]

MAX_FAULTS: Final = 100
"""An error names so many of the things that are wrong."""

_FIELD_CHARACTERS: Final = 100
_PROBLEM_CHARACTERS: Final = 300
_IN_WORDS: Final = 5


class ValidationFault(NamedTuple):
    """What is wrong with one field, in words that say how it must be; a blank field is the whole.

    `place` says which of several it is, by what they are counted in: `index` from 0, or `line` from 1.
    """

    field: str
    problem: str
    place: Mapping[str, int] = {}

    def clipped(self) -> "ValidationFault":
        """As it may be shown: its field's name may be the caller's own, of any length."""
        return self._replace(
            field=_clipped(self.field, _FIELD_CHARACTERS), problem=_clipped(self.problem, _PROBLEM_CHARACTERS)
        )

    def as_json(self) -> dict[str, Any]:
        """As programs read it."""
        return {**self.place, "field": self.field, "problem": self.problem}

    def __str__(self) -> str:
        where = [f"{name} {number}" for name, number in self.place.items()] + [f"`{self.field}`"] * bool(self.field)
        return ": ".join([*where, self.problem])


class FieldsInvalid(RequestError):
    """Names what is wrong with fields: the first MAX_FAULTS faults, of which its text has the first few.

    `code` is `invalid-body` where nothing else is said. `more` has the faults as `errors`, then whatever else is told.
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
