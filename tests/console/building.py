"""What the tests of the console share: a log with almost every status, suppressions, and signed-in clients."""

import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import httpx
import orjson
from fastapi import FastAPI

from application.raw_events import ReadRecord
from gateway.app import create_app
from gateway.tokens import issue
from processors.ledger.decode import read_records
from processors.ledger.write import tables_of
from projections.bounces.columns import bounces_table
from projections.store import Store
from projections.suppressions.addressing import AddressKey
from projections.suppressions.bulk_release import command_id_of
from schemas.decoding.ids import uuid7
from schemas.decoding.times import SECOND_US, rfc3339
from schemas.telemetry import Telemetry
from tests.building import FakeRecord
from tests.fakes import FakeKafka
from tests.gateway.test_webhooks import settings

__all__ = [
    "BULK_ID",
    "HOSTILE",
    "NOW_US",
    "SAME_SITE",
    "SECRET",
    "Sent",
    "a_client",
    "a_token",
    "an_id",
    "fill",
    "fill_bulk_release",
    "fill_suppressions",
    "log_of",
]

NOW_US: Final = time.time_ns() // 1_000_000_000 * SECOND_US
SAME_SITE: Final = {"sec-fetch-site": "same-origin"}
HOSTILE: Final = '"><script>document.title="stolen"</script><img src=x onerror=alert(1)>'
"""A text that runs a script if a page does not escape it."""

BULK_ID: Final = uuid7(NOW_US, b"0123456789")
"""The bulk release of `fill_bulk_release`."""
SECRET: Final = "x" * 40


class Sent(NamedTuple):
    """A message of the tests, with its decision and its events."""

    minutes_ago: float
    to: str
    subject: str
    outcome: str = "approved"
    reason: str = "ok"
    events: Sequence[Mapping[str, Any]] = ()
    account: str = "acme"
    template: str = "Appointment reminder"
    kind: str = "client"
    cc: Sequence[str] = ()
    html: str = "<h1>See you</h1><p style='color: teal'>Tomorrow at ten</p>"


def a_token(*accounts: str, role: str = "viewer", expires_in: int | None = None) -> str:
    """A token of the API."""
    return issue(SECRET, subject="ann.support", role=role, accounts=list(accounts or ["acme"]), expires_in=expires_in)


@lru_cache(8)
def _app(
    store: Store | None, kafka: FakeKafka | None, read_one: ReadRecord | None, overrides: tuple[tuple[str, Any], ...]
) -> FastAPI:
    """An application, shared by tests with the same arguments: creating one takes a second."""
    wanted = settings(**{"public_url": "http://inside"} | dict(overrides))
    store, kafka = store or Store("http://127.0.0.1:1"), kafka or FakeKafka()
    return create_app(wanted, store, kafka, Telemetry(), read_one=read_one)


