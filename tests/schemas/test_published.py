"""What is published: JSON Schemas that say what the models enforce, and an AsyncAPI document of every topic."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import orjson
import pytest

from processors.dead_letters.parking import DeadLetter, _headers
from schemas import topics
from schemas.asyncapi import document
from schemas.decoding.ids import sent_at_us
from schemas.decoding.times import rfc3339_us
from schemas.events import Rejection, SourcePosition
from schemas.examples import EXAMPLES
from schemas.headers import REASONS, DeadLetterHeaders, WebhookHeaders
from schemas.json_schemas import HEADERS, RECORDS, definitions, json_schemas
from schemas.providers import ADAPTERS
from tests.building import FakeRecord

DOCUMENT: Final = document()
MESSAGES: Final = DOCUMENT["components"]["messages"]
_NEWER_THAN_DRAFT_7: Final = {"$defs", "prefixItems", "unevaluatedProperties", "dependentRequired", "$anchor"}


def walk(node: object) -> Iterator[dict[str, Any]]:
    """Every object in a JSON value."""
    if isinstance(node, dict):
        yield node
        for child in node.values():
            yield from walk(child)
    elif isinstance(node, list):
        for child in node:
            yield from walk(child)


def resolved(reference: str, root: dict[str, Any] = DOCUMENT) -> Any:
    """What a local reference leads to; raises KeyError if nowhere."""
    assert reference.startswith("#/")
    node: Any = root
    for step in reference[2:].split("/"):
        node = node[step]
    return node


class TestJsonSchemas:
    @pytest.mark.parametrize("name", [*RECORDS, *HEADERS])
    def test_a_schema_is_self_contained(self, name: str) -> None:
        schema = json_schemas()[name]
        assert (schema["title"], schema["type"]) == (name, "object")
        assert schema["description"]
        for node in walk(schema):
            if "$ref" in node:
                resolved(node["$ref"], schema)

    @pytest.mark.parametrize("name", list(RECORDS))
    def test_required_is_what_the_model_requires(self, name: str) -> None:
        kind = RECORDS[name]
        wanted = {field.alias or key for key, field in kind.model_fields.items() if field.is_required()}
        assert set(json_schemas()[name]["required"]) == wanted

    def test_unknown_fields_are_not_forbidden(self) -> None:
        assert [node for node in walk(json_schemas()) if node.get("additionalProperties") is False] == []

    def test_a_pattern_rejects_what_the_model_rejects(self) -> None:
        fields = json_schemas()["SendRequest"]["properties"]
        example = EXAMPLES["SendRequest"].payload
        for field, wrong in (
            ("message_id", "0199d29b-09c0-4abc-8def-0123456789ab"),
            ("account_id", "a b"),
            ("to", " "),
        ):
            assert re.search(fields[field]["pattern"], example[field])
            assert not re.search(fields[field]["pattern"], wrong)
            with pytest.raises(ValueError, match=field):
                RECORDS["SendRequest"].model_validate(example | {field: wrong})


class TestAsyncApi:
    def test_it_is_a_document_of_version_3(self) -> None:
        assert DOCUMENT["asyncapi"] == "3.0.0"
        assert {"title", "version"} <= DOCUMENT["info"].keys()
        assert DOCUMENT.keys() <= {"asyncapi", "info", "defaultContentType", "channels", "operations", "components"}

    def test_every_topic_is_a_channel_with_all_that_a_writer_needs(self) -> None:
        assert {channel["address"] for channel in DOCUMENT["channels"].values()} == {t.name for t in topics.ALL_TOPICS}
        for topic in topics.ALL_TOPICS:
            channel = DOCUMENT["channels"][topic.name]
            kafka = channel["bindings"]["kafka"]
            kept = kafka["topicConfiguration"]["retention.ms"]
            assert (channel["x-key"], channel["x-written-by"], kafka["topic"]) == (
                topic.key,
                topic.written_by,
                topic.name,
            )
            assert (kept == -1) == (topic.cleanup == "keep")
            assert kafka["topicConfiguration"]["cleanup.policy"] == ["delete"]
            assert kafka["topicConfiguration"]["message.timestamp.type"] == "LogAppendTime"

    def test_every_reference_can_be_resolved(self) -> None:
        for node in walk(DOCUMENT):
            if "$ref" in node:
                resolved(node["$ref"])

    def test_a_channel_has_one_message_and_one_operation(self) -> None:
        of_channels = [op["channel"]["$ref"] for op in DOCUMENT["operations"].values()]
        assert sorted(of_channels) == sorted(f"#/channels/{name}" for name in DOCUMENT["channels"])
        for operation in DOCUMENT["operations"].values():
            assert operation["action"] in ("send", "receive")
            channel = resolved(operation["channel"]["$ref"])
            (named,) = operation["messages"]
            (message,) = channel["messages"].values()
            assert resolved(named["$ref"]) == message
            assert set(message) == {"$ref"}

    def test_topics_that_we_write_are_sent_and_the_rest_received(self) -> None:
        sent = {name.removeprefix("send.") for name in DOCUMENT["operations"] if name.startswith("send.")}
        ours = {"gate", "gateway", "any processor", "`sendledger dead-letters`, gateway", "`sendledger erase-contents`"}
        assert sent == {topic.name for topic in topics.ALL_TOPICS if topic.written_by in ours}

    def test_a_message_has_its_schema_its_headers_and_its_key(self) -> None:
        for name, message in MESSAGES.items():
            assert message["bindings"]["kafka"]["key"]["type"] == "string"
            assert ("headers" in message) == (name not in RECORDS)
            if name in RECORDS:
                assert resolved(message["payload"]["$ref"])["title"] == name

    def test_its_schemas_use_nothing_newer_than_its_dialect(self) -> None:
        """AsyncAPI's own schema object is a superset of draft 7."""
        schemas = DOCUMENT["components"]["schemas"]
        assert [key for node in walk(schemas) for key in node if key in _NEWER_THAN_DRAFT_7] == []
        assert schemas == definitions("#/components/schemas/{model}")

    def test_it_is_json_and_no_larger_than_it_must_be(self) -> None:
        assert len(orjson.dumps(DOCUMENT, option=orjson.OPT_INDENT_2)) < 1_000_000
        assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT


