"""The process of a command: its event loop, and the log levels of client libraries."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["enable_kafka_log", "quieten_clients", "run"]

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine as the whole work of this process."""
    return asyncio.run(coroutine)


def quieten_clients() -> None:
    """Silence the client libraries: our own errors report unreachable servers."""
    for name in ("aiokafka", "clickhouse_connect", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    asyncio_log = logging.getLogger("asyncio")
    if _is_not_of_a_broken_connection not in asyncio_log.filters:
        asyncio_log.addFilter(_is_not_of_a_broken_connection)


def _is_not_of_a_broken_connection(record: logging.LogRecord) -> bool:
    """Whether a line of asyncio is about anything but the requests that a connection had open when it broke.

    aiokafka gives each of them the error, also those that nobody waits for any more. asyncio logs these with a
    traceback; whoever waited has reported the error.
    """
    error = record.exc_info[1] if record.exc_info else None
    if not type(error).__module__.startswith("aiokafka."):
        return True
    from aiokafka.errors import KafkaConnectionError

    return not (isinstance(error, KafkaConnectionError) and "never retrieved" in record.getMessage())


def enable_kafka_log() -> None:
    """Show the Kafka client's log lines about brokers and rebalances, for long-running programs."""
    logging.getLogger("aiokafka").setLevel(logging.NOTSET)
