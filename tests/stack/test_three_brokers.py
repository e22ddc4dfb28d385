"""Three brokers with three replicas, of which two must have a record: what happens when one is lost, and when two are.

Requests go in at the gateway, over HTTP, and are counted again where they come out: at the gate's decisions and in the
ledger's rows. Brokers are ended with kill -9.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import orjson
import pytest

from deploy.local.supervisor import Part, Supervisor
from gateway.tokens import issue
from processors.engine import Output
from processors.kafka import Producer
from processors.kafka.cluster import TopicDescription, describe_cluster
from processors.kafka.lag import wait_until_caught_up
from processors.kafka.read_topic import read_topic
from processors.kafka.topics import create_topics
from projections.store import Store
from schemas.consumer_groups import consumer_groups
from schemas.errors import BrokerError
from schemas.settings import PREFIX, TopicSettings, read
from schemas.topics import ACCOUNTS_POLICIES, ALL_TOPICS, SENDS_DECIDED, SENDS_REQUESTED
from tests.gate.building import a_policy, a_request, as_bytes
from tests.kafka.nodes import KafkaNode, three_brokers
from tests.local.ports import free_port_base
from tests.local.waiting import until
from tests.stack.programs import SENDLEDGER, answering

pytestmark = [pytest.mark.stack, pytest.mark.kafka, pytest.mark.clickhouse]

SECRET: Final = "a secret of this test, and of no other place"
BATCH: Final = 5
"""Send requests that are posted together."""
TRIAL_LIMIT: Final = 40
PARTITIONS: Final = 3


@dataclass
class Installation:
    """Three brokers, and the programs over them, which are started again when they end."""

    nodes: Sequence[KafkaNode]
    url: str
    store: Store
    accepted: dict[str, set[str]] = field(default_factory=dict)
    """By account: the ids of the messages that the gateway has answered 202 for."""

    @property
    def bootstrap(self) -> str:
        return ",".join(node.bootstrap for node in self.nodes)

    async def topics(self) -> Mapping[str, TopicDescription]:
        return (await describe_cluster(self.bootstrap, [topic.name for topic in ALL_TOPICS], [])).topics

    async def post(self, requests: Sequence[Mapping[str, Any]]) -> int:
        """Ask for messages of one account, once; return the status of the answer. Those of a 202 are noted."""
        account = str(requests[0]["account_id"])
        headers = {"Authorization": f"Bearer {issue(SECRET, subject='t', role='publisher', accounts=[account])}"}
        async with httpx.AsyncClient(trust_env=False, timeout=60, headers=headers) as client:
            answer = await client.post(f"{self.url}/v1/sends", json=list(requests))
        if answer.status_code == 202:
            self.accepted.setdefault(account, set()).update(str(request["message_id"]) for request in requests)
        return answer.status_code

    async def accept(self, requests: Sequence[Mapping[str, Any]]) -> None:
        """Repeat one request, with the same ids, until it is accepted: as booking services do."""

        async def taken() -> bool:
            status = await self.post(requests)
            assert status in {202, 503}, status
            return status == 202

        await until(taken, "the gateway to accept")

    async def in_sync(self) -> None:
        """Wait until all replicas of our topics are in sync."""
        await until(lambda: self._shows(lambda t: t.in_sync == t.replicas == len(self.nodes)), "replicas in sync")

    async def led(self) -> None:
        """Wait until every partition has a leader and two replicas in sync."""
        await until(lambda: self._shows(lambda t: not t.leaderless and t.in_sync >= 2), "leaders")

    async def _shows(self, right: Any) -> bool:
        try:
            topics = await self.topics()
        except BrokerError:
            return False
        return len(topics) == len(ALL_TOPICS) and all(right(topic) for topic in topics.values())

    async def settled(self) -> None:
        """Wait until both workers have read all that exists."""

        async def caught_up() -> bool:
            try:
                return (
                    await wait_until_caught_up(self.bootstrap, consumer_groups("ledger", "gate"), within_seconds=5) == 0
                )
            except BrokerError:
                return False

        await until(caught_up, "the workers to have read everything")

    async def decisions(self, account: str) -> dict[str, set[str]]:
        """The outcomes of each message of an account. A decision may be published again; it must be the same."""
        found: dict[str, set[str]] = {}
        async with aclosing(read_topic(self.bootstrap, SENDS_DECIDED.name)) as records:
            async for record in records:
                decision = orjson.loads(record.value or b"")
                if decision["account_id"] == account:
                    found.setdefault(decision["message_id"], set()).add(decision["outcome"])
        return found

    async def requested(self, account: str) -> set[str]:
        """The ids of an account's messages in the log."""
        async with aclosing(read_topic(self.bootstrap, SENDS_REQUESTED.name)) as records:
            requests = [orjson.loads(record.value or b"") async for record in records]
        return {str(request["message_id"]) for request in requests if request["account_id"] == account}

    def rows(self, account: str) -> dict[str, int]:
        """How many messages of an account have each status, in the tables."""
        sql = "SELECT status, count() FROM messages WHERE account_id = {account:String} GROUP BY status"
        return {str(status): int(count) for status, count in self.store.tuples(sql, {"account": account})}


