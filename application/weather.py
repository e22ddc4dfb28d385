"""How the events of each provider arrive now, compared with the day before; who is silent, and who is likely at fault.

In:  ClickHouse for what arrived; Kafka for webhooks that the ledger has not read and for dead letters; the number of
webhooks that the gateways refused.
Out: a `Weather`. Without ClickHouse there is none. What Kafka or the gateways do not answer is None, and the judgement
of a silence names it.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

from application.lookups import RunBlocking
from processors.dead_letters.browsing import read_open_letters
from processors.kafka.lag import lag
from projections.store.ports import Reader
from projections.weather.arrivals import Arrivals, read_arrivals, read_heard
from projections.weather.silence import (
    MINUTE_US,
    NEXT_STEPS,
    Evidence,
    Heard,
    Silence,
    judge,
)
from schemas.consumer_groups import ConsumerGroup
from schemas.decoding.times import DAY_US, rfc3339
from schemas.errors import SendledgerError
from schemas.events import EventType
from schemas.kafka_connection import KafkaAddress
from schemas.topics import WEBHOOKS

__all__ = ["DEFAULT_MINUTES", "MAX_MINUTES", "Refusals", "Weather", "WeatherRow", "read_weather"]

DEFAULT_MINUTES: Final = 15
MAX_MINUTES: Final = 60

_KAFKA_SECONDS: Final = 4.0
_MAX_LETTERS: Final = 10_000

T = TypeVar("T")


class Refusals(NamedTuple):
    """Webhooks of a provider that the gateways refused because of their signature."""

    number: int
    """Since the gateways started."""
    last_us: int
    """When the last one was refused; 0 if none was."""


@dataclass(frozen=True, slots=True)
class WeatherRow:
    """One provider and type: what arrived within the window, and within the same minutes of the day before."""

    provider: str
    type: str
    last_us: int
    now: Arrivals
    day_before: Arrivals


@dataclass(frozen=True, slots=True)
class Weather:
    """The state of all providers at `to_us`."""

    from_us: int
    to_us: int
    rows: Sequence[WeatherRow]
    silences: Sequence[Silence]
    evidence: Mapping[str, Evidence]
    refusals: Mapping[str, Refusals] | None

    def as_json(self) -> dict[str, Any]:
        """Return what the API and `sendledger weather --json` answer."""
        return {
            "items": [
                {
                    "provider": row.provider,
                    "type": row.type,
                    "last_received_at": rfc3339(row.last_us),
                    "now": _measures(row.now),
                    "day_before": _measures(row.day_before),
                }
                for row in self.rows
            ],
            "next": None,
            "silences": [_silence(one) for one in self.silences],
            "providers": [self._provider(name) for name in sorted(self.evidence)],
            "from": rfc3339(self.from_us),
            "to": rfc3339(self.to_us),
        }

    def _provider(self, name: str) -> dict[str, Any]:
        evidence = self.evidence[name]
        refusals = None if self.refusals is None else self.refusals.get(name, Refusals(0, 0))
        return {
            "provider": name,
            "unread": evidence.unread,
            "dead_letters": evidence.letters,
            "signature_failures": refusals and refusals.number,
            "signature_failed_at": rfc3339(refusals.last_us) if refusals and refusals.last_us else None,
        }


async def read_weather(
    read: RunBlocking,
    store: Reader,
    *,
    bootstrap: KafkaAddress,
    consumer_group: str,
    minutes: int,
    now_us: int,
    refusals: Mapping[str, Refusals] | None,
) -> Weather:
    """Return the weather of the last `minutes`. `refusals`: None if the gateways could not be asked.

    Raises StoreError and StoreRefused.
    """
    from_us = now_us - minutes * MINUTE_US
    found, before, heard, unread, letters = await asyncio.gather(
        read(read_arrivals, store, from_us, now_us),
        read(read_arrivals, store, from_us - DAY_US, now_us - DAY_US),
        read(read_heard, store, now_us),
        _or_none(_unread(bootstrap, consumer_group)),
        _or_none(_letters(bootstrap, from_us)),
    )
    evidence = {
        name: Evidence(
            None if unread is None else unread[name],
            None if letters is None else letters[name],
            None if refusals is None else _recent(refusals.get(name), from_us),
        )
        for name in WEBHOOKS
    }
    rows = _rows(found, before, heard)
    return Weather(from_us, now_us, rows, judge(heard, now_us, evidence), evidence, refusals)


def _rows(found: Sequence[Arrivals], before: Sequence[Arrivals], heard: Sequence[Heard]) -> list[WeatherRow]:
    """Return a row for each type of which an event arrived within the day, also if none did within the window."""
    now = {(one.provider, one.type): one for one in found}
    then = {(one.provider, one.type): one for one in before}
    return [
        WeatherRow(one.provider, one.type, one.last_us, now.get(key, _none(key)), then.get(key, _none(key)))
        for one in heard
        if one.type != EventType.DISPATCHED
        for key in [(one.provider, one.type)]
    ]


def _none(key: tuple[str, str]) -> Arrivals:
    return Arrivals(*key, 0, 0, 0, 0, 0, None, None, 0)


def _recent(refusals: Refusals | None, from_us: int) -> int:
    """Return how many were refused; 0 if the last one was before the window, since such explain no silence of now."""
    return refusals.number if refusals and refusals.last_us >= from_us else 0


async def _unread(bootstrap: KafkaAddress, consumer_group: str) -> Counter[str]:
    """Return how many webhooks the ledger has not read, by provider."""
    topics = {topic.name: provider for provider, topic in WEBHOOKS.items()}
    measured = await lag(bootstrap, [ConsumerGroup(consumer_group, tuple(topics))])
    unread = Counter[str]()
    for partition in measured.partitions:
        unread[topics[partition.topic]] += partition.lag
    return unread


async def _letters(bootstrap: KafkaAddress, from_us: int) -> Counter[str]:
    """Return how many open dead letters of webhooks there are since a time, by provider."""
    found = await read_open_letters(
        bootstrap, since_ms=from_us // 1000, most=_MAX_LETTERS, within_seconds=_KAFKA_SECONDS
    )
    providers = {topic.name: provider for provider, topic in WEBHOOKS.items()}
    return Counter(providers[letter.topic] for letter in found.letters if letter.topic in providers)


async def _or_none(reading: Awaitable[T]) -> T | None:
    try:
        async with asyncio.timeout(_KAFKA_SECONDS + 1):
            return await reading
    except (SendledgerError, TimeoutError):
        return None


def _measures(found: Arrivals) -> dict[str, Any]:
    share = found.out_of_order_share
    return {
        "received": found.received,
        "events": found.events,
        "duplicate_factor": round(found.duplicate_factor, 4) if found.events else None,
        "out_of_order": found.out_of_order,
        "out_of_order_share": None if share is None else round(share, 6),
        "delay_p50_seconds": found.p50,
        "delay_p95_seconds": found.p95,
        "orphans": found.orphans,
    }


def _silence(found: Silence) -> dict[str, Any]:
    fields = found._asdict()
    fields["since"] = rfc3339(fields.pop("since_us"))
    return fields | {"what": _what(found), "next_step": NEXT_STEPS[found.cause]}


def _what(found: Silence) -> str:
    """A silence in one sentence, for people."""
    what = f"no {found.type}" if found.type else "nothing"
    if found.goes_on == EventType.DISPATCHED:
        goes_on = f"{found.went_on:,} messages were handed over to it meanwhile"
    else:
        goes_on = f"there were {found.went_on:,} events {found.goes_on} meanwhile"
    minutes = found.seconds // 60
    return f"{what} from {found.provider} for {minutes:,} min, and {found.expected:,} events were expected: {goes_on}"
