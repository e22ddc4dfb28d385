"""Twilio, as its status callbacks tell: a form a post, our ids in the query of its URL; and texts that people send.

Field names are those of twilio.com/docs/messaging/guides/track-outbound-message-status (read 2026-11-25); what must be
understood of them is docs/reference/providers/twilio.md.
"""

from collections.abc import Mapping
from random import Random
from time import gmtime, strftime
from typing import Final, NamedTuple
from urllib.parse import urlencode

from simulator.closing import Word
from simulator.durations import MINUTE, SECOND
from simulator.providers.teller import Envelope, Meaning, Telling, tellings_of
from simulator.script import Beat

__all__ = ["ERRORS", "TwilioTeller"]


class _Words(NamedTuple):
    """What Twilio says: the status, our type, further fields, and the sub-status that it means."""

    status: str
    type: str
    said: Mapping[str, str] = {}
    sub_status: str = ""


_SERVICE: Final = "MG" + "5e" * 16
"""The messaging service of all numbers."""
_ACCOUNT: Final = "AC" + "0c" * 16
# Each code, the status that comes with it, and its message, which Twilio gives now and then.
ERRORS: Final = {
    "30001": ("failed", "Queue overflow"),
    "30003": ("undelivered", "Unreachable destination handset"),
    "30004": ("undelivered", "Message blocked"),
    "30005": ("undelivered", "Unknown destination handset"),
    "30006": ("undelivered", "Landline or unreachable carrier"),
    "30007": ("undelivered", "Carrier violation"),
    "30008": ("undelivered", ""),
    "30034": ("failed", "Message from an unregistered number"),
    "21211": ("failed", "Invalid 'To' phone number"),
    "21610": ("failed", "Attempt to send to unsubscribed recipient"),
    "63016": ("failed", "Outside the allowed window"),
    "63024": ("failed", "Invalid message recipient"),
}
_GONE: Final = frozenset({"30005", "30006", "21211", "63024"})
"""The codes that say: nobody will ever be reached there."""
_OPTED_OUT: Final = "21610"
_PLAIN: Final = {
    **{("processed", word): _Words(word, "processed") for word in ("accepted", "scheduled", "queued", "sending")},
    ("sent", ""): _Words("sent", "sent"),
    ("opened", ""): _Words("read", "opened", {"EventType": "READ", "ChannelPrefix": "whatsapp"}),
    ("dropped", "canceled"): _Words("canceled", "dropped", {}, "canceled"),
    ("unknown", ""): _Words("partially_delivered", "unknown"),
    ("unknown", "huh"): _Words("huh", "unknown"),
    ("bounced", "hard"): _Words("undelivered", "failed", {"ErrorCode": "30005"}, "undelivered"),
    ("bounced", "without code"): _Words("undelivered", "failed", {}, "undelivered"),
    **{
        ("bounced", code): _Words(status, "failed", {"ErrorCode": code, "ErrorMessage": message}, status)
        for code, (status, message) in ERRORS.items()
    },
    # Refused before a number of the service was chosen.
    ("bounced", "21610, no sender"): _Words("failed", "failed", {"ErrorCode": "21610"}, "failed"),
}
# Texts to us: what is written, whether Twilio itself says what it made of it, our type.
_TEXTS: Final = {
    "stop": ("STOP", "", "opted_out"),
    "stop, spelled freely": (" Stop\n", "", "opted_out"),
    "stop by rcs": ("STOP", "", "opted_out"),
    "stop by sms": ("STOP", "", "opted_out"),
    "cancel": ("cancel", "", "opted_out"),
    "judged stop": ("please no more", "STOP", "opted_out"),
    "start": ("START", "", "opted_in"),
    "yes": ("Yes", "", "opted_in"),
    "judged start": ("let me in", "START", "opted_in"),
    "help": ("HELP", "HELP", "unknown"),
    "judged otherwise": ("STOP", "HELP", "unknown"),
    "free": ("Can I come at 10? Please don't STOP reminding me – Zoë", "", "unknown"),
}


_PREFIXES: Final = {"stop by rcs": "rcs:", "stop by sms": "sms:"}
"""Before the number of who wrote, where Twilio tells the channel; it is the same number."""


