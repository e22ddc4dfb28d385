"""The worker of the benchmark: counts the records of each key, and writes the count and a copy of every record.

`keyed`: one transaction for each group of batches, as the gate does it. `idempotent`: the same fold and writes by a
plain idempotent producer, acknowledged after Kafka has them; a crash between two of them would show.
"""

import asyncio
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal

from aiokafka import AIOKafkaProducer

from processors.engine import (
    BatchGroup,
    GroupWriter,
    KeyedAgent,
    MicroBatchApp,
    Output,
    Phase,
    PhaseEvent,
    Record,
    StateCodec,
    StepResult,
    run_app,
)

__all__ = ["Job", "argv"]

COUNTS: StateCodec[int] = StateCodec(lambda count: b"%d" % count, int)


@dataclass(frozen=True, slots=True)
class Job:
    """The options of the worker."""

    how: Literal["keyed", "idempotent"]
    bootstrap: str
    group: str
    folder: str
    source: str
    changelog: str
    output: str


def argv(job: Job) -> list[str]:
    """Return the command that runs the worker."""
    return [sys.executable, "-m", "benchmarks.engine.worker", json.dumps(asdict(job))]


def count(output: str, states: Mapping[bytes, int], records: Sequence[Record]) -> StepResult[int]:
    """The step of both ways: a record has one output, and its key one more."""
    changed: dict[bytes, int | None] = {}
    outputs = []
    for record in records:
        key = record.key or b""
        changed[key] = (changed.get(key) or states.get(key, 0)) + 1
        outputs.append(Output(output, key, record.value))
    return StepResult(outputs, changed)


def say(event: str, **values: object) -> None:
    """Print one line for the benchmark to find."""
    fields = " ".join(f"{name}={value}" for name, value in values.items())
    print(f"event=worker.{event} timestamp={datetime.now(UTC).isoformat()} {fields}", flush=True)


class Restoring:
    """Says how long the restores took together, and how many keys there are."""

    def __init__(self) -> None:
        self._began_at = time.monotonic()
        self._keys = 0

    def __call__(self, event: PhaseEvent) -> None:
        if event.phase is Phase.FENCED:
            self._began_at, self._keys = time.monotonic(), 0
        elif event.phase is Phase.RESTORED:
            self._keys += event.count
            say("restored", keys=self._keys, seconds=round(time.monotonic() - self._began_at, 3))


def attach_keyed(app: MicroBatchApp, job: Job) -> None:
    KeyedAgent(
        app,
        source=job.source,
        changelog=job.changelog,
        step=lambda states, records: count(job.output, states, records),
        codec=COUNTS,
        outputs=[job.output],
        on_phase=Restoring(),
    )


def attach_idempotent(app: MicroBatchApp, job: Job, producer: AIOKafkaProducer) -> None:
    states: dict[bytes, int] = {}

    async def write(group: BatchGroup) -> None:
        for batch in group:
            step = count(job.output, states, batch.records)
            sent = [await producer.send(job.output, record.value, key=record.key) for record in step.outputs]
            for key, value in step.changed.items():
                states[key] = value or 0
                sent.append(
                    await producer.send(job.changelog, COUNTS.encode(value or 0), key=key, partition=batch.tp.partition)
                )
            await asyncio.gather(*sent)

    app.attach(app.batch_topic(job.source), GroupWriter(app, write, records=2_000, within=0.0))


async def main(job: Job) -> int:
    """Run the worker until it is stopped."""
    app = MicroBatchApp(job.group, broker=f"kafka://{job.bootstrap}", datadir=job.folder, instance=job.group)
    producer = AIOKafkaProducer(bootstrap_servers=job.bootstrap, enable_idempotence=True, max_batch_size=512 * 1024)
    await producer.start()
    if job.how == "keyed":
        attach_keyed(app, job)
    else:
        attach_idempotent(app, job, producer)
    try:
        return await run_app(app, ready=lambda: say("assigned"))
    finally:
        await producer.stop()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(Job(**json.loads(sys.argv[1])))))
