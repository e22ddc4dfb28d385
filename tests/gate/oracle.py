"""An oracle of the gate: a second implementation of docs/explanation/gate.md that shares no code with the gate.

In:  the records that were written, as bytes, in stages: the gate has read a stage before the next one is written.
Out: an `Expected`: the decision of each message, how many emails of a trial are approved, and the state of addresses.

The state of an address it takes from the simulator's oracle, which shares no code with the gate either. It reads only
what `tests.gate.traffic` writes. A stage changes an address at most once, and has either facts or
requests: so the order in which the gate reads a stage makes no difference, except for which emails of a trial exceed
its limit; of these only the number is expected.
"""

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from schemas.decoding.ids import ALL
from schemas.topics import (
    ACCOUNTS_POLICIES,
    RECIPIENTS_PREFERENCES,
    SENDS_REQUESTED,
    SUPPRESSIONS_COMMANDS,
    WEBHOOKS,
)
from simulator.address_state import USUAL_LIMITS, AddressEvent, opt_outs, scope_state

__all__ = ["APPROVED", "Expected", "ExpectedAddress", "ExpectedDecision", "Quota", "SentRecord"]

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
EMAIL: Final = re.compile(r"[^@\s<>\"]{1,64}@[a-z0-9]+([-.][a-z0-9]+)*\.[a-z]+")
PHONE: Final = re.compile(r"\+[1-9]\d{1,14}")
DEAD_NUMBERS: Final = {"30005", "30006"}
OPTED_OUT_CODE: Final = "21610"

Json = dict[str, Any]
OptOutKey = tuple[str, str, str]
"""Scope, group and sender; blank where it names none."""


class SentRecord(NamedTuple):
    """One record that was written."""

    topic: str
    key: str
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


class ExpectedDecision(NamedTuple):
    """The decision that one message must get."""

    outcome: str
    reason: str
    known: tuple[str, ...] = ()
    """The ids of evidence that are ours. Ids of events are hashes: of these only the number is expected."""
    events: int = 0


APPROVED: Final = ExpectedDecision("approved", "ok")


@dataclass(frozen=True)
class Quota:
    """Emails of one trial of which exactly `approved` are approved; which ones is not defined."""

    account: str
    messages: tuple[str, ...]
    approved: int
    refused: ExpectedDecision


class ExpectedAddress(NamedTuple):
    """The state of an address: reason and since of each scope that was ever suppressed, None once it is released."""

    scopes: dict[str, tuple[str, datetime] | None]
    opted_out: frozenset[OptOutKey]


@dataclass
class _Address:
    """All events and commands about one address."""

    events: list[AddressEvent] = field(default_factory=list)
    commands: dict[str, AddressEvent] = field(default_factory=dict)
    """Suppressions, by command."""

    def add(self, kind: str, at: datetime, **fields: Any) -> AddressEvent:
        """Add an event."""
        self.events.append(AddressEvent(kind, _us(at), **fields))
        return self.events[-1]

    def why(self, scope: str) -> tuple[str, datetime, tuple[str, ...], int] | None:
        """Reason, since, our own ids and the number of events, if a scope is suppressed now."""
        state = scope_state(scope, self.events)
        if state is None or not state.suppressed:
            return None
        own: tuple[str, ...] = ()
        if state.reason == "manual":
            of_scope = (
                i for i, event in self.commands.items() if (event.at_us, event.scope) == (state.since_us, scope)
            )
            own = (min(of_scope),)
        number = {"complaint": 1, "manual": 0, "bounces": USUAL_LIMITS.bounces}.get(state.reason, len(state.lists))
        return state.reason, EPOCH + timedelta(microseconds=state.since_us), own, number

    def state(self, before: ExpectedAddress) -> ExpectedAddress:
        scopes: dict[str, tuple[str, datetime] | None] = dict.fromkeys(before.scopes)
        for scope in (ALL, *(event.scope for event in self.commands.values())):
            if why := self.why(scope):
                scopes[scope] = why[:2]
        return ExpectedAddress(scopes, frozenset((out.scope, out.group, out.sender) for out in opt_outs(self.events)))


UNKNOWN_ADDRESS: Final = ExpectedAddress({}, frozenset())


