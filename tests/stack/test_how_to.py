"""How-to pages followed command by command on one installation: upgrade, dashboards, erasure, backup and restore.

The tests are the life of one installation, in this order: it is of the release before, is upgraded, counts messages,
erases those of a person, is backed up, loses its tables and is restored. The workers are processes of their own,
because a restore stops one of them.
"""

import re
import shlex
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from unittest import mock

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from processors.kafka import topics
from processors.kafka.lag import wait_until_caught_up
from projections.store import migrate
from projections.store.generations import ShownStore
from schemas.consumer_groups import consumer_groups
from schemas.settings import PREFIX, TopicSettings, read
from schemas.topics import ALL_TOPICS, SENDS_CONTENT, SENDS_ERASED, SENDS_REQUESTED
from tests.docs.code_blocks import blocks
from tests.docs.generate import ROOT
from tests.engine.broker import private_broker
from tests.gate.building import a_request
from tests.local.endpoints import EndpointProcess
from tests.local.waiting import PATIENCE_SECONDS
from tests.operating.commands import in_process, sendledger
from tests.stack.programs import Program

pytestmark = [pytest.mark.stack, pytest.mark.kafka, pytest.mark.clickhouse]

HOW_TO: Final = ROOT / "docs" / "how-to"
PROCESSES: Final = frozenset({"verify", "rebuild"})
"""Commands that take signals, and so run in a process of their own."""
NEW: Final = SENDS_ERASED, "erasures", "content_erasures"
"""What the release before lacks: a topic, the table of a migration, and a view."""
CONTENT: Final = "<p>Your appointment</p>"


def page(name: str, language: str) -> list[str]:
    """The blocks of a page in one language, in order."""
    return [block.text.strip() for block in blocks(HOW_TO / f"{name}.md") if block.language == language]


@dataclass
class Installation:
    """An installation with workers, and what its operator does."""

    env: dict[str, str]
    folder: Path
    store: ShownStore
    ledger: Program
    gate: Program

    async def follow(self, block: str, **ends_with: int) -> str:
        """Run the commands of a block in order; return what they print, on both streams.

        Each must end with 0, or with the code that is given for its first word.
        """
        printed: list[str] = []
        env = dict(self.env)
        for line in block.splitlines():
            first, *words = shlex.split(line)
            if first == "export":
                env |= dict([words[0].split("=")])
                continue
            run = sendledger if words[0] in PROCESSES else in_process
            ended = await run(*words, env=env, folder=self.folder)
            assert ended.code == ends_with.get(words[0], 0), f"{line}\n{ended.out}\n{ended.err[-3000:]}"
            printed += ended.out, ended.err
        return "\n".join(printed)

    async def send(self, *requests: dict[str, Any]) -> None:
        """Write requests with contents to Kafka, as a booking service does, and wait until they are in the tables."""
        async with AIOKafkaProducer(bootstrap_servers=self.env[f"{PREFIX}KAFKA_BOOTSTRAP"]) as producer:
            for request in requests:
                key = request["message_id"].encode()
                told = {name: request[name] for name in ("message_id", "account_id")} | {"html": CONTENT}
                await producer.send_and_wait(SENDS_CONTENT.name, orjson.dumps(told), key=key)
                await producer.send_and_wait(SENDS_REQUESTED.name, orjson.dumps(request), key=key)
        await self.caught_up()

    async def simulate(self, seed: int) -> None:
        """Traffic with every status."""
        await self.follow(f"sendledger simulate --messages 200 --seed {seed}")
        await self.caught_up()

    async def caught_up(self) -> None:
        behind = await wait_until_caught_up(
            self.env[f"{PREFIX}KAFKA_BOOTSTRAP"], consumer_groups("ledger"), within_seconds=PATIENCE_SECONDS
        )
        assert behind == 0

    def one(self, sql: str) -> Any:
        """The first value of a query."""
        return self.store.tuples(sql)[0][0]

    def contents(self, request: dict[str, Any]) -> list[str]:
        """The contents of a message in some part of the table, whether a query would show them or not."""
        sql = "SELECT html FROM contents WHERE message_id = {id:UUID} AND html != ''"
        return [html for (html,) in self.store.tuples(sql, {"id": request["message_id"]})]


@pytest.fixture(scope="module")
async def installation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    """Topics and tables of the release before this one; no worker runs yet."""
    folder = tmp_path_factory.mktemp("how-to")
    async with AsyncExitStack() as parts:
        broker = await parts.enter_async_context(private_broker(folder))
        clickhouse = EndpointProcess(folder / "clickhouse")
        await clickhouse.start()
        parts.push_async_callback(clickhouse.end, signal.SIGKILL)
        env = {
            f"{PREFIX}KAFKA_BOOTSTRAP": broker.bootstrap,
            f"{PREFIX}CLICKHOUSE_URL": clickhouse.url,
            f"{PREFIX}TOKEN_SECRET": "a secret of this test, and of no other place",
            f"{PREFIX}WORKER_DIR": str(folder / "worker"),
            f"{PREFIX}INSTANCE": "one",
            f"{PREFIX}GROUP_SECONDS": "0.1",
            f"{PREFIX}SWEEP_SECONDS": "3",
        }
        topic, table, view = NEW
        before = [one for one in migrate.migrations() if one.name != table]
        views = [one for one in migrate.views() if one.name != view]
        known = tuple(one for one in ALL_TOPICS if one != topic)
        store = ShownStore(clickhouse.url)
        parts.callback(store.close)
        with (
            mock.patch.object(migrate, "migrations", return_value=before),
            mock.patch.object(migrate, "views", return_value=views),
            mock.patch.object(topics, "ALL_TOPICS", known),
        ):
            migrate.apply(store)
            await topics.create_topics(read(TopicSettings, kafka_bootstrap=broker.bootstrap, partitions=2))
        programs = [Program(["worker", name], env, folder / f"{name}.log") for name in ("ledger", "gate")]
        for program in programs:
            parts.push_async_callback(_killed, program)
        yield Installation(env, folder, store, *programs)


