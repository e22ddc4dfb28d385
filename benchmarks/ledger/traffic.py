"""Traffic of each provider for measuring: distinct events of 300 to 600 bytes, as posts of any size.

In:  a number of events, a provider, and how many events stand in a post.
Out: a `Traffic`: posts, and what must be found in the tables afterwards.
Promise: the same seed gives the same events; only the times follow the clock. Events of one message lie near each
other in the log and mostly in different posts, as real ones do.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode
from uuid import UUID

import orjson
from aiokafka import AIOKafkaProducer

from schemas.decoding.ids import uuid7
from schemas.decoding.times import rfc3339
from simulator.kafka import producer, send
from simulator.plan import Delivery, body_of
from simulator.providers import PROVIDERS
from simulator.signing import Keys

__all__ = [
    "Told",
    "Traffic",
    "delivered_post",
    "element",
    "hidden",
    "one_transaction",
    "produce",
    "signature_headers",
    "traffic",
]

ACCOUNTS: Final = 200
NEIGHBOURS: Final = 2_000
"""So many messages have their events shuffled among each other."""
_DAY_SECONDS: Final = 86_400
_USER_AGENT: Final = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 Chrome/131.0 Safari/537.36"
_CHUNK: Final = 4_000
_HIDDEN_SECONDS: Final = 600
"""The broker aborts a transaction that is open for longer."""


class Told(NamedTuple):
    """One event as its provider tells it."""

    message_id: str
    type: str
    """Its type in the provider's words."""
    value: bytes
    query: str = ""
    """Of the URL that it is posted to."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Posts, and what they hold."""

    provider: str
    posts: list[Delivery]
    events: int
    messages: int
    pairs_after: list[int]
    """For each post how many pairs of a message and a type of event it and those before it hold."""

    @property
    def pairs(self) -> int:
        """All pairs of a message and a type of event."""
        return self.pairs_after[-1]

    @property
    def body_bytes(self) -> int:
        """Bytes of all bodies."""
        return sum(len(post.value) for post in self.posts)


def traffic(events: int, per_post: int, *, now: float, seed: int = 1, provider: str = "sendgrid") -> Traffic:
    """Return `events` distinct events; SendGrid's `per_post` in each post, those of others one by one."""
    chance = Random(seed)
    posts: list[Delivery] = []
    messages: set[str] = set()
    pairs: set[tuple[str, str]] = set()
    pairs_after: list[int] = []
    post: list[bytes] = []
    at_us = int(now * 1e6)
    for made, entry in enumerate(_shuffled(events, int(now), chance, _TIMELINES[provider]), 1):
        messages.add(entry.message_id)
        pairs.add((entry.message_id, entry.type))
        post.append(entry.value)
        if len(post) == per_post or made == events:
            value = body_of(post) if provider == "sendgrid" else post[0]
            posts.append(Delivery("post", at_us, "", value, len(post), provider, entry.query))
            pairs_after.append(len(pairs))
            post = []
    return Traffic(provider, posts, events, len(messages), pairs_after)


async def produce(bootstrap: str, posts: Iterable[Delivery]) -> None:
    """Write the posts as the gateway would; return when Kafka has them all."""
    async with producer(bootstrap) as kafka:
        await _write(kafka, posts)


@asynccontextmanager
async def hidden(bootstrap: str, posts: Iterable[Delivery]) -> AsyncIterator[None]:
    """Posts that are in Kafka, but that no worker may read before the block ends."""
    async with one_transaction(bootstrap, max_batch_size=256 * 1024) as kafka:
        await _write(kafka, posts)
        yield


@asynccontextmanager
async def one_transaction(bootstrap: str, **settings: Any) -> AsyncIterator[AIOKafkaProducer]:
    """A producer, whose records no worker may read before the block ends."""
    async with (
        AIOKafkaProducer(
            bootstrap_servers=bootstrap,
            transactional_id="benchmark",
            transaction_timeout_ms=_HIDDEN_SECONDS * 1000,
            linger_ms=5,
            **settings,
        ) as kafka,
        kafka.transaction(),
    ):
        yield kafka


