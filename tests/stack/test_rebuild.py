"""A rebuild beside live traffic: killed and shared by two processes, compared, shown, and the way back."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from projections.store import Store, generations, migrate
from projections.store.generations import Pointer
from tests.local.waiting import until
from tests.stack.installation import TABLES, Installation, delete_some, installed, rows_being_built
from tests.stack.programs import Program, running

# It starts some thirty processes one after the other: minutes on a busy machine.
pytestmark = [pytest.mark.stack, pytest.mark.kafka, pytest.mark.clickhouse, pytest.mark.timeout(1800)]

MESSAGES = 400
KILLS = 4


@pytest.fixture
async def installation(clickhouse_url: str, tmp_path: Path) -> AsyncIterator[Installation]:
    async with installed(clickhouse_url, tmp_path) as made:
        yield made


async def test_a_rebuild_survives_kills_finds_what_differs_and_heals_it(installation: Installation) -> None:
    store, first = installation.store, await installation.simulate(1, MESSAGES)
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
        delete_some(store, table)
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
    second = await installation.simulate(3, MESSAGES)
    await installation.finds_nothing(first, second)
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
                stored = rows_being_built(installation.store)
                await killed.end(signal.SIGKILL)
            if kill == 0:
                await programs.enter_async_context(running(other))
        assert other.process is not None
        assert await other.process.wait() == 0, other.log.read_text()[-3000:]


def _went_on(store: Store, rebuilding: Program, stored: int) -> bool:
    assert rebuilding.process is not None
    return rows_being_built(store) > stored or rebuilding.process.returncode is not None
