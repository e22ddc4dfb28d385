"""The whole path in processes of its own: a signed POST becomes the right row, whatever dies meanwhile."""

import os
import random
import signal
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.local.stack import Stack
from gateway.tokens import issue
from processors.kafka.topics import create_topics
from projections.messages.reference_fold import Known, MessageRow, fold
from projections.store import Store
from schemas.decoding.ids import uuid7
from schemas.events import Event, SourcePosition
from schemas.providers import sendgrid
from schemas.settings import TopicSettings, read
from simulator.signing import new_key_pair, sign_sendgrid
from tests.collector import CollectedSpan, Collector, collecting
from tests.local.ports import free_port_base
from tests.local.waiting import until
from tests.projections.test_messages_in_clickhouse import plain
from tests.stack.programs import Program, answering, running
from tests.stores import a_store, drop

pytestmark = [pytest.mark.stack, pytest.mark.kafka, pytest.mark.clickhouse]

SECRET = "a secret of this test, and of no other place"
COLUMNS = [field.name for field in fields(MessageRow)]


@dataclass(frozen=True)
class Ledger:
    """A gateway and workers over the session's services."""

    url: str
    private_key: str
    env: dict[str, str]
    store: Store
    kafka: str
    folder: Path
    account: str
    collector: Collector
    """Where the gateway and the workers send their traces."""

    def worker(self, number: int) -> Program:
        env = self.env | {"SENDLEDGER_INSTANCE": f"ledger-{number}"}
        return Program(["worker", "ledger"], env, self.folder / f"worker-{number}.log")

    async def post(self, client: httpx.AsyncClient, body: bytes, **headers: str) -> httpx.Response:
        signed_at = str(int(time.time()))
        signed = {
            "X-Twilio-Email-Event-Webhook-Timestamp": signed_at,
            "X-Twilio-Email-Event-Webhook-Signature": sign_sendgrid(self.private_key, signed_at, body),
        }
        return await client.post(f"{self.url}/webhooks/sendgrid", content=body, headers=signed | headers)

    def count(self, sql: str) -> int:
        return int(self.store.tuples(sql, {"account": self.account})[0][0])

    def reader(self) -> dict[str, str]:
        token = issue(SECRET, subject="test", role="viewer", accounts=[self.account])
        return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
async def ledger(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ledger]:
    """A gateway that runs; workers are the tests' to start."""
    store = a_store(stack.clickhouse_url)
    await create_topics(read(TopicSettings, kafka_bootstrap=stack.kafka_bootstrap))
    private, public = new_key_pair()
    port = free_port_base()
    env = {
        "SENDLEDGER_KAFKA_BOOTSTRAP": stack.kafka_bootstrap,
        "SENDLEDGER_CLICKHOUSE_URL": stack.clickhouse_url,
        "SENDLEDGER_CLICKHOUSE_DATABASE": store.database,
        "SENDLEDGER_TOKEN_SECRET": SECRET,
        "SENDLEDGER_SENDGRID_PUBLIC_KEYS": public,
        "SENDLEDGER_PORT": str(port),
        "SENDLEDGER_CONSUMER_GROUP": f"stack-{os.getpid()}",
        "SENDLEDGER_GROUP_SECONDS": "0.1",
        "SENDLEDGER_TRACES_SHARE": "1",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    folder = tmp_path_factory.mktemp("ledger")
    url = f"http://127.0.0.1:{port}"
    with collecting() as collector:
        env["SENDLEDGER_TRACES_URL"] = collector.url
        async with running(Program(["gateway"], env, folder / "gateway.log")):
            await until(lambda: answering(f"{url}/readyz"), "the gateway")
            account = f"acct{random.randrange(10**9)}"
            yield Ledger(url, private, env, store, stack.kafka_bootstrap, folder, account, collector)
    drop(store)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=20) as made:
        yield made


def some_posts(account: str, messages: int, chance: random.Random) -> Iterator[list[dict[str, Any]]]:
    """Posts of up to 15 elements about many messages: repeated, shuffled, with ids that change."""
    now = int(time.time())
    elements = []
    for number in range(messages):
        message_id = uuid7(now * 1_000_000 - number * 1000, chance.randbytes(10))
        names = chance.sample(["processed", "deferred", "delivered", "bounce", "open", "click", "dropped", "odd"], 3)
        for name in names:
            element = {
                "event": name,
                "email": f"user{number}@example.com",
                "timestamp": now - chance.randrange(1000),
                "sg_event_id": f"{number}-{name}",
                "sg_message_id": f"m{number}.filter0001",
                "sl_account": account,
                "sl_message": message_id,
            }
            elements.append(element)
            if chance.random() < 0.3:
                elements.append(element | {"sg_event_id": "changed", "event": name.upper()})
    chance.shuffle(elements)
    while elements:
        post, elements = elements[:15], elements[15:]
        yield post


