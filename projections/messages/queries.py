"""The queries of Messaging Logs. Every one is bound to accounts; outside values are bound parameters, never text.

In:  a `Filter`; out: SQL and its parameters. Running them is the caller's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from schemas.addresses import email_key, phone_key

__all__ = ["EVERY", "STATUSES", "Cursor", "Filter", "Query", "messages_page", "messages_with_id", "timeline"]

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


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page ended: the key of its last row."""

    date_sent_ms: int
    email_id: str


@dataclass(frozen=True, slots=True)
class Filter:
    """What a page is asked for. `accounts` None is every account: for a token that covers all, and only then."""

    accounts: Sequence[str] | None
    from_us: int | None = None
    to_us: int | None = None
    statuses: Sequence[str] = ()
    address: str | None = None
    email_id: str | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """SQL with named parameters."""

    sql: str
    parameters: dict[str, Any]


def messages_page(wanted: Filter, *, limit: int, after: Cursor | None = None) -> Query:
    """Return the query of one page of `messages`, newest first; it gives up to `limit` + 1 rows.

    Keyset on (date_sent, email_id): rows that are inserted meanwhile never make a row appear twice or not at all.
    The ids are compared by ClickHouse alone, whose order of UUIDs is its own.
    """
    conditions, parameters = _conditions(wanted)
    if after is not None:
        conditions.append(
            "(date_sent, email_id) < (fromUnixTimestamp64Milli({after_ms:Int64}, 'UTC'), {after_id:UUID})"
        )
        parameters |= {"after_ms": after.date_sent_ms, "after_id": after.email_id}
    parameters["limit"] = limit + 1
    where = " AND ".join(conditions) or "1"
    return Query(
        f"SELECT * FROM messages WHERE {where} ORDER BY date_sent DESC, email_id DESC LIMIT {{limit:UInt32}}",  # noqa: S608
        parameters,
    )


def messages_with_id(accounts: Sequence[str] | None, email_id: str) -> Query:
    """Return the query of the rows of one message id: one row, or several where accounts share the id."""
    conditions, parameters = _conditions(Filter(accounts, email_id=email_id))
    return Query(
        f"SELECT * FROM messages WHERE {' AND '.join(conditions)} ORDER BY account_id LIMIT 10",  # noqa: S608
        parameters,
    )


def timeline(account_id: str, email_id: str) -> Query:
    """Return the query of one message's events, by the time they occurred, then by their arrival."""
    return Query(
        "SELECT * FROM message_events WHERE account_id = {account:String} AND email_id = {email_id:UUID}"
        " ORDER BY occurred_at, received_at, event_id LIMIT 10000",
        {"account": account_id, "email_id": email_id},
    )


def _conditions(wanted: Filter) -> tuple[list[str], dict[str, Any]]:
    conditions: list[str] = []
    parameters: dict[str, Any] = {}
    if wanted.accounts is not None:
        conditions.append("account_id IN {accounts:Array(String)}")
        parameters["accounts"] = list(wanted.accounts)
    if wanted.from_us is not None:
        conditions.append("date_sent >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC')")
        parameters["from_us"] = wanted.from_us
    if wanted.to_us is not None:
        conditions.append("date_sent < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')")
        parameters["to_us"] = wanted.to_us
    if wanted.email_id is not None:
        # The time is a function of the id, and the table is sorted by it: one message is found without a scan.
        conditions.append("date_sent = UUIDv7ToDateTime({email_id:UUID}, 'UTC') AND email_id = {email_id:UUID}")
        parameters["email_id"] = wanted.email_id
    if wanted.statuses:
        conditions.append("status IN {statuses:Array(String)}")
        parameters["statuses"] = list(wanted.statuses)
    if wanted.address is not None:
        conditions.append("(to_key IN {keys:Array(String)} OR hasAny(cc_keys, {keys:Array(String)}))")
        parameters["keys"] = sorted({email_key(wanted.address), phone_key(wanted.address)})
    return conditions, parameters
