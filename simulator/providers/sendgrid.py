"""SendGrid's Event Webhook: posts of JSON lists, signed with ECDSA.

Field names and oddities are those of github.com/sendgrid/docs, content/docs/for-developers/tracking-events/event.md
(read 2026-11-24); docs/reference/providers/sendgrid.md says how they must be interpreted.
"""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final, NamedTuple

from simulator.address_state import AddressEvent
from simulator.durations import DAY, MS, SECOND
from simulator.providers.emitter import Envelope, EventDelivery, ExpectedEvent, deliveries_of_event, json_bytes
from simulator.randomness import token
from simulator.timeline import Step

__all__ = ["DROP_REASONS", "SendGridEmitter"]


class _Form(NamedTuple):
    """A form of SendGrid event: its `event`, our type, further fields, and our sub-status."""

    event: str
    type: str
    fields: Mapping[str, Any] = {}
    sub_status: str = ""


_ACCEPTANCES: Final = (
    "250 2.0.0 OK  1731935400 d2e1a72fcca58-7246a9d5b1fsi12345678b3a.12 - gsmtp",
    "250 2.6.0 <mail@geopod.example.net> [InternalId=24889] Queued mail for delivery",
    "250 ok dirdel",
    "250 Message accepted for delivery",
)
_DEFERRALS: Final = (
    "451 4.7.1 Greylisting in action, please come back later",
    "421 4.7.0 [TSS04] Messages temporarily deferred due to user complaints",
    "450 4.2.1 The user you are trying to contact is receiving mail at a rate that prevents delivery",
    "452 4.2.2 The email account that you tried to reach is over quota",
    "unable to get mx info: failed to get IPs from PTR record: lookup <nil>: unrecognized address",
)
DROP_REASONS: Final = {
    "bounced": ("Bounced Address", "bounced"),
    "unsubscribed": ("Unsubscribed Address", "unsubscribed"),
    "spam": ("Spam Reporting Address", "spam"),
    "invalid": ("Invalid", "invalid"),
    "header": ("Invalid SMTPAPI header", "invalid"),
    "content": ("Spam Content (if Spam Checker app is enabled)", "content"),
    "quota": ("Recipient List over Package Quota", "quota"),
    "duplicate": ("Duplicate Message", "duplicate"),
    "new": ("Mail From Domain Not Verified", "other"),
}
"""Variant: SendGrid's reason, our sub-status."""
# Variant: type, classification, status, reason, our sub-status.
_BOUNCES: Final = {
    "hard": ("bounce", "Invalid Address", "5.1.1", "550 5.1.1 The email account does not exist.", "hard"),
    "three digits": ("bounce", "invalid address", "550", "550 5.1.1 No such user", "hard"),
    "disabled": ("bounce", "", "5.2.1", "550 5.2.1 The email account that you tried to reach is disabled.", "hard"),
    "after a version number": ("bounce", "", "", "550 Exim 4.96.2: 5.1.1 no such user", "hard"),
    "only a version number": ("bounce", "", "", "CommuniGate Pro SMTP 5.1.16 does not take it", "unclassified"),
    "mailbox": ("bounce", "Mailbox Unavailable", "5.2.2", "552 5.2.2 The recipient's inbox is out of space.", "soft"),
    "technical": ("bounce", "Technical", "5.4.4", "unable to get mx info: no MX record: NXDOMAIN", "soft"),
    "content": ("bounce", "Content", "5.7.1", "550 5.7.1 Message contains content that is not allowed", "blocked"),
    "reputation": ("bounce", "Reputation", "5.7.1", "554 5.7.1 Client host blocked using a block list", "blocked"),
    "volume": (
        "bounce",
        "Frequency or Volume Too High",
        "5.7.1",
        "550 5.7.1 Too many messages from your network",
        "blocked",
    ),
    "sender": ("bounce", "", "5.1.8", "553 5.1.8 Sender's domain does not exist", "blocked"),
    "unclassified": ("bounce", "Unclassified", "", "500 unknown recipient state", "unclassified"),
    "unexplained": ("bounce", "", "", "", "unclassified"),
    "blocked": ("blocked", "Reputation", "5.7.606", "550 5.7.606 Access denied, banned sending IP", "blocked"),
    "blocked, classified as invalid address": ("blocked", "Invalid Address", "5.1.1", "550 5.1.1 rejected", "blocked"),
    "expired": ("expired", "Technical", "", "Message Expired", "blocked"),
}
_FORMS: Final = {
    ("processed", ""): _Form("processed", "processed"),
    ("opened", ""): _Form("open", "opened", {"sg_machine_open": False, "sg_content_type": "html"}),
    ("opened", "machine"): _Form("open", "opened", {"sg_machine_open": True, "sg_content_type": "html"}),
    ("opened", "machine flag as text"): _Form("open", "opened", {"sg_machine_open": "true"}),
    ("clicked", ""): _Form("click", "clicked"),
    ("complained", ""): _Form("spamreport", "complained"),
    ("unsubscribed", ""): _Form("unsubscribe", "unsubscribed"),
    ("unsubscribed", "with a group id"): _Form("unsubscribe", "unsubscribed", {"asm_group_id": 14250}),
    ("unsubscribed", "group"): _Form("group_unsubscribe", "unsubscribed", {"asm_group_id": 14250}),
    ("resubscribed", ""): _Form("group_resubscribe", "resubscribed", {"asm_group_id": 14250}),
    ("unknown", ""): _Form("reputation_hint", "unknown", {"note": "not in our tables yet"}),
    ("unknown", "amp"): _Form("amp_open", "unknown"),
    **{
        ("alert", type_): _Form("account_status_change", "provider_alert", {"type": type_})
        for type_ in ("compliance_suspend", "compliance_deactivate", "sg_under_review")
    },
    **{
        ("dropped", variant): _Form("dropped", "dropped", {"reason": reason, "status": "5.0.0"}, sub_status)
        for variant, (reason, sub_status) in DROP_REASONS.items()
    },
    **{
        ("bounced", variant): _Form(
            "bounce",
            "bounced" if type_ == "bounce" else "blocked",
            {"type": type_, "status": status, "reason": reason, "bounce_classification": classification, "tls": 1},
            sub_status,
        )
        for variant, (type_, classification, status, reason, sub_status) in _BOUNCES.items()
    },
}
# The effect on the address. Only an address that no longer exists counts as bounced.
_ADDRESS_EVENTS: Final = {
    **{
        ("bounced", variant): AddressEvent("bounce")
        for variant in ("hard", "three digits", "disabled", "after a version number")
    },
    ("complained", ""): AddressEvent("complaint"),
    # "Recipient clicked on the 'Opt Out of All Emails' link": for all mail, even if the message had a group.
    **{("unsubscribed", variant): AddressEvent("unsubscribed") for variant in ("", "with a group id")},
    ("unsubscribed", "group"): AddressEvent("unsubscribed", group="14250"),
    ("resubscribed", ""): AddressEvent("resubscribed", group="14250"),
}
_ODD_TIMESTAMPS: Final[dict[str, Callable[[int], tuple[Any, int | None]]]] = {
    "milliseconds": lambda at_us: (at_us // MS, at_us // MS * MS),
    "text": lambda at_us: (str(at_us // SECOND), at_us // SECOND * SECOND),
    "missing": lambda _: (None, None),
    "not a time": lambda _: ("yesterday", None),
    "before 2009": lambda _: (123_456_789, None),
    "in the future": lambda at_us: ((at_us + 400 * DAY) // SECOND, None),
}
"""Odd timestamps of a delivered event: the value of `timestamp`, and the time that it means."""


class SendGridEmitter:
    """Emits SendGrid's events of one message."""

    def __init__(self, envelope: Envelope, rng: Random) -> None:
        self._envelope = envelope
        self._rng = rng
        self.provider_message_id = envelope.shared_id or token(rng)
        machine = (
            f"{rng.randrange(16**10):010x}-{rng.randrange(16**5):05x}-1-{rng.randrange(16**8):08X}-{rng.randrange(99)}"
        )
        # The suffix of the id changed in January 2024; both forms occur.
        self._tail = f".{rng.choice(('recvd', 'recvd', 'filterdrecv'))}-{machine}."
        self._smtp_id = f"<{self.provider_message_id}@geopod-ismtpd-{rng.randrange(40)}>"
        self.id_forms: Mapping[str, str] = {
            "full": f"{self.provider_message_id}{self._tail}0",
            "smtp-id": self._smtp_id,
        }
        to = envelope.to
        # SendGrid usually writes the address in lower case.
        self._to_written = to.address if rng.random() < 0.3 else to.key
        self._seen: set[tuple[str, str, int]] = set()

    def emit(self, step: Step, start_us: int) -> list[EventDelivery]:
        """Return the elements for one step; none if SendGrid has no event for it."""
        form = self._form(step)
        if form is None:
            return []
        person = self._envelope.recipient(step)
        address = "" if "address" in step.omits else person.key
        at_us = self._free_second(form.event, address, start_us + step.after_us)
        timestamp, occurred_us = (
            _ODD_TIMESTAMPS.get(step.variant, _seconds)(at_us) if step.kind == "delivered" else _seconds(at_us)
        )
        event_id = token(self._rng)
        fields = {
            "email": person.key if step.cc else self._to_written,
            "timestamp": timestamp,
            "smtp-id": self._smtp_id,
            "event": form.event,
            "category": ["sendledger", self._envelope.template.id],
            "sg_event_id": event_id,
            "sg_message_id": f"{self.provider_message_id}{self._tail}{step.cc}",
            "sl_account": self._envelope.account_id,
            "sl_message": self._envelope.message_id,
            **form.fields,
            **_fields(step),
        }
        if form.type in ("delivered", "deferred", "bounced", "blocked"):
            fields["ip"] = f"198.51.100.{self._envelope.number % 4 + 10}"  # the sending IP
        expected = ExpectedEvent(
            form.type,
            address,
            occurred_us,
            code=fields.get("status", ""),
            reason=fields.get("reason", "") or fields.get("response", ""),
            classification=fields.get("bounce_classification", ""),
            sub_status=form.sub_status,
            machine=fields.get("sg_machine_open") in (True, "true"),
            provider_message_id="" if "all_provider_ids" in step.omits else self.provider_message_id,
            address_event=_ADDRESS_EVENTS.get((step.kind, step.variant)),
        )
        event_key = f"{self._envelope.number}.{len(self._seen)}"
        if form.type == "provider_alert":
            expected = expected._replace(classification=fields["type"])
            event_key = f"alert {fields['type']} {timestamp}"  # it has nothing else
            del fields["category"]
        return deliveries_of_event(
            step,
            start_us,
            event_key,
            expected,
            lambda omits: (_written(fields, omits), ""),
            at_us=at_us,
            provider_event_id=event_id,
        )

    def _form(self, step: Step) -> _Form | None:
        rng = self._rng
        match step.kind:
            case "deferred":
                response = rng.choice(_DEFERRALS)
                return _Form("deferred", "deferred", {"response": response, "attempt": str(step.fields["attempt"])})
            case "delivered" if step.variant == "odd":  # as in the vendor's examples
                return _Form("Delivered", "delivered", {"response": "250 OK", "category": "reminder"})
            case "delivered":
                return _Form("delivered", "delivered", {"response": rng.choice(_ACCEPTANCES), "tls": 1})
        return _FORMS.get((step.kind, step.variant))

    def _free_second(self, event: str, address: str, at_us: int) -> int:
        """Return `at_us`, or a later second: times are in seconds, and two opens in one second would be one event."""
        while (event, address, at_us // SECOND) in self._seen:
            at_us += SECOND
        self._seen.add((event, address, at_us // SECOND))
        return at_us


def _seconds(at_us: int) -> tuple[int, int]:
    return at_us // SECOND, at_us // SECOND * SECOND


def _fields(step: Step) -> dict[str, Any]:
    """Return the details of a step under SendGrid's field names."""
    fields: dict[str, Any] = {}
    if "agent" in step.fields:
        fields |= {"useragent": step.fields["agent"], "ip": step.fields["ip"]}
    if "place" in step.fields:
        fields |= {"url": step.fields["url"], "url_offset": {"index": step.fields["place"], "type": "html"}}
    return fields


def _written(fields: dict[str, Any], omits: tuple[str, ...]) -> bytes:
    """Return the JSON of an element without what it omits."""
    if not omits:
        return json_bytes(_without_blanks(fields))
    kept = dict(fields)
    for omitted in omits:
        match omitted:
            case "our_ids":
                del kept["sl_account"], kept["sl_message"]
            case "one_of_our_ids":
                del kept["sl_account"]
            case "our_ids_invalid":
                kept["sl_message"] = f"{kept['sl_message'][:-1]}x"
            case "provider_id":
                del kept["sg_message_id"]
            case "all_provider_ids":
                del kept["sg_message_id"], kept["smtp-id"]
            case "address":
                del kept["email"]
    return json_bytes(_without_blanks(kept))


def _without_blanks(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None and value != ""}
