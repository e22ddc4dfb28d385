"""What docs/explanation/gate.md says to do after a loss, on a real Kafka: nothing that is still there is forgotten."""

from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import OffsetAndMetadata

from processors.broker import survey
from processors.topics import make_topics
from schemas.settings import TopicSettings, read
from schemas.topics import GATE_BY_ADDRESS, GATE_INPUTS, SENDS_DECIDED, SENDS_REQUESTED, SUPPRESSIONS_CHANGED
from tests.gate.building import a_command, a_policy, a_request, as_bytes
from tests.gate.fire import Kafka, kafka_alone
from tests.gate.oracle import Sent
from tests.local.waiting import until
from tests.stack.programs import Program, running

pytestmark = [pytest.mark.stack, pytest.mark.kafka]

ADDRESS = "loud@example.com"
KEY = f"email:{ADDRESS}"
GROUP = "gate"


@pytest.fixture
async def kafka(tmp_path: Path) -> AsyncIterator[Kafka]:
    async with kafka_alone(tmp_path) as kafka:
        yield kafka


def a_worker(kafka: Kafka, folder: Path) -> Program:
    env = {"SENDLEDGER_KAFKA_BOOTSTRAP": kafka.bootstrap, "SENDLEDGER_WORKER_DIR": str(folder)}
    return Program(["worker", "gate"], env, folder / "gate.log")


async def write(kafka: Kafka, topic: str, key: str, record: dict[str, Any]) -> None:
    await kafka.write([Sent(topic, key, as_bytes(record))])
    await kafka.settled()


async def ask(kafka: Kafka) -> dict[str, Any]:
    request = a_request("acme", to=ADDRESS)
    await write(kafka, SENDS_REQUESTED.name, request["message_id"], request)
    return request


async def decisions(kafka: Kafka) -> dict[str, list[str]]:
    """The outcomes of each message, in the order of telling."""
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


async def make_anew(kafka: Kafka, *topics: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await admin.delete_topics(list(topics))
        await until(partial(_gone, admin, topics), "the end of the topics")
    finally:
        await admin.close()
    await make_topics(read(TopicSettings, kafka_bootstrap=kafka.bootstrap))


async def _gone(admin: AIOKafkaAdminClient, topics: Sequence[str]) -> bool:
    return not set(topics) & set(await admin.list_topics())


async def _left(kafka: Kafka) -> bool:
    return (await survey(kafka.bootstrap, (), (GROUP,))).groups[GROUP].members == 0


async def fill(kafka: Kafka, topic: str, counts: Mapping[int, int]) -> None:
    """Write as many records without a value into partitions."""
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all") as producer:
        for partition, count in counts.items():
            for _ in range(count):
                await producer.send_and_wait(topic, None, key=b"gap", partition=partition)


async def read_again(kafka: Kafka, *topics: str) -> None:
    """Set the gate's offsets of topics to their beginnings, as kafka-consumer-groups.sh does, once nobody is in it."""
    await until(partial(_left, kafka), "the end of the worker's session")
    async with AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap, group_id=GROUP, enable_auto_commit=False
    ) as consumer:
        partitions = [TopicPartition(t, number) for t in topics for number in await ends(kafka, t)]
        consumer.assign(partitions)
        await consumer.commit({tp: OffsetAndMetadata(0, "") for tp in partitions})


async def test_a_lost_tail_is_filled_and_neither_addresses_nor_decisions_are_forgotten(
    kafka: Kafka, tmp_path: Path
) -> None:
    async with running(a_worker(kafka, tmp_path)) as worker:
        await write(kafka, "accounts.policies", "acme", a_policy("acme"))
        first = await ask(kafka)
        await write(kafka, "suppressions.commands", KEY, a_command("suppress", ADDRESS))
        await worker.end()
    lost = await ends(kafka, GATE_BY_ADDRESS.name)
    await make_anew(kafka, GATE_BY_ADDRESS.name)

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
    told = await decisions(kafka)
    assert told[second["message_id"]] == ["suppressed"]
    assert set(told[first["message_id"]]) == {"approved"}, "it was decided before the suppression, and is told again"
    assert await versions(kafka) == [(1, True), (2, False)]


async def test_addresses_started_over_decide_nothing_again(kafka: Kafka, tmp_path: Path) -> None:
    async with running(a_worker(kafka, tmp_path)) as worker:
        await write(kafka, "accounts.policies", "acme", a_policy("acme"))
        first = await ask(kafka)
        await write(kafka, "suppressions.commands", KEY, a_command("suppress", ADDRESS))
        await worker.end()

    await make_anew(kafka, GATE_BY_ADDRESS.name, GATE_BY_ADDRESS.changelog, SUPPRESSIONS_CHANGED.name)
    facts = [topic.name for topic in GATE_INPUTS if topic.name.startswith(("webhooks.", "suppressions."))]
    await read_again(kafka, GATE_BY_ADDRESS.name, *facts)
    async with running(a_worker(kafka, tmp_path)):
        await kafka.settled()
        second = await ask(kafka)
        await write(kafka, "suppressions.commands", KEY, a_command("release", ADDRESS))
    told = await decisions(kafka)
    assert told == {first["message_id"]: ["approved"], second["message_id"]: ["suppressed"]}
    assert await versions(kafka) == [(1, True), (2, False)], "versions count from 1 in a feed that was made anew"
