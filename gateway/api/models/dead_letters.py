"""Models of dead letters."""

from typing import Literal

from pydantic import Field

from gateway.api.models.common import Next, NoNext, ResponseModel, Time

__all__ = ["Bytes", "DeadLetter", "DeadLetters", "LettersHandled"]


class LetterHandled(ResponseModel):
    """What an operator did about a dead letter."""

    action: Literal["redriven", "discarded"]
    actor: str
    reason: str
    at: Time


class LetterOfList(ResponseModel):
    """A record, or an element of one, that could not be processed."""

    letter: str = Field(description="Its id: its partition and offset in `dead-letters`")
    failed_at: Time
    topic: str = Field(description="The topic of the record; blank if another program wrote the letter without it")
    source: str = Field(description="The record: topic/partition/offset, and the index of an element")
    reason: str = Field(description="A stable code")
    detail: str
    processor: str = Field(description="Who parked it: `ledger` or `gate`")
    redriven_from: str = Field(description="The id of the earlier letter of this record, if it was sent back")
    handled: LetterHandled | None = Field(description="Null while it is open")


class DeadLetters(ResponseModel):
    """A page of dead letters."""

    items: list[LetterOfList]
    next: Next


class Bytes(ResponseModel):
    """Bytes as they came: of a key or value the first 65,536, of a header the first 4,096."""

    text: str | None = Field(description="Null if they are not UTF-8")
    base64: str
    size: int = Field(description="How many bytes there are")


class HeaderBytes(Bytes):
    """A header of a record."""

    name: str


class DeadLetter(LetterOfList):
    """A dead letter with its bytes."""

    key: Bytes | None
    value: Bytes | None = Field(description="Null if it has none, and its source is gone: it can't be sent back")
    headers: list[HeaderBytes] = Field(description="Those of the record; the first 100")
    now: str = Field(description="For people: what the current code would do with it")


class LetterOutcome(ResponseModel):
    """What was done about one letter."""

    letter: str
    result: Literal["redriven", "discarded", "unchanged", "impossible", "not_found", "not_read"] = Field(
        description="`unchanged`: it was handled before; `not_read`: the time was over before"
    )
    why: str = Field(description="For people: why nothing was done, or that it is a copy of another letter")


class LettersHandled(ResponseModel):
    """What was done about dead letters; in a dry run, what would be done."""

    dry_run: bool
    items: list[LetterOutcome] = Field(description="Up to 100 that are done, and up to 100 that are impossible")
    next: NoNext
    left: int = Field(description="How many open letters are left that match: repeat the request for them")
    complete: bool = Field(description="Whether all letters were read in time; if not, repeat the request")
