"""A gate worker for the tests: `sendledger worker gate`, which stops or kills itself where a test wants it.

    python -m tests.gate.worker '{"broker": …, "instance": …, "datadir": …, "oracle": …, "halt": …}'

A test requests that while it runs, by a file with the component, the phase, the count and the signal (`Halt`). The
worker notes its assignments, its committed transactions, and that it is about to halt in a file of its own.
"""

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from processors.engine import TP, Phase, PhaseEvent
from processors.gate.app import IntakePhase, run_gate
from schemas.settings import GateSettings
from schemas.topics import GATE_BY_ACCOUNT, GATE_BY_ADDRESS
from tests.engine.worker import Oracle

__all__ = ["Component", "Halt", "WorkerConfig"]

Component = Literal["intake", "by-address", "by-account"]
_AGENTS: dict[str, Component] = {GATE_BY_ADDRESS.name: "by-address", GATE_BY_ACCOUNT.name: "by-account"}
_IN_A_TRANSACTION = (Phase.STEPPED, Phase.WRITTEN, Phase.COMMITTED, Phase.APPLIED)


class Halt(BaseModel):
    """Where to halt."""

    component: Component
    phase: Phase | IntakePhase
    times: int = 1
    """Halt at the n-th time that it reaches the point."""
    signal: int = signal.SIGKILL


class WorkerConfig(BaseModel):
    """The configuration of a worker."""

    broker: str
    instance: str
    datadir: Path
    oracle: Path
    halt: Path
    """A file that holds a `Halt`, or does not exist."""


class Watcher:
    """Observes every phase, and halts the process at the requested point."""

    def __init__(self, halt: Path, oracle: Oracle) -> None:
        self._halt, self._oracle = halt, oracle
        self._records: dict[TP, int] = {}
        """The record count of the open transaction: some only commit a position behind transaction markers."""
        self._came = 0

    def on_phase(self, event: PhaseEvent) -> None:
        """Both agents call this."""
        if event.phase is Phase.STEPPED:
            self._records[event.tp] = event.count
        if event.phase in _IN_A_TRANSACTION and not self._records[event.tp]:
            return
        if event.phase is Phase.COMMITTED:
            self._oracle.note(f"# committed {_AGENTS[event.tp.topic]}")
        self._reached(_AGENTS[event.tp.topic], event.phase)

    def on_intake(self, phase: IntakePhase) -> None:
        """The intake calls this."""
        self._reached("intake", phase)

    def _reached(self, component: Component, phase: Phase | IntakePhase) -> None:
        if not self._halt.exists():
            self._came = 0
            return
        halt = Halt.model_validate_json(self._halt.read_text())
        if (halt.component, halt.phase) != (component, phase):
            return
        self._came += 1
        if self._came == halt.times:
            self._halt.unlink()
            self._oracle.note("# halt")
            os.kill(os.getpid(), halt.signal)


async def main(config: WorkerConfig) -> int:
    oracle = Oracle(config.oracle)
    watcher = Watcher(config.halt, oracle)
    settings = GateSettings(kafka_bootstrap=config.broker, instance=config.instance, worker_dir=config.datadir)
    return await run_gate(
        settings, ready=lambda: oracle.note("# ready"), on_phase=watcher.on_phase, on_intake=watcher.on_intake
    )


if __name__ == "__main__":
    logging.basicConfig(level="ERROR", stream=sys.stderr, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    sys.exit(asyncio.run(main(WorkerConfig.model_validate_json(sys.argv[1]))))
