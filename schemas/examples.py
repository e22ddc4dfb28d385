"""An example of every message, as shown in the AsyncAPI document. Tests validate each example with its model.

Records and JSON bodies are given as Python values; other bodies as text.
"""

from typing import Any, Final, NamedTuple

__all__ = ["EXAMPLES", "Example"]

_ACCOUNT: Final = "acme"
_MESSAGE: Final = "0199d29b-09c0-7abc-8def-0123456789ab"
_AT: Final = "2025-10-11T09:30:00.000000Z"
_REQUEST: Final = {
    "message_id": _MESSAGE,
    "account_id": _ACCOUNT,
    "channel": "email",
    "template": {"id": "appointment-reminder", "name": "Appointment reminder", "kind": "transactional"},
    "recipient": {"kind": "client", "id": "c-17", "name": "Ann Example"},
    "to": "Ann@Example.com",
    "cc": ["front.desk@example.com"],
    "from": "hello@booking.example",
    "subject": "See you tomorrow at ten",
    "appointment_id": "a-42",
    "requested_at": _AT,
    "metadata": {"locale": "en"},
}
_EVENT: Final = {
    "event": "delivered",
    "email": "ann@example.com",
    "timestamp": 1760175000,
    "sg_message_id": "m1.filter",
}
_OUR_IDS: Final = {"sl_account": _ACCOUNT, "sl_message": _MESSAGE}
_URL: Final = "https://ledger.booking.example/webhooks/"
_WEBHOOK_HEADERS: Final = {
    "webhook_id": "0199d29b-0dd0-7abc-8def-0123456789ab",
    "received_at": "2025-10-11T09:30:01.040000Z",
    "request_url": f"{_URL}sendgrid",
    "content_type": "application/json",
    "signature": "MEUCIQ…",
    "signed_at": "1760175001",
    "peer": "192.0.2.7",
}


class Example(NamedTuple):
    """An example of a message: its value, and its headers where they are documented."""

    payload: Any
    headers: dict[str, str] | None = None


EXAMPLES: Final[dict[str, Example]] = {
    "SendRequest": Example(_REQUEST),
    "SendContent": Example(
        {
            "message_id": _MESSAGE,
            "account_id": _ACCOUNT,
            "html": "<p>See you tomorrow.</p>",
            "text": "See you tomorrow.",
        }
    ),
    "SendDecision": Example(
        {
            "message_id": _MESSAGE,
            "account_id": _ACCOUNT,
            "outcome": "suppressed",
            "reason": "bounces",
            "detail": "3 messages to this address bounced within 30 days",
            "evidence": ["0f343b0931126a20f133d67c2b018a3b"],
            "decided_at": _AT,
            "channel": "email",
            "to": "Ann@Example.com",
            "request": _REQUEST,
        }
    ),
    "SendDispatched": Example(
        {
            "message_id": _MESSAGE,
            "account_id": _ACCOUNT,
            "provider": "sendgrid",
            "provider_message_id": "m1",
            "dispatched_at": _AT,
        }
    ),
    "ContentErased": Example(
        {
            "erasure_id": "0199d29b-09c0-7abc-8def-0123456789ad",
            "message_id": _MESSAGE,
            "account_id": _ACCOUNT,
            "reason": "request 4711 of the client",
            "actor": "cli:ann",
            "at": _AT,
        }
    ),
    "SendgridWebhook": Example([_EVENT | _OUR_IDS], _WEBHOOK_HEADERS),
    "TwilioWebhook": Example(
        "MessageSid=SM0123456789abcdef0123456789abcdef&MessageStatus=delivered&To=%2B14155550123",
        _WEBHOOK_HEADERS
        | {
            "request_url": f"{_URL}twilio?sl_account={_ACCOUNT}&sl_message={_MESSAGE}",
            "content_type": "application/x-www-form-urlencoded",
            "signed_at": "",
        },
    ),
    "PostmarkWebhook": Example(
        {"RecordType": "Delivery", "MessageID": "m1", "Recipient": "ann@example.com", "Metadata": _OUR_IDS},
        _WEBHOOK_HEADERS | {"request_url": f"{_URL}postmark", "signature": "", "signed_at": ""},
    ),
    "AccountPolicy": Example(
        {"account_id": _ACCOUNT, "trial_started_at": "2025-10-01T00:00:00Z", "trial_days": 14, "updated_at": _AT}
    ),
    "RecipientPreference": Example(
        {
            "account_id": _ACCOUNT,
            "recipient_kind": "client",
            "recipient_id": "c-17",
            "declined_templates": ["newsletter"],
            "updated_at": _AT,
        }
    ),
    "SuppressionCommand": Example(
        {
            "command_id": "0199d29b-09c0-7abc-8def-0123456789ac",
            "action": "release",
            "channel": "email",
            "address": "ann@example.com",
            "scope": "*",
            "reason": "the mailbox is in use again, she called",
            "actor": "support",
            "at": _AT,
        }
    ),
    "SuppressionState": Example(
        {
            "channel": "email",
            "address": "ann@example.com",
            "scopes": [
                {
                    "scope": "*",
                    "suppressed": False,
                    "reason": "bounces",
                    "since": "2025-10-09T08:00:00.000000Z",
                    "evidence": [],
                    "released": {"at": _AT, "actor": "support"},
                }
            ],
            "opt_outs": [{"scope": _ACCOUNT, "group": "12", "reason": "group_unsubscribed", "since": _AT}],
            "version": 2,
            "changed_at": _AT,
        }
    ),
    "DeadLetter": Example(
        "no object",
        _WEBHOOK_HEADERS
        | {
            "dlq.topic": "webhooks.sendgrid",
            "dlq.partition": "3",
            "dlq.offset": "1204",
            "dlq.reason": "element_not_object",
            "dlq.detail": "an element must be an object",
            "dlq.processor": "ledger",
            "dlq.failed_at": _AT,
            "dlq.index": "2",
        },
    ),
    "DeadLetterHandled": Example(
        {
            "letter": "3:17",
            "source": "webhooks.sendgrid/3/1204/2",
            "processor": "ledger",
            "action": "redriven",
            "actor": "cli",
            "reason": "the decoder was fixed",
            "at": _AT,
        }
    ),
}
