"""Models of suppressions, and of what commands and imports answer."""

from typing import Literal

from pydantic import Field

from gateway.api.models.common import FieldProblem, Next, Reason, ResponseModel, Time
from schemas.records import Channel

__all__ = ["CommandTaken", "Imported", "OptInTaken", "Suppression", "SuppressionOfAddress", "Suppressions"]


class Suppression(ResponseModel):
    """An address in one scope: suppressed now, or released."""

    channel: Channel
    address: str = Field(description="The address's key")
    scope: str = Field(description="`*` for the whole platform, or an account's id")
    suppressed: bool
    reason: Reason
    since: Time = Field(description="When the reason first applied after the last release")
    released_at: Time | None
    actor: str = Field(description="Who released it last")
    evidence: list[str] = Field(description="The ids of the events and commands that count, as far as you may see them")


class Suppressions(ResponseModel):
    """A page of suppressions, by channel, address and scope."""

    items: list[Suppression]
    next: Next


class SuppressionChange(Suppression):
    """A change of an address in one scope."""

    changed_at: Time


class OptOutInForce(ResponseModel):
    """An opt-out in force: from an account's mail, from a group, or from a sender's text messages."""

    scope: str
    group: str = Field(description="Blank where it is not about one")
    sender: str = Field(description="Blank where it is not about one")
    reason: str = Field(description="`unsubscribed`, `group_unsubscribed` or `sms_opt_out`")
    since: Time


class EvidenceEvent(ResponseModel):
    """An event that counts, or counted, for a suppression."""

    event_id: str
    account_id: str
    email_id: str
    type: str
    provider: str
    occurred_at: Time
    code: str
    classification: str
    fault: str
    reason: str


class Command(ResponseModel):
    """A command by a person or program: a suppression, a release or an opt-in."""

    command_id: str
    action: Literal["suppress", "release", "opt_in"]
    scope: str
    group: str
    sender: str
    reason: str
    note: str
    actor: str = Field(description="Who gave the command")
    at: Time


class SuppressionOfAddress(ResponseModel):
    """The state of one address, and its history."""

    channel: Channel
    address: str = Field(description="The address's key")
    scopes: list[Suppression] = Field(description="The current state")
    opt_outs: list[OptOutInForce] = Field(description="The opt-outs in force")
    history: list[SuppressionChange]
    evidence: list[EvidenceEvent | Command] = Field(description="Evidence that counts, or counted before a release")
    commands: list[Command] = Field(description="All commands about this address")
    complete: bool = Field(
        description="Whether the lists are complete: they have the first 10,000 scopes, opt-outs and changes, and the"
        " last 1,000 commands"
    )


class CommandTaken(ResponseModel):
    """The command is stored."""

    command_id: str
    was_suppressed: bool | None = Field(
        description="Whether the address was suppressed before in that scope; null if ClickHouse can't answer now"
    )
    effect: str = Field(description="A sentence about what the command does")


class OptInTaken(CommandTaken):
    """The opt-in is stored."""

    was_opted_out: bool | None = Field(
        description="Whether there was an opt-out that it lifts; null if ClickHouse can't answer now"
    )


class Imported(ResponseModel):
    """The result of an import, dry run or not."""

    dry_run: bool
    lines: int
    good: int
    bad: int
    errors: list[FieldProblem] = Field(description="The first 100")
