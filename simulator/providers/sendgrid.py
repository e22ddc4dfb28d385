"""SendGrid, as its Event Webhook tells: elements of a list, signed with ECDSA.

Field names and oddities are those of github.com/sendgrid/docs, content/docs/for-developers/tracking-events/event.md
(read 2026-11-24); what must be understood of them is docs/reference/providers/sendgrid.md.
"""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final, NamedTuple

from simulator.chance import token
from simulator.closing import Word
from simulator.durations import DAY, MS, SECOND
from simulator.providers.teller import Envelope, Meaning, Telling, json_bytes, tellings_of
from simulator.script import Beat

__all__ = ["DROP_REASONS", "SendGridTeller"]


class _Words(NamedTuple):
    """What SendGrid says: its `event`, our type, further fields, and the sub-status that it means."""

    event: str
    type: str
    said: Mapping[str, Any] = {}
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
"""Each way to be dropped: SendGrid's reason, our sub-status."""
# Type, classification, status, reason, our sub-status.
_BOUNCES: Final = {
    "hard": ("bounce", "Invalid Address", "5.1.1", "550 5.1.1 The email account does not exist.", "hard"),
    "three digits": ("bounce", "invalid address", "550", "550 5.1.1 No such user", "hard"),
    "disabled": ("bounce", "", "5.2.1", "550 5.2.1 The email account that you tried to reach is disabled.", "hard"),
    "behind a version": ("bounce", "", "", "550 Exim 4.96.2: 5.1.1 no such user", "hard"),
    "a version": ("bounce", "", "", "CommuniGate Pro SMTP 5.1.16 does not take it", "unclassified"),
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
    "blocked, it says the address": ("blocked", "Invalid Address", "5.1.1", "550 5.1.1 rejected", "blocked"),
    "expired": ("expired", "Technical", "", "Message Expired", "blocked"),
}
_PLAIN: Final = {
    ("processed", ""): _Words("processed", "processed"),
    ("opened", ""): _Words("open", "opened", {"sg_machine_open": False, "sg_content_type": "html"}),
    ("opened", "machine"): _Words("open", "opened", {"sg_machine_open": True, "sg_content_type": "html"}),
    ("opened", "machine in words"): _Words("open", "opened", {"sg_machine_open": "true"}),
    ("clicked", ""): _Words("click", "clicked"),
    ("complained", ""): _Words("spamreport", "complained"),
    ("unsubscribed", ""): _Words("unsubscribe", "unsubscribed"),
    ("unsubscribed", "carrying a group"): _Words("unsubscribe", "unsubscribed", {"asm_group_id": 14250}),
    ("unsubscribed", "group"): _Words("group_unsubscribe", "unsubscribed", {"asm_group_id": 14250}),
    ("resubscribed", ""): _Words("group_resubscribe", "resubscribed", {"asm_group_id": 14250}),
    ("unknown", ""): _Words("reputation_hint", "unknown", {"note": "not in our tables yet"}),
    ("unknown", "amp"): _Words("amp_open", "unknown"),
    **{
        ("alert", word): _Words("account_status_change", "provider_alert", {"type": word})
        for word in ("compliance_suspend", "compliance_deactivate", "sg_under_review")
    },
    **{
        ("dropped", how): _Words("dropped", "dropped", {"reason": reason, "status": "5.0.0"}, sub_status)
        for how, (reason, sub_status) in DROP_REASONS.items()
    },
    **{
        ("bounced", how): _Words(
            "bounce",
            "bounced" if type_ == "bounce" else "blocked",
            {"type": type_, "status": status, "reason": reason, "bounce_classification": classification, "tls": 1},
            sub_status,
        )
        for how, (type_, classification, status, reason, sub_status) in _BOUNCES.items()
    },
}
# What is said of the address. Only an address that is none any more counts as bounced.
_WORDS: Final = {
    **{("bounced", how): Word("bounce") for how in ("hard", "three digits", "disabled", "behind a version")},
    ("complained", ""): Word("complaint"),
    # "Recipient clicked on the 'Opt Out of All Emails' link": of all mail, whatever group the message had.
    **{("unsubscribed", how): Word("unsubscribed") for how in ("", "carrying a group")},
    ("unsubscribed", "group"): Word("unsubscribed", group="14250"),
    ("resubscribed", ""): Word("resubscribed", group="14250"),
}
_TIMES: Final[dict[str, Callable[[int], tuple[Any, int | None]]]] = {
    "milliseconds": lambda at_us: (at_us // MS, at_us // MS * MS),
    "text": lambda at_us: (str(at_us // SECOND), at_us // SECOND * SECOND),
    "no time": lambda _: (None, None),
    "nonsense": lambda _: ("yesterday", None),
    "before 2009": lambda _: (123_456_789, None),
    "ahead": lambda at_us: ((at_us + 400 * DAY) // SECOND, None),
}
"""Odd ways to say the time of a delivery: what stands in `timestamp`, and what it means."""


class SendGridTeller:
    """SendGrid, as it tells about one message."""

    def __init__(self, envelope: Envelope, rng: Random) -> None:
        self._envelope = envelope
        self._rng = rng
        self.provider_message_id = envelope.shared_id or token(rng)
        machine = (
            f"{rng.randrange(16**10):010x}-{rng.randrange(16**5):05x}-1-{rng.randrange(16**8):08X}-{rng.randrange(99)}"
        )
        # The word behind the id changed in January 2024; both are met.
        self._tail = f".{rng.choice(('recvd', 'recvd', 'filterdrecv'))}-{machine}."
        self.whole_id = f"{self.provider_message_id}{self._tail}0"
        self.smtp_id = f"<{self.provider_message_id}@geopod-ismtpd-{rng.randrange(40)}>"
        to = envelope.to
        # SendGrid mostly says an address in lower case, however it was given.
        self._to_spelled = to.address if rng.random() < 0.3 else to.key
        self._told: set[tuple[str, str, int]] = set()

    def tell(self, beat: Beat, start_us: int) -> list[Telling]:
        """Return the elements of one beat; none for what SendGrid doesn't tell."""
        words = self._words(beat)
        if words is None:
            return []
        person = self._envelope.ccs[beat.cc - 1] if beat.cc else self._envelope.to
        address = "" if "address" in beat.lacks else person.key
        at_us = self._free_second(words.event, address, start_us + beat.after_us)
        timestamp, occurred_us = _TIMES.get(beat.how, _seconds)(at_us) if beat.what == "delivered" else _seconds(at_us)
        event_id = token(self._rng)
        said = {
            "email": person.key if beat.cc else self._to_spelled,
            "timestamp": timestamp,
            "smtp-id": self.smtp_id,
            "event": words.event,
            "category": ["sendledger", self._envelope.template.id],
            "sg_event_id": event_id,
            "sg_message_id": f"{self.provider_message_id}{self._tail}{beat.cc}",
            "sl_account": self._envelope.account_id,
            "sl_message": self._envelope.message_id,
            **words.said,
            **_fields(beat),
        }
        if words.type in ("delivered", "deferred", "bounced", "blocked"):
            said["ip"] = f"198.51.100.{self._envelope.number % 4 + 10}"  # the sending IP
        meaning = Meaning(
            words.type,
            address,
            occurred_us,
            code=said.get("status", ""),
            reason=said.get("reason", "") or said.get("response", ""),
            classification=said.get("bounce_classification", ""),
            sub_status=words.sub_status,
            machine=said.get("sg_machine_open") in (True, "true"),
            provider_message_id="" if "ids" in beat.lacks else self.provider_message_id,
            word=_WORDS.get((beat.what, beat.how)),
        )
        fact = f"{self._envelope.number}.{len(self._told)}"
        if words.type == "provider_alert":
            meaning = meaning._replace(classification=said["type"])
            fact = f"alert {said['type']} {timestamp}"  # nothing else is in it
            del said["category"]
        return tellings_of(
            beat, start_us, fact, meaning, lambda lacks: (_written(said, lacks), ""), at_us=at_us, own_id=event_id
        )

    def _words(self, beat: Beat) -> _Words | None:
        rng = self._rng
        match beat.what:
            case "deferred":
                response = rng.choice(_DEFERRALS)
                return _Words("deferred", "deferred", {"response": response, "attempt": str(beat.said["attempt"])})
            case "delivered" if beat.how == "odd":  # as in examples of the vendor
                return _Words("Delivered", "delivered", {"response": "250 OK", "category": "reminder"})
            case "delivered":
                return _Words("delivered", "delivered", {"response": rng.choice(_ACCEPTANCES), "tls": 1})
        return _PLAIN.get((beat.what, beat.how))

    def _free_second(self, event: str, address: str, at_us: int) -> int:
        """Return `at_us`, or a later second: SendGrid counts in seconds, and two opens within one would be one fact."""
        while (event, address, at_us // SECOND) in self._told:
            at_us += SECOND
        self._told.add((event, address, at_us // SECOND))
        return at_us


def _seconds(at_us: int) -> tuple[int, int]:
    return at_us // SECOND, at_us // SECOND * SECOND


def _fields(beat: Beat) -> dict[str, Any]:
    """Return what belongs to the beat, in SendGrid's names."""
    said: dict[str, Any] = {}
    if "agent" in beat.said:
        said |= {"useragent": beat.said["agent"], "ip": beat.said["ip"]}
    if "place" in beat.said:
        said |= {"url": beat.said["url"], "url_offset": {"index": beat.said["place"], "type": "html"}}
    return said


def _written(said: dict[str, Any], lacks: tuple[str, ...]) -> bytes:
    """Return the JSON of an element without what it lacks."""
    if not lacks:
        return json_bytes(_without_blanks(said))
    left = dict(said)
    for lack in lacks:
        match lack:
            case "ours":
                del left["sl_account"], left["sl_message"]
            case "half_of_ours":
                del left["sl_account"]
            case "valid_ours":
                left["sl_message"] = f"{left['sl_message'][:-1]}x"
            case "id":
                del left["sg_message_id"]
            case "ids":
                del left["sg_message_id"], left["smtp-id"]
            case "address":
                del left["email"]
    return json_bytes(_without_blanks(left))


def _without_blanks(said: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in said.items() if value is not None and value != ""}
