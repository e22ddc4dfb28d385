"""The queries of accounts. Outside values are bound parameters, never text.

An account is listed by its messages. The log rows of no account (`*`) are not one.
"""

from collections.abc import Sequence

from projections.messages.filters import EVERY
from projections.messages.queries import Query

__all__ = ["accounts_like", "accounts_named", "policy", "preference", "traces_of"]

_COUNTED = "SELECT account_id, count() AS messages, max(date_sent) AS last_sent_at FROM messages WHERE "
_ORDERED = " GROUP BY account_id ORDER BY account_id"


def accounts_like(text: str, *, limit: int, after: str = "") -> Query:
    """Return the query of all accounts with `text` in their id, in any case: up to `limit` + 1 rows after `after`."""
    return Query(
        f"{_COUNTED} account_id > {{after:String}} AND account_id != {{no_account:String}}"
        f" AND positionCaseInsensitive(account_id, {{text:String}}) > 0{_ORDERED} LIMIT {{limit:UInt32}}",
        {"after": after, "no_account": EVERY, "text": text, "limit": limit + 1},
    )


def accounts_named(accounts: Sequence[str]) -> Query:
    """Return the query of these accounts; one without messages gives no row."""
    return Query(f"{_COUNTED} account_id IN {{accounts:Array(String)}}{_ORDERED}", {"accounts": list(accounts)})


def policy(account_id: str) -> Query:
    """Return the query of the policy in force: one column `record`, its JSON text; at most one row."""
    return Query(
        "SELECT tupleElement(max(stated), 'record') AS record FROM policies"
        " WHERE account_id = {account:String} GROUP BY account_id",
        {"account": account_id},
    )


def preference(account_id: str, recipient_kind: str, recipient_id: str) -> Query:
    """Return the query of a recipient's preference in force: one column `record`, its JSON text; at most one row."""
    return Query(
        "SELECT tupleElement(max(stated), 'record') AS record FROM preferences"
        " WHERE account_id = {account:String} AND recipient_kind = {kind:String} AND recipient_id = {id:String}"
        " GROUP BY account_id, recipient_kind, recipient_id",
        {"account": account_id, "kind": recipient_kind, "id": recipient_id},
    )


def traces_of(account_id: str) -> Query:
    """Return the query of whether an account has any message or policy: a row for each of the two."""
    return Query(
        "SELECT 1 FROM messages WHERE account_id = {account:String} LIMIT 1"
        " UNION ALL SELECT 1 FROM policies WHERE account_id = {account:String} LIMIT 1",
        {"account": account_id},
    )