class TwilioTeller:
    """Twilio, as it tells about one message."""

    def __init__(self, envelope: Envelope, rng: Random) -> None:
        self._envelope = envelope
        self._rng = rng
        self.provider_message_id = f"SM{rng.randbytes(16).hex()}"
        self.whole_id = self.provider_message_id
        self.smtp_id = self.provider_message_id
        self._facts = 0

    def tell(self, beat: Beat, start_us: int) -> list[Telling]:
        """Return the posts of one beat; none of what Twilio doesn't tell, like a message's first status."""
        at_us = start_us + beat.after_us
        if beat.what == "texted":
            return self._text(beat, start_us, at_us)
        if beat.what == "delivered":
            words = _Words("delivered", "delivered")
        elif (beat.what, beat.how) in _PLAIN:
            words = _PLAIN[beat.what, beat.how]
        else:
            return []
        said = self._callback(beat, words, at_us)
        meaning = Meaning(
            words.type,
            said["To"].removeprefix("rcs:"),
            None,  # no callback says when
            code=said.get("ErrorCode", ""),
            reason=said.get("ErrorMessage", ""),
            classification=words.status,
            sub_status=words.sub_status,
            provider_message_id=self.provider_message_id,
            word=_word(said),
        )
        body = urlencode(said).encode()
        return tellings_of(beat, start_us, self._fact(), meaning, lambda lacks: (body, self._query(lacks)), at_us=at_us)

    def _callback(self, beat: Beat, words: _Words, at_us: int) -> dict[str, str]:
        status = {"MessageStatus": words.status, "SmsStatus": words.status}
        match beat.how:
            case "old name":
                del status["MessageStatus"]
            case "two names":
                status["SmsStatus"] = "sent"  # the two disagree: the newer name counts
        said = {
            "AccountSid": _ACCOUNT,
            "From": self._envelope.sender,
            "To": _spelled(self._envelope.to.key, beat.how),
            "MessageSid": self.provider_message_id,
            "SmsSid": self.provider_message_id,
            **status,
            **{name: value for name, value in words.said.items() if value},
            "ApiVersion": "2010-04-01",
        }
        if words.status in ("delivered", "undelivered") and beat.how != "without code":
            # The carrier's clock has no zone, and may be earlier than the request.
            clock = at_us - self._rng.randrange(90 * MINUTE)
            said["RawDlrDoneDate"] = strftime("%y%m%d%H%M", gmtime(clock // SECOND))
        if self._rng.random() < 0.3:
            said["MessagingServiceSid"] = _SERVICE
        if beat.how == "21610, no sender":
            said = {name: value for name, value in said.items() if name not in ("From", "MessagingServiceSid")}
        return said

    def _text(self, beat: Beat, start_us: int, at_us: int) -> list[Telling]:
        """Return a text from the recipient. It names no message, wherever it is posted to."""
        text, judged, type_ = _TEXTS[beat.how]
        sid = f"SM{self._rng.randbytes(16).hex()}"
        said = {
            "ToCountry": "US",
            "SmsMessageSid": sid,
            "NumMedia": "0",
            "SmsSid": sid,
            "SmsStatus": "received",
            "Body": text,
            "To": self._envelope.sender,
            "MessagingServiceSid": _SERVICE,
            "NumSegments": "1",
            "MessageSid": sid,
            "AccountSid": _ACCOUNT,
            "From": _PREFIXES.get(beat.how, "") + self._envelope.to.key,
            "ApiVersion": "2010-04-01",
        }
        if judged:
            said["OptOutType"] = judged
        word = Word(type_, senders=(said["To"], _SERVICE)) if type_ != "unknown" else None
        meaning = Meaning(
            type_, self._envelope.to.key, None, classification="received", provider_message_id=sid, word=word
        )
        body = urlencode(said).encode()
        # One number's URL has our ids in it, by mistake: they say nothing about what somebody wrote.
        query = self._query(()) if beat.how == "cancel" else ""
        stranger = beat._replace(lacks=("ours",), again=tuple(a._replace(lacks=("ours",)) for a in beat.again))
        return tellings_of(stranger, start_us, self._fact(), meaning, lambda _: (body, query), at_us=at_us)

    def _fact(self) -> str:
        self._facts += 1
        return f"{self._envelope.number}.{self._facts}"

    def _query(self, lacks: tuple[str, ...]) -> str:
        if "ours" in lacks:
            return ""
        ids = {"sl_account": self._envelope.account_id, "sl_message": self._envelope.message_id}
        if "half_of_ours" in lacks:
            del ids["sl_account"]
        elif "valid_ours" in lacks:
            ids["sl_message"] = ids["sl_message"].replace("-", "")
        return urlencode(ids)


def _spelled(key: str, how: str) -> str:
    """The number as a callback spells it. An SMS has no CC: it is the To's, however it is spelled."""
    if how == "by rcs" and key.startswith("+"):
        return f"rcs:{key}"
    return key.replace("+", "") if how == "without the plus" else key


def _word(said: Mapping[str, str]) -> Word | None:
    """What a status says of the number that it was sent to."""
    code = said.get("ErrorCode", "")
    if code == _OPTED_OUT:
        senders = (said.get("From", ""), said.get("MessagingServiceSid", ""))
        return Word("opted_out", senders=tuple(sender for sender in senders if sender))
    return Word("bounce") if code in _GONE else None