async def _killed(program: Program) -> None:
    if program.process is not None and program.process.returncode is None:
        await program.end(signal.SIGKILL)


async def test_an_installation_of_the_release_before_is_upgraded(installation: Installation) -> None:
    one, (topic, table, view) = installation, NEW
    before, make, change, after, back = page("upgrade", "sh")
    found = await one.follow(before, doctor=1)
    assert topic.name in found
    assert table in found
    assert topic.name in await one.follow(make)
    changed = await one.follow(change)
    assert table in changed
    assert view in changed
    assert "Nothing to apply" in await one.follow(change)

    for program in (one.ledger, one.gate):
        await program.start()
    await one.simulate(seed=1)
    found = await one.follow(after.partition("\n")[2])
    assert "total 0" in found
    assert "0 differences" in found

    # Back: the release before this one gets a database of its own.
    assert "Nothing" not in await one.follow(back)
    assert one.one("SELECT count() FROM sendledger_before.messages") == 0
    for database in ("sendledger_before", "sendledger_before_g1"):
        one.store.command(f"DROP DATABASE {database}")


def queries() -> Iterator[Any]:
    for sql in page("dashboards-in-sql", "sql"):
        yield pytest.param(sql, id=re.sub(r"\W+", " ", sql)[:50])


@pytest.mark.parametrize("sql", [*queries()])
async def test_a_dashboard_finds_rows_of_an_account_and_none_of_another(installation: Installation, sql: str) -> None:
    one = installation
    # The simulator's messages are some days old, and its addresses bounce once.
    wide = re.sub(r"INTERVAL \d+ DAY", "INTERVAL 400 DAY", sql).replace("bounces >= 2", "bounces >= 1")
    keys = one.store.tuples(
        "SELECT account_id, any(email_id) FROM messages WHERE account_id != '*' GROUP BY account_id"
    )
    bound = [
        {name: value for name, value in (("account", account), ("email_id", email_id)) if f"{{{name}:" in sql}
        for account, email_id in keys
    ]
    assert any(one.store.tuples(wide, parameters) for parameters in bound)
    if "{account:" in sql:
        assert one.store.tuples(wide, bound[0] | {"account": "nobody"}) == []


async def test_the_contents_of_a_person_are_erased(installation: Installation) -> None:
    one = installation
    count, erase, check = page("erase-a-person", "sh")
    (history,) = page("erase-a-person", "sql")
    client = a_request("demo", recipient={"kind": "client", "id": "c-17"}, to="bob@example.com")
    address = a_request("demo", to="Ann@Example.com")
    other = a_request("demo", to="eve@example.com")
    await one.send(client, address, other)
    assert re.search(r"with_content\s+1", await one.follow(count))
    assert [*map(len, map(one.contents, (client, address, other)))] == [1, 1, 1], "a dry run erases nothing"
    await one.follow(erase)
    assert [*map(len, map(one.contents, (client, address, other)))] == [0, 0, 1]
    assert re.search(r"with_content\s+0", await one.follow(check))
    await one.caught_up()
    assert re.search(r"recorded\s+0", await one.follow(check))
    assert {row[2] for row in one.store.tuples(history, {"account": "demo"})} == {"request 4711"}
    await one.follow("sendledger replay --topic sends.content --since 0")
    rows = one.store.tuples("SELECT toString(message_id), html FROM contents FINAL WHERE account_id = 'demo'")
    shown = {str(row[0]): row[1] for row in rows}
    assert [shown[sent["message_id"]] for sent in (client, address, other)] == ["", "", CONTENT]


async def test_an_older_backup_is_restored_and_the_log_brings_the_rest(installation: Installation) -> None:
    one = installation
    migrate_again, replay, verify = page("back-up-and-restore", "sh")
    backup, *lose, restore = page("back-up-and-restore", "sql")
    late = a_request("demo", recipient={"kind": "client", "id": "c-18"})
    await one.send(late)
    one.store.command(backup)

    await one.simulate(seed=2)
    await one.follow("sendledger erase-contents --account demo --client-id c-18 --reason late --yes")
    await one.caught_up()
    whole = one.one("SELECT count() FROM messages")

    assert await one.ledger.end() == 0
    for statement in (*lose, restore):
        one.store.command(statement)
    assert "Nothing to apply" in await one.follow(migrate_again)
    await one.ledger.start()
    await one.caught_up()
    assert one.one("SELECT count() FROM messages") < whole, "the offsets are newer than the tables"
    assert one.contents(late) == [CONTENT], "the backup is older than the erasure"

    yesterday = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    await one.follow(re.sub(r"\d{4}-\d\d-\d\d", yesterday, replay))
    assert one.one("SELECT count() FROM messages") == whole
    assert one.one(f"SELECT html FROM contents FINAL WHERE message_id = '{late['message_id']}'") == ""
    await one.follow("sendledger erase-contents --account demo --client-id c-18 --reason late --yes")
    assert one.contents(late) == []
    assert (await one.follow(verify)).count("0 differences") == 2
