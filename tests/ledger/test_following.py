"""The ledger writes into the generation that is shown, whatever is switched while it writes."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.engine import TP, RecordBatch
from processors.ledger.following import FollowsShown
from schemas.errors import StoreError
from tests.building import FakeRecord

CHUNKS = 3


class Server:
    """Generations, a pointer that changes at given moments, and a writer that needs several moments for a group."""

    def __init__(self, switches: dict[int, int]) -> None:
        self.generation: int | None = 1
        self.pointer, self._switches, self._moment = 1, switches, 0
        self.stored = defaultdict[int | None, list[tuple[str, int]]](list)

    def shown(self) -> int:
        return self.pointer

    async def moment(self) -> None:
        self._moment += 1
        self.pointer = self._switches.get(self._moment, self.pointer)
        await asyncio.sleep(0)

    async def write(self, group: Any) -> None:
        for chunk in range(CHUNKS):
            await self.moment()
            self.stored[self.generation].append((group[0].tp.topic, chunk))


def a_group(name: str) -> list[RecordBatch]:
    return [RecordBatch(TP(name, 0), [FakeRecord(name, b"{}")])]


@given(st.dictionaries(st.integers(1, 30), st.integers(1, 4)), st.integers(1, 3))
def test_an_acknowledged_group_is_whole_in_the_generation_that_was_shown_then(
    switches: dict[int, int], concurrent: int
) -> None:
    async def run() -> None:
        server = Server(switches)
        following = FollowsShown(server, server.shown, server.write)
        last_asked = dict[str, int]()

        async def write(name: str) -> None:
            await following.write(a_group(name))
            # Nothing ran since the question whose answer acknowledged the group.
            last_asked[name] = server.generation or 0

        await asyncio.gather(*(write(f"group {n}") for n in range(concurrent)))
        for name, generation in last_asked.items():
            assert {chunk for group, chunk in server.stored[generation] if group == name} == set(range(CHUNKS))

    asyncio.run(run())


async def test_a_switch_while_a_group_is_written_writes_it_again_into_the_new_generation() -> None:
    server = Server({2: 2})
    await FollowsShown(server, server.shown, server.write).write(a_group("a"))
    assert server.stored[2] == [("a", chunk) for chunk in range(CHUNKS)]


async def test_without_a_switch_a_group_is_written_once() -> None:
    server = Server({})
    await FollowsShown(server, server.shown, server.write).write(a_group("a"))
    assert server.stored == {1: [("a", chunk) for chunk in range(CHUNKS)]}


async def test_the_first_group_goes_to_the_generation_that_is_shown_at_the_start() -> None:
    server = Server({})
    server.pointer = 7
    await FollowsShown(server, server.shown, server.write).write(a_group("a"))
    assert set(server.stored) == {7}


async def test_after_a_failure_it_asks_before_it_writes_again() -> None:
    """The generation that it wrote to may have been dropped: another attempt there would fail for ever."""
    server = Server({})
    dropped = {1}

    async def write(group: Any) -> None:
        if server.generation in dropped:
            raise StoreError("the database does not exist", "here", "none")
        await server.write(group)

    following = FollowsShown(server, server.shown, write)
    with pytest.raises(StoreError):
        await following.write(a_group("a"))
    server.pointer = 2
    await following.write(a_group("a"))
    assert set(server.stored) == {2}


async def test_a_group_is_not_acknowledged_while_nobody_knows_what_is_shown() -> None:
    server = Server({})

    def away() -> int:
        raise StoreError("ClickHouse can't be reached", "here", "none")

    with pytest.raises(StoreError):
        await FollowsShown(server, away, server.write).write(a_group("a"))
