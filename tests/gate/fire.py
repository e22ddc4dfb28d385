"""A Kafka for the gate under fire, the workers that fight on it, and what is asked of it in the end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer

from processors.engine import Record
from processors.history import history
from processors.lag import catch_up
from processors.topics import make_topics
from schemas.groups import GATE
from schemas.settings import TopicSettings, read
from schemas.topics import FRAME_BYTES, MAX_RECORD_BYTES, SENDS_DECIDED, SUPPRESSIONS_CHANGED
from tests.engine.broker import PrivateBroker
from tests.engine.processes import PATIENCE_SECONDS, Process, until
from tests.gate.judging import differences
from tests.gate.oracle import Expected, Sent
from tests.gate.traffic import Traffic
from tests.gate.worker import Halt, Orders
from tests.local.ports import free_port_base

__all__ = ["FIRST", "SECOND", "Case", "GateWorker", "Kafka", "Keeper", "kafka_alone"]

FIRST, SECOND = "one", "two"
"""Instances of workers."""


class GateWorker(Process[Orders]):
    """A gate worker. Its file is of one life."""

    def __init__(self, orders: Orders) -> None:
        super().__init__("tests.gate.worker", orders)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def armed(self) -> bool:
        return self.orders.halt.exists()

    @property
    def decisions(self) -> int:
        """How many transactions of its agent by account it has committed."""
        return self.notes("# committed by-account")

    def arm(self, halt: Halt) -> None:
        """Have it halt the next time that it comes there."""
        draft = self.orders.halt.with_suffix(".draft")
        draft.write_text(halt.model_dump_json())
        draft.rename(self.orders.halt)  # it never sees half of it

    async def halted(self) -> None:
        await until(lambda: self.notes("# halt") > 0, f"a halt; {self.complaints()}")

    async def woken(self, assignments: int) -> None:
        """Wait until it knows what became of it: it has ended, or was assigned something anew."""
        await until(
            lambda: not self.running or self.notes("# ready") > assignments, f"its awakening; {self.complaints()}"
        )


class Kafka:
    """The gate's topics."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap

    async def write(self, stage: Sequence[Sent], partition: int | None = None) -> list[int]:
        """Write records in their order, and return their offsets."""
        async with AIOKafkaProducer(
            bootstrap_servers=self.bootstrap, acks="all", max_request_size=MAX_RECORD_BYTES + FRAME_BYTES
        ) as kafka:
            waiting = [
                await kafka.send(s.topic, s.value, key=s.key.encode(), headers=list(s.headers), partition=partition)
                for s in stage
            ]
            return [written.offset for written in await asyncio.gather(*waiting)]

    async def settled(self) -> None:
        """Wait until the gate has read everything, and all that followed from it."""
        behind = await catch_up(self.bootstrap, [GATE], within_seconds=PATIENCE_SECONDS)
        assert behind == 0, "the gate did not read everything"

    async def records(self, topic: str) -> list[Record]:
        """All that is committed in a topic now."""
        return [record async for record in history(self.bootstrap, topic)]


@asynccontextmanager
async def kafka_alone(folder: Path) -> AsyncIterator[Kafka]:
    """A broker with the topics of the contract, and nothing else, while the block runs."""
    port = free_port_base()
    broker = PrivateBroker(folder / "kafka", port, port + 1)
    await broker.start()
    try:
        kafka = Kafka(broker.bootstrap)
        await make_topics(read(TopicSettings, kafka_bootstrap=kafka.bootstrap))
        yield kafka
    finally:
        await broker.kill()


class Keeper:
    """Makes workers, and leaves none."""

    def __init__(self, kafka: Kafka, folder: Path) -> None:
        self._kafka, self._folder = kafka, folder
        self._made: list[GateWorker] = []

    async def only(self) -> GateWorker:
        """Return the first worker, which runs alone."""
        for worker in self._made:
            if worker.orders.instance != FIRST:
                await worker.kill()
        return await self._running(FIRST)

    async def both(self) -> tuple[GateWorker, GateWorker]:
        """Return two workers that run, each with partitions of its own."""
        first, second = await self._running(FIRST), await self._running(SECOND)
        await first.ready()
        await second.ready()
        return first, second

    async def _running(self, instance: str) -> GateWorker:
        """Return the life that a worker is in, or a new one."""
        lives = [worker for worker in self._made if worker.orders.instance == instance]
        if lives and lives[-1].running and not lives[-1].armed:
            return lives[-1]
        if lives:
            await lives[-1].kill()
        return await self.start(instance)

    async def start(self, instance: str, halt: Halt | None = None) -> GateWorker:
        """Start a life of a worker, armed from its beginning. Of one instance only one may run."""
        life = self._folder / f"{instance}-{len(self._made)}"
        worker = GateWorker(
            Orders(
                broker=self._kafka.bootstrap,
                instance=instance,
                datadir=self._folder / instance,
                oracle=life.with_suffix(".notes"),
                halt=life.with_suffix(".halt"),
            )
        )
        self._made.append(worker)
        if halt is not None:
            worker.arm(halt)
        return await worker.start()

    async def end(self) -> str:
        """Leave no worker running, and return what they complained of."""
        for worker in self._made:
            await worker.kill()
        return "\n".join(f"{worker.orders.oracle.stem}: {worker.complaints()}" for worker in self._made)


class Case:
    """One traffic, what must come of it, and what came."""

    def __init__(self, kafka: Kafka, tag: str, number: int) -> None:
        self.traffic, self.expected = Traffic(tag, number), Expected()
        self._kafka = kafka

    async def write(self, stage: Sequence[Sent], partition: int | None = None) -> None:
        """Write a stage, and expect what follows from it."""
        self.expected.read(stage)
        await self._kafka.write(stage, partition)

    async def differences(self) -> list[str]:
        """Return what the gate has said wrong by now."""
        decided, changed = await asyncio.gather(
            self._of_this(SENDS_DECIDED.name, lambda d: self.traffic.owns(d["account_id"])),
            self._of_this(SUPPRESSIONS_CHANGED.name, lambda c: self.traffic.concerns(c["address"])),
        )
        return differences(self.expected, decided, changed)

    async def _of_this(self, topic: str, wanted: Callable[[Any], bool]) -> list[bytes]:
        values = [record.value or b"" for record in await self._kafka.records(topic)]
        return [value for value in values if wanted(orjson.loads(value))]
