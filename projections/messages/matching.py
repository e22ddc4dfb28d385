"""Match events that carry no message id (orphans) to messages by the provider's id.

In:  orphans (of each event the copy received first), the dispatches with the same provider ids, and the copies of these
     events that the table `events` has already.
Out: an `Assignment`: the rows to write, so that each orphan belongs to its message.

Pure. The result does not depend on the order in which orphans, dispatches and requests arrived. Writing an assignment
twice has the same effect as writing it once. Why no match is missed: processors/ledger/match.py.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import orjson

from projections.messages.queries import Query
from schemas.decoding.ids import ALL, uuid7
from schemas.decoding.sends import Request
from schemas.events import Event, SourcePosition

__all__ = [
    "MAX_ID_BYTES",
    "NEVER",
    "SUPPRESSION_LIST",
    "Assignment",
    "Candidate",
    "ExistingCopies",
    "MessageKey",
    "ProviderId",
    "arrival",
    "assign",
    "candidates_of",
    "copies_of",
    "is_matchable",
    "orphans_with",
    "owner_of",
    "platform_wide_event",
    "recent_provider_ids",
    "synthetic_request",
]

MAX_ID_BYTES: Final = 1_000
"""Longer provider ids are never matched; no provider sends them. The table `holders` has the same limit."""
NEVER: Final = 2**128 - 1
"""The arrival of no event."""
SUPPRESSION_LIST: Final = "Suppression list"
"""The type of a platform-wide row."""


class ProviderId(NamedTuple):
    """A provider's id of a message, cut to the form that a dispatch has."""

    provider: str
    provider_message_id: str


class MessageKey(NamedTuple):
    """A message's identity."""

    account_id: str
    message_id: str


class Candidate(NamedTuple):
    """A message dispatched under a provider id, and its To key; empty until a request or decision is read."""

    key: MessageKey
    to_key: str


@dataclass(slots=True)
class ExistingCopies:
    """The copies of one event that are stored for messages already."""

    named: set[MessageKey] = field(default_factory=set)
    """The messages that a copy names by our own ids."""
    matched: set[MessageKey] = field(default_factory=set)
    """The messages to which it was matched through a dispatch."""
    withdrawn: set[MessageKey] = field(default_factory=set)
    """The messages from which it was withdrawn."""
    first_arrival: dict[MessageKey, int] = field(default_factory=dict)
    """The `arrival` of the copy that arrived first, but for withdrawn ones."""


@dataclass(slots=True)
class Assignment:
    """Events to write, with the ids of the messages that they belong to."""

    named: list[Event] = field(default_factory=list)
    """Earlier copies of events whose other copies name the message."""
    matched: list[Event] = field(default_factory=list)
    withdrawn: list[Event] = field(default_factory=list)
    """Events that were matched to the wrong message. They carry the ids of the message that they are removed from."""
    restored: list[Event] = field(default_factory=list)
    """Events that were withdrawn from their own message, with its ids. It looked like another's while a dispatch was
    lost. The withdrawn row is kept in every merge, so it has to be deleted."""


def arrival(event: Event) -> int:
    """Return a number that orders the copies of an event as they arrived: by time, then by their place in the log.

    It is the complement of the column `copy` (tables/0001_events.sql).
    """
    place = (event.partition % 4096 << 64) + (event.offset % 2**44 << 20) + event.position % 2**20
    return (event.received_us << 76) + place


def is_matchable(provider_message_id: str) -> bool:
    """Whether an id can link an event to a dispatch."""
    return 0 < len(provider_message_id.encode("utf-8", "surrogatepass")) <= MAX_ID_BYTES


def owner_of(address: str, candidates: Sequence[Candidate]) -> MessageKey | None:
    """Return the message of an event of `address`: the only candidate, else the one candidate with that To."""
    if len(candidates) == 1:
        return candidates[0].key
    of_address = [candidate.key for candidate in candidates if address and candidate.to_key == address]
    return of_address[0] if len(of_address) == 1 else None


def assign(
    orphans: Iterable[Event],
    candidates: Mapping[ProviderId, Sequence[Candidate]],
    existing: Mapping[str, ExistingCopies],
    *,
    rewrite: bool = False,
) -> Assignment:
    """Return the rows to write. `existing` is by event_id. Our own ids take precedence over a dispatch.

    `rewrite`: also the rows that exist already, since a row of another table may be missing or may have been missing.
    """
    result = Assignment()
    for orphan in orphans:
        dispatched = candidates.get(ProviderId(orphan.provider, orphan.provider_message_id), ())
        copies = existing.get(orphan.event_id) or ExistingCopies()
        owner = owner_of(orphan.address, dispatched)
        if copies.named:
            owner = None
            result.named += [_with_ids(orphan, key) for key in copies.named if _is_needed(orphan, copies, key, rewrite)]
        elif owner is not None and _is_needed(orphan, copies, owner, rewrite):
            result.matched.append(_with_ids(orphan, owner))
        result.withdrawn += [
            _with_ids(orphan, key)
            for key in copies.matched - {owner}
            if copies.named or owner is not None or _is_foreign(orphan, key, dispatched)
        ]
        if rewrite:
            result.withdrawn += [_with_ids(orphan, key) for key in copies.withdrawn - {owner}]
            result.restored += [_with_ids(orphan, key) for key in copies.withdrawn & {owner}]
    return result


def _with_ids(event: Event, key: MessageKey) -> Event:
    return event._replace(account_id=key.account_id, message_id=key.message_id)


def _is_needed(event: Event, copies: ExistingCopies, key: MessageKey, rewrite: bool) -> bool:
    """Whether no copy of the event arrived earlier; the one that arrived first is kept."""
    return arrival(event) < copies.first_arrival.get(key, NEVER) + rewrite


