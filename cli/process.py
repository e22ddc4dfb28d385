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


def enable_kafka_log() -> None:
    """Show the Kafka client's log lines about brokers and rebalances, for long-running programs."""
    logging.getLogger("aiokafka").setLevel(logging.NOTSET)
