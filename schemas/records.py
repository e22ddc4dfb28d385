"""The published models of the records in our own topics, with full validation.

In:  JSON objects. Unknown fields are ignored; a missing field without a default makes the record invalid.
Out: validated models, for HTTP and the published schemas.

The workers read the same records with `schemas.decoding.sends`, which is faster. Tests prove that both accept the
same records and give them the same meaning. The functions below are the rules that both share.
"""

import math
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from schemas.decoding.ids import account_id_or_blank, message_id_or_blank
from schemas.decoding.json_text import text_of
from schemas.decoding.times import rfc3339_us
from schemas.providers.provider_ids import PROVIDER_ID_KEYS

__all__ = [
    "MAX_CONTENT_BYTES",
    "MAX_REQUEST_BYTES",
    "AccountId",
    "Channel",
    "ContentErased",
    "DeadLetterHandled",
    "Id",
    "MessageId",
    "Nonblank",
    "NonblankId",
    "Recipient",
    "RecipientKind",
    "Record",
    "SendContent",
    "SendDecision",
    "SendDispatched",
    "SendRequest",
    "Template",
    "Time",
    "id_text",
    "problems",
    "valid_account_id",
    "valid_message_id",
    "valid_nonblank",
    "valid_provider_id",
    "valid_time",
]

MAX_REQUEST_BYTES: Final = 256 * 1024
MAX_CONTENT_BYTES: Final = 1024 * 1024

Channel = Literal["email", "sms"]
RecipientKind = Literal["client", "staff"]
Outcome = Literal["approved", "blocked", "declined", "not_opted_in", "suppressed", "quota_exceeded"]


def id_text(value: object) -> object:
    """Convert an id that is given as a number to a string (4711 and 4711.0 become `4711`); return other values as is.

    SendGrid's unsubscribe groups are numbers, and so are the ids of many databases. A boolean is not a number here.
    """
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        return text_of(value)
    return value


def valid_account_id(text: str) -> str:
    """Return `text` if it is a valid account id, or raise ValueError."""
    if not account_id_or_blank(text):
        raise ValueError("must have 1 to 64 characters, each one of A-Z a-z 0-9 _ . -")
    return text


def valid_message_id(text: str) -> str:
    """Return a message id in lower case, or raise ValueError."""
    message_id = message_id_or_blank(text)
    if not message_id:
        raise ValueError("must be a UUID version 7 in its canonical text form")
    return message_id


def valid_time(text: str) -> str:
    """Return `text` unchanged if it is an RFC 3339 time, or raise ValueError."""
    if rfc3339_us(text) is None:
        raise ValueError("must be an RFC 3339 time, like 2026-11-24T09:30:00Z")
    return text


def valid_provider_id(provider: str, text: str) -> str:
    """Return a provider's message id in its canonical form, in which ids can be compared, or raise ValueError."""
    key = PROVIDER_ID_KEYS[provider](text)
    if not key:
        raise ValueError(f"provider_message_id: must be a message id of {provider}")
    return key


def valid_nonblank(text: str) -> str:
    """Return `text` unchanged if it has more than whitespace, or raise ValueError."""
    if not text.strip():
        raise ValueError("must not be blank")
    return text


# JSON Schema does not show what a validator rejects, so each type states it a second time, in `json_schema_extra`.
_TEXT_OR_NUMBER: Final[Any] = ["string", "number"]
AccountId = Annotated[
    str,
    BeforeValidator(id_text),
    AfterValidator(valid_account_id),
    Field(json_schema_extra={"type": _TEXT_OR_NUMBER, "pattern": r"^[A-Za-z0-9_.-]{1,64}$"}),
]
Id = Annotated[str, BeforeValidator(id_text), Field(json_schema_extra={"type": _TEXT_OR_NUMBER})]
NonblankId = Annotated[
    str,
    BeforeValidator(id_text),
    AfterValidator(valid_nonblank),
    Field(json_schema_extra={"type": _TEXT_OR_NUMBER, "pattern": r"\S"}),
]
MessageId = Annotated[
    str,
    AfterValidator(valid_message_id),
    Field(
        json_schema_extra={
            "pattern": "^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-7[0-9A-Fa-f]{3}-[89ABab][0-9A-Fa-f]{3}-[0-9A-Fa-f]{12}$"
        }
    ),
]
Time = Annotated[str, AfterValidator(valid_time), Field(json_schema_extra={"format": "date-time"})]
Nonblank = Annotated[str, AfterValidator(valid_nonblank), Field(json_schema_extra={"pattern": r"\S"})]


