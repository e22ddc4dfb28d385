"""A gate worker for the tests: `sendledger worker gate`, that can be told where to stop or kill itself.

    python -m tests.gate.worker '{"broker": …, "instance": …, "datadir": …, "oracle": …, "halt": …}'

A test tells it so while it runs: by a file that names the place, the phase, how often and the signal (`Halt`). In its
own file it notes its assignments, how many requests each transaction has decided, and that it is about to halt.
"""

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from processors.engine import TP, Moment, Phase
from processors.gate.app import IntakePhase, run_gate
from schemas.settings import GateSettings
from schemas.topics import GATE_BY_ACCOUNT, GATE_BY_ADDRESS
from tests.engine.worker import Oracle

__all__ = ["Halt", "Orders", "Place"]

Place = Literal["intake", "by-address", "by-account"]
_PLACES: dict[str, Place] = {GATE_BY_ADDRESS.name: "by-address", GATE_BY_ACCOUNT.name: "by-account"}
_IN_A_TRANSACTION = (Phase.STEPPED, Phase.WRITTEN, Phase.COMMITTED, Phase.APPLIED)


class Halt(BaseModel):
    """Where to halt."""

    place: Place
    phase: Phase | IntakePhase
    times: int = 1
    """The so-manieth time that it comes there."""
    signal: int = signal.SIGKILL


class Orders(BaseModel):
    """What a test tells its worker to do."""

    broker: str
    instance: str
    datadir: Path
    oracle: Path
    halt: Path
    """A file that is not there, or holds a `Halt`."""


class Watcher:
    """Is told of every phase, and halts the process where the test wants it."""

    def __init__(self, halt: Path, oracle: Oracle) -> None:
        self._halt, self._oracle = halt, oracle
        self._records: dict[TP, int] = {}
        """Of the transaction under way: there are some that only commit a position behind markers."""
        self._came = 0

    def on_phase(self, moment: Moment) -> None:
        """Both agents call it."""
        if moment.phase is Phase.STEPPED:
            self._records[moment.tp] = moment.count
        if moment.phase in _IN_A_TRANSACTION and not self._records[moment.tp]:
            return
        if moment.phase is Phase.COMMITTED:
            self._oracle.note(f"# committed {_PLACES[moment.tp.topic]}")
        self._reached(_PLACES[moment.tp.topic], moment.phase)

    def on_intake(self, phase: IntakePhase) -> None:
        """The way in calls it."""
        self._reached("intake", phase)

    def _reached(self, place: Place, phase: Phase | IntakePhase) -> None:
        if not self._halt.exists():
            self._came = 0
            return
        halt = Halt.model_validate_json(self._halt.read_text())
        if (halt.place, halt.phase) != (place, phase):
            return
        self._came += 1
        if self._came == halt.times:
            self._halt.unlink()
            self._oracle.note("# halt")
            os.kill(os.getpid(), halt.signal)


async def main(orders: Orders) -> int:
    oracle = Oracle(orders.oracle)
    watcher = Watcher(orders.halt, oracle)
    settings = GateSettings(kafka_bootstrap=orders.broker, instance=orders.instance, worker_dir=orders.datadir)
    return await run_gate(
        settings, ready=lambda: oracle.note("# ready"), on_phase=watcher.on_phase, on_intake=watcher.on_intake
    )


if __name__ == "__main__":
    logging.basicConfig(level="ERROR", stream=sys.stderr, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    sys.exit(asyncio.run(main(Orders.model_validate_json(sys.argv[1]))))
