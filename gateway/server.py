"""The gateway as a process: checks its dependencies, listens, and shuts down gracefully.

Out: exit code 0 after a stop signal. Before it listens it raises
    ConfigError   (3)  the address can't be bound, or ClickHouse refuses the user or password
    BrokerError   (4)  Kafka does not answer: nothing could be stored
An unreachable ClickHouse is only logged: sends and webhooks work without it, and `/readyz` reports it.
"""

import asyncio
import logging
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

import structlog
import uvicorn

from application.writing import producer_of
from gateway.app import Only, create_app
from gateway.problems import path_of
from gateway.protocol import WireLimits, protocol_of
from processors.process_memory import export_memory
from processors.tracing import tracing_of
from projections.store import Store
from projections.store.generations import ShownStore
from schemas.errors import ConfigError, StoreDenied, StoreError, StoreRefused
from schemas.log_events import LogEvent
from schemas.settings import PREFIX, GatewaySettings
from schemas.telemetry import Telemetry

__all__ = ["make_server", "serve", "server_config"]

_STORE_SECONDS: Final = 6
"""Socket timeout of a read: shorter than a request's deadline, so that threads become free."""
_KEEP_ALIVE_SECONDS: Final = 20
_STOP_SECONDS: Final = 10
_WRITE_SECONDS: Final = 60.0
_LATER_THAN_THE_ROUTE: Final = 5.0
_SAID_BY_US: Final = ("Exception in ASGI application", "Invalid HTTP request received", "Unsupported upgrade request")

log = structlog.get_logger()


async def serve(settings: GatewaySettings, *, only: Only | None = None) -> int:
    """Run the gateway, or one part of it, until it is stopped. Raises ConfigError or BrokerError before it listens."""
    telemetry = Telemetry()
    export_memory(telemetry)
    store = ShownStore.of(settings, timeout_seconds=_STORE_SECONDS, max_execution_seconds=_STORE_SECONDS)
    kafka = producer_of(settings.kafka, telemetry)
    tracing = tracing_of(settings, "gateway", telemetry)
    app = create_app(settings, store, kafka, telemetry, tracing=tracing, only=only)
    with ExitStack() as opened:
        opened.callback(tracing.close)
        sockets = [opened.enter_context(one) for one in _listening(settings.host, settings.port)]
        await asyncio.to_thread(_look_at, store)
        await kafka.start()
        server = make_server(server_config(app, settings, telemetry))
        await server.serve(sockets=sockets)
    return 0 if server.started else 1


def server_config(app: object, settings: GatewaySettings, telemetry: Telemetry) -> uvicorn.Config:
    """Return uvicorn's configuration for `app`."""
    limits = WireLimits(
        connections=settings.max_connections,
        head_bytes=settings.max_header_bytes,
        head_seconds=settings.header_seconds,
        body_seconds=settings.body_seconds + _LATER_THAN_THE_ROUTE,
        write_seconds=_WRITE_SECONDS,
    )
    for name in ("clickhouse_connect", "urllib3"):  # the log line `request.failed` has their errors
        logging.getLogger(name).setLevel(logging.CRITICAL)
    server_log = logging.getLogger("uvicorn.error")
    server_log.setLevel(logging.WARNING)
    if _not_said_by_us not in server_log.filters:
        server_log.addFilter(_not_said_by_us)
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        http=protocol_of(limits, telemetry, path_of(settings.public_url)),
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # `peer` is the socket's peer, not what a header claims
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )


def make_server(config: uvicorn.Config) -> uvicorn.Server:
    """Return a server that exits with code 0 after a stop signal; uvicorn's own would exit by the signal."""
    return _Server(config)


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


def _listening(host: str, port: int) -> list[socket.socket]:
    """Return sockets that listen on every address of `host`. Raises ConfigError."""
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, *_, address in dict.fromkeys(found):
            sockets.append(_bound(family, address))
    except OSError as error:
        for opened in sockets:
            opened.close()
        raise ConfigError(
            f"The gateway can't listen: {error.strerror or type(error).__name__}",
            f"{host}:{port}",
            f"Stop what listens there, or set {PREFIX}HOST and {PREFIX}PORT",
        ) from error
    return sockets


def _bound(family: int, address: object) -> socket.socket:
    # With the protocol: asyncio sets TCP_NODELAY only then; a body would wait 40 ms for the ACK of its headers.
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(address)  # type: ignore[arg-type]
        opened.listen()  # before the checks: a second process on this port must fail early
    except OSError:
        opened.close()
        raise
    return opened


def _look_at(store: Store) -> None:
    """Raise ConfigError if ClickHouse refuses the user or password; log any other error."""
    try:
        store.ping()
    except (StoreError, StoreRefused) as error:
        if isinstance(error, StoreDenied):
            mend = f"Compare {PREFIX}CLICKHOUSE_URL with the users of ClickHouse"
            raise ConfigError("ClickHouse refuses the user or password", error.where, mend) from error
        log.warning(
            LogEvent.CLICKHOUSE_AWAY, what=error.what, where=error.where, mend="Sends and webhooks go on without it"
        )


def _not_said_by_us(record: logging.LogRecord) -> bool:
    """Keep a log line of uvicorn's only if none of our log lines or metrics reports the same."""
    return not record.getMessage().startswith(_SAID_BY_US)
