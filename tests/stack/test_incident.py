"""A suppression wave on the real Kafka, gate, ledger and ClickHouse: the how-to literally, and a killed release.

The how-to is docs/how-to/release-a-suppression-wave.md. Its blocks are run as they are there, but for the id.
"""

import asyncio
import csv
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest

from processors.kafka.lag import wait_until_caught_up
from projections.store import Store
from schemas.consumer_groups import DEFAULT_GATE_GROUP, ConsumerGroup
from schemas.decoding.ids import uuid7
from schemas.decoding.times import rfc3339_us
from schemas.settings import PREFIX
from schemas.topics import LEDGER_INPUTS
from tests.gate.building import a_command, a_request, as_bytes, now_us
from tests.gate.cluster import Kafka, kafka_with_topics
from tests.gate.oracle import SentRecord
from tests.local.waiting import PATIENCE_SECONDS, until
from tests.operating.commands import sendledger
from tests.stack.programs import Program, running
from tests.stores import fresh_store

pytestmark = [pytest.mark.stack, pytest.mark.kafka, pytest.mark.clickhouse]

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "release-a-suppression-wave.md"
_BLOCK = re.compile(r"^ *```sh\n(.*?)^ *```$", re.M | re.S)
_ASSIGNMENT = re.compile(r"^[A-Z]+=.*$", re.M)
_GROUP = "incident"


@dataclass
class Installation:
    """A gate and a ledger that run, their topics, and their tables."""

    kafka: Kafka
    store: Store
    env: dict[str, str]
    folder: Path
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(100_000)))

    async def write(self, topic: str, *records: tuple[str, bytes]) -> None:
        await self.kafka.write([SentRecord(topic, key, value) for key, value in records])

    async def post(self, *events: dict[str, Any]) -> None:
        """A webhook of SendGrid."""
        await self.write("webhooks.sendgrid", ("post", orjson.dumps(events)))

    def event(self, kind: str, address: str, at: str = "2026-01-15T09:30:00Z", **fields: Any) -> dict[str, Any]:
        """An event about a message of `demo`."""
        return {
            "event": kind,
            "email": address,
            "timestamp": (rfc3339_us(at) or 0) // 1_000_000,
            "sg_message_id": f"m{next(self.numbers)}",
            "sl_account": "demo",
            "sl_message": uuid7(now_us(), uuid4().bytes),
            "reason": "550 5.1.1 User unknown",
        } | fields

    def bounces(self, *addresses: str, **fields: Any) -> list[dict[str, Any]]:
        """Three bounces of each address: they suppress it."""
        return [self.event("bounce", address, **fields) for address in addresses for _ in range(3)]

    async def command(self, action: str, address: str, **fields: Any) -> None:
        await self.write("suppressions.commands", (f"email:{address}", as_bytes(a_command(action, address, **fields))))

    async def request(self, address: str, account: str = "demo") -> str:
        request = a_request(account, to=address)
        await self.write("sends.requested", (request["message_id"], as_bytes(request)))
        return str(request["message_id"])

    async def settled(self) -> None:
        """Wait until the gate and the ledger have read everything."""
        ledger = ConsumerGroup(_GROUP, tuple(topic.name for topic in LEDGER_INPUTS))
        groups = [DEFAULT_GATE_GROUP, ledger]
        behind = await wait_until_caught_up(self.kafka.bootstrap, groups, within_seconds=PATIENCE_SECONDS)
        assert behind == 0

    def suppressed(self) -> set[tuple[str, str]]:
        rows = self.store.tuples("SELECT address, scope FROM suppressions WHERE suppressed")
        return {(address, scope) for address, scope in rows}

    def status(self, message_id: str) -> str:
        return str(
            self.store.tuples("SELECT status FROM messages WHERE email_id = {id:UUID}", {"id": message_id})[0][0]
        )

    async def shell(self, script: str) -> str:
        """Run a script as a person does, and return what it prints."""
        process = await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", script),
            env={"PATH": "/usr/bin:/bin", **self.env},
            cwd=self.folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode == 0, f"{script}\n{err.decode()}"
        return out.decode()


