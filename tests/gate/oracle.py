"""What the gate must say, told a second time from docs/explanation/gate.md. It shares no code with the gate.

In:  the records that were written, as bytes, in stages: the gate has read a stage before the next one is written.
Out: an `Expected`: what is decided of each message, how many emails of a trial are approved, what holds for an address.

It reads what `tests.gate.traffic` writes and nothing else. A stage changes an address once at most, and has either
facts or requests: so what the gate reads of a stage in another order makes no difference, but for which emails of a
trial are the last ones; of these only the number is known.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from schemas.topics import (
    ACCOUNTS_POLICIES,
    RECIPIENTS_PREFERENCES,
    SENDS_REQUESTED,
    SUPPRESSIONS_COMMANDS,
    WEBHOOKS,
)

__all__ = ["APPROVED", "Decided", "Expected", "Held", "Quota", "Sent"]

EVERYWHERE: Final = "*"
BOUNCES: Final = 3
WINDOW: Final = timedelta(days=30)
EMAIL: Final = re.compile(r"[^@\s<>\"]{1,64}@[a-z0-9]+([-.][a-z0-9]+)*\.[a-z]+")
PHONE: Final = re.compile(r"\+[1-9]\d{1,14}")
DEAD_NUMBERS: Final = {"30005", "30006"}
OPTED_OUT_CODE: Final = "21610"

Json = dict[str, Any]
OptedOut = tuple[str, str, str]
"""Scope, group and sender; blank where it is not about one."""


class Sent(NamedTuple):
    """One record that was written."""

    topic: str
    key: str
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


class Decided(NamedTuple):
    """What must be decided of one message."""

    outcome: str
    reason: str
    known: tuple[str, ...] = ()
    """Ids of the evidence, where they are ours. Those of events are hashes: of these only the number is known."""
    events: int = 0


APPROVED: Final = Decided("approved", "ok")


@dataclass(frozen=True)
class Quota:
    """Emails of one trial of which exactly so many are approved; which ones is nobody's promise."""

    account: str
    messages: tuple[str, ...]
    approved: int
    refused: Decided


class Held(NamedTuple):
    """What holds for an address: for each scope that was ever suppressed the reason and since when, None once open."""

    scopes: dict[str, tuple[str, datetime] | None]
    opted_out: frozenset[OptedOut]


@dataclass
class _Address:
    """All that was said of one address, each by its time."""

    bounces: dict[str, datetime] = field(default_factory=dict)
    """By message."""
    complaints: list[datetime] = field(default_factory=list)
    suppressed: list[tuple[datetime, str, str]] = field(default_factory=list)
    """Time, command and scope."""
    released: list[tuple[datetime, str]] = field(default_factory=list)
    lists: dict[str, tuple[datetime, bool]] = field(default_factory=dict)
    wishes: list[tuple[datetime, OptedOut, bool]] = field(default_factory=list)
    """Time, of what, and whether it is an opt-out or takes one back."""
    changes: int = 0

    def why(self, scope: str) -> tuple[str, datetime, tuple[str, ...], int] | None:
        """Reason, since, our own ids and the number of events, of what is suppressed in a scope now."""
        ends = [at for at, of in self.released if of in (EVERYWHERE, scope)]
        opened = max(ends, default=datetime.min.replace(tzinfo=UTC))
        if scope == EVERYWHERE and (complaints := sorted(at for at in self.complaints if at > opened)):
            return "complaint", complaints[0], (), 1
        if commands := sorted((at, i) for at, i, of in self.suppressed if of == scope and at >= opened):
            return "manual", commands[0][0], (commands[0][1],), 0
        if scope == EVERYWHERE and (listed := [at for at, on in self.lists.values() if on and at > opened]):
            return "provider", min(listed), (), len(listed)
        if scope == EVERYWHERE:
            times = sorted(at for at in self.bounces.values() if at > opened)
            for first, last in zip(times, times[BOUNCES - 1 :], strict=False):
                if last - first <= WINDOW:
                    return "bounces", last, (), BOUNCES
        return None

    def held(self, before: Held) -> Held:
        scopes: dict[str, tuple[str, datetime] | None] = dict.fromkeys(before.scopes)
        for scope in (EVERYWHERE, *(of for _, _, of in self.suppressed)):
            if why := self.why(scope):
                scopes[scope] = why[:2]
        return Held(scopes, frozenset(self._opted_out()))

    def _opted_out(self) -> Iterator[OptedOut]:
        for at, what, out in self.wishes:
            if out and not any(back >= at for back, of, still in self.wishes if of == what and not still):
                yield what