def _is_foreign(event: Event, key: MessageKey, candidates: Sequence[Candidate]) -> bool:
    """Whether the event certainly belongs to another message. While the message's To is unknown, it may be its own."""
    if len(candidates) < 2:
        return False
    to_key = next((candidate.to_key for candidate in candidates if candidate.key == key), "")
    return bool(to_key) and to_key != event.address


def platform_wide_event(event: Event) -> Event | None:
    """Return the event as one of a platform-wide row if it is a suppression list change without a message, else None.

    The row's Email ID is derived from the event's own time and its event_id, which are the same in every delivery. If
    the event states no valid time, the id has the time 1970, since the arrival differs between deliveries.
    """
    if event.type != "subscription_changed" or event.provider_message_id or event.message_id:
        return None
    stated_us = 0 if _has_time_of_arrival(event) else event.occurred_us
    return event._replace(account_id=ALL, message_id=uuid7(stated_us, bytes.fromhex(event.event_id)))


def _has_time_of_arrival(event: Event) -> bool:
    """Whether the event's time is its arrival time; adapters note that in `extra`."""
    notes = orjson.loads(event.extra) if event.extra else {}
    return notes.get("occurred_at") == "received_at"


def synthetic_request(event: Event) -> Request:
    """Return a synthetic request for a platform-wide row: it gives the row its type and the address as its To."""
    raw = orjson.loads(event.extra) if event.extra else {}
    to = next((text for name in ("Recipient", "Email") if isinstance(text := raw.get(name), str)), event.address)
    return Request(
        account_id=event.account_id,
        message_id=event.message_id,
        content_hash=event.event_id,
        requested_us=event.occurred_us,
        channel="email",
        template_id="",
        template_name=SUPPRESSION_LIST,
        template_kind="",
        recipient_kind="",
        recipient_id="",
        recipient_name="",
        to=to,
        to_key=event.address,
        cc=(),
        sender="",
        subject="",
        appointment_id="",
        source=SourcePosition(event.topic, event.partition, event.offset, event.received_us),
        extra="",
    )


# -- queries

_SAME_NAMES: Final = (
    *("provider", "type", "account_id", "provider_message_id", "provider_event_id", "address", "code"),
    *("enhanced_code", "reason", "classification", "fault", "machine", "url", "user_agent", "ip", "attempt", "group"),
    *("extra", "topic", "partition", "offset", "position"),
)
_FIELD_SQL: Final = {
    "event_id": "lower(hex(event_id))",
    "message_id": "''",
    "occurred_us": "toUnixTimestamp64Micro(occurred_at)",
    "received_us": "toUnixTimestamp64Micro(received_at)",
    **{name: name for name in _SAME_NAMES},
}
_EVENT_COLUMNS: Final = ", ".join(f"{_FIELD_SQL[name]} AS {name}_" for name in Event._fields)
_HAS_PROVIDER_ID: Final = "provider = {provider:String} AND provider_message_id IN {ids:Array(String)}"


def orphans_with(provider: str, ids: Sequence[str]) -> Query:
    """Return the query of the orphans with these provider ids; columns in the order of `Event`'s fields."""
    return Query(
        f"SELECT {_EVENT_COLUMNS} FROM orphans FINAL WHERE {_HAS_PROVIDER_ID}",  # noqa: S608 - our own names
        {"provider": provider, "ids": list(ids)},
    )


def candidates_of(provider: str, ids: Sequence[str]) -> Query:
    """Return the query of (provider id, account, message, To key) for all dispatches with these provider ids."""
    return Query(
        f"""
        WITH under AS
        (
            SELECT DISTINCT provider_message_id, account_id, message_id FROM dispatches WHERE {_HAS_PROVIDER_ID}
        )
        SELECT u.provider_message_id, u.account_id, toString(u.message_id), m.to_key
        FROM under AS u
        LEFT JOIN
        (
            SELECT account_id, message_id, substring(to_key, 17) AS to_key FROM message_state FINAL
            WHERE (account_id, sent_at, message_id) IN
                (SELECT account_id, UUIDv7ToDateTime(message_id, 'UTC'), message_id FROM under)
        ) AS m ON u.account_id = m.account_id AND u.message_id = m.message_id
        """,  # noqa: S608 - our own names
        {"provider": provider, "ids": list(ids)},
    )


def copies_of(provider: str, ids: Sequence[str]) -> Query:
    """Return the query of (event_id, account, message, link, arrival) for stored copies of the orphans with these ids.

    All copies of an event have the same provider id, because event_id is a hash over a natural key that contains it. So
    `holders` finds the messages by that id, and only the events of these messages are read.
    """
    return Query(
        f"""
        SELECT lower(hex(event_id)), account_id, toString(message_id),
            if(min(link) = '', '', argMax(link, copy)), bitNot(maxIf(copy, link != 'withdrawn'))
        FROM events
        WHERE (account_id, sent_at, message_id) IN
        (
            SELECT account_id, UUIDv7ToDateTime(message_id, 'UTC'), message_id FROM holders
            WHERE known_by IN (SELECT concat({{provider:String}}, ':', arrayJoin({{ids:Array(String)}})))
        )
        AND event_id IN (SELECT event_id FROM orphans WHERE {_HAS_PROVIDER_ID})
        AND account_id != '*'
        GROUP BY account_id, message_id, event_id
        """,  # noqa: S608 - our own names
        {"provider": provider, "ids": list(ids)},
    )


def recent_provider_ids(seconds: int) -> Query:
    """Return the query of (provider, provider id) for the orphans that were stored within so many seconds."""
    return Query(
        "SELECT DISTINCT provider, provider_message_id FROM recent_orphans"
        " WHERE stored_at >= now() - toIntervalSecond({seconds:UInt32})",
        {"seconds": seconds},
    )
