"""Models of Bounced Emails."""

from pydantic import Field

from gateway.api.models.common import Next, ResponseModel, Time
from schemas.records import Channel

__all__ = ["Bounces"]


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
