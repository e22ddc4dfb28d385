"""A plan written straight to Kafka, as our services and the gateway would write it.

In:  a plan and a broker.
Out: records of `sends.*` and `webhooks.*`, in the plan's order. A post has the headers that the gateway would write
     beside it, and its `received_at` is the plan's own time: so a seed gives the same rows whenever it is sent.
Promise: returns only when every record is acknowledged by all replicas in sync; raises BrokerError otherwise.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.errors import BrokerError
from schemas.identity import uuid7
from schemas.times import rfc3339
from schemas.topics import (
    ACCOUNTS_POLICIES,
    MAX_RECORD_BYTES,
    RECIPIENTS_PREFERENCES,
    SENDS_CONTENT,
    SENDS_DECIDED,
    SENDS_DISPATCHED,
    SENDS_REQUESTED,
    SUPPRESSIONS_COMMANDS,
    WEBHOOKS,
)
from simulator.posts import Delivery, Plan
from simulator.providers import PROVIDERS
from simulator.sending import Meter, Progress, Sent, Settled, at_once
from simulator.signing import Keys

__all__ = ["PUBLIC_URL", "producer", "record_of", "run_over_kafka", "send"]

CHUNK: Final = 2_000
PUBLIC_URL: Final = "https://sendledger.example.com"
_TOPICS: Final = {
    "request": SENDS_REQUESTED.name,
    "decision": SENDS_DECIDED.name,
    "dispatch": SENDS_DISPATCHED.name,
    "content": SENDS_CONTENT.name,
    "policy": ACCOUNTS_POLICIES.name,
    "preference": RECIPIENTS_PREFERENCES.name,
    "command": SUPPRESSIONS_COMMANDS.name,
}
_NO_KEYS: Final = Keys()


async def run_over_kafka(
    bootstrap: str,
    plan: Plan,
    *,
    rate: float | None = None,
    progress: Progress | None = None,
    keys: Keys = _NO_KEYS,
    public_url: str = PUBLIC_URL,
    settled: Settled = at_once,
) -> Sent:
    """Write the plan. Posts are signed where `keys` has the provider's, else their signature is blank.

    Between two chapters `settled` is awaited.
    """
    sent = Sent()
    meter = Meter(rate, plan.size, progress)
    async with producer(bootstrap) as kafka:
        for chunk in _chunks(plan):
            if chunk is None:
                await settled()
                continue
            futures = []
            for delivery in chunk:
                await meter.pace(delivery)
                futures.append(await send(kafka, delivery, keys, public_url))
            await asyncio.gather(*futures)
            for delivery in chunk:
                sent.count(delivery)
            meter.report()
    sent.seconds = meter.seconds
    return sent


def _chunks(plan: Plan) -> Iterator[list[Delivery] | None]:
    """The deliveries in chunks, and None between two chapters."""
    for number, chapter in enumerate(plan.chapters):
        if number:
            yield None
        for start in range(0, len(chapter), CHUNK):
            yield chapter[start : start + CHUNK]


@asynccontextmanager
async def producer(bootstrap: str) -> AsyncIterator[AIOKafkaProducer]:
    """A producer with acks=all. Raises BrokerError where Kafka fails, at the start or within."""
    kafka = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        acks="all",
        enable_idempotence=True,
        linger_ms=5,
        max_batch_size=256 * 1024,
        max_request_size=MAX_RECORD_BYTES,
    )
    try:
        await kafka.start()
        yield kafka
    except KafkaError as error:
        raise BrokerError(f"{type(error).__name__}: {error}", bootstrap, "see that Kafka runs") from error
    finally:
        # A broker that is away must not hold us up: what was not acknowledged was not promised.
        with suppress(TimeoutError, KafkaError):
            await asyncio.wait_for(kafka.stop(), timeout=3)


async def send(
    kafka: AIOKafkaProducer, delivery: Delivery, keys: Keys = _NO_KEYS, public_url: str = PUBLIC_URL
) -> asyncio.Future[Any]:
    """Hand one delivery to the producer; the future is done when it is acknowledged."""
    topic, key, headers = record_of(delivery, keys, public_url)
    return await kafka.send(topic, delivery.value, key=key, headers=headers)  # type: ignore[no-any-return]  # untyped


def record_of(
    delivery: Delivery, keys: Keys = _NO_KEYS, public_url: str = PUBLIC_URL
) -> tuple[str, bytes, list[tuple[str, bytes]]]:
    """Return topic, key and headers of a delivery's record; its value is the delivery's."""
    if delivery.kind != "post":
        return _TOPICS[delivery.kind], delivery.key.encode(), []
    headers = webhook_headers(delivery, keys, public_url)
    return WEBHOOKS[delivery.provider].name, headers[0][1], headers


def webhook_headers(delivery: Delivery, keys: Keys, public_url: str) -> list[tuple[str, bytes]]:
    """Return the headers that the gateway writes beside a body that arrives at the plan's own time."""
    provider = PROVIDERS[delivery.provider]
    url = delivery.url(public_url)
    signed = provider.sign(keys, url, delivery.value, delivery.at_us)
    said = {
        "webhook_id": uuid7(delivery.at_us, sha256(delivery.value).digest()),
        "received_at": rfc3339(delivery.at_us),
        "request_url": url,
        "content_type": provider.content_type,
        "signature": signed.signature,
        "signed_at": signed.signed_at,
        "peer": "192.0.2.1",
    }
    return [(name, text.encode()) for name, text in said.items()]
