"""What the API answers with success, as models: OpenAPI and the reference page are made of them.

Answers are not built by them, which would cost time for each row; tests hold every answer against its model. What is
shown of a view is what is named here, and nothing else: a column that a view gains is no part of the API by that.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.records import Channel, SendDecision

__all__ = [
    "Accepted",
    "Account",
    "Accounts",
    "Answer",
    "Bounces",
    "CommandTaken",
    "Decisions",
    "DeliveryStats",
    "Facets",
    "Imported",
    "Message",
    "MessageExplanation",
    "Messages",
    "OptInTaken",
    "Problem",
    "Status",
    "Suppression",
    "SuppressionOfAddress",
    "Suppressions",
    "Timeline",
    "TimelineEvent",
]

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Next = Annotated[str | None, Field(description="The `cursor` of the next page; null at the end")]
NoNext = Annotated[None, Field(description="Always null: there are no further pages")]
AnyChannel = Literal["email", "sms", ""]
Reason = Literal["bounces", "complaint", "manual", "provider"]


class Answer(BaseModel):
    """An answer, or a part of one."""

    model_config = ConfigDict(extra="forbid")


class Actions(Answer):
    """Links to what belongs to a message; null where there is nothing, or no setting says where."""

    preview: str | None = Field(description="What was sent")
    client: str | None = Field(description="The client, by `SENDLEDGER_CLIENT_URL`")
    appointment: str | None = Field(description="The appointment, by `SENDLEDGER_APPOINTMENT_URL`")


class Message(Answer):
    """A message: one email or SMS to one To address, and what became of it."""

    account_id: str
    email_id: str = Field(description="The message's id, a UUID of version 7")
    channel: AnyChannel = Field(description="Blank until a request or a decision says it")
    type: str = Field(description="The template's name")
    template_id: str
    sent_to: str = Field(description="`client` or `staff`")
    recipient_id: str
    to_address: str = Field(description="The To as it was written")
    to_domain: str
    cc_address: str = Field(description="The CCs as they were written, with commas between them")
    subject: str
    status: str
    sub_status: str
    reason: str = Field(description="What the event says that decides the delivery; of a refused message, the decision")
    code: str = Field(description="The provider's code of the same; of a refused message, the decision's reason code")
    enhanced_code: str = Field(description="RFC 3463, like 5.1.1")
    classification: str
    date_sent: Time = Field(description="The time inside `email_id`")
    decided_at: Time | None
    dispatched_at: Time | None
    processed_at: Time | None
    delivered_at: Time | None
    bounced_at: Time | None = Field(description="The first bounced, blocked or failed event of the To")
    opened_at: Time | None
    clicked_at: Time | None
    opens: int = Field(description="By people, as far as the provider tells; exact up to 1,000")
    machine_opens: int
    clicks: int
    attempts: int = Field(description="Deferred events")
    complained: bool
    provider: str
    provider_message_id: str
    appointment_id: str
    anomalies: list[str] = Field(description="What does not fit together, like `conflicting_requests`")
    actions: Actions


class Messages(Answer):
    """A page of messages."""

    items: list[Message]
    next: Next


class Facets(Answer):
    """How many messages there are, by one thing and by another."""

    total: int
    status: dict[str, int] = Field(description="Messages by status; sums to `total`, as do the others")
    channel: dict[str, int] = Field(description="Blank for messages that no request or decision has told of")
    type: dict[str, int] = Field(description="By the template's name")


class TimelineEvent(Answer):
    """An event of a message, once."""

    account_id: str
    email_id: str
    event_id: str = Field(description="The same for every delivery of the event")
    type: str = Field(description="Like `requested`, `decided`, `delivered`, `bounced`, `opened`")
    provider: str = Field(description="Blank of our own facts")
    occurred_at: Time = Field(description="The provider's time")
    received_at: Time
    address: str = Field(description="The address's key")
    cc: bool = Field(description="Whether the address is not the To: such an event does not change the status")
    code: str
    enhanced_code: str
    classification: str
    fault: str = Field(description="`recipient`, `mailbox`, `sender`, `infrastructure`, `unknown` or blank")
    reason: str
    machine: bool = Field(description="Whether the provider says that no person opened or clicked")
    url: str
    source: str = Field(description="Where it stands in the log: topic/partition/offset/index")
    provider_message_id: str
    provider_event_id: str
    user_agent: str
    ip: str
    attempt: str
    group: str
    extra: str = Field(description="What else was told, as JSON. Of a decision: the request and the evidence of yours")
    link: str = Field(description="Blank where the event names its message; `matched` where its provider id does")


class Timeline(Answer):
    """A page of the events of one message, by the time that they occurred."""

    items: list[TimelineEvent]
    next: Next


class DecisionMade(Answer):
    """What the gate decided: the earliest of its decisions."""

    outcome: str
    reason: str = Field(description="The reason code")
    detail: str
    decided_at: Time
    evidence: list[str] = Field(description="What it was decided by, as far as you may see it")


class Engagement(Answer):
    """What the recipient did."""

    opened_at: Time | None
    opens: int
    machine_opens: int
    clicked_at: Time | None
    clicks: int


class Axes(Answer):
    """What is known of a message, each part by a rule of its own."""

    decision: DecisionMade | None
    delivery: TimelineEvent | None = Field(description="The event of the highest rank")
    engagement: Engagement
    attempts: int
    complained: bool
    subscription: TimelineEvent | None = Field(description="The latest change of the subscription")


class EventNotCounted(Answer):
    """An event that does not give the status."""

    event: TimelineEvent
    rule: str = Field(description="Like `cc`, `refused`, `lower_rank`, `later`, `repeated`, `machine`, `no_status`")
    because: str = Field(description="The rule in words")


class MessageExplanation(Answer):
    """Why a message has its status."""

    account_id: str
    email_id: str
    status: str
    sub_status: str
    anomalies: list[str]
    rule: str = Field(
        description="`refused`, `delivery`, `subscription`, `engagement`, `delivery_proven` or `nothing_heard`"
    )
    because: str = Field(description="The rule in words")
    winner: TimelineEvent | None = Field(description="The event that gives the status")
    axes: Axes
    not_counted: list[EventNotCounted] = Field(description="Every other event of a provider's; up to 1,000")
    events_complete: bool = Field(description="Whether all events were looked at, and are here")


class Rate(Answer):
    """A share, and the two counts that it is made of."""

    rate: float | None = Field(description="`count` / `of`; null where `of` is 0")
    count: int
    of: int


class DeliveryCounts(Answer):
    """Messages by what became of them."""

    messages: int
    refused: int = Field(description="Not approved: Declined, Suppressed, Quota_Exceeded, Not_opted_in and Blocked")
    pending: int = Field(description="No provider has said anything of them yet")
    sent: int = Field(description="All others: a provider has said something of them")
    processed: int = Field(description="Sent, and no more is known")
    delivered: int = Field(description="Delivered, and not bounced afterwards; an open or a click proves it")
    bounced: int
    dropped: int
    opened: int = Field(description="Of the delivered ones, those that a person opened")
    clicked: int = Field(description="Of the delivered ones, those in which a person clicked")
    complained: int = Field(description="Of the sent ones")
    refusal_rate: Rate = Field(description="`refused` of `messages`")
    delivery_rate: Rate = Field(description="`delivered` of `sent`")
    bounce_rate: Rate = Field(description="`bounced` of `sent`")
    drop_rate: Rate = Field(description="`dropped` of `sent`")
    open_rate: Rate = Field(description="`opened` of `delivered`")
    click_rate: Rate = Field(description="`clicked` of `delivered`")
    complaint_rate: Rate = Field(description="`complained` of `sent`")


class DeliveryGroup(DeliveryCounts):
    """The counts of a group; it has the names of `group_by`, and no others."""

    hour: Time | None = Field(None, description="The hour of Date Sent, UTC")
    day: Annotated[str | None, Field(json_schema_extra={"format": "date"})] = Field(
        None, description="The day of Date Sent, UTC"
    )
    template: str | None = Field(None, description="The template's id")
    template_name: str | None = Field(None, description="Beside `template`: its name in the newest message")
    provider: str | None = Field(None, description="Blank until one is known")
    domain: str | None = Field(None, description="Of the To; blank for an SMS")
    channel: AnyChannel | None = None


class DeliveryStats(Answer):
    """Counts of messages by groups, in the groups' order."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    items: list[DeliveryGroup]
    next: NoNext
    total: DeliveryCounts = Field(description="Of all groups together")
    from_: Time = Field(alias="from", description="The period that was counted; the beginning is in it")
    to: Time = Field(description="The end, which is not in it")


