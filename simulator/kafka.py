"""Writes a plan directly to Kafka, as our services and the gateway would write it.

In:  a plan and a broker.
Out: records of our own topics and of `webhooks.*`, in the order of the plan. A post has the headers that the gateway
     would write, and its `received_at` is the time of the plan: so a seed gives the same rows whenever it is sent.
Promise: returns only when every record is acknowledged by all in-sync replicas; raises BrokerError otherwise.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.decoding.ids import uuid7
from schemas.decoding.times import rfc3339
from schemas.errors import BrokerError
from schemas.kafka_connection import KafkaAddress, client_arguments
from schemas.topics import MAX_MESSAGE_BYTES, WEBHOOKS
from simulator.message import OWN_TOPICS
from simulator.plan import Delivery, Plan
from simulator.providers import PROVIDERS
from simulator.sending import Barrier, Progress, ProgressMeter, Sent, no_barrier
from simulator.signing import Keys

__all__ = ["PUBLIC_URL", "producer", "record_of", "run_over_kafka", "send"]

CHUNK: Final = 2_000
PUBLIC_URL: Final = "https://sendledger.example.com"
_NO_KEYS: Final = Keys()


async def run_over_kafka(
    bootstrap: KafkaAddress,
    plan: Plan,
    *,
    progress: Progress | None = None,
    keys: Keys = _NO_KEYS,
    public_url: str = PUBLIC_URL,
    barrier: Barrier = no_barrier,
) -> Sent:
    """Write the plan. Posts are signed if `keys` has the provider's key, otherwise their signature is blank.

    `barrier` is awaited between two stages.
    """
    sent = Sent()
    meter = ProgressMeter(plan.size, progress)
    async with producer(bootstrap) as kafka:
        for number, stage in enumerate(plan.stages):
            if number:
                await barrier()
            for start in range(0, len(stage), CHUNK):
                chunk = stage[start : start + CHUNK]
                for delivery in chunk:
                    meter.count(delivery)
                await asyncio.gather(*[await send(kafka, delivery, keys, public_url) for delivery in chunk])
                for delivery in chunk:
                    sent.count(delivery)
                meter.report()
    return sent


@asynccontextmanager
async def producer(bootstrap: KafkaAddress) -> AsyncIterator[AIOKafkaProducer]:
    """A producer with acks=all. Raises BrokerError if Kafka fails, at the start or later."""
    kafka = AIOKafkaProducer(
        **client_arguments(bootstrap),
        acks="all",
        enable_idempotence=True,
        linger_ms=5,
        max_batch_size=256 * 1024,
        max_request_size=MAX_MESSAGE_BYTES,
    )
    try:
        await kafka.start()
        yield kafka
    except KafkaError as error:
        raise BrokerError(f"{type(error).__name__}: {error}", str(bootstrap), "Check that Kafka runs") from error
    finally:
        # An unavailable broker must not block: what was not acknowledged was not promised.
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
    """Return topic, key and headers of the record; its value is `delivery.value`."""
    if delivery.kind != "post":
        return OWN_TOPICS[delivery.kind].name, delivery.key.encode(), []
    headers = webhook_headers(delivery, keys, public_url)
    return WEBHOOKS[delivery.provider].name, headers[0][1], headers


def webhook_headers(delivery: Delivery, keys: Keys, public_url: str) -> list[tuple[str, bytes]]:
    """Return the headers that the gateway writes for a body that arrives at the delivery's time."""
    provider = PROVIDERS[delivery.provider]
    url = delivery.url(public_url)
    signed = provider.sign(keys, url, delivery.value, delivery.at_us)
    headers = {
        "webhook_id": uuid7(delivery.at_us, sha256(delivery.value).digest()),
        "received_at": rfc3339(delivery.at_us),
        "request_url": url,
        "content_type": provider.content_type,
        "signature": signed.signature,
        "signed_at": signed.signed_at,
        "peer": "192.0.2.1",
    }
    return [(name, text.encode()) for name, text in headers.items()]
