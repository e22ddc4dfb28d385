"""Twilio's webhooks: status callbacks (a form per post, our ids in the query of the URL), and incoming texts.

Field names are those of twilio.com/docs/messaging/guides/track-outbound-message-status (read 2026-11-25);
docs/reference/providers/twilio.md says how they must be interpreted.
"""

from collections.abc import Mapping
from random import Random
from time import gmtime, strftime
from typing import Final, NamedTuple
from urllib.parse import urlencode

from simulator.address_state import AddressEvent
from simulator.durations import MINUTE, SECOND
from simulator.providers.emitter import Envelope, EventDelivery, ExpectedEvent, deliveries_of_event
from simulator.timeline import Step

__all__ = ["ERRORS", "TwilioEmitter"]


class _Form(NamedTuple):
    """A form of status callback: the status, our type, further fields, and our sub-status."""

    status: str
    type: str
    fields: Mapping[str, str] = {}
    sub_status: str = ""


_SERVICE: Final = "MG" + "5e" * 16
"""The messaging service that has all numbers."""
_ACCOUNT: Final = "AC" + "0c" * 16
# Code: the status that it comes with, and the message, which Twilio sends only sometimes.
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
_PERMANENT_CODES: Final = frozenset({"30005", "30006", "21211", "63024"})
"""The codes for a number that can never be reached."""
_OPTED_OUT: Final = "21610"
_FORMS: Final = {
    **{
        ("processed", address_event): _Form(address_event, "processed")
        for address_event in ("accepted", "scheduled", "queued", "sending")
    },
    ("sent", ""): _Form("sent", "sent"),
    ("opened", ""): _Form("read", "opened", {"EventType": "READ", "ChannelPrefix": "whatsapp"}),
    ("dropped", "canceled"): _Form("canceled", "dropped", {}, "canceled"),
    ("unknown", ""): _Form("partially_delivered", "unknown"),
    ("unknown", "huh"): _Form("huh", "unknown"),
    ("bounced", "hard"): _Form("undelivered", "failed", {"ErrorCode": "30005"}, "undelivered"),
    ("bounced", "without code"): _Form("undelivered", "failed", {}, "undelivered"),
    **{
        ("bounced", code): _Form(status, "failed", {"ErrorCode": code, "ErrorMessage": message}, status)
        for code, (status, message) in ERRORS.items()
    },
    # Rejected before a number of the service was chosen.
    ("bounced", "21610, no sender"): _Form("failed", "failed", {"ErrorCode": "21610"}, "failed"),
}
# Incoming texts: the body, Twilio's OptOutType (blank: none), our type.
_INCOMING_TEXTS: Final = {
    "stop": ("STOP", "", "opted_out"),
    "stop, in mixed case": (" Stop\n", "", "opted_out"),
    "stop by rcs": ("STOP", "", "opted_out"),
    "stop by sms": ("STOP", "", "opted_out"),
    "cancel": ("cancel", "", "opted_out"),
    "classified as stop": ("please no more", "STOP", "opted_out"),
    "start": ("START", "", "opted_in"),
    "yes": ("Yes", "", "opted_in"),
    "classified as start": ("let me in", "START", "opted_in"),
    "help": ("HELP", "HELP", "unknown"),
    "classified as help": ("STOP", "HELP", "unknown"),
    "free text": ("Can I come at 10? Please don't STOP reminding me – Zoë", "", "unknown"),
}
_PREFIXES: Final = {"stop by rcs": "rcs:", "stop by sms": "sms:"}
"""Channel prefix of the number in `From`; it is the same number."""


