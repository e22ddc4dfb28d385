"""The query of what was sent. Outside values are bound parameters, never text."""

from projections.messages.queries import Query

__all__ = ["content"]


def content(account_id: str, email_id: str) -> Query:
    """Return the query of a message's content, as `html` and `text`: one row, none where it was never told or expired.

    The table forgets a content when its parts are merged, which may be days after it expired: who asks knows the
    retention, and does not ask for what is older.
    """
    return Query(
        "SELECT html, text FROM contents FINAL WHERE account_id = {account:String}"
        " AND sent_at = UUIDv7ToDateTime({email_id:UUID}, 'UTC') AND message_id = {email_id:UUID}",
        {"account": account_id, "email_id": email_id},
    )
