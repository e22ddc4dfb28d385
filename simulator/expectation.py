"""What must become of a message: its row, worked out from its story.

In:  a story, and when its tellings arrive, as far as the plan knows.
Out: an `Expected`: the row of `messages`, the events by type, and what stays without a message.
Promise: follows docs/explanation/status.md and docs/reference as they are written, and shares no code with what it
judges (`projections`, the adapters): nothing of them is imported here, and no event id is worked out.

What the plan can't know is `ANY`: a time that is there, whatever it is, as that of a Twilio event is where only the
gateway knows when it came. What would follow from the order of two such times is left out of the row.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from schemas.identity import sent_at_us
from schemas.times import rfc3339
from simulator.facts import Asked, Decided
from simulator.providers.teller import Meaning
from simulator.story import Story

__all__ = ["ANY", "Expected", "Happened", "expect"]

ANY: Final[dict[str, bool]] = {"any": True}
_OPEN: Final = object()
"""A value that the plan can't know, and that may be blank: its column is left out."""

# From low to high: the highest that happened says what became of the delivery.
_RANKS: Final = ("processed", "deferred", "sent", "delivered", "dropped", "failed", "blocked", "bounced")
_BOUNCES: Final = ("bounced", "blocked", "failed")
_REFUSED: Final = {
    "blocked": "Blocked",
    "declined": "Declined",
    "not_opted_in": "Not_opted_in",
    "suppressed": "Suppressed",
    "quota_exceeded": "Quota_Exceeded",
}
_ATTRIBUTES: Final = (
    "channel", "type", "template_id", "sent_to", "recipient_id", "to_address", "to_domain", "cc_address", "subject",
    "appointment_id",
)  # fmt: skip

_BY_DECISION: Final = frozenset({"status", "sub_status", "reason", "code", "classification", "anomalies"})
"""The columns that follow from a decision."""


class Happened(NamedTuple):
    """One fact that a provider told, however often."""

    meaning: Meaning
    at_us: int | None
    """When it happened: the provider's time, else its first arrival; None: it has one, and the plan can't know it."""
    names_message: bool
    """Whether one of its deliveries has our ids in it."""
    fact: str


@dataclass(slots=True)
class Expected:
    """What must come out of one story."""

    row: dict[str, Any] | None
    """By column, those that can be known; None: nothing of it names a message."""
    events: dict[str, list[int]] = field(default_factory=dict)
    """By type: different events, and how many of them are about a CC."""
    orphans: list[Happened] = field(default_factory=list)
    happened: list[Happened] = field(default_factory=list)
    """All that its provider told."""
    bounced: list[str] = field(default_factory=list)
    """The addresses of the message that it bounced at, however often."""


def expect(story: Story, arrivals: Mapping[str, int]) -> Expected:
    """Return what must come out of a story. `arrivals`: when each fact came first, where the plan says it."""
    happened = _happened(story, arrivals)
    own = [one for one in happened if _is_own(story, one)]
    orphans = [one for one in happened if not _is_own(story, one)]
    if not (own or story.asked or story.decided or story.dispatched):
        return Expected(None, {}, orphans, happened)
    asked = _asked(story)
    to_key = asked.to_key if asked else ""
    # Until a request or decision tells the To every address counts as it; an event without one is the To's.
    # An SMS has no CC: all that is its own is about its To, however the address is spelled.
    is_sms = asked is not None and asked.columns["channel"] == "sms"
    about_to = [one for one in own if not to_key or is_sms or one.meaning.address in ("", to_key)]
    row = _row(story, asked, own, about_to)
    open_ = _BY_DECISION if story.quota else frozenset()
    known = {name: value for name, value in row.items() if value is not _OPEN and name not in open_}
    bounces = (one.meaning.address for one in own if one.meaning.type in _BOUNCES)
    bounced = sorted({to_key if is_sms else address for address in bounces} - {""})
    return Expected(known, _events(story, own, about_to), orphans, happened, bounced)