class Account(Answer):
    """An account that the token may see."""

    account_id: str
    messages: int = Field(description="A message counts from its request on")
    last_sent_at: Time | None


class Accounts(Answer):
    """A page of accounts."""

    items: list[Account]
    next: Next


class BouncedAddress(Answer):
    """An address, To or CC, that an account had bounced, blocked or failed messages to."""

    account_id: str
    channel: Channel
    address: str = Field(description="The address's key")
    bounces: int = Field(description="How many messages")
    first_bounced_at: Time
    last_bounced_at: Time
    last_reason: str
    last_code: str
    last_classification: str
    last_fault: str
    recipient_kind: str = Field(description="`client` or `staff`; blank for an address that is only a CC")
    recipient_id: str
    last_email_id: str
    suppressed: bool = Field(description="Whether we refuse to send to it now")


class Bounces(Answer):
    """A page of bounced addresses, by the last bounce."""

    items: list[BouncedAddress]
    next: Next


class Suppression(Answer):
    """An address and a scope that is suppressed, or was released."""

    channel: Channel
    address: str = Field(description="The address's key")
    scope: str = Field(description="`*` for the whole platform, or an account's id")
    suppressed: bool
    reason: Reason
    since: Time = Field(description="When the reason first held after the last release")
    released_at: Time | None
    actor: str = Field(description="Who released it last")
    evidence: list[str] = Field(description="The ids of the events and commands that count, as far as you may see them")


