"""A rebuild on millions of events beside live traffic, with kills; rows lost and made wrong, found and mended.

`python -m tests.stack.rebuild_at_scale --seeds 7 --messages 50000` runs it on a stack of its own and prints each step
with its duration. It ends with an AssertionError if a step does not do what it must. 350,000 messages have some two
million events.
"""

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.local.stack import local_clickhouse
from projections.store import Store, generations
from schemas.topics import LEDGER_INPUTS
from tests.local.ports import free_port_base
from tests.stack.installation import TABLES, Installation, delete_some, installed, rows_being_built
from tests.stack.programs import running
from verification.generations import SUBJECTS

KILLS = 10
PATIENCE_SECONDS = 3_600
WRONG = {
    "message_state": "told = [14]",
    "events": "type = 'delivered'",
    "bounces": "code = '999'",
    "suppression_changes": "suppressed = NOT suppressed",
}
"""What is made wrong in a fiftieth of the rows, by table."""


class Steps:
    """Prints what was done, and how long it took."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def done(self, what: str, printed: str = "") -> None:
        now = time.monotonic()
        lines = [line for line in printed.splitlines() if line and not line.startswith("{")][-12:]
        print(f"{now - self._started:6.0f} s  {what}", *(f"          {line}" for line in lines), sep="\n", flush=True)
        self._started = now


async def rebuild(installation: Installation, seeds: int, messages: int) -> None:
    """Do every step."""
    store, steps = installation.store, Steps()
    oracles = [await installation.simulate(seed, messages) for seed in range(1, seeds + 1)]
    steps.done(f"{seeds * messages:,} messages simulated")
    await installation.finds_nothing(*oracles, timeout_seconds=PATIENCE_SECONDS)
    count = store.tuples("SELECT count() FROM message_events")[0][0]
    steps.done(f"{count:,} events stored, as the oracles say")

    live, oracle = installation.simulation(seeds + 1, messages)
    async with running(live):
        await _killed(installation)
        steps.done(f"a rebuild of generation 2 begun, and killed {KILLS} times, beside traffic")
        code, printed = await installation.run("rebuild", "--diff")
        assert (code, "0 differences" in printed) == (0, True), printed[-3000:]
        steps.done("the rebuild ended and compared, beside traffic", printed)
        assert live.process is not None
        assert await live.process.wait() == 0
    await installation.finds_nothing(oracle, timeout_seconds=PATIENCE_SECONDS)
    steps.done("the traffic meanwhile is stored, as its oracle says")

    await _lost_rows(installation, steps)
    await _wrong_rows(installation, steps)


async def _killed(installation: Installation) -> None:
    """Kill the rebuilding process again and again, each time after it has written something more."""
    stored = 0
    for _ in range(KILLS):
        killed = installation.program("rebuild")
        async with running(killed):
            assert killed.process is not None
            async with asyncio.timeout(PATIENCE_SECONDS):
                while rows_being_built(installation.store) <= stored:
                    assert killed.process.returncode is None, killed.log.read_text()[-3000:]
                    await asyncio.sleep(0.2)
            await killed.end(signal.SIGKILL)
        stored = rows_being_built(installation.store)


async def _lost_rows(installation: Installation, steps: Steps) -> None:
    """Delete a tenth of the rows of every table; `verify` finds them, and `replay` heals them."""
    for table in TABLES:
        delete_some(installation.store, table)
    steps.done("a tenth of the rows of each table deleted")
    code, printed = await installation.run("verify", "--from", "log")
    assert code == 1
    for subject in {*TABLES, "messages"} - {"message_state"}:
        assert f"rows\t{subject}\t" in printed, f"{subject}: {printed[-3000:]}"
    steps.done("verify --from log finds them", "\n".join(p for p in printed.splitlines() if p.startswith("rows\t")))
    for topic in (one.name for one in LEDGER_INPUTS):
        code, printed = await installation.run("replay", "--topic", topic, "--since", "0")
        assert code == 0, printed[-3000:]
        steps.done(f"replay of {topic}", printed)
    code, printed = await installation.run("verify", "--from", "log")
    assert code == 0, printed[-3000:]
    steps.done("verify --from log finds nothing", printed)


async def _wrong_rows(installation: Installation, steps: Steps) -> None:
    """Make rows wrong; `verify` finds them, `rebuild --swap` heals them, and `--back` is the state before."""
    store = installation.store
    for table, wrong in WRONG.items():
        store.command(
            f"ALTER TABLE {table} UPDATE {wrong} WHERE rand() % 50 = 0 SETTINGS mutations_sync = 1",
            database=store.tables,
        )
    before = _hashes(store)
    code, printed = await installation.run("verify", "--from", "log")
    assert code == 1, printed[-3000:]
    steps.done("rows made wrong are found", "\n".join(p for p in printed.splitlines() if p.startswith("rows\t")))
    code, printed = await installation.run("rebuild", "--swap")
    assert (code, generations.shown(store)) == (0, 2), printed[-3000:]
    steps.done("rebuild --swap", printed)
    code, printed = await installation.run("verify", "--from", "log")
    assert code == 0, printed[-3000:]
    steps.done("verify --from log finds nothing", printed)
    code, printed = await installation.run("rebuild", "--back")
    assert (code, generations.shown(store)) == (0, 1), printed[-3000:]
    assert _hashes(store) == before, "the tables are not as they were"
    steps.done("rebuild --back: every table is as it was", printed)


def _hashes(store: Store) -> dict[str, object]:
    """The sum of the hashes of each table's rows, and of the messages of each account and month."""
    found: dict[str, object] = {
        one.name: store.tuples(f"SELECT count(), sum(cityHash64(*)) FROM {store.tables}.{one.name} FINAL")
        for one in SUBJECTS
        if one.is_table
    }
    return found | {"messages": store.tuples("SELECT * FROM projection_hashes ORDER BY ALL")}


async def main(words: Sequence[str]) -> int:
    """Run it on a stack of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.stack.rebuild_at_scale", description=__doc__)
    parser.add_argument("--seeds", type=int, default=7)
    parser.add_argument("--messages", type=int, default=50_000)
    wanted = parser.parse_args(words)
    async with AsyncExitStack() as running_now:
        folder = Path(running_now.enter_context(TemporaryDirectory()))
        clickhouse_url = await running_now.enter_async_context(local_clickhouse(folder, free_port_base()))
        installation = await running_now.enter_async_context(installed(clickhouse_url, folder))
        await rebuild(installation, wanted.seeds, wanted.messages)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
