"""Groups of batches, and their one writer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from processors.engine import (
    BatchGroup,
    GroupWriter,
    RecordBatch,
    Retry,
    RetryBackoff,
    TransientDependencyError,
    grouped,
)
from tests.engine.building import FakeApp, FakeOwner, a_batch, acked, turns_until

AT_ONCE = RetryBackoff(first_seconds=0.0, most_seconds=0.0)
LONG = 3600.0


async def given(*batches: RecordBatch, then_wait: bool = True) -> AsyncIterator[RecordBatch]:
    for batch in batches:
        yield batch
    if then_wait:
        await asyncio.Event().wait()


async def first_of(groups: AsyncIterator[BatchGroup]) -> BatchGroup:
    async with asyncio.timeout(30):
        return await anext(groups)


async def test_a_group_closes_at_its_number_of_records() -> None:
    a, b, c = a_batch(0, 3), a_batch(3, 3), a_batch(6, 3)
    assert await first_of(grouped(given(a, b, c), records=6, within=LONG)) == [a, b]


async def test_a_group_closes_at_its_bytes() -> None:
    a, b = a_batch(0, value=b"x" * 600), a_batch(1, value=b"x" * 600)
    assert await first_of(grouped(given(a, b), body_bytes=1000, within=LONG)) == [a, b]


async def test_groups_grow_while_they_are_full() -> None:
    batches = [a_batch(n, value=b"x" * 100) for n in range(20)]
    groups = grouped(given(*batches), body_bytes=600, first_bytes=100, within=LONG)
    assert [len(await first_of(groups)) for _ in range(5)] == [1, 2, 4, 6, 6]


async def test_after_a_group_closed_by_time_the_size_starts_again() -> None:
    go_on = asyncio.Event()

    async def with_a_pause() -> AsyncIterator[RecordBatch]:
        for batch in batches[:4]:
            yield batch
        await go_on.wait()
        for batch in batches[4:]:
            yield batch

    batches = [a_batch(n, value=b"x" * 100) for n in range(8)]
    groups = grouped(with_a_pause(), body_bytes=600, first_bytes=100, within=0.01)
    assert [len(await first_of(groups)) for _ in range(3)] == [1, 2, 1]  # the third would have held four
    go_on.set()
    assert [len(await first_of(groups)) for _ in range(2)] == [1, 2]


async def test_a_first_group_is_never_larger_than_the_others() -> None:
    batches = [a_batch(n, value=b"x" * 100) for n in range(4)]
    groups = grouped(given(*batches), body_bytes=200, first_bytes=10_000, within=LONG)
    assert [len(await first_of(groups)) for _ in range(2)] == [2, 2]


async def test_a_group_closes_some_time_after_its_first_batch() -> None:
    a = a_batch()
    assert await first_of(grouped(given(a), within=0.01)) == [a]


async def test_a_batch_that_comes_after_the_close_opens_the_next_group() -> None:
    release = asyncio.Event()

    async def late() -> AsyncIterator[RecordBatch]:
        yield a
        await release.wait()
        yield b

    a, b = a_batch(0), a_batch(1)
    groups = grouped(late(), within=0.01)
    assert await first_of(groups) == [a]
    release.set()
    with pytest.raises(
        StopAsyncIteration
    ):  # the stream ends with b in an open group: it stays unacknowledged and is read again
        await first_of(groups)


@pytest.fixture
async def app() -> AsyncIterator[FakeApp]:
    app = FakeApp()
    yield app
    for writer in app.writers:
        await writer.close()


class GatedWrite:
    """A write that completes groups one at a time."""

    def __init__(self) -> None:
        self.begun: asyncio.Queue[BatchGroup] = asyncio.Queue()
        self._gates: dict[int, asyncio.Event] = {}

    async def __call__(self, group: BatchGroup) -> None:
        gate = self._gates[group[0].first] = asyncio.Event()
        await self.begun.put(group)
        await gate.wait()

    def let_through(self, group: BatchGroup) -> None:
        self._gates[group[0].first].set()

    async def next(self) -> BatchGroup:
        async with asyncio.timeout(30):
            return await self.begun.get()


async def quiescent() -> None:
    """Let every task run as far as it can."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_a_batch_is_acknowledged_after_its_write_and_not_before(app: FakeApp) -> None:
    write = GatedWrite()
    writer = GroupWriter(app, write, records=1)
    batch = a_batch()
    await writer.put(batch)
    group = await write.next()
    await quiescent()
    assert not batch.acked
    write.let_through(group)
    await acked(batch)


