"""The queries of Bounced Emails. Each is limited to accounts; values from outside are bound parameters, never text."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

from projections.messages.queries import Query, key_condition
from projections.store.views import bounce_rows, kept
from schemas.decoding.ids import ALL
from schemas.providers.twilio import RECIPIENT_CODES

__all__ = [
    "COLUMNS",
    "Cursor",
    "Filter",
    "Order",
    "bounces_page",
    "counted_bounces",
    "is_complete",
    "recipients",
    "suppressed",
]

Order = Literal["newest", "oldest"]

COLUMNS: Final = (
    "account_id",
    "channel",
    "address",
    "bounces",
    "first_bounced_at",
    "last_bounced_at",
    "last_reason",
    "last_code",
    "last_classification",
    "last_fault",
    "recipient_kind",
    "recipient_id",
    "last_email_id",
    "suppressed",
)

_KEY: Final = ("last_bounced_at", "account_id", "channel", "address")
_SORTED: Final[dict[str, tuple[str, str]]] = {"newest": ("<", " DESC"), "oldest": (">", "")}


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows are wanted. `accounts` None means every account; use it only for a token that covers all accounts.

    `addresses` are keys: a row has one of them; empty means no condition. Times are those of the last bounce.
    """

    accounts: Sequence[str] | None
    channel: str | None = None
    addresses: Sequence[str] = ()
    suppressed: bool | None = None
    from_us: int | None = None
    to_us: int | None = None


class Cursor(NamedTuple):
    """The key of the last row of a page."""

    last_bounced_us: int
    account_id: str
    channel: str
    address: str


def bounces_page(wanted: Filter, *, limit: int, order: Order = "newest", after: Cursor | None = None) -> Query:
    """Return the query of one page of `bounced_emails`, sorted by last bounce: up to `limit` + 1 rows.

    An address that bounces again meanwhile moves to the front; all others stay. If `wanted` has no condition on
    `suppressed`, the page lacks the columns `suppressed` and `recipient_id`, and has `recipient_of` instead.
    """
    conditions, parameters = _conditions(wanted)
    beyond, direction = _SORTED[order]
    if after is not None:
        conditions.append(
            f"({', '.join(_KEY)}) {beyond}"
            " (fromUnixTimestamp64Micro({after_us:Int64}, 'UTC'), {a:String}, {c:String}, {to:String})"
        )
        parameters |= {"after_us": after.last_bounced_us, "a": after.account_id, "c": after.channel}
        parameters["to"] = after.address
    by = ", ".join(f"{name}{direction}" for name in _KEY)
    within = "" if wanted.accounts is None else "account_id IN {accounts:Array(String)}"
    return Query(
        f"SELECT * FROM ({bounce_rows.rows(within, complete=is_complete(wanted))})"  # noqa: S608
        f" WHERE {' AND '.join(conditions) or '1'}"
        f" ORDER BY {by} LIMIT {{limit:UInt32}}",
        parameters | {"limit": limit + 1},
    )


def counted_bounces(
    accounts: Sequence[str] | None, channel: str, address: str, *, days: int, released_at: datetime | None
) -> Query:
    """Return the query of the number of messages whose bounce counts against an address: one row.

    Only permanent faults of the recipient count, within the last `days` and after the release (the rules:
    `projections.suppressions.evidence`).
    """
    conditions = [
        "channel = {channel:String} AND address = {address:String} AND link != 'withdrawn'",
        "(fault = 'recipient' OR (channel = 'sms' AND code IN {codes:Array(String)}))",
        "occurred_at >= now() - toIntervalDay({days:UInt32})",
        kept.of_message(),
    ]
    parameters: dict[str, Any] = {
        "channel": channel,
        "address": address,
        "days": days,
        "codes": sorted(RECIPIENT_CODES),
    }
    if accounts is not None:
        conditions.append("account_id IN {accounts:Array(String)}")
        parameters["accounts"] = list(accounts)
    if released_at is not None:
        conditions.append("occurred_at > {released:DateTime64(6, 'UTC')}")
        parameters["released"] = released_at
    return Query(
        "SELECT uniqExact(account_id, message_id) FROM bounces FINAL"  # noqa: S608 - our own text
        f" WHERE {' AND '.join(conditions)}",
        parameters,
    )


def is_complete(wanted: Filter) -> bool:
    """Whether the rows of a page have all columns."""
    return wanted.suppressed is not None


def recipients(accounts: Sequence[str], email_ids: Sequence[str]) -> Query:
    """Return the query of (account_id, message_id, recipient_id) of some messages."""
    of_keys, parameters = key_condition("f", accounts, email_ids)
    return Query(
        "SELECT account_id, message_id, tupleElement(f.request, 'recipient_id') AS recipient_id"  # noqa: S608
        f" FROM message_state AS f FINAL PREWHERE {of_keys}",
        parameters,
    )


def suppressed(accounts: Sequence[str], addresses: Sequence[str]) -> Query:
    """Return the query of (channel, address, scope) of addresses that are suppressed platform-wide or in an account."""
    return Query(
        "SELECT channel, address, scope FROM suppressions WHERE suppressed AND address IN {addresses:Array(String)}"
        " AND scope IN {scopes:Array(String)}",
        {"addresses": sorted({*addresses}), "scopes": sorted({*accounts, ALL})},
    )


def _conditions(wanted: Filter) -> tuple[list[str], dict[str, Any]]:
    conditions = {
        "accounts": "account_id IN {accounts:Array(String)}",
        "channel": "channel = {channel:String}",
        "suppressed": "suppressed = {suppressed:Bool}",
        "from_us": "last_bounced_at >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC')",
        "to_us": "last_bounced_at < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')",
        "addresses": "address IN {addresses:Array(String)}",
    }
    given = {name: getattr(wanted, name) for name in conditions}
    given = {name: value for name, value in given.items() if value is not None and (name != "addresses" or value)}
    return [conditions[name] for name in given], given