class TwilioEmitter:
    """Emits Twilio's events of one message."""

    def __init__(self, envelope: Envelope, rng: Random) -> None:
        self._envelope = envelope
        self._rng = rng
        self.provider_message_id = f"SM{rng.randbytes(16).hex()}"
        self.id_forms: Mapping[str, str] = {}
        self._events = 0

    def emit(self, step: Step, start_us: int) -> list[EventDelivery]:
        """Return the posts for one step; none if Twilio has no event for it, as for the first status of a message."""
        at_us = start_us + step.after_us
        if step.kind == "text_received":
            return self._text(step, start_us, at_us)
        if step.kind == "delivered":
            form = _Form("delivered", "delivered")
        elif (step.kind, step.variant) in _FORMS:
            form = _FORMS[step.kind, step.variant]
        else:
            return []
        fields = self._callback(step, form, at_us)
        expected = ExpectedEvent(
            form.type,
            fields["To"].removeprefix("rcs:"),
            None,  # no callback has a time
            code=fields.get("ErrorCode", ""),
            reason=fields.get("ErrorMessage", ""),
            classification=form.status,
            sub_status=form.sub_status,
            provider_message_id=self.provider_message_id,
            address_event=_address_event(fields),
        )
        body = urlencode(fields).encode()
        return deliveries_of_event(
            step, start_us, self._next_event_key(), expected, lambda omits: (body, self._query(omits)), at_us=at_us
        )

    def _callback(self, step: Step, form: _Form, at_us: int) -> dict[str, str]:
        status = {"MessageStatus": form.status, "SmsStatus": form.status}
        match step.variant:
            case "old name":
                del status["MessageStatus"]
            case "two names":
                status["SmsStatus"] = "sent"  # the two disagree: the newer name counts
        fields = {
            "AccountSid": _ACCOUNT,
            "From": self._envelope.sender,
            "To": _spelled(self._envelope.to.key, step.variant),
            "MessageSid": self.provider_message_id,
            "SmsSid": self.provider_message_id,
            **status,
            **{name: value for name, value in form.fields.items() if value},
            "ApiVersion": "2010-04-01",
        }
        if form.status in ("delivered", "undelivered") and step.variant != "without code":
            # The carrier's time has no zone, and may be before the request.
            clock = at_us - self._rng.randrange(90 * MINUTE)
            fields["RawDlrDoneDate"] = strftime("%y%m%d%H%M", gmtime(clock // SECOND))
        if self._rng.random() < 0.3:
            fields["MessagingServiceSid"] = _SERVICE
        if step.variant == "21610, no sender":
            fields = {name: value for name, value in fields.items() if name not in ("From", "MessagingServiceSid")}
        return fields

    def _text(self, step: Step, start_us: int, at_us: int) -> list[EventDelivery]:
        """Return an incoming text of the recipient. It names no message, even if the URL has our ids."""
        text, opt_out_type, type_ = _INCOMING_TEXTS[step.variant]
        sid = f"SM{self._rng.randbytes(16).hex()}"
        fields = {
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
            "From": _PREFIXES.get(step.variant, "") + self._envelope.to.key,
            "ApiVersion": "2010-04-01",
        }
        if opt_out_type:
            fields["OptOutType"] = opt_out_type
        address_event = AddressEvent(type_, senders=(fields["To"], _SERVICE)) if type_ != "unknown" else None
        expected = ExpectedEvent(
            type_,
            self._envelope.to.key,
            None,
            classification="received",
            provider_message_id=sid,
            address_event=address_event,
        )
        body = urlencode(fields).encode()
        # One number's URL has our ids by mistake: they say nothing about an incoming text.
        query = self._query(()) if step.variant == "cancel" else ""
        without_ids = step._replace(omits=("our_ids",), again=tuple(a._replace(omits=("our_ids",)) for a in step.again))
        return deliveries_of_event(
            without_ids, start_us, self._next_event_key(), expected, lambda _: (body, query), at_us=at_us
        )

    def _next_event_key(self) -> str:
        self._events += 1
        return f"{self._envelope.number}.{self._events}"

    def _query(self, omits: tuple[str, ...]) -> str:
        if "our_ids" in omits:
            return ""
        ids = {"sl_account": self._envelope.account_id, "sl_message": self._envelope.message_id}
        if "one_of_our_ids" in omits:
            del ids["sl_account"]
        elif "our_ids_invalid" in omits:
            ids["sl_message"] = ids["sl_message"].replace("-", "")
        return urlencode(ids)


def _spelled(key: str, variant: str) -> str:
    """Return the number as a callback writes it. An SMS has no CC: it is the To, in any spelling."""
    if variant == "by rcs" and key.startswith("+"):
        return f"rcs:{key}"
    return key.replace("+", "") if variant == "without the plus" else key


def _address_event(fields: Mapping[str, str]) -> AddressEvent | None:
    """Return the effect of a status on the number."""
    code = fields.get("ErrorCode", "")
    if code == _OPTED_OUT:
        senders = (fields.get("From", ""), fields.get("MessagingServiceSid", ""))
        return AddressEvent("opted_out", senders=tuple(sender for sender in senders if sender))
    return AddressEvent("bounce") if code in _PERMANENT_CODES else None
