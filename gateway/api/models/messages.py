"""Models of messages and their timelines."""

from pydantic import Field

from gateway.api.models.common import AnyChannel, Next, ResponseModel, Time

__all__ = ["Facets", "Message", "Messages", "Timeline", "TimelineEvent"]


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
