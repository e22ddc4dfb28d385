"""Events that don't name their message, and the messages that they belong to.

In:  orphans (each the copy received first), the dispatches under their provider ids, and what of them the table
     `events` holds already.
Out: what has to be written so that each orphan is its message's: an `Assignment`.

Pure, and the same for every order in which orphans, dispatches and requests came. Writing an assignment twice does no
more than writing it once. How the two sides never miss each other: processors/ledger/matching.py.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import orjson

from projections.messages.queries import Query
from schemas.events import Event, Place
from schemas.facts import Request
from schemas.identity import uuid7

__all__ = [
    "EVERYBODY",
    "MAX_ID_BYTES",
    "SUPPRESSION_LIST",
    "Assignment",
    "Candidate",
    "Held",
    "Pair",
    "ProviderId",
    "assign",
    "candidates_of",
    "caption_of",
    "copies_of",
    "is_matchable",
    "of_everybody",
    "orphans_under",
    "owner_of",
    "young_provider_ids",
]

EVERYBODY: Final = "*"
"""The account of log rows about an address, which no account owns."""
MAX_ID_BYTES: Final = 1_000
"""A provider's id of more matches nothing, on either side: no provider gives such. `holders` has the same bound."""
SUPPRESSION_LIST: Final = "Suppression list"
"""The type of such a row."""


class ProviderId(NamedTuple):
    """What a provider calls a message, cut as a dispatch's is."""

    provider: str
    provider_message_id: str


class Pair(NamedTuple):
    """A message's identity."""

    account_id: str
    message_id: str


class Candidate(NamedTuple):
    """A message that was dispatched under a provider id, and the key of its To; blank while nobody told it."""

    pair: Pair
    to_key: str


@dataclass(slots=True)
class Held:
    """The copies of one event that messages hold already."""

    named: set[Pair] = field(default_factory=set)
    """The messages that a copy names."""
    matched: set[Pair] = field(default_factory=set)
    """The messages that hold it by a dispatch."""
    first_received_us: dict[Pair, int] = field(default_factory=dict)


@dataclass(slots=True)
class Assignment:
    """Events with the ids of the messages that they belong to."""

    named: list[Event] = field(default_factory=list)
    """Earlier copies of events that a message's own ids claim."""
    matched: list[Event] = field(default_factory=list)
    withdrawn: list[Event] = field(default_factory=list)
    """Events that were matched to a message and are another's. They carry the ids of the message to be left."""


def is_matchable(provider_message_id: str) -> bool:
    """Whether events and dispatches can meet under an id."""
    return 0 < len(provider_message_id.encode("utf-8", "surrogatepass")) <= MAX_ID_BYTES


def owner_of(address: str, candidates: Sequence[Candidate]) -> Pair | None:
    """Return the message that an event of `address` belongs to: the only one dispatched, else the one of that To."""
    if len(candidates) == 1:
        return candidates[0].pair
    of_address = [candidate.pair for candidate in candidates if address and candidate.to_key == address]
    return of_address[0] if len(of_address) == 1 else None


def assign(
    orphans: Iterable[Event],
    candidates: Mapping[ProviderId, Sequence[Candidate]],
    held: Mapping[str, Held],
) -> Assignment:
    """Return what has to be written. `held` is by event_id; our own ids go before a dispatch."""
    result = Assignment()
    for orphan in orphans:
        under = candidates.get(ProviderId(orphan.provider, orphan.provider_message_id), ())
        copies = held.get(orphan.event_id) or Held()
        owner = owner_of(orphan.address, under)
        if copies.named:
            owner = None
            result.named += [_given(orphan, pair) for pair in copies.named if _is_earlier(orphan, copies, pair)]
        elif owner is not None and _is_earlier(orphan, copies, owner):
            result.matched.append(_given(orphan, owner))
        result.withdrawn += [
            _given(orphan, pair)
            for pair in copies.matched - {owner}
            if copies.named or owner is not None or _is_a_stranger_to(orphan, pair, under)
        ]
    return result


def _given(event: Event, pair: Pair) -> Event:
    return event._replace(account_id=pair.account_id, message_id=pair.message_id)


def _is_earlier(event: Event, copies: Held, pair: Pair) -> bool:
    received_us = copies.first_received_us.get(pair)
    return received_us is None or event.received_us < received_us


def _is_a_stranger_to(event: Event, pair: Pair, candidates: Sequence[Candidate]) -> bool:
    """Whether it is certain that the event isn't that message's. While its To is not told, it may still be."""
    if len(candidates) < 2:
        return False
    to_key = next((candidate.to_key for candidate in candidates if candidate.pair == pair), "")
    return bool(to_key) and to_key != event.address


