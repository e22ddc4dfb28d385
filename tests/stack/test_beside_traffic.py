"""The commands of `make run` beside its traffic, which never stops: they end, and they find nothing wrong."""

import signal
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
from dotenv import dotenv_values

from tests.local.ports import free_port_base
from tests.local.waiting import until
from tests.stack.programs import Program, running

pytestmark = [pytest.mark.stack, pytest.mark.kafka, pytest.mark.clickhouse]

BOUND_SECONDS = "300"


async def test_simulate_and_verify_beside_traffic_that_never_stops(tmp_path: Path) -> None:
    words = ["up", "--demo", "--port-base", str(free_port_base())]
    async with running(Program(words, {}, tmp_path / "up.log")) as up:
        await until(lambda: "ready http" in up.log.read_text(), "the stack")
        settings = dotenv_values(tmp_path / ".data" / "dev.env")
        await until(lambda: _traffic(settings), "the traffic")
        # Both find their settings in .data/dev.env, and wait for what there is when they are called.
        oracle = str(tmp_path / "oracle.json")
        told = ["simulate", "--messages", "300", "--seed", "5", "--via", "http", "--oracle", oracle]
        assert await _ended(Program(told, {}, tmp_path / "simulate.log")) == 0
        checking = Program(["verify", "--oracle", oracle, "--timeout", BOUND_SECONDS], {}, tmp_path / "verify.log")
        assert await _ended(checking) == 0, checking.log.read_text()[-4000:]
        assert "0 differences." in checking.log.read_text()
        assert await up.end(signal.SIGTERM) == 0


async def _traffic(settings: Mapping[str, str | None]) -> bool:
    """Whether messages of the demo's are there."""
    headers = {"Authorization": f"Bearer {settings['SENDLEDGER_DEV_TOKEN_VIEWER']}"}
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        answer = await client.get(f"{settings['SENDLEDGER_PUBLIC_URL']}/v1/messages?limit=5", headers=headers)
    return answer.status_code == 200 and len(answer.json()["items"]) == 5


async def _ended(program: Program) -> int:
    """The exit code of a program that ends by itself."""
    async with running(program):
        assert program.process is not None
        return await program.process.wait()
