"""`?wait=1`: each caller gets the decisions about its own requests, through any gateway. On a real Kafka.

The gate here is a stand-in that approves what it reads, in transactions; what it reads again it decides as before.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from application.decisions import MAX_SUBSCRIBED, DecisionListener
from application.send_requests import MessageKey
from application.writing import producer_of
from gateway.app import create_app
from processors.kafka.topics import create_topics
from projections.store import Store
from schemas.decoding.times import rfc3339
from schemas.records import SendDecision
from schemas.settings import TopicSettings, read
from schemas.telemetry import Telemetry
from schemas.topics import SENDS_DECIDED, SENDS_REQUESTED
from tests.building import a_source_position
from tests.fakes import FakeKafka
from tests.gateway.building import NOW_US, a_caller, a_message_id, a_send, a_token
from tests.gateway.conforming import HOOKS
from tests.gateway.test_webhooks import settings

pytestmark = pytest.mark.kafka

ACCOUNT = f"waiting-{uuid4().hex[:12]}"
SILENT = f"silent-{uuid4().hex[:12]}"
"""An account for which this gate makes no decisions."""


class StandIn:
    """Decides about ACCOUNT. Of a message that is requested again it publishes the first decision again."""

    def __init__(self, bootstrap: str) -> None:
        self.decisions: dict[bytes, bytes] = {}
        self.answered = 0
        self._consumer = AIOKafkaConsumer(SENDS_REQUESTED.name, bootstrap_servers=bootstrap)
        self._producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=ACCOUNT)

    @asynccontextmanager
    async def deciding(self) -> AsyncIterator["StandIn"]:
        await self._consumer.start()
        await self._consumer.seek_to_end()
        await self._producer.start()
        task = asyncio.create_task(self._decide())
        yield self
        task.cancel()
        await asyncio.wait([task])
        await self._consumer.stop()
        await self._producer.stop()

    async def _decide(self) -> None:
        while True:
            for records in (await self._consumer.getmany(timeout_ms=1000)).values():
                ours = [r for r in records if orjson.loads(r.value)["account_id"] == ACCOUNT]
                if not ours:
                    continue
                async with self._producer.transaction():
                    for record in ours:
                        self.answered += 1
                        value = self.decisions.setdefault(
                            record.key, a_decision(orjson.loads(record.value), self.answered)
                        )
                        await self._producer.send(SENDS_DECIDED.name, value, key=record.key)


def a_decision(request: dict[str, Any], number: int = 0) -> bytes:
    """The decision about a request."""
    return orjson.dumps(
        {name: request[name] for name in ("message_id", "account_id", "channel", "to")}
        | {"outcome": "approved", "reason": "ok", "detail": f"number {number}", "evidence": []}
        | {"decided_at": rfc3339(NOW_US), "request": request}
    )


@asynccontextmanager
async def a_gateway(bootstrap: str) -> AsyncIterator[httpx.AsyncClient]:
    """A running gateway for one test."""
    telemetry = Telemetry()
    kafka = producer_of(bootstrap, telemetry)
    app = create_app(settings(kafka_bootstrap=bootstrap), Store("http://127.0.0.1:1"), kafka, telemetry)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        headers, hooks = a_token("*"), HOOKS
        async with httpx.AsyncClient(
            transport=transport, base_url="http://inside", headers=headers, event_hooks=hooks
        ) as client:
            yield client


@pytest.fixture(scope="module")
async def gateways(kafka_bootstrap: str) -> AsyncIterator[Sequence[httpx.AsyncClient]]:
    """Two gateways on one Kafka."""
    await create_topics(read(TopicSettings, kafka_bootstrap=kafka_bootstrap))
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(a_gateway(kafka_bootstrap)) for _ in range(2)]


@pytest.fixture(scope="module")
async def gate(gateways: Sequence[httpx.AsyncClient], kafka_bootstrap: str) -> AsyncIterator[StandIn]:
    """The stand-in, once each gateway has heard a first decision: a cold Kafka takes longer than they wait."""
    async with StandIn(kafka_bootstrap).deciding() as gate:
        for client in gateways:
            while (await ask(client, some(1))).status_code != 200:
                pass  # each call waits
        yield gate


@asynccontextmanager
async def a_reader(bootstrap: str) -> AsyncIterator[DecisionListener]:
    reader = DecisionListener(bootstrap)
    await reader.start()
    try:
        yield reader
    finally:
        await reader.stop()


def some(count: int, account: str = ACCOUNT) -> list[dict[str, Any]]:
    """Requests that were not made before."""
    return [a_send(message_id=a_message_id(number=uuid4().int >> 50), account_id=account) for _ in range(count)]


async def ask(client: httpx.AsyncClient, body: object) -> httpx.Response:
    return await client.post("/v1/sends?wait=1", json=body)


async def test_all_decisions_come_back_in_the_order_of_the_requests(
    gateways: Sequence[httpx.AsyncClient], gate: StandIn
) -> None:
    asked = some(40)
    answer = await ask(gateways[0], asked)
    assert answer.status_code == 200
    items = answer.json()["items"]
    assert [item["request"] for item in items] == asked
    assert answer.json()["next"] is None
    for item in items:
        SendDecision.model_validate(item)


async def test_each_of_several_gateways_answers_its_own_callers(
    gateways: Sequence[httpx.AsyncClient], gate: StandIn
) -> None:
    asked = some(10)
    answers = await asyncio.gather(*(ask(gateways[n % 2], send) for n, send in enumerate(asked)))
    assert [answer.status_code for answer in answers] == [200] * 10
    assert [answer.json()["items"][0]["message_id"] for answer in answers] == [send["message_id"] for send in asked]


async def test_a_repeat_gets_its_first_decision_through_any_gateway(
    gateways: Sequence[httpx.AsyncClient], gate: StandIn
) -> None:
    [asked] = some(1)
    first, again, elsewhere = [await ask(client, asked) for client in (gateways[0], *gateways)]
    assert first.status_code == again.status_code == elsewhere.status_code == 200
    assert first.json() == again.json() == elsewhere.json()


async def test_the_error_for_a_repeat_with_other_content_names_the_differences(
    gateways: Sequence[httpx.AsyncClient], gate: StandIn
) -> None:
    [asked, new] = some(2)
    assert (await ask(gateways[0], asked)).status_code == 200
    answer = await ask(gateways[1], [new, asked | {"to": "bob@example.com", "subject": "Hello"}])
    said = answer.json()
    assert (answer.status_code, said["code"]) == (409, "idempotency-conflict")
    assert [(error["index"], error["field"]) for error in said["errors"]] == [(1, "subject"), (1, "to")]
    assert [item["message_id"] for item in said["items"]] == [new["message_id"], asked["message_id"]]
    assert (await ask(gateways[1], [new, asked])).status_code == 200


async def test_two_callers_may_wait_for_one_message(gateways: Sequence[httpx.AsyncClient], gate: StandIn) -> None:
    [asked] = some(1)
    answers = await asyncio.gather(*(ask(gateways[0], [asked]) for _ in range(2)))
    assert [answer.status_code for answer in answers] == [200, 200]
    assert len({answer.text for answer in answers}) == 1


async def test_without_a_decision_the_answer_is_the_ids(gateways: Sequence[httpx.AsyncClient], gate: StandIn) -> None:
    asked = [*some(1), *some(1, SILENT)]
    answer = await ask(gateways[0], asked)
    assert answer.status_code == 202
    assert answer.json()["items"] == [{n: s[n] for n in ("account_id", "message_id")} for s in asked]


async def test_the_decision_about_another_accounts_message_is_not_its_decision(
    gateways: Sequence[httpx.AsyncClient], gate: StandIn
) -> None:
    [asked] = some(1)
    theirs, ours = await asyncio.gather(ask(gateways[0], asked), ask(gateways[0], asked | {"account_id": SILENT}))
    assert (theirs.status_code, ours.status_code) == (200, 202)


@pytest.mark.parametrize("rubbish", [b"no JSON", b"[]", b"{}", None], ids=repr)
async def test_a_record_that_is_not_a_decision_is_ignored(
    gateways: object, kafka_bootstrap: str, rubbish: bytes | None
) -> None:
    [asked] = some(1)
    pair, place = (
        MessageKey(ACCOUNT, asked["message_id"]),
        a_source_position(topic=SENDS_DECIDED.name, received_us=NOW_US),
    )
    async with a_reader(kafka_bootstrap) as reader, reader.subscribe([pair]) as watch:
        for value in (rubbish, a_decision(asked)):
            reader.dispatch(pair.message_id.encode(), value, place)
        assert watch is not None
        found = await watch.wait_for_all(1) or {}
        assert {pair: record.value for pair, record in found.items()} == {pair: a_decision(asked)}


async def test_a_caller_that_does_not_wait_gets_the_ids_at_once(
    gateways: Sequence[httpx.AsyncClient], gate: StandIn
) -> None:
    [asked] = some(1)
    assert (await gateways[0].post("/v1/sends?wait=0", json=asked)).status_code == 202


async def test_a_gateway_whose_reader_reads_nothing_answers_with_the_ids() -> None:
    kafka = FakeKafka()
    async with a_caller(kafka) as client:  # a gateway whose reader was never started
        answer = await ask(client, a_send())
    assert (answer.status_code, len(kafka.sent)) == (202, 1)


async def test_the_number_of_waiting_callers_is_limited(gateways: object, kafka_bootstrap: str) -> None:
    pairs = [MessageKey(ACCOUNT, a_message_id(number=n)) for n in range(MAX_SUBSCRIBED)]
    async with a_reader(kafka_bootstrap) as reader:
        one = [MessageKey(ACCOUNT, a_message_id(days_ago=1))]
        async with reader.subscribe(pairs) as most, reader.subscribe(one) as one_more:
            assert (most is None, one_more is None) == (False, True)
        async with reader.subscribe(pairs[:1]) as again:
            assert again is not None
