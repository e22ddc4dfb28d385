"""What a program logs about requests that were abandoned with a broken connection."""

import asyncio
import gc
import logging
from collections.abc import Iterator

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError

from cli.process import quieten_clients


@pytest.fixture(autouse=True)
def levels() -> Iterator[None]:
    """The loggers are as in a new process, and after the test as they were: other tests run commands in this one."""
    loggers = [logging.getLogger(name) for name in ("aiokafka", "clickhouse_connect", "urllib3", "asyncio")]
    before = [(logger, logger.level, [*logger.filters]) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.NOTSET)
        logger.filters = []
    yield
    for logger, level, filters in before:
        logger.setLevel(level)
        logger.filters = filters


def abandoned(error: Exception) -> None:
    """A future with an error that nobody has read, and that is collected."""
    asyncio.get_running_loop().create_future().set_exception(error)
    gc.collect()


async def test_the_requests_of_a_broken_connection_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    abandoned(KafkaConnectionError("Connection at host:9093 closed"))
    assert "never retrieved" in caplog.text, "asyncio logs it by itself"
    caplog.clear()
    for _ in range(2):
        quieten_clients()
    abandoned(KafkaConnectionError("Connection at host:9093 closed"))
    assert caplog.records == []


@pytest.mark.parametrize("error", [KafkaError("another"), ConnectionError("not Kafka's"), ValueError("a bug")])
async def test_every_other_error_is(caplog: pytest.LogCaptureFixture, error: Exception) -> None:
    quieten_clients()
    abandoned(error)
    assert "never retrieved" in caplog.text
    asyncio.get_running_loop().call_exception_handler(
        {"message": "Task was destroyed", "exception": KafkaConnectionError("closed")}
    )
    assert "Task was destroyed" in caplog.text
