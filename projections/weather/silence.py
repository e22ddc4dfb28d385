"""Judge which event types of which providers are silent, and whether that is more likely their fault or ours.

In:  what was heard of each provider and type, up to a time; and what else is known about each provider.
Out: `Silence`s. Pure: the same input gives the same result, in any order.

A type is silent if it stops while the type that precedes it goes on: `delivered` while `processed` goes on, or all
events of a provider while messages are handed over to it. The ratio of the two in the day before tells how many events
were to be expected, so a night without traffic does not count as a silence. Types that depend on people, like `opened`,
are not judged; bounces neither, since it is no fault if they stop.
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
"""For how many minutes events are counted by the minute. Of a longer silence only these minutes are judged."""
MIN_SECONDS: Final = 300
"""How long an event may come after the one that precedes it. So the first burst after a quiet night is no silence."""
MIN_EXPECTED: Final = 10
"""With fewer expected events, or fewer of the preceding type, a gap may be chance."""
MIN_USUAL: Final = 20
"""A type with fewer events in the day before is not judged: that is too few to know what is usual."""
ANY_TYPE: Final = ""
"""The type of a silence of the whole provider."""

_FEW: Final = 3
"""Fewer dead letters, refused webhooks or unknown events are usual, and no evidence."""
_CAUSED_BY: Final[Mapping[str, Sequence[str]]] = {
    EventType.PROCESSED: (EventType.DISPATCHED,),
    EventType.SENT: (EventType.PROCESSED, EventType.DISPATCHED),
    EventType.DELIVERED: (EventType.PROCESSED, EventType.SENT, EventType.DISPATCHED),
}
"""The types that are judged, each with the types that may precede it. Each is compared with one of these: the one of
which the provider had most events in the day before."""


class Heard(NamedTuple):
    """The events of one provider and type within a day. Type `dispatched`: messages that were handed over to it."""

    provider: str
    type: str
    last_us: int
    """When the last one arrived."""
    usual: int
    """Events of the day, without the recent minutes."""
    minutes: Mapping[int, int]
    """Events of the recent minutes, by minute since 1970."""


class Evidence(NamedTuple):
    """What else is known about one provider. None: it could not be read."""

    unread: int | None = None
    """Webhooks in Kafka that the ledger has not read."""
    letters: int | None = None
    """Recent dead letters of its webhooks."""
    refused: int | None = None
    """Webhooks that were refused because of their signature, if the last one is recent."""


_EVIDENCE: Final[Mapping[str, str]] = {
    "unread": "webhooks that the ledger has not read",
    "letters": "dead letters",
    "refused": "webhooks with a refused signature",
}
"""The fields of `Evidence`, for people."""


class Likely(StrEnum):
    """On whose side the cause is more likely."""

    PROVIDER = "provider"
    SENDLEDGER = "sendledger"
    UNCLEAR = "unclear"


class Cause(StrEnum):
    """Why the cause of a silence is likely on one side, or why that is unclear."""

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
    """How many events were to be expected since then, at least."""
    goes_on: str
    """The preceding type, which goes on."""
    went_on: int
    """How many events of that type there were since then, without those of the last MIN_SECONDS."""
    likely: Likely
    cause: Cause
    because: str


def judge(heard: Iterable[Heard], now_us: int, evidence: Mapping[str, Evidence]) -> list[Silence]:
    """Return what is silent at `now_us`, by provider and type.

    Of a provider that is silent as a whole there is one `Silence`, and none of its single types.
    """
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
    """Events of the preceding type are counted up to this time: what follows a later one may still come."""


def _merged(provider: str, types: Mapping[str, Heard]) -> Heard:
    """Return all events of a provider together, without `dispatched`."""
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
    """Return by how much `silent` is missing, compared with the types that may precede it; None if it is not silent."""
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
    """Return the number of events in whole minutes after `from_us` and before `to_us`."""
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
    """Return the first cause that applies, and a text. Faults on our side come first, the provider's last."""
    whole, provider = gap.silent.type == ANY_TYPE, gap.silent.provider
    # Each webhook may have events of any type: if the ledger is behind, all types are missing, not a single one.
    if whole and evidence.unread:
        return Cause.UNREAD, f"Kafka has {evidence.unread:,} webhooks of {provider} that the ledger has not read"
    if (evidence.letters or 0) >= _FEW:
        return Cause.LETTERS, f"{evidence.letters:,} webhooks of {provider} or parts of them became dead letters"
    if (evidence.refused or 0) >= _FEW:
        return Cause.REFUSED, f"the gateway refused {evidence.refused:,} webhooks of {provider} for their signature"
    if unknown := _unusual_unknown(gap, types):
        return Cause.UNKNOWN_TYPES, f"{unknown:,} events of an unknown type came meanwhile"
    usual = [other for other in others if other.usual >= MIN_USUAL]
    # Others count as heard only in the later half of the silence: if the gateway fails, the last events of the
    # providers are minutes apart.
    later_us = gap.silent.last_us + gap.seconds * SECOND_US // 2
    heard = [other.provider for other in usual if other.last_us > later_us]
    if whole and usual and not heard:
        return Cause.ALL_SILENT, f"nothing came from {' or '.join(other.provider for other in usual)} either"
    if whole and not heard:
        return Cause.NOT_COMPARABLE, "no other provider shows whether the gateway can be reached"
    if None in evidence:
        unknown_evidence = ", ".join(_EVIDENCE[name] for name, value in evidence._asdict().items() if value is None)
        return (
            Cause.NOT_KNOWN,
            f"no fault on our side was found so far, but these could not be read: {unknown_evidence}",
        )
    goes_on = f"events of {' and '.join(heard)}" if whole else f"other events of {provider}"
    return Cause.PROVIDER, f"{goes_on} arrive and are stored, and none are refused"


def _unusual_unknown(gap: _Gap, types: Mapping[str, Heard]) -> int:
    """Return how many events of an unknown type came meanwhile if they are at least twice as many as usual, else 0."""
    unknown = types.get(EventType.UNKNOWN)
    if unknown is None:
        return 0
    number = _between(unknown, gap.silent.last_us, gap.until_us)
    return number if number >= max(_FEW, 2 * gap.went_on * unknown.usual // gap.cause.usual) else 0