def of_everybody(event: Event) -> Event | None:
    """Return the event as one of a log row of its own, if it is a change of a suppression list that names no message.

    The row's Email ID follows from what is the same in every delivery of the event: from the time that it states and
    its id. Where it states none that can be true, the id's time is 1970: its arrival is another each time.
    """
    if event.type != "subscription_changed" or event.provider_message_id or event.message_id:
        return None
    own_us = 0 if _has_time_of_arrival(event) else event.occurred_us
    return event._replace(account_id=EVERYBODY, message_id=uuid7(own_us, bytes.fromhex(event.event_id)))


def _has_time_of_arrival(event: Event) -> bool:
    """Whether the event's time is that of its arrival, as adapters remark in `extra`."""
    remarks = orjson.loads(event.extra) if event.extra else {}
    return remarks.get("occurred_at") == "received_at"


def caption_of(event: Event) -> Request:
    """Return what such a row says where a message's says what its request does: the type, and the address as the To."""
    spelled = orjson.loads(event.extra) if event.extra else {}
    to = next((text for name in ("Recipient", "Email") if isinstance(text := spelled.get(name), str)), event.address)
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
        place=Place(event.topic, event.partition, event.offset, event.received_us),
        extra="",
    )


# -- what is read

_SAME_IN_THE_TABLE: Final = (
    *("provider", "type", "account_id", "provider_message_id", "provider_event_id", "address", "code"),
    *("enhanced_code", "reason", "classification", "fault", "machine", "url", "user_agent", "ip", "attempt", "group"),
    *("extra", "topic", "partition", "offset", "position"),
)
_AS_FIELDS: Final = {
    "event_id": "lower(hex(event_id))",
    "message_id": "''",
    "occurred_us": "toUnixTimestamp64Micro(occurred_at)",
    "received_us": "toUnixTimestamp64Micro(received_at)",
    **{name: name for name in _SAME_IN_THE_TABLE},
}
_EVENT_COLUMNS: Final = ", ".join(f"{_AS_FIELDS[name]} AS {name}_" for name in Event._fields)
_UNDER: Final = "provider = {provider:String} AND provider_message_id IN {ids:Array(String)}"


def orphans_under(provider: str, ids: Sequence[str]) -> Query:
    """Return the query of the orphans under provider ids, in the order of `Event`'s fields."""
    return Query(f"SELECT {_EVENT_COLUMNS} FROM orphans FINAL WHERE {_UNDER}", {"provider": provider, "ids": list(ids)})  # noqa: S608
    # (names of our own)


def candidates_of(provider: str, ids: Sequence[str]) -> Query:
    """Return the query of (provider id, account, message, its To's key) for all dispatches under provider ids."""
    return Query(
        f"""
        WITH under AS
        (
            SELECT DISTINCT provider_message_id, account_id, message_id FROM dispatches WHERE {_UNDER}
        )
        SELECT u.provider_message_id, u.account_id, toString(u.message_id), m.to_key
        FROM under AS u
        LEFT JOIN
        (
            SELECT account_id, message_id, substring(to_key, 17) AS to_key FROM message_state FINAL
            WHERE (account_id, sent_at, message_id) IN
                (SELECT account_id, UUIDv7ToDateTime(message_id, 'UTC'), message_id FROM under)
        ) AS m ON u.account_id = m.account_id AND u.message_id = m.message_id
        """,  # noqa: S608 - names of our own
        {"provider": provider, "ids": list(ids)},
    )


def copies_of(provider: str, ids: Sequence[str]) -> Query:
    """Return the query of (event_id, account, message, link, received) for what messages hold of the orphans under ids.

    Copies of an event have the same id of the provider's: it is a part of the natural key that event_id is made of. So
    the messages are found by it (`holders`), and only their events are read.
    """
    return Query(
        f"""
        SELECT lower(hex(event_id)), account_id, toString(message_id),
            if(min(link) = '', '', argMax(link, copy)), min(if(link = 'withdrawn', NULL,
            toUnixTimestamp64Micro(received_at)))
        FROM events
        WHERE (account_id, sent_at, message_id) IN
        (
            SELECT account_id, UUIDv7ToDateTime(message_id, 'UTC'), message_id FROM holders
            WHERE known_by IN (SELECT concat({{provider:String}}, ':', arrayJoin({{ids:Array(String)}})))
        )
        AND event_id IN (SELECT event_id FROM orphans WHERE {_UNDER})
        AND account_id != '*'
        GROUP BY account_id, message_id, event_id
        """,  # noqa: S608 - names of our own
        {"provider": provider, "ids": list(ids)},
    )


def young_provider_ids(seconds: int) -> Query:
    """Return the query of (provider, provider id) for the orphans that were stored within so many seconds."""
    return Query(
        "SELECT DISTINCT provider, provider_message_id FROM recent_orphans"
        " WHERE stored_at >= now() - toIntervalSecond({seconds:UInt32})",
        {"seconds": seconds},
    )
