"""The process of a command: its event loop, and the log levels of client libraries."""

import asyncio
import logging
import traceback
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
    """Whether a line of asyncio is about anything but what a broken connection to Kafka leaves behind.

    aiokafka gives an error to each request that was open, also to those that nobody waits for any more, and asyncio
    keeps the error that the connection ended with in a future of its streams, which the garbage collector may free
    before the object that reads it. asyncio logs both with a traceback; whoever waited has reported the error.
    """
    error = record.exc_info[1] if record.exc_info else None
    if error is None or "never retrieved" not in record.getMessage():
        return True
    return not (_is_of_a_closed_connection(error) or _came_through_a_connection(error))


def _is_of_a_closed_connection(error: BaseException) -> bool:
    if not type(error).__module__.startswith("aiokafka."):
        return False
    from aiokafka.errors import KafkaConnectionError

    return isinstance(error, KafkaConnectionError)


def _came_through_a_connection(error: BaseException) -> bool:
    """Whether aiokafka's connection has caught this error of the network (it ends the connection with it)."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return isinstance(error, OSError) and any(frame.f_globals.get("__name__") == "aiokafka.conn" for frame in frames)


def enable_kafka_log() -> None:
    """Show the Kafka client's log lines about brokers and rebalances, for long-running programs."""
    logging.getLogger("aiokafka").setLevel(logging.NOTSET)
