"""One poll: it ends with records or a wake, whichever comes first, and never drops a record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from processors.engine import TP, Record, internals
from processors.engine.errors import KafkaRefused
from processors.engine.transport import UNREAD_SECONDS, BatchConsumer, BatchThread, records_or_wake
from tests.engine.building import turns_until
from tests.engine.offline import P0, OfflineFetcher, OfflineThread, an_app, an_offline_consumer, assign

LONG = 3600.0


@pytest.fixture
async def kafka() -> AsyncIterator[AIOKafkaConsumer]:
    """aiokafka's consumer, without a broker."""
    async with an_offline_consumer() as consumer:
        yield consumer


@pytest.fixture
async def fetcher(kafka: AIOKafkaConsumer) -> OfflineFetcher:
    """aiokafka's fetcher, with P0 assigned."""
    return assign(kafka)


async def test_records_end_the_poll(fetcher: OfflineFetcher) -> None:
    fetcher.arrive()
    assert list(await records_or_wake(fetcher, asyncio.Event(), {P0}, LONG, None)) == [P0]


async def test_room_in_a_full_partition_ends_the_poll_early(fetcher: OfflineFetcher) -> None:
    wake = asyncio.Event()
    wake.set()
    assert await records_or_wake(fetcher, wake, {P0}, LONG, None) == {}
    assert not wake.is_set()


async def test_with_all_partitions_full_nothing_is_requested(fetcher: OfflineFetcher) -> None:
    """aiokafka takes an empty set to mean all partitions, so there would be no back-pressure."""
    wake = asyncio.Event()
    fetcher.arrive()
    wake.set()
    assert await records_or_wake(fetcher, wake, set(), LONG, None) == {}
    assert fetcher.arrived == {P0}
    assert list(await fetcher.fetched_records(set())) == [P0]


@pytest.mark.parametrize("turns", range(8))
async def test_a_simultaneous_wake_drops_no_record(fetcher: OfflineFetcher, turns: int) -> None:
    wake = asyncio.Event()
    poll = asyncio.create_task(records_or_wake(fetcher, wake, {P0}, LONG, None))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    fetcher.arrive()
    for _ in range(turns):
        await asyncio.sleep(0)
    wake.set()
    got = await poll
    assert bool(got) != bool(fetcher.arrived)  # returned, or still there


@pytest.fixture
async def consumer(tmp_path: Path, kafka: AIOKafkaConsumer) -> BatchConsumer:
    """Our consumer. The position of aiokafka's is after two records that were dropped in a rebalance."""
    consumer: BatchConsumer = an_app(tmp_path).consumer
    consumer._thread = OfflineThread(consumer, kafka)
    assign(kafka, 2)
    consumer._seek_pending = True
    return consumer


async def position_of(kafka: AIOKafkaConsumer, wanted: int) -> None:
    await turns_until(lambda: internals.assignment(kafka).state_value(P0).position == wanted)


async def fetched_first(consumer: BatchConsumer, kafka: AIOKafkaConsumer, fetcher: OfflineFetcher) -> int:
    """The offset of the first record that a poll returns, which begins where the committed offset is."""
    poll = asyncio.create_task(consumer._getmany({P0}, LONG))
    await position_of(kafka, 0)
    fetcher.arrive(0)
    ((batch,),) = (await poll).values()
    return batch.first


async def test_after_dropped_records_a_seek_precedes_the_next_fetch(
    consumer: BatchConsumer, kafka: AIOKafkaConsumer
) -> None:
    fetcher = internals.fetcher(kafka)
    fetcher.arrive(2)
    assert await fetched_first(consumer, kafka, fetcher) == 0


async def test_while_a_seek_is_impossible_nothing_is_fetched_and_the_seek_happens_later(
    consumer: BatchConsumer, kafka: AIOKafkaConsumer
) -> None:
    """A regression: a seek that a revocation or a stop postponed counted as done, so records were never read."""
    fetcher = internals.fetcher(kafka)
    fetcher.arrive(2)
    consumer._revoked = True
    assert await consumer._getmany({P0}, 0.01) == {}
    assert fetcher.arrived == {P0}
    consumer._revoked = False
    assert await fetched_first(consumer, kafka, fetcher) == 0


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
