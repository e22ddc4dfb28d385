"""The queries of accounts. Values from outside are bound parameters, never text.

The list of accounts is derived from messages. The account `*` of platform-wide rows is not in it.
"""

from collections.abc import Sequence

from projections.messages.queries import Query
from projections.store.views import kept
from schemas.decoding.ids import ALL

__all__ = ["account_exists", "account_ids", "accounts_like", "accounts_named", "policy", "preference"]

_COUNTED = "SELECT account_id, count() AS messages, max(date_sent) AS last_sent_at FROM messages WHERE "
_ORDERED = " GROUP BY account_id ORDER BY account_id"


def accounts_like(text: str, *, limit: int, after: str = "") -> Query:
    """Return the query of accounts with `text` in their id (case-insensitive): up to `limit` + 1 rows after `after`."""
    return Query(
        f"{_COUNTED} account_id > {{after:String}} AND account_id != {{no_account:String}}"
        f" AND positionCaseInsensitive(account_id, {{text:String}}) > 0{_ORDERED} LIMIT {{limit:UInt32}}",
        {"after": after, "no_account": ALL, "text": text, "limit": limit + 1},
    )


def account_ids(text: str, *, limit: int) -> Query:
    """Return the query of the ids of accounts with `text` in them (case-insensitive), up to `limit`, by id.

    It counts no messages, so it is much faster than `accounts_like`.
    """
    return Query(
        f"SELECT DISTINCT account_id FROM message_state WHERE sent_at >= {kept.SINCE}"  # noqa: S608 - our own text
        " AND account_id != {no_account:String}"
        " AND positionCaseInsensitive(account_id, {text:String}) > 0 ORDER BY account_id LIMIT {limit:UInt32}",
        {"no_account": ALL, "text": text, "limit": limit},
    )


def accounts_named(accounts: Sequence[str]) -> Query:
    """Return the query of these accounts; an account without messages has no row."""
    return Query(f"{_COUNTED} account_id IN {{accounts:Array(String)}}{_ORDERED}", {"accounts": list(accounts)})


def policy(account_id: str) -> Query:
    """Return the query of the policy in force: at most one row, with its JSON text in the column `record`."""
    return Query(
        "SELECT tupleElement(max(stated), 'record') AS record FROM policies"
        " WHERE account_id = {account:String} GROUP BY account_id",
        {"account": account_id},
    )


def preference(account_id: str, recipient_kind: str, recipient_id: str) -> Query:
    """Return the query of a recipient's preference in force: at most one row, its JSON text in the column `record`."""
    return Query(
        "SELECT tupleElement(max(stated), 'record') AS record FROM preferences"
        " WHERE account_id = {account:String} AND recipient_kind = {kind:String} AND recipient_id = {id:String}"
        " GROUP BY account_id, recipient_kind, recipient_id",
        {"account": account_id, "kind": recipient_kind, "id": recipient_id},
    )


def account_exists(account_id: str) -> Query:
    """Return the query of whether an account has a message or a policy: one row for each of the two."""
    return Query(
        "SELECT 1 FROM messages WHERE account_id = {account:String} LIMIT 1"
        " UNION ALL SELECT 1 FROM policies WHERE account_id = {account:String} LIMIT 1",
        {"account": account_id},
    )
