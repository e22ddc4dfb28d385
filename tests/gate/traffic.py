"""Traffic of one test case: accounts, addresses and requests of its own, for nearly every rule of the gate.

In:  a tag, which is in every account and email address, and a number, which is in every phone number.
Out: four stages of records: `facts` (policies, events, commands), `requests`, `changes` of the facts, and `repeats` of
     every request, some with other content, with new requests.

Every fact is written twice, and so are many requests. Times are minutes apart and in the past, so that no order depends
on the speed of a test.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final
from urllib.parse import urlencode
from uuid import uuid4

import orjson

from schemas.decoding.ids import uuid7
from schemas.decoding.times import DAY_US, rfc3339
from schemas.topics import (
    ACCOUNTS_POLICIES,
    RECIPIENTS_PREFERENCES,
    SENDS_REQUESTED,
    SUPPRESSIONS_COMMANDS,
    WEBHOOKS,
)
from tests.gate.building import a_command, a_policy, a_request, as_bytes, now_us
from tests.gate.oracle import SentRecord

__all__ = ["Traffic"]

LIMITS: Final = (3, 5, 8, 12)
"""Email limits of the trial accounts. All but the last exceed theirs in `requests`, the last only in `repeats`."""
BEYOND: Final = 4
MINUTE_US: Final = 60_000_000
OUR_NUMBER: Final = "+15005550006"
OTHER_NUMBER: Final = "+15005550007"

Json = dict[str, Any]


class Traffic:
    """The stages of one case, to be written in order."""

    def __init__(self, tag: str, number: int) -> None:
        self.tag, self._number = tag, number
        self._now_us = now_us()
        self._random = random.Random(number)
        self._requested: list[Json] = []

    def stages(self) -> tuple[tuple[str, Callable[[], list[SentRecord]]], ...]:
        """Return the stages by name; calling one makes its records."""
        return ("facts", self.facts), ("requests", self.requests), ("changes", self.changes), ("repeats", self.repeats)

    def owns(self, account: str) -> bool:
        """Whether an account belongs to this case."""
        return account.startswith(f"{self.tag}-")

    def concerns(self, address: str) -> bool:
        """Whether an address belongs to this case."""
        return address.startswith(self._phone("")) or f"@{self.tag}." in address

    # -- facts

    def facts(self) -> list[SentRecord]:
        return self._twice([*self._policies(), *self._preferences(), *self._webhooks(), *self._commands()])

    def _policies(self) -> Iterator[SentRecord]:
        trial = {"trial_started_at": rfc3339(self._now_us - DAY_US), "updated_at": self._ago(60)}
        for n, limit in enumerate(LIMITS):
            yield self._policy(f"trial{n}", **trial, trial_email_limit=limit)
        yield self._policy("paid", disabled_templates=["off"], invitation_opt_in_enabled=True, updated_at=self._ago(60))
        # Written later, but updated earlier: it is never in force.
        yield self._policy("paid", blocked={"reason": "fraud", "since": self._ago(90)}, updated_at=self._ago(80))
        yield self._policy("blocked", blocked={"reason": "fraud", "since": self._ago(90)}, updated_at=self._ago(60))
        yield self._policy("ended", trial_started_at=rfc3339(self._now_us - 20 * DAY_US), updated_at=self._ago(60))
        yield self._policy("billing", **trial, billing_entered_at=self._ago(60))

    def _preferences(self) -> Iterator[SentRecord]:
        preferences: dict[str, Json] = {
            "picky": {"declined_templates": ["news"]},
            "guest": {"invitation_opted_in": True},
        }
        for client, fields in [*preferences.items(), ("shy", {})]:
            account = self._account("paid")
            preference = {"account_id": account, "recipient_kind": "client", "recipient_id": client, **fields}
            preference["updated_at"] = self._ago(60)
            yield SentRecord(RECIPIENTS_PREFERENCES.name, f"{account}/client/{client}", as_bytes(preference))

    def _webhooks(self) -> Iterator[SentRecord]:
        for name in ("bouncing", "bounced_then_released", "recidivist"):
            yield from (self._bounce(name, number, minutes=50 - number) for number in range(3))
        yield from (self._bounce("twice", number, minutes=50 - number) for number in range(2))
        yield self._bounce("twice", 1, minutes=40)  # the same message again
        yield from (self._bounce("full", number, minutes=50 - number, status="5.2.2") for number in range(3))
        yield self._sendgrid({"event": "spamreport", "email": self._email("annoyed"), **self._at(50)})
        ours = {"sl_account": self._account("paid"), "sl_message": uuid7(self._now_us, uuid4().bytes)}
        for name in ("left", "returned"):
            carried = {"asm_group_id": 12} if name == "left" else {}  # it unsubscribes from all mail nevertheless
            yield self._sendgrid(
                {"event": "unsubscribe", "email": self._email(name), **carried, **ours, **self._at(50)}
            )
        grouped = {"event": "group_unsubscribe", "email": self._email("grouped"), "asm_group_id": 12}
        yield self._sendgrid({**grouped, **ours, **self._at(50)})
        yield from (self._listed(name, suppressed=True, minutes=50) for name in ("listed", "unlisted"))
        yield from (self._text(number, "STOP", minutes=50) for number in (1, 2))
        for number in range(3):
            yield self._failed(3, "30005", minutes=50 - number)
        yield self._failed(4, "21610", minutes=50)
        yield from (self._failed(number, "21610", minutes=50, sender="") for number in (7, 8))

    def _commands(self) -> Iterator[SentRecord]:
        yield self._command("suppress", "suppressed", 50)
        yield self._command("suppress", "released", 50)
        yield self._command("suppress", "scoped", 50, scope=self._account("paid"))

    # -- requests

    def requests(self) -> list[SentRecord]:
        return self._requests([*self._in_trials(), *self._to_all_addresses()])

    def _in_trials(self) -> Iterator[Json]:
        for n, limit in enumerate(LIMITS):
            account, last = f"trial{n}", n == len(LIMITS) - 1
            yield from (self._ask(account, f"fresh{m}") for m in range(limit - BEYOND if last else limit + BEYOND))
            yield from (self._ask(account, name) for name in ("suppressed", "bouncing"))
            yield self._text_to(account, 5)

    def _to_all_addresses(self) -> Iterator[Json]:
        suppressed = (
            "bouncing",
            "bounced_then_released",
            "recidivist",
            "annoyed",
            "suppressed",
            "released",
            "listed",
            "unlisted",
        )
        free = ("scoped", "twice", "full", "left", "returned", "grouped", "fresh0")
        for account in ("paid", "unknown", "ended", "billing", "blocked"):
            yield from (self._ask(account, name) for name in (*suppressed, *free))
        for to in ("no address", "ann@localhost", "Ann <ann@example.com>"):
            yield self._ask("paid", to=to)
        yield self._ask("paid", "capitals", to=self._email("Fresh1").title())
        for name in ("left", "returned", "grouped", "suppressed", "fresh2"):
            yield self._ask("paid", name, kind="marketing")
        yield self._ask("paid", "grouped", kind="marketing", unsubscribe_group="12")
        yield self._ask("paid", "grouped", unsubscribe_group="13")
        yield self._ask("paid", "left", unsubscribe_group="12")
        for client in ("picky", "guest", "shy", "new"):
            yield self._ask("paid", "fresh3", template="news", client=client)
            yield self._ask("paid", "fresh3", kind="invitation", client=client)
        yield self._ask("paid", "suppressed", template="off")
        yield self._ask("paid", "fresh3", kind="invitation") | {"recipient": {"kind": "staff", "id": "s1"}}
        for phone in (*range(1, 6), 7, 8):
            yield from (self._text_to("paid", phone, sender) for sender in (OUR_NUMBER, OTHER_NUMBER, ""))
        yield self._text_to("billing", 5)
        yield self._text_to("paid", to="12345")

    # -- changes and repeats

    def changes(self) -> list[SentRecord]:
        trial = {"trial_started_at": rfc3339(self._now_us - DAY_US), "trial_email_limit": LIMITS[0]}
        return self._twice(
            [
                self._policy("trial0", **trial, billing_entered_at=self._ago(5), updated_at=self._ago(5)),
                self._command("release", "released", 30),
                self._command("release", "bounced_then_released", 30),
                self._command("release", "fresh0", 30),  # is not suppressed: nothing changes
                self._command("release", "recidivist", 48.5, note="of the first two of its three bounces"),
                self._command("opt_in", "returned", 30, scope=self._account("paid")),
                self._listed("unlisted", suppressed=False, minutes=30),
                self._text(1, "START", minutes=30),
                self._text(7, "START", minutes=30),
            ]
        )

    def repeats(self) -> list[SentRecord]:
        repeated = [self._changed(request) if n % 5 == 0 else request for n, request in enumerate(self._requested)]
        anew = [self._ask("trial0", f"new{m}") for m in range(4)]
        anew += [self._ask("trial1", f"new{m}") for m in range(2)]
        anew += [self._ask("trial3", f"new{m}") for m in range(2 * BEYOND)]
        for name in ("released", "bounced_then_released", "recidivist", "unlisted", "suppressed", "annoyed", "listed"):
            anew.append(self._ask("paid", name))
        anew += [self._ask("paid", name, kind="marketing") for name in ("left", "returned")]
        anew += [self._text_to("paid", phone, OUR_NUMBER) for phone in (*range(1, 5), 7, 8)]
        return self._requests([*repeated, *anew])

    def _changed(self, request: Json) -> Json:
        """The same message with other content: it gets the first decision."""
        to = self._phone(6) if request["channel"] == "sms" else self._email("elsewhere")
        return request | {"to": to, "subject": "Another one"}

    # -- records

    def _account(self, name: str) -> str:
        return f"{self.tag}-{name}"

    def _email(self, name: str) -> str:
        return f"{name}@{self.tag}.example.com"

    def _phone(self, number: int | str) -> str:
        return f"+1415555{self._number:02}{number}"

    def _ago(self, minutes: float) -> str:
        return rfc3339(self._now_us - round(minutes * MINUTE_US))

    def _at(self, minutes: float) -> dict[str, int]:
        """The time of a SendGrid event, in whole seconds."""
        return {"timestamp": (self._now_us - round(minutes * MINUTE_US)) // 1_000_000}

    def _policy(self, name: str, **fields: Any) -> SentRecord:
        account = self._account(name)
        return SentRecord(ACCOUNTS_POLICIES.name, account, as_bytes(a_policy(account, **fields)))

    def _command(self, action: str, name: str, minutes: float, **fields: Any) -> SentRecord:
        address = self._email(name)
        command = a_command(action, address, at=self._ago(minutes), **fields)
        return SentRecord(SUPPRESSIONS_COMMANDS.name, f"email:{address}", as_bytes(command))

    def _bounce(self, name: str, number: int, *, minutes: float, status: str = "5.1.1") -> SentRecord:
        fields = {"event": "bounce", "email": self._email(name), "status": status}
        return self._sendgrid({**fields, "sg_message_id": f"{self.tag}-{name}-{number}", **self._at(minutes)})

    def _sendgrid(self, element: Json) -> SentRecord:
        return self._post("sendgrid", orjson.dumps([element]), self._ago(0))

    def _listed(self, name: str, *, suppressed: bool, minutes: float) -> SentRecord:
        fields = {"RecordType": "SubscriptionChange", "ServerID": 23, "MessageStream": "outbound", "Origin": "Customer"}
        why = "HardBounce" if suppressed else None
        fields |= {"Recipient": self._email(name), "SuppressSending": suppressed, "SuppressionReason": why}
        return self._post("postmark", orjson.dumps(fields | {"ChangedAt": self._ago(minutes)}), self._ago(0))

    def _text(self, phone: int, words: str, *, minutes: float) -> SentRecord:
        """An SMS from a recipient to our number."""
        form = {"MessageSid": f"SM{self.tag}{phone}{words}", "SmsStatus": "received", "Body": words}
        form |= {"From": self._phone(phone), "To": OUR_NUMBER}
        return self._post("twilio", urlencode(form).encode(), self._ago(minutes))

    def _failed(self, phone: int, code: str, *, minutes: float, sender: str = OUR_NUMBER) -> SentRecord:
        form = {"MessageSid": f"SM{self.tag}{phone}{minutes}", "MessageStatus": "failed", "ErrorCode": code}
        form |= {"To": self._phone(phone)} | ({"From": sender} if sender else {})
        return self._post("twilio", urlencode(form).encode(), self._ago(minutes))

    def _post(self, provider: str, body: bytes, received_at: str) -> SentRecord:
        return SentRecord(WEBHOOKS[provider].name, str(uuid4()), body, (("received_at", received_at.encode()),))

    def _ask(
        self,
        account: str,
        name: str = "",
        *,
        to: str = "",
        template: str = "reminder",
        kind: str = "transactional",
        client: str = "c1",
        **of_template: str,
    ) -> Json:
        about = {"id": template, "name": "Reminder", "kind": kind, **of_template}
        recipient = {"kind": "client", "id": client}
        return a_request(self._account(account), to=to or self._email(name), template=about, recipient=recipient)

    def _text_to(self, account: str, phone: int | str = "", sender: str = "", to: str = "") -> Json:
        fields = {"channel": "sms", "to": to or self._phone(phone)} | ({"from": sender} if sender else {})
        return a_request(self._account(account), **fields)

    def _requests(self, requests: Sequence[Json]) -> list[SentRecord]:
        """The records of requests in random order, every third of them twice."""
        self._requested += [request for request in requests if request not in self._requested]
        written = [*requests, *requests[::3]]
        self._random.shuffle(written)
        return [SentRecord(SENDS_REQUESTED.name, request["message_id"], as_bytes(request)) for request in written]

    def _twice(self, facts: Sequence[SentRecord]) -> list[SentRecord]:
        """All facts, and then all of them again, unchanged."""
        return [*facts, *facts]
