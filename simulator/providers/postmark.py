"""Postmark's webhooks: one JSON object per post, with basic authentication instead of a signature.

Field names are those of github.com/ActiveCampaign/postmark.js, src/client/models, and of
postmarkapp.com/developer/webhooks (read 2026-11-25); docs/reference/providers/postmark.md says
how they must be interpreted.
"""

from collections.abc import Mapping
from random import Random
from typing import Any, Final, NamedTuple
from uuid import UUID

from schemas.decoding.times import rfc3339
from simulator.address_state import AddressEvent
from simulator.durations import HOUR, MS
from simulator.providers.emitter import Envelope, EventDelivery, ExpectedEvent, deliveries_of_event, json_bytes
from simulator.timeline import Step

__all__ = ["BOUNCE_TYPES", "BROADCAST", "PostmarkEmitter"]


class _Bounce(NamedTuple):
    """A `Bounce`: its `Type`, `TypeCode` and `Details`, our type and our sub-status."""

    type_: str
    type_code: int
    details: str
    type: str
    sub_status: str = ""


BROADCAST: Final = "broadcast"
"""The message stream of bulk mail; at Postmark recipients unsubscribe from a stream."""
_SERVER: Final = 8_121_007
# Step and variant: Postmark's form. A rejection by policy is a bounce at SendGrid, and a block here.
_BOUNCES: Final = {
    ("bounced", "hard"): _Bounce("HardBounce", 1, "smtp;550 5.1.1 The account does not exist.", "bounced", "hard"),
    ("bounced", "three digits"): _Bounce("HardBounce", 1, "smtp;550 No such user here", "bounced", "hard"),
    ("bounced", "disabled"): _Bounce("BadEmailAddress", 100_000, "The address is not valid.", "bounced", "hard"),
    ("bounced", "mailbox"): _Bounce("SoftBounce", 4096, "smtp;552 5.2.2 Mailbox full", "bounced", "soft"),
    # The vendor's pages list this code for two types; the Type counts.
    ("bounced", "mailbox, with the code of hard"): _Bounce(
        "SoftBounce", 1, "smtp;452 4.2.2 Over quota", "bounced", "soft"
    ),
    ("bounced", "technical"): _Bounce("Unknown", 2048, "smtp;554 5.4.4 Unable to route", "bounced", "soft"),
    ("bounced", "sender"): _Bounce("Unknown", 2048, "smtp;553 5.1.8 Sender unknown", "bounced", "blocked"),
    ("bounced", "unclassified"): _Bounce("Unknown", 2048, "the server gave no reason", "bounced", "unclassified"),
    ("bounced", "unexplained"): _Bounce("Unconfirmed", 100_003, "", "bounced", "unclassified"),
    ("bounced", "content"): _Bounce("SpamNotification", 512, "smtp;550 5.7.1 Looks like spam", "blocked", "blocked"),
    ("bounced", "reputation"): _Bounce("Blocked", 100_006, "smtp;554 5.7.1 On a block list", "blocked", "blocked"),
    ("bounced", "volume"): _Bounce("Blocked", 100_006, "smtp;550 5.7.1 Too many messages", "blocked", "blocked"),
    ("bounced", "blocked"): _Bounce("DMARCPolicy", 100_009, "smtp;550 5.7.509 Fails DMARC", "blocked", "blocked"),
    ("bounced", "virus"): _Bounce("VirusNotification", 8192, "a virus, says the server", "blocked", "blocked"),
    ("deferred", ""): _Bounce("Transient", 2, "smtp;451 4.7.1 Please try again later", "deferred"),
    ("deferred", "dns"): _Bounce("DnsError", 256, "smtp;451 4.4.4 No name server answers", "deferred"),
    ("dropped", "inactive"): _Bounce("ManuallyDeactivated", 100_002, "Deactivated by hand", "dropped", "inactive"),
    ("dropped", "api"): _Bounce("SMTPApiError", 100_007, "The header X-PM-Tag is not valid", "dropped", "other"),
    ("dropped", "template"): _Bounce("TemplateRenderingFailed", 100_010, "No such variable", "dropped", "other"),
    ("complained", "bounce"): _Bounce("SpamComplaint", 512, "a feedback loop", "complained"),
    ("unsubscribed", ""): _Bounce("Unsubscribe", 16, "asked to be left out", "unsubscribed"),
    ("resubscribed", ""): _Bounce("Subscribe", 32, "asked to be let in", "resubscribed"),
    **{
        ("unknown", type_): _Bounce(type_, code, "", "unknown")
        for type_, code in {
            "AutoResponder": 64,
            "AddressChange": 128,
            "OpenRelayTest": 1024,
            "ChallengeVerification": 16_384,
            "InboundError": 100_008,
            "NotAnnouncedYet": 100_020,
        }.items()
    },
}
BOUNCE_TYPES: Final = frozenset(bounce.type_ for bounce in _BOUNCES.values())
# Step: RecordType, the fields of its time and its address, our type.
_RECORDS: Final = {
    "delivered": ("Delivery", "DeliveredAt", "Recipient", "delivered"),
    "opened": ("Open", "ReceivedAt", "Recipient", "opened"),
    "clicked": ("Click", "ReceivedAt", "Recipient", "clicked"),
    "complained": ("SpamComplaint", "BouncedAt", "Email", "complained"),
    "listed": ("SubscriptionChange", "ChangedAt", "Recipient", "subscription_changed"),
    "unlisted": ("SubscriptionChange", "ChangedAt", "Recipient", "subscription_changed"),
    "unknown": ("InboxPlacement", "ReceivedAt", "Recipient", "unknown"),
}
_LIST_CHANGES: Final = {
    "": ("ManualSuppression", "Recipient"),
    "by hand": ("ManualSuppression", "Customer"),
    "by Postmark": ("ManualSuppression", "Admin"),
    "complaint": ("SpamComplaint", "Recipient"),
    "hard": ("HardBounce", "Recipient"),
}
"""Variant: SuppressionReason and Origin of a suppression list change."""


