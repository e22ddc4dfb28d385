"""The queries of what was sent: the content of a message, and its erasure. Outside values are bound parameters.

An erased content has an empty row, received in 1970 (columns.py): of several rows of a message the one received first
stays, so it hides every other, and a replay can't bring them back.
"""

from typing import Any, Final

from projections.messages.filters import Filter, conditions
from projections.messages.queries import Query, key_condition

__all__ = ["content", "delete_erased", "to_erase", "with_stored_content"]

_NOT_ERASED: Final = "received_at > toDateTime64(0, 6, 'UTC')"
_OF: Final = "account_id = {account_id:String} AND message_id IN {email_ids:Array(UUID)}"


def content(account_id: str, email_id: str) -> Query:
    """Return the query of a message's `html`, `text` and `erased`: one row, or none if none is stored.

    ClickHouse deletes an expired content when it merges parts, which may be days later. So the caller must not ask for
    contents that are older than the retention.
    """
    where, parameters = key_condition("t", [account_id], [email_id])
    return Query(
        f"SELECT html, text, NOT ({_NOT_ERASED}) AS erased FROM contents AS t FINAL WHERE {where}",  # noqa: S608
        parameters,
    )


def to_erase(account_id: str, wanted: Filter) -> Query:
    """Return the query of the messages that a filter has: the id, and whether its erasure is stored."""
    found, parameters = conditions(wanted)
    return Query(
        "SELECT toString(email_id) AS id, (account_id, email_id) IN (SELECT account_id, email_id"  # noqa: S608
        " FROM content_erasures WHERE account_id = {account_id:String}) AS erased"
        f" FROM messages WHERE account_id = {{account_id:String}} AND ({' AND '.join(found)}) ORDER BY id",
        {"account_id": account_id, **parameters},
    )


def with_stored_content(account_id: str, email_ids: list[str]) -> Query:
    """Return the query of those of the messages that have content in the tables, also if an erasure hides it."""
    return Query(
        f"SELECT DISTINCT toString(message_id) FROM contents WHERE {_OF} AND {_NOT_ERASED}",  # noqa: S608
        _bound(account_id, email_ids),
    )


def delete_erased(account_id: str, email_ids: list[str]) -> Query:
    """Return the statement that removes the content of these messages from the parts of the table.

    It ends when the parts are rewritten. The empty row of an erasure stays.
    """
    return Query(
        f"ALTER TABLE contents DELETE WHERE {_OF} AND {_NOT_ERASED} SETTINGS mutations_sync = 2",
        _bound(account_id, email_ids),
    )


def _bound(account_id: str, email_ids: list[str]) -> dict[str, Any]:
    return {"account_id": account_id, "email_ids": email_ids}
