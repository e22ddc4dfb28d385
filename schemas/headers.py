"""The headers of a webhook's record and of a dead letter, and the reasons why a record becomes one.

Values are UTF-8 texts; an unused header of a webhook is an empty string.
"""

from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field

from schemas.records import MessageId, Nonblank, Record, Time

__all__ = ["REASONS", "DeadLetterHeaders", "WebhookHeaders"]


class WebhookHeaders(Record):
    """What the gateway writes beside the body. With both, the signature can be checked again years later."""

    webhook_id: MessageId = Field(description="A UUID version 7, also the record's key")
    received_at: Time
    request_url: str = Field(description="The URL as the provider called it, without user and password")
    content_type: str
    signature: str = Field(description="Where the provider signs")
    signed_at: str = Field(description="The provider's own time, as it was signed")
    peer: str = Field(description="The address that the post came from: the provider's, or a proxy's")


Digits = Annotated[str, Field(pattern=r"^[0-9]+$")]


class DeadLetterHeaders(Record):
    """Where the record stood, and why it is here. The headers of the source stand beside these, unchanged."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    topic: Nonblank = Field(alias="dlq.topic")
    partition: Digits = Field(alias="dlq.partition")
    offset: Digits = Field(alias="dlq.offset")
    reason: Nonblank = Field(alias="dlq.reason", description="A stable code")
    detail: str = Field(alias="dlq.detail", description="The reason for people, at most 2,000 characters")
    processor: Literal["ledger", "gate"] = Field(alias="dlq.processor")
    failed_at: Time = Field(alias="dlq.failed_at")
    index: Digits | None = Field(
        None,
        alias="dlq.index",
        description="Where one element of a webhook is bad: its place. The value is that element",
    )


REASONS: Final = {
    "record_not_json": "a record of ours is no JSON",
    "record_invalid": "the schema of its topic refuses it; `dlq.detail` names the field",
    "record_too_large": "a request of more than 256 KiB, or contents of more than 1 MiB",
    "body_not_json": "a webhook's body is no JSON",
    "body_not_events": "SendGrid's body is neither a list nor an object",
    "body_not_object": "Postmark's body, or Twilio's JSON, is no object",
    "body_not_form": "Twilio's body has no `name=value` in it",
    "element_not_object": "an element of SendGrid's list is no object",
    "event_missing": "an element of SendGrid's list has no `event` that is a text",
    "record_type_missing": "Postmark's body has no `RecordType` that is a text",
    "status_missing": "Twilio's body has neither a status nor the text of an inbound message",
    "element_too_deep": "an element of SendGrid's list nests more than some 1,000 levels deep",
    "element_failed": "an element is so odd that our adapter fails on it",
    "body_failed": "a body is so odd that our adapter fails on it",
    "store_refused": "ClickHouse refuses its rows, and did so three times, while it takes other records of the topic",
    "code_failed": "our own code raised on it, while it reads other records of the topic",
    "output_too_large": "what follows from it is larger than Kafka takes",
}
"""`dlq.reason`, and what it means. Codes are stable: alerts and runbooks name them."""
