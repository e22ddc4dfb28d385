"""Models of delivery statistics."""

from typing import Annotated

from pydantic import ConfigDict, Field

from gateway.api.models.common import AnyChannel, NoNext, ResponseModel, Time

__all__ = ["DeliveryStats"]


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
