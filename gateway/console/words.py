"""What the pages say about a status: what it means, why a message has it, and what to do. For support staff.

The text depends on the status and on the sub-status of a row; for a message that was not sent, on the code of the
decision instead. A sub-status or code without a text of its own gets the text of its status.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from projections.messages.filters import REFUSED
from schemas.events import DeliveryFault
from schemas.providers.twilio import FAULTS

__all__ = [
    "FAMILIES",
    "FAMILY_NAMES",
    "ICONS",
    "NOT_DELIVERED",
    "ORDER",
    "Words",
    "corrected_address",
    "done",
    "duration",
    "error_advice",
    "event_name",
    "failure_reason",
    "label",
    "of_bounce",
    "of_row",
    "retry_reason",
    "suppression_reason",
]


class Words(NamedTuple):
    """`short` is shown in a row beside the status; `sentence` says what happened, and `advice` what to do."""

    short: str
    sentence: str
    advice: str = ""


ORDER: Final = (
    *("Pending", "Processed", "Delivered", "Opened", "Clicked", "Bounced", "Dropped"),
    *("Suppressed", "Blocked", "Quota_Exceeded", "Declined", "Not_opted_in", "Subscriptionchange"),
)
"""All statuses, in the order in which a message may have them."""
NOT_DELIVERED: Final = ("Bounced", "Dropped", "Suppressed", "Blocked", "Quota_Exceeded", "Declined", "Not_opted_in")

FAMILIES: Final = {
    "Delivered": "good",
    "Opened": "good",
    "Clicked": "good",
    "Pending": "wait",
    "Processed": "wait",
    "Declined": "choice",
    "Not_opted_in": "choice",
    "Subscriptionchange": "choice",
    "Suppressed": "not-allowed",
    "Blocked": "not-allowed",
    "Quota_Exceeded": "not-allowed",
    "Bounced": "fail",
    "Dropped": "fail",
}
FAMILY_NAMES: Final = {
    "good": "delivered",
    "wait": "under way",
    "choice": "not wanted",
    "not-allowed": "not allowed",
    "fail": "failed",
}
"""Groups of statuses, in the order in which a chart stacks them."""

ICONS: Final = {
    "Pending": "dots",
    "Processed": "arrow",
    "Delivered": "check",
    "Opened": "eye",
    "Clicked": "pointer",
    "Bounced": "back",
    "Dropped": "cross",
    "Suppressed": "mute",
    "Blocked": "lock",
    "Quota_Exceeded": "gauge",
    "Declined": "minus",
    "Not_opted_in": "box",
    "Subscriptionchange": "list",
}

_WORDS: Final = {
    "Pending": {
        "": Words(
            "waiting",
            "We have the request; there is no event from the provider yet.",
            "If this lasts more than a few minutes, tell the on-call engineer.",
        ),
    },
    "Processed": {
        "": Words(
            "", "The provider has the message and is trying to deliver it.", "Wait: most are delivered within minutes."
        ),
        "deferred": Words(
            "retrying",
            "The receiving server deferred it; the provider will try again.",
            "If it is urgent, call the client.",
        ),
        "sent": Words(
            "with the carrier",
            "The carrier has the text message; there is no receipt yet.",
            "Some carriers never send one.",
        ),
    },
    "Delivered": {
        "": Words(
            "",
            "The receiving server accepted the message. We can't see whether it is in the inbox or the spam folder.",
            "If the client can't find it, ask them to look for spam, and to add our sender to their contacts.",
        ),
        "sms": Words("", "The phone's carrier confirmed the delivery."),
    },
    "Opened": {"": Words("", "The message was delivered, and a person opened it.")},
    "Clicked": {"": Words("", "The message was delivered, and a person followed a link in it.")},
    "Bounced": {
        "": Words(
            "reason unclear",
            "The message was rejected for a reason that we don't recognise.",
            "Read the server's response, and check the address with the client.",
        ),
        "hard": Words(
            "no such mailbox",
            "The receiving server says that this mailbox does not exist.",
            "Check the spelling with the client. The same address will bounce again.",
        ),
        "soft": Words(
            "mailbox full or busy",
            "The mailbox was full or busy.",
            "There is nothing to correct: send it again later, or call the client.",
        ),
        "blocked": Words(
            "sender refused",
            "The receiving server refused us, not the address.",
            "The address is fine, and this does not count against it. Ask the client to add our sender to the contacts;"
            " if this happens to many addresses of one domain, tell the on-call engineer.",
        ),
        "failed": Words(
            "could not be sent",
            "The text message could not be sent to this number.",
            "Check the number with the client.",
        ),
        "undelivered": Words(
            "phone not reached",
            "The carrier could not reach the phone.",
            "It may be off, out of reach or a landline.",
        ),
        "sms_sender": Words(
            "sender refused",
            "The carrier or the provider refused us, not the number.",
            "The number is fine, and this does not count against it. Tell the on-call engineer.",
        ),
        "sms_infrastructure": Words(
            "carrier failed",
            "The carrier or the provider failed.",
            "There is nothing to correct: send it again later, or call the client.",
        ),
    },
    "Dropped": {
        "": Words(
            "other reason",
            "The provider did not send this, for a reason of its own.",
            "Its reason is under What happened.",
        ),
        "bounced": Words(
            "bounced before",
            "The provider did not try: this address bounced there earlier.",
            "The address must be removed from the provider's suppression list, too.",
        ),
        "unsubscribed": Words(
            "unsubscribed", "The provider did not try: the person unsubscribed there.", "Respect it."
        ),
        "spam": Words(
            "marked as spam before",
            "The provider did not try: the person once marked us as spam.",
            "Send again only if the person asks for it.",
        ),
        "invalid": Words(
            "address not valid", "The provider did not try: the address is malformed.", "Correct the address."
        ),
        "content": Words(
            "content refused", "The provider classified the content as spam.", "Tell the on-call engineer."
        ),
        "quota": Words("provider quota", "Our quota at the provider is used up.", "Tell the on-call engineer."),
        "duplicate": Words("sent twice", "The provider had the same message already, and sent it once."),
        "canceled": Words("cancelled", "The text message was cancelled before it was sent."),
        "inactive": Words(
            "deactivated at the provider",
            "The provider did not try: the address was deactivated there.",
            "Reactivate it in the provider's console.",
        ),
    },
    "Suppressed": {
        "": Words("", "Not sent: this address is suppressed.", "Suppressions says who suppressed it, and why."),
        "bounces": Words(
            "bounced too often",
            "Not sent: messages to this address bounced too often.",
            "Confirm the address with the client, then release it.",
        ),
        "complaint": Words(
            "marked as spam",
            "Not sent: somebody at this address reported a message as spam.",
            "Release it only if the client asks for our messages.",
        ),
        "manual": Words("by hand", "Not sent: a colleague suppressed this address.", "Ask them before you release it."),
        "provider": Words(
            "at the provider",
            "Not sent: the provider refuses this address.",
            "Remove it from the provider's suppression list, too: releasing it here is not enough.",
        ),
    },
    "Blocked": {
        "": Words(
            "account blocked", "Not sent: our team has blocked this account.", "Ask the team that manages accounts."
        ),
        "address_invalid": Words(
            "not an address", "Not sent: this is no valid address or number.", "Correct the address."
        ),
        "no_policy": Words(
            "account unknown", "Not sent: we have no record of this account.", "Tell the on-call engineer."
        ),
    },
    "Declined": {
        "": Words("not wanted", "Not sent: the recipient or the account's settings decline it."),
        "template_declined": Words(
            "doesn't want this type",
            "Not sent: the recipient does not want this type of message.",
            "They can turn it on in their profile.",
        ),
        "template_disabled": Words(
            "type switched off",
            "Not sent: the account has switched this type of message off.",
            "It can be switched on in the account's settings.",
        ),
        "unsubscribed": Words("unsubscribed", "Not sent: the recipient unsubscribed.", "Respect it."),
        "group_unsubscribed": Words("left this list", "Not sent: the recipient left this list.", "Respect it."),
        "sms_opt_out": Words(
            "answered STOP",
            "Not sent: the recipient answered STOP.",
            "They can text START to the same number.",
        ),
    },
    "Not_opted_in": {
        "": Words(
            "no invitations",
            "Not sent: the client has not agreed to invitations yet.",
            "Tick the opt-in on the client's profile once they agree.",
        ),
    },
    "Quota_Exceeded": {
        "": Words(
            "trial limit",
            "Not sent: the limit of the trial is used up.",
            "Enter billing details: it lifts at once, for new messages.",
        ),
        "sms_requires_billing": Words(
            "SMS needs billing",
            "Not sent: a trial sends no texts before billing details are entered.",
            "Enter billing details, then ask for SMS.",
        ),
        "sms_not_enabled": Words(
            "SMS not enabled", "Not sent: SMS is not enabled for this trial.", "Ask us to enable it."
        ),
        "trial_ended": Words("trial over", "Not sent: the trial is over.", "Enter billing details."),
    },
    "Subscriptionchange": {
        "": Words("list changed", "The provider's suppression list changed.", "See Suppressions."),
        "added": Words("added", "The provider added this address to its suppression list.", "See Suppressions."),
        "removed": Words(
            "removed", "The provider removed this address from its suppression list.", "See Suppressions."
        ),
    },
}

_BOUNCE_KEYS: Final = {"recipient": "hard", "mailbox": "soft", "infrastructure": "soft", "sender": "blocked"}

_EVENTS: Final = {
    "requested": "Requested",
    "decided": "Decided",
    "dispatched": "Handed to the provider",
    "processed": "Accepted by the provider",
    "deferred": "Deferred by the receiving server",
    "sent": "Handed to the carrier",
    "delivered": "Delivered",
    "opened": "Opened",
    "clicked": "Link followed",
    "bounced": "Bounced",
    "blocked": "Refused by the receiving server",
    "failed": "Failed",
    "dropped": "Dropped by the provider",
    "complained": "Marked as spam",
    "unsubscribed": "Unsubscribed",
    "group_unsubscribed": "Left a list",
    "group_resubscribed": "Joined a list again",
    "subscription_changed": "The provider's suppression list changed",
}

_RETRY_REASONS: Final = {
    "StoreError": "because ClickHouse was unavailable",
    "BrokerError": "because Kafka was unavailable",
    "BrokerDenied": "because Kafka refused access",
    "EveryRecordFails": "because no record could be processed",
}
"""Why workers retried, by the label of their metric."""

_DONE: Final[Mapping[str, Mapping[bool | None, str]]] = {
    "add": {
        True: "was suppressed already; your reason is in its history",
        False: "suppressed",
        None: "suppressed",
    },
    "release": {
        True: "released",
        False: "was not suppressed there, so nothing changed",
        None: "released, if it was suppressed",
    },
    "opt-in": {
        True: "opted in again",
        False: "had not opted out there, so nothing changed",
        None: "opted in again, if it had opted out",
    },
}

_ERROR_ADVICE: Final = {
    429: "Wait a few seconds, then try again.",
    500: "This is a bug. Tell the on-call engineer the request id. What you did may or may not have taken effect.",
    503: "Try again in a few seconds. If it fails again, tell the on-call engineer the request id.",
}

_TYPING_ERRORS: Final = {
    "gmial.com": "gmail.com",
    "gmai.com": "gmail.com",
    "gmail.co": "gmail.com",
    "gmail.con": "gmail.com",
    "gnail.com": "gmail.com",
    "hotmial.com": "hotmail.com",
    "hotmail.con": "hotmail.com",
    "hotnail.com": "hotmail.com",
    "outlok.com": "outlook.com",
    "outloook.com": "outlook.com",
    "yaho.com": "yahoo.com",
    "yahoo.con": "yahoo.com",
    "yhaoo.com": "yahoo.com",
    "iclould.com": "icloud.com",
    "icloud.con": "icloud.com",
}


def label(status: str) -> str:
    """Return the name of a status as the pages show it."""
    return status.replace("_", " ")


def of_row(row: Mapping[str, Any]) -> Words:
    """Return the words for a row of the log."""
    status = row["status"]
    words = _WORDS.get(status, {})
    key = row["code"] if status in REFUSED else row["sub_status"]
    if row["channel"] == "sms":
        key = _sms_key(status, key, FAULTS.get(row["code"], ""))
    found = words.get(key) or words.get("") or Words("", "")
    if key == "deferred" and row["attempts"] > 1:
        return found._replace(short=f"{found.short} ({row['attempts']})")
    return found


def _sms_key(status: str, key: str, fault: str) -> str:
    """The key of the words of a text message. `failed` may be anybody's fault, not only that of the number."""
    if status == "Delivered":
        return "sms"
    if status == "Bounced" and fault in (DeliveryFault.SENDER, DeliveryFault.INFRASTRUCTURE):
        return f"sms_{fault}"
    return key