def _happened(story: Story, arrivals: Mapping[str, int]) -> list[Happened]:
    """Return the different facts of a story."""
    found: dict[str, Happened] = {}
    for telling in story.tellings:
        known = found.get(telling.fact)
        named = telling.names_message or (known is not None and known.names_message)
        at_us = telling.meaning.occurred_us
        if at_us is None:
            at_us = arrivals.get(telling.fact)
        found[telling.fact] = Happened(telling.meaning, at_us, named, telling.fact)
    return list(found.values())


def _is_own(story: Story, one: Happened) -> bool:
    """Return whether an event is of the message: our ids say so, or the dispatch of its provider's id."""
    if one.names_message:
        return True
    dispatched = story.dispatched
    if dispatched is None or one.meaning.provider_message_id != dispatched.provider_message_id:
        return False
    # Of several dispatches under one id the address decides.
    return not story.shared or one.meaning.address == story.asked[0].to_key


def _asked(story: Story) -> Asked | None:
    """Return the request whose attributes count: the decided one, else the earliest."""
    if decided := _decided(story):
        return decided.asked
    return min(story.asked, key=lambda asked: asked.requested_us, default=None)


def _decided(story: Story) -> Decided | None:
    return min(story.decided, key=lambda decided: decided.at_us or 0, default=None)


def _events(story: Story, own: Sequence[Happened], about_to: Sequence[Happened]) -> dict[str, list[int]]:
    """Return the number of different events by type, and how many of them are about a CC."""
    to_facts = {one.fact for one in about_to}
    counts = {
        "requested": [story.requested, 0],
        "decided": [len(story.decided), 0],
        "dispatched": [int(story.dispatched is not None), 0],
    }
    for one in own:
        count = counts.setdefault(one.meaning.type, [0, 0])
        count[0] += 1
        count[1] += one.fact not in to_facts
    return {type_: count for type_, count in counts.items() if count[0]}


def _row(story: Story, asked: Asked | None, own: Sequence[Happened], about_to: Sequence[Happened]) -> dict[str, Any]:
    decided, dispatched = _decided(story), story.dispatched
    status, sub_status = _status(decided, about_to)
    said = _said(decided, about_to)
    opened = [one for one in about_to if one.meaning.type == "opened"]
    by_people = [one for one in opened if not one.meaning.machine]
    clicked = _of(about_to, "clicked")
    return {
        "account_id": story.account_id,
        "email_id": story.message_id,
        **(asked.columns if asked else dict.fromkeys(_ATTRIBUTES, "")),
        "status": status,
        "sub_status": sub_status,
        **said,
        "date_sent": rfc3339(sent_at_us(story.message_id)),
        "decided_at": _decided_at(decided),
        "dispatched_at": rfc3339(dispatched.at_us) if dispatched else None,
        "processed_at": _first(_of(about_to, "processed")),
        "delivered_at": _first(_of(about_to, "delivered")),
        "bounced_at": _first(_of(about_to, *_BOUNCES)),
        "opened_at": _first(by_people),
        "clicked_at": _first(clicked),
        "opens": len(by_people),
        "machine_opens": len(opened) - len(by_people),
        "clicks": len(clicked),
        "attempts": len(_of(about_to, "deferred")),
        "complained": bool(_of(about_to, "complained")),
        **_provider(story, own),
        "anomalies": _anomalies(story, decided, own, about_to),
    }


def _decided_at(decided: Decided | None) -> Any:
    if decided is None:
        return None
    return ANY if decided.at_us is None else rfc3339(decided.at_us)


