"""A whole plan sent both ways: directly to a real Kafka, and as posts to the gateway."""

from collections import Counter

import httpx
import pytest
from aiokafka import AIOKafkaConsumer

from gateway.app import create_app
from processors.kafka.topics import create_topics
from projections.store import Store
from schemas.settings import GatewaySettings, TopicSettings, read
from schemas.telemetry import Telemetry
from schemas.topics import SENDS_CONTENT, SENDS_DECIDED, SENDS_DISPATCHED, SENDS_REQUESTED, WEBHOOKS
from simulator.http import Poster, run_over_http
from simulator.kafka import run_over_kafka
from simulator.messages import PlanOptions
from simulator.plan import Plan, plan
from simulator.signing import Keys, new_key_pair
from tests.fakes import FakeKafka

pytestmark = pytest.mark.kafka

NOW_US = 1_780_000_000_000_000
PRIVATE_KEY, PUBLIC_KEY = new_key_pair()
KEYS = Keys(PRIVATE_KEY, "an-auth-token", "postmark:a pass:word")
PUBLIC_URL = "https://sendledger.example.com"
RECORDS = {SENDS_REQUESTED.name, SENDS_DECIDED.name, SENDS_DISPATCHED.name, SENDS_CONTENT.name}
POSTS = {topic.name for topic in WEBHOOKS.values()}

Log = dict[str, Counter[bytes]]


def a_plan(seed: int) -> Plan:
    # The values are unique to the seed, so that they are found among those of other tests.
    return plan(120, seed, PlanOptions(NOW_US, ("acme",), rare_every=2), broken_every=10)


@pytest.fixture
async def bootstrap(kafka_bootstrap: str) -> str:
    await create_topics(read(TopicSettings, kafka_bootstrap=kafka_bootstrap))
    return kafka_bootstrap


async def log_of(bootstrap: str, topics: set[str]) -> Log:
    """Return each value of some topics, and how often it occurs."""
    consumer = AIOKafkaConsumer(*topics, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partitions = consumer.assignment()  # without a group: all of them
        assert {partition.topic for partition in partitions} == topics
        ends = await consumer.end_offsets(partitions)
        found: Log = {topic: Counter() for topic in topics}
        while any([await consumer.position(tp) < ends[tp] for tp in partitions]):
            for tp, records in (await consumer.getmany(timeout_ms=200)).items():
                found[tp.topic].update(record.value for record in records)
        return found
    finally:
        await consumer.stop()


def planned_values(planned: Plan, kinds: str) -> Counter[bytes]:
    return Counter(d.value for d in planned.deliveries if (d.kind == "post") == (kinds == "posts"))


def values_of(log: Log, wanted: Counter[bytes]) -> Counter[bytes]:
    found = sum(log.values(), Counter())
    return Counter({value: found[value] for value in wanted})


async def test_a_plan_is_written_completely(bootstrap: str) -> None:
    planned = a_plan(41)
    sent = await run_over_kafka(bootstrap, planned, keys=KEYS, public_url=PUBLIC_URL)
    for kinds, topics in (("records", RECORDS), ("posts", POSTS)):
        wanted = planned_values(planned, kinds)
        assert values_of(await log_of(bootstrap, topics), wanted) == wanted
    assert sum(sent.posts.values()) + sum(sent.records.values()) == len(planned.deliveries)


async def test_the_gateway_accepts_every_post_of_a_plan(bootstrap: str) -> None:
    planned = a_plan(42)
    gateway = _Gateway()
    poster = Poster("http://gateway", KEYS, public_url=PUBLIC_URL, concurrency=4, transport=gateway.transport())
    sent = await run_over_http(poster, bootstrap, planned)
    assert gateway.taken == planned_values(planned, "posts")
    wanted = planned_values(planned, "records")
    assert values_of(await log_of(bootstrap, RECORDS), wanted) == wanted
    assert sent.retries == 0
    assert sum(sent.posts.values()) == planned.totals.posts


class _Gateway(FakeKafka):
    """The product's gateway, with a fake Kafka that only counts."""

    @property
    def taken(self) -> Counter[bytes]:
        return Counter(value for _, _, value, _ in self.sent)

    def transport(self) -> httpx.ASGITransport:
        settings = read(
            GatewaySettings,
            token_secret="x" * 40,
            kafka_bootstrap="127.0.0.1:1",
            clickhouse_url="http://127.0.0.1:1",
            sendgrid_public_keys=PUBLIC_KEY,
            twilio_auth_tokens="an-auth-token",
            postmark_basic_auth="postmark:a pass:word",
            public_url=PUBLIC_URL,
        )
        return httpx.ASGITransport(create_app(settings, Store("http://127.0.0.1:1"), self, Telemetry()))