def oracle(posts: Sequence[Sequence[dict[str, Any]]]) -> dict[str, tuple[Any, ...]]:
    """What the reference fold makes of all that was posted. Arrival times are the same for every copy here."""
    by_id: dict[str, list[Event]] = {}
    account = ""
    for number, post in enumerate(posts):
        for event in sendgrid.to_events(
            orjson.dumps(post), SourcePosition("", 0, number, int(time.time() * 1e6))
        ).events:
            by_id.setdefault(event.message_id, []).append(event)
            account = event.account_id
    return {i: astuple(fold(account, i, Known(events=events))) for i, events in by_id.items()}


async def test_a_signed_post_becomes_the_right_row(ledger: Ledger, client: httpx.AsyncClient) -> None:
    message_id = uuid7(int(time.time() * 1e6), os.urandom(10))
    own = {"email": "Ann@Example.com", "sl_account": ledger.account, "sl_message": message_id.upper()}
    elements = [
        own | {"event": "delivered", "timestamp": int(time.time()), "response": "250 2.0.0 OK"},
        own | {"event": "open", "timestamp": int(time.time()), "useragent": "<script>alert(1)</script>"},
        "no object",
        own | {"event": "never_heard_of", "timestamp": "0"},
        {"event": "bounce", "email": "lost@example.com", "sg_message_id": message_id},
    ]
    async with running(ledger.worker(0)):
        assert (await ledger.post(client, orjson.dumps(elements))).status_code == 204
        where = f"{ledger.url}/v1/messages/{message_id}"

        async def there() -> bool:
            return (await client.get(where, headers=ledger.reader())).status_code == 200

        await until(there, "the row")
        row = (await client.get(where, headers=ledger.reader())).json()
        assert (row["status"], row["opens"], row["provider"]) == ("Opened", 1, "sendgrid")
        events = (await client.get(f"{where}/events", headers=ledger.reader())).json()["items"]
        assert sorted(e["type"] for e in events) == ["delivered", "opened", "unknown"]
        orphans = "SELECT address FROM orphan_events WHERE provider_message_id = {id:String}"
        assert ledger.store.tuples(orphans, {"id": message_id})[0][0] == "lost@example.com"
        letter = await dead_letter(ledger, b'"no object"', reason="element_not_object")
        assert dict(letter.headers)["dlq.index"] == b"2"


async def test_a_trace_shows_a_post_until_its_row_is_stored(ledger: Ledger, client: httpx.AsyncClient) -> None:
    seen = {span.trace_id for span in ledger.collector.spans}
    element = {"event": "delivered", "email": "a@example.com", "sg_message_id": "traced", "timestamp": int(time.time())}

    def trace() -> list[CollectedSpan]:
        return sorted((s for s in [*ledger.collector.spans] if s.trace_id not in seen), key=lambda s: s.start_ns)

    async with running(ledger.worker(0)):
        assert (await ledger.post(client, orjson.dumps([element]))).status_code == 204
        await until(lambda: len(trace()) == 3, "the spans")
    request, sending, processing = trace()
    assert [(span.service, span.name) for span in trace()] == [
        ("sendledger-gateway", "POST /webhooks/sendgrid"),
        ("sendledger-gateway", "send webhooks.sendgrid"),
        ("sendledger-ledger", "process webhooks.sendgrid"),
    ]
    assert {span.trace_id for span in trace()} == {request.trace_id}
    assert (sending.parent_id, processing.parent_id) == (request.span_id, sending.span_id)


async def test_a_ledger_starts_and_sweeps_while_clickhouse_is_unavailable(ledger: Ledger) -> None:
    other = {
        "SENDLEDGER_CLICKHOUSE_URL": "http://127.0.0.1:1",
        "SENDLEDGER_CONSUMER_GROUP": f"stack-{os.getpid()}-sweeps",
        "SENDLEDGER_SWEEP_SECONDS": "0.1",
    }
    worker = Program(["worker", "ledger"], ledger.env | other, ledger.folder / "sweeps.log")
    async with running(worker):
        await until(lambda: "sweep.failed" in worker.log.read_text(), "a sweep")


