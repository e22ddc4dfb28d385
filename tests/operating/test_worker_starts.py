"""The exit code of a worker that can't start: 3 if an operator has to act, 4 if Kafka is unavailable."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.operating.commands import Ended, sendledger
from tests.stack.programs import Program, running

pytestmark = pytest.mark.process

AWAY = "127.0.0.1:1"
SETTINGS = {
    "SENDLEDGER_KAFKA_BOOTSTRAP": AWAY,
    "SENDLEDGER_CLICKHOUSE_URL": f"http://{AWAY}",
    "SENDLEDGER_INSTANCE": "worker-0",
}


@pytest.fixture(params=["ledger", "gate"])
def worker(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def the_end(worker: str, folder: Path, env: Mapping[str, str] | None = None) -> Ended:
    ended = await sendledger("worker", worker, env=SETTINGS | dict(env or {}), folder=folder)
    assert "Traceback" not in ended.err
    return ended


def says(ended: Ended, *words: str) -> bool:
    return all(word in ended.err for word in ("error:", "where:", "mend:", *words))


@pytest.mark.parametrize("host", ["no such host", "192.0.2.1", "x" * 300])
async def test_a_metrics_host_that_is_not_this_machine_is_named(worker: str, tmp_path: Path, host: str) -> None:
    env = {"SENDLEDGER_METRICS_PORT": "18999", "SENDLEDGER_METRICS_HOST": host}
    ended = await the_end(worker, tmp_path, env)
    assert ended.code == 3
    assert says(ended, "SENDLEDGER_METRICS_HOST")


async def test_a_folder_that_can_not_be_written_is_named(worker: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = await the_end(worker, tmp_path, {"SENDLEDGER_WORKER_DIR": str(tmp_path / "file" / "worker")})
    assert ended.code == 3
    assert says(ended, "SENDLEDGER_WORKER_DIR", str(tmp_path / "file"))


async def test_with_kafka_unavailable_a_worker_exits_with_code_4(worker: str, tmp_path: Path) -> None:
    ended = await the_end(worker, tmp_path)
    assert ended.code == 4
    assert says(ended, AWAY, "SENDLEDGER_KAFKA_BOOTSTRAP")


async def test_a_worker_that_is_stopped_before_it_reads_ends_with_0(worker: str, tmp_path: Path) -> None:
    """It waits for a Kafka that accepts the connection and never answers."""
    connected, ended = asyncio.Event(), asyncio.Event()

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await ended.wait()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        env = SETTINGS | {"SENDLEDGER_KAFKA_BOOTSTRAP": f"127.0.0.1:{port}"}
        program = Program(["worker", worker], env | {"SENDLEDGER_WORKER_DIR": str(tmp_path)}, tmp_path / "log")
        async with running(program):
            await connected.wait()
            code = await program.end(signal.SIGTERM)
        ended.set()
    assert code == 0
