"""The Faust transport that delivers one `RecordBatch` to an agent for each fetched run of records of a partition.

Promises at-least-once: a batch is in flight from its fetch until `RecordBatch.ack()`. Nothing else acknowledges it: not
the end of an iteration, not an exception, not a cancelled agent. Faust's acknowledgement and commit are replaced
completely; the numbered list in README.md says what each part guards against.

Two threads: aiokafka runs in Faust's consumer thread (`BatchThread`), agents and all bookkeeping in the main thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import aiokafka
from aiokafka.errors import CommitFailedError, ConsumerStoppedError, IllegalStateError, KafkaError
from faust.transport.drivers import aiokafka as driver
from faust.types.tuples import ConsumerMessage
from mode import Service

from processors.engine import internals
from processors.engine.assignment import (
    Assignor,
    PartitionCounts,
    ReassignmentRequests,
    SubscribedTopics,
    is_outdated,
    partition_counts,
)
from processors.engine.batch import TP, Inflight, Record, RecordBatch
from processors.engine.consumer import new_consumer
from processors.engine.duplicate_instances import DuplicateInstanceDetector
from processors.engine.errors import BatchStalled, EngineError, GroupLost, InstanceTaken, KafkaRefused
from processors.engine.interfaces import ConsumerApp
from processors.engine.large import AfterLarge


@dataclass(frozen=True, slots=True)
class FetchResult:
    """The result of one poll: records, and the position of each assigned partition at that time."""

    records: Mapping[TP, Sequence[Record]] = field(default_factory=dict)
    positions: Mapping[TP, int] = field(default_factory=dict)


NO_RECORDS = FetchResult()


@dataclass(frozen=True, slots=True)
class ConsumerStatus:
    """The state of the consumer, checked once per second."""

    ended_by: KafkaError | None
    """The error that ended fetching or group coordination, if there was one."""
    counts: PartitionCounts
    """The partition counts of the subscribed topics."""
    unread: frozenset[TP]
    """Partitions that no member has, and own partitions that could not be fetched, for UNREAD_SECONDS."""


UNREAD_SECONDS = 60.0
ENDS_SECONDS = 5.0
"""How often the ends of full partitions are asked for."""
REFRESH_SECONDS = 5.0
"""How long an assignment waits for current partition counts from the brokers."""

GATHER_SECONDS = 0.01
"""How long to wait after a fetch of few records, so that more arrive. A fetch request covers every partition and costs
the same for one record as for hundreds. aiokafka sends none while fetched records are waiting."""
FEW_RECORDS = 500


class BatchThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]  # faust is untyped
    """aiokafka's consumer, in its own thread and event loop."""

    app: ConsumerApp

    async def on_start(self) -> None:
        self._wake = asyncio.Event()
        self._gather_until = 0.0
        self._assignor = Assignor(self._counts)
        self._reassignment = ReassignmentRequests(self.app.conf.consumer_metadata_max_age_ms / 1000, self.app.clock)
        self._refreshing: asyncio.Future[bool] | None = None
        self._read_at: dict[TP, tuple[int | None, float]] = {}
        self._ends: Mapping[TP, int] = {}
        self._ends_asked_at = 0.0
        self._asking_for_ends: asyncio.Task[None] | None = None
        await super().on_start()

    async def on_thread_stop(self) -> None:
        if self._asking_for_ends is not None:  # without a broker it would outlive its event loop
            self._asking_for_ends.cancel()
        await super().on_thread_stop()

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
        internals.replace_subscription(consumer, SubscribedTopics())
        return consumer

    def _counts(self, topics: Iterable[str]) -> PartitionCounts:
        return partition_counts(internals.cluster(self._ensure_consumer()), topics)

    @property
    def member_id(self) -> str:
        return internals.member_id(self._ensure_consumer())

    async def check(self) -> ConsumerStatus:
        """Check errors, partition counts and unread partitions; request a reassignment if it is outdated.

        Does not wait for requests. aiokafka's group leader watches topics too, but not after a static member returned.
        """
        status: ConsumerStatus = await self.call_thread(self._check, self._ensure_consumer())
        return status

    async def _check(self, consumer: aiokafka.AIOKafkaConsumer) -> ConsumerStatus:
        counts = self._counts(internals.subscription(consumer).topics)
        self._ask_for_ends(consumer)
        if not internals.subscription(consumer).reassignment_in_progress:
            self._reassign_if_outdated(consumer, counts)
        return ConsumerStatus(internals.end_error(consumer), counts, self._unread(consumer, counts))

    def _reassign_if_outdated(self, consumer: aiokafka.AIOKafkaConsumer, counts: PartitionCounts) -> None:
        based_on, has_unsubscribed = self._assignor.based_on, internals.subscription(consumer).has_unsubscribed
        if not is_outdated(counts, based_on, has_unsubscribed=has_unsubscribed):
            self._reassignment.reset()
            self._refreshing = None
        elif self._reassignment.may_request(counts, based_on):
            if self._refreshing is None:  # our own metadata may be the outdated one
                self._refreshing = internals.refresh_metadata(consumer)
            elif self._refreshing.done():
                refreshed, self._refreshing = self._refreshing.result(), None
                if refreshed:
                    self._request_reassignment(consumer, counts)

    def _request_reassignment(self, consumer: aiokafka.AIOKafkaConsumer, counts: PartitionCounts) -> None:
        self.log.warning(
            "requesting a reassignment: partition counts are %s, assigned were %s", counts, self._assignor.based_on
        )
        self._reassignment.requested(counts)
        self._assignor.request()
        internals.rejoin(consumer)

    def _ask_for_ends(self, consumer: aiokafka.AIOKafkaConsumer) -> None:
        """Ask for the ends of full partitions, which are not fetched: what arrives meanwhile is lag, too."""
        full = [
            tp for tp in internals.subscription(consumer).assigned_partitions() if internals.is_buffered(consumer, tp)
        ]
        if not full:
            self._ends = {}
        elif self.app.clock() - self._ends_asked_at >= ENDS_SECONDS and (
            self._asking_for_ends is None or self._asking_for_ends.done()
        ):
            self._ends_asked_at = self.app.clock()
            self._asking_for_ends = asyncio.create_task(self._note_ends(consumer, full), name="ends")

    async def _note_ends(self, consumer: aiokafka.AIOKafkaConsumer, full: Sequence[aiokafka.TopicPartition]) -> None:
        try:
            ends = await consumer.end_offsets(full)
        except KafkaError:  # no broker answers, or the consumer stops: asked again
            return
        self._ends = {TP(*tp): end for tp, end in ends.items()}

    def _unread(self, consumer: aiokafka.AIOKafkaConsumer, counts: PartitionCounts) -> frozenset[TP]:
        now, before = self.app.clock(), self._read_at
        self._read_at = {}
        known = {TP(topic, partition) for topic, count in counts.items() for partition in range(count)}
        # Own partitions too: a deleted topic is not in the metadata.
        for tp in known | {TP(*tp) for tp in internals.subscription(consumer).assigned_partitions()}:
            fetched = self._fetched_at(consumer, tp)
            at, since = before.get(tp, (fetched, now))
            self._read_at[tp] = (fetched, now if fetched is None or fetched != at else since)
        return frozenset(tp for tp, (_, since) in self._read_at.items() if now - since > UNREAD_SECONDS)

    def _fetched_at(self, consumer: aiokafka.AIOKafkaConsumer, tp: TP) -> int | None:
        """When a partition was last fetched, in milliseconds; None if it is full, or another member has it."""
        assignment = internals.assignment(consumer)
        state = assignment.state_value(tp) if assignment is not None else None
        if state is None:
            based_on = self._assignor.based_on
            return None if based_on is None or tp.partition < based_on.get(tp.topic, 0) else 0
        return None if internals.is_buffered(consumer, tp) else state.timestamp or 0

    async def fresh_counts(self) -> PartitionCounts:
        """Return the partition counts of the subscribed topics; the last known ones if no broker answers."""
        counts: PartitionCounts = await self.call_thread(self._fresh_counts, self._ensure_consumer())
        return counts

    async def _fresh_counts(self, consumer: aiokafka.AIOKafkaConsumer) -> PartitionCounts:
        await asyncio.wait({internals.refresh_metadata(consumer)}, timeout=REFRESH_SECONDS)
        return self._counts(internals.subscription(consumer).topics)

    def _refused(self, what: str, error: KafkaError) -> KafkaRefused:
        return KafkaRefused(
            f"{what}: {type(error).__name__}: {error}",
            where=f"group {self.app.conf.id}",
            mend="The worker ends and continues from the committed offsets. If it happens again, fix what the error "
            "names, for example a permission.",
        )

    def wake(self) -> None:
        """End a running `fetch` early. Callable from any thread."""
        if self.thread_loop.is_running():
            self.thread_loop.call_soon_threadsafe(self._wake.set)

    async def fetch(self, tps: set[TP], seconds: float) -> FetchResult:
        """Return the records that have arrived for `tps`, waiting up to `seconds` for the first."""
        fetched: FetchResult = await self.call_thread(self._fetch, self._ensure_consumer(), tps, seconds)
        return fetched

    async def _fetch(self, consumer: aiokafka.AIOKafkaConsumer, tps: set[TP], seconds: float) -> FetchResult:
        if not self.consumer.flow_active:
            return NO_RECORDS
        if internals.is_closed(consumer):
            raise ConsumerStoppedError
        # Within this context aiokafka treats us as polling, so that a worker with a slow sink and full partitions
        # remains a member of the group.
        with internals.polling(consumer):
            await asyncio.sleep(max(0.0, self._gather_until - self.app.clock()))
            try:
                fetcher, most = internals.fetcher(consumer), internals.max_poll_records(consumer)
                records = await records_or_wake(fetcher, self._wake, tps, seconds, most)
            except KafkaError as error:
                raise self._refused("Kafka refuses a fetch", error) from error
            few = 0 < sum(map(len, records.values())) < FEW_RECORDS
            self._gather_until = self.app.clock() + GATHER_SECONDS if few else 0.0
            return FetchResult(records, self._positions(consumer))

    def _positions(self, consumer: aiokafka.AIOKafkaConsumer) -> Mapping[TP, int]:
        assignment = internals.assignment(consumer)
        if assignment is None or not assignment.active:
            return {}
        states = {tp: assignment.state_value(tp) for tp in assignment.tps}
        return {TP(*tp): state.position for tp, state in states.items() if state.has_valid_position}

    def ends(self) -> Mapping[TP, int]:
        """The end of each assigned partition, as far as it is readable: without open transactions.

        At its last fetch; for a full partition, which is not fetched, some seconds ago.
        """
        assignment = internals.assignment(self._consumer) if self._consumer is not None else None
        if assignment is None:
            return {}
        states = {tp: assignment.state_value(tp) for tp in assignment.tps}
        committed_only = self.app.engine.isolation == "read_committed"
        ends = {TP(*tp): state.lso if committed_only else state.highwater for tp, state in states.items()}
        return {tp: max(end, self._ends.get(tp, 0)) for tp, end in ends.items() if end is not None}

    async def seek_to_committed(self, starts: Mapping[TP, int]) -> Mapping[TP, int | None]:
        consumer = self._ensure_consumer()
        offsets: Mapping[TP, int | None] = await self.call_thread(seek_to_committed, consumer, starts)
        return offsets

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit. False if the group has rebalanced, and another member reads these records.

        While the broker is unavailable this does not return: aiokafka retries forever.
        """
        try:
            await self._ensure_consumer().commit({aiokafka.TopicPartition(*tp): o for tp, o in offsets.items()})
        except (CommitFailedError, IllegalStateError) as exc:
            self.log.info("commit refused, the records are read again: %s", type(exc).__name__)
            return False
        except KafkaError as error:  # aiokafka has retried what is retriable
            raise self._refused(f"Kafka refuses a commit, of {_first(offsets)} among others", error) from error
        return True


class BatchConsumer(driver.Consumer):  # type: ignore[misc]  # faust is untyped
    """Fetches batches, tracks them, commits what is acknowledged, and handles rebalances."""

    app: ConsumerApp
    _thread: BatchThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._inflight = Inflight(self.app.engine.inflight, self.app.clock, self_committing=self.app.self_committing)
        self._large = AfterLarge(self.app.engine.after_large)
        self._epoch = 0  # changes with every revocation and assignment
        self._revoked = False  # from a revocation to the assignment that follows
        self._seek_pending = False  # aiokafka's position is past records that were dropped here
        self._unread: frozenset[TP] = frozenset()
        self._duplicate_instances = DuplicateInstanceDetector(
            self.app.conf.consumer_group_instance_id, clock=self.app.clock
        )
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
        if self._seek_pending:
            await self._seek_again()
        epoch = self._epoch
        room = {tp for tp in active_partitions or () if self._inflight.has_room(tp) and not self._seek_pending}
        fetched = await self._thread.fetch(room, timeout)
        if epoch != self._epoch or not self.flow_active:
            # A rebalance happened meanwhile, so these records may belong to another member. Its seek may have been
            # before or after this fetch.
            self._seek_pending |= bool(fetched.records)
            return {}
        batches: dict[TP, Sequence[RecordBatch]] = {}
        for raw, records in fetched.records.items():
            tp = TP(*raw)
            batch = RecordBatch(tp, records, self)
            self._inflight.opened(batch)
            # Faust drops records below its own position. Ours is in the in-flight tracker.
            self._read_offset[tp] = None
            batches[tp] = [batch]
        for tp, position in fetched.positions.items():
            self._inflight.reached(tp, position)
        return batches

    async def _seek_again(self) -> None:
        with suppress(IllegalStateError):  # another rebalance began; nothing is fetched before it is over
            self._seek_pending = not await self._seek()

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
        # Already acknowledged, as far as Faust is concerned: streams acknowledge what they skip in a rebalance even
        # with noack(), and the compiled path bypasses Consumer.ack.
        message.acked = message.tracked = True
        return message

    async def perform_seek(self) -> None:
        """Restart from the committed offsets. Faust calls this before it delivers records, and after each stop."""
        await self._seek()

    async def _seek(self) -> bool:
        """Seek. False if that was not possible now."""
        if self._revoked or self.app.should_stop:
            return False  # batches that agents have begun are awaited, and may still be acknowledged
        self._inflight.resumed(await self._thread.seek_to_committed(self.app.starts()))
        self.app.resume()
        return True

    # -- life of a batch

    def begun(self, batch: RecordBatch) -> None:
        """Note that an agent received this batch."""
        self._inflight.begun(batch)

    def acknowledge(self, batch: RecordBatch) -> bool:
        if not self._inflight.acked(batch):
            return False
        self._large.done(batch)
        self._advanced()
        return True

    def abandon(self, batch: RecordBatch) -> None:
        self._inflight.abandoned(batch)
        self._advanced()

    def holds(self, batch: RecordBatch) -> bool:
        return self._inflight.holds(batch)

    def commit_offset(self, batch: RecordBatch) -> int:
        return self._inflight.commit_offset(batch)

    def pause_stall_timer(self) -> None:
        self._inflight.pause_stall_timer()

    @property
    def between_assignments(self) -> bool:
        """Whether the partitions were revoked and not assigned again yet."""
        return self._revoked

    def _advanced(self) -> None:
        self._progress.set()
        self._thread.wake()

    def lag(self) -> dict[TP, int]:
        """Unacknowledged records of each assigned partition, as of some seconds ago. May be called by any thread."""
        ends = self._thread.ends()
        return {tp: max(0, ends[tp] - done) for tp, done in self._inflight.low_watermarks().items() if tp in ends}

    def unread(self) -> dict[str, int]:
        """How many partitions of each topic have no reader, or could not be fetched for a while."""
        return {topic: sum(tp.topic == topic for tp in self._unread) for topic in self.app.topics_read}

    async def fresh_counts(self) -> PartitionCounts:
        """Return the current partition counts of the topics."""
        return await self._thread.fresh_counts()

    # -- committing

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:  # noqa: ARG002 - Faust's signature
        """Commit the low watermarks. Replaces Faust's commit, which can pass an unacknowledged message."""
        async with self._committing:
            epoch, offsets = self._epoch, self._inflight.committable()
            if not offsets or not await self._thread.commit(offsets):
                return False
            if epoch == self._epoch:
                self._inflight.committed(offsets)
            self.app.monitor.on_tp_commit(offsets)
            return True

    def recorded(self, tp: TP, offset: int) -> None:
        """Note that an agent's transaction has committed this offset."""
        self._inflight.committed({tp: offset})
        self.app.monitor.on_tp_commit({tp: offset})

    @Service.task  # type: ignore[untyped-decorator]  # mode is untyped
    async def _commit_idle_positions(self) -> None:
        """Commit idle positions of self-committing topics: offsets that advanced without a record."""
        async for _ in self.itertimer(self.commit_interval, name="idle-positions"):
            if self.flow_active and not self._revoked:
                for tp, offset in self._inflight.idle_positions().items():
                    self.app.commit_idle_position(tp, offset)

    # -- rebalance and stop

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        self._epoch += 1
        self._revoked = True
        self.stop_flow()
        self.app.flow_control.suspend()
        self.app.flow_control.clear()  # not begun, so the next owner reads them
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
            self._duplicate_instances.joined_as(self._thread.member_id)
        except InstanceTaken as error:
            await self.crash(error)
        await super().on_partitions_assigned(assigned, generation_id)

    async def wait_empty(self) -> None:
        """Faust calls this on a rebalance and on a stop."""
        await self._drain()

    async def _drain(self) -> None:
        """Wait a limited time for batches that agents have begun, then commit what is acknowledged."""
        until = self.app.clock() + self.app.engine.drain_seconds
        while self._inflight.worth_waiting() and not self._ending_by_crash:
            left = until - self.app.clock()
            if left <= 0:
                break
            self._progress.clear()
            try:
                async with asyncio.timeout(min(left, 0.5)):  # checks again regularly: a crash sets no event
                    await self._progress.wait()
            except TimeoutError:
                continue
        if not self._ending_by_crash:
            await self.commit()

    @property
    def _ending_by_crash(self) -> bool:
        # A crash first stops the queue of calls into the consumer thread, so a commit might never return.
        return bool(self.app.crashed or self.crashed)

    async def on_task_error(self, exc: BaseException) -> None:
        """Do nothing: Faust would commit here, during a crash. What is acknowledged but not committed is read again."""

    # -- monitoring

    @Service.task  # type: ignore[untyped-decorator]  # mode is untyped
    async def _watch_stall(self) -> None:
        limit = self.app.engine.stall_seconds
        async for _ in self.itertimer(min(limit / 4, 5.0), name="stall"):
            batch = self._inflight.stalled(limit)
            if batch is not None:
                await self.crash(
                    BatchStalled(
                        f"{batch!r} was not acknowledged within {limit} s, nor anything else of its topic",
                        where=f"topic {batch.tp.topic}, partition {batch.tp.partition}, offset {batch.first}",
                        mend="The worker ends and reads it again. If it happens again, check what the agent waits for.",
                    )
                )
                return

    @Service.task  # type: ignore[untyped-decorator]  # mode is untyped
    async def _watch_group(self) -> None:
        """End the worker if its group refuses it or keyed topics have changed. Neither Faust nor aiokafka does it."""
        async for _ in self.itertimer(1.0, name="group"):
            status = await self._thread.check()
            for tp in sorted(status.unread - self._unread):
                self.log.error("topic %s, partition %d was not read for %s s", *tp, UNREAD_SECONDS)
            self._unread = status.unread
            try:
                self._check_status(status)
            except EngineError as error:
                await self.crash(error)
                return

    def _check_status(self, status: ConsumerStatus) -> None:
        if status.ended_by is not None:
            raise GroupLost(
                f"fetching or group coordination failed: {type(status.ended_by).__name__}: {status.ended_by}",
                where=f"group {self.app.conf.id}, instance {self.app.conf.consumer_group_instance_id}",
                mend="The worker ends and joins again. If it happens again, check the broker's log.",
            )
        self.app.check_partition_counts(status.counts)

    async def verify_all_partitions_active(self) -> None:
        """Do nothing: Faust's livelock detector treats a full partition as dead. `_watch_stall` replaces it."""


