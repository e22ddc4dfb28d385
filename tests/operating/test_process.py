"""What a program logs about the errors that a broken connection leaves behind."""

import asyncio
import gc
import logging
import ssl
from collections.abc import Iterator

import pytest
from aiokafka.conn import AIOKafkaConnection
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


async def test_the_error_that_a_connection_ended_with_is_not_logged_a_second_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def read() -> None:
        raise ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED]")

    reading = asyncio.ensure_future(read())
    await asyncio.wait([reading])
    AIOKafkaConnection._on_read_task_error(lambda: None, reading)  # aiokafka reads the result here
    error = reading.exception()
    assert isinstance(error, ssl.SSLError)
    abandoned(error)
    assert "never retrieved" in caplog.text, "asyncio logs it by itself"
    caplog.clear()
    quieten_clients()
    abandoned(error)
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