@asynccontextmanager
async def a_client(
    store: Store | None = None,
    token: str | None = None,
    kafka: FakeKafka | None = None,
    read_one: ReadRecord | None = None,
    **overrides: Any,
) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client with cookies, for a gateway that reads `store`; signed in if there is a `token`."""
    app = _app(store, kafka, read_one, tuple(overrides.items()))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="https://inside", headers=SAME_SITE) as client:
        if token is not None:
            answer = await client.post("/login", data={"token": token})
            assert answer.status_code == 303, answer.text
        yield client


def an_id(sent: Sent, number: int) -> str:
    """The Email ID of a message of the log."""
    return uuid7(int(NOW_US - sent.minutes_ago * 60 * SECOND_US), number.to_bytes(10, "big"))


_BOUNCE: Final = {"event": "bounce", "type": "bounce", "status": "5.1.1", "reason": "550 5.1.1 no such user here"}
_PROCESSED: Final = {"event": "processed"}
_DELIVERED: Final = (_PROCESSED, {"event": "delivered", "response": "250 2.0.0 OK"})


def log_of(account: str = "acme") -> Sequence[Sent]:
    """Messages of every status but Subscriptionchange, the newest first."""
    return [
        Sent(1, f"new@{account}.example", "Not heard of yet", account=account),
        Sent(2, f"ann@{account}.example", "Reminder: Tuesday at ten", events=_DELIVERED, account=account),
        Sent(3, f"bob@{account}.example", "Your appointment", events=[*_DELIVERED, {"event": "open"}], account=account),
        Sent(
            *(4, f"cat@{account}.example", "Your receipt"),
            events=[*_DELIVERED, {"event": "open"}, {"event": "click", "url": "https://example.com/receipt"}],
            account=account,
            cc=[f"desk@{account}.example"],
        ),
        Sent(5, f"dan@{account}.example", HOSTILE, events=[_PROCESSED, _BOUNCE | {"reason": HOSTILE}], account=account),
        Sent(
            *(6, "eve@gmial.com", "Reminder: Wednesday"),
            events=[_PROCESSED, _BOUNCE | {"bounce_classification": "Invalid Address"}],
            account=account,
        ),
        Sent(
            *(7, f"fay@{account}.example", "Invoice"),
            events=[{"event": "dropped", "reason": "Bounced Address"}],
            account=account,
        ),
        Sent(8, f"gus@{account}.example", "Reminder", "suppressed", "bounces", account=account),
        Sent(9, f"hal@{account}.example", "Reminder", "suppressed", "complaint", account=account),
        Sent(10, f"ida@{account}.example", "Reminder", "blocked", "account_blocked", account=account),
        Sent(11, f"jan@{account}.example", "News", "declined", "template_declined", account=account),
        Sent(12, f"kim@{account}.example", "Invitation", "not_opted_in", "invitation_not_opted_in", account=account),
        Sent(13, f"leo@{account}.example", "Reminder", "quota_exceeded", "trial_email_limit", account=account),
        Sent(
            *(14, f"mia@{account}.example", "Reminder"),
            events=[_PROCESSED, {"event": "deferred", "response": "451 try later", "attempt": "1"}],
            account=account,
        ),
        Sent(15, "+14155550100", "", events=[{"sms": "delivered"}], account=account, template="Text reminder"),
        Sent(16, "+14155550101", "", events=[{"sms": "undelivered", "code": "30003"}], account=account),
        Sent(2000, f"ann@{account}.example", "An older one", events=_DELIVERED, account=account),
        Sent(30_000, f"ann@{account}.example", "Three weeks ago", events=_DELIVERED, account=account),
    ]


def fill_suppressions(store: Store, account: str = "acme", *, released: Sequence[str] = ()) -> None:
    """Suppress addresses: by bounces (for this account, and for all), by a complaint, by hand, and a phone number.

    Those of `released` are released again for all accounts.
    """
    suppressed = [
        (f"gus@{account}.example", account, "bounces"),
        (f"hal@{account}.example", account, "complaint"),
        (f"eve-{account}@gmial.com", account, "manual"),
        ("dan@acme.example", "*", "bounces"),
        ("+14155550101", account, "manual"),
    ]
    states = [*(_state(*one) for one in suppressed), *(_released(address) for address in released)]
    records = [_record("suppressions.changed", state) for state in states]
    command = {
        "command_id": uuid7(NOW_US, f"{account:*<10.10}".encode()),
        "action": "suppress",
        "channel": "email",
        "address": f"eve-{account}@gmial.com",
        "scope": account,
        "reason": "asked by phone",
        "note": HOSTILE,
        "actor": "jo",
        "at": rfc3339(NOW_US),
    }
    batch = read_records([*records, _record("suppressions.commands", command)], decision_days=36_500)
    assert batch.letters == []
    for table, rows in tables_of(batch)[0].items():
        store.insert(table, rows)


def fill_bulk_release(store: Store) -> None:
    """Release an address of `fill_suppressions` in bulk: one to which a message of `log_of` was refused."""
    address, at = "gus@acme.example", rfc3339(NOW_US)
    released = {"suppressed": False, "released": {"at": at, "actor": "jo"}}
    state = _state(address, "acme", "bounces") | {"version": 2}
    command = {
        "command_id": command_id_of(BULK_ID, "release", AddressKey("email", address), "acme"),
        "action": "release",
        "channel": "email",
        "address": address,
        "scope": "acme",
        "reason": "their outage",
        "note": HOSTILE,
        "actor": "jo",
        "at": at,
    }
    changed = state | {"scopes": [scope | released for scope in state["scopes"]]}
    records = [_record("suppressions.changed", changed), _record("suppressions.commands", command)]
    for table, rows in tables_of(read_records(records, decision_days=36_500))[0].items():
        store.insert(table, rows)


def _state(address: str, scope: str, reason: str) -> dict[str, Any]:
    state = {"scope": scope, "suppressed": True, "reason": reason, "since": rfc3339(NOW_US - 3600 * SECOND_US)}
    return {
        "channel": "sms" if address.startswith("+") else "email",
        "address": address,
        "scopes": [state | {"evidence": [], "released": None}],
        "opt_outs": [],
        "version": 1,
        "changed_at": rfc3339(NOW_US),
    }


def _released(address: str) -> dict[str, Any]:
    state = _state(address, "*", "bounces")
    [scope] = state["scopes"]
    released = {"suppressed": False, "released": {"at": rfc3339(NOW_US), "actor": "jo"}}
    return state | {"scopes": [scope | released]}


def fill(store: Store, sent: Sequence[Sent]) -> Sequence[str]:
    """Write the messages, from records that the decoders of the ledger read; return their Email IDs."""
    ids = [an_id(one, number) for number, one in enumerate(sent)]
    records = [
        record
        for number, (one, email_id) in enumerate(zip(sent, ids, strict=True))
        for record in _records(one, email_id, number)
    ]
    batch = read_records(records, decision_days=36_500)
    assert (batch.letters, batch.orphans) == ([], [])
    for table, rows in tables_of(batch)[0].items():
        store.insert(table, rows)
    store.insert("bounces", bounces_table(batch.events))
    return ids


def _records(one: Sent, email_id: str, number: int) -> Iterator[FakeRecord]:
    at = rfc3339(int(NOW_US - one.minutes_ago * 60 * SECOND_US))
    channel = "sms" if one.to.startswith("+") else "email"
    request = {
        "message_id": email_id,
        "account_id": one.account,
        "channel": channel,
        "template": {"id": one.template.lower().replace(" ", "-"), "name": one.template, "kind": "transactional"},
        "recipient": {"kind": one.kind, "id": f"c{number}", "name": "Ann"},
        "to": one.to,
        "cc": list(one.cc),
        "subject": one.subject,
        "appointment_id": f"a{number}",
        "requested_at": at,
    }
    own = {"account_id": one.account, "message_id": email_id}
    yield _record("sends.requested", request)
    yield _record("sends.content", own | {"html": one.html, "text": "Tomorrow at ten"})
    identity = {name: request[name] for name in ("message_id", "account_id", "channel", "to", "requested_at")}
    decision = {"outcome": one.outcome, "reason": one.reason, "detail": "", "evidence": [], "decided_at": at}
    yield _record("sends.decided", identity | decision | {"request": request})
    if channel == "sms":
        yield from (_twilio(one, email_id, event) for event in one.events)
    elif one.events:
        yield _record("webhooks.sendgrid", list(_sendgrid(one, email_id)), number)


def _sendgrid(one: Sent, email_id: str) -> Iterator[dict[str, Any]]:
    begin = int(NOW_US / SECOND_US - one.minutes_ago * 60)
    common = {"sl_account": one.account, "sl_message": email_id, "email": one.to, "sg_message_id": f"sg-{email_id}.x"}
    for seconds, event in enumerate(one.events, start=1):
        yield common | dict(event) | {"timestamp": begin + seconds * 2}


def _twilio(one: Sent, email_id: str, event: Mapping[str, Any]) -> FakeRecord:
    sid = f"SM{email_id.replace('-', '')}"
    form = {"MessageSid": sid, "MessageStatus": event["sms"], "To": one.to, "From": "+15005550006"}
    url = f"https://hooks.example.com/webhooks/twilio?sl_account={one.account}&sl_message={email_id}"
    body = urlencode(form | ({"ErrorCode": event["code"]} if "code" in event else {})).encode()
    return FakeRecord(
        "webhooks.twilio",
        body,
        headers=_headers(url, "application/x-www-form-urlencoded", f"twilio{email_id[-4:]}"),
        timestamp=NOW_US // 1000,
    )


def _record(topic: str, value: object, offset: int = 0) -> FakeRecord:
    headers = _headers("https://hooks.example.com/webhooks/sendgrid", "application/json", "webhook")
    return FakeRecord(topic, orjson.dumps(value), headers=headers, offset=offset, timestamp=NOW_US // 1000)


def _headers(url: str, content_type: str, seed: str) -> list[tuple[str, bytes]]:
    return [
        ("webhook_id", uuid7(NOW_US, f"{seed:*<10.10}".encode()).encode()),
        ("received_at", rfc3339(NOW_US).encode()),
        ("request_url", url.encode()),
        ("content_type", content_type.encode()),
    ]
