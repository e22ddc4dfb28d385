"""Checks of an app before it starts: its agents, its changelogs and its topics.

In:  what was registered with the app; the topics of the cluster.
Out: nothing, or a SetupError that says what to change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError

from processors.engine.errors import BrokerUnavailable, SetupError
from processors.engine.interfaces import Isolation, StatefulAgent


def check_agents(app_id: str, topics_of_agents: Iterable[str], batch_topics: Collection[str]) -> None:
    """Check that each topic is a batch topic and has one agent. Raises SetupError."""
    readers = Counter(topics_of_agents)
    shared = sorted(name for name, count in readers.items() if count > 1)
    if shared:
        raise SetupError(
            f"two agents read {', '.join(shared)}, so the acknowledgement of one would count for the other",
            where=f"app {app_id}",
            mend="Use one agent per topic, or a second app (consumer group) for the second agent.",
        )
    plain = sorted(set(readers) - set(batch_topics))
    if plain:
        raise SetupError(
            f"{', '.join(plain)} is read as a plain Faust topic, which acknowledges records that an agent fails on",
            where=f"app {app_id}",
            mend="Create the topic object with batch_topic().",
        )
    if not readers:
        raise SetupError("no agent reads a topic", where=f"app {app_id}", mend="Attach one to a batch topic.")


def check_changelogs(
    app_id: str, agents: Collection[StatefulAgent], batch_topics: Collection[str], isolation: Isolation
) -> None:
    """Check that each changelog belongs to one agent, and that only committed records are read. Raises SetupError."""
    changelogs = Counter(agent.changelog for agent in agents)
    shared = sorted(name for name in changelogs if changelogs[name] > 1 or name in batch_topics)
    if shared:
        raise SetupError(
            f"{', '.join(shared)} is the changelog of one agent and also used for something else",
            where=f"app {app_id}",
            mend="Give each agent with state its own changelog.",
        )
    if agents and isolation != "read_committed":
        raise SetupError(
            "an agent with state would read records of aborted transactions",
            where=f"app {app_id}",
            mend='Leave isolation at "read_committed".',
        )


async def check_topics(
    client: Mapping[str, Any], agents: Collection[StatefulAgent], batch_topics: Collection[str]
) -> None:
    """Check that all topics exist, and those of agents with state in detail. Raises SetupError and BrokerUnavailable.

    `client` are the connection settings of aiokafka.
    """
    changelogs = {agent.changelog for agent in agents}
    needed = {*batch_topics, *changelogs, *(name for agent in agents for name in agent.outputs)}
    partitions, cleanup = await _describe_topics(client, changelogs)
    missing = sorted(needed - set(partitions))
    if missing:
        raise SetupError(
            f"no such topic: {', '.join(missing)}",
            where=f"broker {client['bootstrap_servers']}",
            mend="Create the topics first. The worker does not, since it can't know their partition counts.",
        )
    for agent in agents:
        agent.check(partitions, cleanup)


async def _describe_topics(client: Mapping[str, Any], changelogs: set[str]) -> tuple[dict[str, int], dict[str, str]]:
    """Return the partition counts of all topics, and the clean-up policies of the changelogs."""
    admin = AIOKafkaAdminClient(**client)
    try:
        await admin.start()
        partitions = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}
        return partitions, await _cleanup_policies(admin, changelogs & set(partitions))
    except KafkaConnectionError as error:
        raise BrokerUnavailable(
            "no Kafka broker answers",
            where=f"broker {client['bootstrap_servers']}",
            mend="Start it, then restart the worker.",
        ) from error
    finally:
        await admin.close()


async def _cleanup_policies(admin: AIOKafkaAdminClient, names: set[str]) -> dict[str, str]:
    if not names:
        return {}
    requested = [
        ConfigResource(ConfigResourceType.TOPIC, name, configs={"cleanup.policy": ""}) for name in sorted(names)
    ]
    answers = await admin.describe_configs(requested)
    return {
        resource[3]: entry[1]
        for answer in answers
        for resource in answer.resources
        for entry in resource[4]
        if entry[0] == "cleanup.policy"
    }
