"""Models of what explains a message: its raw events, axes and evidence."""

from typing import Literal

from pydantic import Field

from gateway.api.models.common import ResponseModel, Time
from gateway.api.models.messages import TimelineEvent

__all__ = ["MessageExplanation", "RawProviderEvent"]


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
