"""Postmark, as its webhooks tell: one JSON object a post, and a login where others sign.

Field names are those of github.com/ActiveCampaign/postmark.js, src/client/models, and of
postmarkapp.com/developer/webhooks (read 2026-11-25); what must be understood of them is
docs/reference/providers/postmark.md.
"""

from random import Random
from typing import Any, Final, NamedTuple
from uuid import UUID

from schemas.times import rfc3339
from simulator.closing import Word
from simulator.durations import HOUR, MS
from simulator.providers.teller import Envelope, Meaning, Telling, json_bytes, tellings_of
from simulator.script import Beat

__all__ = ["BOUNCE_TYPES", "BROADCAST", "PostmarkTeller"]


class _Bounce(NamedTuple):
    """A `Bounce`: its `Type` and `TypeCode`, what is said, our type and the sub-status that it means."""

    type_: str
    type_code: int
    details: str
    type: str
    sub_status: str = ""


BROADCAST: Final = "broadcast"
"""The stream of what is no answer to anything; at Postmark one unsubscribes from a stream."""
_SERVER: Final = 8_121_007
# Each way to go, in Postmark's words. What the receiver objected to is in SendGrid's words a bounce, here a block.
_BOUNCES: Final = {
    ("bounced", "hard"): _Bounce("HardBounce", 1, "smtp;550 5.1.1 The account does not exist.", "bounced", "hard"),
    ("bounced", "three digits"): _Bounce("HardBounce", 1, "smtp;550 No such user here", "bounced", "hard"),
    ("bounced", "disabled"): _Bounce("BadEmailAddress", 100_000, "The address is not valid.", "bounced", "hard"),
    ("bounced", "mailbox"): _Bounce("SoftBounce", 4096, "smtp;552 5.2.2 Mailbox full", "bounced", "soft"),
    # The vendor's own pages give this code to two types; the Type counts.
    ("bounced", "mailbox, a code of hard"): _Bounce("SoftBounce", 1, "smtp;452 4.2.2 Over quota", "bounced", "soft"),
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
# RecordType, the fields of its time and its address, our type.
_RECORDS: Final = {
    "delivered": ("Delivery", "DeliveredAt", "Recipient", "delivered"),
    "opened": ("Open", "ReceivedAt", "Recipient", "opened"),
    "clicked": ("Click", "ReceivedAt", "Recipient", "clicked"),
    "complained": ("SpamComplaint", "BouncedAt", "Email", "complained"),
    "listed": ("SubscriptionChange", "ChangedAt", "Recipient", "subscription_changed"),
    "unlisted": ("SubscriptionChange", "ChangedAt", "Recipient", "subscription_changed"),
    "unknown": ("InboxPlacement", "ReceivedAt", "Recipient", "unknown"),
}
_LISTED: Final = {
    "": ("ManualSuppression", "Recipient"),
    "by hand": ("ManualSuppression", "Customer"),
    "by Postmark": ("ManualSuppression", "Admin"),
    "complaint": ("SpamComplaint", "Recipient"),
    "hard": ("HardBounce", "Recipient"),
}
"""Each way onto the suppression list: SuppressionReason and Origin."""


class _Fact(NamedTuple):
    """What one post is about, before it is written."""

    record: str
    time_field: str
    said: dict[str, Any]
    meaning: Meaning
    own_id: str


class PostmarkTeller:
    """Postmark, as it tells about one message."""

    def __init__(self, envelope: Envelope, rng: Random) -> None:
        self._envelope = envelope
        self._rng = rng
        self.provider_message_id = str(UUID(bytes=rng.randbytes(16), version=4))
        self.whole_id = self.provider_message_id
        self.smtp_id = self.provider_message_id
        self._stream = "outbound" if envelope.template.kind == "transactional" else BROADCAST
        self._list = f"{_SERVER}/{self._stream}"
        self._facts = 0

    def tell(self, beat: Beat, start_us: int) -> list[Telling]:
        """Return the posts of one beat: two of a hard bounce, none of what Postmark doesn't tell."""
        at_us = start_us + beat.after_us
        if beat.what == "opened":
            beat = beat._replace(how="")  # a machine's open is an open: Postmark marks none
        if (bounce := _BOUNCES.get((beat.what, beat.how))) is not None:
            told = self._told(beat, start_us, at_us, self._bounce(beat, at_us, bounce))
            if bounce.type_ == "HardBounce" and not beat.cc:
                # The address goes onto the suppression list of its stream, and that is told by itself.
                after_us = at_us + 200 * MS + self._rng.randrange(1_500 * MS)
                listed = beat._replace(what="listed", how="hard")
                told += self._told(listed, start_us, after_us, self._record(listed, after_us))
            return told
        if beat.what in _RECORDS:
            return self._told(beat, start_us, at_us, self._record(beat, at_us))
        return []

    def _told(self, beat: Beat, start_us: int, at_us: int, fact: _Fact) -> list[Telling]:
        said = {
            "RecordType": fact.record,
            **fact.said,
            "ServerID": _SERVER,
            "MessageStream": self._stream,
            "MessageID": self.provider_message_id,
            "Tag": self._envelope.template.id,
            fact.time_field: self._time(at_us),
            "Metadata": {
                "sl_account": self._envelope.account_id,
                "sl_message": self._envelope.message_id,
                "location": "north",
            },
        }
        self._facts += 1
        name = f"{self._envelope.number}.{self._facts}"
        return tellings_of(
            beat,
            start_us,
            name,
            fact.meaning,
            lambda lacks: (_written(said, lacks), ""),
            at_us=at_us,
            own_id=fact.own_id,
        )

    def _bounce(self, beat: Beat, at_us: int, bounce: _Bounce) -> _Fact:
        person, id_ = self._person(beat), str(self._rng.randrange(10**9, 10**10))
        said: dict[str, Any] = {
            "ID": int(id_),
            "Type": bounce.type_,
            "TypeCode": bounce.type_code,
            "Name": bounce.type_,
            "Description": "What Postmark says of such bounces.",
            "Details": bounce.details,
            "Email": person.address if beat.cc else self._spelled(person.address, person.key),
            "From": self._envelope.sender,
            "DumpAvailable": True,
            "Inactive": bounce.sub_status == "hard",
            "CanActivate": bounce.type_ != "SpamComplaint",
        }
        meaning = Meaning(
            bounce.type,
            person.key,
            at_us,
            code=bounce.type_,
            reason=bounce.details or said["Description"],
            sub_status=bounce.sub_status,
            provider_message_id=self._id(beat),
            word=self._word(bounce),
        )
        return _Fact("Bounce", "BouncedAt", said, meaning, id_)

    def _record(self, beat: Beat, at_us: int) -> _Fact:
        record, time_field, address_field, type_ = _RECORDS[beat.what]
        person = self._person(beat)
        written = self._spelled(person.address, person.key)
        said: dict[str, Any] = {address_field: written}
        meaning = Meaning(type_, person.key, at_us, provider_message_id=self._id(beat), written_address=written)
        own_id = ""
        match beat.what:
            case "delivered":
                said["Details"] = self._rng.choice(("smtp;250 2.0.0 OK", "smtp;250 ok dirdel"))
                meaning = meaning._replace(reason=said["Details"])
            case "opened" | "clicked":
                said |= {"UserAgent": beat.said["agent"], "Geo": {"Country": "Austria", "IP": beat.said["ip"]}}
                said |= {"Platform": "Mobile", "Client": {"Name": "Mail", "Company": "Example", "Family": "Mail"}}
                said |= {"FirstOpen": True} if beat.what == "opened" else {"OriginalLink": beat.said["url"]}
            case "complained":
                own_id = str(self._rng.randrange(10**9, 10**10))
                said |= {"ID": int(own_id), "Type": "SpamComplaint", "TypeCode": 512, "Details": "abuse"}
                meaning = meaning._replace(code="SpamComplaint", reason="abuse", word=Word("complaint"))
            case "listed":
                reason, origin = _LISTED[beat.how]
                said |= {"SuppressSending": True, "SuppressionReason": reason, "Origin": origin}
                word = Word("listed", list=self._list)
                if beat.how == "":  # the recipient's own wish is no suppression
                    word = Word("unsubscribed", group=self._stream, list=self._list)
                meaning = meaning._replace(reason=reason, classification="added", sub_status="added", word=word)
            case "unlisted":
                said |= {"SuppressSending": False, "SuppressionReason": None, "Origin": "Customer"}
                word = Word("unlisted", list=self._list)
                meaning = meaning._replace(classification="removed", sub_status="removed", word=word)
        return _Fact(record, time_field, said, meaning, own_id)

    def _word(self, bounce: _Bounce) -> Word | None:
        """What a bounce says of the address, by its Type. A subscription is one to the stream; who wants to be removed
        means all mail of the account."""
        match bounce.type_:
            case "HardBounce" | "BadEmailAddress":
                return Word("bounce")
            case "SpamComplaint":
                return Word("complaint")
            case "Unsubscribe":
                return Word("unsubscribed")
            case "Subscribe":
                return Word("resubscribed", group=self._stream)
        return None

    def _person(self, beat: Beat) -> Any:
        return self._envelope.ccs[beat.cc - 1] if beat.cc else self._envelope.to

    def _id(self, beat: Beat) -> str:
        return "" if {"id", "ids"} & set(beat.lacks) else self.provider_message_id

    def _spelled(self, address: str, key: str) -> str:
        return address if self._rng.random() < 0.5 else key

    def _time(self, at_us: int) -> str:
        """Return a time as Postmark writes it: with seven digits of a second, and now and then an offset."""
        digit = self._rng.randrange(10)
        if self._rng.random() < 0.1:
            return f"{rfc3339(at_us - 5 * HOUR)[:-1]}{digit}-05:00"
        return f"{rfc3339(at_us)[:-1]}{digit}Z"


def _written(said: dict[str, Any], lacks: tuple[str, ...]) -> bytes:
    """Return the JSON of a post without what it lacks."""
    if not lacks:
        return json_bytes(said)
    left = said | {"Metadata": dict(said["Metadata"])}
    for lack in lacks:
        match lack:
            case "ours":
                left["Metadata"] = {}
            case "half_of_ours":
                del left["Metadata"]["sl_message"]
            case "valid_ours":
                left["Metadata"]["sl_account"] = "no account, with blanks"
            case "id" | "ids":
                left["MessageID"] = None
    return json_bytes(left)
