"""Sends a plan over HTTP: webhooks as signed posts to the gateway, records of our own topics over Kafka.

In:  a plan, a gateway, the keys that it trusts, a broker.
Out: every post answered 2xx, every record acknowledged.
Promise: a post that meets a 5xx, a 429 or a connection error is sent again until `patience_seconds` have passed; then
BrokerError. (Twilio itself gives up sooner, but a plan must arrive completely.) A post that is rejected (4xx) raises
RequestError at once.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Self

import httpx
import structlog

from schemas.errors import BrokerError, RequestError
from schemas.kafka_connection import KafkaAddress
from schemas.log_events import LogEvent
from simulator.kafka import CHUNK, producer, send
from simulator.plan import Delivery, Plan
from simulator.providers import PROVIDERS
from simulator.sending import Barrier, Progress, ProgressMeter, Sent, no_barrier, retry_pauses
from simulator.signing import Keys

__all__ = ["Poster", "run_over_http"]

log = structlog.get_logger()


class Poster:
    """The providers' side of their webhooks.

    `url` is where the gateway is; `public_url` what the providers call it, which Twilio signs (default: the same).
    """

    def __init__(
        self,
        url: str,
        keys: Keys,
        *,
        public_url: str = "",
        patience_seconds: float | None = 120.0,
        concurrency: int = 16,
        transport: httpx.AsyncBaseTransport | None = None,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.url = url.rstrip("/")
        self.concurrency = concurrency
        self.retries = 0
        self._public_url = public_url or url
        self._unavailable = False
        self._keys = keys
        self._patience_seconds = patience_seconds
        self._pause = pause
        limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
        # trust_env=False: a proxy from the environment must not be used for the local gateway.
        self._client = httpx.AsyncClient(timeout=15.0, limits=limits, transport=transport, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self._client.aclose()

    async def post(self, delivery: Delivery) -> None:
        """Send one post until the gateway accepts it."""
        waited, pauses = 0.0, retry_pauses()
        while True:
            problem = await self._once(delivery)
            self._log(problem)
            if problem is None:
                return
            if self._patience_seconds is not None and waited >= self._patience_seconds:
                raise BrokerError(
                    f"The gateway did not accept a POST: {problem}", self.url, "Check that the gateway runs"
                )
            self.retries += 1
            pause = next(pauses)
            await self._pause(pause)
            waited += pause

    def _log(self, problem: str | None) -> None:
        """Log once when the gateway becomes unavailable, and once when it is available again."""
        if problem and not self._unavailable:
            log.warning(LogEvent.GATEWAY_UNAVAILABLE, url=self.url, problem=problem)
        elif self._unavailable and not problem:
            log.info(LogEvent.GATEWAY_AVAILABLE_AGAIN, url=self.url)
        self._unavailable = problem is not None

    async def _once(self, delivery: Delivery) -> str | None:
        """Return None if it was accepted, otherwise the problem. Raises RequestError if a retry can't help."""
        provider = PROVIDERS[delivery.provider]
        signed = provider.sign(self._keys, delivery.url(self._public_url), delivery.value, time.time_ns() // 1000)
        headers = {"Content-Type": provider.content_type, "User-Agent": provider.user_agent, **signed.headers}
        url = delivery.url(self.url)
        try:
            answer = await self._client.post(url, content=delivery.value, headers=headers)
        except httpx.TransportError as error:
            return type(error).__name__
        if answer.is_success:
            return None
        if answer.status_code >= 500 or answer.status_code == 429:
            return f"status {answer.status_code}"
        raise RequestError(
            f"The gateway rejected a POST of {delivery.provider}: status {answer.status_code}",
            f"{self.url}/webhooks/{delivery.provider}",
            f"Compare {provider.key} with the gateway's, and the URL with SENDLEDGER_PUBLIC_URL",
        )


async def run_over_http(
    poster: Poster,
    kafka_bootstrap: KafkaAddress,
    plan: Plan,
    *,
    progress: Progress | None = None,
    barrier: Barrier = no_barrier,
) -> Sent:
    """Send the plan, as many posts at once as the poster has connections. They may overtake each other in a stage.

    `barrier` is awaited between two stages.
    """
    sending = _Sending(poster, ProgressMeter(plan.size, progress))
    async with poster:
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(poster.concurrency):
                    tasks.create_task(sending.post_queued())
                tasks.create_task(sending.stages(plan, kafka_bootstrap, barrier))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None  # the first failure; the others are consequences
    sending.meter.report()
    sending.sent.retries = poster.retries
    return sending.sent


class _Sending:
    """One plan on its way: posts go through a queue to several workers, records to Kafka."""

    def __init__(self, poster: Poster, meter: ProgressMeter) -> None:
        self.sent, self.meter = Sent(), meter
        self._poster = poster
        self._posts: asyncio.Queue[Delivery | None] = asyncio.Queue(maxsize=poster.concurrency * 4)

    async def post_queued(self) -> None:
        """Send posts of the queue until a None."""
        while (delivery := await self._posts.get()) is not None:
            await self._poster.post(delivery)
            self.sent.count(delivery)
            self._posts.task_done()

    async def stages(self, plan: Plan, kafka_bootstrap: KafkaAddress, barrier: Barrier) -> None:
        """Send the stages one after another, and end the workers."""
        async with producer(kafka_bootstrap) as kafka:
            for number, stage in enumerate(plan.stages):
                if number:
                    await barrier()
                await self._stage(stage, kafka)
                await self._posts.join()
        for _ in range(self._poster.concurrency):
            await self._posts.put(None)

    async def _stage(self, stage: Sequence[Delivery], kafka: Any) -> None:
        futures: list[asyncio.Future[Any]] = []
        for number, delivery in enumerate(stage):
            self.meter.count(delivery)
            if delivery.kind == "post":
                await self._posts.put(delivery)
            else:
                futures.append(await send(kafka, delivery))
                self.sent.count(delivery)
            if number % 500 == 499:
                self.meter.report()
            if len(futures) >= CHUNK:
                await asyncio.gather(*futures)
                futures.clear()
        await asyncio.gather(*futures)
