"""What hostile requests leave behind in memory: the resident size of each program before and after many of them.

In:  a stack of its own (`sendledger up`), and requests of 300 KB of text each, no two alike: sends with a content,
     sends whose To is no address, and signed posts of events whose names, addresses and ids are long.
Out: the resident size (RSS) of the gateway, the gate and the ledger before and after, in MiB.
"""

import asyncio
import os
import random
import shlex
import string
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import httpx
import orjson

from benchmarks.ledger.surroundings import BenchmarkFailed, free_port_base, wait_until_all_is_read
from benchmarks.ledger.traffic import signature_headers
from schemas.consumer_groups import consumer_groups
from schemas.decoding.ids import uuid7

__all__ = ["Sizes", "measure_sizes", "size_rows"]

TEXT_CHARACTERS: Final = 300_000
CALLERS: Final = 4
PROGRAMS: Final = ("gateway", "worker-gate", "worker-ledger")
_ALPHABET: Final = string.ascii_letters + string.digits
_READY_WITHIN_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """Resident sizes by program, in MiB."""

    requests: int
    before: Mapping[str, float]
    after: Mapping[str, float]
    statuses: Mapping[int, int]


async def measure_sizes(requests: int, *, progress: Callable[[str], None]) -> Sizes:
    """Run a stack, warm it up, send the requests, wait until all is read. Raises BenchmarkFailed."""
    with TemporaryDirectory() as folder:
        async with _stack(Path(folder)) as env, httpx.AsyncClient(trust_env=False, timeout=60) as client:
            statuses: dict[int, int] = {}
            await _send(client, env, 200, {}, progress)
            await _read(env)
            before = _sizes(Path(folder))
            await _send(client, env, requests, statuses, progress)
            await _read(env)
            return Sizes(requests, before, _sizes(Path(folder)), statuses)


def size_rows(sizes: Sizes) -> list[dict[str, Any]]:
    """Return the figures as rows of a table."""
    return [
        {
            "program": name,
            "RSS before, MiB": round(sizes.before[name]),
            f"after {sizes.requests:,} requests": round(sizes.after[name]),
            "grown": round(sizes.after[name] - sizes.before[name]),
        }
        for name in PROGRAMS
    ]


@asynccontextmanager
async def _stack(folder: Path) -> AsyncIterator[Mapping[str, str]]:
    log, data = folder / "up.log", folder / "data"
    command = [sys.executable, str(Path(sys.executable).with_name("sendledger")), "up", "--data-dir", str(data)]
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *command, "--port-base", str(free_port_base()), stdout=out, stderr=out
        )
    try:
        async with asyncio.timeout(_READY_WITHIN_SECONDS):
            while "ready http" not in log.read_text():
                if process.returncode is not None:
                    raise BenchmarkFailed(f"the stack ended: {log.read_text()[-500:]}")
                await asyncio.sleep(0.2)
        lines = (line.partition("=") for line in (data / "dev.env").read_text().splitlines())
        yield {name: "".join(shlex.split(value)) for name, _, value in lines}
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def _send(
    client: httpx.AsyncClient,
    env: Mapping[str, str],
    requests: int,
    statuses: dict[int, int],
    progress: Callable[[str], None],
) -> None:
    numbers = iter(range(requests))

    async def caller() -> None:
        for number in numbers:
            status = await _request(client, env, number)
            statuses[status] = statuses.get(status, 0) + 1
            if number % 1_000 == 999:
                progress(f"{number + 1:,} of {requests:,}")

    await asyncio.gather(*(caller() for _ in range(CALLERS)))


async def _request(client: httpx.AsyncClient, env: Mapping[str, str], number: int) -> int:
    url = env["SENDLEDGER_PUBLIC_URL"]
    text = _text(number)
    if number % 4 == 3:
        body = orjson.dumps(
            [{"event": text[:100_000], "email": text[100_000:200_000], "sg_message_id": text[200_000:]}]
        )
        headers = signature_headers(env["SENDLEDGER_DEV_SENDGRID_PRIVATE_KEY"], body)
        return (await client.post(f"{url}/webhooks/sendgrid", content=body, headers=headers)).status_code
    request = {
        "message_id": uuid7(time.time_ns() // 1000, os.urandom(10)),
        "channel": "email",
        "template": {"id": f"t{number % 50}", "name": "Reminder", "kind": "transactional"},
        "recipient": {"kind": "client", "id": f"c{number}"},
        "to": f"user{number}@example.com" if number % 4 < 2 else text,
        "content": {"html": text},
    }
    headers = {"Authorization": f"Bearer {env['SENDLEDGER_DEV_TOKEN_PUBLISHER']}"}
    return (await client.post(f"{url}/v1/sends", content=orjson.dumps(request), headers=headers)).status_code


def _text(number: int) -> str:
    """300 KB of letters, no two alike: a block that is drawn for each number, so that making it costs little."""
    chance = random.Random(number)
    block = "".join(chance.choices(_ALPHABET, k=3_000))
    return (block * (TEXT_CHARACTERS // len(block) + 1))[:TEXT_CHARACTERS]


async def _read(env: Mapping[str, str]) -> None:
    await wait_until_all_is_read(env["SENDLEDGER_KAFKA_BOOTSTRAP"], consumer_groups("ledger"), seconds=600)


def _sizes(folder: Path) -> dict[str, float]:
    return {name: _resident_mib(folder / "data" / "run" / f"{name}.pid") for name in PROGRAMS}


def _resident_mib(pid_file: Path) -> float:
    pid = orjson.loads(pid_file.read_bytes())["pid"]
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise BenchmarkFailed(f"process {pid} has no resident size")
