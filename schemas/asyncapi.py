"""The AsyncAPI document: all topics with their keys, records, headers, retention and writers.

In:  the topics (`schemas.topics`) and the models of their records.
Out: an AsyncAPI 3.0 document, as a dict that can be written as JSON. It depends on the code alone: no clock, and
default settings.

It describes sendledger as one application: the action is `receive` for topics that we read, `send` for those we write.
Source: www.asyncapi.com/docs/reference/specification/v3.0.0 and its Kafka bindings 0.5.0 (read 2026-11-25)
"""

from typing import Any, Final

from schemas import topics
from schemas.examples import EXAMPLES
from schemas.json_schemas import RECORDS, definitions
from schemas.topics import Topic

__all__ = ["document"]

_CONTENT_RETENTION_DAYS: Final = 30
_BINDING: Final = "0.5.0"


def document() -> dict[str, Any]:
    """Return the AsyncAPI document."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "sendledger",
            "version": "1.0.0",
            "description": "What became of every email and SMS. Values are UTF-8 JSON objects, except for webhooks and"
            " dead letters, which are bytes. Times are RFC 3339. Unknown fields are ignored; fields may be added, and"
            " are never renamed. Order is guaranteed within one topic and key only.",
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in topics.ALL_TOPICS},
        "operations": {_operation_name(topic): _operation(topic) for topic in topics.ALL_TOPICS},
        "components": {
            "messages": {_message_name(topic): _message(topic) for topic in topics.ALL_TOPICS},
            "schemas": definitions("#/components/schemas/{model}"),
        },
    }


def _channel(topic: Topic) -> dict[str, Any]:
    configured = topic.configuration(_CONTENT_RETENTION_DAYS)
    name = _message_name(topic)
    return {
        "address": topic.name,
        "description": f"Holds {topic.holds}. Key: {topic.key}. Kept {_kept(topic)}. Written by: {topic.written_by}.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "topicConfiguration": {
                    "cleanup.policy": [configured["cleanup.policy"]],
                    "retention.ms": int(configured["retention.ms"]),
                    "retention.bytes": int(configured["retention.bytes"]),
                    "max.message.bytes": int(configured["max.message.bytes"]),
                    "message.timestamp.type": configured["message.timestamp.type"],
                },
                "bindingVersion": _BINDING,
            }
        },
        "x-key": topic.key,
        "x-cleanup": topic.cleanup,
        "x-written-by": topic.written_by,
    }


def _operation_name(topic: Topic) -> str:
    return f"{'send' if topic.by_us else 'receive'}.{topic.name}"


def _operation(topic: Topic) -> dict[str, Any]:
    return {
        "action": "send" if topic.by_us else "receive",
        "channel": {"$ref": f"#/channels/{topic.name}"},
        "summary": f"Written by: {topic.written_by}",
        "messages": [{"$ref": f"#/channels/{topic.name}/messages/{_message_name(topic)}"}],
    }


def _message_name(topic: Topic) -> str:
    if topic.holds in RECORDS:
        return topic.holds
    if topic == topics.DEAD_LETTERS:
        return "DeadLetter"
    return f"{topic.name.removeprefix('webhooks.').title()}Webhook"


def _message(topic: Topic) -> dict[str, Any]:
    name = _message_name(topic)
    example = EXAMPLES[name]
    shown = {"payload": example.payload} if example.headers is None else example._asdict()
    return {
        "name": name,
        "title": name,
        "contentType": _content_type(topic),
        "payload": _payload(topic),
        **_headers(topic),
        "bindings": {"kafka": {"key": {"type": "string", "description": topic.key}, "bindingVersion": _BINDING}},
        "examples": [{"name": name, **shown}],
    }


def _content_type(topic: Topic) -> str:
    if topic == topics.WEBHOOKS["twilio"]:
        return "application/x-www-form-urlencoded"
    return "application/octet-stream" if topic == topics.DEAD_LETTERS else "application/json"


def _payload(topic: Topic) -> dict[str, Any]:
    if topic.holds in RECORDS:
        return {"$ref": f"#/components/schemas/{topic.holds}"}
    if topic == topics.DEAD_LETTERS:
        return {"description": "The source's value, byte for byte; if one element of a webhook is bad, that element."}
    return {"description": "The body of the provider's POST, byte for byte, in the provider's own format."}


def _headers(topic: Topic) -> dict[str, Any]:
    if topic == topics.DEAD_LETTERS:
        return {"headers": {"$ref": "#/components/schemas/DeadLetterHeaders"}}
    if topic in topics.WEBHOOKS.values():
        return {"headers": {"$ref": "#/components/schemas/WebhookHeaders"}}
    return {}


def _kept(topic: Topic) -> str:
    return "for ever" if topic.cleanup == "keep" else f"{_CONTENT_RETENTION_DAYS} days, unless set otherwise"
