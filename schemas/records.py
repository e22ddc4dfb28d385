"""The records of our own topics, as the outside writes them: the published models, checked in full.

In:  JSON objects. Unknown fields are ignored; a missing field without default makes the record invalid.
Out: validated models, for HTTP and the published schemas.

The workers read the same records by `schemas.facts`, which decodes faster; tests prove that both accept the same
records and mean the same by them. The rules that both share are the functions below.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from schemas.identity import account_id_or_blank, message_id_or_blank
from schemas.times import rfc3339_us

__all__ = [
    "MAX_REQUEST_BYTES",
    "Recipient",
    "SendDecision",
    "SendDispatched",
    "SendRequest",
    "Template",
    "valid_account_id",
    "valid_message_id",
    "valid_nonblank",
    "valid_time",
]

MAX_REQUEST_BYTES: Final = 256 * 1024

Channel = Literal["email", "sms"]
Outcome = Literal["approved", "blocked", "declined", "not_opted_in", "suppressed", "quota_exceeded"]


def valid_account_id(text: str) -> str:
    """Return an account id as it is, or raise ValueError."""
    if not account_id_or_blank(text):
        raise ValueError("must be 1 to 64 of A-Z a-z 0-9 _ . -")
    return text


def valid_message_id(text: str) -> str:
    """Return a message id in lower case, or raise ValueError."""
    message_id = message_id_or_blank(text)
    if not message_id:
        raise ValueError("must be a UUID version 7 in its canonical text form")
    return message_id


def valid_time(text: str) -> str:
    """Return a time as it is written if it is RFC 3339, or raise ValueError."""
    if rfc3339_us(text) is None:
        raise ValueError("must be an RFC 3339 time, like 2026-11-24T09:30:00Z")
    return text


def valid_nonblank(text: str) -> str:
    """Return a text that has more in it than blanks, or raise ValueError."""
    if not text.strip():
        raise ValueError("must not be blank")
    return text


AccountId = Annotated[str, AfterValidator(valid_account_id)]
MessageId = Annotated[str, AfterValidator(valid_message_id)]
Time = Annotated[str, AfterValidator(valid_time)]
Nonblank = Annotated[str, AfterValidator(valid_nonblank)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, populate_by_name=False)


class Template(_Record):
    """What kind of message it is. `kind` decides which wishes of the recipient count."""

    id: str
    name: str
    kind: Literal["transactional", "marketing", "invitation"]
    unsubscribe_group: str | None = None


class Recipient(_Record):
    """Whom the message is for: a client or a staff member of the account."""

    kind: Literal["client", "staff"]
    id: str
    name: str | None = None


class SendRequest(_Record):
    """An intent to send one message to one To address."""

    message_id: MessageId
    account_id: AccountId
    channel: Channel
    template: Template
    recipient: Recipient
    to: Nonblank
    cc: list[str] | None = None
    sender: Annotated[str | None, Field(alias="from")] = None
    subject: str | None = None
    appointment_id: str | None = None
    requested_at: Time
    metadata: dict[str, str] | None = None


class SendDecision(_Record):
    """What the gate decided about one request, and why; `request` is the request that it decided."""

    message_id: MessageId
    account_id: AccountId
    outcome: Outcome
    reason: str
    detail: str
    evidence: list[str]
    decided_at: Time
    channel: Channel
    to: Nonblank
    request: SendRequest


class SendDispatched(_Record):
    """That a sender handed a message to a provider, which calls it `provider_message_id`."""

    message_id: MessageId
    account_id: AccountId
    provider: Literal["sendgrid", "twilio", "postmark"]
    provider_message_id: Nonblank
    dispatched_at: Time


def problems(error: Any) -> str:
    """Return what a pydantic error says, by field, without the value that was wrong."""
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
