"""Models of the API's success responses: the OpenAPI document and the reference page are generated from them.

Responses are not built with these models, which would cost time for each row; tests check every response against its
model. The fields named here are the API: a column that is added to a view does not appear in it.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.records import Channel, SendDecision

__all__ = [
    "Accepted",
    "Account",
    "Accounts",
    "Bounces",
    "BulkReleases",
    "BulkReport",
    "CommandTaken",
    "DeadLetter",
    "DeadLetters",
    "Decisions",
    "DeliveryStats",
    "Facets",
    "Imported",
    "LettersHandled",
    "Message",
    "MessageExplanation",
    "Messages",
    "OptInTaken",
    "Problem",
    "ProviderWeather",
    "RawProviderEvent",
    "RefusedMessages",
    "ResponseModel",
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


class ResponseModel(BaseModel):
    """A response, or a part of one."""

    model_config = ConfigDict(extra="forbid")


class Actions(ResponseModel):
    """Links to related pages; null if there is none, or its URL is not configured."""

    preview: str | None = Field(description="The content that was sent")
    client: str | None = Field(description="The client, by `SENDLEDGER_CLIENT_URL`")
    appointment: str | None = Field(description="The appointment, by `SENDLEDGER_APPOINTMENT_URL`")


class Message(ResponseModel):
    """A message: one email or SMS to one To address, and its status."""

    account_id: str
    email_id: str = Field(description="The message's id, a UUID of version 7")
    channel: AnyChannel = Field(description="Blank until a request or decision is known")
    type: str = Field(description="The template's name")
    template_id: str
    sent_to: str = Field(description="`client` or `staff`")
    recipient_id: str
    to_address: str = Field(description="The To address as it was given")
    to_domain: str
    cc_address: str = Field(description="The CC addresses as they were given, separated by commas")
    subject: str
    status: str
    sub_status: str
    reason: str = Field(
        description="From the event that decides the delivery; for a refused message, from the decision"
    )
    code: str = Field(
        description="The provider's code of that event; for a refused message, the reason code of the decision"
    )
    enhanced_code: str = Field(description="RFC 3463, like 5.1.1")
    classification: str
    date_sent: Time = Field(description="The time inside `email_id`")
    decided_at: Time | None
    dispatched_at: Time | None
    processed_at: Time | None
    delivered_at: Time | None
    bounced_at: Time | None = Field(description="The first bounced, blocked or failed event of the To address")
    opened_at: Time | None
    clicked_at: Time | None
    opens: int = Field(description="By people, as far as the provider reports it; exact up to 1,000")
    machine_opens: int
    clicks: int
    attempts: int = Field(description="Number of deferred events")
    complained: bool
    provider: str
    provider_message_id: str
    appointment_id: str
    anomalies: list[str] = Field(description="Contradictions in the records, like `conflicting_requests`")
    actions: Actions


class Messages(ResponseModel):
    """A page of messages."""

    items: list[Message]
    next: Next


class Facets(ResponseModel):
    """Counts of messages by status, channel and type."""

    total: int
    status: dict[str, int] = Field(description="Messages by status. The values sum to `total`, as in the other facets")
    channel: dict[str, int] = Field(description="Blank for messages without a request or decision")
    type: dict[str, int] = Field(description="By the template's name")


class TimelineEvent(ResponseModel):
    """An event of a message; duplicates are removed."""

    account_id: str
    email_id: str
    event_id: str = Field(description="The same for every repeated delivery of the event")
    type: str = Field(description="Like `requested`, `decided`, `delivered`, `bounced`, `opened`")
    provider: str = Field(description="Blank for our own records")
    occurred_at: Time = Field(description="When the provider says it happened")
    received_at: Time
    address: str = Field(description="The normalised address")
    cc: bool = Field(description="Whether the address is not the To address: such an event does not change the status")
    code: str
    enhanced_code: str
    classification: str
    fault: str = Field(description="`recipient`, `mailbox`, `sender`, `infrastructure`, `unknown` or blank")
    reason: str
    machine: bool = Field(description="Whether the provider reports an automated open or click")
    url: str
    source: str = Field(description="The source position: topic/partition/offset/index")
    provider_message_id: str
    provider_event_id: str
    user_agent: str
    ip: str
    attempt: str
    group: str
    extra: str = Field(
        description="Further fields, as JSON. For a decision: the request, and the evidence that you may see"
    )
    link: str = Field(
        description="Blank if the event names its message; `matched` if it was matched by the provider's id"
    )


class Timeline(ResponseModel):
    """A page of the events of one message, by time of occurrence."""

    items: list[TimelineEvent]
    next: Next


class RawBytes(ResponseModel):
    """Bytes as text."""

    encoding: Literal["utf-8", "base64"] = Field(description="`base64` if they are not UTF-8")
    size_bytes: int
    text: str


class SignatureChecked(ResponseModel):
    """Whether a key that is in force now verifies the signature of the post."""

    result: Literal["valid", "no_key_matches", "not_checkable"] = Field(
        description="`no_key_matches`: the key was rotated since, or the bytes were changed"
    )
    because: str = Field(description="The result in words")
    setting: str = Field(description="The setting with the key that matches, or blank")
    key: int | None = Field(description="The number of that key in the setting, from 1")


class RawProviderEvent(ResponseModel):
    """An event as its provider sent it."""

    account_id: str
    email_id: str
    event_id: str
    provider: str
    type: str
    source: str = Field(description="The source position: topic/partition/offset/index")
    headers: dict[str, str] = Field(description="The headers of the record in Kafka; none has a password")
    signature: SignatureChecked
    element: RawBytes = Field(description="The event's own part: one element of SendGrid's list, else the whole body")
    body: RawBytes | None = Field(
        description="The body of the post; null unless the token covers all accounts, since it may have their events"
    )


class DecisionMade(ResponseModel):
    """The gate's decision: the earliest one."""

    outcome: str
    reason: str = Field(description="The reason code")
    detail: str
    decided_at: Time
    evidence: list[str] = Field(description="The ids of the records behind the decision, as far as you may see them")


