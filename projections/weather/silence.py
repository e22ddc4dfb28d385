"""Judge which event types of which providers are silent, and whether that is more likely their fault or ours.

In:  what was heard of each provider and type, up to a time; and what else is known about each provider.
Out: `Silence`s. Pure: the same input gives the same result, in any order.

A type is silent if what causes it went on without it: `delivered` while `processed` goes on, or everything of a
provider while messages are handed over to it. How many events were to be expected follows from how the two were related
during the day before; so a quiet night is no silence. Types that depend on people, like `opened`, are not judged, and
neither are bounces: that they stop is good news.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from schemas.decoding.times import SECOND_US
from schemas.events import EventType

__all__ = [
    "ANY_TYPE",
    "MINUTE_US",
    "MIN_EXPECTED",
    "MIN_SECONDS",
    "MIN_USUAL",
    "NEXT_STEPS",
    "RECENT_MINUTES",
    "Cause",
    "Evidence",
    "Heard",
    "Likely",
    "Silence",
    "judge",
]

MINUTE_US: Final = 60 * SECOND_US
RECENT_MINUTES: Final = 60
"""How far back events are known by the minute. Of a longer silence only these minutes are counted."""
MIN_SECONDS: Final = 300
"""How long an event may take after what causes it, so that a burst after a quiet night is no silence."""
MIN_EXPECTED: Final = 10
"""Fewer events, expected or of what causes them, may be chance."""
MIN_USUAL: Final = 20
"""Fewer events of the day before say nothing about what is usual."""
ANY_TYPE: Final = ""
"""The type of a silence of the whole provider."""

_FEW: Final = 3
"""Fewer dead letters, refused webhooks or unknown events happen by themselves."""
_CAUSED_BY: Final[Mapping[str, Sequence[str]]] = {
    EventType.PROCESSED: (EventType.DISPATCHED,),
    EventType.SENT: (EventType.PROCESSED, EventType.DISPATCHED),
    EventType.DELIVERED: (EventType.PROCESSED, EventType.SENT, EventType.DISPATCHED),
}
"""The types that are judged, and what goes before each: what the provider has most of counts."""


class Heard(NamedTuple):
    """What was heard of one provider and type within a day. `dispatched`: what was handed over to it."""

    provider: str
    type: str
    last_us: int
    usual: int
    """Events of the day before the recent minutes."""
    minutes: Mapping[int, int]
    """Events of the recent minutes, by minute since 1970."""


class Evidence(NamedTuple):
    """What else is known about one provider. None: it could not be found out."""

    unread: int | None = None
    """Webhooks in Kafka that the ledger has not read."""
    letters: int | None = None
    """Recent dead letters of its webhooks."""
    refused: int | None = None
    """Webhooks that were refused because of their signature, if the last one is recent."""


class Likely(StrEnum):
    """On whose side the cause is more likely."""

    PROVIDER = "provider"
    SENDLEDGER = "sendledger"
    UNCLEAR = "unclear"


class Cause(StrEnum):
    """Why a silence is likely on one side."""

    UNREAD = "unread_records"
    LETTERS = "dead_letters"
    REFUSED = "refused_signatures"
    UNKNOWN_TYPES = "unknown_types"
    ALL_SILENT = "all_providers_silent"
    PROVIDER = "provider"
    NOT_COMPARABLE = "nothing_to_compare"
    NOT_KNOWN = "evidence_missing"


NEXT_STEPS: Final[Mapping[Cause, str]] = {
    Cause.UNREAD: "See whether the ledger runs: `sendledger lag` and `sendledger doctor`",
    Cause.LETTERS: "See why: `sendledger dead-letters list`",
    Cause.REFUSED: "Compare the keys of the gateway with the provider's: docs/how-to/rotate-a-key.md",
    Cause.UNKNOWN_TYPES: "See `sendledger_unknown_total` and their `extra`: the provider may have renamed a type",
    Cause.ALL_SILENT: "See whether the gateway can be reached at the public URL: `sendledger doctor`",
    Cause.PROVIDER: "See the provider's status page, and whether its webhook still posts this type to us",
    Cause.NOT_COMPARABLE: "See whether the gateway can be reached at the public URL, then the provider's status page",
    Cause.NOT_KNOWN: "Find out what could not be read: `sendledger doctor`",
}
"""What to do next, by cause."""


class Silence(NamedTuple):
    """A type of a provider, or all of them (ANY_TYPE), that is silent."""

    provider: str
    type: str
    since_us: int
    """When it was last heard of."""
    seconds: int
    expected: int
    """How many events were to be expected meanwhile, at least."""
    goes_on: str
    """The type that goes on, …"""
    went_on: int
    """… and how many of it there were meanwhile, without those of the last MIN_SECONDS."""
    likely: Likely
    cause: Cause
    because: str


def judge(heard: Iterable[Heard], now_us: int, evidence: Mapping[str, Evidence]) -> list[Silence]:
    """Return what is silent at `now_us`, by provider and type. Of a provider that is silent as a whole, only that."""
    providers: dict[str, dict[str, Heard]] = {}
    for one in heard:
        providers.setdefault(one.provider, {})[one.type] = one
    found: list[Silence] = []
    for name, types in sorted(providers.items()):
        whole = _merged(name, types)
        silent = [gap] if (gap := _gap(whole, types, (EventType.DISPATCHED,), now_us)) else _gaps(types, now_us)
        others = [_merged(other, of_other) for other, of_other in sorted(providers.items()) if other != name]
        found += [_judged(one, types, others, evidence.get(name, Evidence())) for one in silent]
    return found


class _Gap(NamedTuple):
    silent: Heard
    cause: Heard
    seconds: int
    expected: int
    went_on: int
    until_us: int
    """The time up to which it is known that something is missing."""


def _merged(provider: str, types: Mapping[str, Heard]) -> Heard:
    """All events of a provider together, without what was handed over to it."""
    events = [one for one in types.values() if one.type != EventType.DISPATCHED]
    minutes: dict[int, int] = {}
    for one in events:
        for minute, number in one.minutes.items():
            minutes[minute] = minutes.get(minute, 0) + number
    last = max((one.last_us for one in events), default=0)
    return Heard(provider, ANY_TYPE, last, sum(one.usual for one in events), minutes)


def _gaps(types: Mapping[str, Heard], now_us: int) -> list[_Gap]:
    judged = (_gap(types[kind], types, causes, now_us) for kind, causes in _CAUSED_BY.items() if kind in types)
    return [gap for gap in judged if gap]


def _gap(silent: Heard, types: Mapping[str, Heard], causes: Sequence[str], now_us: int) -> _Gap | None:
    """Return the gap in `silent`, if it is one."""
    known = [types[kind] for kind in causes if kind in types]
    cause = max(known, key=lambda one: one.usual, default=None)
    if cause is None or min(cause.usual, silent.usual) < MIN_USUAL:
        return None
    until_us = now_us - MIN_SECONDS * SECOND_US
    went_on = _between(cause, silent.last_us, until_us)
    expected = went_on * silent.usual // cause.usual
    seconds = (now_us - silent.last_us) // SECOND_US
    return _Gap(silent, cause, seconds, expected, went_on, until_us) if min(expected, went_on) >= MIN_EXPECTED else None


def _between(heard: Heard, from_us: int, to_us: int) -> int:
    """The events in whole minutes after `from_us` and before `to_us`."""
    return sum(n for minute, n in heard.minutes.items() if from_us // MINUTE_US < minute < to_us // MINUTE_US)


def _judged(gap: _Gap, types: Mapping[str, Heard], others: Sequence[Heard], evidence: Evidence) -> Silence:
    cause, because = _cause(gap, types, others, evidence)
    if cause in (Cause.NOT_COMPARABLE, Cause.NOT_KNOWN):
        likely = Likely.UNCLEAR
    else:
        likely = Likely.PROVIDER if cause is Cause.PROVIDER else Likely.SENDLEDGER
    silent = gap.silent
    return Silence(
        silent.provider,
        silent.type,
        silent.last_us,
        gap.seconds,
        gap.expected,
        gap.cause.type,
        gap.went_on,
        likely,
        cause,
        because,
    )


def _cause(gap: _Gap, types: Mapping[str, Heard], others: Sequence[Heard], evidence: Evidence) -> tuple[Cause, str]:
    """The first cause that applies: proof of a fault on our side comes before the absence of it."""
    whole, provider = gap.silent.type == ANY_TYPE, gap.silent.provider
    # Not of a single type: the records that were read contain all of them.
    if whole and evidence.unread:
        return Cause.UNREAD, f"Kafka has {evidence.unread:,} webhooks of {provider} that the ledger has not read"
    if (evidence.letters or 0) >= _FEW:
        return Cause.LETTERS, f"{evidence.letters:,} webhooks of {provider} or parts of them became dead letters"
    if (evidence.refused or 0) >= _FEW:
        return Cause.REFUSED, f"the gateway refused {evidence.refused:,} webhooks of {provider} for their signature"
    if unknown := _unusual_unknown(gap, types):
        return Cause.UNKNOWN_TYPES, f"{unknown:,} events of an unknown type came meanwhile"
    usual = [other for other in others if other.usual >= MIN_USUAL]
    # Heard of in the later half: providers that stop with the gateway do not stop at the same moment.
    later_us = gap.silent.last_us + gap.seconds * SECOND_US // 2
    heard = [other.provider for other in usual if other.last_us > later_us]
    if whole and usual and not heard:
        return Cause.ALL_SILENT, f"nothing came from {' or '.join(other.provider for other in usual)} either"
    if whole and not heard:
        return Cause.NOT_COMPARABLE, "no other provider shows whether the gateway can be reached"
    if None in evidence:
        missing = ", ".join(name for name, value in evidence._asdict().items() if value is None)
        return Cause.NOT_KNOWN, f"nothing speaks against {provider}, but not all could be read: {missing}"
    goes_on = f"events of {' and '.join(heard)}" if whole else f"other events of {provider}"
    return Cause.PROVIDER, f"{goes_on} arrive and are stored, and none are refused"


def _unusual_unknown(gap: _Gap, types: Mapping[str, Heard]) -> int:
    """How many events of an unknown type came meanwhile, if that is more than twice as many as usual."""
    unknown = types.get(EventType.UNKNOWN)
    if unknown is None:
        return 0
    number = _between(unknown, gap.silent.last_us, gap.until_us)
    return number if number >= max(_FEW, 2 * gap.went_on * unknown.usual // gap.cause.usual) else 0
