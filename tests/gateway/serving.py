"""A gateway that listens on a local port, with the limits that a test sets."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI

from gateway.app import create_app
from gateway.server import server_config
from projections.store import Store
from schemas.telemetry import Telemetry
from tests.fakes import FakeKafka
from tests.gateway.test_webhooks import settings

__all__ = ["Connection", "Served", "served"]


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # they are the test session's


class Connection:
    """A connection to the gateway, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, text: str | bytes) -> None:
        self._writer.write(text.encode() if isinstance(text, str) else text)
        await self._writer.drain()

    async def all_that_comes(self) -> bytes:
        """Return everything until the gateway closes the connection."""
        async with asyncio.timeout(60):
            return await self._reader.read()

    async def head(self) -> str:
        """Return the next response, up to the end of its headers."""
        async with asyncio.timeout(60):
            return (await self._reader.readuntil(b"\r\n\r\n")).decode()

    async def exactly(self, size: int) -> bytes:
        async with asyncio.timeout(60):
            return await self._reader.readexactly(size)

    def close(self) -> None:
        self._writer.close()


class Served:
    """Where it listens, and what it counts."""

    def __init__(self, port: int, telemetry: Telemetry, kafka: FakeKafka, app: FastAPI) -> None:
        self.port, self.telemetry, self.kafka, self.app = port, telemetry, kafka, app

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Connection(reader, writer)
        finally:
            writer.transport.abort()


@asynccontextmanager
async def served(
    store: Store | None = None, *, at_port: int = 0, kafka: FakeKafka | None = None, **said: Any
) -> AsyncIterator[Served]:
    """A gateway over a fake Kafka, with these settings. It listens at `at_port`; 0 for a free one."""
    telemetry, kafka, wanted = Telemetry(), kafka or FakeKafka(), settings(**said)
    app = create_app(wanted, store or Store("http://127.0.0.1:1"), kafka, telemetry)
    with socket.create_server(("127.0.0.1", at_port)) as listening:
        server = _Server(server_config(app, wanted, telemetry))
        running = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield Served(listening.getsockname()[1], telemetry, kafka, app)
        finally:
            server.should_exit = True
            await running
