"""Generates the messages of a plan: requests, decisions and provider events, with times.

In:  a number of messages, a seed, the current time, the accounts.
Out: one `GeneratedMessage` per message: the records of our own topics and the event deliveries of its provider.
Promise: pure; the same input gives the same bytes; nothing is later than the current time; a message does not depend
on how many are generated (except the last ones, where a multi-message scenario may not fit). Every scenario of
`simulator.scenarios` occurs and, if a gate decides, so does every scenario of `simulator.multi_message`.

The decisions of a gate depend on what it has read before. So a plan for a gate has stages with barriers between them:
the sender waits at each barrier until the gate has read everything before it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import count
from math import log1p
from random import Random
from typing import Final

from schemas.decoding.times import rfc3339
from simulator.durations import HOUR, SECOND
from simulator.generation import MessageContext, generate
from simulator.message import GeneratedMessage, OwnRecord
from simulator.multi_message.timeline import GateInput, MultiMessageScenario, MultiMessageTimeline, PlannedRequest
from simulator.providers.emitter import json_bytes
from simulator.randomness import randomness
from simulator.scenario_picker import WITH_GATE, WITHOUT_GATE
from simulator.scenarios import Scenario
from simulator.timeline import Redelivery, Step, Timeline

__all__ = ["RARE_EVERY", "PlanOptions", "generate_messages", "live_messages", "policies"]

SPREAD_US: Final = 6 * HOUR
RARE_EVERY: Final = 8
LIVE_RARE_EVERY: Final = 20
STAGES: Final = 7
"""Single messages are spread over this many stages. A multi-message scenario may have more."""


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What to generate."""

    now_us: int
    """Nothing happens after it, and each message ends within `spread_us` before it."""
    accounts: Sequence[str]
    """At least two."""
    spread_us: int = SPREAD_US
    rare_every: int = RARE_EVERY
    """Every n-th pick takes the next scenario in turn, so that rare ones occur as well."""
    decides: bool = True
    """Whether the plan contains the decisions; otherwise a gate makes them."""
    refuses_unknown: bool = False
    """Whether that gate refuses accounts without a policy."""


def generate_messages(messages: int, seed: int, options: PlanOptions) -> Iterator[GeneratedMessage]:
    """Yield `messages` messages."""
    tag = sha256(f"{seed}/{options.now_us}".encode()).hexdigest()[:6]
    picker = WITHOUT_GATE if options.decides else WITH_GATE
    left, index = messages, 0
    for number in count():
        if not left:
            return
        rng = randomness(f"{seed}/{number}")
        multi_scenario = picker.multi_message_turn(number, options.rare_every)
        multi = _multi_message_timeline(multi_scenario, rng, f"{tag}{number:x}", options) if multi_scenario else None
        if multi_scenario and multi and multi.messages <= left:
            start_us = _start(options, multi.at_us, rng)
            generated = _of_multi_message(
                multi, MessageContext(index, multi.tag, "", multi_scenario.name, "", Timeline(rng), start_us)
            )
        else:
            scenario, provider = picker.scenario_turn(number, options.rare_every, rng)
            timeline = _timeline_of(scenario, rng, pairs=left > 1, decides=options.decides)
            account, stage = rng.choice(options.accounts), 0 if options.decides else 1 + number % STAGES
            start_us = _start(options, timeline.at_us, rng)
            generated = generate(
                MessageContext(index, f"{tag}{number:x}", account, scenario.name, provider, timeline, start_us, stage)
            )
        yield from generated
        left -= len(generated)
        index += len(generated)


def live_messages(index: int, seed: int, *, now_us: int, account: str, decides: bool = True) -> list[GeneratedMessage]:
    """Return a message (or two, of one API call) that starts at `now_us`, with hours compressed into seconds."""
    rng = randomness(f"{seed}/live/{index}")
    scenario, provider = (WITHOUT_GATE if decides else WITH_GATE).scenario_turn(index, LIVE_RARE_EVERY, rng)
    timeline = _timeline_of(scenario, rng, pairs=True, decides=decides)
    timeline.steps = [_compressed(step) for step in timeline.steps]
    timeline.at_us = _compressed_time(timeline.at_us)
    tag = f"{seed % 16**6:06x}live{index:x}"
    return generate(MessageContext(index, tag, account, scenario.name, provider, timeline, now_us))


