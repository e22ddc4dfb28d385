"""Suppressions of addresses: the commands that change them, and the state that results.

In:  SuppressionCommands from the console, the API and the command line.
Out: SuppressionStates, the feed of changes for other systems.

A suppression is our own decision not to send to an address. An opt-out is the recipient's. A release lifts a
suppression, an opt-in lifts opt-outs, and neither affects the other. Only the format of times is checked; they are
never compared with a clock.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from schemas.decoding.ids import ALL
from schemas.records import Channel, Id, Nonblank, NonblankId, Record, Time, id_text, valid_account_id

__all__ = [
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

MAX_TEXT_CHARACTERS = 320
"""The limit for an id, an actor, a sender or a group in a command, because the gate keeps them in its state."""
MAX_REASON_CHARACTERS = 1_000
MAX_NOTE_CHARACTERS = 10_000


def valid_scope(text: str) -> str:
    """Return `text` if it is `*` or a valid account id, or raise ValueError."""
    return text if text == ALL else valid_account_id(text)


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
    """Suppress or release an address, or lift its opt-outs.

    The command with the latest `at` is in force; of a suppress and a release at the same time the suppression.
    """

    command_id: NonblankId = Field(
        max_length=MAX_TEXT_CHARACTERS, description="Named in the evidence of what results; a repeat has the same id"
    )
    action: Literal["suppress", "release", "opt_in"]
    channel: Channel
    address: Nonblank
    scope: Scope
    sender: Id | None = Field(
        None,
        max_length=MAX_TEXT_CHARACTERS,
        description="Of an `opt_in`: the number or service whose opt-out is lifted. Without `sender` and `group`: all",
    )
    group: Id | None = Field(
        None, max_length=MAX_TEXT_CHARACTERS, description="Of an `opt_in`: the group whose opt-out is lifted"
    )
    reason: str = Field(max_length=MAX_REASON_CHARACTERS)
    actor: str = Field(max_length=MAX_TEXT_CHARACTERS, description="Who gave the command")
    note: str | None = Field(None, max_length=MAX_NOTE_CHARACTERS)
    at: Time = Field(description="A release cancels all evidence up to this time, in whatever order they are read")


class Released(Record):
    """Who released an address last, and when."""

    at: Time
    actor: str


class ScopeState(Record):
    """Whether an address is suppressed in one scope, and why."""

    scope: Scope
    suppressed: bool
    reason: Literal["bounces", "complaint", "manual", "provider"] = Field(
        description="If several apply: the first of complaint, manual, provider, bounces"
    )
    since: Time = Field(description="When this reason first applied after the last release")
    evidence: list[Id] = Field(description="The ids of the events or commands that count")
    released: Released | None = None


class OptOut(Record):
    """The recipient wants no mail from an account or of an unsubscribe group, or no SMS from a sender."""

    scope: Scope
    group: Id | None = None
    sender: Id | None = None
    reason: str
    since: Time

    @model_validator(mode="after")
    def _of_one_thing(self) -> "OptOut":
        if self.group is not None and self.sender is not None:
            raise ValueError("an opt-out has a group or a sender, not both")
        return self


class SuppressionState(Record):
    """The current suppressions and opt-outs of one address. Written only when one of them changes."""

    channel: Channel
    address: Nonblank = Field(
        description="The address key: trimmed, the local part case-folded, the domain in IDNA; a phone number in E.164"
    )
    scopes: list[ScopeState]
    opt_outs: list[OptOut]
    version: int = Field(ge=1, description="1, 2, 3… for each address: the order of its records")
    changed_at: Time