class _Post(NamedTuple):
    """A post before it is serialized."""

    record: str
    time_field: str
    fields: dict[str, Any]
    expected: ExpectedEvent
    provider_event_id: str


class PostmarkEmitter:
    """Emits Postmark's events of one message."""

    def __init__(self, envelope: Envelope, rng: Random) -> None:
        self._envelope = envelope
        self._rng = rng
        self.provider_message_id = str(UUID(bytes=rng.randbytes(16), version=4))
        self.id_forms: Mapping[str, str] = {}
        self._stream = "outbound" if envelope.template.kind == "transactional" else BROADCAST
        self._list = f"{_SERVER}/{self._stream}"
        self._events = 0

    def emit(self, step: Step, start_us: int) -> list[EventDelivery]:
        """Return the posts for one step: two for a hard bounce, none if Postmark has no event for it."""
        at_us = start_us + step.after_us
        if step.kind == "opened":
            step = step._replace(variant="")  # Postmark does not mark opens by machines
        if (bounce := _BOUNCES.get((step.kind, step.variant))) is not None:
            deliveries = self._deliveries(step, start_us, at_us, self._bounce(step, at_us, bounce))
            if bounce.type_ == "HardBounce" and not step.cc:
                # Postmark adds the address to the suppression list of its stream, and reports that separately.
                after_us = at_us + 200 * MS + self._rng.randrange(1_500 * MS)
                listed = step._replace(kind="listed", variant="hard")
                deliveries += self._deliveries(listed, start_us, after_us, self._record(listed, after_us))
            return deliveries
        if step.kind in _RECORDS:
            return self._deliveries(step, start_us, at_us, self._record(step, at_us))
        return []

    def _deliveries(self, step: Step, start_us: int, at_us: int, post: _Post) -> list[EventDelivery]:
        fields = {
            "RecordType": post.record,
            **post.fields,
            "ServerID": _SERVER,
            "MessageStream": self._stream,
            "MessageID": self.provider_message_id,
            "Tag": self._envelope.template.id,
            post.time_field: self._time(at_us),
            "Metadata": {
                "sl_account": self._envelope.account_id,
                "sl_message": self._envelope.message_id,
                "location": "north",
            },
        }
        self._events += 1
        name = f"{self._envelope.number}.{self._events}"
        return deliveries_of_event(
            step,
            start_us,
            name,
            post.expected,
            lambda omits: (_written(fields, omits), ""),
            at_us=at_us,
            provider_event_id=post.provider_event_id,
        )

    def _bounce(self, step: Step, at_us: int, bounce: _Bounce) -> _Post:
        person, id_ = self._envelope.recipient(step), str(self._rng.randrange(10**9, 10**10))
        fields: dict[str, Any] = {
            "ID": int(id_),
            "Type": bounce.type_,
            "TypeCode": bounce.type_code,
            "Name": bounce.type_,
            "Description": "What Postmark says of such bounces.",
            "Details": bounce.details,
            "Email": person.address if step.cc else self._spelled(person.address, person.key),
            "From": self._envelope.sender,
            "DumpAvailable": True,
            "Inactive": bounce.sub_status == "hard",
            "CanActivate": bounce.type_ != "SpamComplaint",
        }
        expected = ExpectedEvent(
            bounce.type,
            person.key,
            at_us,
            code=bounce.type_,
            reason=bounce.details or fields["Description"],
            sub_status=bounce.sub_status,
            provider_message_id=self._id(step),
            address_event=self._address_event(bounce),
        )
        return _Post("Bounce", "BouncedAt", fields, expected, id_)

    def _record(self, step: Step, at_us: int) -> _Post:
        record, time_field, address_field, type_ = _RECORDS[step.kind]
        person = self._envelope.recipient(step)
        written = self._spelled(person.address, person.key)
        fields: dict[str, Any] = {address_field: written}
        expected = ExpectedEvent(type_, person.key, at_us, provider_message_id=self._id(step), written_address=written)
        provider_event_id = ""
        match step.kind:
            case "delivered":
                fields["Details"] = self._rng.choice(("smtp;250 2.0.0 OK", "smtp;250 ok dirdel"))
                expected = expected._replace(reason=fields["Details"])
            case "opened" | "clicked":
                fields |= {"UserAgent": step.fields["agent"], "Geo": {"Country": "Austria", "IP": step.fields["ip"]}}
                fields |= {"Platform": "Mobile", "Client": {"Name": "Mail", "Company": "Example", "Family": "Mail"}}
                fields |= {"FirstOpen": True} if step.kind == "opened" else {"OriginalLink": step.fields["url"]}
            case "complained":
                provider_event_id = str(self._rng.randrange(10**9, 10**10))
                fields |= {"ID": int(provider_event_id), "Type": "SpamComplaint", "TypeCode": 512, "Details": "abuse"}
                expected = expected._replace(
                    code="SpamComplaint", reason="abuse", address_event=AddressEvent("complaint")
                )
            case "listed":
                reason, origin = _LIST_CHANGES[step.variant]
                fields |= {"SuppressSending": True, "SuppressionReason": reason, "Origin": origin}
                address_event = AddressEvent("listed", list=self._list)
                if step.variant == "":  # unsubscribed by the recipient: an opt-out, not a suppression
                    address_event = AddressEvent("unsubscribed", group=self._stream, list=self._list)
                expected = expected._replace(
                    reason=reason, classification="added", sub_status="added", address_event=address_event
                )
            case "unlisted":
                fields |= {"SuppressSending": False, "SuppressionReason": None, "Origin": "Customer"}
                address_event = AddressEvent("unlisted", list=self._list)
                expected = expected._replace(
                    classification="removed", sub_status="removed", address_event=address_event
                )
        return _Post(record, time_field, fields, expected, provider_event_id)

    def _address_event(self, bounce: _Bounce) -> AddressEvent | None:
        """Return the effect of a bounce on the address. `Subscribe` is for the stream, `Unsubscribe` for all mail of
        the account."""
        match bounce.type_:
            case "HardBounce" | "BadEmailAddress":
                return AddressEvent("bounce")
            case "SpamComplaint":
                return AddressEvent("complaint")
            case "Unsubscribe":
                return AddressEvent("unsubscribed")
            case "Subscribe":
                return AddressEvent("resubscribed", group=self._stream)
        return None

    def _id(self, step: Step) -> str:
        return "" if {"provider_id", "all_provider_ids"} & set(step.omits) else self.provider_message_id

    def _spelled(self, address: str, key: str) -> str:
        return address if self._rng.random() < 0.5 else key

    def _time(self, at_us: int) -> str:
        """Return a time as Postmark writes it: with seven decimal places, and sometimes an offset."""
        digit = self._rng.randrange(10)
        if self._rng.random() < 0.1:
            return f"{rfc3339(at_us - 5 * HOUR)[:-1]}{digit}-05:00"
        return f"{rfc3339(at_us)[:-1]}{digit}Z"


def _written(fields: dict[str, Any], omits: tuple[str, ...]) -> bytes:
    """Return the JSON of a post without what it omits."""
    if not omits:
        return json_bytes(fields)
    kept = fields | {"Metadata": dict(fields["Metadata"])}
    for omitted in omits:
        match omitted:
            case "our_ids":
                kept["Metadata"] = {}
            case "one_of_our_ids":
                del kept["Metadata"]["sl_message"]
            case "our_ids_invalid":
                kept["Metadata"]["sl_account"] = "no account, with blanks"
            case "provider_id" | "all_provider_ids":
                kept["MessageID"] = None
    return json_bytes(kept)
