"""`faust.App` with batch topics, and with settings under which a worker fails instead of losing.

In:  the names of topics that exist already, and an agent for each.
Out: an app that `run_app` runs. It refuses to start where an acknowledgement could be lost.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import faust
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError
from faust.sensors import Sensor
from faust.transport.drivers import aiokafka as driver
from mode.supervisors import CrashingSupervisor

from processors.engine.batch import TP, RecordBatch
from processors.engine.errors import BrokerAway, SetupError
from processors.engine.groups import GroupWriter
from processors.engine.transport import BatchConsumer, BatchTransport

LARGEST_RECORD_BYTES = 8 * 2**20
Isolation = Literal["read_committed", "read_uncommitted"]


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What is the engine's own, beside Faust's settings; README.md says why each has its value."""

    inflight: int
    drain_seconds: float
    stall_seconds: float
    isolation: Isolation
    fetch_bytes: int
    after_large: Callable[[], None]


FAIL_INSTEAD_OF_LOSING: dict[str, Any] = {
    "agent_supervisor": CrashingSupervisor,  # the default restarts an agent as a zombie that takes nothing
    "autodiscover": False,
    "broker_commit_interval": 1.0,
    "broker_max_poll_records": 5000,
    "broker_session_timeout": 10.0,
    "broker_heartbeat_interval": 3.0,
    "consumer_auto_offset_reset": "earliest",
    "stream_wait_empty": True,
    "topic_allow_declare": False,  # topics are made by a command of their own, with the right partitions
    "topic_disable_leader": True,
    "web_enabled": False,
}


class _BatchSchema(faust.Schema):  # type: ignore[misc]  # faust is untyped
    """Hands the batch through: decoding is the agent's, in bulk."""

    def compile(self, app: Any, **_: Any) -> Any:
        async def decode(message: Any, *, propagate: bool = False) -> Any:  # noqa: ARG001 - Faust's signature
            return app.create_event(None, message.value, None, message)

        return decode


class _Begun(Sensor):  # type: ignore[misc]  # faust is untyped
    """Tells the consumer when an agent takes a batch: those are worth waiting for."""

    def __init__(self, app: MicroBatchApp) -> None:
        self._app = app
        super().__init__()

    def on_stream_event_in(self, tp: Any, offset: int, stream: Any, event: Any) -> None:  # noqa: ARG002 - Faust's signature
        if isinstance(event.value, RecordBatch):
            consumer: BatchConsumer = self._app.consumer
            consumer.begun(event.value)


class Keyed(Protocol):
    """What the app needs of an agent that owns state (`keyed.py`)."""

    source: str
    changelog: str
    outputs: frozenset[str]

    @property
    def partitions(self) -> int: ...

    def check(self, partitions: Mapping[str, int], cleanup: Mapping[str, str]) -> None: ...
    def check_count(self, counts: Mapping[str, int]) -> None: ...
    async def take_over(self, tps: set[TP]) -> bool: ...
    def flow(self) -> None: ...
    def owe(self, tp: TP, offset: int) -> None: ...
    def positions(self) -> Mapping[TP, int]: ...
    async def release(self) -> None: ...


