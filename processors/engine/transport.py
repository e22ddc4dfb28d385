"""The Faust transport that hands an agent one `RecordBatch` for each fetched run of records of a partition.

Promises at-least-once: a batch is in flight from the moment it is fetched until `RecordBatch.ack()`, and nothing else
acknowledges; not the end of an iteration, not an exception, not a cancelled agent. Faust's own acknowledgement and
commit are replaced whole, not steered: see the numbered list in README.md for what each part guards against.

Two threads: aiokafka lives in Faust's consumer thread (`BatchThread`), agents and all bookkeeping in the main one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

import aiokafka
from aiokafka.errors import CommitFailedError, ConsumerStoppedError, IllegalStateError, KafkaError
from faust.transport.drivers import aiokafka as driver
from faust.types.tuples import ConsumerMessage
from mode import Service

from processors.engine.assignment import Assignor, Counts, Fit, OwnTopics, counts_in, misfits
from processors.engine.batch import TP, Inflight, Record, RecordBatch
from processors.engine.errors import BatchStalled, EngineError, GroupLost, InstanceTaken, KafkaRefused
from processors.engine.large import AfterLarge
from processors.engine.reading import new_consumer
from processors.engine.twins import Twins

if TYPE_CHECKING:
    from processors.engine.app import MicroBatchApp


@dataclass(frozen=True, slots=True)
class Fetched:
    """What one poll brought: records, and how far each assigned partition was read when they were taken out."""

    records: Mapping[TP, Sequence[Record]] = field(default_factory=dict)
    positions: Mapping[TP, int] = field(default_factory=dict)


NOTHING = Fetched()


@dataclass(frozen=True, slots=True)
class Watched:
    """How the consumer is, once a second."""

    ended_by: KafkaError | None
    """What ended the fetching, or the coordination with the group, if something did."""
    counts: Counts
    """The partitions of the topics that are subscribed to."""
    unread: frozenset[TP]
    """Partitions that no member has, and own ones of which nothing could be fetched, for UNREAD_SECONDS."""


UNREAD_SECONDS = 60.0
REFRESH_SECONDS = 5.0
"""How long an assignment waits for the brokers to say how many partitions there are now."""

GATHER_SECONDS = 0.01
"""After a fetch of few records: how long the next ones may gather. A fetch asks for every partition, and costs as much
for one record as for hundreds; aiokafka begins none while something is not taken out."""
FEW_RECORDS = 500


class BatchThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]  # faust is untyped
    """aiokafka's consumer, in a thread and loop of its own."""

    app: MicroBatchApp

    async def on_start(self) -> None:
        self._wake = asyncio.Event()
        self._gather_until = 0.0
        self._assignor = Assignor(self._counts)
        self._fit = Fit(self.app.conf.consumer_metadata_max_age_ms / 1000, monotonic)
        self._refreshing: asyncio.Future[bool] | None = None
        self._read_at: dict[TP, tuple[int | None, float]] = {}
        await super().on_start()

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        conf = self.app.conf
        consumer = new_consumer(
            bootstrap_servers=driver.server_list(transport.url, transport.default_port),
            client_id=conf.broker_client_id,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id,
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            auto_offset_reset=conf.consumer_auto_offset_reset,
            isolation_level=self.app.engine.isolation,
            max_poll_records=conf.broker_max_poll_records,
            max_partition_fetch_bytes=self.app.engine.fetch_bytes,
            fetch_max_bytes=max(self.app.engine.fetch_bytes, 50 * 2**20),
            max_poll_interval_ms=_milliseconds(conf.broker_max_poll_interval),
            request_timeout_ms=_milliseconds(conf.broker_request_timeout),
            session_timeout_ms=_milliseconds(conf.broker_session_timeout),
            rebalance_timeout_ms=_milliseconds(conf.broker_rebalance_timeout),
            heartbeat_interval_ms=_milliseconds(conf.broker_heartbeat_interval),
            check_crcs=conf.broker_check_crcs,
            metadata_max_age_ms=conf.consumer_metadata_max_age_ms,
            connections_max_idle_ms=conf.consumer_connections_max_idle_ms,
            **driver.credentials_to_aiokafka_auth(conf.broker_credentials, conf.ssl_context),
        )
        consumer._subscription = OwnTopics()
        return consumer

    def _counts(self, topics: Iterable[str]) -> Counts:
        return counts_in(self._ensure_consumer()._client.cluster, topics)

    @property
    def member_id(self) -> str:
        member: str = self._ensure_consumer()._coordinator.member_id
        return member

    async def watch(self) -> Watched:
        """Look at what nobody else does, and ask the group to assign anew where its assignment fits no more.

        Waits for nothing. aiokafka's leader looks at topics as well, but not after a static member's return.
        """
        watched: Watched = await self.call_thread(self._watch, self._ensure_consumer())
        return watched

    async def _watch(self, consumer: aiokafka.AIOKafkaConsumer) -> Watched:
        counts = self._counts(consumer._subscription.topics)
        if not consumer._subscription.reassignment_in_progress:
            self._mind_fit(consumer, counts)
        return Watched(_ended_by(consumer), counts, self._unread(consumer, counts))

    def _mind_fit(self, consumer: aiokafka.AIOKafkaConsumer, counts: Counts) -> None:
        made_of, foreign = self._assignor.made_of, consumer._subscription.foreign
        if not misfits(counts, made_of, foreign=foreign):
            self._fit.fits()
            self._refreshing = None
        elif self._fit.may_ask(counts, made_of):
            if self._refreshing is None:  # our knowledge may be the older one
                self._refreshing = asyncio.ensure_future(consumer._client.force_metadata_update())
            elif self._refreshing.done():
                refreshed, self._refreshing = self._refreshing.result(), None
                if refreshed:
                    self._ask(consumer, counts)

    def _ask(self, consumer: aiokafka.AIOKafkaConsumer, counts: Counts) -> None:
        self.log.warning("the group assigns anew: %s of %s", counts, self._assignor.made_of)
        self._fit.asked(counts)
        self._assignor.request()
        consumer._coordinator.request_rejoin()

    def _unread(self, consumer: aiokafka.AIOKafkaConsumer, counts: Counts) -> frozenset[TP]:
        now, before = monotonic(), self._read_at
        self._read_at = {}
        known = {TP(topic, partition) for topic, count in counts.items() for partition in range(count)}
        # The own ones as well: a topic that was deleted is in no metadata.
        for tp in known | {TP(*tp) for tp in consumer._subscription.assigned_partitions()}:
            fetched = self._fetched_at(consumer, tp)
            at, since = before.get(tp, (fetched, now))
            self._read_at[tp] = (fetched, now if fetched is None or fetched != at else since)
        return frozenset(tp for tp, (_, since) in self._read_at.items() if now - since > UNREAD_SECONDS)

    def _fetched_at(self, consumer: aiokafka.AIOKafkaConsumer, tp: TP) -> int | None:
        """When a partition was last fetched, in milliseconds; None where it need not be: it is full, or another's."""
        subscription = consumer._subscription.subscription
        assignment = subscription.assignment if subscription is not None else None
        state = assignment.state_value(tp) if assignment is not None else None
        if state is None:
            made_of = self._assignor.made_of
            return None if made_of is None or tp.partition < made_of.get(tp.topic, 0) else 0
        return None if tp in consumer._fetcher._records else state.timestamp or 0

    async def fresh_counts(self) -> Counts:
        """Return how many partitions the subscribed topics have; as they were known before, while no broker answers."""
        counts: Counts = await self.call_thread(self._fresh_counts, self._ensure_consumer())
        return counts

    async def _fresh_counts(self, consumer: aiokafka.AIOKafkaConsumer) -> Counts:
        await asyncio.wait({asyncio.ensure_future(consumer._client.force_metadata_update())}, timeout=REFRESH_SECONDS)
        return self._counts(consumer._subscription.topics)

    def _refused(self, what: str, error: KafkaError) -> KafkaRefused:
        return KafkaRefused(
            f"{what}: {type(error).__name__}: {error}",
            where=f"group {self.app.conf.id}",
            mend="The worker ends, and reads on from what is committed. If it comes back: mend what the error names, "
            "a permission for example.",
        )

    def wake(self) -> None:
        """End a running `fetch` early. Callable from any thread."""
        if self.thread_loop.is_running():
            self.thread_loop.call_soon_threadsafe(self._wake.set)

    async def fetch(self, tps: set[TP], seconds: float) -> Fetched:
        """Take out what has arrived for `tps`, waiting up to `seconds` for something."""
        fetched: Fetched = await self.call_thread(self._fetch, self._ensure_consumer(), tps, seconds)
        return fetched

    async def _fetch(self, consumer: aiokafka.AIOKafkaConsumer, tps: set[TP], seconds: float) -> Fetched:
        if not self.consumer.flow_active:
            return NOTHING
        fetcher = consumer._fetcher
        if consumer._closed or fetcher._closed:
            raise ConsumerStoppedError
        # Inside the context aiokafka counts us as polling, so that a slow sink, all partitions full, stays a member.
        with fetcher._subscriptions.fetch_context():
            await asyncio.sleep(max(0.0, self._gather_until - monotonic()))
            try:
                records = await records_or_wake(fetcher, self._wake, tps, seconds, consumer._max_poll_records)
            except KafkaError as error:
                raise self._refused("Kafka does not give the records", error) from error
            few = 0 < sum(map(len, records.values())) < FEW_RECORDS
            self._gather_until = monotonic() + GATHER_SECONDS if few else 0.0
            return Fetched(records, self._positions(consumer))

    def _positions(self, consumer: aiokafka.AIOKafkaConsumer) -> Mapping[TP, int]:
        subscription = consumer._subscription.subscription
        assignment = subscription.assignment if subscription is not None else None
        if assignment is None or not assignment.active:
            return {}
        states = {tp: assignment.state_value(tp) for tp in assignment.tps}
        return {TP(*tp): state.position for tp, state in states.items() if state.has_valid_position}

    def ends(self) -> Mapping[TP, int]:
        """Where each assigned partition ended at its last fetch: what is readable, without open transactions."""
        subscription = self._consumer._subscription.subscription if self._consumer is not None else None
        assignment = subscription.assignment if subscription is not None else None
        if assignment is None:
            return {}
        states = {tp: assignment.state_value(tp) for tp in assignment.tps}
        committed_only = self.app.engine.isolation == "read_committed"
        ends = {TP(*tp): state.lso if committed_only else state.highwater for tp, state in states.items()}
        return {tp: end for tp, end in ends.items() if end is not None}

    async def seek_to_committed(self, starts: Mapping[TP, int]) -> Mapping[TP, int | None]:
        consumer = self._ensure_consumer()
        offsets: Mapping[TP, int | None] = await self.call_thread(seek_to_committed, consumer, starts)
        return offsets

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit; False where the group has moved on, and the records are some other member's.

        While the broker is away this does not return: aiokafka retries for ever.
        """
        try:
            await self._ensure_consumer().commit({aiokafka.TopicPartition(*tp): o for tp, o in offsets.items()})
        except (CommitFailedError, IllegalStateError) as exc:
            self.log.info("commit refused, the records are read again: %s", type(exc).__name__)
            return False
        except KafkaError as error:  # aiokafka has retried what can be
            raise self._refused(f"Kafka takes no offsets, such as {_first(offsets)}", error) from error
        return True


class BatchConsumer(driver.Consumer):  # type: ignore[misc]  # faust is untyped
    """Fetches batches, keeps account of them, commits what is acknowledged, and minds rebalances."""

    app: MicroBatchApp
    _thread: BatchThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._inflight = Inflight(self.app.engine.inflight, self_committing=self.app.self_committing)
        self._large = AfterLarge(self.app.engine.after_large)
        self._epoch = 0  # changes with every revocation and assignment
        self._revoked = False  # from a revocation to the assignment that follows
        self._passed_over = False  # aiokafka's position is past records that were dropped here
        self._unread: frozenset[TP] = frozenset()
        self._twins = Twins(self.app.conf.consumer_group_instance_id)
        self._progress = asyncio.Event()
        self._committing = asyncio.Lock()

    def _new_consumer_thread(self) -> BatchThread:
        return BatchThread(self, loop=self.loop, beacon=self.beacon)

    # -- fetching

    async def _getmany(
        self,
        active_partitions: set[TP] | None,
        timeout: float,  # noqa: ASYNC109 - Faust's signature
    ) -> Mapping[TP, Sequence[RecordBatch]]:
        if self._passed_over:
            await self._seek_again()
        epoch = self._epoch
        room = {tp for tp in active_partitions or () if self._inflight.has_room(tp) and not self._passed_over}
        fetched = await self._thread.fetch(room, timeout)
        if epoch != self._epoch or not self.flow_active:
            # Whose records are these? A rebalance came between. Its own seek may lie before or behind this fetch.
            self._passed_over |= bool(fetched.records)
            return {}
        batches: dict[TP, Sequence[RecordBatch]] = {}
        for raw, records in fetched.records.items():
            tp = TP(*raw)
            batch = RecordBatch(tp, records, self)
            self._inflight.opened(batch)
            # Faust drops what lies before its own idea of the position; ours is the in-flight account.
            self._read_offset[tp] = None
            batches[tp] = [batch]
        for tp, position in fetched.positions.items():
            self._inflight.reached(tp, position)
        return batches

    async def _seek_again(self) -> None:
        with suppress(IllegalStateError):  # another rebalance came; nothing is fetched before it is over
            self._passed_over = not await self._seek()

    def _to_message(self, tp: TP, record: RecordBatch) -> ConsumerMessage:
        message = ConsumerMessage(
            topic=tp.topic,
            partition=tp.partition,
            offset=record.first,
            timestamp=record.records[0].timestamp / 1000.0,
            timestamp_type=0,
            headers=None,
            key=None,
            value=record,
            checksum=None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )
        # Born acknowledged, as far as Faust is concerned: streams acknowledge what they skip in a rebalance even
        # with noack(), and the compiled path goes around Consumer.ack.
        message.acked = message.tracked = True
        return message

    async def perform_seek(self) -> None:
        """Start over from the committed offsets. Faust calls this before the flow resumes, and whenever it stopped."""
        await self._seek()

    async def _seek(self) -> bool:
        """Seek, and say whether that was done."""
        if self._revoked or self.app.should_stop:
            return False  # what agents have begun is being waited for, and may still be acknowledged
        self._inflight.resumed(await self._thread.seek_to_committed(self.app.starts()))
        self.app.flow()
        return True

    # -- the way of a batch

    def begun(self, batch: RecordBatch) -> None:
        """An agent took this batch."""
        self._inflight.begun(batch)

    def acknowledge(self, batch: RecordBatch) -> bool:
        if not self._inflight.acked(batch):
            return False
        self._large.done(batch)
        self._moved()
        return True

    def abandon(self, batch: RecordBatch) -> None:
        self._inflight.abandoned(batch)
        self._moved()

    def holds(self, batch: RecordBatch) -> bool:
        return self._inflight.holds(batch)

    def upto(self, batch: RecordBatch) -> int:
        return self._inflight.upto(batch)

    def excuse(self) -> None:
        self._inflight.excuse()

    @property
    def between_assignments(self) -> bool:
        """Whether the partitions were revoked, and no assignment has followed yet."""
        return self._revoked

    def _moved(self) -> None:
        self._progress.set()
        self._thread.wake()

    def lag(self) -> dict[TP, int]:
        """Records of each assigned partition that are not acknowledged, as of its last fetch.

        May be called by any thread. A full partition is not fetched, so that what arrives meanwhile is not in it.
        """
        ends = self._thread.ends()
        return {tp: max(0, ends[tp] - done) for tp, done in self._inflight.reached_safely().items() if tp in ends}

    def unread(self) -> dict[str, int]:
        """How many partitions of each topic no member has, or could not be fetched for a while."""
        return {topic: sum(tp.topic == topic for tp in self._unread) for topic in self.app.topics_read}

    async def fresh_counts(self) -> Counts:
        """Return how many partitions the topics have now."""
        return await self._thread.fresh_counts()

    # -- committing

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:  # noqa: ARG002 - Faust's signature
        """Commit every offset that is safe. Replaces Faust's commit, which can pass an unacknowledged message."""
        async with self._committing:
            epoch, offsets = self._epoch, self._inflight.committable()
            if not offsets or not await self._thread.commit(offsets):
                return False
            if epoch == self._epoch:
                self._inflight.committed(offsets)
            self.app.monitor.on_tp_commit(offsets)
            return True

    def recorded(self, tp: TP, offset: int) -> None:
        """An agent's own transaction has committed this offset."""
        self._inflight.committed({tp: offset})
        self.app.monitor.on_tp_commit({tp: offset})

    @Service.task  # type: ignore[untyped-decorator]  # mode is untyped
    async def _settle(self) -> None:
        """Have positions committed that moved past no record, in the topics that commit themselves."""
        async for _ in self.itertimer(self.commit_interval, name="settle"):
            if self.flow_active and not self._revoked:
                for tp, offset in self._inflight.owed().items():
                    self.app.owe(tp, offset)

    # -- rebalance and stop

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        self._epoch += 1
        self._revoked = True
        self.stop_flow()
        self.app.flow_control.suspend()
        self.app.flow_control.clear()  # not begun: the next owner reads them
        self._thread.wake()
        if not self.app.should_stop:
            await self._drain()
        self._inflight.forget()
        await self.app.release()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        self._epoch += 1
        self._revoked = False
        self._inflight.forget()
        try:
            self._twins.joined_as(self._thread.member_id)
        except InstanceTaken as error:
            await self.crash(error)
        await super().on_partitions_assigned(assigned, generation_id)

    async def wait_empty(self) -> None:
        """Faust calls this on a rebalance and on a stop."""
        await self._drain()

    async def _drain(self) -> None:
        """Wait a bounded moment for what agents have begun, then commit what is acknowledged."""
        until = monotonic() + self.app.engine.drain_seconds
        while self._inflight.worth_waiting() and not self._ending_by_crash:
            left = until - monotonic()
            if left <= 0:
                break
            self._progress.clear()
            try:
                async with asyncio.timeout(min(left, 0.5)):  # looks up now and then: a crash sets no event
                    await self._progress.wait()
            except TimeoutError:
                continue
        if not self._ending_by_crash:
            await self.commit()

    @property
    def _ending_by_crash(self) -> bool:
        # A crash stops the queue of calls into the consumer thread first: a commit might never come back from it.
        return bool(self.app.crashed or self.crashed)

    async def on_task_error(self, exc: BaseException) -> None:
        """Faust would commit here, in the middle of a crash. What is acknowledged but not committed is read again."""

    # -- watching

    @Service.task  # type: ignore[untyped-decorator]  # mode is untyped
    async def _watch_stall(self) -> None:
        limit = self.app.engine.stall_seconds
        async for _ in self.itertimer(min(limit / 4, 5.0), name="stall"):
            batch = self._inflight.stalled(limit)
            if batch is not None:
                await self.crash(
                    BatchStalled(
                        f"{batch!r} was not acknowledged, nor anything else of its topic, in {limit} s",
                        where=f"topic {batch.tp.topic}, partition {batch.tp.partition}, offset {batch.first}",
                        mend="The worker ends and reads it again; if it comes back, look at what the agent waits for.",
                    )
                )
                return

    @Service.task  # type: ignore[untyped-decorator]  # mode is untyped
    async def _watch_group(self) -> None:
        """End the worker when its group refuses it, or its topics are others. Neither Faust nor aiokafka notice it."""
        async for _ in self.itertimer(1.0, name="group"):
            watched = await self._thread.watch()
            for tp in sorted(watched.unread - self._unread):
                self.log.error("nothing was read of topic %s, partition %d for %s s", *tp, UNREAD_SECONDS)
            self._unread = watched.unread
            try:
                self._refuse(watched)
            except EngineError as error:
                await self.crash(error)
                return

    def _refuse(self, watched: Watched) -> None:
        if watched.ended_by is not None:
            raise GroupLost(
                f"fetching or the group's coordination failed: {type(watched.ended_by).__name__}: {watched.ended_by}",
                where=f"group {self.app.conf.id}, instance {self.app.conf.consumer_group_instance_id}",
                mend="The worker ends and joins again; if it comes back, look at the broker's log.",
            )
        self.app.refuse_other_counts(watched.counts)

    async def verify_all_partitions_active(self) -> None:
        """Faust's livelock detector takes a full partition for a dead one; `_watch_stall` stands in for it."""