class Engagement(ResponseModel):
    """What the recipient did."""

    opened_at: Time | None
    opens: int
    machine_opens: int
    clicked_at: Time | None
    clicks: int


class Axes(ResponseModel):
    """The state of a message by aspect, each with its own rule."""

    decision: DecisionMade | None
    delivery: TimelineEvent | None = Field(description="The event of the highest rank")
    engagement: Engagement
    attempts: int
    complained: bool
    subscription: TimelineEvent | None = Field(description="The latest change of the subscription")


class EventNotCounted(ResponseModel):
    """An event that does not determine the status."""

    event: TimelineEvent
    rule: str = Field(description="Like `cc`, `refused`, `lower_rank`, `later`, `repeated`, `machine`, `no_status`")
    because: str = Field(description="The rule in words")


class MessageExplanation(ResponseModel):
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
    winner: TimelineEvent | None = Field(description="The event that determines the status")
    axes: Axes
    not_counted: list[EventNotCounted] = Field(description="Every other provider event; up to 1,000")
    events_complete: bool = Field(description="Whether all events were considered and are included")


class Rate(ResponseModel):
    """A rate, and its two counts."""

    rate: float | None = Field(description="`count` / `of`; null where `of` is 0")
    count: int
    of: int


class DeliveryCounts(ResponseModel):
    """Counts of messages by outcome."""

    messages: int
    refused: int = Field(
        description="Refused by the gate: Declined, Suppressed, Quota_Exceeded, Not_opted_in and Blocked"
    )
    pending: int = Field(description="Without a provider event yet")
    sent: int = Field(description="All others: with a provider event")
    processed: int = Field(description="Sent, without a later event")
    delivered: int = Field(description="Delivered, and not bounced afterwards; an open or a click proves it")
    bounced: int
    dropped: int
    opened: int = Field(description="Delivered messages that a person opened")
    clicked: int = Field(description="Delivered messages in which a person clicked")
    complained: int = Field(description="Sent messages with a spam complaint")
    refusal_rate: Rate = Field(description="`refused` of `messages`")
    delivery_rate: Rate = Field(description="`delivered` of `sent`")
    bounce_rate: Rate = Field(description="`bounced` of `sent`")
    drop_rate: Rate = Field(description="`dropped` of `sent`")
    open_rate: Rate = Field(description="`opened` of `delivered`")
    click_rate: Rate = Field(description="`clicked` of `delivered`")
    complaint_rate: Rate = Field(description="`complained` of `sent`")


