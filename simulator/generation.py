"""Turns a timeline into a generated message: the records of our own topics, and the event deliveries of its provider.

In:  a `MessageContext`: a timeline, the account and provider, the start time. Out: its `GeneratedMessage`.
"""

from bisect import bisect
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from random import Random
from typing import Any, Final, NamedTuple

from schemas.decoding.ids import uuid7
from simulator import own_records
from simulator.durations import MS, SECOND
from simulator.message import GeneratedMessage, OwnRecord, RecordKind
from simulator.multi_message.timeline import PlannedRequest
from simulator.own_records import REQUEST_GAP_US, ExpectedDecision, ExpectedDispatch, ExpectedRequest
from simulator.people import TEMPLATES, Person, Template, client, recipient, sender, unshared_client
from simulator.providers import PROVIDERS
from simulator.providers.emitter import Envelope, ProviderEmitter, json_bytes
from simulator.providers.postmark import BROADCAST
from simulator.randomness import shuffled
from simulator.timeline import Timeline

__all__ = ["MessageContext", "generate"]

CONTENT_SHARE: Final = 0.08

_TEMPLATE_WEIGHTS: Final = list(accumulate(template.weight for template in TEMPLATES))
_TEMPLATES: Final = {template.id: template for template in TEMPLATES}


class MessageContext(NamedTuple):
    """What a message is generated from."""

    number: int
    tag: str
    """Part of the name of each recipient that only this message has."""
    account: str
    scenario: str
    provider: str
    timeline: Timeline
    start_us: int
    stage: int = 0
    """The stage of its request."""
    shared_id: str = ""
    planned: PlannedRequest | None = None
    """The request of a multi-message scenario, if it is part of one."""
    evidence: tuple[str, ...] | int | None = None
    """The expected evidence of its decision then."""


def generate(context: MessageContext) -> list[GeneratedMessage]:
    """Return the message, and the other message of the same API call if the timeline has one."""
    first, provider_message_id = _message(context)
    if not context.timeline.shared_call:
        return [first]
    other = context._replace(
        number=context.number + 1,
        timeline=replace(context.timeline, to="other"),
        start_us=context.start_us + 2 * SECOND,
        shared_id=provider_message_id,
    )
    return [first, _message(other)[0]]


def _message(context: MessageContext) -> tuple[GeneratedMessage, str]:
    """Return one message, and the id that its provider gave it."""
    timeline, rng, account, planned = context.timeline, context.timeline.rng, context.account, context.planned
    provider = PROVIDERS[context.provider]
    message_id = uuid7(context.start_us, rng.randbytes(10))
    spelled_id = message_id.upper() if "uppercase_id" in timeline.requests else message_id
    template = _template(context)
    tag = context.tag if timeline.changes_suppression else ""
    to = planned.to if planned else recipient(rng, provider.channel, template, timeline.to, tag)
    ccs = tuple(_cc_recipient(rng, tag, n) for n in range(timeline.ccs))
    from_ = (planned.sender if planned else "") or sender(account, provider.channel, to)
    emitter = provider.emitter(
        Envelope(context.number, account, spelled_id, template, to, ccs, from_, context.shared_id), rng
    )

    requested_us = context.start_us + rng.randrange(40) * MS
    request = own_records.request((account, spelled_id), provider.channel, template, to, ccs, from_, requested_us, rng)
    contents = [request, own_records.changed_request(request, requested_us + REQUEST_GAP_US)]
    requests = [
        own_records.expected_request(content, to, requested_us + number * REQUEST_GAP_US)
        for number, content in enumerate(contents)
    ]
    dispatch = None
    if timeline.dispatched:
        dispatched_us = requested_us + 1_300 * MS + rng.randrange(500 * MS)
        dispatch = ExpectedDispatch(dispatched_us, context.provider, _dispatched_id(timeline, emitter))

    event_stage = context.stage + (timeline.gate_decides and (timeline.changes_suppression or planned is not None))
    records = _Records(context, (account, message_id), event_stage)
    records.add_requests(contents, requested_us)
    decisions = _decisions(context, requests, requested_us)
    records.add_decisions(contents, decisions)
    if dispatch:
        id_ = emitter.id_forms.get(timeline.dispatched, dispatch.provider_message_id)
        records.add(
            "dispatch", dispatch.at_us, own_records.dispatch(records.ids, context.provider, id_, dispatch.at_us)
        )
        if rng.random() < CONTENT_SHARE:
            records.add("content", requested_us, own_records.content(records.ids, request, rng))
    message = GeneratedMessage(
        account_id=account,
        message_id=message_id,
        scenario=context.scenario,
        provider=context.provider,
        records=tuple(records.added),
        event_deliveries=tuple(
            delivery for step in timeline.steps for delivery in emitter.emit(step, context.start_us)
        ),
        event_stage=event_stage,
        request_count=len({kind == "changed" for kind in timeline.requests}),
        requests=tuple(requests[number] for number in _contents_used(timeline)),
        decisions=decisions,
        dispatch=dispatch,
        shared_provider_id=timeline.shared_call,
        quota=planned.quota if planned else None,
    )
    return message, emitter.provider_message_id


