"""Compare what the counting workers wrote with what follows from the source."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from processors.engine.changelog import POSITION_KEY, changelog_config
from tests.engine.keyed_worker import Stage
from tests.engine.topics import Topics

KEYS = 40

OutputRow = tuple[int | None, int, int]
"""A count (None: deleted), and the partition and offset of the source record."""


class Counting:
    """The topics of one stage. Everything is read with `read_committed`."""

    def __init__(self, topics: Topics, name: str, partitions: int = 4, source: str | None = None) -> None:
        self.topics, self.group, self.partitions = topics, name, partitions
        self.stage = Stage(source=source or f"{name}.in", changelog=f"{name}.log", output=f"{name}.out")

    async def make(self, partitions: int | None = None, **changelog: str) -> None:
        """Create the topics that don't exist; `changelog` overrides its configuration."""
        self.partitions = partitions or self.partitions
        config = {key.replace(".", "_"): value for key, value in changelog_config().items()} | changelog
        existing = await self.topics.names()
        for name, settings in ((self.stage.source, {}), (self.stage.changelog, config), (self.stage.output, {})):
            if name not in existing:
                await self.topics.make(name, self.partitions, **settings)

    async def send(self, count: int, *, keys: int = KEYS, forget_every: int = 7) -> None:
        """Write records, spread over the keys; every n-th one deletes its key."""
        async with self.topics.producer() as producer:
            sent = [
                await producer.send(
                    self.stage.source, b"forget" if forget_every and i % forget_every == 0 else b"x", key=_key(i % keys)
                )
                for i in range(count)
            ]
            await asyncio.gather(*sent)

    async def done(self) -> None:
        """Wait until there is no lag."""
        await self.topics.until_no_lag(
            self.group, await self.topics.ends(self.stage.source, self.partitions), self.stage.source
        )

    async def check(self) -> None:
        """Assert that each record took effect once, in order, and that state, position and offset agree."""
        expected_outputs, expected_states = await self._expected()
        assert await self._written_outputs() == expected_outputs
        states, positions = await self.changelog_content()
        assert states == expected_states
        assert positions == await self.topics.ends(self.stage.source, self.partitions)

    async def changelog_content(self) -> tuple[dict[tuple[int, str], int], dict[tuple[str, int], int]]:
        """Return the content of the changelog: the count of each key by partition, and the position in the source."""
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

    async def _expected(self) -> tuple[dict[str, list[OutputRow]], dict[tuple[int, str], int]]:
        outputs: dict[str, list[OutputRow]] = defaultdict(list)
        states: dict[tuple[int, str], int] = {}
        for record in await self.topics.records(self.stage.source, self.partitions):
            key = record.key.decode()
            if record.value == b"forget":
                states.pop((record.partition, key), None)
            else:
                states[record.partition, key] = states.get((record.partition, key), 0) + 1
            outputs[key].append((states.get((record.partition, key)), record.partition, record.offset))
        return outputs, states

    async def _written_outputs(self) -> dict[str, list[OutputRow]]:
        outputs: dict[str, list[OutputRow]] = defaultdict(list)
        for record in await self.topics.records(self.stage.output, self.partitions):
            row: dict[str, Any] = json.loads(record.value)
            assert record.key.decode() == row["key"]
            outputs[row["key"]].append((row["count"], *row["from"]))
        return outputs


def _key(number: int) -> bytes:
    return b"key-%03d" % number


def first_keys(count: int) -> Sequence[bytes]:
    return [_key(number) for number in range(count)]
