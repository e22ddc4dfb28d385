"""One poll: records, or a wake, whichever comes first, and never a record that is taken out and dropped."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from processors.engine import TP, Record
from processors.engine.transport import records_or_wake
from tests.engine.building import Made

P0 = TP("events", 0)
LONG = 3600.0


class Fetcher:
    """Waits for records, then takes them out and returns them without a further wait, as aiokafka's does."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self.records: dict[TP, Sequence[Record]] = {}
        self.asked: list[set[TP]] = []

    def arrive(self) -> None:
        self.records = {P0: [Made(0)]}
        self.arrived.set()

    async def fetched_records(
        self,
        partitions: set[TP],
        timeout: float,  # noqa: ASYNC109 - aiokafka's signature
        max_records: int | None,
    ) -> Mapping[TP, Sequence[Record]]:
        self.asked.append(partitions)
        await self.arrived.wait()
        taken, self.records = self.records, {}
        return taken


async def test_records_end_the_poll() -> None:
    fetcher = Fetcher()
    fetcher.arrive()
    assert list(await records_or_wake(fetcher, asyncio.Event(), {P0}, LONG, None)) == [P0]


async def test_room_in_a_full_partition_ends_the_poll_early() -> None:
    wake = asyncio.Event()
    wake.set()
    assert await records_or_wake(Fetcher(), wake, {P0}, LONG, None) == {}
    assert not wake.is_set()


async def test_with_all_partitions_full_nothing_is_asked_for() -> None:
    """To aiokafka an empty set means every partition: back-pressure would be none."""
    fetcher, wake = Fetcher(), asyncio.Event()
    fetcher.arrive()
    wake.set()
    assert await records_or_wake(fetcher, wake, set(), LONG, None) == {}
    assert fetcher.asked == []


@pytest.mark.parametrize("turns", range(6))
async def test_a_wake_at_the_same_moment_drops_no_record(turns: int) -> None:
    fetcher, wake = Fetcher(), asyncio.Event()
    poll = asyncio.create_task(records_or_wake(fetcher, wake, {P0}, LONG, None))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    fetcher.arrive()
    for _ in range(turns):
        await asyncio.sleep(0)
    wake.set()
    got = await poll
    assert bool(got) != bool(fetcher.records)  # handed out, or still there
