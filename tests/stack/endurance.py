"""The whole path under fire: simulated traffic, ledger and gate workers that are killed, join and leave, then `verify`.

`python -m tests.stack.endurance --messages 50000 --seed 3 --kills 10 --via http` runs it on a stack of its own and
prints what happened; exit code 1 if anything differs from the oracle.
"""

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from deploy.local.stack import Stack, local_stack
from processors.kafka.topics import create_topics
from projections.store import Store
from schemas.settings import TopicSettings, read
from simulator.signing import new_key_pair
from tests.local.ports import free_port_base
from tests.local.waiting import until
from tests.stack.programs import Program, answering, running
from tests.stores import a_store, drop

__all__ = ["Report", "endure"]


@dataclass
class Report:
    """What happened."""

    kills: int = 0
    left_with: tuple[int, int] | None = None
    """The exit codes of the ledger's and the gate's worker that joined and left."""
    events: int = 0
    rows: int = 0
    differences: list[str] = field(default_factory=list)
    seconds: float = 0.0


async def endure(stack: Stack, folder: Path, *, messages: int, seed: int, via: str, kills: int) -> Report:
    """Simulate, kill and verify; the topics of `stack` must be this run's alone."""
    store = a_store(stack.clickhouse_url)
    await create_topics(read(TopicSettings, kafka_bootstrap=stack.kafka_bootstrap))
    env, port = _environment(stack, store)
    report, started = Report(), time.monotonic()
    oracle = folder / f"oracle-{seed}.json"
    told = ["simulate", "--messages", str(messages), "--seed", str(seed), "--via", via, "--oracle", str(oracle)]
    async with AsyncExitStack() as programs:
        workers = [_worker("ledger", env, folder, number) for number in range(2)]
        gates = [_worker("gate", env, folder, number) for number in range(2)]
        await programs.enter_async_context(running(Program(["gateway"], env, folder / "gateway.log")))
        await until(lambda: answering(f"http://127.0.0.1:{port}/readyz"), "the gateway")
        await programs.enter_async_context(running(workers[0]))
        await programs.enter_async_context(running(gates[0]))
        simulating = await programs.enter_async_context(running(Program(told, env, folder / "simulate.log")))
        assert simulating.process is not None
        step = messages * 3 // (kills + 2)
        for number in range(kills):
            wanted = (number + 1) * step
            await _until_stored(store, wanted)
            killed = (workers[0], gates[0])[number % 2]
            await killed.end(signal.SIGKILL)
            await killed.start()
            report.kills += 1
            if number == kills // 3:
                await programs.enter_async_context(running(workers[1]))
                await programs.enter_async_context(running(gates[1]))
            if number == kills * 2 // 3 and workers[1].process is not None:
                await until(workers[1].is_assigned, "the second ledger worker")
                await until(gates[1].is_assigned, "the second gate worker")
                report.left_with = (await workers[1].end(), await gates[1].end())
        assert await simulating.process.wait() == 0, simulating.log.read_text()[-2000:]
        report.differences = await _verify(env, folder, oracle)
    report.events = int(store.tuples("SELECT count() FROM message_events")[0][0])
    report.rows = int(store.tuples("SELECT count() FROM messages")[0][0])
    report.seconds = time.monotonic() - started
    drop(store)
    return report


def _environment(stack: Stack, store: Store) -> tuple[dict[str, str], int]:
    port = free_port_base()
    private, public = new_key_pair()
    env = {
        "SENDLEDGER_KAFKA_BOOTSTRAP": stack.kafka_bootstrap,
        "SENDLEDGER_CLICKHOUSE_URL": stack.clickhouse_url,
        "SENDLEDGER_CLICKHOUSE_DATABASE": store.database,
        "SENDLEDGER_CONSUMER_GROUP": store.database,
        "SENDLEDGER_TOKEN_SECRET": uuid4().hex,
        "SENDLEDGER_SENDGRID_PUBLIC_KEYS": public,
        "SENDLEDGER_DEV_SENDGRID_PRIVATE_KEY": private,
        "SENDLEDGER_TWILIO_AUTH_TOKENS": uuid4().hex,
        "SENDLEDGER_POSTMARK_BASIC_AUTH": f"postmark:{uuid4().hex}",
        "SENDLEDGER_PORT": str(port),
        "SENDLEDGER_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "SENDLEDGER_GROUP_SECONDS": "0.1",
        "SENDLEDGER_SWEEP_SECONDS": "3",
    }
    return env, port


def _worker(kind: str, env: dict[str, str], folder: Path, number: int) -> Program:
    name = f"{kind}-{number}"
    own = env | {"SENDLEDGER_INSTANCE": name, "SENDLEDGER_WORKER_DIR": str(folder / name)}
    return Program(["worker", kind], own, folder / f"{name}.log")


async def _until_stored(store: Store, count: int) -> None:
    async with asyncio.timeout(600):
        while int((await asyncio.to_thread(store.tuples, "SELECT count() FROM events"))[0][0]) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)  # (what is waited for is another process)


async def _verify(env: dict[str, str], folder: Path, oracle: Path) -> list[str]:
    """The lines that `sendledger verify` prints."""
    program = Program(["verify", "--oracle", str(oracle), "--timeout", "300", "--json"], env, folder / "verify.log")
    async with running(program):
        assert program.process is not None
        code = await program.process.wait()
    lines = [line for line in program.log.read_text().splitlines() if line.startswith("{")]
    assert code == (1 if lines else 0), program.log.read_text()[-2000:]
    return lines


async def main(words: Sequence[str]) -> int:
    """Run it on a stack of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.stack.endurance", description=__doc__)
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--seed", type=int, nargs="+", default=[3])
    parser.add_argument("--via", choices=("kafka", "http"), default="kafka")
    parser.add_argument("--kills", type=int, default=10)
    wanted = parser.parse_args(words)
    wrong = 0
    for seed in wanted.seed:
        with TemporaryDirectory() as name:
            async with local_stack(Path(name), free_port_base()) as stack:
                report = await endure(
                    stack, Path(name), messages=wanted.messages, seed=seed, via=wanted.via, kills=wanted.kills
                )
        print(
            f"seed {seed} over {wanted.via}: {wanted.messages:,} messages, {report.events:,} events,"
            f" {report.rows:,} rows, {report.kills} kills, a second of each left with {report.left_with};"
            f" {len(report.differences)} differences; {report.seconds:.0f} s",
            *report.differences[:20],
            sep="\n",
            flush=True,
        )
        wrong += len(report.differences)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
