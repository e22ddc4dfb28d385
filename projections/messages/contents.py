"""The query of a message's content. Values from outside are bound parameters, never text."""

from projections.messages.queries import Query

__all__ = ["content"]


def content(account_id: str, email_id: str) -> Query:
    """Return the query of a message's `html` and `text`: one row, or none if it was never received or has expired.

    ClickHouse deletes an expired content when it merges parts, which may be days later. So the caller must not ask for
    contents that are older than the retention.
    """
    return Query(
        "SELECT html, text FROM contents FINAL WHERE account_id = {account:String}"
        " AND sent_at = UUIDv7ToDateTime({email_id:UUID}, 'UTC') AND message_id = {email_id:UUID}",
        {"account": account_id, "email_id": email_id},
    )
