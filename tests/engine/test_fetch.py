"""One poll: records, or a wake, whichever comes first, and never a record that is taken out and dropped."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from processors.engine import TP, KafkaRefused, Record, transport
from processors.engine.batch import Inflight
from processors.engine.transport import UNREAD_SECONDS, BatchConsumer, BatchThread, Fetched, records_or_wake
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


class Thread:
    """The consumer's thread: aiokafka's position is behind two records that were dropped in a rebalance."""

    def __init__(self) -> None:
        self.position = 2

    async def fetch(self, tps: set[TP], seconds: float) -> Fetched:
        records = {P0: [Made(self.position)]} if tps else {}
        return Fetched(records, {P0: self.position + len(records)})

    async def seek_to_committed(self, starts: Mapping[TP, int]) -> Mapping[TP, int | None]:
        self.position = 0
        return {P0: 0}


def a_consumer(thread: Thread) -> BatchConsumer:
    """A consumer with nothing around it."""
    consumer = BatchConsumer.__new__(BatchConsumer)
    consumer.app = SimpleNamespace(should_stop=False, starts=dict, flow=lambda: None)  # type: ignore[assignment]
    consumer._thread = thread  # type: ignore[assignment]
    consumer._inflight, consumer._epoch, consumer.flow_active = Inflight(2), 0, True
    consumer._revoked, consumer._passed_over, consumer._read_offset = False, True, {}
    return consumer


async def test_what_was_dropped_is_sought_before_anything_is_fetched() -> None:
    consumer = a_consumer(Thread())
    ((batch,),) = (await consumer._getmany({P0}, LONG)).values()
    assert batch.first == 0


async def test_where_it_can_not_be_sought_yet_nothing_is_fetched_and_it_is_sought_later() -> None:
    """A seek that a revocation or a stop put off once counted as done: the records were never read."""
    consumer = a_consumer(Thread())
    consumer._revoked = True
    assert await consumer._getmany({P0}, LONG) == {}
    consumer._revoked = False
    ((batch,),) = (await consumer._getmany({P0}, LONG)).values()
    assert batch.first == 0


async def a_thread(now: list[float], monkeypatch: pytest.MonkeyPatch) -> BatchThread:
    """A consumer thread with nothing around it, and a clock of the test's."""
    monkeypatch.setattr(transport, "monotonic", lambda: now[0])
    thread = BatchThread.__new__(BatchThread)
    thread._read_at, thread._assignor = {}, SimpleNamespace(made_of={"events": 2})  # type: ignore[assignment]
    thread._wake, thread._gather_until = asyncio.Event(), 0.0
    thread.app = SimpleNamespace(conf=SimpleNamespace(id="group"))  # type: ignore[assignment]
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
    thread = await a_thread(now, monkeypatch)
    silent, alive, full, deleted = P0, TP("events", 1), TP("more", 0), TP("deleted", 0)
    for second in range(0, 121, 10):
        now[0] = float(second)
        consumer = a_kafka_consumer({silent: None, alive: second, full: 0, deleted: 5}, full=[full])
        unread = thread._unread(consumer, {"events": 2, "more": 1})
        assert unread == ({silent, deleted} if second > UNREAD_SECONDS else set())


async def test_a_partition_that_no_member_has_is_unread_after_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    thread = await a_thread(now, monkeypatch)
    thread._unread(a_kafka_consumer({}), {"events": 3, "new": 1})
    now[0] = UNREAD_SECONDS + 1
    unread = thread._unread(a_kafka_consumer({}), {"events": 3, "new": 1})
    assert unread == {TP("events", 2), TP("new", 0)}  # the others are other members'


async def test_what_kafka_refuses_for_good_ends_the_worker_and_says_what_to_mend(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Refusing:
        _closed = False
        _subscriptions = SimpleNamespace(fetch_context=nullcontext)

        async def fetched_records(self, *_: object, **__: object) -> Mapping[TP, Sequence[Record]]:
            raise TopicAuthorizationFailedError("events")

    thread = await a_thread([0.0], monkeypatch)
    consumer = SimpleNamespace(_fetcher=Refusing(), _closed=False, _max_poll_records=1)
    with pytest.raises(KafkaRefused, match=r"TopicAuthorizationFailedError.*events.*group group"):
        await thread._fetch(consumer, {P0}, LONG)


async def test_a_fetching_task_that_has_died_is_noticed() -> None:
    """aiokafka tells it to who calls its getmany(), which is not us."""
    fetching = asyncio.get_running_loop().create_future()
    consumer: Any = SimpleNamespace(
        _fetcher=SimpleNamespace(error_future=fetching),
        _coordinator=SimpleNamespace(check_errors=lambda: None),
        _closed=False,
    )
    assert transport._ended_by(consumer) is None
    fetching.set_exception(KafkaError("Unexpected error during data retrieval"))
    assert str(transport._ended_by(consumer)) == "KafkaError: Unexpected error during data retrieval"
