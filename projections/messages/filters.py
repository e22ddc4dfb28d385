"""The filters of Messaging Logs, and the SQL condition on rows of `messages` that each stands for.

In:  a `Filter`. Out: SQL conditions and their parameters. Values from outside are bound, never put into the text.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from projections.store.views import message_rows

__all__ = [
    "CHECKED_ON_ROW",
    "CONDITIONS",
    "FROM_EVENTS",
    "FROM_WINNER",
    "REFUSED",
    "STATUSES",
    "Filter",
    "bound",
    "columns_of",
    "conditions",
    "given",
    "needs_events",
]

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
    """Which messages are wanted: those that meet all the given conditions.

    `accounts` None means every account; use it only for a token that covers all accounts.
    """

    accounts: Sequence[str] | None
    from_us: int | None = None
    to_us: int | None = None
    statuses: Sequence[str] = ()
    addresses: Sequence[str] = ()
    """Address keys: the To or a CC is one of them. Empty: no condition."""
    email_id: str | None = None
    channel: str | None = None
    types: Sequence[str] = ()
    """Template ids or names: the message has one of them."""
    sent_to: str | None = None
    address_prefix: str | None = None
    """A prefix of the key of the To or of a CC."""
    domain: str | None = None
    """The domain of the To key."""
    subject: str | None = None
    """A part of the subject, case-insensitive."""
    client_id: str | None = None
    staff_id: str | None = None
    appointment_id: str | None = None
    provider: str | None = None
    provider_message_ids: Sequence[str] = ()
    """The forms that one provider id may have: the message has one of them."""
    code: str | None = None
    """The provider's code, or the enhanced one."""
    classification: str | None = None
    stuck_hours: int | None = None
    """Processed or Pending, with no event, request, decision or dispatch for this many hours."""


def needs_events(wanted: Filter) -> bool:
    """Whether a filter is about a message's outcome, so that some messages must be checked against their events."""
    return any(name in FROM_EVENTS for name in given(wanted))


def given(wanted: Filter) -> list[str]:
    """Return the names of the conditions that a filter sets."""
    return [name for name in CONDITIONS if getattr(wanted, name) not in (None, (), [])]


def conditions(wanted: Filter) -> tuple[list[str], dict[str, Any]]:
    """Return a filter's conditions on rows of `messages`, without those on the key, and their parameters."""
    names = given(wanted)
    return [CONDITIONS[name] for name in names], {name: bound(getattr(wanted, name)) for name in names}


def columns_of(sql: str) -> list[str]:
    """Return the columns of `messages` that a condition reads."""
    return [name for name in message_rows.RULES if name in _WORD.findall(_PARAMETER.sub("", sql))]


_WORD: Final = re.compile(r"\w+")
_PARAMETER: Final = re.compile(r"\{\w+:|'[^']*'")


def bound(value: Any) -> Any:
    """Return a value in the form of a query parameter: a sequence as a list."""
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
"""The condition on rows of `messages` for each field of `Filter`; each parameter has the name of its field."""

FROM_EVENTS: Final = ("statuses", "provider", "provider_message_ids", "code", "classification", "stuck_hours")
"""Conditions on the outcome, which depends on events. The others are on the request, which the state has."""

CHECKED_ON_ROW: Final = frozenset(
    {"addresses", "address_prefix", "client_id", "staff_id", "appointment_id", *FROM_EVENTS}
)
"""Conditions that `pages.py` checks on the finished row, by plain comparison."""

FROM_WINNER: Final = ("code", "classification")
"""Those of FROM_EVENTS that need the winning event, not only the types of the events."""
