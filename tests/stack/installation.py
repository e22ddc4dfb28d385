"""An installation of its own for tests of rebuilding: a Kafka, a database, both workers; what fills and damages it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from projections.store import Store, generations
from tests.kafka.broker import broker_with_topics
from tests.stack.programs import Program, running, workers_running
from tests.stores import a_store, drop
from verification.generations import SUBJECTS

__all__ = ["TABLES", "Installation", "delete_some", "installed", "rows_being_built"]

TABLES = (
    *("events", "message_state", "orphans", "dispatches", "holders", "contents", "bounces", "suppression_changes"),
    *("opt_outs", "policies", "addressees"),
)
"""The tables that simulated traffic fills."""
KEYS = {one.name: one.key for one in SUBJECTS} | {"message_state": ("account_id", "message_id")}
"""The columns that identify a row, by table."""


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
        return await self._end_of(self.program(*words))

    def simulation(self, seed: int, messages: int) -> tuple[Program, str]:
        """Return the program that writes traffic, and the file with what is expected of it."""
        oracle = str(self.folder / f"oracle-{seed}.json")
        words = ("simulate", "--messages", str(messages), "--seed", str(seed), "--via", "kafka", "--oracle", oracle)
        return self.program(*words), oracle

    async def simulate(self, seed: int, messages: int) -> str:
        """Write traffic, and return the file with what is expected of it."""
        program, oracle = self.simulation(seed, messages)
        code, printed = await self._end_of(program)
        assert code == 0, printed[-3000:]
        return oracle

    async def finds_nothing(self, *oracles: str, timeout_seconds: int = 300) -> None:
        named = (word for oracle in oracles for word in ("--oracle", oracle))
        code, printed = await self.run("verify", *named, "--timeout", str(timeout_seconds))
        assert code == 0, printed[-3000:]

    async def _end_of(self, program: Program) -> tuple[int, str]:
        async with running(program):
            assert program.process is not None
            return await program.process.wait(), program.log.read_text()


@asynccontextmanager
async def installed(clickhouse_url: str, folder: Path) -> AsyncIterator[Installation]:
    """Yield an installation with a broker of its own, in a ClickHouse that runs."""
    store = a_store(clickhouse_url)
    async with (
        broker_with_topics(folder) as bootstrap,
        workers_running(bootstrap, clickhouse_url, store, folder, SENDLEDGER_SWEEP_SECONDS="3") as env,
    ):
        yield Installation(env, store, folder)
    drop(store)


def rows_being_built(store: Store) -> int:
    """Return the number of rows of generation 2."""
    return sum(one.rows for one in generations.generations(store) if one.number == 2)


def delete_some(store: Store, table: str) -> None:
    """Delete a tenth of the rows from the shown generation, at least one."""
    key = f"cityHash64(tuple({', '.join(KEYS[table])}))"
    hashes = sorted(one for (one,) in store.tuples(f"SELECT {key} FROM {table}"))
    assert hashes, f"{table} has no rows that could be lost"
    store.command(
        f"ALTER TABLE {table} DELETE WHERE {key} <= {hashes[len(hashes) // 10]} SETTINGS mutations_sync = 1",
        database=store.tables,
    )
