"""One poll: it ends with records or a wake, whichever comes first, and never drops a record."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from processors.engine import TP, Record, internals
from processors.engine.batch import Inflight
from processors.engine.errors import KafkaRefused
from processors.engine.transport import UNREAD_SECONDS, BatchConsumer, BatchThread, FetchResult, records_or_wake
from tests.engine.building import StubRecord

P0 = TP("events", 0)
LONG = 3600.0


class Fetcher:
    """Waits for records, then removes and returns them without a further wait, as aiokafka's does."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self.records: dict[TP, Sequence[Record]] = {}
        self.asked: list[set[TP]] = []

    def arrive(self) -> None:
        self.records = {P0: [StubRecord(0)]}
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


async def test_with_all_partitions_full_nothing_is_requested() -> None:
    """aiokafka takes an empty set to mean all partitions, so there would be no back-pressure."""
    fetcher, wake = Fetcher(), asyncio.Event()
    fetcher.arrive()
    wake.set()
    assert await records_or_wake(fetcher, wake, set(), LONG, None) == {}
    assert fetcher.asked == []


@pytest.mark.parametrize("turns", range(6))
async def test_a_simultaneous_wake_drops_no_record(turns: int) -> None:
    fetcher, wake = Fetcher(), asyncio.Event()
    poll = asyncio.create_task(records_or_wake(fetcher, wake, {P0}, LONG, None))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    fetcher.arrive()
    for _ in range(turns):
        await asyncio.sleep(0)
    wake.set()
    got = await poll
    assert bool(got) != bool(fetcher.records)  # returned, or still there


class Thread:
    """The consumer thread: aiokafka's position is after two records that were dropped in a rebalance."""

    def __init__(self) -> None:
        self.position = 2

    async def fetch(self, tps: set[TP], seconds: float) -> FetchResult:
        records = {P0: [StubRecord(self.position)]} if tps else {}
        return FetchResult(records, {P0: self.position + len(records)})

    async def seek_to_committed(self, starts: Mapping[TP, int]) -> Mapping[TP, int | None]:
        self.position = 0
        return {P0: 0}


def a_consumer(thread: Thread) -> BatchConsumer:
    """A consumer without an app or a broker."""
    consumer = BatchConsumer.__new__(BatchConsumer)
    consumer.app = SimpleNamespace(should_stop=False, starts=dict, resume=lambda: None)
    consumer._thread = thread  # type: ignore[assignment]
    consumer._inflight, consumer._epoch, consumer.flow_active = Inflight(2), 0, True
    consumer._revoked, consumer._seek_pending, consumer._read_offset = False, True, {}
    return consumer


async def test_after_dropped_records_a_seek_precedes_the_next_fetch() -> None:
    consumer = a_consumer(Thread())
    ((batch,),) = (await consumer._getmany({P0}, LONG)).values()
    assert batch.first == 0


async def test_while_a_seek_is_impossible_nothing_is_fetched_and_the_seek_happens_later() -> None:
    """A regression: a seek that a revocation or a stop postponed counted as done, so records were never read."""
    consumer = a_consumer(Thread())
    consumer._revoked = True
    assert await consumer._getmany({P0}, LONG) == {}
    consumer._revoked = False
    ((batch,),) = (await consumer._getmany({P0}, LONG)).values()
    assert batch.first == 0


async def a_thread(now: list[float]) -> BatchThread:
    """A consumer thread without an app or a broker, and with a fake clock."""
    thread = BatchThread.__new__(BatchThread)
    thread._read_at, thread._assignor = {}, SimpleNamespace(based_on={"events": 2})  # type: ignore[assignment]
    thread._wake, thread._gather_until = asyncio.Event(), 0.0
    thread.app = SimpleNamespace(conf=SimpleNamespace(id="group"), clock=lambda: now[0])
    thread.consumer = SimpleNamespace(flow_active=True)
    return thread


def a_kafka_consumer(fetched_at: Mapping[TP, int | None], *, full: Collection[TP] = ()) -> Any:
    """An aiokafka consumer that has these partitions, each with the time of its last fetch."""
    states = {tp: SimpleNamespace(timestamp=at) for tp, at in fetched_at.items()}
    assignment = SimpleNamespace(state_value=states.get)
    return SimpleNamespace(
        _subscription=SimpleNamespace(
            subscription=SimpleNamespace(assignment=assignment), assigned_partitions=lambda: set(fetched_at)
        ),
        _fetcher=SimpleNamespace(_records=dict.fromkeys(full)),
    )


async def test_a_partition_that_can_not_be_fetched_for_a_minute_is_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    thread = await a_thread(now)
    silent, alive, full, deleted = P0, TP("events", 1), TP("more", 0), TP("deleted", 0)
    for second in range(0, 121, 10):
        now[0] = float(second)
        consumer = a_kafka_consumer({silent: None, alive: second, full: 0, deleted: 5}, full=[full])
        unread = thread._unread(consumer, {"events": 2, "more": 1})
        assert unread == ({silent, deleted} if second > UNREAD_SECONDS else set())


async def test_a_partition_that_no_member_has_is_unread_after_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    thread = await a_thread(now)
    thread._unread(a_kafka_consumer({}), {"events": 3, "new": 1})
    now[0] = UNREAD_SECONDS + 1
    unread = thread._unread(a_kafka_consumer({}), {"events": 3, "new": 1})
    assert unread == {TP("events", 2), TP("new", 0)}  # other members have the others


async def test_a_permanent_refusal_ends_the_worker_and_says_what_to_fix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Refusing:
        _closed = False
        _subscriptions = SimpleNamespace(fetch_context=nullcontext)

        async def fetched_records(self, *_: object, **__: object) -> Mapping[TP, Sequence[Record]]:
            raise TopicAuthorizationFailedError("events")

    thread = await a_thread([0.0])
    consumer = SimpleNamespace(_fetcher=Refusing(), _closed=False, _max_poll_records=1)
    with pytest.raises(KafkaRefused, match=r"TopicAuthorizationFailedError.*events.*group group"):
        await thread._fetch(consumer, {P0}, LONG)


async def test_a_dead_fetching_task_is_detected() -> None:
    """aiokafka reports it only to callers of getmany(), which the engine does not call."""
    fetching = asyncio.get_running_loop().create_future()
    consumer: Any = SimpleNamespace(
        _fetcher=SimpleNamespace(error_future=fetching),
        _coordinator=SimpleNamespace(check_errors=lambda: None),
        _closed=False,
    )
    assert internals.end_error(consumer) is None
    fetching.set_exception(KafkaError("Unexpected error during data retrieval"))
    assert str(internals.end_error(consumer)) == "KafkaError: Unexpected error during data retrieval"
