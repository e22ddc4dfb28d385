"""SendGrid-like traffic for measuring: distinct events of about 350 bytes, as posts of any size.

In:  a number of events, and how many stand in a post.
Out: a `Traffic`: bodies, and what must be found in the tables afterwards.
Promise: the same seed gives the same stories; only the times follow the clock. Events of one message lie near each
other in the log and mostly in different posts, as real ones do.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import orjson

from schemas.identity import uuid7
from simulator.kafka import producer, send
from simulator.posts import Delivery, body_of

__all__ = ["Traffic", "element", "produce", "traffic"]

ACCOUNTS: Final = 200
NEIGHBOURS: Final = 2_000
"""So many messages have their events shuffled among each other."""
_DAY_SECONDS: Final = 86_400
_USER_AGENT: Final = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 Chrome/131.0 Safari/537.36"
_CHUNK: Final = 4_000


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bodies of posts, and what they hold."""

    bodies: list[bytes]
    events: int
    messages: int

    @property
    def body_bytes(self) -> int:
        """Bytes of all bodies."""
        return sum(map(len, self.bodies))


def traffic(events: int, per_post: int, *, now: float, seed: int = 1) -> Traffic:
    """Return `events` distinct events, `per_post` in each post."""
    chance = Random(seed)
    bodies: list[bytes] = []
    messages: set[str] = set()
    post: list[bytes] = []
    for made, (message_id, value) in enumerate(_shuffled(events, int(now), chance), 1):
        messages.add(message_id)
        post.append(value)
        if len(post) == per_post or made == events:
            bodies.append(body_of(post))
            post = []
    return Traffic(bodies, events, len(messages))


async def produce(bootstrap: str, bodies: Iterable[bytes]) -> None:
    """Write the posts as the gateway would; return when Kafka has them all."""
    async with producer(bootstrap) as kafka:
        waiting = []
        for body in bodies:
            waiting.append(await send(kafka, Delivery("post", time.time_ns() // 1000, "", body)))
            if len(waiting) == _CHUNK:
                for future in waiting:
                    await future
                waiting = []
        for future in waiting:
            await future


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


def _shuffled(events: int, now: int, chance: Random) -> Iterator[tuple[str, bytes]]:
    left, number = events, 0
    while left > 0:
        near: list[tuple[str, bytes]] = []
        for number in range(number, number + NEIGHBOURS):  # noqa: B020 - the count goes on where it was
            near.extend(_story(number, now, chance))
        number += 1
        chance.shuffle(near)
        yield from near[:left]
        left -= len(near)


def _story(number: int, now: int, chance: Random) -> Iterator[tuple[str, bytes]]:
    at = now - chance.randrange(3_600, 5 * _DAY_SECONDS)
    message_id = uuid7(at * 1_000_000, chance.randbytes(10))
    ids = (f"acct{min(chance.randrange(ACCOUNTS), chance.randrange(ACCOUNTS))}", message_id)
    told: list[tuple[str, int, dict[str, object]]] = [("processed", 1, {})]
    if chance.random() < 0.05:
        bounce = {"type": "bounce", "status": "5.1.1", "bounce_classification": "Invalid Address"}
        told.append(("bounce", 3, {**bounce, "reason": "550 5.1.1 The email account does not exist"}))
    else:
        told.append(("delivered", 3, {"response": "250 2.0.0 OK 1731935400 d2e1a72fcca58-7248 - gsmtp", "tls": 1}))
        client = {"useragent": _USER_AGENT, "ip": f"198.51.100.{number % 250}"}
        told += [("open", 60 + n, {**client, "sg_machine_open": False}) for n in range(2) if chance.random() < 0.5]
        if chance.random() < 0.15:
            told.append(("click", 90, {**client, "url": f"https://booking.example.com/confirm/{number}"}))
    for name, later, more in told:
        yield message_id, orjson.dumps(element(name, at + later, number, ids, **more))