def _decisions(
    context: MessageContext, requests: Sequence[ExpectedRequest], requested_us: int
) -> tuple[ExpectedDecision, ...]:
    """Return the decisions: those of the timeline, or the gate's, which is about the first request."""
    timeline, planned = context.timeline, context.planned
    if not timeline.gate_decides:
        return tuple(
            ExpectedDecision(
                requested_us + _decision_delay(timeline.rng) + decision.after_us,
                *decision[:3],
                requests[decision.about],
            )
            for decision in timeline.decisions
        )
    if not timeline.requests:
        return ()
    if planned is None:
        return (ExpectedDecision(None, "approved", "ok", None, requests[0], ()),)
    outcome = "" if planned.quota else planned.outcome
    return (ExpectedDecision(None, outcome, planned.reason, None, requests[0], context.evidence),)


class _Records:
    """The records of our own topics about one message. `event_stage`: the stage of whatever follows its request."""

    def __init__(self, context: MessageContext, ids: tuple[str, str], event_stage: int) -> None:
        self.ids = ids
        self.added: list[OwnRecord] = []
        self._context = context
        self._event_stage = event_stage

    def add_requests(self, contents: Sequence[dict[str, Any]], requested_us: int) -> None:
        """Add the requests of the timeline."""
        for number, kind in enumerate(self._context.timeline.requests):
            payload = contents[1] if kind == "changed" else contents[0]
            if kind == "reserialized":
                payload = own_records.reserialized(payload)
            self.add("request", requested_us + number * REQUEST_GAP_US, payload)

    def add_decisions(self, contents: Sequence[dict[str, Any]], decisions: Sequence[ExpectedDecision]) -> None:
        """Add the decisions of the timeline; a gate writes its own."""
        timeline = self._context.timeline
        for planned, decision in zip(timeline.decisions, decisions, strict=False):
            at_us = decision.at_us or 0
            payload = own_records.decision(planned, contents[planned.about], self.ids[1], at_us, timeline.rng)
            self.add("decision", at_us, payload)

    def add(self, kind: RecordKind, at_us: int, payload: dict[str, Any]) -> None:
        """Add a record: at its time, or after all provider events if the timeline says that it is late."""
        timeline = self._context.timeline
        if kind in timeline.late:
            at_us = self._context.start_us + timeline.at_us + 5 * SECOND + timeline.rng.randrange(15 * SECOND)
        stage = self._context.stage if kind in ("request", "content") else self._event_stage
        self.added.append(OwnRecord(kind, at_us, json_bytes(payload), self.ids[1], stage))


def _contents_used(timeline: Timeline) -> list[int]:
    """Return the indexes of the contents that a request, or the request inside a decision, has."""
    requested = {int(kind == "changed") for kind in timeline.requests}
    return sorted(requested | {decision.about for decision in timeline.decisions})


def _cc_recipient(rng: Random, tag: str, number: int) -> Person:
    """Return the recipient of a copy."""
    if tag:
        return unshared_client("email", f"{tag}cc{number}")
    return client(20_000 + rng.randrange(500) * 2 + number)


def _decision_delay(rng: Random) -> int:
    """Return the time that a decision takes."""
    return 20 * MS + int(1_200 * MS * rng.random() ** 3)


def _dispatched_id(timeline: Timeline, emitter: ProviderEmitter) -> str:
    """Return the provider message id of the dispatch, in the form that is compared."""
    if timeline.dispatched == "other":
        return shuffled(emitter.provider_message_id, timeline.rng)
    return emitter.provider_message_id


def _template(context: MessageContext) -> Template:
    timeline = context.timeline
    if context.planned:
        template = _TEMPLATES[context.planned.template]
    elif timeline.kinds:
        template = timeline.rng.choice([template for template in TEMPLATES if template.kind in timeline.kinds])
    else:
        template = TEMPLATES[bisect(_TEMPLATE_WEIGHTS, timeline.rng.random() * _TEMPLATE_WEIGHTS[-1])]
    # At SendGrid recipients unsubscribe from a group, at Postmark from a stream.
    return template._replace(group=BROADCAST) if template.group and context.provider == "postmark" else template