class MicroBatchApp(faust.App):  # type: ignore[misc]  # faust is untyped
    """An app whose agents take `RecordBatch`es, and acknowledge them themselves."""

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
        fetch_bytes: int = LARGEST_RECORD_BYTES + 2**16,
        metadata_max_age: float = 60.0,
        after_large: Callable[[], None] = lambda: None,
        **settings: Any,
    ) -> None:
        """Make an app; nothing is opened before it starts.

        `app_id` is the consumer group. `instance` names this replica and stays the same over restarts, so that a
        restart within the session timeout moves no partitions. `inflight` is how many batches of one partition may be
        out; `drain`, the seconds that a rebalance or a stop waits for begun batches; `stall`, the seconds without any
        acknowledgement after which the worker ends; `fetch_bytes`, of one partition in one fetch, must hold the
        largest record; `metadata_max_age`, the seconds after which new partitions are noticed at the latest;
        `after_large` is called some time after large records were acknowledged. Other `settings` are Faust's.
        """
        self.engine = EngineSettings(inflight, drain, stall, isolation, fetch_bytes, after_large)
        self.stopping = asyncio.Event()
        self._batch_topics: dict[str, Any] = {}
        self._writers: list[GroupWriter] = []
        self._keyed: dict[str, Keyed] = {}  # by source
        self._before_flow: list[Callable[[], None]] = []
        super().__init__(
            app_id,
            broker=broker,
            datadir=str(datadir),
            consumer_group_instance_id=instance,
            consumer_metadata_max_age_ms=int(metadata_max_age * 1000),
            **{**FAIL_INSTEAD_OF_LOSING, **settings},
        )
        self.sensors.add(_Begun(self))
        self.on_rebalance_complete.connect(self._take_over, weak=False)

    # -- wiring

    def batch_topic(self, name: str, **options: Any) -> Any:
        """Return the Faust topic `name`, whose stream yields `RecordBatch`es. The topic must exist."""
        self._batch_topics[name] = topic = self.topic(name, acks=False, schema=_BatchSchema(), **options)
        return topic

    def attach(self, topic: Any, writer: GroupWriter) -> None:
        """Make the agent that feeds `topic` to `writer`."""

        async def feed(batches: Any) -> None:
            async for batch in batches:
                await writer.put(batch)

        self.agent(topic, name=f"feed.{topic.get_topic_name()}")(feed)

    def adopt(self, writer: GroupWriter) -> None:
        """Close `writer` when the app stops."""
        self._writers.append(writer)

    def own(self, agent: Keyed) -> None:
        """Give `agent` its partitions at each assignment, and leave their commits to its transactions."""
        self._keyed[agent.source] = agent

    def before_flow(self, callback: Callable[[], None]) -> None:
        """Call `callback` after each assignment, when states are restored and right before records flow."""
        self._before_flow.append(callback)

    def client_settings(self) -> dict[str, Any]:
        """Return how to reach the brokers, in aiokafka's words."""
        conf = self.conf
        auth = driver.credentials_to_aiokafka_auth(conf.broker_credentials, conf.ssl_context)
        return {"bootstrap_servers": self._brokers, "client_id": conf.broker_client_id, **auth}

    @property
    def self_committing(self) -> Mapping[str, Keyed]:
        """The topics whose offsets the transactions of their agents commit, and nobody else."""
        return self._keyed

    def excuse(self) -> None:
        """Say that nothing is acknowledged for a known reason, so that it is no stall."""
        self._batch_consumer.excuse()

    def lag(self) -> dict[TP, int]:
        """Return the records of each assigned partition that are not acknowledged, as of its last fetch.

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
        """How many partitions the sources of agents that own state have, once they were looked at: fixed at birth."""
        return {source: agent.partitions for source, agent in self._keyed.items() if agent.partitions}

    def refuse_other_counts(self, counts: Mapping[str, int]) -> None:
        """Raise SetupError where a keyed topic has another partition count than at the start."""
        for agent in self._keyed.values():
            agent.check_count(counts)

    # -- for agents that own state

    def recorded(self, tp: TP, offset: int) -> None:
        """Take in that an agent's own transaction has committed this offset."""
        self._batch_consumer.recorded(tp, offset)

    def owe(self, tp: TP, offset: int) -> None:
        """Have the agent of this partition commit a position that no record leads up to."""
        self._keyed[tp.topic].owe(tp, offset)

    def starts(self) -> dict[TP, int]:
        """Where states say that their partitions go on, whatever the group has committed."""
        return {tp: position for agent in self._keyed.values() for tp, position in agent.positions().items()}

    def flow(self) -> None:
        """Let records into the agents that own state: the positions are sought."""
        for agent in self._keyed.values():
            agent.flow()

    async def release(self) -> None:
        """Let go of all state: the partitions are revoked."""
        await asyncio.gather(*(agent.release() for agent in self._keyed.values()))

    async def _take_over(self, *_: object, **__: object) -> None:
        # Faust awaits this before it seeks and lets records flow; of on_partitions_assigned it would not wait.
        if self._batch_consumer.between_assignments or self.should_stop:
            return  # what was assigned is gone again, and the next assignment comes by here as well
        tps = {TP(*tp) for tp in self.consumer.assignment()}
        if self._keyed:
            self.refuse_other_counts(await self._batch_consumer.fresh_counts())
        done = await asyncio.gather(*(agent.take_over(tps) for agent in self._keyed.values()))
        if all(done):
            for callback in self._before_flow:
                callback()

    @property
    def _batch_consumer(self) -> BatchConsumer:
        consumer: BatchConsumer = self.consumer
        return consumer

    def _new_transport(self) -> BatchTransport:
        return BatchTransport(self.conf.broker_consumer, self)

    # -- life

    async def on_first_start(self) -> None:
        self._refuse_unsafe_agents()
        self._refuse_unsafe_changelogs()
        await self._refuse_unfit_topics()
        Path(self.conf.datadir).mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - once, before anything runs
        await super().on_first_start()

    async def on_stop(self) -> None:
        self.stopping.set()  # before the drain: who waits for the world gives up, and is not waited for
        await super().on_stop()
        await self.release()
        for writer in self._writers:
            await writer.close()

    def _refuse_unsafe_agents(self) -> None:
        readers = Counter(name for agent in self.agents.values() for name in agent.channel.topics)
        shared = sorted(name for name, count in readers.items() if count > 1)
        if shared:
            raise SetupError(
                f"two agents read {', '.join(shared)}, and one's acknowledgement would count for the other",
                where=f"app {self.conf.id}",
                mend="Give each topic one agent, or the second one an app (a consumer group) of its own.",
            )
        plain = sorted(set(readers) - set(self._batch_topics))
        if plain:
            raise SetupError(
                f"{', '.join(plain)} is read as a plain Faust topic, which acknowledges what an agent failed on",
                where=f"app {self.conf.id}",
                mend="Make the topic with batch_topic().",
            )
        if not readers:
            raise SetupError(
                "no agent reads anything", where=f"app {self.conf.id}", mend="Attach one to a batch topic."
            )

    def _refuse_unsafe_changelogs(self) -> None:
        changelogs = Counter(agent.changelog for agent in self._keyed.values())
        shared = sorted(name for name in changelogs if changelogs[name] > 1 or name in self._batch_topics)
        if shared:
            raise SetupError(
                f"{', '.join(shared)} is the changelog of one agent and something else besides",
                where=f"app {self.conf.id}",
                mend="Give each agent that owns state a changelog of its own.",
            )
        if self._keyed and self.engine.isolation != "read_committed":
            raise SetupError(
                "an agent that owns state would read what transactions took back",
                where=f"app {self.conf.id}",
                mend='Leave isolation at "read_committed".',
            )

    async def _refuse_unfit_topics(self) -> None:
        keyed = self._keyed.values()
        changelogs = {agent.changelog for agent in keyed}
        needed = {*self._batch_topics, *changelogs, *(name for agent in keyed for name in agent.outputs)}
        partitions, cleanup = await self._found(changelogs)
        missing = sorted(needed - set(partitions))
        if missing:
            raise SetupError(
                f"no such topic: {', '.join(missing)}",
                where=f"broker {self._brokers}",
                mend="Create the topics first; the worker does not, since it can't know their partition counts.",
            )
        for agent in keyed:
            agent.check(partitions, cleanup)

    async def _found(self, changelogs: set[str]) -> tuple[dict[str, int], dict[str, str]]:
        """Return the partition counts of all topics, and the clean-up policies of these."""
        admin = AIOKafkaAdminClient(**self.client_settings())
        try:
            await admin.start()
            partitions = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}
            return partitions, await _cleanup_policies(admin, changelogs & set(partitions))
        except KafkaConnectionError as error:
            raise BrokerAway(
                "no Kafka broker answers", where=f"broker {self._brokers}", mend="Start it; a restart then succeeds."
            ) from error
        finally:
            await admin.close()

    @property
    def _brokers(self) -> list[str]:
        brokers: list[str] = driver.server_list(self.conf.broker_consumer, BatchTransport.default_port)
        return brokers


async def _cleanup_policies(admin: AIOKafkaAdminClient, names: set[str]) -> dict[str, str]:
    if not names:
        return {}
    asked = [ConfigResource(ConfigResourceType.TOPIC, name, configs={"cleanup.policy": ""}) for name in sorted(names)]
    answers = await admin.describe_configs(asked)
    return {
        resource[3]: entry[1]
        for answer in answers
        for resource in answer.resources
        for entry in resource[4]
        if entry[0] == "cleanup.policy"
    }