NOTHING: Final = Held({}, frozenset())


class Expected:
    """What the gate must have said, once it has read all stages so far."""

    def __init__(self) -> None:
        self.decided: dict[str, Decided] = {}
        self.asked: dict[str, Json] = {}
        """The first request for each message: it is the one that is decided."""
        self.quotas: list[Quota] = []
        self.held: dict[str, Held] = {}
        self.changes: dict[str, int] = {}
        """How often an address has changed: the version of its last record."""
        self._policies: dict[str, Json] = {}
        self._preferences: dict[tuple[str, str, str], Json] = {}
        self._addresses: defaultdict[str, _Address] = defaultdict(_Address)
        self._used: defaultdict[str, int] = defaultdict(int)

    def read(self, stage: Sequence[Sent]) -> None:
        """Take in one stage."""
        requests = [json.loads(sent.value) for sent in stage if sent.topic == SENDS_REQUESTED.name]
        assert not requests or len(requests) == len(stage), "a stage has facts or requests"
        for sent in stage:
            if sent.topic != SENDS_REQUESTED.name:
                self._fact(sent)
        for key, address in self._addresses.items():
            before = self.held.get(key, NOTHING)
            if (now := address.held(before)) != before:
                self.held[key] = now
                self.changes[key] = self.changes.get(key, 0) + 1
        self._requests(requests)

    # -- facts

    def _fact(self, sent: Sent) -> None:
        headers = dict(sent.headers)
        if sent.topic == WEBHOOKS["twilio"].name:
            return self._twilio(dict(parse_qsl(sent.value.decode())), _time(headers["received_at"].decode()))
        said = json.loads(sent.value)
        if sent.topic == WEBHOOKS["sendgrid"].name:
            for element in said:
                self._sendgrid(element)
        elif sent.topic == WEBHOOKS["postmark"].name:
            self._postmark(said)
        elif sent.topic == ACCOUNTS_POLICIES.name:
            self._policies[said["account_id"]] = _later(self._policies.get(said["account_id"]), said)
        elif sent.topic == RECIPIENTS_PREFERENCES.name:
            whose = (said["account_id"], said["recipient_kind"], said["recipient_id"])
            self._preferences[whose] = _later(self._preferences.get(whose), said)
        elif sent.topic == SUPPRESSIONS_COMMANDS.name:
            self._command(said)
        return None

    def _sendgrid(self, said: Json) -> None:
        address = self._addresses[_key("email", said["email"])]
        at = datetime.fromtimestamp(said["timestamp"], UTC)
        account = said.get("sl_account", EVERYWHERE)
        match said["event"]:
            case "bounce" if said["status"].startswith("5.1.") and said.get("type") != "blocked":
                address.bounces.setdefault(said["sg_message_id"], at)
            case "spamreport":
                address.complaints.append(at)
            case "unsubscribe":
                address.wishes.append((at, (account, "", ""), True))
            case "group_unsubscribe":
                address.wishes.append((at, (account, str(said["asm_group_id"]), ""), True))

    def _postmark(self, said: Json) -> None:
        address = self._addresses[_key("email", said["Recipient"])]
        of, at = f"{said['ServerID']}/{said['MessageStream']}", _time(said["ChangedAt"])
        if of not in address.lists or at > address.lists[of][0]:
            address.lists[of] = at, said["SuppressSending"]

    def _twilio(self, said: dict[str, str], at: datetime) -> None:
        if "Body" in said:
            word = said["Body"].strip().upper()
            if word in ("STOP", "START"):
                what = (EVERYWHERE, "", said["To"])
                wishes = self._addresses[_key("sms", said["From"])].wishes
                wishes.append((at, what, word == "STOP"))
                if word == "START":  # it lifts an opt-out that names no sender, too
                    wishes.append((at, (EVERYWHERE, "", ""), False))
            return
        address = self._addresses[_key("sms", said["To"])]
        if said.get("ErrorCode") in DEAD_NUMBERS:
            address.bounces.setdefault(said["MessageSid"], at)
        elif said.get("ErrorCode") == OPTED_OUT_CODE:
            address.wishes.append((at, (EVERYWHERE, "", said.get("From", "")), True))

    def _command(self, said: Json) -> None:
        address, at = self._addresses[_key(said["channel"], said["address"])], _time(said["at"])
        match said["action"]:
            case "suppress":
                address.suppressed.append((at, said["command_id"], said["scope"]))
            case "release":
                address.released.append((at, said["scope"]))
            case "opt_in":
                for _, what, _out in list(address.wishes):
                    if what[0] == said["scope"]:
                        address.wishes.append((at, what, False))

    # -- requests

    def _requests(self, requests: Sequence[Json]) -> None:
        in_trial: defaultdict[str, list[str]] = defaultdict(list)
        for request in requests:
            message = request["message_id"]
            if message in self.asked:
                continue  # asked again: told again
            self.asked[message] = request
            decided = self._decide(request)
            if decided == APPROVED and request["channel"] == "email" and self._in_unpaid_trial(request):
                in_trial[request["account_id"]].append(message)
            else:
                self.decided[message] = decided
        for account, messages in in_trial.items():
            policy = self._policies[account]
            approved = min(len(messages), policy["trial_email_limit"] - self._used[account])
            self._used[account] += approved
            refused = Decided("quota_exceeded", "trial_email_limit", (_policy_id(policy),))
            self.quotas.append(Quota(account, tuple(messages), approved, refused))

    def _in_unpaid_trial(self, request: Json) -> bool:
        policy = self._policies.get(request["account_id"])
        return policy is not None and policy.get("billing_entered_at") is None and _trial_runs(policy, request)

    def _decide(self, request: Json) -> Decided:
        """The table of docs/explanation/gate.md, from its top. The trial's limit is the caller's."""
        account, channel, template = request["account_id"], request["channel"], request["template"]
        recipient, key = request["recipient"], _key(channel, request["to"])
        policy = self._policies.get(account, {})
        preference = self._preferences.get((account, recipient["kind"], recipient["id"]), {})
        by_policy = (_policy_id(policy),) if policy else ()
        by_preference = (_preference_id(preference),) if preference else ()
        blocked = policy.get("blocked")
        if blocked and _time(blocked["since"]) <= _time(request["requested_at"]):
            return Decided("blocked", "account_blocked", by_policy)
        if not (PHONE if channel == "sms" else EMAIL).fullmatch(key):
            return Decided("blocked", "address_invalid")
        if template["id"] in policy.get("disabled_templates", ()):
            return Decided("declined", "template_disabled", by_policy)
        if template["id"] in preference.get("declined_templates", ()):
            return Decided("declined", "template_declined", by_preference)
        if reason := self._opted_out(request, key):
            return Decided("declined", reason, events=1)
        invited = template["kind"] == "invitation" and recipient["kind"] == "client"
        if invited and policy.get("invitation_opt_in_enabled") and not preference.get("invitation_opted_in"):
            return Decided("not_opted_in", "invitation_not_opted_in", by_policy + by_preference)
        if why := self._suppressed(account, key):
            return Decided("suppressed", why[0], why[2], why[3])
        if reason := _over_quota(policy, request):
            return Decided("quota_exceeded", reason, by_policy)
        return APPROVED if policy else Decided("approved", "no_policy")

    def _opted_out(self, request: Json, key: str) -> str | None:
        template, held = request["template"], self.held.get(key, NOTHING)
        outs = {what for what in held.opted_out if what[0] in (EVERYWHERE, request["account_id"])}
        if request["channel"] == "sms":  # one that names no sender is of all of them
            stopped = any(not sender or request.get("from") in (None, sender) for *_, sender in outs)
            return "sms_opt_out" if stopped else None
        if template["kind"] != "transactional" and any(not group for _, group, _ in outs):
            return "unsubscribed"
        if any(group and group == template.get("unsubscribe_group") for _, group, _ in outs):
            return "group_unsubscribed"
        return None

    def _suppressed(self, account: str, key: str) -> tuple[str, datetime, tuple[str, ...], int] | None:
        address = self._addresses.get(key, _Address())
        found = [why for scope in (EVERYWHERE, account) if (why := address.why(scope))]
        order = ("complaint", "manual", "provider", "bounces")
        return min(found, key=lambda why: order.index(why[0]), default=None)


def _over_quota(policy: Json, request: Json) -> str | None:
    """What a trial refuses whatever was used of it."""
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


def _later(known: Json | None, said: Json) -> Json:
    return said if known is None or _time(said["updated_at"]) > _time(known["updated_at"]) else known


def _policy_id(policy: Json) -> str:
    return f"policy:{policy['account_id']}@{policy['updated_at']}"


def _preference_id(said: Json) -> str:
    return f"preference:{said['account_id']}/{said['recipient_kind']}/{said['recipient_id']}@{said['updated_at']}"


def _key(channel: str, address: str) -> str:
    return address if channel == "sms" else address.strip().lower()


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
