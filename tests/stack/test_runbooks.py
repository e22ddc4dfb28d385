"""Runbooks of docs/how-to, followed literally on one running stack: a fault, the commands, and no loss.

Kafka and ClickHouse are processes of this test, which ends them and starts them again; `sendledger up` keeps the
programs running on them, as it does for people. release-a-suppression-wave.md and when-a-provider-is-silent.md have
tests of their own, and so have the pages that a runbook leads to.
"""

import asyncio
import os
import re
import shlex
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
import orjson
import pytest

from processors.kafka.lag import wait_until_caught_up
from projections.store.generations import ShownStore
from schemas.consumer_groups import consumer_groups
from schemas.settings import PREFIX
from tests.engine.broker import PrivateBroker
from tests.gate.building import a_request
from tests.local.endpoints import EndpointProcess
from tests.local.ports import free_port_base
from tests.local.waiting import PATIENCE_SECONDS, until
from tests.operating.commands import in_process
from tests.stack.programs import Program, running
from tests.stack.test_two_stacks import Stack

pytestmark = [pytest.mark.stack, pytest.mark.kafka, pytest.mark.clickhouse]

HOW_TO: Final = Path(__file__).parents[2] / "docs" / "how-to"
LEDGER, GATE = "worker-ledger", "worker-gate"
MESSAGES: Final = 10
_BLOCK: Final = re.compile(r"^ *```(sh|sql)\n(.*?)^ *```$", re.M | re.S)


def blocks(page: str) -> list[str]:
    """The blocks of commands and of SQL of a runbook, in order."""
    return [block for _, block in _BLOCK.findall((HOW_TO / f"{page}.md").read_text(encoding="utf-8"))]


@dataclass
class Installation:
    """The programs of one `sendledger up`, on a Kafka and a ClickHouse that a test may end."""

    stack: Stack
    kafka: PrivateBroker
    clickhouse: EndpointProcess
    store: ShownStore
    client: httpx.AsyncClient
    accepted: set[str] = field(default_factory=set)
    """The ids of all messages that were answered with a 2xx."""

    @property
    def folder(self) -> Path:
        return self.stack.data_dir.parent

    async def follow(self, block: str, **ends_with: int) -> str:
        """Run the commands of a block in order, as they are there; return what they print.

        Each must end with 0, or with the code that is given for its first word.
        """
        printed = []
        for line in block.strip().splitlines():
            _, *words = shlex.split(line)
            ended = await in_process(*words, env={}, folder=self.folder)
            assert ended.code == ends_with.get(words[0], 0), f"{line}\n{ended.out}\n{ended.err[-3000:]}"
            printed.append(ended.out)
        return "\n".join(printed)

    async def request(self, wait: str = "", *, url: str = "", token: str = "") -> httpx.Response:
        """Request one message of account `demo`."""
        request = a_request("demo")
        headers = {"Authorization": f"Bearer {token or self.stack.settings[f'{PREFIX}DEV_TOKEN_PUBLISHER']}"}
        answer = await self.client.post(f"{url or self.stack.url}/v1/sends{wait}", json=request, headers=headers)
        if answer.is_success:
            self.accepted.add(request["message_id"])
        return answer

    async def deliver(self, message_id: str) -> int:
        """Post the webhook that reports a message as delivered."""
        event = {"event": "delivered", "email": "ann@example.com", "sl_account": "demo", "sl_message": message_id}
        key = self.stack.settings["SENDLEDGER_DEV_SENDGRID_PRIVATE_KEY"]
        return await self.stack.post(self.client, orjson.dumps([event]), key)

    async def traffic(self) -> None:
        """Request messages and report each as delivered; all is accepted."""
        before = set(self.accepted)
        answers = [await self.request() for _ in range(MESSAGES)]
        assert {answer.status_code for answer in answers} == {202}
        assert {await self.deliver(one) for one in self.accepted - before} == {204}

    async def caught_up(self) -> None:
        """Wait until the workers have read everything."""
        behind = await wait_until_caught_up(
            self.kafka.bootstrap, consumer_groups("ledger"), within_seconds=PATIENCE_SECONDS
        )
        assert behind == 0

    async def nothing_is_lost(self) -> None:
        """Every message that was accepted has its row and its decision, and nothing was parked."""
        sql = "SELECT email_id, decided_at IS NOT NULL FROM messages WHERE account_id = 'demo'"
        decided = {str(email_id): bool(has_decision) for email_id, has_decision in self.store.tuples(sql)}
        assert decided == dict.fromkeys(self.accepted | decided.keys(), True)  # a 503 may be in Kafka nevertheless
        letters = await in_process("dead-letters", "list", "--all", "--json", env={}, folder=self.folder)
        assert (letters.code, letters.out) == (0, "")

    def send(self, part: str, number: signal.Signals) -> None:
        """Send a signal to a program. One that ends is started again."""
        os.kill(orjson.loads((self.stack.data_dir / "run" / f"{part}.pid").read_bytes())["pid"], number)


@pytest.fixture(scope="module")
async def installation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    folder = tmp_path_factory.mktemp("runbooks")
    port = free_port_base()
    kafka, clickhouse = PrivateBroker(folder / "kafka", port, port + 1), EndpointProcess(folder / "clickhouse")
    async with AsyncExitStack() as parts:
        parts.push_async_callback(kafka.kill)
        await asyncio.gather(kafka.start(), clickhouse.start())
        parts.push_async_callback(clickhouse.end, signal.SIGKILL)
        env = {
            f"{PREFIX}KAFKA_BOOTSTRAP": kafka.bootstrap,
            f"{PREFIX}CLICKHOUSE_URL": clickhouse.url,
            f"{PREFIX}GROUP_SECONDS": "0.1",
            f"{PREFIX}SWEEP_SECONDS": "3",
        }
        words = ["up", "--data-dir", str(folder / ".data"), "--port-base", str(free_port_base())]
        up = await parts.enter_async_context(running(Program(words, env, folder / "up.log")))
        parts.push_async_callback(up.end)
        stack = Stack(up, folder / ".data")
        await stack.ready()
        store = ShownStore(clickhouse.url)
        parts.callback(store.close)
        client = await parts.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=20))
        yield Installation(stack, kafka, clickhouse, store, client)


async def test_the_lag_grows_and_the_gate_is_stuck_until_the_workers_are_killed(installation: Installation) -> None:
    one = installation
    gate_look, gate_end = blocks("when-the-gate-is-stuck")
    lag_look, lag_doctor, lag_end = blocks("when-the-lag-grows")
    await one.traffic()
    await one.caught_up()
    for part in (GATE, LEDGER):
        one.send(part, signal.SIGSTOP)
    await one.traffic()
    assert (await one.request("?wait=1")).status_code == 202

    async def noticed() -> bool:
        return "none in group ledger; none in group gate" in await one.follow(lag_doctor)

    await until(noticed, "the end of the workers' sessions")
    assert re.search(r"group ledger: [1-9]", await one.follow(lag_look))
    assert re.search(r"group gate: [1-9]", await one.follow(gate_look))

    for part in (GATE, LEDGER):
        one.send(part, signal.SIGKILL)
    await one.caught_up()
    answer = await one.request("?wait=1")
    assert (answer.status_code, answer.json()["items"][0]["outcome"]) == (200, "approved")
    await one.caught_up()
    for end in (lag_end, gate_end):
        printed = await one.follow(end)
        assert "total 0" in printed
    await one.nothing_is_lost()
