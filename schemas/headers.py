"""The headers of webhook records and of dead letters, and the reasons why a record becomes a dead letter.

Values are UTF-8 strings; an unused header of a webhook is an empty string.
"""

from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field

from schemas.records import MessageId, Nonblank, Record, Time

__all__ = ["REASONS", "DeadLetterHeaders", "WebhookHeaders"]


class WebhookHeaders(Record):
    """The headers that the gateway writes with a webhook's body, so that its signature can be verified again later."""

    webhook_id: MessageId = Field(description="A UUID version 7; also the record's key")
    received_at: Time
    request_url: str = Field(description="The URL that the provider called, without user and password")
    content_type: str
    signature: str = Field(description="The provider's signature, if it signs webhooks")
    signed_at: str = Field(description="The provider's timestamp, as it was signed")
    peer: str = Field(description="The IP address that sent the POST: the provider's, or a proxy's")
    traceparent: str | None = Field(
        None, description="Only if the webhook is traced: the span that wrote the record (W3C Trace Context)"
    )


Digits = Annotated[str, Field(pattern=r"^[0-9]+$")]


class DeadLetterHeaders(Record):
    """The source position of a dead letter, and why it was parked. The source's own headers are kept unchanged."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    topic: Nonblank = Field(alias="dlq.topic")
    partition: Digits = Field(alias="dlq.partition")
    offset: Digits = Field(alias="dlq.offset")
    reason: Nonblank = Field(alias="dlq.reason", description="A stable code")
    detail: str = Field(alias="dlq.detail", description="The reason in words, at most 2,000 characters")
    processor: Literal["ledger", "gate"] = Field(alias="dlq.processor")
    failed_at: Time = Field(alias="dlq.failed_at")
    index: Digits | None = Field(
        None,
        alias="dlq.index",
        description="The index, from 0, if one element of a webhook was rejected. The value is then that element",
    )
    redriven_from: str | None = Field(
        None,
        pattern=r"^[0-9]+:[0-9]+$",
        alias="dlq.redriven_from",
        description="The earlier dead letter of this record, if an operator sent it back: its partition and offset",
    )


REASONS: Final = {
    "record_not_json": "a record of one of our own topics is not JSON",
    "record_invalid": "the record does not match the schema of its topic; `dlq.detail` names the field",
    "record_too_large": "a request of more than 256 KiB, or contents of more than 1 MiB",
    "body_not_json": "a webhook's body is not JSON",
    "body_not_events": "SendGrid's body is neither a list nor an object",
    "body_not_object": "Postmark's body, or Twilio's JSON, is not an object",
    "body_not_form": "Twilio's body has no `name=value` pair",
    "element_not_object": "an element of SendGrid's list is not an object",
    "event_missing": "an element of SendGrid's list has no `event`, or it is blank or not a string",
    "record_type_missing": "Postmark's body has no `RecordType`, or it is blank or not a string",
    "status_missing": "Twilio's body has neither a status nor the text of an inbound message",
    "element_too_deep": "an element of SendGrid's list nests more than about 1,000 levels deep",
    "element_failed": "our adapter raised an exception on this element",
    "body_failed": "our adapter raised an exception on this body",
    "store_refused": "ClickHouse rejected its rows three times, while it takes other records of the topic",
    "code_failed": "our own code raised an exception on it, while it processes other records of the topic",
    "output_too_large": "a record that results from it is larger than Kafka takes",
}
"""Each `dlq.reason`, and what it means. The codes are stable: alerts and runbooks name them."""
