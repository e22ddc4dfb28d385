"""`faust.App` with batch topics, and with settings that make a worker fail instead of losing records.

In:  the names of existing topics, and an agent for each.
Out: an app for `run_app`. It refuses to start if records could be acknowledged without being processed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any

import faust
from faust.sensors import Sensor
from faust.transport.drivers import aiokafka as driver
from mode.supervisors import CrashingSupervisor

from processors.engine import preflight
from processors.engine.batch import MAX_MESSAGE_BYTES, TP, RecordBatch
from processors.engine.clock import Clock
from processors.engine.groups import GroupWriter
from processors.engine.interfaces import EngineSettings, Isolation, StatefulAgent
from processors.engine.transport import BatchConsumer, BatchTransport

FAIL_INSTEAD_OF_LOSING: dict[str, Any] = {
    "agent_supervisor": CrashingSupervisor,  # the default restarts a failed agent as one that receives nothing
    "autodiscover": False,
    "broker_commit_interval": 1.0,
    "broker_max_poll_records": 5000,
    "broker_session_timeout": 10.0,
    "broker_heartbeat_interval": 3.0,
    "consumer_auto_offset_reset": "earliest",
    "stream_wait_empty": True,
    "topic_allow_declare": False,  # a separate command creates topics, with the right partition count
    "topic_disable_leader": True,
    "web_enabled": False,
}


class _BatchSchema(faust.Schema):  # type: ignore[misc]  # faust is untyped
    """Passes the batch through: agents decode in bulk."""

    def compile(self, app: Any, **_: Any) -> Any:
        async def decode(message: Any, *, propagate: bool = False) -> Any:  # noqa: ARG001 - Faust's signature
            return app.create_event(None, message.value, None, message)

        return decode


class _BeginSensor(Sensor):  # type: ignore[misc]  # faust is untyped
    """Tells the consumer when an agent receives a batch: a stop waits for those."""

    def __init__(self, app: MicroBatchApp) -> None:
        self._app = app
        super().__init__()

    def on_stream_event_in(self, tp: Any, offset: int, stream: Any, event: Any) -> None:  # noqa: ARG002 - Faust's signature
        if isinstance(event.value, RecordBatch):
            consumer: BatchConsumer = self._app.consumer
            consumer.begun(event.value)


class MicroBatchApp(faust.App):  # type: ignore[misc]  # faust is untyped
    """An app whose agents receive `RecordBatch`es and acknowledge them themselves."""

    def __init__(
        self,
        app_id: str,
        *,
        broker: str,
        datadir: Path | str,
        instance: str | None = None,
        inflight: int = 2,
        drain: float = 10.0,
        stall: float = 120.0,
        isolation: Isolation = "read_committed",
        fetch_bytes: int = MAX_MESSAGE_BYTES,
        metadata_max_age: float = 60.0,
        after_large: Callable[[], None] = lambda: None,
        clock: Clock = monotonic,
        **settings: Any,
    ) -> None:
        """Create an app; nothing is opened before it starts.

        `app_id` is the consumer group. `instance` names this replica and stays the same over restarts, so that a
        restart within the session timeout moves no partitions. `inflight` is how many batches of one partition may be
        in flight; `drain`, the seconds that a rebalance or a stop waits for begun batches; `stall`, the seconds without
        any acknowledgement after which the worker ends; `fetch_bytes`, the size of a fetch of one partition, which must
        hold the largest record; `metadata_max_age`, the seconds within which new partitions are detected.
        `after_large` is called some time after large records were acknowledged. `clock` gives the seconds by which the
        consumer, the writers and the agents measure. Other `settings` are Faust's.
        """
        self.engine = EngineSettings(inflight, drain, stall, isolation, fetch_bytes, after_large)
        self.clock = clock
        self.stopping = asyncio.Event()
        self._batch_topics: dict[str, Any] = {}
        self._writers: list[GroupWriter] = []
        self._keyed: dict[str, StatefulAgent] = {}  # by source
        self._before_resume: list[Callable[[], None]] = []
        super().__init__(
            app_id,
            broker=broker,
            datadir=str(datadir),
            consumer_group_instance_id=instance,
            consumer_metadata_max_age_ms=int(metadata_max_age * 1000),
            **{**FAIL_INSTEAD_OF_LOSING, **settings},
        )
        self.sensors.add(_BeginSensor(self))
        self.on_rebalance_complete.connect(self._take_over, weak=False)

    # -- wiring

    def batch_topic(self, name: str, **options: Any) -> Any:
        """Return the Faust topic `name`, whose stream yields `RecordBatch`es. The topic must exist."""
        self._batch_topics[name] = topic = self.topic(name, acks=False, schema=_BatchSchema(), **options)
        return topic

    def attach(self, topic: Any, writer: GroupWriter) -> None:
        """Create the agent that passes the batches of `topic` to `writer`."""

        async def feed(batches: Any) -> None:
            async for batch in batches:
                await writer.put(batch)

        self.agent(topic, name=f"feed.{topic.get_topic_name()}")(feed)

    def register_writer(self, writer: GroupWriter) -> None:
        """Close `writer` when the app stops."""
        self._writers.append(writer)

    def register_agent(self, agent: StatefulAgent) -> None:
        """Give `agent` its partitions at each assignment. Its transactions commit their offsets."""
        self._keyed[agent.source] = agent

    def before_resume(self, callback: Callable[[], None]) -> None:
        """Call `callback` after each assignment, when states are restored and right before records are delivered."""
        self._before_resume.append(callback)

    def client_settings(self) -> dict[str, Any]:
        """Return the connection settings for aiokafka's clients."""
        conf = self.conf
        auth = driver.credentials_to_aiokafka_auth(conf.broker_credentials, conf.ssl_context)
        return {"bootstrap_servers": self._brokers, "client_id": conf.broker_client_id, **auth}

    @property
    def self_committing(self) -> Mapping[str, StatefulAgent]:
        """The topics whose offsets are only committed by the transactions of their agents."""
        return self._keyed

    def pause_stall_timer(self) -> None:
        """Note that nothing is acknowledged for a known reason, so that it is not a stall."""
        self._batch_consumer.pause_stall_timer()

    def lag(self) -> dict[TP, int]:
        """Return the unacknowledged records of each assigned partition, as of some seconds ago.

        May be called by any thread; empty before the first assignment.
        """
        return {} if self._consumer is None else self._batch_consumer.lag()

    def unread(self) -> dict[str, int]:
        """Return how many partitions of each topic have no reader, or could not be fetched for a minute.

        May be called by any thread; empty before the start.
        """
        return {} if self._consumer is None else self._batch_consumer.unread()

    @property
    def topics_read(self) -> frozenset[str]:
        """The topics that this worker reads."""
        return frozenset(self._batch_topics)

    @property
    def keyed_counts(self) -> dict[str, int]:
        """The partition counts of the sources of agents with state, known after the start. They never change."""
        return {source: agent.partitions for source, agent in self._keyed.items() if agent.partitions}

    def check_partition_counts(self, counts: Mapping[str, int]) -> None:
        """Raise SetupError if a keyed topic has another partition count than at the start."""
        for agent in self._keyed.values():
            agent.check_count(counts)

    # -- for agents with state

    def recorded(self, tp: TP, offset: int) -> None:
        """Note that an agent's transaction has committed this offset."""
        self._batch_consumer.recorded(tp, offset)

    def commit_idle_position(self, tp: TP, offset: int) -> None:
        """Make the agent of this partition commit a position that advanced without a record."""
        self._keyed[tp.topic].commit_idle_position(tp, offset)

    def starts(self) -> dict[TP, int]:
        """The next offset of each partition according to its state, which overrides the committed offset."""
        return {tp: position for agent in self._keyed.values() for tp, position in agent.positions().items()}

    def resume(self) -> None:
        """Let agents with state accept records: the seek to their positions is done."""
        for agent in self._keyed.values():
            agent.resume()

    async def release(self) -> None:
        """Release all state: the partitions are revoked."""
        await asyncio.gather(*(agent.release() for agent in self._keyed.values()))

    async def _take_over(self, *_: object, **__: object) -> None:
        # Faust awaits this before it seeks and delivers records. It would not wait for on_partitions_assigned.
        if self._batch_consumer.between_assignments or self.should_stop:
            return  # revoked again; the next assignment calls this again
        tps = {TP(*tp) for tp in self.consumer.assignment()}
        if self._keyed:
            self.check_partition_counts(await self._batch_consumer.fresh_counts())
        done = await asyncio.gather(*(agent.take_over(tps) for agent in self._keyed.values()))
        if all(done):
            for callback in self._before_resume:
                callback()

    @property
    def _batch_consumer(self) -> BatchConsumer:
        consumer: BatchConsumer = self.consumer
        return consumer

    def _new_transport(self) -> BatchTransport:
        return BatchTransport(self.conf.broker_consumer, self)

    # -- start and stop

    async def on_first_start(self) -> None:
        agents, topics = self._keyed.values(), self.topics_read
        topics_of_agents = (name for agent in self.agents.values() for name in agent.channel.topics)
        preflight.check_agents(self.conf.id, topics_of_agents, topics)
        preflight.check_changelogs(self.conf.id, agents, topics, self.engine.isolation)
        await preflight.check_topics(self.client_settings(), agents, topics)
        Path(self.conf.datadir).mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - once, before anything runs
        await super().on_first_start()

    async def on_stop(self) -> None:
        self.stopping.set()  # before the drain: retries give up and are not waited for
        await super().on_stop()
        await self.release()
        for writer in self._writers:
            await writer.close()

    @property
    def _brokers(self) -> list[str]:
        brokers: list[str] = driver.server_list(self.conf.broker_consumer, BatchTransport.default_port)
        return brokers