async def test_a_group_spans_topics(app: FakeApp) -> None:
    write = GatedWrite()
    writer = GroupWriter(app, write, records=2)
    a, b = a_batch(topic="webhooks.sendgrid"), a_batch(topic="webhooks.twilio")
    await writer.put(a)
    await writer.put(b)
    assert await write.next() == [a, b]


async def test_two_groups_are_written_concurrently_and_never_three(app: FakeApp) -> None:
    write = GatedWrite()
    writer = GroupWriter(app, write, records=1, depth=2)
    for i in range(3):
        await writer.put(a_batch(i))
    first, second = await write.next(), await write.next()
    await quiescent()
    assert write.begun.empty()
    write.let_through(first)
    assert (await write.next())[0].first == 2
    write.let_through(second)


async def test_a_busy_writer_holds_back_the_agents(app: FakeApp) -> None:
    writer = GroupWriter(app, GatedWrite(), records=1, depth=1)
    taken = 0

    async def agent() -> None:
        nonlocal taken
        for i in range(100):
            await writer.put(a_batch(i))
            taken += 1

    feeding = asyncio.create_task(agent())
    await quiescent()
    assert taken <= 4  # one being written, one closed, one being grouped, one waiting
    feeding.cancel()


async def test_a_later_group_may_finish_first_and_the_commit_still_waits(app: FakeApp) -> None:
    write, owner = GatedWrite(), FakeOwner()
    writer = GroupWriter(app, write, records=1)
    a, b = owner.open(0), owner.open(1)
    await writer.put(a)
    await writer.put(b)
    first, second = await write.next(), await write.next()
    write.let_through(second)
    await acked(b)
    assert owner.inflight.committable() == {a.tp: 0}
    write.let_through(first)
    await acked(a)
    assert owner.inflight.committable() == {a.tp: 2}


async def test_the_group_is_written_again_after_a_transient_error(app: FakeApp) -> None:
    tries: list[BatchGroup] = []
    seen: list[Retry] = []

    async def away_three_times(group: BatchGroup) -> None:
        tries.append(group)
        if len(tries) <= 3:
            assert not batch.acked
            raise TransientDependencyError

    writer = GroupWriter(app, away_three_times, records=1, backoff=AT_ONCE, on_retry=seen.append)
    batch = a_batch()
    await writer.put(batch)
    await acked(batch)
    assert tries == [[batch]] * 4
    assert len(seen) == app.stall_timer_pauses == 3


async def test_a_crash_of_the_write_crashes_the_app_and_acknowledges_nothing(app: FakeApp) -> None:
    async def broken(group: BatchGroup) -> None:
        raise KeyError("total")

    writer = GroupWriter(app, broken, records=1)
    batch = a_batch()
    await writer.put(batch)
    async with asyncio.timeout(30):
        await app.has_crashed.wait()
    assert isinstance(app.crash_reason, KeyError)
    assert not batch.acked


async def test_a_stop_during_retries_abandons_the_batches(app: FakeApp) -> None:
    async def away(group: BatchGroup) -> None:
        app.stopping.set()
        raise TransientDependencyError

    owner = FakeOwner()
    batch = owner.open(0)
    owner.inflight.begun(batch)
    await GroupWriter(app, away, records=1).put(batch)
    await turns_until(lambda: not owner.inflight.worth_waiting())
    assert not batch.acked
    assert app.crash_reason is None


async def test_batches_that_moved_to_another_worker_are_not_written(app: FakeApp) -> None:
    write, owner = GatedWrite(), FakeOwner()
    writer = GroupWriter(app, write, records=2)
    gone, kept = owner.open(0), a_batch(7)
    owner.inflight.forget()
    await writer.put(gone)
    await writer.put(kept)
    assert await write.next() == [kept]


async def test_closing_cancels_writes_unacknowledged(app: FakeApp) -> None:
    write = GatedWrite()
    writer = GroupWriter(app, write, records=1)
    batch = a_batch()
    await writer.put(batch)
    await write.next()
    await writer.close()
    assert not batch.acked


async def test_errors_that_need_an_operator_are_retried_and_do_not_pause_the_stall_timer(app: FakeApp) -> None:
    class Denied(TransientDependencyError):
        pass

    outcomes: list[Exception | None] = [Denied(), TransientDependencyError(), Denied(), None]
    seen: list[float] = []
    batch = a_batch()

    async def write(_group: BatchGroup) -> None:
        seen.append(batch.since)
        if (error := outcomes.pop(0)) is not None:
            raise error

    writer = GroupWriter(app, write, records=1, backoff=AT_ONCE, needs_operator=(Denied,))
    await writer.put(batch)
    await acked(batch)
    assert app.stall_timer_pauses == 1  # for the one temporary error
    # An attempt after such an error does not count as progress either.
    assert seen[0] == seen[1] < seen[2] == seen[3]