async def _write(kafka: AIOKafkaProducer, posts: Iterable[Delivery]) -> None:
    """Write the posts as of now; return when all are acknowledged."""
    waiting = []
    for post in posts:
        waiting.append(await send(kafka, replace(post, at_us=time.time_ns() // 1000)))
        if len(waiting) == _CHUNK:
            await asyncio.gather(*waiting)
            waiting = []
    await asyncio.gather(*waiting)


def element(name: str, at: int, number: int, ids: tuple[str, str], **more: object) -> dict[str, Any]:
    """Return one element of a post, of the message `number`. `ids`: its account and message."""
    return {
        "email": f"recipient{number}@example{number % 97}.com",
        "timestamp": at,
        "event": name,
        "category": ["reminder"],
        "sg_event_id": f"{name[:3]}-{number:019d}",
        "sg_message_id": f"{number:022x}.recvd-5b9f8c7d6-x2k4t-1-6740A1B2-1A.0",
        "sl_account": ids[0],
        "sl_message": ids[1],
        **more,
    }


def delivered_post(numbers: Iterable[int]) -> tuple[bytes, str]:
    """Return the body of a post that says of new messages, one for each number, that they are delivered; the last id.

    All is of now: nothing older is found by a query for young messages.
    """
    values, message_id = [], ""
    for number in numbers:
        message_id = uuid7(time.time_ns() // 1000, os.urandom(10))
        ids = (f"acct{number % 50}", message_id)
        values.append(orjson.dumps(element("delivered", int(time.time()), number, ids, response="250 OK")))
    return body_of(values), message_id


def signature_headers(private_key: str, body: bytes) -> dict[str, str]:
    """Return the headers by which SendGrid signs a post that is sent now."""
    keys = Keys(sendgrid_private_key=private_key)
    return dict(PROVIDERS["sendgrid"].sign(keys, "", body, time.time_ns() // 1000).headers)


def _shuffled(events: int, now: int, chance: Random, story: Callable[["_Message"], Iterator[Told]]) -> Iterator[Told]:
    left, number = events, 0
    while left > 0:
        near: list[Told] = []
        for number in range(number, number + NEIGHBOURS):  # noqa: B020 - the count goes on where it was
            near.extend(story(_Message.of(number, now, chance)))
        number += 1
        chance.shuffle(near)
        yield from near[:left]
        left -= len(near)


class _Message(NamedTuple):
    number: int
    at: int
    account: str
    id: str
    chance: Random

    @classmethod
    def of(cls, number: int, now: int, chance: Random) -> "_Message":
        at = now - chance.randrange(3_600, 5 * _DAY_SECONDS)
        account = f"acct{min(chance.randrange(ACCOUNTS), chance.randrange(ACCOUNTS))}"
        return cls(number, at, account, uuid7(at * 1_000_000, chance.randbytes(10)), chance)


def _sendgrid(message: _Message) -> Iterator[Told]:
    number, chance = message.number, message.chance
    entries: list[tuple[str, int, dict[str, object]]] = [("processed", 1, {})]
    if chance.random() < 0.05:
        bounce = {"type": "bounce", "status": "5.1.1", "bounce_classification": "Invalid Address"}
        entries.append(("bounce", 3, {**bounce, "reason": "550 5.1.1 The email account does not exist"}))
    else:
        entries.append(("delivered", 3, {"response": "250 2.0.0 OK 1731935400 d2e1a72fcca58-7248 - gsmtp", "tls": 1}))
        client = {"useragent": _USER_AGENT, "ip": f"198.51.100.{number % 250}"}
        entries += [("open", 60 + n, {**client, "sg_machine_open": False}) for n in range(2) if chance.random() < 0.5]
        if chance.random() < 0.15:
            entries.append(("click", 90, {**client, "url": f"https://booking.example.com/confirm/{number}"}))
    for name, later, more in entries:
        value = element(name, message.at + later, number, (message.account, message.id), **more)
        yield Told(message.id, name, orjson.dumps(value))


def _postmark(message: _Message) -> Iterator[Told]:
    number, chance = message.number, message.chance
    address = f"recipient{number}@example{number % 97}.com"
    entries: list[tuple[str, str, int, dict[str, object]]] = []
    if chance.random() < 0.05:
        bounce = {"ID": number, "Type": "HardBounce", "TypeCode": 1, "Email": address, "Inactive": True}
        bounce |= {"Details": "smtp;550 5.1.1 The email account does not exist", "Description": "Unknown user"}
        entries.append(("Bounce", "BouncedAt", 3, bounce))
    else:
        entries.append(("Delivery", "DeliveredAt", 3, {"Recipient": address, "Details": "smtp;250 2.0.0 OK"}))
        client = {"Recipient": address, "UserAgent": _USER_AGENT, "Geo": {"IP": f"198.51.100.{number % 250}"}}
        opens = [{**client, "FirstOpen": not n, "Platform": "Desktop"} for n in range(2) if chance.random() < 0.5]
        entries += [("Open", "ReceivedAt", 60 + n, each) for n, each in enumerate(opens)]
        if chance.random() < 0.15:
            link: dict[str, object] = {
                **client,
                "OriginalLink": f"https://booking.example.com/confirm/{number}",
                "ClickLocation": "HTML",
            }
            entries.append(("Click", "ReceivedAt", 90, link))
    for record, when, later, more in entries:
        value = {
            "RecordType": record,
            "ServerID": 23,
            "MessageStream": "outbound",
            "MessageID": str(UUID(int=number + (1 << 120))),
            "Tag": "reminder",
            "Metadata": {"sl_account": message.account, "sl_message": message.id},
            when: rfc3339((message.at + later) * 1_000_000),
            **more,
        }
        yield Told(message.id, record, orjson.dumps(value))


def _twilio(message: _Message) -> Iterator[Told]:
    last: dict[str, str] = {"MessageStatus": "delivered", "RawDlrDoneDate": "2611240930"}
    if message.chance.random() < 0.05:
        last = {"MessageStatus": "undelivered", "ErrorCode": "30005", "ErrorMessage": "Unknown destination handset"}
    for said in ({"MessageStatus": "queued"}, {"MessageStatus": "sent"}, last):
        form = {
            "AccountSid": "AC" + "0" * 32,
            "ApiVersion": "2010-04-01",
            "From": "+15005550006",
            "To": f"+1500{message.number:07}",
            "MessageSid": f"SM{message.number:032x}",
            "SmsSid": f"SM{message.number:032x}",
            "SmsStatus": said["MessageStatus"],
            **said,
        }
        query = urlencode({"sl_account": message.account, "sl_message": message.id})
        yield Told(message.id, said["MessageStatus"], urlencode(form).encode(), query)


_TIMELINES: Final[dict[str, Callable[[_Message], Iterator[Told]]]] = {
    "sendgrid": _sendgrid,
    "postmark": _postmark,
    "twilio": _twilio,
}