class BatchTransport(driver.Transport):  # type: ignore[misc]  # faust is untyped
    """Kafka, in batches."""

    Consumer = BatchConsumer


class Fetcher(Protocol):
    """The part of aiokafka's fetcher that is used here."""

    async def fetched_records(
        self,
        partitions: set[TP],
        timeout: float,  # noqa: ASYNC109 - aiokafka's signature
        max_records: int | None,
    ) -> Mapping[TP, Sequence[Record]]: ...


async def records_or_wake(
    fetcher: Fetcher, wake: asyncio.Event, tps: set[TP], seconds: float, max_records: int | None
) -> Mapping[TP, Sequence[Record]]:
    """Return what has arrived for `tps`; nothing once `seconds` are over or `wake` is set, which is then cleared."""
    waits: set[asyncio.Future[Any]] = {asyncio.ensure_future(wake.wait())}
    arrived: asyncio.Future[Mapping[TP, Sequence[Record]]] | None = None
    if tps:  # to aiokafka, no partitions would mean all of them
        arrived = asyncio.ensure_future(fetcher.fetched_records(tps, timeout=seconds, max_records=max_records))
        waits.add(arrived)
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        # Safe: fetched_records takes records out right before it returns, so a cancelled one has taken none.
        for wait in waits:
            wait.cancel()
    wake.clear()
    return arrived.result() if arrived is not None and arrived.done() else {}


