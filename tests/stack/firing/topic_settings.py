"""Change a setting of a topic in Kafka, as an administrator does by mistake, and set it back."""

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

__all__ = ["change_topic"]

_OF_THE_TOPIC = 1
"""The source of a value that was set for this topic alone."""


async def change_topic(bootstrap: str, topic: str, name: str, value: str | None) -> None:
    """Set one setting of a topic; None: the broker's default. Its others stay."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        ((_, _, _, _, entries),) = answer.resources
        kept = {key: given for key, given, _, source, *_ in entries if source == _OF_THE_TOPIC and key != name}
        changed = kept if value is None else kept | {name: value}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=changed)])
    finally:
        await admin.close()
