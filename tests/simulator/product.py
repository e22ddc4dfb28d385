"""A plan processed by the product's code: adapters, decoders, reference fold. Tests compare the oracle with its output.

Matching by provider message id is done here in a few lines, following docs/adr/0007-matching.md: the dispatches under
the id and, if there are several, the one whose message's To is the event's address.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from hashlib import sha256

from projections.messages.reference_fold import Known, MessageRow, fold
from schemas.decoding.decoders import decoders
from schemas.decoding.sends import Content, Decision, Dispatch, Request
from schemas.errors import RecordInvalid
from schemas.events import Event, EventType, SourcePosition
from schemas.providers import ADAPTERS
from schemas.topics import WEBHOOKS
from simulator.kafka import record_of, webhook_headers
from simulator.plan import Delivery, Plan
from simulator.signing import Keys

__all__ = ["ProductOutput", "run_product"]

Pair = tuple[str, str]

_DECODERS = decoders(decision_days=30)


@dataclass
class ProductOutput:
    """What the product makes of a plan."""

    known: dict[Pair, Known] = field(default_factory=dict)
    rows: dict[Pair, MessageRow] = field(default_factory=dict)
    orphans: dict[str, Event] = field(default_factory=dict)
    """By event id, the copy that was received first."""
    dead: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """SHA-256 of the values, by topic and reason."""
    content: set[Pair] = field(default_factory=set)
    read: int = 0
    """Number of events, duplicates included."""


@dataclass
class _Decoded:
    requests: list[Request] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    dispatches: list[Dispatch] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


def run_product(plan: Plan, now_us: int) -> ProductOutput:
    """Return what the product makes of a plan that is sent over Kafka at `now_us`."""
    output, decoded = ProductOutput(), _Decoded()
    for offset, delivery in enumerate(plan.deliveries):
        if delivery.kind == "post":
            _read_post(delivery, offset, output, decoded)
        else:
            _read_record(delivery, offset, now_us, output, decoded)
    output.read = len(decoded.events)
    owners = _owners(decoded)
    known: defaultdict[Pair, _Decoded] = defaultdict(_Decoded)
    for request in decoded.requests:
        known[request.account_id, request.message_id].requests.append(request)
    for decision in decoded.decisions:
        known[decision.account_id, decision.message_id].decisions.append(decision)
    for dispatch in decoded.dispatches:
        known[dispatch.account_id, dispatch.message_id].dispatches.append(dispatch)
    for event in decoded.events:
        if pair := owners.get(event.event_id):
            known[pair].events.append(event._replace(account_id=pair[0], message_id=pair[1]))
        else:
            first = output.orphans.setdefault(event.event_id, event)
            output.orphans[event.event_id] = min(first, event, key=lambda e: e.received_us)
    for pair, read in known.items():
        output.known[pair] = Known(read.requests, read.decisions, read.dispatches, read.events)
        output.rows[pair] = fold(*pair, output.known[pair])
    return output


def _read_post(delivery: Delivery, offset: int, output: ProductOutput, decoded: _Decoded) -> None:
    topic = WEBHOOKS[delivery.provider].name
    source = SourcePosition(topic, 0, offset, delivery.at_us)
    headers = webhook_headers(delivery, Keys(), "https://gateway.example.com/sendledger")
    parsed = ADAPTERS[delivery.provider](delivery.value, source, headers)
    assert len(parsed.events) + len(parsed.rejections) == delivery.events
    decoded.events += parsed.events
    for rejection in parsed.rejections:
        output.dead[f"{topic}/{rejection.reason}"].append(sha256(rejection.value).hexdigest())


def _read_record(delivery: Delivery, offset: int, now_us: int, output: ProductOutput, decoded: _Decoded) -> None:
    topic, _, headers = record_of(delivery)
    try:
        record = _DECODERS[topic](delivery.value, SourcePosition("", 0, offset, now_us), headers)
    except RecordInvalid as invalid:
        output.dead[f"{topic}/{invalid.reason}"].append(sha256(delivery.value).hexdigest())
        return
    match record:
        case Request():
            decoded.requests.append(record)
        case Decision():
            decoded.decisions.append(record)
        case Dispatch():
            decoded.dispatches.append(record)
        case Content():
            output.content.add((record.account_id, record.message_id))


def _owners(decoded: _Decoded) -> dict[str, Pair]:
    """Return the message of each event that has one, by event id."""
    to_keys = {(r.account_id, r.message_id): r.to_key for r in decoded.requests}
    to_keys |= {(d.account_id, d.message_id): d.request.to_key for d in decoded.decisions}
    dispatched: defaultdict[tuple[str, str], set[Pair]] = defaultdict(set)
    for dispatch in decoded.dispatches:
        dispatched[dispatch.provider, dispatch.provider_message_id].add((dispatch.account_id, dispatch.message_id))
    owners: dict[str, Pair] = {}
    for event in decoded.events:
        if event.message_id:
            owners[event.event_id] = (event.account_id, event.message_id)
    for event in decoded.events:
        if event.event_id in owners or not event.provider_message_id or event.type == EventType.PROVIDER_ALERT:
            continue
        pairs = dispatched.get((event.provider, event.provider_message_id), set())
        if len(pairs) > 1:
            pairs = {pair for pair in pairs if event.address and to_keys.get(pair) == event.address}
        if len(pairs) == 1:
            owners[event.event_id] = next(iter(pairs))
    return owners