class Expected:
    """What the gate must have published once it has read all stages so far."""

    def __init__(self) -> None:
        self.decided: dict[str, ExpectedDecision] = {}
        self.requests: dict[str, Json] = {}
        """The first request for each message: it is the one that is decided."""
        self.quotas: list[Quota] = []
        self.addresses: dict[str, ExpectedAddress] = {}
        self.changes: dict[str, int] = {}
        """How many records an address has: the version of the last one."""
        self._policies: dict[str, Json] = {}
        self._preferences: dict[tuple[str, str, str], Json] = {}
        self._addresses: defaultdict[str, _Address] = defaultdict(_Address)
        self._used: defaultdict[str, int] = defaultdict(int)

    def read(self, stage: Sequence[SentRecord]) -> None:
        """Take in one stage."""
        requests = [json.loads(sent.value) for sent in stage if sent.topic == SENDS_REQUESTED.name]
        assert not requests or len(requests) == len(stage), "a stage has facts or requests"
        for sent in stage:
            if sent.topic != SENDS_REQUESTED.name:
                self._fact(sent)
        for key, address in self._addresses.items():
            before = self.addresses.get(key, UNKNOWN_ADDRESS)
            if (now := address.state(before)) != before:
                self.addresses[key] = now
                self.changes[key] = self.changes.get(key, 0) + 1
        self._requests(requests)

    # -- facts

    def _fact(self, sent: SentRecord) -> None:
        headers = dict(sent.headers)
        if sent.topic == WEBHOOKS["twilio"].name:
            return self._twilio(dict(parse_qsl(sent.value.decode())), _time(headers["received_at"].decode()))
        record = json.loads(sent.value)
        if sent.topic == WEBHOOKS["sendgrid"].name:
            for element in record:
                self._sendgrid(element)
        elif sent.topic == WEBHOOKS["postmark"].name:
            self._postmark(record)
        elif sent.topic == ACCOUNTS_POLICIES.name:
            self._policies[record["account_id"]] = _later(self._policies.get(record["account_id"]), record)
        elif sent.topic == RECIPIENTS_PREFERENCES.name:
            whose = (record["account_id"], record["recipient_kind"], record["recipient_id"])
            self._preferences[whose] = _later(self._preferences.get(whose), record)
        elif sent.topic == SUPPRESSIONS_COMMANDS.name:
            self._command(record)
        return None

    def _sendgrid(self, record: Json) -> None:
        address = self._addresses[_key("email", record["email"])]
        at = datetime.fromtimestamp(record["timestamp"], UTC)
        account = record.get("sl_account", ALL)
        match record["event"]:
            case "bounce" if record["status"].startswith("5.1.") and record.get("type") != "blocked":
                address.add("bounce", at, message=record["sg_message_id"])
            case "spamreport":
                address.add("complaint", at)
            case "unsubscribe":
                address.add("unsubscribed", at, scope=account)
            case "group_unsubscribe":
                address.add("unsubscribed", at, scope=account, group=str(record["asm_group_id"]))

    def _postmark(self, record: Json) -> None:
        address = self._addresses[_key("email", record["Recipient"])]
        kind = "listed" if record["SuppressSending"] else "unlisted"
        address.add(kind, _time(record["ChangedAt"]), list=f"{record['ServerID']}/{record['MessageStream']}")

    def _twilio(self, record: dict[str, str], at: datetime) -> None:
        if "Body" in record:
            kind = {"STOP": "opted_out", "START": "opted_in"}.get(record["Body"].strip().upper())
            if kind:
                self._addresses[_key("sms", record["From"])].add(kind, at, senders=(record["To"],))
            return
        address = self._addresses[_key("sms", record["To"])]
        if record.get("ErrorCode") in DEAD_NUMBERS:
            address.add("bounce", at, message=record["MessageSid"])
        elif record.get("ErrorCode") == OPTED_OUT_CODE:
            address.add("opted_out", at, senders=tuple(filter(None, [record.get("From")])))

    def _command(self, record: Json) -> None:
        address, at = self._addresses[_key(record["channel"], record["address"])], _time(record["at"])
        event = address.add(record["action"], at, scope=record["scope"])
        if record["action"] == "suppress":
            address.commands[record["command_id"]] = event

    # -- requests

    def _requests(self, requests: Sequence[Json]) -> None:
        in_trial: defaultdict[str, list[str]] = defaultdict(list)
        for request in requests:
            message = request["message_id"]
            if message in self.requests:
                continue  # a repeat gets the first decision
            self.requests[message] = request
            decided = self._decide(request)
            if decided == APPROVED and request["channel"] == "email" and self._in_unpaid_trial(request):
                in_trial[request["account_id"]].append(message)
            else:
                self.decided[message] = decided
        for account, messages in in_trial.items():
            policy = self._policies[account]
            approved = min(len(messages), policy["trial_email_limit"] - self._used[account])
            self._used[account] += approved
            refused = ExpectedDecision("quota_exceeded", "trial_email_limit", (_policy_id(policy),))
            self.quotas.append(Quota(account, tuple(messages), approved, refused))

    def _in_unpaid_trial(self, request: Json) -> bool:
        policy = self._policies.get(request["account_id"])
        return policy is not None and policy.get("billing_entered_at") is None and _trial_runs(policy, request)

    def _decide(self, request: Json) -> ExpectedDecision:
        """The table of docs/explanation/gate.md, in order. The caller applies the trial's limit."""
        account, channel, template = request["account_id"], request["channel"], request["template"]
        recipient, key = request["recipient"], _key(channel, request["to"])
        policy = self._policies.get(account, {})
        preference = self._preferences.get((account, recipient["kind"], recipient["id"]), {})
        by_policy = (_policy_id(policy),) if policy else ()
        by_preference = (_preference_id(preference),) if preference else ()
        blocked = policy.get("blocked")
        if blocked and _time(blocked["since"]) <= _time(request["requested_at"]):
            return ExpectedDecision("blocked", "account_blocked", by_policy)
        if not (PHONE if channel == "sms" else EMAIL).fullmatch(key):
            return ExpectedDecision("blocked", "address_invalid")
        if template["id"] in policy.get("disabled_templates", ()):
            return ExpectedDecision("declined", "template_disabled", by_policy)
        if template["id"] in preference.get("declined_templates", ()):
            return ExpectedDecision("declined", "template_declined", by_preference)
        if reason := self._opted_out(request, key):
            return ExpectedDecision("declined", reason, events=1)
        invited = template["kind"] == "invitation" and recipient["kind"] == "client"
        if invited and policy.get("invitation_opt_in_enabled") and not preference.get("invitation_opted_in"):
            return ExpectedDecision("not_opted_in", "invitation_not_opted_in", by_policy + by_preference)
        if why := self._suppressed(account, key):
            return ExpectedDecision("suppressed", why[0], why[2], why[3])
        if reason := _over_quota(policy, request):
            return ExpectedDecision("quota_exceeded", reason, by_policy)
        return APPROVED if policy else ExpectedDecision("approved", "no_policy")

    def _opted_out(self, request: Json, key: str) -> str | None:
        template, state = request["template"], self.addresses.get(key, UNKNOWN_ADDRESS)
        outs = {what for what in state.opted_out if what[0] in (ALL, request["account_id"])}
        if request["channel"] == "sms":  # an opt-out without a sender applies to all
            stopped = any(not sender or request.get("from") in (None, sender) for *_, sender in outs)
            return "sms_opt_out" if stopped else None
        if template["kind"] != "transactional" and any(not group for _, group, _ in outs):
            return "unsubscribed"
        if any(group and group == template.get("unsubscribe_group") for _, group, _ in outs):
            return "group_unsubscribed"
        return None

    def _suppressed(self, account: str, key: str) -> tuple[str, datetime, tuple[str, ...], int] | None:
        address = self._addresses.get(key, _Address())
        found = [why for scope in (ALL, account) if (why := address.why(scope))]
        order = ("complaint", "manual", "provider", "bounces")
        return min(found, key=lambda why: order.index(why[0]), default=None)


