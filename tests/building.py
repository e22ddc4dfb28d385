"""Events and facts for tests: builders with sensible defaults, and Hypothesis strategies of awkward ones.

The strategies draw from small pools, so that what they give collides: copies of one event, two requests for one
message, events of a To and of a CC at one moment.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from hypothesis import strategies as st

from projections.messages.reference_fold import Known
from schemas.decoding.addresses import address_key, email_key
from schemas.decoding.ids import fact_id, uuid7
from schemas.decoding.sends import Decision, Dispatch, Request
from schemas.events import Event, SourcePosition

__all__ = ["ACCOUNT", "MESSAGE", "NOW_US", "FakeRecord", "a_decision", "a_request", "an_event", "everything_known"]

NOW_US = 1_780_000_000_000_000
ACCOUNT = "acme"
MESSAGE = uuid7(NOW_US, b"0123456789")
TO = "Ann@Example.com"


@dataclass(frozen=True, slots=True)
class FakeRecord:
    """A record as the engine gives it, without a Kafka."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes]] = ()
    partition: int = 0
    offset: int = 0
    timestamp: int = NOW_US // 1000


def a_source_position(**said: Any) -> SourcePosition:
    return SourcePosition("webhooks.sendgrid", 0, 0, NOW_US)._replace(**said)


def an_event(kind: str = "delivered", **said: Any) -> Event:
    """An event of MESSAGE; its id follows from what a provider's natural key has in it."""
    fields: dict[str, Any] = {
        "provider": "sendgrid",
        "type": kind,
        "account_id": ACCOUNT,
        "message_id": MESSAGE,
        "provider_message_id": "abc",
        "provider_event_id": "",
        "address": email_key(TO),
        "occurred_us": NOW_US,
        "received_us": NOW_US,
        "code": "",
        "enhanced_code": "",
        "reason": "",
        "classification": "",
        "fault": "",
        "machine": False,
        "url": "",
        "user_agent": "",
        "ip": "",
        "attempt": "",
        "group": "",
        "extra": "",
        "topic": "webhooks.sendgrid",
        "partition": 0,
        "offset": 0,
        "position": 0,
    } | said
    natural = [fields[n] for n in ("provider", "provider_message_id", "address", "type", "machine", "attempt")]
    fields.setdefault("event_id", fact_id([*natural, said.get("natural_us", fields["occurred_us"])]))
    fields.pop("natural_us", None)
    return Event(**fields)


def a_request(**said: Any) -> Request:
    """A request for MESSAGE."""
    fields: dict[str, Any] = {
        "account_id": ACCOUNT,
        "message_id": MESSAGE,
        "requested_us": NOW_US,
        "channel": "email",
        "template_id": "t1",
        "template_name": "Reminder",
        "template_kind": "transactional",
        "recipient_kind": "client",
        "recipient_id": "c1",
        "recipient_name": "Ann",
        "to": TO,
        "cc": (),
        "sender": "",
        "subject": "Tomorrow at ten",
        "appointment_id": "",
        "source": a_source_position(topic="sends.requested"),
    } | said
    fields.setdefault("to_key", address_key(fields["to"], fields["channel"]))
    written = {name: value for name, value in fields.items() if name not in ("account_id", "message_id", "source")}
    fields.setdefault("extra", orjson.dumps(written, option=orjson.OPT_SORT_KEYS).decode())
    fields.setdefault("content_hash", fact_id([fields["requested_us"], fields["to"], fields["subject"], fields["cc"]]))
    return Request(**fields)


def a_decision(outcome: str = "approved", **said: Any) -> Decision:
    """A decision about MESSAGE."""
    fields: dict[str, Any] = {
        "account_id": ACCOUNT,
        "message_id": MESSAGE,
        "decided_us": NOW_US,
        "outcome": outcome,
        "reason": "ok" if outcome == "approved" else "manual",
        "detail": "",
        "evidence": (),
        "request": a_request(),
        "source": a_source_position(topic="sends.decided"),
    } | said
    fields.setdefault("decision_hash", fact_id([fields["decided_us"], outcome, fields["request"].content_hash]))
    return Decision(**fields)


_times = st.integers(0, 3).map(lambda n: NOW_US + n * 1_000_001)
_PHONES: Final = ("+15550000001", "whatsapp:+15550000001", "+15550000002", "15550000001", "ANN")
_addresses = st.sampled_from(["ann@example.com", "bob@example.com", "", "x:ann@example.com", *_PHONES])
_kinds = st.sampled_from(
    ["processed", "deferred", "sent", "delivered", "dropped", "failed", "blocked", "bounced"]
    + ["opened", "clicked", "complained", "unsubscribed", "subscription_changed", "unknown"]
)


@st.composite
def _events(draw: st.DrawFn) -> Event:
    kind, received = draw(_kinds), draw(_times)
    own_time = draw(st.one_of(st.none(), _times))
    # An event without a time of its own (Twilio's) has that of its arrival: its copies differ in it, their id not.
    return an_event(
        kind,
        machine=draw(st.booleans()),
        address=draw(_addresses),
        occurred_us=received if own_time is None else own_time,
        natural_us=own_time,
        received_us=received,
        provider_message_id=draw(st.sampled_from(["abc", "abc", "other", ""])),
        attempt=draw(st.sampled_from(["", "1", "2"])),
        code=draw(st.sampled_from(["", "550", "250"])),
        reason=draw(st.sampled_from(["", "mailbox 'full'\x00\n", "Bounced Address", "Spam Content: 7.1"])),
        fault=draw(st.sampled_from(["recipient", "mailbox", "unknown"])) if kind == "bounced" else "",
        classification=draw(st.sampled_from(["added", "removed"])) if kind == "subscription_changed" else "",
        offset=draw(st.integers(0, 2)),
        position=draw(st.integers(0, 1)),
    )


_requests = st.builds(
    lambda to, **said: a_request(channel="sms" if to in _PHONES else "email", to=to, **said),
    requested_us=_times,
    to=st.sampled_from([TO, "bob@EXAMPLE.com", *_PHONES[:2]]),
    subject=st.sampled_from(["Tomorrow", "<b>Ümläut</b>"]),
    cc=st.sampled_from([(), ("bob@example.com",)]),
)
_decisions = st.builds(
    a_decision,
    st.sampled_from(["approved", "approved", "blocked", "declined", "not_opted_in", "suppressed", "quota_exceeded"]),
    decided_us=_times,
    request=_requests,
)
_dispatches = st.builds(
    lambda at, pid: Dispatch(
        ACCOUNT, MESSAGE, fact_id([at, pid]), at, "sendgrid", pid, a_source_position(topic="sends.dispatched")
    ),
    _times,
    st.sampled_from(["abc", "other"]),
)


def everything_known() -> st.SearchStrategy[Known]:
    """Anything that may be known of one message."""
    return st.builds(
        Known,
        requests=st.lists(_requests, max_size=3),
        decisions=st.lists(_decisions, max_size=2),
        dispatches=st.lists(_dispatches, max_size=2),
        events=st.lists(_events(), max_size=10),
    )
