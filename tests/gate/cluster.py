"""A Kafka for the gate's chaos tests, the gate workers that run on it, and the comparison at the end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer

from processors.engine import Record
from processors.kafka.lag import wait_until_caught_up
from processors.kafka.read_topic import read_topic
from schemas.consumer_groups import DEFAULT_GATE_GROUP
from schemas.topics import MAX_MESSAGE_BYTES, SENDS_DECIDED, SUPPRESSIONS_CHANGED
from tests.engine.processes import PATIENCE_SECONDS, Process, until
from tests.gate.comparison import differences
from tests.gate.oracle import Expected, SentRecord
from tests.gate.traffic import Traffic
from tests.gate.worker import Halt, WorkerConfig
from tests.kafka.broker import broker_with_topics

__all__ = ["FIRST", "SECOND", "Case", "GateWorker", "Kafka", "Workers", "kafka_with_topics"]

FIRST, SECOND = "one", "two"
"""Instances of workers."""


class GateWorker(Process[WorkerConfig]):
    """A process of a gate worker, from start to end; each process has its own notes file."""

    def __init__(self, config: WorkerConfig) -> None:
        super().__init__("tests.gate.worker", config)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def armed(self) -> bool:
        return self.config.halt.exists()

    @property
    def decisions(self) -> int:
        """How many transactions its agent by account has committed."""
        return self.notes("# committed by-account")

    def arm(self, halt: Halt) -> None:
        """Have it halt the next time that it reaches this point."""
        draft = self.config.halt.with_suffix(".draft")
        draft.write_text(halt.model_dump_json())
        draft.rename(self.config.halt)  # atomic: it never reads a partial file

    async def halted(self) -> None:
        await until(lambda: self.notes("# halt") > 0, f"a halt; {self.complaints()}")

    async def resumed_or_ended(self, assignments: int) -> None:
        """Wait until it has ended, or was assigned partitions again."""
        await until(
            lambda: not self.running or self.notes("# ready") > assignments,
            f"its new assignment or its end; {self.complaints()}",
        )


class Kafka:
    """The gate's topics."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap

    async def write(self, stage: Sequence[SentRecord], partition: int | None = None) -> list[int]:
        """Write records in order, and return their offsets."""
        async with AIOKafkaProducer(
            bootstrap_servers=self.bootstrap, acks="all", max_request_size=MAX_MESSAGE_BYTES
        ) as kafka:
            waiting = [
                await kafka.send(s.topic, s.value, key=s.key.encode(), headers=list(s.headers), partition=partition)
                for s in stage
            ]
            return [written.offset for written in await asyncio.gather(*waiting)]

    async def settled(self) -> None:
        """Wait until the gate has read all input and all its internal records."""
        behind = await wait_until_caught_up(self.bootstrap, [DEFAULT_GATE_GROUP], within_seconds=PATIENCE_SECONDS)
        assert behind == 0, "the gate did not read everything"

    async def records(self, topic: str) -> list[Record]:
        """All committed records of a topic."""
        return [record async for record in read_topic(self.bootstrap, topic)]


@asynccontextmanager
async def kafka_with_topics(folder: Path) -> AsyncIterator[Kafka]:
    """A broker with our topics, while the block runs."""
    async with broker_with_topics(folder) as bootstrap:
        yield Kafka(bootstrap)


class Workers:
    """Starts gate workers, and ends them all at the end."""

    def __init__(self, kafka: Kafka, folder: Path) -> None:
        self._kafka, self._folder = kafka, folder
        self._started: list[GateWorker] = []

    async def only(self) -> GateWorker:
        """Return the first worker, running alone."""
        for worker in self._started:
            if worker.config.instance != FIRST:
                await worker.kill()
        return await self._running(FIRST)

    async def both(self) -> tuple[GateWorker, GateWorker]:
        """Return two running workers, each with its own partitions."""
        first, second = await self._running(FIRST), await self._running(SECOND)
        await first.ready()
        await second.ready()
        return first, second

    async def _running(self, instance: str) -> GateWorker:
        """Return the running process of an instance, or start a new one."""
        processes = [worker for worker in self._started if worker.config.instance == instance]
        if processes and processes[-1].running and not processes[-1].armed:
            return processes[-1]
        if processes:
            await processes[-1].kill()
        return await self.start(instance)

    async def start(self, instance: str, halt: Halt | None = None) -> GateWorker:
        """Start a process of an instance, armed from the start. Only one process of an instance may run."""
        files = self._folder / f"{instance}-{len(self._started)}"
        worker = GateWorker(
            WorkerConfig(
                broker=self._kafka.bootstrap,
                instance=instance,
                datadir=self._folder / instance,
                oracle=files.with_suffix(".notes"),
                halt=files.with_suffix(".halt"),
            )
        )
        self._started.append(worker)
        if halt is not None:
            worker.arm(halt)
        return await worker.start()

    async def end(self) -> str:
        """End all workers, and return their error output."""
        for worker in self._started:
            await worker.kill()
        return "\n".join(f"{worker.config.oracle.stem}: {worker.complaints()}" for worker in self._started)


class Case:
    """One traffic, its expected results, and the actual results."""

    def __init__(self, kafka: Kafka, tag: str, number: int) -> None:
        self.traffic, self.expected = Traffic(tag, number), Expected()
        self._kafka = kafka

    async def write(self, stage: Sequence[SentRecord], partition: int | None = None) -> None:
        """Write a stage, and add its results to the expected ones."""
        self.expected.read(stage)
        await self._kafka.write(stage, partition)

    async def differences(self) -> list[str]:
        """Return the differences between expected and actual results."""
        decided, changed = await asyncio.gather(
            self._of_this(SENDS_DECIDED.name, lambda d: self.traffic.owns(d["account_id"])),
            self._of_this(SUPPRESSIONS_CHANGED.name, lambda c: self.traffic.concerns(c["address"])),
        )
        return differences(self.expected, decided, changed)

    async def _of_this(self, topic: str, wanted: Callable[[Any], bool]) -> list[bytes]:
        values = [record.value or b"" for record in await self._kafka.records(topic)]
        return [value for value in values if wanted(orjson.loads(value))]
