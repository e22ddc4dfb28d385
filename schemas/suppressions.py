"""Suppression of an address: what is asked for, and what is so.

In:  SuppressionCommands from the console, the API and the command line.
Out: SuppressionStates, the feed of real changes for other systems.

A suppression is our own refusal to send to an address. An opt-out is the recipient's wish. A release lifts the first,
an opt-in the second, and neither touches the other. Times are checked for their form only, never against a clock.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from schemas.records import Channel, Id, Nonblank, NonblankId, Record, Time, id_text, valid_account_id

__all__ = [
    "EVERYWHERE",
    "MAX_NOTE_CHARACTERS",
    "MAX_REASON_CHARACTERS",
    "MAX_TEXT_CHARACTERS",
    "OptOut",
    "Released",
    "ScopeState",
    "SuppressionCommand",
    "SuppressionState",
    "valid_scope",
]

EVERYWHERE = "*"
"""The scope that is the whole platform."""
MAX_TEXT_CHARACTERS = 320
"""Of an id, an actor, a sender or a group in a command: the gate remembers them."""
MAX_REASON_CHARACTERS = 1_000
MAX_NOTE_CHARACTERS = 10_000


def valid_scope(text: str) -> str:
    """Return `*` or an account id as it is, or raise ValueError."""
    return text if text == EVERYWHERE else valid_account_id(text)


Scope = Annotated[
    str,
    BeforeValidator(id_text),
    AfterValidator(valid_scope),
    Field(
        json_schema_extra={"type": ["string", "number"], "pattern": r"^(\*|[A-Za-z0-9_.-]{1,64})$"},
        description="`*`, or the account's id",
    ),
]


class SuppressionCommand(Record):
    """That somebody suppresses or releases an address, or takes back its opt-outs.

    Of several for one address the latest `at` is in force, and a suppress comes before a release of the same time.
    """

    command_id: NonblankId = Field(
        max_length=MAX_TEXT_CHARACTERS, description="The evidence of what follows from it; a repeat has the same"
    )
    action: Literal["suppress", "release", "opt_in"]
    channel: Channel
    address: Nonblank
    scope: Scope
    sender: Id | None = Field(
        None,
        max_length=MAX_TEXT_CHARACTERS,
        description="Of an `opt_in`: the number or service whose opt-out it lifts. Without `sender` and `group`, all",
    )
    group: Id | None = Field(
        None, max_length=MAX_TEXT_CHARACTERS, description="Of an `opt_in`: the group whose opt-out it lifts"
    )
    reason: str = Field(max_length=MAX_REASON_CHARACTERS)
    actor: str = Field(max_length=MAX_TEXT_CHARACTERS, description="Who asks")
    note: str | None = Field(None, max_length=MAX_NOTE_CHARACTERS)
    at: Time = Field(description="A release voids all evidence up to this time, whichever comes first")


class Released(Record):
    """Who released an address last, and when."""

    at: Time
    actor: str


class ScopeState(Record):
    """Whether an address is suppressed in one scope, and why."""

    scope: Scope
    suppressed: bool
    reason: Literal["bounces", "complaint", "manual", "provider"] = Field(
        description="Of several the first of complaint, manual, provider, bounces"
    )
    since: Time = Field(description="When that reason first held after the last release")
    evidence: list[Id] = Field(description="The ids of the events or commands that count")
    released: Released | None = None


class OptOut(Record):
    """That the recipient wants no mail of an account or of a group, or no texts of a sender."""

    scope: Scope
    group: Id | None = None
    sender: Id | None = None
    reason: str
    since: Time

    @model_validator(mode="after")
    def _of_one_thing(self) -> "OptOut":
        if self.group is not None and self.sender is not None:
            raise ValueError("an opt-out is of a group or of a sender, not of both")
        return self


class SuppressionState(Record):
    """All that holds for one address now. Written when something of it changes, and never otherwise."""

    channel: Channel
    address: Nonblank = Field(
        description="The address's key: trimmed, the local part case-folded, the domain in IDNA; a phone in E.164"
    )
    scopes: list[ScopeState]
    opt_outs: list[OptOut]
    version: int = Field(ge=1, description="1, 2, 3… of this address: it orders the records")
    changed_at: Time
