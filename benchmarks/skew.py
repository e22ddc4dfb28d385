"""How evenly the keys of the topics load their partitions and, for a sharding key, the shards of ClickHouse.

In:  accounts whose sizes fall as in Zipf's distribution, and with `Scenario.BURST` one account that sends half of all.
Out: for each kind of key and each number of partitions or shards the load of the most loaded one, as a multiple of the
     mean: 1 is even, and with N partitions N means that one has everything.
It is a calculation, not a load test: the keys have the form of the real ones, and the partitioner is the one that the
gate uses, which is that of Kafka's clients (murmur2). The same seeds give the same figures.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from itertools import accumulate, islice
from math import lcm
from random import Random
from statistics import median
from typing import Any, Final, NamedTuple

from processors.engine.transactions import partition_of
from projections.suppressions.addressing import AddressKey
from schemas.decoding.ids import uuid7

__all__ = ["PARTITIONS", "SHARDS", "Population", "Scenario", "Skew", "measure", "skew_of", "skew_rows", "zipf"]

PARTITIONS: Final = (4, 16, 64)
SHARDS: Final = (2, 8, 32)
EVENTS_OF_A_POST: Final = 15
STAFF_SHARE: Final = 0.2
"""The share of the messages that goes to the one staff address of their account, and not to a client."""
MESSAGES_OF_A_CLIENT: Final = 10
_START_US: Final = 1_780_000_000_000_000
_EVERY_US: Final = 10_000


class Scenario(StrEnum):
    """Who sends."""

    USUAL = "accounts by size"
    BURST = "one account sends half"


@dataclass(frozen=True, slots=True)
class Population:
    """The accounts, and how much they send."""

    accounts: int = 5_000
    exponent: float = 1.0
    """Of Zipf's distribution: the account of rank r sends in proportion to r to the power of -exponent."""
    messages: int = 50_000


class Message(NamedTuple):
    """What the keys of a message's records are made of."""

    message_id: str
    account_id: str
    address: str


@dataclass(frozen=True, slots=True)
class Skew:
    """How unevenly one kind of key loads so many partitions or shards."""

    scenario: Scenario
    key: str
    of: str
    """`partitions` or `shards`."""
    count: int
    max_to_mean: float
    """The median over the seeds."""
    worst: float
    """The greatest of any seed."""
    floor: float
    """What the largest key causes by itself, however good the hash: the median over the seeds."""


def zipf(accounts: int, exponent: float) -> list[float]:
    """Return the share of each account in all messages, the largest first. They sum to 1."""
    weights = [rank**-exponent for rank in range(1, accounts + 1)]
    whole = sum(weights)
    return [weight / whole for weight in weights]


def skew_of(loads: Mapping[bytes, int], count: int, placed: Callable[[bytes, int], int]) -> float:
    """Return the load of the most loaded of `count` places, as a multiple of the mean. `placed` says where a key is."""
    by_place = [0] * count
    for key, load in loads.items():
        by_place[placed(key, count)] += load
    return max(by_place) * count / sum(by_place)


def measure(population: Population, seeds: Sequence[int]) -> list[Skew]:
    """Return the skew of each key, for each number of partitions and of shards, over several seeds."""
    found: dict[tuple[Scenario, str, str, int], list[tuple[float, float]]] = {}
    for scenario in Scenario:
        for seed in seeds:
            loads = _loads(_messages(population, scenario, Random(seed)), Random(seed))
            for of, keys, counts, placed in _LAYOUTS:
                for name, key in keys.items():
                    # Each key is hashed once: its place among the least common multiple gives it among each count.
                    placed_at = {each: placed(each, lcm(*counts)) for each in loads[key]}
                    for count in counts:
                        skew = skew_of(loads[key], count, lambda each, n: placed_at[each] % n)  # noqa: B023 - used at once
                        floor = max(1.0, max(loads[key].values()) * count / loads[key].total())
                        found.setdefault((scenario, name, of, count), []).append((skew, floor))
    return [
        Skew(*what, median(skew for skew, _ in each), max(skew for skew, _ in each), median(floor for _, floor in each))
        for what, each in found.items()
    ]


def skew_rows(skews: Iterable[Skew]) -> list[dict[str, Any]]:
    """Return rows for a table."""
    return [
        {
            "senders": str(skew.scenario),
            "key": skew.key,
            skew.of: skew.count,
            "max_to_mean": skew.max_to_mean,
            "worst_seed": skew.worst,
            "floor_by_largest_key": skew.floor,
        }
        for skew in skews
    ]


def shard_of(key: bytes, shards: int) -> int:
    """Return the shard of a key by a hash that is as even as ClickHouse's, but not the same."""
    return int.from_bytes(blake2b(key, digest_size=8).digest(), "big") % shards


def _messages(population: Population, scenario: Scenario, chance: Random) -> Iterator[Message]:
    """Yield the messages of one hour or so, in order of time."""
    shares = zipf(population.accounts, population.exponent)
    names = [f"{chance.getrandbits(48):012x}" for _ in shares]
    clients = [max(1, round(share * population.messages / MESSAGES_OF_A_CLIENT)) for share in shares]
    senders = chance.choices(range(population.accounts), cum_weights=list(accumulate(shares)), k=population.messages)
    burst_by = chance.randrange(population.accounts)
    for number, sender in enumerate(senders):
        message_id = uuid7(_START_US + number * _EVERY_US, chance.randbytes(10))
        if scenario is Scenario.BURST and number % 2:  # to all clients of one account, each once
            yield Message(message_id, names[burst_by], f"client{number}@{names[burst_by]}.example.com")
        elif chance.random() < STAFF_SHARE:
            yield Message(message_id, names[sender], f"staff@{names[sender]}.example.com")
        else:
            client = chance.randrange(clients[sender])
            yield Message(message_id, names[sender], f"client{client}@{names[sender]}.example.com")


def _loads(messages: Iterable[Message], chance: Random) -> dict[str, Counter[bytes]]:
    """Return how many messages, and for posts how many events, each key stands for."""
    loads = {name: Counter[bytes]() for name in ("message", "post", "address", "account")}
    each = iter(messages)
    posts = 0
    while some := list(islice(each, EVENTS_OF_A_POST)):
        posts += 1
        for message in some:
            loads["message"][message.message_id.encode()] += 1
            loads["address"][str(AddressKey("email", message.address)).encode()] += 1
            loads["account"][message.account_id.encode()] += 1
        posted = uuid7(_START_US + posts * EVENTS_OF_A_POST * _EVERY_US, chance.randbytes(10))
        loads["post"][posted.encode()] += len(some)
    return loads


_BY_PARTITION: Final = {
    "message_id: sends.*": "message",
    "webhook_id: webhooks.*, posts of 15 events": "post",
    "channel:address: gate.by-address": "address",
    "account_id: gate.by-account": "account",
}
_BY_SHARD: Final = {"message_id": "message", "account_id": "account"}
_LAYOUTS: Final[tuple[tuple[str, dict[str, str], tuple[int, ...], Callable[[bytes, int], int]], ...]] = (
    ("partitions", _BY_PARTITION, PARTITIONS, partition_of),
    ("shards", _BY_SHARD, SHARDS, shard_of),
)
