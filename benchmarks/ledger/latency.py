"""From a webhook's 2xx to its row, under a steady load.

In:  signed posts at a fixed pace, whatever the answers (an open loop: a slow answer doesn't thin the load).
Out: the delays. A row is there when a query for young messages gives it; the query runs every 50 ms, so that a delay is
     known with this much in excess and never short. A post without its row raises BenchmarkFailed.
"""

import asyncio
import time
from dataclasses import dataclass
from itertools import count, islice
from typing import Final

import httpx

from benchmarks.ledger.surroundings import (
    SENDLEDGER,
    BenchmarkFailed,
    Place,
    Program,
    Usage,
    fresh_store,
    gateway_environment,
    is_ready,
    ledger_environment,
    place,
    until,
)
from benchmarks.ledger.traffic import delivered_post, signature_headers
from projections.store import Store
from simulator.signing import new_key_pair

__all__ = ["Delays", "measure"]

POSTS_PER_SECOND: Final = 100
EVENTS_PER_POST: Final = 5
POLL_SECONDS: Final = 0.05
WARM_UP_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Delays:
    """Seconds from each 2xx to its row, and from each request to its 2xx; sorted."""

    to_row: list[float]
    to_answer: list[float]
    events_per_second: float
    cpu_seconds: dict[str, float]

    @staticmethod
    def part(values: list[float], share: float) -> float:
        """Return the value that `share` of the values don't exceed."""
        return values[min(len(values) - 1, int(len(values) * share))]


async def measure(seconds: float) -> Delays:
    """Return the delays under `POSTS_PER_SECOND` posts, after a short warm-up that doesn't count."""
    async with place() as where:
        store = fresh_store(where, "latency")
        private, public = new_key_pair()
        gateway, worker = _programs(where, store, public)
        url = f"http://127.0.0.1:{where.port}"
        # The gateway closes a connection that was idle for 5 s; we must not be about to use it then.
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=2)
        async with gateway, worker, httpx.AsyncClient(trust_env=False, timeout=20, limits=limits) as client:
            await worker.assigned_at()
            await until(lambda: is_ready(gateway, url), "the gateway", seconds=30, every=0.1)
            pids = where.pids | {"gateway": gateway.pid, "worker": worker.pid}
            load = _Load(client, url, private, store)
            await load.run(WARM_UP_SECONDS)
            load.to_row.clear()
            load.to_answer.clear()
            before, started = Usage.now(pids), time.monotonic()
            await load.run(seconds)
            rate = len(load.to_answer) * EVENTS_PER_POST / (time.monotonic() - started)
            used = Usage.now(pids).since(before)
        store.close()
        return Delays(sorted(load.to_row), sorted(load.to_answer), rate, used)


class _Load:
    def __init__(self, client: httpx.AsyncClient, url: str, private_key: str, store: Store) -> None:
        self._client, self._url, self._private_key, self._store = client, url, private_key, store
        self._numbers = count(1)
        self._answered: dict[str, float] = {}
        """When the 2xx of a post came, by its last message."""
        self._seen: dict[str, float] = {}
        self.to_row: list[float] = []
        self.to_answer: list[float] = []

    async def run(self, seconds: float) -> None:
        """Post at the pace for so long, and return when every row was seen."""
        looking = asyncio.create_task(self._look())
        started = time.monotonic()
        try:
            async with asyncio.TaskGroup() as posts:
                for number in range(int(seconds * POSTS_PER_SECOND)):
                    await asyncio.sleep(max(0.0, started + number / POSTS_PER_SECOND - time.monotonic()))
                    posts.create_task(self._post())
            await until(self._all_there, "the rows", seconds=30, every=POLL_SECONDS)
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None  # the others follow from it
        finally:
            looking.cancel()

    async def _post(self) -> None:
        body, last = delivered_post(islice(self._numbers, EVENTS_PER_POST))
        headers = signature_headers(self._private_key, body)
        began = time.monotonic()
        try:
            answer = await self._client.post(f"{self._url}/webhooks/sendgrid", content=body, headers=headers)
        except httpx.HTTPError as error:
            raise BenchmarkFailed(f"the gateway does not answer: {type(error).__name__} {error}") from error
        ended = time.monotonic()
        if answer.status_code != 204:
            raise BenchmarkFailed(f"the gateway answers {answer.status_code}: {answer.text[:500]}")
        self.to_answer.append(ended - began)
        self._answered[last] = ended
        self._pair(last)

    async def _look(self) -> None:
        young = "SELECT DISTINCT toString(message_id) FROM message_state WHERE sent_at >= now64(3) - 10"
        while True:
            rows = await asyncio.to_thread(self._store.tuples, young)
            now = time.monotonic()
            for (message_id,) in rows:
                if message_id not in self._seen:
                    self._seen[message_id] = now
                    self._pair(message_id)
            await asyncio.sleep(POLL_SECONDS)

    def _pair(self, message_id: str) -> None:
        if message_id in self._answered and message_id in self._seen:
            self.to_row.append(max(0.0, self._seen[message_id] - self._answered[message_id]))

    async def _all_there(self) -> bool:
        return self._answered.keys() <= self._seen.keys()


def _programs(where: Place, store: Store, public_key: str) -> tuple[Program, Program]:
    gateway = Program(
        [*SENDLEDGER, "gateway"], gateway_environment(where, store, public_key), where.folder / "gateway.log"
    )
    worker = ledger_environment(where, store, "latency")
    return gateway, Program([*SENDLEDGER, "worker", "ledger"], worker, where.folder / "worker.log")
