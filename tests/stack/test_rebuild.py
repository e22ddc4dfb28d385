"""A rebuild beside live traffic: killed and shared by two processes, compared, shown, and the way back."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from deploy.local.stack import Stack
from projections.store import Store, generations, migrate
from projections.store.generations import Pointer
from tests.kafka.broker import broker_with_topics
from tests.local.waiting import until
from tests.stack.programs import Program, running, workers_running
from tests.stores import a_store, drop
from verification.generations import SUBJECTS

# It starts some thirty processes one after the other: minutes on a busy machine.
pytestmark = [pytest.mark.stack, pytest.mark.kafka, pytest.mark.clickhouse, pytest.mark.timeout(1800)]

MESSAGES = 400
KILLS = 4
TABLES = (
    *("events", "message_state", "orphans", "dispatches", "holders", "contents", "bounces", "suppression_changes"),
    *("opt_outs", "policies", "addressees"),
)
KEYS = {one.name: one.key for one in SUBJECTS} | {"message_state": ("account_id", "message_id")}


class Installation:
    """A Kafka and a database of its own, with both workers."""

    def __init__(self, env: Mapping[str, str], store: Store, folder: Path) -> None:
        self.env, self.store, self.folder = env, store, folder
        self._number = 0

    def program(self, *words: str, **env: str) -> Program:
        self._number += 1
        return Program([*words], {**self.env, **env}, self.folder / f"{self._number}-{words[0]}.log")

    async def run(self, *words: str) -> tuple[int, str]:
        """Run a command to its end; return its exit code and all that it printed."""
        program = self.program(*words)
        async with running(program):
            assert program.process is not None
            return await program.process.wait(), program.log.read_text()

    async def simulate(self, seed: int) -> str:
        """Write traffic, and return the file with what is expected of it."""
        oracle = str(self.folder / f"oracle-{seed}.json")
        words = ("simulate", "--messages", str(MESSAGES), "--seed", str(seed), "--via", "kafka", "--oracle", oracle)
        assert (await self.run(*words))[0] == 0
        return oracle

    async def finds_nothing(self, oracle: str) -> None:
        code, printed = await self.run("verify", "--oracle", oracle, "--timeout", "300")
        assert code == 0, printed[-3000:]


@pytest.fixture
async def installation(stack: Stack, tmp_path: Path) -> AsyncIterator[Installation]:
    store = a_store(stack.clickhouse_url)
    async with (
        broker_with_topics(tmp_path) as bootstrap,
        workers_running(bootstrap, stack.clickhouse_url, store, tmp_path, SENDLEDGER_SWEEP_SECONDS="3") as env,
    ):
        yield Installation(env, store, tmp_path)
    drop(store)


async def test_a_rebuild_survives_kills_finds_what_differs_and_heals_it(installation: Installation) -> None:
    store, first = installation.store, await installation.simulate(1)
    await installation.finds_nothing(first)
    await _killed_while_it_builds(installation)

    # Compared beside live traffic: what only one of both has written yet is no difference.
    writing = installation.program("simulate", "--messages", str(MESSAGES), "--seed", "2", "--via", "kafka")
    async with running(writing):
        code, printed = await installation.run("rebuild", "--diff")
        assert (code, "0 differences" in printed) == (0, True), printed[-3000:]
        assert writing.process is not None
        assert await writing.process.wait() == 0

    # Rows that are lost in any table, and one that says what nobody said, are found.
    for table in TABLES:
        await _delete_some(store, table)
    store.command("INSERT INTO commands (command_id, action, reason) VALUES ('made up', 'release', 'nobody said so')",
                  database=store.tables)  # fmt: skip
    code, printed = await installation.run("verify", "--from", "log")
    assert code == 1
    for subject in {*TABLES, "messages", "commands"} - {"message_state"}:
        assert f"rows\t{subject}\t" in printed, f"{subject}: {printed[-3000:]}"
    assert [one.number for one in generations.generations(store)] == [1, 2], "what verify made is dropped"

    # Shown, it has none of that; the ledger follows, and what comes later is there, too.
    code, printed = await installation.run("rebuild", "--swap")
    assert (code, generations.shown(store)) == (0, 2), printed[-3000:]
    second = await installation.simulate(3)
    for oracle in (first, second):
        await installation.finds_nothing(oracle)
    assert (await installation.run("verify", "--from", "log"))[0] == 0

    # The way back: the tables of before, wrong as they were, with all that came since.
    code, printed = await installation.run("rebuild", "--back")
    assert (code, generations.shown(store)) == (0, 1), printed[-3000:]
    made_up = f"SELECT count() FROM {store.tables_of(1)}.commands WHERE command_id = 'made up'"
    assert store.tuples(made_up)[0][0] == 1
    code, printed = await installation.run("verify", "--oracle", second, "--timeout", "300")
    assert "oracle\t" not in printed, printed[-3000:]
    code, printed = await installation.run("rebuild", "--drop", "1")
    assert code == 2, "the shown generation is not dropped"

    # Forward again, at once: the worker that went back is still a member of its group for some seconds.
    code, printed = await installation.run("rebuild", "--swap")
    assert (code, generations.pointer(store)) == (0, Pointer(2, 1, complete=True)), printed[-3000:]

    # Killed between the switch and the end of reading: the same command finishes it.
    names = [view.name for view in migrate.views()]
    generations.show(store, 1, names, complete=False)
    code, printed = await installation.run("rebuild", "--back")
    assert (code, generations.pointer(store)) == (0, Pointer(1, 2, complete=True)), printed[-3000:]
    assert "an interrupted switch to generation 1 is finished first" in printed


async def _killed_while_it_builds(installation: Installation) -> None:
    """Kill one of two rebuilding processes again and again, each time after it has written something more."""
    small = {"SENDLEDGER_GROUP_RECORDS": "200", "SENDLEDGER_GROUP_SECONDS": "0.02"}
    other = installation.program("rebuild", "--instance", "other", **small)
    stored = 0
    async with AsyncExitStack() as programs:
        for kill in range(KILLS):
            killed = installation.program("rebuild", **small)
            async with running(killed):
                await until(partial(_went_on, installation.store, killed, stored), "rows of the rebuild")
                stored = _rows(installation.store)
                await killed.end(signal.SIGKILL)
            if kill == 0:
                await programs.enter_async_context(running(other))
        assert other.process is not None
        assert await other.process.wait() == 0, other.log.read_text()[-3000:]


def _went_on(store: Store, rebuilding: Program, stored: int) -> bool:
    assert rebuilding.process is not None
    return _rows(store) > stored or rebuilding.process.returncode is not None


def _rows(store: Store) -> int:
    return sum(one.rows for one in generations.generations(store) if one.number == 2)


async def _delete_some(store: Store, table: str) -> None:
    """Delete a tenth of the rows from the shown generation, at least one."""
    key = f"cityHash64(tuple({', '.join(KEYS[table])}))"
    hashes = sorted(one for (one,) in store.tuples(f"SELECT {key} FROM {table}"))
    assert hashes, f"{table} has no rows that could be lost"
    store.command(
        f"ALTER TABLE {table} DELETE WHERE {key} <= {hashes[len(hashes) // 10]} SETTINGS mutations_sync = 1",
        database=store.tables,
    )