async def seek_to_committed(
    consumer: aiokafka.AIOKafkaConsumer, starts: Mapping[TP, int] | None = None
) -> Mapping[TP, int | None]:
    """Move every assigned partition to its committed offset, or to its beginning, and return what is committed.

    Where `starts` is further on, it counts: what lies before it is in a state already.

    aiokafka's own leaves the position alone where nothing (or 0) is committed, and so would skip what was fetched and
    dropped before the first commit.
    """
    tps = list(consumer.assignment())
    # Asked of all at once: a worker of a dozen topics would start a fifth of a second later otherwise.
    offsets = dict(zip(tps, await asyncio.gather(*(consumer.committed(tp) for tp in tps)), strict=True))
    new = []
    for tp, offset in offsets.items():
        known = [place for place in (offset, (starts or {}).get(TP(*tp))) if place is not None]
        if known:
            consumer.seek(tp, max(known))
        else:
            new.append(tp)
    if new:  # of none, aiokafka would take all
        await consumer.seek_to_beginning(*new)
    return {TP(*tp): offset for tp, offset in offsets.items()}


def _ended_by(consumer: aiokafka.AIOKafkaConsumer) -> KafkaError | None:
    """aiokafka keeps it until it is asked, by the one method of its own that we don't call."""
    fetching = consumer._fetcher.error_future
    try:
        consumer._coordinator.check_errors()
        if fetching.done() and not consumer._closed:
            fetching.result()
    except KafkaError as error:
        return error
    return None


def _first(offsets: Mapping[TP, int]) -> str:
    tp = min(offsets)
    return f"{offsets[tp]} of topic {tp.topic}, partition {tp.partition}"


def _milliseconds(seconds: float | None) -> int:
    return int((seconds or 0) * 1000)
