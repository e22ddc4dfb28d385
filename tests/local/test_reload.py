"""The gateway restarts when its sources change."""

import asyncio
import signal
from pathlib import Path

from deploy.local.reload import restart_on_change, source_folders
from deploy.local.supervisor import Supervisor


class RecordingSupervisor(Supervisor):
    """Has no parts, and keeps the signals that it is asked to send."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, [])
        self.sent: asyncio.Queue[tuple[str, signal.Signals]] = asyncio.Queue()

    def send(self, name: str, number: signal.Signals) -> None:
        self.sent.put_nowait((name, number))


async def test_a_changed_source_ends_the_part(tmp_path: Path) -> None:
    supervisor, stop = RecordingSupervisor(tmp_path / "data"), asyncio.Event()
    source = tmp_path / "a.py"
    watching = asyncio.create_task(restart_on_change(supervisor, "gateway", [tmp_path], stop))
    try:
        number = 0
        while supervisor.sent.empty():  # until it watches, changes are not seen
            number += 1
            source.write_text(f"{number}")
            async with asyncio.timeout(20):
                await _seen_within(supervisor, 0.5)
        assert await supervisor.sent.get() == ("gateway", signal.SIGTERM)
    finally:
        stop.set()
        async with asyncio.timeout(20):
            await watching


async def _seen_within(supervisor: RecordingSupervisor, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            supervisor.sent.put_nowait(await supervisor.sent.get())
    except TimeoutError:
        pass


def test_the_folders_are_those_of_our_packages() -> None:
    assert all((folder / "__init__.py").exists() for folder in source_folders("gateway", "schemas"))
