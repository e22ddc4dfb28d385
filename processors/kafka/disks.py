"""How much room the disks of the brokers have, as metrics.

In:  the brokers' answers to DescribeLogDirs (KIP-827, Kafka 3.3 and newer), asked every half minute.
Out: two gauges for each broker, of the fullest of its disks.

Neither has a value while a broker does not answer, and where it does not say it: an older one, or one whose ACLs refuse
us `Describe` of the cluster. Workers go on without it. aiokafka's admin client has no such request, so it is here.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import structlog
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)

from schemas.errors import BrokerDenied, BrokerError
from schemas.kafka_connection import KafkaAddress, client_arguments
from schemas.log_events import LogEvent
from schemas.telemetry import BROKER_DISK_BYTES, BROKER_DISK_FREE_BYTES, Reading, Telemetry

__all__ = ["BrokerDisk", "broker_disks", "disks_watched"]

log = structlog.get_logger()

EVERY_SECONDS: Final = 30.0
_WITHIN_SECONDS: Final = 10.0
_KEY: Final = 35
_VERSION: Final = 4
"""The first version with the size of the disk."""


@dataclass(frozen=True, slots=True)
class BrokerDisk:
    """The fullest disk of a broker that has records."""

    broker: int
    total_bytes: int
    free_bytes: int
    """What the broker may still use."""


async def broker_disks(kafka: KafkaAddress) -> tuple[BrokerDisk, ...]:
    """Return the fullest disk of each broker that answers.

    Raises BrokerError if none does, and BrokerDenied if one does not say it.
    """
    try:
        async with asyncio.timeout(_WITHIN_SECONDS):
            return await _disks(kafka)
    except (KafkaError, TimeoutError, OSError) as error:
        raise BrokerError(
            f"Kafka does not say how full its disks are: {type(error).__name__}", str(kafka), "Check that it runs"
        ) from error
    except NotImplementedError as error:  # by aiokafka, if the broker knows no version that we know
        raise _denied(kafka, "it is older than Kafka 3.3", "Watch them with an exporter of the machine") from error


@asynccontextmanager
async def disks_watched(
    kafka: KafkaAddress, telemetry: Telemetry, *, every_seconds: float = EVERY_SECONDS
) -> AsyncIterator[None]:
    """Export the disks of the brokers while the block runs."""
    watch = _Watch(kafka)
    telemetry.watch(BROKER_DISK_FREE_BYTES, lambda: watch.readings(lambda disk: disk.free_bytes))
    telemetry.watch(BROKER_DISK_BYTES, lambda: watch.readings(lambda disk: disk.total_bytes))
    task = asyncio.create_task(watch.run(every_seconds), name="broker-disks")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


class _Watch:
    """The disks as they were a short time ago."""

    def __init__(self, kafka: KafkaAddress) -> None:
        self._kafka = kafka
        self._found: tuple[BrokerDisk, ...] = ()
        self._was_denied = False

    async def run(self, every_seconds: float) -> None:
        while True:
            self._found = await self._ask()
            await asyncio.sleep(every_seconds)

    def readings(self, value: Callable[[BrokerDisk], int]) -> Iterable[Reading]:
        """Called in the thread of a scrape."""
        return [Reading(value(disk), {"broker": str(disk.broker)}) for disk in self._found]

    async def _ask(self) -> tuple[BrokerDisk, ...]:
        try:
            return await broker_disks(self._kafka)
        except BrokerDenied as error:
            if not self._was_denied:
                self._was_denied = True
                log.warning(LogEvent.DISKS_NOT_READ, what=error.what, where=error.where, mend=error.mend)
        except BrokerError:
            pass  # `KafkaUnavailable` and others are about that
        return ()


async def _disks(kafka: KafkaAddress) -> tuple[BrokerDisk, ...]:
    client = AIOKafkaClient(**client_arguments(kafka), request_timeout_ms=round(_WITHIN_SECONDS * 1000))
    try:
        await client.bootstrap()
        nodes = sorted(broker.nodeId for broker in client.cluster.brokers())
        answers = await asyncio.gather(*(client.send(node, _Ask()) for node in nodes), return_exceptions=True)
    finally:
        await client.close()
    failures = [answer for answer in answers if isinstance(answer, BaseException)]
    if failures and len(failures) == len(nodes):
        raise failures[0]
    answered = [(node, one) for node, one in zip(nodes, answers, strict=True) if not isinstance(one, BaseException)]
    return tuple(disk for node, answer in answered for disk in _fullest(kafka, node, answer))


def _fullest(kafka: KafkaAddress, node: int, answer: Any) -> list[BrokerDisk]:
    if answer.error_code:
        why = for_code(answer.error_code).__name__
        raise _denied(kafka, why, "Allow our user the operation Describe of the cluster, in Kafka's ACLs")
    # A disk that has failed has an error of its own, and no size.
    disks = [
        BrokerDisk(node, total, free) for code, _, _, total, free, _ in answer.results if not code and total > 0 <= free
    ]
    return sorted(disks, key=lambda disk: disk.free_bytes / disk.total_bytes)[:1]


def _denied(kafka: KafkaAddress, why: str, mend: str) -> BrokerDenied:
    return BrokerDenied(f"Kafka does not say how full its disks are: {why}", str(kafka), mend)


class _Answer(Response):  # type: ignore[misc]  # aiokafka is untyped
    API_KEY = _KEY
    API_VERSION = _VERSION
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        (
            "results",
            CompactArray(
                ("error_code", Int16),
                ("log_dir", CompactString("utf-8")),
                (
                    "topics",
                    CompactArray(
                        ("name", CompactString("utf-8")),
                        (
                            "partitions",
                            CompactArray(
                                ("partition_index", Int32),
                                ("partition_size", Int64),
                                ("offset_lag", Int64),
                                ("is_future_key", Boolean),
                                ("tags", TaggedFields),
                            ),
                        ),
                        ("tags", TaggedFields),
                    ),
                ),
                ("total_bytes", Int64),
                ("usable_bytes", Int64),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _AskVersion(RequestStruct):  # type: ignore[misc]  # aiokafka is untyped
    FLEXIBLE_VERSION = True
    API_KEY = _KEY
    API_VERSION = _VERSION
    RESPONSE_TYPE = _Answer
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("topic", CompactString("utf-8")), ("partitions", CompactArray(Int32)), ("tags", TaggedFields)
            ),
        ),
        ("tags", TaggedFields),
    )


class _Ask(Request[_AskVersion]):  # type: ignore[misc]  # aiokafka is untyped
    """Asks for the disks alone: for no topic."""

    API_KEY = _KEY

    def build(self, request_struct_class: type[_AskVersion]) -> _AskVersion:
        return request_struct_class([], {})
