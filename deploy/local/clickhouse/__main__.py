"""The endpoint as a program. On SIGTERM it finishes running requests, closes the engine, and exits with 0."""

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from deploy.local.clickhouse.endpoint import Endpoint
from deploy.local.clickhouse.engine import Engine
from deploy.local.clickhouse.users import Users, parse_user, read_users
from schemas.errors import ConfigError


class Server(uvicorn.Server):
    """A server that leaves signals to `serve` below: uvicorn would raise them again at the end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(endpoint: Endpoint, host: str, port: int) -> bool:
    """Serve until SIGTERM or SIGINT; return whether the port could be bound."""
    server = Server(
        uvicorn.Config(
            endpoint,
            host=host,
            port=port,
            log_level="warning",
            http="httptools",
            loop="uvloop",
            lifespan="off",
            ws="none",
        )
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, server.handle_exit, number, None)
    await server.serve()
    return server.started


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.local.clickhouse", description="ClickHouse's HTTP interface over one chDB engine."
    )
    parser.add_argument("path", type=Path, help="the engine's data directory")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--threads", type=int, default=16, help="number of concurrent requests")
    parser.add_argument("--users-file", type=Path, help="JSON: a list of {name, password, readonly, settings}")
    parser.add_argument("--user", action="append", default=[], help="name:password[:readonly[:settings-json]]")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    try:
        users = [*(read_users(given.users_file) if given.users_file else []), *map(parse_user, given.user)]
        engine = Engine(given.path.absolute(), Users(users))
    except (ConfigError, OSError, ValueError, KeyError, TypeError) as error:
        print(f"clickhouse: {error}", file=sys.stderr)
        return 3
    endpoint = Endpoint(engine, given.threads)
    try:
        with asyncio.Runner() as runner:
            started = runner.run(serve(endpoint, given.host, given.port))
    except SystemExit:  # from uvicorn, when it can't bind; it has logged why
        started = False
    endpoint.close()
    engine.close()
    return 0 if started else 3


if __name__ == "__main__":
    sys.exit(main())
