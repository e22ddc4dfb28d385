"""Records that only other clients write, and the largest that there are: read or parked, and none stops a worker."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest
from confluent_kafka import Producer

from deploy.local.stack import Stack
from processors.kafka.lag import wait_until_caught_up
from processors.kafka.read_topic import read_topic
from projections.store import Store
from schemas.consumer_groups import consumer_groups
from schemas.topics import MAX_RECORD_BYTES
from tests.gate.building import a_command, a_policy, a_request, as_bytes, now_us
from tests.gate.cluster import Kafka, kafka_with_topics
from tests.stack.programs import workers_running
from tests.stores import a_store, drop

pytestmark = [pytest.mark.stack, pytest.mark.kafka, pytest.mark.clickhouse]

PARKED_BY = {
    "webhooks.sendgrid": b"ledger",
    "webhooks.twilio": b"ledger",
    "sends.requested": b"ledger",
    "sends.dispatched": b"ledger",
    "accounts.policies": b"gate",
    "recipients.preferences": b"gate",
    "suppressions.commands": b"gate",
}
Written = tuple[str, bytes | None, bytes | None]


@dataclass(frozen=True)
class Workers:
    """A Kafka of their own, a database of their own, and both workers."""

    kafka: Kafka
    store: Store

    def write(self, records: Sequence[Written]) -> None:
        """Write with librdkafka, which takes what aiokafka does not."""
        producer = Producer({"bootstrap.servers": self.kafka.bootstrap, "message.max.bytes": 2 * MAX_RECORD_BYTES})
        failures: list[Any] = []
        for topic, key, value in records:
            producer.produce(topic, value=value, key=key, on_delivery=lambda error, _message: failures.append(error))
        assert producer.flush(60) == 0
        assert [error for error in failures if error is not None] == []

    async def settled(self) -> None:
        behind = await wait_until_caught_up(self.kafka.bootstrap, consumer_groups("ledger"), within_seconds=120)
        assert behind == 0, "a worker did not read everything"

    async def letters(self) -> dict[tuple[int, int], Any]:
        """All dead letters by their ids."""
        return {(r.partition, r.offset): r async for r in read_topic(self.kafka.bootstrap, "dead-letters")}

    async def decisions(self) -> list[Any]:
        return [orjson.loads(r.value or b"") async for r in read_topic(self.kafka.bootstrap, "sends.decided")]


@pytest.fixture(scope="module")
async def workers(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Workers]:
    folder: Path = tmp_path_factory.mktemp("odd")
    store = a_store(stack.clickhouse_url)
    async with (
        kafka_with_topics(folder) as kafka,
        workers_running(kafka.bootstrap, stack.clickhouse_url, store, folder),
    ):
        yield Workers(kafka, store)
    drop(store)


async def parked(workers: Workers, records: Sequence[Written]) -> list[Any]:
    """Write the records, and return the letters that they became."""
    before = await workers.letters()
    workers.write(records)
    await workers.settled()
    return [letter for place, letter in (await workers.letters()).items() if place not in before]


@pytest.mark.parametrize(
    ("key", "value"), [(None, None), (None, b"{"), (b"k", None), (b"\xff\x00", b"\xff"), (b"", b"")]
)
async def test_a_record_without_key_or_value_is_parked_by_the_owner_of_its_topic(
    workers: Workers, key: bytes | None, value: bytes | None
) -> None:
    letters = await parked(workers, [(topic, key, value) for topic in PARKED_BY])
    by = {dict(letter.headers)["dlq.topic"].decode(): dict(letter.headers)["dlq.processor"] for letter in letters}
    assert by == PARKED_BY
    assert {(letter.key, letter.value) for letter in letters} == {
        (key, b"" if key is None and value is None else value)
    }


async def test_records_that_nest_too_deep_are_parked_however_many_come_together(workers: Workers) -> None:
    deep = b"[" * 1100 + b"]" * 1100
    body = b'{"event":"delivered","email":"a@example.com","odd":' + deep + b"}"
    policy = orjson.dumps(a_policy("acme"))[:-1] + b',"odd":' + deep + b"}"
    records: list[Written] = [("webhooks.sendgrid", b"k", b"[" + body + b"]")] * 101
    records += [("accounts.policies", b"k", policy)] * 101
    letters = await parked(workers, records)
    topics = Counter(dict(letter.headers)["dlq.topic"] for letter in letters)
    assert topics == {b"webhooks.sendgrid": 101, b"accounts.policies": 101}
    assert {dict(letter.headers)["dlq.reason"] for letter in letters}.isdisjoint({b"code_failed", b"body_failed"})


async def test_the_largest_webhook_request_and_command_pass(workers: Workers) -> None:
    account = f"acct{uuid4().hex[:8]}"
    request = a_request(account, metadata={"pad": ""})
    request["metadata"]["pad"] = "x" * (256 * 1024 - len(as_bytes(request)))
    element = {"email": f"loud@{account}.example", "timestamp": now_us() // 1_000_000, "sg_message_id": "m"}
    elements = [element | {"event": "spamreport", "sg_event_id": f"{n}"} for n in range(80_000)]
    body = orjson.dumps(elements)[: MAX_RECORD_BYTES - 1].rpartition(b",{")[0] + b"]"
    assert len(body) > MAX_RECORD_BYTES - 300
    command = a_command("suppress", f"shut@{account}.example", note="n" * 10_000)
    letters = await parked(
        workers,
        [
            ("accounts.policies", account.encode(), as_bytes(a_policy(account))),
            ("webhooks.sendgrid", b"post", body),
            ("suppressions.commands", b"k", as_bytes(command)),
            ("sends.requested", request["message_id"].encode(), as_bytes(request)),
        ],
    )
    assert letters == []
    (decision,) = [d for d in await workers.decisions() if d["account_id"] == account]
    assert (decision["outcome"], decision["request"]["metadata"]) == ("approved", request["metadata"])
    query = "SELECT count() FROM messages WHERE account_id = {account:String}"
    assert workers.store.tuples(query, {"account": account})[0][0] == 1
    changed = [orjson.loads(r.value or b"") async for r in read_topic(workers.kafka.bootstrap, "suppressions.changed")]
    assert {c["address"] for c in changed if account in c["address"]} >= {f"shut@{account}.example"}
