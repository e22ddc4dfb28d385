"""What a provider's event, or a command, says about an address.

In:  an `Event` as the adapters give it; a `Command`.
Out: the address and one `Evidence`; None where it says nothing of the address.
Promise: pure and total. Each event counts for the address that it names, be it a message's To or a CC. One that names
no address says nothing here.

Whether evidence counts is no question of this module: `projections.gate.suppression` sees all of it together.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

import orjson

from projections.gate.addressing import AddressKey
from projections.gate.texts import bounded
from schemas.events import Event, EventType, Fault
from schemas.gate_facts import Command
from schemas.json_values import text_of
from schemas.providers.twilio import RECIPIENT_CODES
from schemas.suppressions import EVERYWHERE

__all__ = ["COMMANDS", "LIFTS", "Addressed", "Evidence", "Kind", "evidence_of", "evidence_of_command"]


class Kind(StrEnum):
    """What evidence says."""

    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    LISTED = "listed"
    """A provider put the address on one of its suppression lists, …"""
    UNLISTED = "unlisted"
    """… or took it off."""
    UNSUBSCRIBED = "unsubscribed"
    """The recipient wants no mail of an account, or of a group, …"""
    RESUBSCRIBED = "resubscribed"
    """… or wants the group's again."""
    OPTED_OUT = "opted_out"
    """The recipient wants no texts of some senders, …"""
    OPTED_IN = "opted_in"
    """… or wants them again."""
    SUPPRESS = "suppress"
    RELEASE = "release"
    OPT_IN = "opt_in"


COMMANDS: Final = frozenset({Kind.SUPPRESS, Kind.RELEASE, Kind.OPT_IN})
"""What people ask for; the rest are events."""
LIFTS: Final = frozenset({Kind.UNLISTED, Kind.RESUBSCRIBED, Kind.OPTED_IN, Kind.RELEASE, Kind.OPT_IN})
"""What can end a suppression or an opt-out."""


class Evidence(NamedTuple):
    """One thing that is known of an address. What a kind has no use for is blank."""

    kind: Kind
    id: str
    """The event's or the command's."""
    at_us: int
    """When it happened, as the provider or the command says."""
    received_us: int
    """When this copy of it came: of several the first counts."""
    scope: str = EVERYWHERE
    """The account whose it is; `*` for every account's, and where the event names none."""
    message: str = ""
    """Of a bounce: what tells its message from others; blank where nothing does."""
    group: str = ""
    senders: tuple[str, ...] = ()
    """Of an SMS opt-out: the number and the messaging service, as they were written; none where the event tells none.
    They are compared by `sender_key`."""
    list: str = ""
    """Of a Postmark suppression list: `server/stream`."""
    actor: str = ""

    @property
    def key(self) -> str:
        """What it is kept under. Events and commands have ids of their own kinds, which may be alike."""
        return f"command:{self.id}" if self.kind in COMMANDS else self.id


class Addressed(NamedTuple):
    """Evidence and the address that it is about."""

    key: AddressKey
    evidence: Evidence


_OPT_OUT_CODES: Final = frozenset({"21610", "63014", "63033"})
"""Twilio's failures that mean: the recipient opted out, or blocked the sender."""


def evidence_of(event: Event) -> Addressed | None:
    """Return what an event says of its address."""
    meaning = _MEANINGS.get(event.type)
    if meaning is None or not event.address:
        return None
    evidence = meaning(event)
    return None if evidence is None else Addressed(AddressKey(_channel(event), event.address), evidence)


def evidence_of_command(command: Command) -> Addressed:
    """Return what a command says of its address."""
    evidence = Evidence(
        Kind(command.action),
        command.command_id,
        command.at_us,
        command.place.received_us,
        scope=command.scope,
        group=command.group,
        senders=(command.sender.strip(),) if command.sender.strip() else (),
        actor=command.actor,
    )
    return Addressed(AddressKey(command.channel, command.address), evidence)