class TestExamples:
    def test_every_message_has_one(self) -> None:
        assert EXAMPLES.keys() == MESSAGES.keys()
        assert all(len(message["examples"]) == 1 for message in MESSAGES.values())

    @pytest.mark.parametrize("name", list(RECORDS))
    def test_a_record_is_valid_for_its_model(self, name: str) -> None:
        (example,) = MESSAGES[name]["examples"]
        taken = RECORDS[name].model_validate_json(orjson.dumps(example["payload"]))
        shown = taken.model_dump(by_alias=True, exclude_unset=True)
        assert shown == example["payload"]  # nothing in it is an unknown field

    @pytest.mark.parametrize("provider", list(ADAPTERS))
    def test_a_webhook_is_valid_for_its_adapter(self, provider: str) -> None:
        (example,) = MESSAGES[f"{provider.title()}Webhook"]["examples"]
        payload = example["payload"]
        body = payload.encode() if isinstance(payload, str) else orjson.dumps(payload)
        headers = [(name, text.encode()) for name, text in example["headers"].items()]
        said = WebhookHeaders.model_validate(example["headers"])
        received_us = rfc3339_us(said.received_at)
        assert received_us is not None
        events, rejections = ADAPTERS[provider](
            body, SourcePosition(f"webhooks.{provider}", 0, 0, received_us), headers
        )
        assert rejections == []
        assert [(event.type, event.account_id, bool(event.message_id)) for event in events] == [
            ("delivered", "acme", True)
        ]
        assert (sent_at_us(said.webhook_id) - received_us) // 1_000_000 == 0

    def test_a_dead_letter_has_its_headers_and_those_of_its_source(self) -> None:
        (example,) = MESSAGES["DeadLetter"]["examples"]
        DeadLetterHeaders.model_validate(example["headers"])
        WebhookHeaders.model_validate(example["headers"])
        assert example["headers"]["dlq.reason"] in REASONS


@pytest.mark.parametrize("position", [None, 3])
def test_the_headers_of_a_letter_are_those_that_are_published(position: int | None) -> None:
    record = FakeRecord("webhooks.sendgrid", b"{", offset=9)
    written = _headers(DeadLetter(record, Rejection("body_not_json", "no", b"{", position)), "ledger", 1_795_512_600.25)
    said = DeadLetterHeaders.model_validate({name: value.decode() for name, value in written.items()})
    assert (said.offset, said.index) == ("9", None if position is None else str(position))
    assert said.failed_at == "2026-11-24T09:30:00.250000Z"
    assert said.model_extra == {}
