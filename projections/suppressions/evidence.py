"""The evidence about an address in a provider's event or in a command.

In:  an `Event` as the adapters give it; a `Command`.
Out: the address and one `Evidence`; None where there is no evidence in it.
Promise: pure and total. An event counts for the address that it names, a message's To or a CC. An event without an
address gives no evidence.

Whether evidence is still in force is decided by `projections.suppressions.state`, which sees all of an address.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

import orjson

from projections.suppressions.addressing import AddressKey
from projections.suppressions.texts import bounded
from schemas.decoding.gate_inputs import Command
from schemas.decoding.ids import ALL
from schemas.decoding.json_text import text_of
from schemas.events import DeliveryFault, Event, EventType
from schemas.providers.twilio import RECIPIENT_CODES

__all__ = [
    "COMMAND_KINDS",
    "LIFTING_KINDS",
    "OPT_OUT_CODES",
    "AddressEvidence",
    "Evidence",
    "Kind",
    "evidence_of",
    "evidence_of_command",
]


class Kind(StrEnum):
    """The kind of evidence."""

    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    LISTED = "listed"
    """A provider put the address on one of its suppression lists, …"""
    UNLISTED = "unlisted"
    """… or took it off."""
    UNSUBSCRIBED = "unsubscribed"
    """The recipient unsubscribed from an account, or from a group, …"""
    RESUBSCRIBED = "resubscribed"
    """… or resubscribed to the group."""
    OPTED_OUT = "opted_out"
    """The recipient opted out of SMS from some senders, …"""
    OPTED_IN = "opted_in"
    """… or opted in again."""
    SUPPRESS = "suppress"
    RELEASE = "release"
    OPT_IN = "opt_in"


COMMAND_KINDS: Final = frozenset({Kind.SUPPRESS, Kind.RELEASE, Kind.OPT_IN})
"""Kinds that people request; the others come from events."""
LIFTING_KINDS: Final = frozenset({Kind.UNLISTED, Kind.RESUBSCRIBED, Kind.OPTED_IN, Kind.RELEASE, Kind.OPT_IN})
"""Kinds that can end a suppression or an opt-out."""


class Evidence(NamedTuple):
    """One item of evidence about an address. Fields that its kind does not use are blank."""

    kind: Kind
    id: str
    """The id of the event or the command."""
    at_us: int
    """When it happened, as the provider or the command says."""
    received_us: int
    """When this copy was received: of several copies the first counts."""
    scope: str = ALL
    """The account that it applies to; `*` for all accounts, and where the event names none."""
    message: str = ""
    """Of a bounce: the identity of its message; blank where the event has none."""
    group: str = ""
    senders: tuple[str, ...] = ()
    """Of an SMS opt-out: the number and the messaging service, as they were written; empty where the event names none.
    They are compared by `sender_key`."""
    list: str = ""
    """Of a Postmark suppression list: `server/stream`."""
    actor: str = ""

    @property
    def key(self) -> str:
        """The key that it is stored under. It tells an event from a command, whose ids may be equal."""
        return f"command:{self.id}" if self.kind in COMMAND_KINDS else self.id


class AddressEvidence(NamedTuple):
    """Evidence, and the address that it is about."""

    key: AddressKey
    evidence: Evidence


OPT_OUT_CODES: Final = frozenset({"21610", "63014", "63033"})
"""Twilio error codes that mean: the recipient opted out, or blocked the sender."""


def evidence_of(event: Event) -> AddressEvidence | None:
    """Return the evidence in an event."""
    reader = _READERS.get(event.type)
    if reader is None or not event.address:
        return None
    evidence = reader(event)
    return None if evidence is None else AddressEvidence(AddressKey(event.channel, event.address), evidence)


def evidence_of_command(command: Command) -> AddressEvidence:
    """Return the evidence in a command."""
    evidence = Evidence(
        Kind(command.action),
        command.command_id,
        command.at_us,
        command.source.received_us,
        scope=command.scope,
        group=command.group,
        senders=(command.sender.strip(),) if command.sender.strip() else (),
        actor=command.actor,
    )
    return AddressEvidence(AddressKey(command.channel, command.address), evidence)


def _seen(event: Event, kind: Kind, **fields: Any) -> Evidence:
    return Evidence(kind, event.event_id, event.occurred_us, event.received_us, **fields)


def _bounced(event: Event) -> Evidence | None:
    """Only permanent faults of the recipient count. Other bounces concern one message or a passing state."""
    return _seen(event, Kind.BOUNCE, message=_message(event)) if event.fault == DeliveryFault.RECIPIENT else None


def _failed(event: Event) -> Evidence | None:
    """A failed SMS. Only its code counts: the text around it may quote the code of another system."""
    if event.channel != "sms":
        return None
    if event.code in OPT_OUT_CODES:
        return _seen(event, Kind.OPTED_OUT, senders=_senders(event, "From"))
    return _seen(event, Kind.BOUNCE, message=_message(event)) if event.code in RECIPIENT_CODES else None


def _complained(event: Event) -> Evidence:
    return _seen(event, Kind.COMPLAINT)


def _unsubscribed(event: Event) -> Evidence:
    return _seen(event, Kind.UNSUBSCRIBED, scope=event.account_id or ALL, group=bounded(event.group))


def _resubscribed(event: Event) -> Evidence | None:
    """It lifts the opt-out of its own group only; without a group there is nothing to lift."""
    if not event.group:
        return None
    return _seen(event, Kind.RESUBSCRIBED, scope=event.account_id or ALL, group=bounded(event.group))


def _opted_out(event: Event) -> Evidence:
    return _seen(event, Kind.OPTED_OUT, senders=_senders(event, "To"))


def _opted_in(event: Event) -> Evidence:
    return _seen(event, Kind.OPTED_IN, senders=_senders(event, "To"))


def _subscription_changed(event: Event) -> Evidence | None:
    """A change of a Postmark suppression list. One made by the recipient is an opt-out of the stream."""
    extra = _extra(event)
    changed = bounded(f"{text_of(extra.get('ServerID')).strip()}/{event.group}")
    if event.classification == "removed":
        return _seen(event, Kind.UNLISTED, list=changed)
    if event.classification != "added":
        return None
    if event.reason == "ManualSuppression" and text_of(extra.get("Origin")).strip().lower() == "recipient":
        scope = event.account_id or ALL
        return _seen(event, Kind.UNSUBSCRIBED, scope=scope, group=bounded(event.group), list=changed)
    return _seen(event, Kind.LISTED, list=changed)


_READERS: Final[Mapping[str, Callable[[Event], Evidence | None]]] = {
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
    """The provider's id of the message, else ours; the separator (`:` or `/`) tells which."""
    if event.provider_message_id:
        return bounded(f"{event.provider}:{event.provider_message_id}")
    return f"{event.account_id}/{event.message_id}" if event.message_id else ""


def _senders(event: Event, number_field: str) -> tuple[str, ...]:
    """Our number and the messaging service of an SMS. The number is in To of an SMS to us, else in From."""
    extra = _extra(event)
    values = (_first(extra.get(name)) for name in (number_field, "MessagingServiceSid"))
    return tuple(bounded(text.strip()) for text in values if text.strip())


def _first(value: object) -> str:
    """The first value of a field that was given several times."""
    return text_of(value[0] if isinstance(value, list) and value else value)


def _extra(event: Event) -> dict[str, Any]:
    extra = orjson.loads(event.extra) if event.extra else {}
    return extra if isinstance(extra, dict) else {}