class BatchTransport(driver.Transport):  # type: ignore[misc]  # faust is untyped
    """The Kafka transport that delivers batches."""

    Consumer = BatchConsumer


class Fetcher(Protocol):
    """The part of aiokafka's fetcher that this module uses."""

    async def fetched_records(
        self,
        partitions: set[TP],
        timeout: float,  # noqa: ASYNC109 - aiokafka's signature
        max_records: int | None,
    ) -> Mapping[TP, Sequence[Record]]: ...


async def records_or_wake(
    fetcher: Fetcher, wake: asyncio.Event, tps: set[TP], seconds: float, max_records: int | None
) -> Mapping[TP, Sequence[Record]]:
    """Return what has arrived for `tps`; nothing after `seconds`, or when `wake` is set, which is then cleared."""
    waits: set[asyncio.Future[Any]] = {asyncio.ensure_future(wake.wait())}
    arrived: asyncio.Future[Mapping[TP, Sequence[Record]]] | None = None
    if tps:  # aiokafka takes an empty set to mean all partitions
        arrived = asyncio.ensure_future(fetcher.fetched_records(tps, timeout=seconds, max_records=max_records))
        waits.add(arrived)
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        # Safe: fetched_records removes records right before it returns, so a cancelled call has removed none.
        for wait in waits:
            wait.cancel()
    wake.clear()
    return arrived.result() if arrived is not None and arrived.done() else {}


