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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

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
from tests.operating.commands import in_process, sendledger
from tests.stack.programs import Program, running
from tests.stack.test_two_stacks import Stack

pytestmark = [pytest.mark.stack, pytest.mark.kafka, pytest.mark.clickhouse]

HOW_TO: Final = Path(__file__).parents[2] / "docs" / "how-to"
LEDGER, GATE = "worker-ledger", "worker-gate"
PROCESSES: Final = frozenset({"rebuild", "verify"})
"""Commands that take signals, and so run in a process of their own."""
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
        """Run the commands of a block in order, as they are there; return what they print, on both streams.

        Each must end with 0, or with the code that is given for its first word.
        """
        printed: list[str] = []
        for line in block.strip().splitlines():
            _, *words = shlex.split(line)
            run = sendledger if words[0] in PROCESSES else in_process
            ended = await run(*words, env={}, folder=self.folder)
            assert ended.code == ends_with.get(words[0], 0), f"{line}\n{ended.out}\n{ended.err[-3000:]}"
            printed += ended.out, ended.err
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
        """Post the webhook that reports a message as delivered, and return the status."""
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
        assert await self.letters("--all") == []

    async def letters(self, *more: str) -> list[dict[str, Any]]:
        """What `dead-letters list` prints."""
        listed = await in_process("dead-letters", "list", "--json", *more, env={}, folder=self.folder)
        assert listed.code == 0, listed.err
        return [orjson.loads(line) for line in listed.out.splitlines()]

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


async def test_kafka_lost_its_broker_until_it_is_started_again(installation: Installation) -> None:
    one = installation
    look, end, weather = blocks("when-kafka-lost-a-broker")
    await one.traffic()
    await one.kafka.kill()
    try:
        assert (await one.request()).status_code == 503
        assert await one.deliver(min(one.accepted)) == 503
        assert "Kafka does not answer" in await one.follow(look, doctor=4, lag=4)
    finally:
        await one.kafka.start()

    async def accepts() -> bool:
        return (await one.request()).is_success

    await until(accepts, "a gateway that writes to Kafka again")
    await one.traffic()
    await one.caught_up()
    printed = await one.follow(end)
    assert "total 0" in printed
    assert "0 differences" in printed
    await one.follow(weather)
    await one.nothing_is_lost()


async def test_clickhouse_is_down_until_it_is_started_again(installation: Installation) -> None:
    one = installation
    look, disks, sizes, room, end = blocks("when-clickhouse-is-down")
    log = one.stack.data_dir / "logs" / f"{LEDGER}.log"

    def retried() -> bool:
        return any("attempt.retried" in line and "can't be reached" in line for line in log.read_text().splitlines())

    await one.clickhouse.end(signal.SIGKILL)
    try:
        await one.traffic()
        headers = {"Authorization": f"Bearer {one.stack.viewer}"}
        listed = await one.client.get(f"{one.stack.url}/v1/messages", headers=headers)
        assert (listed.status_code, listed.json()["type"].partition("#")[2]) == (503, "clickhouse-away")
        assert re.search(r"group ledger: [1-9]", await one.follow(look, doctor=4))
        await until(retried, "the line of the log by which one acts")
    finally:
        await one.clickhouse.start()
    await one.caught_up()
    for sql in (disks, sizes):
        assert one.store.tuples(sql)
    assert "Generation 1 is shown" in await one.follow(room.splitlines()[1], rebuild=2)
    assert "shown" in await one.follow(room.splitlines()[0])
    printed = await one.follow(end)
    assert "total 0" in printed
    assert "0 differences" in printed
    await one.nothing_is_lost()


