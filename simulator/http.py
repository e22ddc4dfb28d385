"""A plan sent as the world sends it: webhooks as signed posts to the gateway, our own records over Kafka.

In:  a plan, a gateway, the keys that it trusts, a broker.
Out: every post answered 2xx, every record acknowledged.
Promise: a post that meets a 5xx, a 429 or a broken line is sent again until `patience_seconds` have passed; then
BrokerError. (Twilio itself gives up sooner, but a plan is to arrive whole.) A post that is refused (4xx) is a
RequestError at once.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Final, Self

import httpx
import structlog

from schemas.errors import BrokerError, RequestError
from simulator.kafka import CHUNK, producer, send
from simulator.posts import Delivery, Plan
from simulator.providers import PROVIDERS
from simulator.sending import Meter, Progress, Sent, Settled, at_once
from simulator.signing import Keys

__all__ = ["Poster", "run_over_http"]

LONGEST_PAUSE_SECONDS: Final = 5.0

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
        self.retries = 0
        self._public_url = public_url or url
        self._away = False
        self._keys = keys
        self._patience_seconds = patience_seconds
        self._pause = pause
        limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
        # trust_env off: a proxy of the environment is not for the local gateway.
        self._client = httpx.AsyncClient(timeout=15.0, limits=limits, transport=transport, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self._client.aclose()

    async def post(self, delivery: Delivery) -> None:
        """Send one post until it is taken."""
        waited, pause = 0.0, 0.25
        while True:
            problem = await self._once(delivery)
            self._log(problem)
            if problem is None:
                return
            if self._patience_seconds is not None and waited >= self._patience_seconds:
                raise BrokerError(f"the gateway did not take a POST: {problem}", self.url, "see that the gateway runs")
            self.retries += 1
            await self._pause(pause)
            waited += pause
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _log(self, problem: str | None) -> None:
        """Log when the gateway goes away and when it is back, once each."""
        if problem and not self._away:
            log.warning("gateway.missed", url=self.url, problem=problem)
        elif self._away and not problem:
            log.info("gateway.found_again", url=self.url)
        self._away = problem is not None

    async def _once(self, delivery: Delivery) -> str | None:
        """Return None if it was taken, else why not yet. Raises RequestError if it never will be."""
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
            f"the gateway refused a POST of {delivery.provider}: status {answer.status_code}",
            f"{self.url}/webhooks/{delivery.provider}",
            f"compare {provider.key} with the gateway's, and the URL with SENDLEDGER_PUBLIC_URL",
        )


async def run_over_http(
    poster: Poster,
    kafka_bootstrap: str,
    plan: Plan,
    *,
    rate: float | None = None,
    progress: Progress | None = None,
    concurrency: int = 16,
    settled: Settled = at_once,
) -> Sent:
    """Send the plan. Posts that are under way at one time may overtake each other, but none that of a later chapter.

    Between two chapters `settled` is awaited.
    """
    sent = Sent()
    meter = Meter(rate, plan.size, progress)
    posts: asyncio.Queue[Delivery | None] = asyncio.Queue(maxsize=concurrency * 4)

    async def post_them() -> None:
        while (delivery := await posts.get()) is not None:
            await poster.post(delivery)
            sent.count(delivery)
            posts.task_done()

    async def hand_out() -> None:
        async with producer(kafka_bootstrap) as kafka:
            for number, chapter in enumerate(plan.chapters):
                if number:
                    await settled()
                await _hand_out(chapter, kafka)
                await posts.join()
        for _ in range(concurrency):
            await posts.put(None)

    async def _hand_out(chapter: Sequence[Delivery], kafka: Any) -> None:
        futures: list[asyncio.Future[Any]] = []
        for number, delivery in enumerate(chapter):
            await meter.pace(delivery)
            if delivery.kind == "post":
                await posts.put(delivery)
            else:
                futures.append(await send(kafka, delivery))
                sent.count(delivery)
            if number % 500 == 499:
                meter.report()
            if len(futures) >= CHUNK:
                await asyncio.gather(*futures)
                futures.clear()
        await asyncio.gather(*futures)

    async with poster:
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(concurrency):
                    tasks.create_task(post_them())
                tasks.create_task(hand_out())
        except ExceptionGroup as group:
            raise group.exceptions[0] from None  # the first failure; the others follow from it
    meter.report()
    sent.retries, sent.seconds = poster.retries, meter.seconds
    return sent