def policies(accounts: Sequence[str], updated_us: int) -> list[OwnRecord]:
    """Return the policies of accounts that pay and may send everything. They come first in a plan."""
    return [
        OwnRecord(
            "policy",
            updated_us,
            json_bytes({"account_id": account, "sms_enabled": True, "updated_at": rfc3339(updated_us)}),
            account,
        )
        for account in accounts
    ]


def _start(options: PlanOptions, length_us: int, rng: Random) -> int:
    """Return the start time of something of this length."""
    return options.now_us - length_us - 30 * SECOND - int(options.spread_us * rng.random())


def _timeline_of(scenario: Scenario, rng: Random, *, pairs: bool, decides: bool) -> Timeline:
    """Return the timeline that a scenario builds."""
    timeline = Timeline(rng)
    scenario.build(timeline)
    if timeline.shared_call and not pairs:
        timeline = replace(timeline, shared_call=False, steps=[])
    if not decides:
        timeline.leave_to_gate()
    return timeline


def _multi_message_timeline(
    multi_scenario: MultiMessageScenario, rng: Random, tag: str, options: PlanOptions
) -> MultiMessageTimeline:
    """Return the timeline that a multi-message scenario builds."""
    account, other = rng.sample(options.accounts, 2)
    multi = MultiMessageTimeline(rng, tag, account, other, options.refuses_unknown)
    multi_scenario.build(multi)
    return multi


def _of_multi_message(multi: MultiMessageTimeline, context: MessageContext) -> list[GeneratedMessage]:
    """Return the messages of a multi-message scenario. Each gate input goes with the next message, or the last one."""
    generated: list[GeneratedMessage] = []
    pending: list[GateInput] = []
    for part in multi.parts:
        if isinstance(part, PlannedRequest):
            message = _of_request(part, context._replace(number=context.number + len(generated)))
            generated.append(_with_inputs(message, pending, context.start_us))
            pending = []
        else:
            pending.append(part)
    return [*generated[:-1], _with_inputs(generated[-1], pending, context.start_us)]


def _of_request(planned: PlannedRequest, context: MessageContext) -> GeneratedMessage:
    """Return the message of a request in a multi-message scenario."""
    evidence: tuple[str, ...] | int | None
    if isinstance(planned.evidence, tuple):
        evidence = tuple(gate_input.name(context.start_us) for gate_input in planned.evidence)
    else:
        evidence = planned.evidence
    (message,) = generate(
        context._replace(
            account=planned.account,
            provider=planned.provider,
            timeline=planned.timeline,
            start_us=context.start_us + planned.at_us,
            stage=planned.stage,
            planned=planned,
            evidence=evidence,
        )
    )
    request = next(record for record in message.records if record.kind == "request")
    again = (replace(request, at_us=context.start_us + at_us, stage=stage) for at_us, stage in planned.again)
    return replace(message, records=(*message.records, *again))


def _with_inputs(message: GeneratedMessage, inputs: Sequence[GateInput], start_us: int) -> GeneratedMessage:
    """Return a message together with gate inputs."""
    records = [
        OwnRecord(
            gate_input.kind,
            start_us + gate_input.at_us,
            json_bytes(gate_input.write(start_us)),
            gate_input.key,
            gate_input.stage,
        )
        for gate_input in inputs
    ]
    address_events = [
        (gate_input.person, gate_input.address_event._replace(at_us=start_us + (gate_input.address_event.at_us or 0)))
        for gate_input in inputs
        if gate_input.address_event and gate_input.person
    ]
    return replace(
        message, records=(*records, *message.records), address_events=(*message.address_events, *address_events)
    )


def _compressed(step: Step) -> Step:
    again = tuple(Redelivery(_compressed_time(redelivery.after_us), redelivery.omits) for redelivery in step.again)
    return step._replace(after_us=_compressed_time(step.after_us), again=again)


def _compressed_time(after_us: int) -> int:
    """One hour becomes 18 seconds, three days 30; the order is kept."""
    return int(2.5 * SECOND * log1p(after_us / (2.5 * SECOND)))