async def seek_to_committed(
    consumer: aiokafka.AIOKafkaConsumer, starts: Mapping[TP, int] | None = None
) -> Mapping[TP, int | None]:
    """Move every assigned partition to its committed offset, or to its beginning, and return the committed offsets.

    If the offset in `starts` is higher, it is used: the records before it are in a state already.

    aiokafka's own function does not move the position if nothing (or 0) is committed, so it would skip records that
    were fetched and dropped before the first commit.
    """
    tps = list(consumer.assignment())
    # Concurrently: otherwise a worker with a dozen topics would start 0.2 s later.
    offsets = dict(zip(tps, await asyncio.gather(*(consumer.committed(tp) for tp in tps)), strict=True))
    new = []
    for tp, offset in offsets.items():
        known = [start for start in (offset, (starts or {}).get(TP(*tp))) if start is not None]
        if known:
            consumer.seek(tp, max(known))
        else:
            new.append(tp)
    if new:  # aiokafka takes none to mean all
        await consumer.seek_to_beginning(*new)
    return {TP(*tp): offset for tp, offset in offsets.items()}


def _first(offsets: Mapping[TP, int]) -> str:
    tp = min(offsets)
    return f"{offsets[tp]} of topic {tp.topic}, partition {tp.partition}"


def _milliseconds(seconds: float | None) -> int:
    return int((seconds or 0) * 1000)
