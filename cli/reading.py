"""Reading rows for the commands."""

from typing import Any

from projections.messages import queries
from projections.store import Store
from schemas.errors import RequestError
from schemas.identity import message_id_or_blank

__all__ = ["message_rows"]

_BRIEF = ("account_id", "email_id", "date_sent", "type", "to_address", "status", "sub_status", "reason")


def message_rows(store: Store, email_id: str | None, account: str | None) -> list[dict[str, Any]]:
    """Return the row of one message, or the ten newest rows in brief. Raises RequestError where two share the id."""
    accounts = None if account is None else [account]
    if email_id is None:
        page = queries.messages_page(queries.Filter(accounts), limit=9)
        return [{name: row[name] for name in _BRIEF} for row in store.rows(page.sql, page.parameters)]
    known = message_id_or_blank(email_id)
    if not known:
        raise RequestError(f"{email_id[:60]!r} is no Email ID", "EMAIL_ID", "Give a UUID of version 7")
    query = queries.messages_with_id(accounts, known)
    rows = store.rows(query.sql, query.parameters)
    if len(rows) > 1:
        names = ", ".join(row["account_id"] for row in rows)
        raise RequestError("Several accounts share this id", f"accounts {names}", "Name one with --account")
    return rows