def _over_quota(policy: Json, request: Json) -> str | None:
    """The reason for which a trial refuses a request regardless of its usage."""
    if policy.get("trial_started_at") is None:
        return None
    paid, runs = policy.get("billing_entered_at") is not None, _trial_runs(policy, request)
    if not runs:
        return None if paid else "trial_ended"
    if request["channel"] != "sms":
        return None
    if not paid:
        return "sms_requires_billing"
    return None if policy.get("sms_enabled") else "sms_not_enabled"


def _trial_runs(policy: Json, request: Json) -> bool:
    started = policy.get("trial_started_at")
    if started is None:
        return False
    return _time(request["requested_at"]) < _time(started) + timedelta(days=policy.get("trial_days", 14))


def _later(known: Json | None, record: Json) -> Json:
    return record if known is None or _time(record["updated_at"]) > _time(known["updated_at"]) else known


def _policy_id(policy: Json) -> str:
    return f"policy:{policy['account_id']}@{policy['updated_at']}"


def _preference_id(record: Json) -> str:
    return (
        f"preference:{record['account_id']}/{record['recipient_kind']}/{record['recipient_id']}@{record['updated_at']}"
    )


def _key(channel: str, address: str) -> str:
    return address if channel == "sms" else address.strip().lower()


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _us(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1)
