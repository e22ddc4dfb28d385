"""The queries of Bounced Emails. Every one is bound to accounts; outside values are bound parameters, never text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from projections.messages.queries import Query, of_keys
from projections.store.views import bounce_rows
from schemas.suppressions import EVERYWHERE

__all__ = ["COLUMNS", "Cursor", "Filter", "Order", "bounces_page", "is_complete", "recipients", "suppressed"]

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
    """What is asked for. `accounts` None is every account: for a token that covers all, and only then.

    `addresses` are keys, of which a row has one; none of them asks for all. The times are those of the last bounce.
    """

    accounts: Sequence[str] | None
    channel: str | None = None
    addresses: Sequence[str] = ()
    suppressed: bool | None = None
    from_us: int | None = None
    to_us: int | None = None


class Cursor(NamedTuple):
    """Where a page ended: the key of its last row."""

    last_bounced_us: int
    account_id: str
    channel: str
    address: str


def bounces_page(wanted: Filter, *, limit: int, order: Order = "newest", after: Cursor | None = None) -> Query:
    """Return the query of one page of `bounced_emails`, by the last bounce; it gives up to `limit` + 1 rows.

    An address that bounces again meanwhile moves to the front; nothing else moves. Unless `wanted` asks for it,
    `suppressed` is not among the columns; then `recipient_of` is, and `recipient_id` is not.
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


def is_complete(wanted: Filter) -> bool:
    """Whether the rows of a page are of all columns."""
    return wanted.suppressed is not None


def recipients(accounts: Sequence[str], email_ids: Sequence[str]) -> Query:
    """Return the query of (account_id, message_id, recipient_id) of some messages."""
    these, parameters = of_keys("f", accounts, email_ids)
    return Query(
        "SELECT account_id, message_id, tupleElement(f.request, 'recipient_id') AS recipient_id"  # noqa: S608
        f" FROM message_state AS f FINAL PREWHERE {these}",
        parameters,
    )


def suppressed(accounts: Sequence[str], addresses: Sequence[str]) -> Query:
    """Return the query of (channel, address, scope) where some addresses are suppressed for all, or an account."""
    return Query(
        "SELECT channel, address, scope FROM suppressions WHERE suppressed AND address IN {addresses:Array(String)}"
        " AND scope IN {scopes:Array(String)}",
        {"addresses": sorted({*addresses}), "scopes": sorted({*accounts, EVERYWHERE})},
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