class Record(BaseModel):
    """A record of one of our topics: known fields are checked strictly, unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, populate_by_name=False)


class Template(Record):
    """The template of a message. `kind` decides which preferences and opt-outs of the recipient apply."""

    id: Id
    name: str
    kind: Literal["transactional", "marketing", "invitation"]
    unsubscribe_group: Id | None = Field(None, description="The group that its unsubscribe link unsubscribes from")


class Recipient(Record):
    """The recipient of a message: a client or a staff member of the account."""

    kind: RecipientKind
    id: Id
    name: str | None = None


class SendRequest(Record):
    """A request to send one message to one To address. At most 256 KiB."""

    message_id: MessageId = Field(
        description="A UUID version 7, made when the send is requested: its time is Date Sent"
    )
    account_id: AccountId
    channel: Channel
    template: Template
    recipient: Recipient
    to: Nonblank = Field(description="The To address as it was written: an email address or a phone number")
    cc: list[str] | None = None
    sender: Annotated[str | None, Field(alias="from")] = None
    subject: str | None = None
    appointment_id: Id | None = None
    requested_at: Time = Field(description="Within a day of the time in message_id")
    metadata: dict[str, str] | None = None


class SendContent(Record):
    """The contents of a message, for the preview. HTML and text together have at most 1 MiB (UTF-8)."""

    message_id: MessageId
    account_id: AccountId
    html: str | None = None
    text: str | None = None

    @model_validator(mode="after")
    def _bounded(self) -> "SendContent":
        # "surrogatepass": half a surrogate pair comes from an emoji that was cut in two; the rest must not be lost.
        size = sum(len(part.encode("utf-8", "surrogatepass")) for part in (self.html, self.text) if part)
        if size > MAX_CONTENT_BYTES:
            raise ValueError(f"html and text have {size} bytes; together they may have {MAX_CONTENT_BYTES}")
        return self


class SendDecision(Record):
    """The gate's decision about one request, and the reason."""

    message_id: MessageId
    account_id: AccountId
    outcome: Outcome
    reason: str = Field(description="A stable code, like `ok`, `bounces` or `trial_ended`")
    detail: str = Field(description="The reason in words")
    evidence: list[Id] = Field(description="The ids of the events or commands that caused it")
    decided_at: Time
    channel: Channel
    to: Nonblank
    request: SendRequest = Field(description="The request that was decided: a sender needs no other topic")


class SendDispatched(Record):
    """A sender has handed a message to a provider. A message is dispatched once; a resend is a new message."""

    message_id: MessageId
    account_id: AccountId
    provider: Literal["sendgrid", "twilio", "postmark"]
    provider_message_id: NonblankId = Field(description="The provider's id of the message, in any of its forms")
    dispatched_at: Time

    @model_validator(mode="after")
    def _named(self) -> "SendDispatched":
        valid_provider_id(self.provider, self.provider_message_id)
        return self


class ContentErased(Record):
    """The contents of a message were erased. The record has neither contents nor address, and is kept for ever."""

    erasure_id: NonblankId = Field(description="The same in all records of one command")
    message_id: MessageId
    account_id: AccountId
    reason: Nonblank
    actor: Nonblank
    at: Time


class DeadLetterHandled(Record):
    """An operator has sent a dead letter back to its topic, or discarded it."""

    letter: str = Field(pattern=r"^[0-9]+:[0-9]+$", description="The letter: its partition and offset in dead-letters")
    source: str = Field(description="The record that it is of: topic/partition/offset, and the index of an element")
    processor: str = Field(description="Who parked it: `ledger` or `gate`")
    action: Literal["redriven", "discarded"]
    actor: Nonblank
    reason: str
    at: Time


def problems(error: Any) -> str:
    """Return the messages of a pydantic error by field, without the invalid values."""
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