@pytest.fixture(scope="module")
async def running_parts(clickhouse_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    folder = tmp_path_factory.mktemp("incident")
    (folder / ".venv").symlink_to(Path(sys.executable).parent.parent)
    async with AsyncExitStack() as parts:
        store = parts.enter_context(fresh_store(clickhouse_url))
        kafka = await parts.enter_async_context(kafka_with_topics(folder))
        env = {
            f"{PREFIX}KAFKA_BOOTSTRAP": kafka.bootstrap,
            f"{PREFIX}CLICKHOUSE_URL": clickhouse_url,
            f"{PREFIX}CLICKHOUSE_DATABASE": store.database,
            f"{PREFIX}CONSUMER_GROUP": _GROUP,
            f"{PREFIX}GROUP_SECONDS": "0.1",
            f"{PREFIX}WORKER_DIR": str(folder),
        }
        for name in ("gate", "ledger"):
            program = Program(["worker", name], env, folder / f"{name}.log")
            await parts.enter_async_context(running(program))
        yield Installation(kafka, store, env, folder)


def blocks() -> list[str]:
    """The blocks of commands of the how-to, in order."""
    return [re.sub(r"^   ", "", block, flags=re.M) for block in _BLOCK.findall(PAGE.read_text(encoding="utf-8"))]


async def test_the_how_to_releases_a_wave_finds_its_refused_messages_and_undoes_it(running_parts: Installation) -> None:
    tables = running_parts
    wave = [f"{name}@example.com" for name in ("ann", "bob", "cat", "optedout")]
    await tables.post(
        *tables.bounces(*wave, "complained@example.com", "both@example.com", "elsewhere@example.org"),
        *tables.bounces("before@example.com", at="2026-01-10T09:30:00Z"),
        *tables.bounces("other-cause@example.com", reason="550 5.2.1 user unknown here"),
        tables.event("spamreport", "complained@example.com"),
        tables.event("unsubscribe", "optedout@example.com"),
    )
    await tables.command("suppress", "both@example.com", scope="bold")
    await tables.settled()
    before = tables.suppressed()
    assert len(before) == 10
    refused = [await tables.request("Ann@Example.com"), await tables.request("bob@example.com")]
    of_bold, of_other = await tables.request("ann@example.com", "bold"), await tables.request("elsewhere@example.org")
    await tables.settled()
    assert {tables.status(one) for one in (*refused, of_bold, of_other)} == {"Suppressed"}

    look, preview, release, wait, messages, undo = blocks()
    await tables.shell(look)
    printed = await tables.shell(preview)
    bulk_id = dict(line.split("\t", 1) for line in printed.splitlines() if "\t" in line)["id"]
    assert re.search(r"^addresses\t4$", printed, re.M), printed
    assert tables.suppressed() == before, "a preview changes nothing"
    release = re.sub(r"^ID=\S+", f"ID={bulk_id}", release, flags=re.M)
    given = "\n".join(line for block in (preview, release) for line in _ASSIGNMENT.findall(block))

    await tables.shell(f"{given}\n{release}")
    await tables.settled()
    assert tables.suppressed() == before - {(address, "*") for address in wave}
    assert bulk_id in await tables.shell(f"{given}\n{wait}")
    sent_again = await tables.request("ann@example.com")
    unwanted = {**a_request("demo", to="optedout@example.com"), "template": MARKETING}
    await tables.write("sends.requested", (unwanted["message_id"], as_bytes(unwanted)))
    await tables.settled()
    assert (tables.status(sent_again), tables.status(unwanted["message_id"])) == ("Pending", "Declined")

    listed = await tables.shell(f"{given}\n{messages}")
    assert all(message_id in listed for message_id in (*refused, of_bold))
    assert of_other not in listed
    with (tables.folder / "refused.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["email_id"] for row in rows} == set(refused)
    assert {row["account_id"] for row in rows} == {"demo"}

    await tables.shell(f"{given}\n{undo}")
    await tables.settled()
    assert tables.suppressed() == before


MARKETING = {"id": "news", "name": "News", "kind": "marketing"}


async def test_a_release_that_was_killed_is_resumed_and_releases_nothing_twice(running_parts: Installation) -> None:
    tables = running_parts
    changed, *others = (f"gone{n}@example.net" for n in range(40))
    await tables.post(*tables.bounces(changed, *others))
    await tables.settled()
    before = tables.suppressed()
    filters = ["incident", "release", "--domain", "example.net", "--reason", "their outage"]
    preview = await sendledger(*filters, "--json", env=tables.env, folder=tables.folder)
    await tables.command("suppress", changed)
    await tables.settled()
    words = [*filters, "--id", preview.json()["id"], "--yes"]

    def released() -> int:
        sql = "SELECT count() FROM commands WHERE startsWith(command_id, {id:String})"
        return int(tables.store.tuples(sql, {"id": f"bulk-release:{preview.json()['id']}:"})[0][0])

    async with running(Program([*words, "--rate", "1"], tables.env, tables.folder / "release.log")) as killed:
        await until(lambda: released() > 0, "the first command")
        await killed.end(signal.SIGKILL)
    await tables.settled()
    before_the_kill = released()
    assert 0 < before_the_kill < len(others)
    resumed = await sendledger(*words, "--json", env=tables.env, folder=tables.folder)
    assert resumed.json()["addresses"] == len(others) - before_the_kill
    await tables.settled()
    assert tables.suppressed() == before - {(address, "*") for address in others}
    changes = "SELECT uniqExact(version) FROM suppression_changes WHERE address IN {of:Array(String)} GROUP BY address"
    assert {row[0] for row in tables.store.tuples(changes, {"of": others})} == {2}, "each changed once"