class Suppressions(Answer):
    """A page of suppressions, by channel, address and scope."""

    items: list[Suppression]
    next: Next


class SuppressionChange(Suppression):
    """A change of an address in one scope."""

    changed_at: Time


class OptOutInForce(Answer):
    """That the recipient wants no mail of an account or a group, or no texts of a sender."""

    scope: str
    group: str = Field(description="Blank where it is not about one")
    sender: str = Field(description="Blank where it is not about one")
    reason: str = Field(description="`unsubscribed`, `group_unsubscribed` or `sms_opt_out`")
    since: Time


class EvidenceEvent(Answer):
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


class Command(Answer):
    """What somebody asked for: a suppression, a release or an opt-in."""

    command_id: str
    action: Literal["suppress", "release", "opt_in"]
    scope: str
    group: str
    sender: str
    reason: str
    note: str
    actor: str = Field(description="Who asked")
    at: Time


class SuppressionOfAddress(Answer):
    """What holds for one address, and how it came to that."""

    channel: Channel
    address: str = Field(description="The address's key")
    scopes: list[Suppression] = Field(description="What holds now")
    opt_outs: list[OptOutInForce] = Field(description="What the recipient does not want, as far as nobody lifted it")
    history: list[SuppressionChange]
    evidence: list[EvidenceEvent | Command] = Field(description="What counts, or counted before a release")
    commands: list[Command] = Field(description="All that people asked for about this address")
    complete: bool = Field(
        description="Whether this is all: of more than 10,000 scopes, opt-outs or changes the first are shown, of more"
        " than 1,000 commands the last"
    )


class MessageName(Answer):
    """What a message is known by."""

    account_id: str
    message_id: str


class Accepted(Answer):
    """The requests are in the log; they are in your order."""

    items: list[MessageName]
    next: NoNext


class Decisions(Answer):
    """The decisions about the requests, in your order. Of their evidence you see what is yours."""

    items: list[SendDecision]
    next: NoNext


class CommandTaken(Answer):
    """The command is in the log."""

    command_id: str
    was_suppressed: bool | None = Field(
        description="Whether what it is about was suppressed before; null where the tables can't tell now"
    )
    effect: str = Field(description="What the command does, in words")


class OptInTaken(CommandTaken):
    """The opt-in is in the log."""

    was_opted_out: bool | None = Field(description="Whether there was an opt-out that it lifts; null as above")


class FieldProblem(Answer):
    """What is wrong with one field."""

    field: str = Field(description="Its path, like `template.kind`; blank for the whole")
    problem: str = Field(description="How it must be")
    index: int | None = Field(None, description="Which request of a list, from 0")
    line: int | None = Field(None, description="Which line of a file, from 1")


class Imported(Answer):
    """What a file is, line by line."""

    dry_run: bool
    lines: int
    good: int
    bad: int
    errors: list[FieldProblem] = Field(description="The first 100")


class Status(Answer):
    """How the gateway is."""

    status: Literal["alive", "ready"]


class Problem(Answer):
    """An error (RFC 9457). A client acts on `code`; a person reads `detail`."""

    type: str = Field(description="Where the code is explained")
    title: str
    status: int
    detail: str = Field(description="What is wrong, and the mend")
    instance: str = Field(description="The path that was asked for")
    code: str = Field(description="Stable, like `invalid-body`")
    request_id: str = Field(description="Names the request in the gateway's log")
    errors: list[FieldProblem] | None = Field(None, description="Of a bad body: the first 100 faults")
    items: list[MessageName] | None = Field(None, description="Of requests: the ids to repeat them with")
    dry_run: bool | None = Field(None, description="Of an import, as are the numbers of its lines")
    lines: int | None = None
    good: int | None = None
    bad: int | None = None
