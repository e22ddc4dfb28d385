"""What messages are asked for: the filters of Messaging Logs, and what each means of a row of `messages`.

In:  a `Filter`. Out: conditions in SQL, and their parameters; outside values are bound, never text.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from projections.store.views import message_rows

__all__ = [
    "BY_EVENTS",
    "BY_WINNER",
    "CONDITIONS",
    "EVERY",
    "REFUSED",
    "ROW_TELLS",
    "STATUSES",
    "Filter",
    "asks_events",
    "bound",
    "columns_of",
    "conditions",
    "given",
]

EVERY: Final = "*"
"""As an account: all that the caller may see."""

STATUSES: Final = (
    "Processed",
    "Delivered",
    "Clicked",
    "Opened",
    "Declined",
    "Subscriptionchange",
    "Bounced",
    "Suppressed",
    "Dropped",
    "Quota_Exceeded",
    "Not_opted_in",
    "Blocked",
    "Pending",
)
REFUSED: Final = ("Declined", "Suppressed", "Quota_Exceeded", "Not_opted_in", "Blocked")
"""The statuses of messages that the gate did not approve."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What messages are asked for; all that is given must hold.

    `accounts` None is every account: for a token that covers all, and only then.
    """

    accounts: Sequence[str] | None
    from_us: int | None = None
    to_us: int | None = None
    statuses: Sequence[str] = ()
    addresses: Sequence[str] = ()
    """Keys, one of which a To or a CC has; none of them asks for all."""
    email_id: str | None = None
    channel: str | None = None
    types: Sequence[str] = ()
    """Ids or names of templates, one of which it has."""
    sent_to: str | None = None
    address_prefix: str | None = None
    """How the key of a To or a CC begins."""
    domain: str | None = None
    """The domain of the To's key."""
    subject: str | None = None
    """A part of the subject, in any case."""
    client_id: str | None = None
    staff_id: str | None = None
    appointment_id: str | None = None
    provider: str | None = None
    provider_message_ids: Sequence[str] = ()
    """The forms that an id of a provider's may have, one of which it has."""
    code: str | None = None
    """The provider's code, or the enhanced one."""
    classification: str | None = None
    stuck_hours: int | None = None
    """Processed or Pending, and nothing was heard of it for so many hours."""


def asks_events(wanted: Filter) -> bool:
    """Whether a filter is about what became of a message: of some keys only their events tell whether they match."""
    return any(name in BY_EVENTS for name in given(wanted))


def given(wanted: Filter) -> list[str]:
    """Return the names of the conditions that a filter asks for."""
    return [name for name in CONDITIONS if getattr(wanted, name) not in (None, (), [])]


def conditions(wanted: Filter) -> tuple[list[str], dict[str, Any]]:
    """Return the conditions on rows of `messages` that a filter means, but those on the key; and their parameters."""
    names = given(wanted)
    return [CONDITIONS[name] for name in names], {name: bound(getattr(wanted, name)) for name in names}


def columns_of(sql: str) -> list[str]:
    """Return the columns of a row that a condition is about."""
    return [name for name in message_rows.RULES if name in _WORD.findall(_PARAMETER.sub("", sql))]


_WORD: Final = re.compile(r"\w+")
_PARAMETER: Final = re.compile(r"\{\w+:|'[^']*'")


def bound(value: Any) -> Any:
    """Return a value as a parameter of a query has it."""
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


CONDITIONS: Final = {
    "statuses": "status IN {statuses:Array(String)}",
    "addresses": "(to_key IN {addresses:Array(String)} OR hasAny(cc_keys, {addresses:Array(String)}))",
    "channel": "channel = {channel:String}",
    "types": "(template_id IN {types:Array(String)} OR type IN {types:Array(String)})",
    "sent_to": "sent_to = {sent_to:String}",
    "address_prefix": "(startsWith(to_key, {address_prefix:String})"
    " OR arrayExists(key -> startsWith(key, {address_prefix:String}), cc_keys))",
    "domain": "to_domain = {domain:String}",
    "subject": "positionCaseInsensitiveUTF8(subject, {subject:String}) > 0",
    "client_id": "sent_to = 'client' AND recipient_id = {client_id:String}",
    "staff_id": "sent_to = 'staff' AND recipient_id = {staff_id:String}",
    "appointment_id": "appointment_id = {appointment_id:String}",
    "provider": "provider = {provider:String}",
    "provider_message_ids": "provider_message_id IN {provider_message_ids:Array(String)}",
    "code": "(code = {code:String} OR enhanced_code = {code:String})",
    "classification": "classification = {classification:String}",
    "stuck_hours": "status IN ['Processed', 'Pending']"
    " AND greatest(ifNull(last_heard_at, date_sent), date_sent) < now64(6) - toIntervalHour({stuck_hours:UInt32})",
}
"""By the fields of `Filter`, in their names: conditions on rows of `messages`."""

BY_EVENTS: Final = ("statuses", "provider", "provider_message_ids", "code", "classification", "stuck_hours")
"""Those that are about what became of a message; the others are about what was asked for, and the state says it."""

ROW_TELLS: Final = frozenset({"addresses", "address_prefix", "client_id", "staff_id", "appointment_id"})
"""Those that whoever has the row can tell by plain comparison: `pages.py` does."""

BY_WINNER: Final = ("code", "classification")
"""Those of them for which it takes the event that says what became of a message."""
