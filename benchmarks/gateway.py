"""How many requests a second one gateway process takes: signed webhooks, and send requests.

In:  a number of requests, on a few connections that are kept open; each sends its next request when it has its answer.
Out: a `Served` for each kind of request: requests/s, and CPU of the gateway and of the broker.
Afterwards Kafka must have exactly one record for each that was acknowledged; else it raises BenchmarkFailed. The client
shares the machine with the gateway: on two cores it is a part of what limits the figures.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.ledger.surroundings import (
    SENDLEDGER,
    TOKEN_SECRET,
    BenchmarkFailed,
    Place,
    Program,
    Usage,
    fresh_store,
    gateway_environment,
    is_ready,
    place,
    until,
)
from benchmarks.ledger.traffic import delivered_post, signature_headers
from gateway.tokens import issue
from schemas.topics import SENDS_REQUESTED, WEBHOOKS, Topic
from simulator.signing import new_key_pair

__all__ = ["Served", "measure", "served_rows"]

EVENTS_OF_A_POST: Final = 5
LIST: Final = 100
BODIES: Final = 50
"""Different bodies of a kind: they are sent in turns."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """Requests that are alike."""

    name: str
    requests: Sequence[bytes]
    """As they go over the connection."""
    status: bytes
    topic: Topic
    records: int
    """Of one request."""


@dataclass(frozen=True, slots=True)
class Served:
    """All requests of one kind."""

    kind: str
    connections: int
    requests: int
    records: int
    seconds: float
    cpu_seconds: dict[str, float]


async def measure(requests: int, connections: int, *, progress: Callable[[str], None]) -> list[Served]:
    """Return how fast one gateway answers each kind of request; of lists it gets a tenth as many.

    A tenth of the requests comes first and does not count.
    """
    async with place() as where:
        store = fresh_store(where, "gateway")
        private, public = new_key_pair()
        # No limit of a token: it is not what is measured.
        env = gateway_environment(where, store, public) | {"SENDLEDGER_WRITES_PER_SECOND": "0"}
        async with Program([*SENDLEDGER, "gateway"], env, where.folder / "gateway.log") as gateway:
            url = f"http://127.0.0.1:{where.port}"
            await until(lambda: is_ready(gateway, url), "the gateway", seconds=60, every=0.1)
            served = list[Served]()
            for kind in _kinds(private):
                number = max(connections, requests // (10 if kind.records > 1 else 1))
                already = await _records_in(where, kind.topic)
                await _send(where, kind, number // 10, connections)
                pids = where.pids | {"gateway": gateway.pid}
                before, started = Usage.now(pids), time.monotonic()
                await _send(where, kind, number, connections)
                seconds = time.monotonic() - started
                one = Served(
                    kind.name, connections, number, number * kind.records, seconds, Usage.now(pids).since(before)
                )
                progress(f"  {kind.name}: {one.requests / one.seconds:,.0f} requests/s")
                acknowledged = (number + number // 10) * kind.records
                found = await _records_in(where, kind.topic) - already
                if found != acknowledged:
                    raise BenchmarkFailed(f"{kind.name}: {acknowledged} records were acknowledged, Kafka has {found}")
                served.append(one)
        store.close()
        return served


def served_rows(served: Sequence[Served]) -> list[dict[str, Any]]:
    """A row for each kind of request. CPU is in seconds for a million requests."""
    return [
        {
            "requests": one.kind,
            "count": one.requests,
            "connections": one.connections,
            "requests_per_second": round(one.requests / one.seconds),
            "records_per_second": round(one.records / one.seconds),
            "gateway_cpu": one.cpu_seconds["gateway"] * 1e6 / one.requests,
            "broker_cpu": one.cpu_seconds["kafka"] * 1e6 / one.requests,
            "client_cpu": one.cpu_seconds["benchmark"] * 1e6 / one.requests,
            "others_busy_cores": one.cpu_seconds["others"] / one.seconds,
        }
        for one in served
    ]


async def _send(where: Place, kind: _Kind, requests: int, connections: int) -> None:
    """Send so many requests, and return when all are acknowledged. Raises BenchmarkFailed on any other answer."""
    numbers = iter(range(requests))
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(connections):
                group.create_task(_connection(where.port, kind, numbers))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None  # the others follow from it


async def _connection(port: int, kind: _Kind, numbers: Iterator[int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for number in numbers:
            writer.write(kind.requests[number % len(kind.requests)])
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]
            body = await reader.readexactly(int(length or b"0"))
            if head.split(b" ", 2)[1] != kind.status:
                answer = head.partition(b"\r\n")[0] + b" " + body[:500]
                raise BenchmarkFailed(f"{kind.name}: the gateway answers {answer!r}")
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise BenchmarkFailed(f"{kind.name}: the gateway closed the connection: {type(error).__name__}") from error
    finally:
        writer.close()


async def _records_in(where: Place, topic: Topic) -> int:
    consumer = AIOKafkaConsumer(bootstrap_servers=where.stack.kafka_bootstrap)
    await consumer.start()
    try:
        tps = [TopicPartition(topic.name, number) for number in range(where.partitions)]
        return sum((await consumer.end_offsets(tps)).values())
    finally:
        await consumer.stop()


def _kinds(private_key: str) -> Iterator[_Kind]:
    token = issue(TOKEN_SECRET, subject="benchmark", role="publisher", accounts=["acct1"])
    posts = []
    for _ in range(BODIES):
        body, _ = delivered_post(range(EVENTS_OF_A_POST))
        posts.append(_request("/webhooks/sendgrid", body, **signature_headers(private_key, body)))
    yield _Kind(f"webhook of {EVENTS_OF_A_POST} events", posts, b"204", WEBHOOKS["sendgrid"], 1)
    for name, count in (("one send request", 1), (f"list of {LIST} send requests", LIST)):
        sends = [_send_request(number) for number in range(count)]
        body = orjson.dumps(sends if count > 1 else sends[0])
        yield _Kind(
            name, [_request("/v1/sends", body, Authorization=f"Bearer {token}")], b"202", SENDS_REQUESTED, count
        )


def _send_request(number: int) -> dict[str, Any]:
    """Return a send request without an id: the gateway gives each request that comes another one."""
    return {
        "channel": "email",
        "template": {"id": "reminder", "name": "Reminder", "kind": "transactional"},
        "recipient": {"kind": "client", "id": f"c{number}", "name": "Ann Example"},
        "to": f"recipient{number}@example.com",
        "subject": "Tomorrow at ten",
    }


def _request(path: str, body: bytes, **headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    lines += [f"Content-Length: {len(body)}", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + body
