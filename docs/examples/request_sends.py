"""Request messages as a booking service does: over HTTP, or with a record in Kafka. To copy and to change.

In:  what the booking service wants to send. Out: the ids of the messages, which the gate decides about.

    python request_sends.py http ann@example.com
    python request_sends.py kafka ann@example.com

It needs the package httpx, or aiokafka, and nothing of sendledger.
"""

import asyncio
import json
import os
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
from aiokafka import AIOKafkaProducer


def new_message_id(now_ms: int | None = None) -> str:
    """Return a UUID version 7. Make it when the message is requested, and store it: a repeat needs it."""
    milliseconds = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    value = milliseconds << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76  # the version
    value = value & ~(0x3 << 62) | 0x2 << 62  # the variant
    text = f"{value:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def reminder(account_id: str, to: str, recipient_id: str) -> dict[str, Any]:
    """Return the request for an appointment reminder: all fields that are required, and a subject."""
    return {
        "message_id": new_message_id(),
        "account_id": account_id,
        "channel": "email",
        "template": {"id": "appointment-reminder", "name": "Appointment reminder", "kind": "transactional"},
        "recipient": {"kind": "client", "id": recipient_id},
        "to": to,
        "subject": "See you tomorrow at ten",
        "requested_at": datetime.now(UTC).isoformat(),
    }


async def request_over_http(
    http: httpx.AsyncClient,
    requests: Sequence[Mapping[str, Any]],
    tries: int = 5,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> list[Any]:
    """Request up to 1,000 messages, all or none, and return the `items` of the response.

    `http` has the gateway's URL and the header of a token with the role publisher. A repeat is safe, because the ids
    are in the requests. Raises httpx.HTTPStatusError for requests that are at fault, and httpx.HTTPError after `tries`.
    """
    for left in reversed(range(tries)):
        try:
            response = await http.post("/v1/sends", json=list(requests))
        except httpx.TransportError:
            if not left:
                raise
            await sleep(1)
            continue
        if response.status_code not in {429, 503} or not left:
            break
        await sleep(float(response.headers.get("Retry-After", "1")))
    items: list[Any] = response.raise_for_status().json()["items"]
    return items


async def request_over_kafka(producer: AIOKafkaProducer, requests: Sequence[Mapping[str, Any]]) -> None:
    """Write the requests to `sends.requested`, each under its message id. A repeat is safe, as over HTTP.

    Nobody answers here: a request that is invalid becomes a dead letter. `producer` waits for all in-sync replicas.
    """
    for request in requests:
        value = json.dumps(request).encode()
        await producer.send_and_wait("sends.requested", value, key=request["message_id"].encode())


async def main(way: str, to: str) -> None:
    """Request one message, and print what became of the request."""
    env = os.environ  # noqa: TID251 - a program of the booking service, not of sendledger
    request = reminder(env.get("ACCOUNT", "demo"), to, "c-17")
    if way == "http":
        headers = {"Authorization": f"Bearer {env['PUBLISHER_TOKEN']}"}
        async with httpx.AsyncClient(base_url=env["GATEWAY_URL"], headers=headers, timeout=30) as http:
            print(await request_over_http(http, [request]))
    else:
        producer = AIOKafkaProducer(bootstrap_servers=env["KAFKA_BOOTSTRAP"], acks="all", enable_idempotence=True)
        await producer.start()
        try:
            await request_over_kafka(producer, [request])
        finally:
            await producer.stop()
        print(request["message_id"])


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
