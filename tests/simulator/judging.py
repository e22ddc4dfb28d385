"""A plan read by the product: adapters, records, law. What the oracle says is held against this.

Matching by provider id is done here in a few lines, as docs/adr/0007-matching.md has it: the dispatches under an id,
and of several the one whose message's To is the event's address.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from hashlib import sha256

from projections.messages.law import Known, MessageRow, fold
from schemas.errors import RecordInvalid
from schemas.events import Event, EventType, Place
from schemas.facts import Decision, Dispatch, Request, decode_content, decode_decision, decode_dispatch, decode_request
from schemas.providers import ADAPTERS
from schemas.topics import SENDS_CONTENT, SENDS_DECIDED, SENDS_DISPATCHED, SENDS_REQUESTED, WEBHOOKS
from simulator.kafka import webhook_headers
from simulator.posts import Delivery, Plan
from simulator.signing import Keys

__all__ = ["Judged", "judge"]

Pair = tuple[str, str]


@dataclass
class Judged:
    """What the product makes of a plan."""

    known: dict[Pair, Known] = field(default_factory=dict)
    rows: dict[Pair, MessageRow] = field(default_factory=dict)
    orphans: dict[str, Event] = field(default_factory=dict)
    """By event id, the copy that was received first."""
    dead: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """SHA-256 of the values, by topic and reason."""
    content: set[Pair] = field(default_factory=set)
    read: int = 0
    """Events, copies included."""


@dataclass
class _Reading:
    requests: list[Request] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    dispatches: list[Dispatch] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


def judge(plan: Plan, now_us: int) -> Judged:
    """Return what the product makes of a plan that is sent over Kafka at `now_us`."""
    judged, reading = Judged(), _Reading()
    for offset, delivery in enumerate(plan.deliveries):
        if delivery.kind == "post":
            _read_post(delivery, offset, judged, reading)
        else:
            _read_record(delivery, offset, now_us, judged, reading)
    judged.read = len(reading.events)
    owners = _owners(reading)
    known: defaultdict[Pair, _Reading] = defaultdict(_Reading)
    for request in reading.requests:
        known[request.account_id, request.message_id].requests.append(request)
    for decision in reading.decisions:
        known[decision.account_id, decision.message_id].decisions.append(decision)
    for dispatch in reading.dispatches:
        known[dispatch.account_id, dispatch.message_id].dispatches.append(dispatch)
    for event in reading.events:
        if pair := owners.get(event.event_id):
            known[pair].events.append(event._replace(account_id=pair[0], message_id=pair[1]))
        else:
            first = judged.orphans.setdefault(event.event_id, event)
            judged.orphans[event.event_id] = min(first, event, key=lambda e: e.received_us)
    for pair, read in known.items():
        judged.known[pair] = Known(read.requests, read.decisions, read.dispatches, read.events)
        judged.rows[pair] = fold(*pair, judged.known[pair])
    return judged


def _read_post(delivery: Delivery, offset: int, judged: Judged, reading: _Reading) -> None:
    topic = WEBHOOKS[delivery.provider].name
    place = Place(topic, 0, offset, delivery.at_us)
    headers = webhook_headers(delivery, Keys(), "https://gateway.example.com/sendledger")
    parsed = ADAPTERS[delivery.provider](delivery.value, place, headers)
    assert len(parsed.events) + len(parsed.bad) == delivery.events
    reading.events += parsed.events
    for bad in parsed.bad:
        judged.dead[f"{topic}/{bad.reason}"].append(sha256(bad.value).hexdigest())


def _read_record(delivery: Delivery, offset: int, now_us: int, judged: Judged, reading: _Reading) -> None:
    place = Place("", 0, offset, now_us)
    topic = SENDS_REQUESTED
    try:
        match delivery.kind:
            case "request":
                reading.requests.append(decode_request(delivery.value, place, decision_days=30))
            case "decision":
                topic = SENDS_DECIDED
                reading.decisions.append(decode_decision(delivery.value, place))
            case "dispatch":
                topic = SENDS_DISPATCHED
                reading.dispatches.append(decode_dispatch(delivery.value, place))
            case "content":
                topic = SENDS_CONTENT
                content = decode_content(delivery.value, place)
                judged.content.add((content.account_id, content.message_id))
    except RecordInvalid as invalid:
        judged.dead[f"{topic.name}/{invalid.reason}"].append(sha256(delivery.value).hexdigest())


def _owners(reading: _Reading) -> dict[str, Pair]:
    """Return the message of each event that has one, by event id."""
    to_keys = {(r.account_id, r.message_id): r.to_key for r in reading.requests}
    to_keys |= {(d.account_id, d.message_id): d.request.to_key for d in reading.decisions}
    dispatched: defaultdict[tuple[str, str], set[Pair]] = defaultdict(set)
    for dispatch in reading.dispatches:
        dispatched[dispatch.provider, dispatch.provider_message_id].add((dispatch.account_id, dispatch.message_id))
    owners: dict[str, Pair] = {}
    for event in reading.events:
        if event.message_id:
            owners[event.event_id] = (event.account_id, event.message_id)
    for event in reading.events:
        if event.event_id in owners or not event.provider_message_id or event.type == EventType.PROVIDER_ALERT:
            continue
        pairs = dispatched.get((event.provider, event.provider_message_id), set())
        if len(pairs) > 1:
            pairs = {pair for pair in pairs if event.address and to_keys.get(pair) == event.address}
        if len(pairs) == 1:
            owners[event.event_id] = next(iter(pairs))
    return owners