class DeliveryGroup(DeliveryCounts):
    """The counts of a group. It has only those of the optional fields that `group_by` names."""

    hour: Time | None = Field(None, description="The hour of Date Sent, UTC")
    day: Annotated[str | None, Field(json_schema_extra={"format": "date"})] = Field(
        None, description="The day of Date Sent, UTC"
    )
    template: str | None = Field(None, description="The template's id")
    template_name: str | None = Field(None, description="With `template`: its name in the newest message")
    provider: str | None = Field(None, description="Blank until one is known")
    domain: str | None = Field(None, description="Of the To address; blank for an SMS")
    channel: AnyChannel | None = None


class DeliveryStats(ResponseModel):
    """Counts of messages by group, sorted by group."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    items: list[DeliveryGroup]
    next: NoNext
    total: DeliveryCounts = Field(description="Of all groups together")
    from_: Time = Field(alias="from", description="Start of the period, included")
    to: Time = Field(description="End of the period, excluded")


class ArrivalMeasures(ResponseModel):
    """What arrived of one provider and type within some minutes."""

    received: int = Field(description="Events received, each copy of one")
    events: int = Field(description="Distinct events among them")
    duplicate_factor: float | None = Field(
        description="Copies received per event, those of the day before included; null without events"
    )
    out_of_order: int = Field(
        description="New events that are older than an event of the same message which arrived before"
    )
    out_of_order_share: float | None = Field(description="`out_of_order` of the new events; null without any")
    delay_p50_seconds: float | None = Field(
        description="From a new event until it was received: half took no longer. Null if none has a time of its own"
    )
    delay_p95_seconds: float | None = Field(description="95 % took no longer")
    orphans: int = Field(description="Events that belong to no message, as far as is known")


class WeatherOfType(ResponseModel):
    """One provider and event type that was heard of within a day."""

    provider: str
    type: str
    last_received_at: Time
    now: ArrivalMeasures = Field(description="From `from` to `to`")
    day_before: ArrivalMeasures = Field(description="The same minutes of the day before")


class WeatherOfProvider(ResponseModel):
    """What else is known about a provider; null if it could not be read."""

    provider: str
    unread: int | None = Field(description="Webhooks in Kafka that the ledger has not read")
    dead_letters: int | None = Field(description="Open dead letters of its webhooks since `from`")
    signature_failures: int | None = Field(
        description="Webhooks that were refused because of their signature, since the gateways started"
    )
    signature_failed_at: Time | None = Field(description="The last of them; null if there is none")


class WeatherSilence(ResponseModel):
    """A type that is silent while what causes it goes on."""

    provider: str
    type: str = Field(description="Blank: nothing at all comes from the provider")
    since: Time = Field(description="When it was last heard of")
    seconds: int
    expected: int = Field(description="How many events were to be expected meanwhile, at least")
    goes_on: str = Field(description="The type that goes on; `dispatched`: messages are handed over to the provider")
    went_on: int = Field(description="How many of that type there were meanwhile, without the last five minutes")
    likely: Literal["provider", "sendledger", "unclear"] = Field(description="On whose side the cause is more likely")
    cause: Literal[
        "unread_records",
        "dead_letters",
        "refused_signatures",
        "unknown_types",
        "all_providers_silent",
        "provider",
        "nothing_to_compare",
        "evidence_missing",
    ] = Field(description="A stable code")
    what: str = Field(description="For people: the silence in a sentence")
    because: str = Field(description="For people: why it is likely on that side")
    next_step: str = Field(description="For people: what to do next")


class ProviderWeather(ResponseModel):
    """How the events of each provider arrive, of all accounts together."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    items: list[WeatherOfType]
    next: NoNext
    silences: list[WeatherSilence]
    providers: list[WeatherOfProvider]
    from_: Time = Field(alias="from", description="Start of the minutes, included")
    to: Time = Field(description="Their end, excluded")


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


class Account(ResponseModel):
    """An account that the token may see."""

    account_id: str
    messages: int = Field(description="A message counts from its request on")
    last_sent_at: Time | None


class Accounts(ResponseModel):
    """A page of accounts."""

    items: list[Account]
    next: Next


class BouncedAddress(ResponseModel):
    """An address, To or CC, to which messages of an account bounced, were blocked or failed."""

    account_id: str
    channel: Channel
    address: str = Field(description="The address's key")
    bounces: int = Field(description="Number of messages")
    first_bounced_at: Time
    last_bounced_at: Time
    last_reason: str
    last_code: str
    last_classification: str
    last_fault: str
    recipient_kind: str = Field(description="`client` or `staff`; blank for an address that occurs only as CC")
    recipient_id: str
    last_email_id: str
    suppressed: bool = Field(description="Whether the gate refuses to send to it now")