def of_bounce(row: Mapping[str, Any]) -> Words:
    """Return the words for the last bounce of an address."""
    if row["channel"] == "sms":
        key = _sms_key("Bounced", row["last_classification"].strip().lower(), row["last_fault"])
    else:
        key = _BOUNCE_KEYS.get(row["last_fault"], "")
    words = _WORDS["Bounced"]
    return words.get(key, words[""])


def failure_reason(status: str, sub_status: str) -> str:
    """Return why messages bounced or were dropped, in a few words."""
    return _WORDS[status].get(sub_status, _WORDS[status][""]).short


def suppression_reason(reason: str) -> str:
    """Return why an address is or was suppressed, in a few words."""
    return _WORDS["Suppressed"].get(reason, Words(reason, "")).short


def error_advice(status: int, code: str) -> str:
    """Return what a person can do about a page that failed. What a program can do is in the API's problem."""
    advice = _ERROR_ADVICE.get(status, "")
    return f"{advice} A shorter time may help, too." if code == "clickhouse-away" else advice


def done(act: str, was: bool | None) -> str:
    """Return what a command did. `was`: whether the address was suppressed, or had an opt-out; None if unknown."""
    return _DONE[act][was]


def retry_reason(of: str) -> str:
    """Return why a worker retried, by the label of its metric."""
    return _RETRY_REASONS.get(of, f"because of {of}")


def event_name(kind: str) -> str:
    """Return the name of an event of the timeline."""
    return _EVENTS.get(kind, kind.replace("_", " ").capitalize())


def corrected_address(address: str) -> str:
    """Return the corrected address if the domain looks like a typing error, else a blank."""
    name, at, domain = address.rpartition("@")
    corrected = _TYPING_ERRORS.get(domain.lower())
    return f"{name}{at}{corrected}" if name and corrected else ""


def duration(seconds: float, digits: int = 1) -> str:
    """Return a duration in the largest unit of which it has at least two; `digits` after the point, 1 for seconds."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.{digits}f} {unit}"
    return f"{seconds:.1f} s"
