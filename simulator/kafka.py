"""A plan written straight to Kafka, as our services and the gateway would write it.

In:  a plan and a broker.
Out: records of `sends.requested`, `sends.decided` and `webhooks.sendgrid`, in the plan's order.
Promise: returns only when every record is acknowledged by all replicas in sync; raises BrokerError otherwise.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.errors import BrokerError
from schemas.identity import uuid7
from schemas.times import rfc3339
from schemas.topics import MAX_RECORD_BYTES, SENDS_DECIDED, SENDS_REQUESTED, WEBHOOKS
from simulator.posts import Delivery, Plan
from simulator.sending import Meter, Progress, Sent
from simulator.signing import sign_sendgrid

__all__ = ["producer", "run_over_kafka", "send"]

CHUNK: Final = 2_000
REQUEST_URL: Final = "https://sendledger.example.com/webhooks/sendgrid"
_TOPICS: Final = {"request": SENDS_REQUESTED.name, "decision": SENDS_DECIDED.name, "post": WEBHOOKS["sendgrid"].name}


async def run_over_kafka(
    bootstrap: str,
    plan: Plan,
    *,
    rate: float | None = None,
    progress: Progress | None = None,
    private_key: str | None = None,
) -> Sent:
    """Write the plan. Webhook records are signed where `private_key` is given, else their signature is blank."""
    sent = Sent()
    meter = Meter(rate, plan.size, progress)
    async with producer(bootstrap) as kafka:
        for start in range(0, len(plan.deliveries), CHUNK):
            chunk = plan.deliveries[start : start + CHUNK]
            futures = []
            for delivery in chunk:
                await meter.pace(delivery)
                futures.append(await send(kafka, delivery, private_key))
            await asyncio.gather(*futures)
            for delivery in chunk:
                sent.count(delivery)
            meter.report()
    sent.seconds = meter.seconds
    return sent


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


async def send(kafka: AIOKafkaProducer, delivery: Delivery, private_key: str | None) -> asyncio.Future[Any]:
    """Hand one delivery to the producer; the future is done when it is acknowledged."""
    topic = _TOPICS[delivery.kind]
    if delivery.kind == "post":
        headers = _webhook_headers(delivery.value, private_key)
        key = headers[0][1]
        return await kafka.send(topic, delivery.value, key=key, headers=headers)  # type: ignore[no-any-return]  # untyped
    return await kafka.send(topic, delivery.value, key=delivery.key.encode())  # type: ignore[no-any-return]  # untyped


def _webhook_headers(body: bytes, private_key: str | None) -> list[tuple[str, bytes]]:
    """The headers that the gateway writes beside a body that arrives now."""
    received_us = time.time_ns() // 1000
    signed_at = str(received_us // 1_000_000)
    said = {
        "webhook_id": uuid7(received_us, os.urandom(10)),
        "received_at": rfc3339(received_us),
        "request_url": REQUEST_URL,
        "content_type": "application/json",
        "signature": sign_sendgrid(private_key, signed_at, body) if private_key else "",
        "signed_at": signed_at if private_key else "",
        "peer": "192.0.2.1",
    }
    return [(name, text.encode()) for name, text in said.items()]
