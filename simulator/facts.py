"""Our own records of a message, as its booking service, the gate and the sender write them.

In:  who, what, when. Out: JSON objects in the form of docs/reference/records.md, and what a row of `messages`
shows of them.
"""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final, NamedTuple

from schemas.times import rfc3339
from simulator.durations import DAY, MS
from simulator.people import Person, Template
from simulator.script import Verdict

__all__ = [
    "APART",
    "Asked",
    "Decided",
    "Dispatched",
    "changed",
    "content",
    "decision",
    "dispatch",
    "request",
    "respelled",
    "shown",
]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
APART: Final = 150 * MS
"""Between two requests for one message."""
_SERVICES: Final = ("Haircut", "Massage", "Physiotherapy", "Yoga class", "Dentist’s check-up", "Coaching")


class Asked(NamedTuple):
    """One content of a request."""

    requested_us: int
    to_key: str
    columns: dict[str, str]
    """What a row of `messages` shows of it, by column."""


class Decided(NamedTuple):
    """One decision, and the request that it decided."""

    at_us: int | None
    """None: a gate decides, and only it knows when."""
    outcome: str
    """Blank: one of several, of which only how many are approved is known."""
    reason: str
    detail: str | None
    """None: in the gate's words."""
    asked: Asked
    evidence: tuple[str, ...] | int | None = None
    """The ids, or how many they are; None: not known."""


class Dispatched(NamedTuple):
    """That a provider took it, under an id as it is compared."""

    at_us: int
    provider: str
    provider_message_id: str


def request(
    ids: tuple[str, str], channel: str, template: Template, to: Person, ccs: tuple[Person, ...], sender: str,
    requested_us: int, rng: Random,
) -> dict[str, Any]:  # fmt: skip
    """Return a SendRequest. `ids`: account and message."""
    said: dict[str, Any] = {
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
        said["subject"] = _subject(template, requested_us, rng)
        if template.group:
            said["template"]["unsubscribe_group"] = template.group
    if ccs:
        said["cc"] = [person.address for person in ccs]
    if template.kind == "transactional":
        said["appointment_id"] = f"apt-{rng.randrange(10**7):07}"
    if rng.random() < 0.3:
        said["metadata"] = {"location": rng.choice(("north", "south")), "source": "scheduler"}
    return said


def changed(said: dict[str, Any], requested_us: int) -> dict[str, Any]:
    """Return another request for the same message: its content was mended, and asked for later."""
    other = said | {"requested_at": rfc3339(requested_us), "appointment_id": "apt-changed"}
    if "subject" in said:
        other["subject"] = f"{said['subject']} (corrected)"
    return other


def respelled(said: dict[str, Any]) -> dict[str, Any]:
    """Return the same request in other bytes: another order, and a field that nobody knows."""
    return {name: said[name] for name in reversed(said)} | {"trace": "00-4bf92f3577b34da6-01"}


def shown(said: dict[str, Any], to: Person, requested_us: int) -> Asked:
    """Return what a row shows of a request."""
    return Asked(
        requested_us,
        to.key,
        {
            "channel": said["channel"],
            "type": said["template"]["name"],
            "template_id": said["template"]["id"],
            "sent_to": said["recipient"]["kind"],
            "recipient_id": said["recipient"]["id"],
            "to_address": said["to"],
            "to_domain": to.key.partition("@")[2],
            "cc_address": ", ".join(said.get("cc", ())),
            "subject": said.get("subject", ""),
            "appointment_id": said.get("appointment_id", ""),
        },
    )


def decision(verdict: Verdict, said: dict[str, Any], message_id: str, decided_us: int, rng: Random) -> dict[str, Any]:
    """Return a SendDecision about a request."""
    evidence: list[str] = []
    if verdict.evidence == "policy":
        evidence = [f"policy:{said['account_id']}@{rfc3339(decided_us - 1 - rng.randrange(30) * DAY)}"]
    elif verdict.evidence == "events":
        evidence = [rng.randbytes(16).hex() for _ in range(3 if verdict.reason == "bounces" else 1)]
    elif verdict.evidence == "command":
        evidence = [f"cmd-{rng.randrange(10**9):09}"]
    return {
        "message_id": message_id,
        "account_id": said["account_id"],
        "outcome": verdict.outcome,
        "reason": verdict.reason,
        "detail": verdict.detail,
        "evidence": evidence,
        "decided_at": rfc3339(decided_us),
        "channel": said["channel"],
        "to": said["to"],
        "request": said,
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


def content(ids: tuple[str, str], said: dict[str, Any], rng: Random) -> dict[str, Any]:
    """Return what was sent, in HTML, in text, or both."""
    text = f"{said.get('subject', said['template']['name'])}\n\nSee you soon, {said['recipient']['name']}!"
    record: dict[str, Any] = {"message_id": ids[1], "account_id": ids[0]}
    if said["channel"] == "email" and rng.random() < 0.8:
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