def _channel(event: Event) -> str:
    return "sms" if event.provider == "twilio" else "email"


def _seen(event: Event, kind: Kind, **said: Any) -> Evidence:
    return Evidence(kind, event.event_id, event.occurred_us, event.received_us, **said)


def _bounced(event: Event) -> Evidence | None:
    """Only what is the recipient's fault, for good. The rest is about one mail, or about today."""
    return _seen(event, Kind.BOUNCE, message=_message(event)) if event.fault == Fault.RECIPIENT else None


def _failed(event: Event) -> Evidence | None:
    """A failed SMS. Its code alone counts: a text around it may quote a code of somebody's mail server."""
    if _channel(event) != "sms":
        return None
    if event.code in _OPT_OUT_CODES:
        return _seen(event, Kind.OPTED_OUT, senders=_senders(event, "From"))
    return _seen(event, Kind.BOUNCE, message=_message(event)) if event.code in RECIPIENT_CODES else None


def _complained(event: Event) -> Evidence:
    return _seen(event, Kind.COMPLAINT)


def _unsubscribed(event: Event) -> Evidence:
    return _seen(event, Kind.UNSUBSCRIBED, scope=event.account_id or EVERYWHERE, group=bounded(event.group))


def _resubscribed(event: Event) -> Evidence | None:
    """It lifts the wish about its own group only; without a group there is nothing that it could lift."""
    if not event.group:
        return None
    return _seen(event, Kind.RESUBSCRIBED, scope=event.account_id or EVERYWHERE, group=bounded(event.group))


def _opted_out(event: Event) -> Evidence:
    return _seen(event, Kind.OPTED_OUT, senders=_senders(event, "To"))


def _opted_in(event: Event) -> Evidence:
    return _seen(event, Kind.OPTED_IN, senders=_senders(event, "To"))


def _subscription_changed(event: Event) -> Evidence | None:
    """A change of Postmark's list; the recipient's own wish among them is an opt-out of the stream."""
    extra = _extra(event)
    changed = bounded(f"{text_of(extra.get('ServerID')).strip()}/{event.group}")
    if event.classification == "removed":
        return _seen(event, Kind.UNLISTED, list=changed)
    if event.classification != "added":
        return None
    if event.reason == "ManualSuppression" and text_of(extra.get("Origin")).strip().lower() == "recipient":
        scope = event.account_id or EVERYWHERE
        return _seen(event, Kind.UNSUBSCRIBED, scope=scope, group=bounded(event.group), list=changed)
    return _seen(event, Kind.LISTED, list=changed)


_MEANINGS: Final[Mapping[str, Callable[[Event], Evidence | None]]] = {
    EventType.BOUNCED: _bounced,
    EventType.FAILED: _failed,
    EventType.COMPLAINED: _complained,
    EventType.UNSUBSCRIBED: _unsubscribed,
    EventType.RESUBSCRIBED: _resubscribed,
    EventType.OPTED_OUT: _opted_out,
    EventType.OPTED_IN: _opted_in,
    EventType.SUBSCRIPTION_CHANGED: _subscription_changed,
}


def _message(event: Event) -> str:
    """The provider's id of the message, else ours; the sign between tells whose it is."""
    if event.provider_message_id:
        return bounded(f"{event.provider}:{event.provider_message_id}")
    return f"{event.account_id}/{event.message_id}" if event.message_id else ""


def _senders(event: Event, number_field: str) -> tuple[str, ...]:
    """The number and the service that an SMS went through; the number's field is To of a text to us, else From."""
    extra = _extra(event)
    said = (_first(extra.get(name)) for name in (number_field, "MessagingServiceSid"))
    return tuple(bounded(text.strip()) for text in said if text.strip())


def _first(value: object) -> str:
    """The first of a field that was given several times."""
    return text_of(value[0] if isinstance(value, list) and value else value)


def _extra(event: Event) -> dict[str, Any]:
    said = orjson.loads(event.extra) if event.extra else {}
    return said if isinstance(said, dict) else {}
