"""The parts of the page Health: one that fails does not take the others with it, and says why it failed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, cast

import pytest

from application.checks import clickhouse, kafka
from application.checks.check import Check, State, ok
from application.principals import Principal
from gateway.console import installation as module
from gateway.console.installation import Installation, InstallationReader
from gateway.read_pool import ReadPool
from processors.dead_letters.browsing import Letter, LetterId, LetterSource, OpenLetters
from processors.kafka.cluster import Cluster, TopicDescription
from processors.kafka.lag import Lag
from projections.store import Store
from schemas.errors import BrokerError
from schemas.settings import GatewaySettings
from schemas.topics import SENDS_CONTENT
from tests.console.building import a_client, a_token
from tests.gateway.test_webhooks import FakeKafka, settings

UNUSED: Final = cast("Store", None)
"""What would read it is replaced."""
ANN: Final = Principal("ann", "operator", frozenset({"*"}))
OPERATOR: Final = a_token("*", role="operator")


@pytest.fixture
def wanted() -> GatewaySettings:
    return settings(content_retention_days=90)


@pytest.fixture
async def reads() -> AsyncIterator[ReadPool]:
    pool = ReadPool(at_once=1, per_token=1)
    yield pool
    pool.close()


@pytest.fixture(autouse=True)
def _services(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka does not answer, and ClickHouse is all right."""

    async def away(*_: object, **__: object) -> Any:
        raise BrokerError("Kafka does not answer", "nowhere", "Start it")

    monkeypatch.setattr(kafka, "read_state", away)
    monkeypatch.setattr(module, "read_open_letters", away)
    monkeypatch.setattr(module, "count_orphans", lambda _: 3)
    monkeypatch.setattr(module, "read_provider_feedback", lambda *_: [])
    monkeypatch.setattr(clickhouse, "check", lambda *_: [ok("clickhouse", "it answers")])


def state_of(found: Installation, name: str) -> Check:
    [check] = [check for check in found.checks if check.name == name]
    return check


@pytest.mark.parametrize(
    "where", ["read_state", "read_open_letters", "check", "count_orphans", "read_provider_feedback"]
)
async def test_a_bug_in_one_part_leaves_the_others(
    monkeypatch: pytest.MonkeyPatch, wanted: GatewaySettings, reads: ReadPool, where: str
) -> None:
    def fails(*_: object, **__: object) -> Any:
        raise RuntimeError("a bug")

    owner = {"read_state": kafka, "check": clickhouse}.get(where, module)
    monkeypatch.setattr(owner, where, fails)
    reader = InstallationReader(wanted, UNUSED, reads)
    found, providers = await reader.read(ANN), await reader.providers(ANN, ["acme"])
    assert found.orphans == (None if where == "count_orphans" else 3)
    assert providers == (None if where == "read_provider_feedback" else [])
    assert state_of(found, "clickhouse").state is (State.FAIL if where == "check" else State.OK)
    assert state_of(found, "kafka").state is State.FAIL
    assert ("gateway's log" in state_of(found, "kafka").mend) == (where == "read_state")


async def test_if_no_read_is_free_it_is_not_said_that_clickhouse_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, wanted: GatewaySettings, reads: ReadPool
) -> None:
    monkeypatch.setattr(module, "_WITHIN_SECONDS", 0.2)
    monkeypatch.setattr(kafka, "read_state", kafka_with_contents(days=90))
    go_on = asyncio.Event()
    loop = asyncio.get_running_loop()
    hanging = asyncio.create_task(reads.run(ANN, lambda: asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()))
    await asyncio.sleep(0)
    reader = InstallationReader(wanted, UNUSED, reads)
    found, providers = await reader.read(ANN), await reader.providers(ANN, None)
    go_on.set()
    await hanging
    assert (found.orphans, providers) == (None, None)
    [clickhouse_check] = [check for check in found.checks if check.name == "clickhouse"]
    assert (clickhouse_check.state, clickhouse_check.what) == (State.WARN, "not checked: no read was free")
    assert clickhouse_check not in found.to_mend


@pytest.mark.parametrize(("days", "state"), [(90, State.OK), (91, State.FAIL)])
async def test_the_retention_of_contents_is_compared_with_the_settings(
    monkeypatch: pytest.MonkeyPatch, wanted: GatewaySettings, reads: ReadPool, days: int, state: State
) -> None:
    monkeypatch.setattr(kafka, "read_state", kafka_with_contents(days))
    found = await InstallationReader(wanted, UNUSED, reads).read(ANN)
    assert state_of(found, "topics.settings").state is state


def kafka_with_contents(days: int) -> Callable[..., Awaitable[kafka.KafkaState]]:
    """Kafka with one topic: the contents, which are kept for so many days."""
    kept = TopicDescription(4, replicas=1, in_sync=1, leaderless=0, configuration=SENDS_CONTENT.configuration(days))
    cluster = Cluster("ours", 1, supports_static_members=True, topics={SENDS_CONTENT.name: kept}, groups={})

    async def read_state(*_: object) -> kafka.KafkaState:
        return kafka.KafkaState(cluster, Lag(()))

    return read_state


@pytest.mark.parametrize(
    ("older", "reached_end", "says"),
    [
        pytest.param(0, True, "", id="all"),
        pytest.param(2, True, "Only the newest 1 are", id="more than are kept"),
        pytest.param(0, False, "Not all could be read in time", id="not in time"),
    ],
)
async def test_if_dead_letters_are_missing_the_pages_say_why(
    monkeypatch: pytest.MonkeyPatch, older: int, says: str, *, reached_end: bool
) -> None:
    async def letters(*_: object, **__: object) -> OpenLetters:
        source = LetterSource("a", 0, 1, None)
        at = "2026-11-30T08:00:00.000000Z"
        letter = Letter(LetterId(0, 1), "a", source, "bad", "", "gate", at, "", None, b"", ())
        return OpenLetters((letter,), older, reached_end)

    monkeypatch.setattr(module, "read_open_letters", letters)
    async with a_client(None, OPERATOR, FakeKafka()) as client:  # another gateway: what one read is kept for seconds
        health = (await client.get("/health?account=*")).text
        page = (await client.get("/health/dead-letters")).text
        other = (await client.get("/health/dead-letters?reason=other")).text
    for text in (health, page, other):
        assert text.count("Only the newest") + text.count("Not all could be read in time") == bool(says)
        assert says in text
    assert f"<b>{1 + older}</b>" in health
    assert ("Newest</th>" in health) == reached_end  # of a part, the newest is not known
    assert ("the newest first" in page) == reached_end
    assert ("<h2>No dead letters</h2>" in other) == (not says)
    assert ("<h2>Not all could be read</h2>" in other) == bool(says)


async def test_without_configured_workers_there_are_no_tiles_of_them() -> None:
    async with a_client(None, OPERATOR) as client:
        without = (await client.get("/health?account=*")).text
    async with a_client(None, OPERATOR, worker_metrics="http://127.0.0.1:1/metrics") as client:
        silent = (await client.get("/health?account=*")).text
    assert "delay, half within" not in without
    assert "no worker answered" in silent
