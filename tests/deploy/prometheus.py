"""Prometheus and promtool, as Debian's package `prometheus` installs them; and a Prometheus of a test's own."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from shutil import which
from typing import Any

import httpx
import orjson

from tests.local.ports import free_port_base
from tests.local.waiting import until

__all__ = ["Prometheus", "a_prometheus", "promtool", "running_prometheus"]


def _program(name: str) -> str:
    found = which(name)
    assert found, f"These tests need {name}: install Debian's package `prometheus`, as .ci/run does"
    return found


def promtool(*arguments: str | Path) -> None:
    """Run promtool. Fails with its output."""
    ended = subprocess.run([_program("promtool"), *arguments], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


class Prometheus:
    """A running Prometheus."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self.at: float | None = None
        """The time of queries, so that a scrape that fails later, on a loaded machine, changes nothing. None: now."""

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """The result of an instant query. Fails with Prometheus' error."""
        time = {} if self.at is None else {"time": str(self.at)}
        answer = await self._client.get("/api/v1/query", params={"query": expression, **time})
        body = orjson.loads(answer.content)
        assert body["status"] == "success", f"{body.get('error')}: {expression}"
        result = body["data"]["result"]
        return result if isinstance(result, list) else [result]

    async def alerts(self) -> list[dict[str, Any]]:
        """The alerts that are pending or fire."""
        answer = await self._client.get("/api/v1/alerts")
        found: list[dict[str, Any]] = orjson.loads(answer.content)["data"]["alerts"]
        return found

    async def reload(self) -> None:
        """Have it read its configuration and rules again; needs the option `--web.enable-lifecycle`."""
        answer = await self._client.post("/-/reload")
        assert answer.status_code == httpx.codes.OK, answer.text

    async def is_ready(self) -> bool:
        """Whether it answers queries."""
        try:
            return (await self._client.get("/-/ready")).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False


@asynccontextmanager
async def running_prometheus(
    folder: Path, configuration: Mapping[str, Any], *options: str
) -> AsyncIterator[Prometheus]:
    """A Prometheus with this configuration, which is written to `folder`; it answers queries."""
    port = free_port_base()
    (folder / "prometheus.yml").write_bytes(orjson.dumps(configuration))
    with (folder / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            _program("prometheus"),
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
            *options,
            stdout=log,
            stderr=log,
        )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            running = Prometheus(client)
            await until(running.is_ready, f"Prometheus: see {folder / 'prometheus.log'}")
            yield running
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def a_prometheus(folder: Path, targets: Sequence[str]) -> AsyncIterator[Prometheus]:
    """A Prometheus that reads the metrics of `targets` (`host:port`) twice a second, and has done so twice."""
    configuration = {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms"},
        "scrape_configs": [{"job_name": "sendledger-test", "static_configs": [{"targets": list(targets)}]}],
    }
    async with running_prometheus(folder, configuration) as running:

        async def scraped() -> bool:
            counts = await running.query("count_over_time(up[1m]) >= 2 and up == 1")
            if len(counts) < len(targets):
                return False
            running.at = counts[0]["value"][0]
            return True

        await until(scraped, "two scrapes of each target")
        yield running