@pytest.fixture(scope="module")
async def installation(
    clickhouse_url: str, store: Store, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Installation]:
    folder, port = tmp_path_factory.mktemp("three"), free_port_base()
    async with three_brokers(folder) as nodes:
        made = Installation(nodes, f"http://127.0.0.1:{port}", store)
        await create_topics(
            read(TopicSettings, kafka_bootstrap=made.bootstrap, partitions=PARTITIONS, replication=len(nodes))
        )
        env = {
            "KAFKA_BOOTSTRAP": made.bootstrap,
            "CLICKHOUSE_URL": clickhouse_url,
            "CLICKHOUSE_DATABASE": store.database,
            "TOKEN_SECRET": SECRET,
            "WORKER_DIR": str(folder),
            "INSTANCE": "one",
            "PORT": str(port),
        }
        supervisor = Supervisor(folder / "programs", _programs(env, made.url))
        await supervisor.start()
        try:
            yield made
        finally:
            await supervisor.stop()


def _programs(env: Mapping[str, str], url: str) -> list[Part]:
    """The gateway and both workers; as in production, a supervisor starts them again."""
    settings = {PREFIX + name: value for name, value in env.items()}

    async def started() -> bool:
        return True

    def part(*words: str, ready: Any = started) -> Part:
        return Part("-".join(words), [sys.executable, str(SENDLEDGER), *words], settings, ready, start_within=240.0)

    return [part("gateway", ready=lambda: answering(f"{url}/readyz")), part("worker", "ledger"), part("worker", "gate")]


async def on_trial(installation: Installation, account: str) -> None:
    """Let an account send TRIAL_LIMIT emails: of more requests exactly so many are approved, if each counts once."""
    trial = {"trial_started_at": "2020-01-01T00:00:00Z", "trial_days": 36_500, "trial_email_limit": TRIAL_LIMIT}
    producer = Producer(installation.bootstrap)
    await producer.start()
    await producer.send_all([Output(ACCOUNTS_POLICIES.name, account.encode(), as_bytes(a_policy(account, **trial)))])
    await producer.stop()
    await installation.settled()


def a_batch(account: str) -> list[dict[str, Any]]:
    return [a_request(account, to=f"u{n}@example.com") for n in range(BATCH)]


async def counted(installation: Installation, account: str) -> None:
    """Check that what was accepted, what is in the log, what was decided and what the tables show is the same."""
    accepted = installation.accepted[account]
    assert len(accepted) > TRIAL_LIMIT
    assert await installation.requested(account) == accepted
    await installation.settled()
    decisions = await installation.decisions(account)
    assert decisions.keys() == accepted
    outcomes = list(itertools.chain.from_iterable(decisions.values()))
    over = len(accepted) - TRIAL_LIMIT
    assert (outcomes.count("approved"), outcomes.count("quota_exceeded")) == (TRIAL_LIMIT, over)
    await until(lambda: sum(installation.rows(account).values()) == len(accepted), "the rows")
    assert installation.rows(account)["Quota_Exceeded"] == over


async def test_three_replicas_need_two_in_sync(installation: Installation) -> None:
    topics = await installation.topics()
    needed = {name: topic.configuration["min.insync.replicas"] for name, topic in topics.items()}
    assert needed == {topic.name: "2" for topic in ALL_TOPICS}
    assert {topic.replicas for topic in topics.values()} == {3}


async def test_with_one_broker_lost_nothing_stops_and_nothing_is_lost_or_counted_twice(
    installation: Installation,
) -> None:
    account, stop = "one-lost", asyncio.Event()
    await on_trial(installation, account)
    sent = 0

    async def send_on() -> None:
        nonlocal sent
        while not stop.is_set():
            await installation.accept(a_batch(account))
            sent += BATCH

    async def more(count: int) -> None:
        target = sent + count
        await until(lambda: sent >= target or sending.done(), "further messages to be accepted")

    sending = asyncio.create_task(send_on())
    try:
        await more(20)
        for node in installation.nodes[:2]:  # one after the other; the first is the controller's leader or its follower
            await node.kill()
            await installation.led()
            await more(20)
            await node.launch()
            await node.answers()
            await installation.in_sync()
        await more(10)
    finally:
        stop.set()
        await sending
    await counted(installation, account)


async def test_with_two_lost_nothing_is_accepted_until_they_are_back(installation: Installation) -> None:
    account = "two-lost"
    await on_trial(installation, account)
    for _ in range(TRIAL_LIMIT // BATCH):
        await installation.accept(a_batch(account))
    before = set(installation.accepted[account])
    for node in installation.nodes[1:]:
        await node.kill()
    waiting = [a_batch(account) for _ in range(3)]
    assert await asyncio.gather(*(installation.post(requests) for requests in waiting)) == [503] * 3
    assert installation.accepted[account] == before
    for node in installation.nodes[1:]:
        await node.launch()
    await asyncio.gather(*(node.answers() for node in installation.nodes[1:]))
    await installation.in_sync()
    await asyncio.gather(*(installation.accept(requests) for requests in waiting))
    await counted(installation, account)