def _status(decided: Decided | None, about_to: Sequence[Happened]) -> tuple[str, Any]:
    """Return status and sub-status: the first line of docs/explanation/status.md that holds."""
    if decided and decided.outcome in _REFUSED:
        return _REFUSED[decided.outcome], ""
    highest = _highest(about_to)
    delivery = highest[0].meaning.type if highest else ""
    if delivery in _BOUNCES:
        return "Bounced", _agreed(_deciding(highest), "sub_status")
    if delivery == "dropped":
        return "Dropped", _agreed(_deciding(highest), "sub_status")
    if changes := _of(about_to, "subscription_changed"):
        return "Subscriptionchange", max(changes, key=lambda one: one.at_us or 0).meaning.sub_status
    looks = [one for one in about_to if one.meaning.type in ("opened", "clicked")]
    if any(one.meaning.type == "clicked" for one in looks if not one.meaning.machine):
        return "Clicked", ""
    if any(one.meaning.type == "opened" for one in looks if not one.meaning.machine):
        return "Opened", ""
    if delivery == "delivered" or looks:
        return "Delivered", ""
    if delivery:
        return "Processed", delivery
    return "Pending", ""


def _said(decided: Decided | None, about_to: Sequence[Happened]) -> dict[str, Any]:
    """Return reason, code and classification: the decision's of a refused message, else of the event that decides."""
    if decided and decided.outcome in _REFUSED:
        detail = ANY if decided.detail is None else decided.detail
        return {"reason": detail, "code": decided.reason, "classification": ""}
    deciding = _deciding(_highest(about_to))
    return {name: _agreed(deciding, name) if deciding else "" for name in ("reason", "code", "classification")}


def _highest(happened: Iterable[Happened]) -> list[Happened]:
    """Return the delivery events of the highest rank that was reached."""
    delivery = [one for one in happened if one.meaning.type in _RANKS]
    top = max((_RANKS.index(one.meaning.type) for one in delivery), default=-1)
    return [one for one in delivery if _RANKS.index(one.meaning.type) == top]


def _deciding(highest: Sequence[Happened]) -> list[Happened]:
    """Return the event that decides: one with a code before one without, then the earliest.

    It is several where only the gateway knows which of them came first.
    """
    coded = [one for one in highest if one.meaning.code] or list(highest)
    if len(coded) > 1 and all(one.at_us is not None for one in coded):
        return [min(coded, key=lambda one: one.at_us or 0)]
    return coded


def _agreed(deciding: Sequence[Happened], name: str) -> Any:
    """Return what all of them say, if they agree."""
    said = {getattr(one.meaning, name) for one in deciding}
    return said.pop() if len(said) == 1 else _OPEN


def _provider(story: Story, own: Sequence[Happened]) -> dict[str, str]:
    """Return the dispatch's provider and id; without one those of the events."""
    if story.dispatched:
        return {
            "provider": story.dispatched.provider,
            "provider_message_id": story.dispatched.provider_message_id,
        }
    named = {one.meaning.provider_message_id for one in own} - {""}
    return {"provider": story.provider if own else "", "provider_message_id": named.pop() if named else ""}


def _anomalies(story: Story, decided: Decided | None, own: Sequence[Happened], about_to: Sequence[Happened]) -> Any:
    found = []
    if len(story.asked) > 1:
        found.append("conflicting_requests")
    if decided and decided.outcome in _REFUSED and own:
        found.append("event_after_refusal")
    bounced, delivered = _of(about_to, *_BOUNCES), _of(about_to, "delivered")
    if bounced and delivered:
        if any(one.at_us is None for one in (*bounced, *delivered)):
            return _OPEN
        if max(one.at_us or 0 for one in delivered) > min(one.at_us or 0 for one in bounced):
            found.append("delivered_after_bounce")
    ids = {one.meaning.provider_message_id for one in own} - {""}
    if story.dispatched and ids - {story.dispatched.provider_message_id}:
        found.append("id_mismatch")
    return sorted(found)


def _of(happened: Iterable[Happened], *types: str) -> list[Happened]:
    return [one for one in happened if one.meaning.type in types]


def _first(happened: Sequence[Happened]) -> Any:
    """Return the time of the first of them as text; None if there is none."""
    if not happened:
        return None
    if any(one.at_us is None for one in happened):
        return ANY
    return rfc3339(min(one.at_us or 0 for one in happened))