async def test_a_forged_post_is_refused_and_nothing_is_written(ledger: Ledger, client: httpx.AsyncClient) -> None:
    before = await end_of(ledger, "webhooks.sendgrid")
    body = b'[{"event":"delivered"}]'
    forged = await ledger.post(client, body, **{"X-Twilio-Email-Event-Webhook-Timestamp": "1"})
    unsigned = await client.post(f"{ledger.url}/webhooks/sendgrid", content=body)
    assert (forged.status_code, unsigned.status_code) == (401, 401)
    assert forged.headers["content-type"] == "application/problem+json"
    assert await end_of(ledger, "webhooks.sendgrid") == before


async def test_malformed_json_that_is_rightly_signed_is_parked(ledger: Ledger, client: httpx.AsyncClient) -> None:
    body = b'[{"event": "delivered", \xff\r\n'
    async with running(ledger.worker(0)):
        assert (await ledger.post(client, body)).status_code == 204
        letter = await dead_letter(ledger, body, reason="body_not_json")
        headers = dict(letter.headers)
        assert (headers["dlq.topic"], headers["dlq.processor"]) == (b"webhooks.sendgrid", b"ledger")
        assert headers["signature"]


async def test_nothing_is_lost_or_counted_twice_when_workers_die(ledger: Ledger, client: httpx.AsyncClient) -> None:
    chance = random.Random(7)
    account = f"{ledger.account}-k"
    posts = list(some_posts(account, 3000, chance))
    expected = oracle(posts)
    kills = {len(posts) * n // 6 for n in range(1, 6)}
    async with AsyncExitStack() as programs:
        first = await programs.enter_async_context(running(ledger.worker(0)))
        second: Program | None = None
        for number, post in enumerate(posts):
            assert (await ledger.post(client, orjson.dumps(post))).status_code == 204
            if number in kills:
                await first.end(signal.SIGKILL)
                await first.start()
            if number == len(posts) // 3:
                second = await programs.enter_async_context(running(ledger.worker(1)))
            if number == len(posts) * 2 // 3 and second is not None:
                await until(second.is_assigned, "the second worker")
                assert await second.end() == 0

        accepted = len({(e.message_id, e.event_id) for post in posts for e in events_of(post)})

        def rows() -> dict[str, tuple[Any, ...]]:
            found = ledger.store.rows(
                "SELECT * FROM messages WHERE account_id = {account:String}", {"account": account}
            )
            return {str(r["email_id"]): tuple(plain(r[c]) for c in COLUMNS) for r in found}

        def counted() -> int:
            sql = "SELECT count() FROM message_events WHERE account_id = {account:String}"
            return int(ledger.store.tuples(sql, {"account": account})[0][0])

        # A group's events and states are stored side by side, so both must be waited for.
        await until(lambda: counted() == accepted and rows() == expected, "the rows of the reference fold")
    assert counted() == accepted


def events_of(post: Sequence[dict[str, Any]]) -> list[Event]:
    return sendgrid.to_events(orjson.dumps(post), SourcePosition("", 0, 0, int(time.time() * 1e6))).events


async def end_of(ledger: Ledger, topic: str) -> int:
    consumer = AIOKafkaConsumer(bootstrap_servers=ledger.kafka)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, p) for p in await _partitions(consumer, topic)]
        return sum((await consumer.end_offsets(partitions)).values())
    finally:
        await consumer.stop()


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> list[int]:
    await consumer._client.add_topic(topic)  # the client knows no topic before it is asked for
    return sorted(consumer.partitions_for_topic(topic) or ())


async def dead_letter(ledger: Ledger, value: bytes, *, reason: str) -> Any:
    """The first dead letter of that value and reason; waits for it. Others of the session's Kafka stand there too."""
    consumer = AIOKafkaConsumer("dead-letters", bootstrap_servers=ledger.kafka, auto_offset_reset="earliest")
    await consumer.start()
    try:
        while True:
            letter = await consumer.getone()
            if letter.value == value and dict(letter.headers)["dlq.reason"] == reason.encode():
                return letter
    finally:
        await consumer.stop()
