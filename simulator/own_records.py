"""Records of our own topics about a message, as the booking service, the gate and the sender write them.

In:  ids, people, times. Out: JSON objects in the form of docs/reference/records.md, and the columns of `messages` that
are expected of them.
"""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final, NamedTuple

from schemas.decoding.times import rfc3339
from simulator.durations import DAY, MS
from simulator.people import Person, Template
from simulator.timeline import PlannedDecision

__all__ = [
    "REQUEST_GAP_US",
    "ExpectedDecision",
    "ExpectedDispatch",
    "ExpectedRequest",
    "changed_request",
    "content",
    "decision",
    "dispatch",
    "expected_request",
    "request",
    "reserialized",
]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
REQUEST_GAP_US: Final = 150 * MS
"""Time between two requests for one message."""
_SERVICES: Final = ("Haircut", "Massage", "Physiotherapy", "Yoga class", "Dentist’s check-up", "Coaching")


class ExpectedRequest(NamedTuple):
    """One content of a request, and what is expected of it."""

    requested_us: int
    to_key: str
    columns: dict[str, str]
    """Its columns in the row of `messages`."""


class ExpectedDecision(NamedTuple):
    """One decision, and the request that it is about."""

    at_us: int | None
    """None: a gate decides; only the gate knows when."""
    outcome: str
    """Blank: it counts against a quota, and only the number of approved messages is known."""
    reason: str
    detail: str | None
    """None: the gate chooses the text."""
    request: ExpectedRequest
    evidence: tuple[str, ...] | int | None = None
    """The ids, or their number; None: not known."""


class ExpectedDispatch(NamedTuple):
    """A dispatch. `provider_message_id` is in the form that is compared."""

    at_us: int
    provider: str
    provider_message_id: str


def request(
    ids: tuple[str, str], channel: str, template: Template, to: Person, ccs: tuple[Person, ...], sender: str,
    requested_us: int, rng: Random,
) -> dict[str, Any]:  # fmt: skip
    """Return a SendRequest. `ids`: account and message."""
    payload: dict[str, Any] = {
        "message_id": ids[1],
        "account_id": ids[0],
        "channel": channel,
        "template": {"id": template.id, "name": template.name, "kind": template.kind},
        "recipient": {"kind": to.kind, "id": to.id, "name": to.name},
        "to": to.address,
        "from": sender,
        "requested_at": rfc3339(requested_us),
    }
    if channel == "email":
        payload["subject"] = _subject(template, requested_us, rng)
        if template.group:
            payload["template"]["unsubscribe_group"] = template.group
    if ccs:
        payload["cc"] = [person.address for person in ccs]
    if template.kind == "transactional":
        payload["appointment_id"] = f"apt-{rng.randrange(10**7):07}"
    if rng.random() < 0.3:
        payload["metadata"] = {"location": rng.choice(("north", "south")), "source": "scheduler"}
    return payload


def changed_request(request: dict[str, Any], requested_us: int) -> dict[str, Any]:
    """Return another request for the same message: later, with corrected content."""
    other = request | {"requested_at": rfc3339(requested_us), "appointment_id": "apt-changed"}
    if "subject" in request:
        other["subject"] = f"{request['subject']} (corrected)"
    return other


def reserialized(request: dict[str, Any]) -> dict[str, Any]:
    """Return the same request in other bytes: fields in another order, and an unknown field."""
    return {name: request[name] for name in reversed(request)} | {"trace": "00-4bf92f3577b34da6-01"}


def expected_request(request: dict[str, Any], to: Person, requested_us: int) -> ExpectedRequest:
    """Return what is expected of a request."""
    return ExpectedRequest(
        requested_us,
        to.key,
        {
            "channel": request["channel"],
            "type": request["template"]["name"],
            "template_id": request["template"]["id"],
            "sent_to": request["recipient"]["kind"],
            "recipient_id": request["recipient"]["id"],
            "to_address": request["to"],
            "to_domain": to.key.partition("@")[2],
            "cc_address": ", ".join(request.get("cc", ())),
            "subject": request.get("subject", ""),
            "appointment_id": request.get("appointment_id", ""),
        },
    )


def decision(
    planned: PlannedDecision, request: dict[str, Any], message_id: str, decided_us: int, rng: Random
) -> dict[str, Any]:
    """Return a SendDecision about a request."""
    evidence: list[str] = []
    if planned.evidence == "policy":
        evidence = [f"policy:{request['account_id']}@{rfc3339(decided_us - 1 - rng.randrange(30) * DAY)}"]
    elif planned.evidence == "events":
        evidence = [rng.randbytes(16).hex() for _ in range(3 if planned.reason == "bounces" else 1)]
    elif planned.evidence == "command":
        evidence = [f"cmd-{rng.randrange(10**9):09}"]
    return {
        "message_id": message_id,
        "account_id": request["account_id"],
        "outcome": planned.outcome,
        "reason": planned.reason,
        "detail": planned.detail,
        "evidence": evidence,
        "decided_at": rfc3339(decided_us),
        "channel": request["channel"],
        "to": request["to"],
        "request": request,
    }


def dispatch(ids: tuple[str, str], provider: str, provider_message_id: str, dispatched_us: int) -> dict[str, Any]:
    """Return a SendDispatched. `ids`: account and message."""
    return {
        "message_id": ids[1],
        "account_id": ids[0],
        "provider": provider,
        "provider_message_id": provider_message_id,
        "dispatched_at": rfc3339(dispatched_us),
    }


def content(ids: tuple[str, str], request: dict[str, Any], rng: Random) -> dict[str, Any]:
    """Return the content of a message: HTML, text, or both."""
    text = f"{request.get('subject', request['template']['name'])}\n\nSee you soon, {request['recipient']['name']}!"
    record: dict[str, Any] = {"message_id": ids[1], "account_id": ids[0]}
    if request["channel"] == "email" and rng.random() < 0.8:
        record["html"] = f"<p>{text}</p><p><a href='https://booking.example.com/cancel'>cancel</a></p>"
    if "html" not in record or rng.random() < 0.5:
        record["text"] = text
    return record


def _subject(template: Template, requested_us: int, rng: Random) -> str:
    day = _EPOCH + timedelta(microseconds=requested_us) + timedelta(days=1 + rng.randrange(6))
    return template.subject.format(
        day=f"{day:%A %d %B}",
        hour=f"{9 + rng.randrange(10)}:{rng.choice(('00', '15', '30', '45'))}",
        service=rng.choice(_SERVICES),
    )
