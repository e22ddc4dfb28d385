"""What the counting workers must have written, worked out from the source alone, and what they did write."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from processors.engine import changelog_config
from processors.engine.changelog import POSITION_KEY
from tests.engine.keyed_worker import Stage
from tests.engine.topics import Topics

KEYS = 40

Said = tuple[int | None, int, int]
"""A count (None: forgotten), and the partition and offset of the record that it followed from."""


class Counting:
    """One stage's topics. Everything is read back as a `read_committed` consumer sees it."""

    def __init__(self, topics: Topics, name: str, partitions: int = 4, source: str | None = None) -> None:
        self.topics, self.group, self.partitions = topics, name, partitions
        self.stage = Stage(source=source or f"{name}.in", changelog=f"{name}.log", output=f"{name}.out")

    async def make(self, partitions: int | None = None, **changelog: str) -> None:
        """Make the topics that don't exist; `changelog` overrides its configuration."""
        self.partitions = partitions or self.partitions
        config = {key.replace(".", "_"): value for key, value in changelog_config().items()} | changelog
        existing = await self.topics.names()
        for name, settings in ((self.stage.source, {}), (self.stage.changelog, config), (self.stage.output, {})):
            if name not in existing:
                await self.topics.make(name, self.partitions, **settings)

    async def send(self, count: int, *, keys: int = KEYS, forget_every: int = 7) -> None:
        """Write records, spread over the keys; each so-manieth tells to forget its key."""
        async with self.topics.producer() as producer:
            sent = [
                await producer.send(
                    self.stage.source, b"forget" if forget_every and i % forget_every == 0 else b"x", key=_key(i % keys)
                )
                for i in range(count)
            ]
            await asyncio.gather(*sent)

    async def done(self) -> None:
        """Wait until nothing lags."""
        await self.topics.until_no_lag(
            self.group, await self.topics.ends(self.stage.source, self.partitions), self.stage.source
        )

    async def check(self) -> None:
        """Assert that each record had its effect once, in order, and that state, position and offset agree."""
        wanted_says, wanted_states = await self._wanted()
        assert await self._said() == wanted_says
        states, positions = await self.kept()
        assert states == wanted_states
        assert positions == await self.topics.ends(self.stage.source, self.partitions)

    async def kept(self) -> tuple[dict[tuple[int, str], int], dict[tuple[str, int], int]]:
        """Return what the changelog holds: the count of each partition's keys, and how far the source was read."""
        states: dict[tuple[int, str], int] = {}
        positions: dict[tuple[str, int], int] = {}
        for row in await self.topics.records(self.stage.changelog, self.partitions):
            if row.key == POSITION_KEY:
                positions[self.stage.source, row.partition] = json.loads(row.value)["offset"]
            elif row.value is None:
                states.pop((row.partition, row.key.decode()), None)
            else:
                states[row.partition, row.key.decode()] = int(row.value)
        return states, positions

    async def _wanted(self) -> tuple[dict[str, list[Said]], dict[tuple[int, str], int]]:
        says: dict[str, list[Said]] = defaultdict(list)
        states: dict[tuple[int, str], int] = {}
        for record in await self.topics.records(self.stage.source, self.partitions):
            key = record.key.decode()
            if record.value == b"forget":
                states.pop((record.partition, key), None)
            else:
                states[record.partition, key] = states.get((record.partition, key), 0) + 1
            says[key].append((states.get((record.partition, key)), record.partition, record.offset))
        return says, states

    async def _said(self) -> dict[str, list[Said]]:
        says: dict[str, list[Said]] = defaultdict(list)
        for record in await self.topics.records(self.stage.output, self.partitions):
            said: dict[str, Any] = json.loads(record.value)
            assert record.key.decode() == said["key"]
            says[said["key"]].append((said["count"], *said["from"]))
        return says


def _key(number: int) -> bytes:
    return b"key-%03d" % number


def first_keys(count: int) -> Sequence[bytes]:
    return [_key(number) for number in range(count)]
