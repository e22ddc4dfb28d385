"""The gate on a real Kafka, in processes that are killed, join and leave: no decision lost, duplicated or changed."""

import random
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.gate.building import a_command, a_policy, a_request, as_bytes, now_us
from tests.gate.cluster import Kafka, kafka_with_topics
from tests.gate.oracle import SentRecord
from tests.local.waiting import until
from tests.stack.programs import Program, running

pytestmark = [pytest.mark.stack, pytest.mark.kafka]

LIMIT = 40


@dataclass(frozen=True)
class Gate:
    """A Kafka, and the gate workers to start on it."""

    kafka: Kafka
    folder: Path

    def worker(self, number: int) -> Program:
        env = {
            "SENDLEDGER_KAFKA_BOOTSTRAP": self.kafka.bootstrap,
            "SENDLEDGER_INSTANCE": f"gate-{number}",
            "SENDLEDGER_WORKER_DIR": str(self.folder),
        }
        return Program(["worker", "gate"], env, self.folder / f"gate-{number}.log")

    async def write(self, topic: str, records: Sequence[tuple[str, bytes]]) -> None:
        await self.kafka.write([SentRecord(topic, key, value) for key, value in records])

    async def read(self, topic: str) -> list[Any]:
        """All committed records of a topic. A decision may be published repeatedly: the intake is at least once."""
        return [orjson.loads(record.value or b"") for record in await self.kafka.records(topic)]


@pytest.fixture(scope="module")
async def gate(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gate]:
    folder = tmp_path_factory.mktemp("gate")
    async with kafka_with_topics(folder) as kafka:
        yield Gate(kafka, folder)


def a_bounce(address: str, number: int) -> bytes:
    element = {"event": "bounce", "email": address, "timestamp": now_us() // 1_000_000, "status": "5.1.1"}
    return orjson.dumps([element | {"sg_message_id": f"m{number}"}])


async def test_no_decision_is_lost_duplicated_or_changed_when_workers_are_killed(gate: Gate) -> None:
    rng = random.Random(11)
    accounts = [f"acct{n}" for n in range(8)]
    trial = {"trial_started_at": "2020-01-01T00:00:00Z", "trial_days": 36_500, "trial_email_limit": LIMIT}
    policies = [(a, as_bytes(a_policy(a, **(trial if n % 2 else {})))) for n, a in enumerate(accounts)]
    bouncing = [f"gone{n}@example.com" for n in range(5)]
    bounces = [("post", a_bounce(address, n)) for n, address in enumerate(bouncing * 3)]
    requests = [
        a_request(rng.choice(accounts), to=rng.choice([f"u{rng.randrange(500)}@example.com", *bouncing[:2]]))
        for _ in range(1_500)
    ]
    written = [*requests, *rng.sample(requests, 200)]
    async with AsyncExitStack() as programs:
        first = await programs.enter_async_context(running(gate.worker(0)))
        await gate.write("accounts.policies", policies)
        await gate.write("webhooks.sendgrid", bounces)
        await gate.kafka.settled()
        second: Program | None = None
        for number in range(0, len(written), 170):
            some = written[number : number + 170]
            await gate.write("sends.requested", [(r["message_id"], as_bytes(r)) for r in some])
            match number // 170:
                case 1 | 4 | 6 | 8:
                    await first.end(signal.SIGKILL)
                    await first.start()
                case 3:
                    second = await programs.enter_async_context(running(gate.worker(1)))
                case 7 if second is not None:
                    await until(second.is_assigned, "the second worker")
                    assert await second.end() == 0
        await gate.kafka.settled()
        decisions = await gate.read("sends.decided")

    by_message: defaultdict[str, set[bytes]] = defaultdict(set)
    for decision in decisions:
        by_message[decision["message_id"]].add(orjson.dumps(decision, option=orjson.OPT_SORT_KEYS))
    assert by_message.keys() == {request["message_id"] for request in requests}, "none lost, none invented"
    assert {len(values) for values in by_message.values()} == {1}, "none conflicting"
    decided = {i: orjson.loads(next(iter(values))) for i, values in by_message.items()}
    for decision in decided.values():
        assert (decision["reason"] == "bounces") == (decision["to"] in bouncing[:2])
    for number, account in enumerate(accounts):
        own = [d for d in decided.values() if d["account_id"] == account and d["to"] not in bouncing]
        approved = sum(d["outcome"] == "approved" for d in own)
        assert approved == (min(LIMIT, len(own)) if number % 2 else len(own)), "the quota is exact"
        assert {d["outcome"] for d in own} <= {"approved", "quota_exceeded"}


async def test_each_change_of_an_address_is_published_once(gate: Gate) -> None:
    address = "loud@example.com"
    commands = [a_command("suppress", address), a_command("suppress", address), a_command("release", address)]
    key = f"email:{address}"
    async with running(gate.worker(0)):
        for command in commands:
            await gate.write("suppressions.commands", [(key, as_bytes(command))] * 2)
        await gate.kafka.settled()
        changes = [c for c in await gate.read("suppressions.changed") if c["address"] == address]
    published = [(c["version"], c["scopes"][0]["suppressed"], c["scopes"][0]["reason"]) for c in changes]
    assert published == [(1, True, "manual"), (2, False, "manual")]
    assert changes[1]["scopes"][0]["released"]["actor"] == "support"
