"""docs/how-to/when-a-provider-is-silent.md: its commands, run on a real Kafka and the real ClickHouse engine."""

import re
import shlex
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest

from projections.store import Store
from projections.weather.silence import Cause
from schemas.telemetry import UP, Telemetry
from tests.kafka.broker import broker_with_topics
from tests.metrics import served
from tests.operating.commands import in_process
from tests.stores import fresh_store
from tests.weather.building import write_delivered_silence

pytestmark = [pytest.mark.kafka, pytest.mark.clickhouse]

PAGE: Final = (Path(__file__).parents[2] / "docs/how-to/when-a-provider-is-silent.md").read_text(encoding="utf-8")
COMMANDS: Final = re.findall(r"^ *(sendledger .*)$", "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.S)), re.M)
FOLLOWING: Final = "sendledger weather --follow"
"""It does not end: tests/operating/test_weather.py has its loop."""
ENDS_WITH: Final = {
    "sendledger weather": 1,
    "sendledger weather --minutes 60": 1,
    "sendledger lag --group ledger": 0,
    "sendledger dead-letters list --topic webhooks.sendgrid": 0,
    # Settings of the programs are missing here: it says which.
    "sendledger doctor --for gateway": 3,
    "sendledger doctor": 3,
}


@pytest.fixture(scope="module")
def gateway_metrics() -> Iterator[str]:
    """The URL of the metrics of a gateway that has refused nothing."""
    counted = Telemetry()
    counted.gauge(UP, program="gateway").set(1)
    with served(counted) as url:
        yield url


@pytest.fixture(scope="module")
def store(clickhouse_url: str) -> Iterator[Store]:
    with fresh_store(clickhouse_url) as store:
        write_delivered_silence(store, time.time_ns() // 1000)
        yield store


@pytest.fixture(scope="module")
async def bootstrap(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """A broker of these tests alone: dead letters and unread webhooks of other tests would be evidence here."""
    async with broker_with_topics(tmp_path_factory.mktemp("silent")) as bootstrap:
        yield bootstrap


@pytest.fixture
def env(bootstrap: str, clickhouse_url: str, store: Store, gateway_metrics: str) -> dict[str, str]:
    return {
        "SENDLEDGER_KAFKA_BOOTSTRAP": bootstrap,
        "SENDLEDGER_CONSUMER_GROUP": f"ledger-{uuid4().hex[:8]}",
        "SENDLEDGER_CLICKHOUSE_URL": clickhouse_url,
        "SENDLEDGER_CLICKHOUSE_DATABASE": store.database,
        "SENDLEDGER_GATEWAY_METRICS": gateway_metrics,
    }


def test_the_page_has_the_commands_that_are_run_here() -> None:
    assert set(COMMANDS) == {*ENDS_WITH, FOLLOWING}


def test_the_page_explains_every_cause() -> None:
    missing = set(Cause) - set(re.findall(r"`(\w+)`", PAGE))
    assert missing == set()


@pytest.mark.parametrize("command", ENDS_WITH)
async def test_a_command_of_the_page_does_what_it_says(env: dict[str, str], tmp_path: Path, command: str) -> None:
    words = shlex.split(command)[1:]
    if "ledger" in words:
        env |= {"SENDLEDGER_CONSUMER_GROUP": "ledger"}
    ended = await in_process(*words, env=env, folder=tmp_path)
    assert ended.code == ENDS_WITH[command], ended.err
    assert "Traceback" not in ended.err


async def test_with_all_evidence_the_provider_is_named(env: dict[str, str], tmp_path: Path) -> None:
    ended = await in_process("weather", "--json", env=env, folder=tmp_path)
    [silence] = ended.json()["silences"]
    assert (silence["likely"], silence["cause"]) == ("provider", "provider"), silence
    assert "other events of sendgrid arrive and are stored, and none are refused" in silence["because"]
