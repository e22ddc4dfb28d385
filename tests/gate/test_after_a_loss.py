"""The recovery steps of docs/explanation/gate.md after a loss, on a real Kafka: what is still there is kept."""

from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import OffsetAndMetadata

from processors.kafka.cluster import describe_cluster
from processors.kafka.topics import create_topics
from schemas.settings import TopicSettings, read
from schemas.topics import GATE_BY_ADDRESS, GATE_INPUTS, SENDS_DECIDED, SENDS_REQUESTED, SUPPRESSIONS_CHANGED
from tests.gate.building import a_command, a_policy, a_request, as_bytes
from tests.gate.cluster import Kafka, kafka_with_topics
from tests.gate.oracle import SentRecord
from tests.local.waiting import until
from tests.stack.programs import Program, running

pytestmark = [pytest.mark.stack, pytest.mark.kafka]

ADDRESS = "loud@example.com"
KEY = f"email:{ADDRESS}"
GROUP = "gate"


@pytest.fixture
async def kafka(tmp_path: Path) -> AsyncIterator[Kafka]:
    async with kafka_with_topics(tmp_path) as kafka:
        yield kafka


def a_worker(kafka: Kafka, folder: Path) -> Program:
    env = {"SENDLEDGER_KAFKA_BOOTSTRAP": kafka.bootstrap, "SENDLEDGER_WORKER_DIR": str(folder)}
    return Program(["worker", "gate"], env, folder / "gate.log")


async def write(kafka: Kafka, topic: str, key: str, record: dict[str, Any]) -> None:
    await kafka.write([SentRecord(topic, key, as_bytes(record))])
    await kafka.settled()


async def ask(kafka: Kafka) -> dict[str, Any]:
    request = a_request("acme", to=ADDRESS)
    await write(kafka, SENDS_REQUESTED.name, request["message_id"], request)
    return request


async def decisions(kafka: Kafka) -> dict[str, list[str]]:
    """The outcomes of each message, in the order of publication."""
    found: dict[str, list[str]] = {}
    for record in await kafka.records(SENDS_DECIDED.name):
        decision = orjson.loads(record.value or b"")
        found.setdefault(decision["message_id"], []).append(decision["outcome"])
    return found


async def versions(kafka: Kafka) -> list[tuple[int, bool]]:
    changes = [orjson.loads(record.value or b"") for record in await kafka.records(SUPPRESSIONS_CHANGED.name)]
    return [(change["version"], change["scopes"][0]["suppressed"]) for change in changes]


async def ends(kafka: Kafka, topic: str) -> dict[int, int]:
    """The end of each partition of a topic."""
    async with AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap) as consumer:
        await consumer._client.force_metadata_update()
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        return {tp.partition: end for tp, end in (await consumer.end_offsets(partitions)).items()}


async def recreate(kafka: Kafka, *topics: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await admin.delete_topics(list(topics))
        await until(partial(_gone, admin, topics), "the end of the topics")
    finally:
        await admin.close()
    await create_topics(read(TopicSettings, kafka_bootstrap=kafka.bootstrap))


async def _gone(admin: AIOKafkaAdminClient, topics: Sequence[str]) -> bool:
    return not set(topics) & set(await admin.list_topics())


async def _left(kafka: Kafka) -> bool:
    return (await describe_cluster(kafka.bootstrap, (), (GROUP,))).groups[GROUP].members == 0


async def fill(kafka: Kafka, topic: str, counts: Mapping[int, int]) -> None:
    """Write that many records without a value into each partition."""
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all") as producer:
        for partition, count in counts.items():
            for _ in range(count):
                await producer.send_and_wait(topic, None, key=b"gap", partition=partition)


async def read_again(kafka: Kafka, *topics: str) -> None:
    """Set the gate's offsets to the start of topics, as kafka-consumer-groups.sh does, once it has no members."""
    await until(partial(_left, kafka), "the end of the worker's session")
    async with AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap, group_id=GROUP, enable_auto_commit=False
    ) as consumer:
        partitions = [TopicPartition(t, number) for t in topics for number in await ends(kafka, t)]
        consumer.assign(partitions)
        await consumer.commit({tp: OffsetAndMetadata(0, "") for tp in partitions})


async def test_after_a_lost_tail_is_filled_addresses_and_decisions_are_kept(kafka: Kafka, tmp_path: Path) -> None:
    async with running(a_worker(kafka, tmp_path)) as worker:
        await write(kafka, "accounts.policies", "acme", a_policy("acme"))
        first = await ask(kafka)
        await write(kafka, "suppressions.commands", KEY, a_command("suppress", ADDRESS))
        await worker.end()
    lost = await ends(kafka, GATE_BY_ADDRESS.name)
    await recreate(kafka, GATE_BY_ADDRESS.name)

    async with running(a_worker(kafka, tmp_path)) as refused:
        process = refused.process
        assert process is not None
        await until(lambda: process.returncode is not None, "the refusal")
        assert process.returncode == 3
    assert "but the source ends at 0" in (tmp_path / "gate.log").read_text()

    await fill(kafka, GATE_BY_ADDRESS.name, lost)
    async with running(a_worker(kafka, tmp_path)):
        second = await ask(kafka)
        await write(kafka, SENDS_REQUESTED.name, first["message_id"], first)
        await write(kafka, "suppressions.commands", KEY, a_command("release", ADDRESS))
    outcomes = await decisions(kafka)
    assert outcomes[second["message_id"]] == ["suppressed"]
    assert set(outcomes[first["message_id"]]) == {"approved"}, "decided before the suppression, and published again"
    assert await versions(kafka) == [(1, True), (2, False)]


async def test_rebuilding_addresses_decides_nothing_again(kafka: Kafka, tmp_path: Path) -> None:
    async with running(a_worker(kafka, tmp_path)) as worker:
        await write(kafka, "accounts.policies", "acme", a_policy("acme"))
        first = await ask(kafka)
        await write(kafka, "suppressions.commands", KEY, a_command("suppress", ADDRESS))
        await worker.end()

    await recreate(kafka, GATE_BY_ADDRESS.name, GATE_BY_ADDRESS.changelog, SUPPRESSIONS_CHANGED.name)
    facts = [topic.name for topic in GATE_INPUTS if topic.name.startswith(("webhooks.", "suppressions."))]
    await read_again(kafka, GATE_BY_ADDRESS.name, *facts)
    async with running(a_worker(kafka, tmp_path)):
        await kafka.settled()
        second = await ask(kafka)
        await write(kafka, "suppressions.commands", KEY, a_command("release", ADDRESS))
    outcomes = await decisions(kafka)
    assert outcomes == {first["message_id"]: ["approved"], second["message_id"]: ["suppressed"]}
    assert await versions(kafka) == [(1, True), (2, False)], "versions start at 1 in a recreated topic"