class Bounces(ResponseModel):
    """A page of bounced addresses, by the last bounce."""

    items: list[BouncedAddress]
    next: Next


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


class MessageName(ResponseModel):
    """What a message is known by."""

    account_id: str
    message_id: str


class Accepted(ResponseModel):
    """The requests are stored; they are listed in the order of the request."""

    items: list[MessageName]
    next: NoNext


class Decisions(ResponseModel):
    """The decisions about the requests, in the same order. They have only evidence that you may see."""

    items: list[SendDecision]
    next: NoNext


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


class FieldProblem(ResponseModel):
    """One invalid field."""

    field: str = Field(description="Its path, like `template.kind`; blank for the whole body")
    problem: str = Field(description="How it must be")
    index: int | None = Field(None, description="The request in a list, from 0")
    line: int | None = Field(None, description="The line of a file, from 1")


class Imported(ResponseModel):
    """The result of an import, dry run or not."""

    dry_run: bool
    lines: int
    good: int
    bad: int
    errors: list[FieldProblem] = Field(description="The first 100")


class BulkSample(ResponseModel):
    """An address of a bulk release."""

    address: str
    scope: str = Field(description="`*` for the whole platform, or an account's id")
    since: Time | None = Field(None, description="Of a release: since when it was suppressed")
    reason: str | None = Field(None, description="Of a release: what the provider reported, or the reason")


class BulkReport(ResponseModel):
    """What a part of a bulk release or its undo did; in a dry run, what it would do."""

    id: str = Field(description="The id of the bulk release")
    dry_run: bool
    as_of: Time = Field(description="When it was previewed: what changed later is left as it is")
    addresses: int
    by_account: dict[str, int] = Field(
        description="An address counts for each account with a bounce that counts, or for `*`; the first 100"
    )
    by_cause: dict[str, int] = Field(description="By provider and code; the first 100")
    left: dict[str, int] = Field(description="Addresses that are left as they are; why, for people")
    samples: list[BulkSample] = Field(description="The first 10")
    next: str | None = Field(description="The `cursor` of the next part; null if this was the last one")


class BulkReleaseOfList(ResponseModel):
    """A bulk release, as far as it is in the tables: some seconds after its commands are in the log."""

    id: str
    as_of: Time = Field(description="When it was previewed")
    first_at: Time = Field(description="When its first command was in the log")
    last_at: Time
    actor: str
    reason: str
    note: str = Field(description="The conditions, for people")
    addresses: int
    undone: int = Field(description="How many of the addresses an undo has suppressed again")


class BulkReleases(ResponseModel):
    """A page of bulk releases, the newest first."""

    items: list[BulkReleaseOfList]
    next: Next


class RefusedMessage(ResponseModel):
    """A message that was refused because of a suppression that a bulk release ended."""

    account_id: str
    email_id: str
    date_sent: Time
    decided_at: Time
    channel: Channel
    template_id: str
    type: str = Field(description="The template's name")
    sent_to: str = Field(description="`client` or `staff`")
    recipient_id: str
    to_address: str
    subject: str
    appointment_id: str
    code: str
    reason: str


class RefusedMessages(ResponseModel):
    """A page of messages that were refused."""

    items: list[RefusedMessage]
    next: Next


class Status(ResponseModel):
    """The state of the gateway."""

    status: Literal["alive", "ready"]


class Problem(ResponseModel):
    """An error (RFC 9457). A client acts on `code`; a person reads `detail`."""

    type: str = Field(description="A page that explains the code")
    title: str
    status: int
    detail: str = Field(description="What is wrong, and how to correct it")
    instance: str = Field(description="The path of the request")
    code: str = Field(description="Stable, like `invalid-body`")
    request_id: str = Field(description="Identifies the request in the gateway's log")
    errors: list[FieldProblem] | None = Field(None, description="For an invalid body: the first 100 faults")
    items: list[MessageName] | None = Field(None, description="For send requests: the ids to repeat them with")
    id: str | None = Field(None, description="For a bulk release: the id to repeat it with")
    dry_run: bool | None = Field(None, description="Import only, like the numbers of lines")
    lines: int | None = None
    good: int | None = None
    bad: int | None = None
