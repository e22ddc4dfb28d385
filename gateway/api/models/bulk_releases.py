"""Models of bulk releases."""

from pydantic import Field

from gateway.api.models.common import Next, ResponseModel, Time
from schemas.records import Channel

__all__ = ["BulkReleases", "BulkReport", "RefusedMessages"]


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