async def test_a_deploy_wrote_wrong_rows_until_the_tables_are_made_anew(installation: Installation) -> None:
    one = installation
    look, letters, again, end = blocks("when-a-deploy-wrote-wrong-rows")
    await one.traffic()
    await one.caught_up()
    wrong = "UPDATE winner = tuple(9, 0, 0, 0, 0, 0, 0, '', '', 'nobody said this', '', '') WHERE account_id = 'demo'"
    one.store.command(f"ALTER TABLE message_state {wrong} SETTINGS mutations_sync = 1", database=one.store.tables)
    assert "nobody said this" in {reason for (reason,) in one.store.tuples("SELECT reason FROM messages")}
    assert "rows\tmessages\t" in await one.follow(look, verify=1)
    await one.follow(letters)
    compare, show = again.splitlines()
    assert await one.follow(compare, rebuild=1)
    await one.follow(show)
    assert "0 differences" in await one.follow(end)
    await one.follow(look)
    await one.nothing_is_lost()


async def test_a_key_leaked_until_it_is_replaced(installation: Installation) -> None:
    one, forged = installation, f"forged-{uuid4().hex[:8]}@example.com"
    create, doctor, look, history, sent = blocks("when-a-key-leaked")
    old = one.stack.settings
    thief = {"Authorization": f"Bearer {old[f'{PREFIX}DEV_TOKEN_SUPPORT']}"}
    act = {"channel": "email", "address": forged, "scope": "demo", "reason": "not by us"}
    suppress = f"{one.stack.url}/v1/suppressions"
    assert (await one.client.post(suppress, json=act, headers=thief)).status_code == 202
    await one.caught_up()

    # rotate-a-key.md, "On one machine".
    await one.stack.program.end()
    settings = one.stack.data_dir / "dev.env"
    leaked = (f"{PREFIX}TOKEN_SECRET=", f"{PREFIX}POSTMARK_BASIC_AUTH=")
    kept = [line for line in settings.read_text().splitlines() if not line.startswith(leaked)]
    settings.write_text("\n".join([*kept, ""]))
    one.stack.program.log.unlink()
    await one.stack.program.start()
    await one.stack.ready()

    for token in (old[f"{PREFIX}DEV_TOKEN_SUPPORT"], old[f"{PREFIX}DEV_TOKEN_PUBLISHER"]):
        refused = await one.client.post(suppress, json=act, headers={"Authorization": f"Bearer {token}"})
        assert refused.status_code == 401
    user, _, password = old[f"{PREFIX}POSTMARK_BASIC_AUTH"].partition(":")
    posted = await one.client.post(f"{one.stack.url}/webhooks/postmark", json={}, auth=(user, password))
    assert posted.status_code == 401
    counted = (await one.client.get(f"{one.stack.url}/metrics")).text
    assert 'sendledger_signature_failures_total{provider="postmark"} 1.0' in counted
    token = (await one.follow(create)).split()[0]
    assert (await one.request(token=token)).status_code == 202
    await one.follow(doctor)
    await one.caught_up()
    assert forged in await one.follow(look)
    assert ("dev-support", "suppress", forged, "not by us") in {
        (actor, action, address, reason)
        for _, actor, action, _, address, _, reason in one.store.tuples(history.strip())
    }
    today = datetime.now(UTC).date().isoformat()
    assert "demo" in await one.follow(re.sub(r"\d{4}-\d\d-\d\d", today, sent))
    await one.nothing_is_lost()


async def test_dead_letters_pile_up_until_they_are_handled(installation: Installation) -> None:
    """The last one: its letters stay in the list of all."""
    one = installation
    look, show, act = blocks("handle-dead-letters")
    key = one.stack.settings["SENDLEDGER_DEV_SENDGRID_PRIVATE_KEY"]
    body = orjson.dumps([{"email": "ann@example.com", "timestamp": 1}])  # it does not say what happened
    assert {await one.stack.post(one.client, body, key) for _ in range(3)} == {204}
    await one.caught_up()
    assert "event_missing" in await one.follow(look)
    ids = [letter["letter"] for letter in await one.letters()]
    assert len(ids) == 3
    assert "event_missing" in await one.follow(show.replace("3:17", ids[0]))
    await one.follow(act.replace("3:17", ids[0]))
    assert await one.letters() == []
    every = {letter["letter"]: letter["handled"] for letter in await one.letters("--all")}
    assert every.keys() == set(ids)
    assert all("discarded" in str(handled) for handled in every.values())
