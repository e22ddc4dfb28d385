"""Two stacks on one machine: neither sees, hears or stops the other, and commands reach the one that they are told."""

import asyncio
import os
import shlex
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import orjson
import pytest

from processors.kafka.lag import lag
from schemas.consumer_groups import consumer_groups
from schemas.decoding.ids import uuid7
from simulator.signing import sign_sendgrid
from tests.local.ports import free_port_base
from tests.local.waiting import until
from tests.operating.commands import sendledger
from tests.stack.programs import Program, running

pytestmark = [pytest.mark.stack, pytest.mark.kafka, pytest.mark.clickhouse]


@dataclass(frozen=True)
class Stack:
    """One `sendledger up`, and what its dev.env says."""

    program: Program
    data_dir: Path

    @property
    def settings(self) -> dict[str, str]:
        lines = (line.partition("=") for line in (self.data_dir / "dev.env").read_text().splitlines())
        return {name: "".join(shlex.split(value)) for name, _, value in lines}

    @property
    def url(self) -> str:
        return self.settings["SENDLEDGER_PUBLIC_URL"]

    async def ready(self) -> None:
        await until(lambda: "ready http" in self.program.log.read_text(), f"{self.data_dir.name} to be ready")

    async def post(self, client: httpx.AsyncClient, body: bytes, key: str) -> int:
        signed_at = str(int(time.time()))
        headers = {
            "X-Twilio-Email-Event-Webhook-Timestamp": signed_at,
            "X-Twilio-Email-Event-Webhook-Signature": sign_sendgrid(key, signed_at, body),
        }
        return (await client.post(f"{self.url}/webhooks/sendgrid", content=body, headers=headers)).status_code

    async def shows(self, client: httpx.AsyncClient, message_id: str, token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return (await client.get(f"{self.url}/v1/messages/{message_id}", headers=headers)).status_code

    @property
    def viewer(self) -> str:
        return self.settings["SENDLEDGER_DEV_TOKEN_VIEWER"]


@pytest.fixture(scope="module")
async def stacks(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Stack, Stack]]:
    """Two stacks that were started at the same moment. The first one's data are where commands look by themselves."""
    folder = tmp_path_factory.mktemp("two")
    async with AsyncExitStack() as programs:
        made = []
        for name in (".data", "other"):
            words = ["up", "--data-dir", str(folder / name), "--port-base", str(free_port_base())]
            program = await programs.enter_async_context(running(Program(words, {}, folder / f"{name}.log")))
            made.append(Stack(program, folder / name))
        await asyncio.gather(*(stack.ready() for stack in made))
        yield made[0], made[1]


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=20) as made:
        yield made


@pytest.fixture(scope="module")
def message_id() -> str:
    return uuid7(int(time.time() * 1e6), os.urandom(10))


async def test_a_message_of_one_is_not_in_the_other(
    stacks: tuple[Stack, Stack], client: httpx.AsyncClient, message_id: str
) -> None:
    one, other = stacks
    event = {"event": "delivered", "email": "ann@example.com", "sl_account": "demo", "sl_message": message_id}
    body, key = orjson.dumps([event]), one.settings["SENDLEDGER_DEV_SENDGRID_PRIVATE_KEY"]
    assert await other.post(client, body, key) == 401
    assert await one.post(client, body, key) == 204

    async def there() -> bool:
        return await one.shows(client, message_id, one.viewer) == 200

    await until(there, "the row")
    assert await other.shows(client, message_id, other.viewer) == 404
    assert await other.shows(client, message_id, one.viewer) == 401
    written = await lag(other.settings["SENDLEDGER_KAFKA_BOOTSTRAP"], consumer_groups("ledger"))
    assert {partition.end for partition in written.partitions} == {0}


async def test_commands_reach_the_stack_that_the_environment_names(
    stacks: tuple[Stack, Stack], message_id: str
) -> None:
    one, other = stacks
    folder = one.data_dir.parent
    asked = (
        sendledger(*words, env=env, folder=folder)
        for words in (("status", "--json"), ("lag", "--json"))
        for env in ({}, other.settings)
    )
    status_here, status_there, lag_here, lag_there = await asyncio.gather(*asked)
    assert (status_here.json()["email_id"], status_there.out) == (message_id, "")
    groups = [partition["group"] for partition in lag_here.json()["partitions"] if partition["end"] == 1]
    assert groups == ["gate", "ledger"], "the one post, which both read"
    assert sum(partition["end"] for partition in lag_there.json()["partitions"]) == 0


async def test_both_are_healthy_side_by_side(stacks: tuple[Stack, Stack], client: httpx.AsyncClient) -> None:
    one, other = stacks
    looked = await asyncio.gather(
        *(sendledger("doctor", "--json", env=stack.settings, folder=one.data_dir.parent) for stack in (one, other))
    )
    for stack, ended in zip((one, other), looked, strict=True):
        odd = [check for check in ended.json()["checks"] if check["state"] != "ok"]
        assert (ended.code, odd) == (0, [])
        for secret in ("TOKEN_SECRET", "DEV_CLICKHOUSE_PASSWORD", "TWILIO_AUTH_TOKENS", "POSTMARK_BASIC_AUTH"):
            assert stack.settings[f"SENDLEDGER_{secret}"] not in ended.out + ended.err
        shown = (await client.get(f"{stack.url}/metrics")).text
        assert 'sendledger_up{program="gateway"} 1.0' in shown


async def test_one_stops_and_the_other_goes_on(stacks: tuple[Stack, Stack], client: httpx.AsyncClient) -> None:
    one, other = stacks
    settings = other.settings
    assert await one.program.end(signal.SIGTERM) == 0
    assert (await client.get(f"{other.url}/readyz")).status_code == 200
    assert await other.program.end(signal.SIGTERM) == 0
    assert other.settings == settings
