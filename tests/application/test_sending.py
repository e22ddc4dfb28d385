"""Sending: the records in Kafka, the error for a repeat with other content, and the decisions for callers that wait."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from application.decisions import DecisionListener, DecisionRecord, Waiter
from application.errors import FieldsInvalid
from application.principals import Principal
from application.send_requests import MessageKey, PreparedSend, SendContext, parse_sends
from application.sending import Sending, ids_of
from schemas.decoding.sends import decode_decision
from schemas.decoding.times import rfc3339
from schemas.errors import BrokerError, RequestError
from schemas.records import MAX_CONTENT_BYTES
from tests.application.building import (
    NOW_US,
    NOWHERE,
    FakeKafka,
    a_message_id,
    a_principal,
    a_send,
    records,
    unanswered,
)
from tests.building import a_source_position

ACME = a_principal()
POLICIES = [f"policy:{account}@{rfc3339(NOW_US)}" for account in ("acme", "globex")]


class Knowing(DecisionListener):
    """A listener that has these decisions immediately; without any, one that can't read the topic."""

    def __init__(self, *decisions: dict[str, Any]) -> None:
        super().__init__("127.0.0.1:1")
        self._known = list(map(orjson.dumps, decisions))

    @asynccontextmanager
    async def subscribe(self, message_keys: Collection[MessageKey]) -> AsyncIterator[Waiter | None]:
        waiter = Waiter(message_keys)
        for value in self._known:
            decision = decode_decision(value, a_source_position(received_us=2**60))
            waiter.deliver(MessageKey(decision.account_id, decision.message_id), DecisionRecord(value, decision))
        yield waiter if self._known else None


def read(body: object, principal: Principal = ACME, key: str | None = None) -> list[PreparedSend]:
    return parse_sends(body, SendContext(principal, key, NOW_US, decision_days=30))


def a_decision(request: dict[str, Any]) -> dict[str, Any]:
    return {name: request[name] for name in ("message_id", "account_id", "channel", "to")} | {
        "outcome": "approved",
        "reason": "ok",
        "detail": "Nothing is against it",
        "evidence": POLICIES,
        "decided_at": rfc3339(NOW_US),
        "request": request,
    }


async def test_a_request_and_its_content_are_in_the_log() -> None:
    kafka = FakeKafka()
    sends = read(a_send(content={"text": "See you tomorrow."}))
    await Sending(kafka, Knowing(), NOWHERE).send(sends, ACME)
    [(key, content)] = records(kafka, "sends.content")
    [(_, request)] = records(kafka, "sends.requested")
    assert (key, content["text"]) == (a_message_id(), "See you tomorrow.")
    assert (request["message_id"], ids_of(sends)) == (key, [{"account_id": "acme", "message_id": key}])
    assert [headers["actor"] for _, _, _, headers in kafka.sent] == [b"jo", b"jo"]


async def test_a_key_that_was_used_for_another_request_is_a_conflict() -> None:
    kafka = FakeKafka()
    sending = Sending(kafka, Knowing(), NOWHERE)
    await sending.send(read(a_send(message_id=...), key="k"), ACME)
    with pytest.raises(FieldsInvalid) as raised:
        await sending.send(read(a_send(message_id=..., subject="Other"), key="k"), ACME)
    assert (raised.value.code, len(kafka.sent)) == ("idempotency-conflict", 1)


async def test_a_waiting_caller_gets_the_decision_without_evidence_of_others() -> None:
    request = a_send()
    sending = Sending(FakeKafka(), Knowing(a_decision(request)), NOWHERE)
    decisions = await sending.send_and_wait(read(request), ACME, unanswered)
    assert decisions is not None
    assert [orjson.loads(one)["evidence"] for one in decisions] == [POLICIES[:1]]
    assert await sending.send_and_wait(read(request), a_principal("*")) == [orjson.dumps(a_decision(request))]


async def test_if_decisions_can_not_be_read_the_requests_are_still_written() -> None:
    kafka = FakeKafka()
    assert await Sending(kafka, Knowing(), NOWHERE).send_and_wait(read(a_send()), ACME) is None
    assert len(records(kafka, "sends.requested")) == 1


async def test_a_repeat_with_another_content_is_a_conflict_that_names_the_ids() -> None:
    sending = Sending(FakeKafka(), Knowing(a_decision(a_send())), NOWHERE)
    with pytest.raises(FieldsInvalid) as raised:
        await sending.send_and_wait(read(a_send(subject="Other")), ACME)
    assert (raised.value.code, [fault.field for fault in raised.value.faults]) == ("idempotency-conflict", ["subject"])
    assert raised.value.more["items"] == [{"account_id": "acme", "message_id": a_message_id()}]


async def test_an_unreachable_kafka_is_a_broker_error() -> None:
    kafka = FakeKafka()
    kafka.fails = True
    with pytest.raises(BrokerError):
        await Sending(kafka, Knowing(), NOWHERE).send(read(a_send()), ACME)


@pytest.mark.parametrize(
    ("body", "code", "fields"),
    [
        pytest.param([], "invalid-body", ["body"], id="no request"),
        pytest.param(a_send(colour="red"), "invalid-body", ["colour"], id="an unknown field"),
        pytest.param([a_send(), a_send()], "invalid-body", ["message_id"], id="one id twice"),
        pytest.param(a_send(content={"text": "x" * (MAX_CONTENT_BYTES + 1)}), "too-large", ["content"], id="too large"),
        pytest.param(a_send(template={"id": "t", "x": 1}), "invalid-body", ["template.x"], id="a nested field"),
    ],
)
def test_an_invalid_request_has_a_code_and_names_its_field(body: object, code: str, fields: list[str]) -> None:
    with pytest.raises(FieldsInvalid) as raised:
        read(body)
    assert (raised.value.code, [fault.field for fault in raised.value.faults][:1]) == (code, fields)


def test_another_account_does_not_exist() -> None:
    with pytest.raises(RequestError) as raised:
        read(a_send(account_id="globex"))
    assert (raised.value.code, raised.value.more) == ("no-such-account", {})
