"""The queries of Messaging Logs. Every one is bound to accounts; outside values are bound parameters, never text.

In:  a `Filter`; out: SQL and its parameters. Running them is the caller's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

__all__ = [
    "EVERY",
    "MAX_EVENTS",
    "REFUSED",
    "STATUSES",
    "Cursor",
    "EventCursor",
    "Filter",
    "Order",
    "Query",
    "conditions",
    "facets",
    "messages_page",
    "messages_with_id",
    "timeline",
]

EVERY: Final = "*"
"""As an account: all that the caller may see."""

MAX_EVENTS: Final = 10_000
"""Events of one message that are read at once, at the most."""

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

Order = Literal["newest", "oldest"]
_SORTED: Final = {"newest": ("<", " DESC"), "oldest": (">", "")}
_KEY: Final = ("date_sent", "email_id", "account_id")


class Cursor(NamedTuple):
    """Where a page ended: the key of its last row. Two accounts may share an id, so the account is a part of it."""

    date_sent_ms: int
    email_id: str
    account_id: str


class EventCursor(NamedTuple):
    """Where a page of a timeline ended: the key of its last row."""

    occurred_us: int
    received_us: int
    event_id: str


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


@dataclass(frozen=True, slots=True)
class Query:
    """SQL with named parameters."""

    sql: str
    parameters: dict[str, Any]


def messages_page(wanted: Filter, *, limit: int, order: Order = "newest", after: Cursor | None = None) -> Query:
    """Return the query of one page of `messages`; it gives up to `limit` + 1 rows.

    Keyset: rows that are inserted meanwhile never make a row appear twice or not at all. The ids are compared by
    ClickHouse alone, whose order of UUIDs is its own.
    """
    held, parameters = conditions(wanted)
    beyond, direction = _SORTED[order]
    if after is not None:
        held.append(
            f"({', '.join(_KEY)}) {beyond}"
            " (fromUnixTimestamp64Milli({after_ms:Int64}, 'UTC'), {after_id:UUID}, {after_account:String})"
        )
        # By its own column too: the tuple says nothing to the table's index.
        held.append(f"date_sent {beyond}= fromUnixTimestamp64Milli({{after_ms:Int64}}, 'UTC')")
        parameters |= {"after_ms": after.date_sent_ms, "after_id": after.email_id, "after_account": after.account_id}
    if wanted.email_id is None:
        # The filters choose the keys, and are not asked of the rows once more: a row whose status changes between the
        # two would make the page one short, and so the last.
        bound = [_CONDITIONS["accounts"]] if wanted.accounts is not None else []
        held = [*bound, _page_keys(wanted, held, order)]
    by = ", ".join(f"{name}{direction}" for name in _KEY)
    return Query(
        f"SELECT * FROM messages WHERE {' AND '.join(held) or '1'} ORDER BY {by} LIMIT {{limit:UInt32}}",  # noqa: S608
        parameters | {"limit": limit + 1},
    )


_STATE_KEYS: Final = (
    "(SELECT account_id, sent_at AS date_sent, message_id AS email_id FROM message_state"
    " WHERE sent_at < toDateTime64('2200-01-01 00:00:00', 3, 'UTC'))"
)
"""The keys of `messages`, read from its table. Of an id with a later time there is no row."""


def _page_keys(wanted: Filter, held: Sequence[str], order: Order) -> str:
    """Return the condition that only the rows of one page meet.

    Keys first, then rows: without it each row that is asked for is made whole before the first of them are taken. The
    keys are found by the columns of the filters alone. Where nothing is asked but an account and a time, the keys of
    `message_state` are enough, since each is a row, merged or not: they are read in the table's order, and no further
    than the page goes.
    """
    given = {name for name in _CONDITIONS if getattr(wanted, name) not in (None, (), [])}
    select, source, names = "SELECT", "messages", _KEY
    if wanted.accounts is not None and len(wanted.accounts) == 1 and given <= {"accounts", "from_us", "to_us"}:
        select, source = "SELECT DISTINCT", _STATE_KEYS
        names = ("account_id", "date_sent", "email_id")  # the order of the table
    by = ", ".join(f"{name}{_SORTED[order][1]}" for name in names)
    return (
        f"(account_id, date_sent, email_id) IN ({select} account_id, date_sent, email_id FROM {source}"
        f" WHERE {' AND '.join(held) or '1'} ORDER BY {by} LIMIT {{limit:UInt32}})"
    )


def facets(wanted: Filter) -> Query:
    """Return the query of (status, channel, type, messages): how many of each there are."""
    held, parameters = conditions(wanted)
    return Query(
        f"SELECT status, channel, type, count() FROM messages WHERE {' AND '.join(held) or '1'}"  # noqa: S608
        " GROUP BY status, channel, type",
        parameters,
    )


def messages_with_id(accounts: Sequence[str] | None, email_id: str) -> Query:
    """Return the query of the rows of one message id: one row, or several where accounts share the id."""
    held, parameters = conditions(Filter(accounts, email_id=email_id))
    return Query(
        f"SELECT * FROM messages WHERE {' AND '.join(held)} ORDER BY account_id LIMIT 10",  # noqa: S608
        parameters,
    )


def timeline(account_id: str, email_id: str, *, limit: int, after: EventCursor | None = None) -> Query:
    """Return the query of one message's events, by the time they occurred, then by their arrival: `limit` + 1 rows."""
    parameters: dict[str, Any] = {"account": account_id, "email_id": email_id, "limit": limit + 1}
    behind = ""
    if after is not None:
        behind = (
            " AND (occurred_at, received_at, event_id) > (fromUnixTimestamp64Micro({occurred_us:Int64}, 'UTC'),"
            " fromUnixTimestamp64Micro({received_us:Int64}, 'UTC'), {event_id:String})"
        )
        parameters |= after._asdict()
    return Query(
        f"SELECT * FROM message_events WHERE account_id = {{account:String}} AND email_id = {{email_id:UUID}}{behind}"  # noqa: S608
        " ORDER BY occurred_at, received_at, event_id LIMIT {limit:UInt32}",
        parameters,
    )


_CONDITIONS: Final = {
    "accounts": "account_id IN {accounts:Array(String)}",
    "from_us": "date_sent >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC')",
    "to_us": "date_sent < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')",
    # The time is a function of the id, and the table is sorted by it: one message is found without a scan.
    "email_id": "date_sent = UUIDv7ToDateTime({email_id:UUID}, 'UTC') AND email_id = {email_id:UUID}",
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
"""By the fields of `Filter`, in their names."""


def conditions(wanted: Filter) -> tuple[list[str], dict[str, Any]]:
    """Return the conditions on rows of `messages` that a filter means, and their parameters."""
    given = {name: getattr(wanted, name) for name in _CONDITIONS}
    given = {name: _bound(value) for name, value in given.items() if value is not None and value != ()}
    given = {name: value for name, value in given.items() if value != [] or name == "accounts"}
    return [_CONDITIONS[name] for name in given], given


def _bound(value: Any) -> Any:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
