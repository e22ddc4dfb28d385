"""The timeline of several messages: policies, preferences and commands, requests, and the expected decisions.

In:  a multi-message scenario (`simulator.multi_message`), which writes into a `MultiMessageTimeline`.
Out: its parts, in stages separated by barriers. The gate has read all of a stage before the next one is sent: so a
     policy of one stage applies to all requests of later ones, and nothing may depend on anything of its own stage.

Times are microseconds after the start of the scenario. The start itself is fixed only when the length is known.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Literal, NamedTuple

from schemas.decoding.ids import ALL
from schemas.decoding.times import rfc3339
from simulator import people
from simulator.address_state import AddressEvent
from simulator.durations import MINUTE, SECOND
from simulator.people import Person
from simulator.timeline import Timeline

__all__ = ["GateInput", "MultiMessageScenario", "MultiMessageTimeline", "PlannedRequest", "Quota"]

_PAUSE_US: Final = 65 * MINUTE
"""Longer than any delay of a provider: of two incoming texts the one of the earlier stage also has the earlier time."""
_Times = Mapping[str, int]


class GateInput(NamedTuple):
    """A record that the gate decides by."""

    kind: Literal["policy", "preference", "command"]
    at_us: int
    stage: int
    key: str
    write: Callable[[int], dict[str, Any]]
    """Returns its payload, given the start time of the scenario."""
    name: Callable[[int], str]
    """Returns its id as evidence, given the same."""
    address_event: AddressEvent | None = None
    """The effect of a command on an address."""
    person: Person | None = None
    """The owner of that address."""


class Quota(NamedTuple):
    """Of several messages that are requested at once, exactly `approved` are approved; which ones is not known."""

    name: str
    approved: int


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """The request of one message, and its expected decision."""

    account: str
    provider: str
    to: Person
    template: str
    outcome: str
    reason: str
    evidence: tuple[GateInput, ...] | int | None
    """The expected evidence: gate inputs, or a number of events; None: any."""
    timeline: Timeline
    at_us: int
    stage: int
    """The stage of the request; its provider events are in the next one."""
    sender: str
    quota: Quota | None
    again: list[tuple[int, int]] = field(default_factory=list)
    """Times and stages of repeated requests."""


@dataclass
class MultiMessageTimeline:
    """A multi-message scenario being written. `tag` is part of the name of each of its recipients and accounts."""

    rng: Random
    tag: str
    account: str
    """A paying account without restrictions; `other` is another one."""
    other: str
    refuses_unknown: bool = False
    """Whether an account without a policy may send nothing."""
    parts: list[GateInput | PlannedRequest] = field(default_factory=list)
    at_us: int = 0
    stage: int = 1
    _people: int = 0
    _last_stage: int = 1

    @property
    def messages(self) -> int:
        """The number of requests."""
        return sum(isinstance(part, PlannedRequest) for part in self.parts)

    def new_account(self) -> str:
        """Return an account that no other scenario uses. It is the same one each time."""
        return f"sim-{self.tag}"

    def new_person(self, channel: str = "email") -> Person:
        """Return a recipient that nothing else uses."""
        self._people += 1
        return people.unshared_client(channel, f"{self.tag}p{self._people}")

    def barrier(self, after_us: int = _PAUSE_US) -> None:
        """Start a new stage: the gate has read everything before it."""
        self.stage = self._last_stage = self._last_stage + 1
        self.at_us += after_us

    def policy(
        self, account: str, times: _Times | None = None, *, updated_us: int | None = None, **fields: Any
    ) -> GateInput:
        """Add an account policy. `times`: `trial_started_at`, `billing_entered_at`, `blocked_since`."""
        at_us = self._tick()
        updated_us = at_us if updated_us is None else updated_us

        def write(start_us: int) -> dict[str, Any]:
            record: dict[str, Any] = {"account_id": account, "updated_at": rfc3339(start_us + updated_us)} | fields
            record |= {name: rfc3339(start_us + us) for name, us in (times or {}).items()}
            if "blocked_since" in record:
                record["blocked"] = {"reason": "unpaid invoices", "since": record.pop("blocked_since")}
            return record

        return self._add_input(
            GateInput(
                "policy", at_us, self.stage, account, write,
                lambda start_us: f"policy:{account}@{rfc3339(start_us + updated_us)}",
            )
        )  # fmt: skip

    def preference(self, account: str, person: Person, **fields: Any) -> GateInput:
        """Add a recipient's preferences."""
        at_us = self._tick()
        who = f"{account}/{person.kind}/{person.id}"

        def write(start_us: int) -> dict[str, Any]:
            ids = {"account_id": account, "recipient_kind": person.kind, "recipient_id": person.id}
            return ids | {"updated_at": rfc3339(start_us + at_us)} | fields

        return self._add_input(
            GateInput(
                "preference", at_us, self.stage, who, write,
                lambda start_us: f"preference:{who}@{rfc3339(start_us + at_us)}",
            )
        )  # fmt: skip

    def command(
        self, action: str, person: Person, *, scope: str = ALL, dated_us: int | None = None, **fields: str
    ) -> GateInput:
        """Add a command: `suppress`, `release` or `opt_in`. `dated_us`: its time, if not the current one."""
        at_us = self._tick() if dated_us is None else dated_us
        command_id = f"cmd-{self.tag}-{len(self.parts)}"
        actor = f"support-{self.tag}"

        def write(start_us: int) -> dict[str, Any]:
            return {
                "command_id": command_id,
                "action": action,
                "channel": person.channel,
                "address": person.address,
                "scope": scope,
                "reason": "asked on the phone",
                "actor": actor,
                "at": rfc3339(start_us + at_us),
            } | fields

        senders = (fields["sender"],) if "sender" in fields else ()
        address_event = AddressEvent(
            action, at_us, scope, group=fields.get("group", ""), senders=senders, actor=actor, stage=self.stage
        )
        key = f"{person.channel}:{person.key}"
        return self._add_input(
            GateInput("command", at_us, self.stage, key, write, lambda _: command_id, address_event, person)
        )

    def request(
        self,
        provider: str,
        to: Person,
        outcome: str = "approved",
        reason: str = "ok",
        *,
        account: str = "",
        template: str = "reminder-24h",
        evidence: tuple[GateInput, ...] | int | None = None,
        build: Callable[[Timeline], None] | None = None,
        sender: str = "",
        quota: Quota | None = None,
    ) -> PlannedRequest:
        """Add a request. `build` writes the message's steps; without it an approved message is delivered normally."""
        timeline = Timeline(self.rng)
        timeline.leave_to_gate()
        if build is not None:
            build(timeline)
        elif outcome != "approved" or quota:
            timeline.dispatched = ""
        else:
            timeline.delivered_normally()
        at_us = self._tick()
        request = PlannedRequest(
            account or self.account, provider, to, template, outcome, reason, evidence, timeline, at_us, self.stage,
            sender, quota,
        )  # fmt: skip
        self.at_us = max(self.at_us, at_us + timeline.at_us)
        self._last_stage = max(self._last_stage, self.stage + bool(timeline.steps))
        self.parts.append(request)
        return request

    def request_again(self, request: PlannedRequest) -> None:
        """Request the same message once more: the decision must be the first one."""
        request.again.append((self._tick(), self.stage))
        self._last_stage = max(self._last_stage, self.stage)

    def _add_input(self, gate_input: GateInput) -> GateInput:
        self._last_stage = max(self._last_stage, self.stage)
        self.parts.append(gate_input)
        return gate_input

    def _tick(self) -> int:
        """Advance to a time that no other part has, and return it."""
        self.at_us += SECOND + self.rng.randrange(20 * SECOND)
        return self.at_us


class MultiMessageScenario(NamedTuple):
    """What can happen to several messages: a name, and the function that writes its timeline."""

    name: str
    build: Callable[[MultiMessageTimeline], None]
