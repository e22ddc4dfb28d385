"""What once stopped or starved the whole system, fed to `sendledger up` over Kafka or HTTP: one input of each kind.

Each leaves the stack running: the workers read all that there is, and the status of a later message is right. What is
written into Kafka is written by another client (librdkafka), as a booking service may.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import orjson
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]  # it does, by the docs

from processors.kafka.lag import lag
from schemas.consumer_groups import consumer_groups
from schemas.decoding.ids import uuid7
from schemas.decoding.times import rfc3339
from simulator.signing import sign_sendgrid
from tests.engine.topics import Topics
from tests.engine.wire import a_batch, a_record
from tests.local.ports import free_port_base
from tests.local.waiting import until
from tests.operating.commands import sendledger
from tests.stack.programs import Program, running
from tests.stack.test_two_stacks import Stack

pytestmark = [pytest.mark.stack, pytest.mark.kafka, pytest.mark.clickhouse]

INPUTS: Final = (
    *("sends.requested", "sends.content", "sends.decided", "sends.dispatched", "accounts.policies"),
    *("recipients.preferences", "suppressions.commands", "suppressions.changed"),
    *("webhooks.sendgrid", "webhooks.twilio", "webhooks.postmark"),
)
OURS: Final = tuple(topic for topic in INPUTS if not topic.startswith("webhooks."))
MARKS: Final = "\u0301" * 129_000
CODECS: Final = ("none", "gzip", "snappy", "lz4", "zstd")


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """One `sendledger up`, for all cases: what one of them breaks, the next one shows."""
    folder = tmp_path_factory.mktemp("hostile")
    words = ["up", "--data-dir", str(folder / "data"), "--port-base", str(free_port_base())]
    async with running(Program(words, {"SENDLEDGER_METADATA_SECONDS": "5"}, folder / "up.log")) as program:
        made = Stack(program, folder / "data")
        await made.ready()
        yield made


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=60) as made:
        yield made


@dataclass(frozen=True)
class Way:
    """How a case reaches the stack."""

    stack: Stack
    client: httpx.AsyncClient

    @property
    def bootstrap(self) -> str:
        return self.stack.settings["SENDLEDGER_KAFKA_BOOTSTRAP"]

    def token(self, role: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.stack.settings[f'SENDLEDGER_DEV_TOKEN_{role}']}"}

    async def write(self, topic: str, records: Sequence[dict[str, Any]], **options: Any) -> None:
        """Write records with librdkafka; return when the broker has all of them."""

        def written() -> None:
            producer = Producer(
                {"bootstrap.servers": self.bootstrap, "message.max.bytes": 9_000_000, "linger.ms": 50, **options}
            )
            for record in records:
                producer.produce(topic, **record)
            assert producer.flush(30) == 0

        await asyncio.to_thread(written)

    async def post(self, path: str, body: bytes, role: str = "PUBLISHER") -> httpx.Response:
        return await self.client.post(f"{self.stack.url}{path}", content=body, headers=self.token(role))


Case = Callable[[Way], Any]


def a_request(**said: Any) -> dict[str, Any]:
    now_us = time.time_ns() // 1000
    return {
        "message_id": uuid7(now_us, os.urandom(10)),
        "account_id": "demo",
        "channel": "email",
        "template": {"id": "t", "name": "Reminder", "kind": "transactional"},
        "recipient": {"kind": "client", "id": "c"},
        "to": "later@example.com",
        "requested_at": rfc3339(now_us),
    } | said


def nested(record: dict[str, Any], levels: int = 1_100) -> bytes:
    return b'{"unknown":' + b"[" * levels + b"]" * levels + b"," + orjson.dumps(record)[1:]


async def unknown_fields_that_nest_deep(way: Way) -> None:
    """C1, F7: 150 of each, more than the limit of faults of our own."""
    at = rfc3339(time.time_ns() // 1000)
    records = {
        "sends.requested": a_request(),
        "accounts.policies": {"account_id": "deep", "updated_at": at},
        "recipients.preferences": {
            "account_id": "deep",
            "recipient_kind": "client",
            "recipient_id": "c",
            "updated_at": at,
        },
        "suppressions.commands": {
            "command_id": "deep",
            "action": "suppress",
            "channel": "email",
            "address": "deep@example.com",
            "scope": "*",
            "reason": "r",
            "actor": "a",
            "at": at,
        },
    }
    for topic, record in records.items():
        await way.write(topic, [{"value": nested(record), "key": b"k"}] * 150)
    for topic in OURS:
        await way.write(topic, [{"value": b"[" * 100_000, "key": b"k"}] * 150)
    await way.write("webhooks.sendgrid", [{"value": b'[{"event":"open","x":' + b"[" * 1_100 + b"]" * 1_100 + b"}]"}])


async def neither_key_nor_value(way: Way) -> None:
    """C2."""
    for topic in INPUTS:
        await way.write(
            topic, [{"value": None, "key": None}, {"value": b"", "key": None}, {"value": None, "key": b"k"}]
        )


async def combining_marks(way: Way) -> None:
    """C3, E1: over Kafka and over HTTP."""
    await way.write("sends.requested", [{"value": orjson.dumps(a_request(to=MARKS[:120_000]))}] * 3)
    await way.write("webhooks.sendgrid", [{"value": orjson.dumps([{"event": "open", "email": MARKS}])}] * 3)
    for to in (MARKS, MARKS[:62_000]):
        answer = await way.post("/v1/sends", orjson.dumps(a_request(to=to)))
        assert answer.status_code in (413, 422)


async def letters_that_have_no_room(way: Way) -> None:
    """C4: records at the very limit, which become dead letters with more headers than they had."""
    await way.write("accounts.policies", [{"value": b"x" * (8 * 2**20), "key": b"k"}])
    await way.write("sends.requested", [{"value": b"x" * (8 * 2**20), "key": b"k"}])
    await way.write("webhooks.postmark", [{"value": b"{" + b"x" * (8 * 2**20 - 1), "key": b"k"}])


async def validation_errors_that_are_many(way: Way) -> None:
    """E3."""
    for body in (b'{"cc":[' + b"0," * 400_000 + b"0]}", orjson.dumps([{}] * 1_000)):
        answer = await way.post("/v1/sends", body)
        assert answer.status_code in (413, 422)
        assert len(answer.content) < 128 * 1024


async def caches_that_are_fed(way: Way) -> None:
    """C5, E4."""
    for number in range(40):
        await way.post("/v1/sends", orjson.dumps(a_request(to=f"{number}" + "x" * 200_000)))


async def forms_that_nobody_signed(way: Way) -> None:
    """E5."""
    for _ in range(5):
        answer = await way.client.post(
            f"{way.stack.url}/webhooks/twilio", content=b"a=%41&" * 600_000, headers={"X-Twilio-Signature": "x"}
        )
        assert answer.status_code == 401


async def headers_of_megabytes(way: Way) -> None:
    """E6: refused, or cut off."""
    try:
        answer = await way.client.get(f"{way.stack.url}/healthz", headers={"X-Odd": "x" * 2**20})
    except httpx.HTTPError:
        return
    assert answer.status_code in (400, 431)


async def posts_that_never_end(way: Way) -> None:
    """E6: 30 bodies, each short of one byte; the others are answered."""
    url = httpx.URL(way.stack.url)
    writers = []
    for _ in range(30):
        _, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(b"POST /webhooks/postmark HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        writers.append(writer)
    assert (await way.client.get(f"{way.stack.url}/healthz")).status_code == 200
    for writer in writers:
        writer.close()


async def every_codec(way: Way) -> None:
    """O1: a booking service compresses as it likes."""
    for codec in CODECS:
        event = [{"event": "delivered", "email": f"{codec}@example.com", "sg_message_id": codec}]
        await way.write(
            "webhooks.sendgrid", [{"value": orjson.dumps(event)}] * 20, **{"compression.codec": codec, "linger.ms": 200}
        )


async def header_names_that_are_no_text(way: Way) -> None:
    """O4. librdkafka takes them; its Python client does not, so the batch is written byte for byte."""
    topics = Topics(way.bootstrap)
    for topic in INPUTS:
        batch = a_batch(0, [a_record(0, b"k", b"{}", [(b"na\xffme", b"x"), (b"", None)])])
        await topics.fill_raw(topic, 0, batch, 1)


async def partitions_that_are_added(way: Way) -> None:
    """O3: and records that go to the new ones alone."""
    admin = AdminClient({"bootstrap.servers": way.bootstrap})
    for future in (await asyncio.to_thread(admin.create_partitions, [NewPartitions("sends.requested", 6)])).values():
        await asyncio.to_thread(future.result)

    async def written() -> bool:
        try:
            await way.write("sends.requested", [{"value": orjson.dumps(a_request()), "partition": 5}])
        except Exception:  # the partition has no leader yet
            return False
        return True

    await until(written, "the new partition to take a record")


CASES: Final[Sequence[Case]] = (
    unknown_fields_that_nest_deep,
    neither_key_nor_value,
    combining_marks,
    letters_that_have_no_room,
    validation_errors_that_are_many,
    caches_that_are_fed,
    forms_that_nobody_signed,
    headers_of_megabytes,
    posts_that_never_end,
    every_codec,
    header_names_that_are_no_text,
    partitions_that_are_added,
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
async def test_it_leaves_the_stack_running(stack: Stack, client: httpx.AsyncClient, case: Case, tmp_path: Path) -> None:
    way = Way(stack, client)
    await case(way)

    async def read() -> bool:
        return (await lag(way.bootstrap, consumer_groups("ledger"))).total == 0

    await until(read, "both workers to read all that there is")
    await a_later_message_is_right(way, tmp_path)


async def a_later_message_is_right(way: Way, folder: Path) -> None:
    request = a_request()
    asked = await way.post("/v1/sends?wait=1", orjson.dumps(request))
    assert asked.status_code in (200, 202), asked.text
    event = {
        "event": "delivered",
        "email": "later@example.com",
        "timestamp": time.time_ns() // 10**9,
        "sl_account": "demo",
        "sl_message": request["message_id"],
    }
    body, signed_at = orjson.dumps([event]), str(time.time_ns() // 10**9)
    signature = sign_sendgrid(way.stack.settings["SENDLEDGER_DEV_SENDGRID_PRIVATE_KEY"], signed_at, body)
    posted = await way.client.post(
        f"{way.stack.url}/webhooks/sendgrid",
        content=body,
        headers={
            "X-Twilio-Email-Event-Webhook-Timestamp": signed_at,
            "X-Twilio-Email-Event-Webhook-Signature": signature,
        },
    )
    assert posted.status_code == 204

    async def shown() -> bool:
        ended = await sendledger("status", request["message_id"], "--json", env=way.stack.settings, folder=folder)
        return ended.code == 0 and ended.json()["status"] == "Delivered" and ended.json()["decided_at"] is not None

    await until(shown, "the status of a later message")
