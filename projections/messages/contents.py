"""The query of a message's content. Values from outside are bound parameters, never text."""

from projections.messages.queries import Query, key_condition

__all__ = ["content"]


def content(account_id: str, email_id: str) -> Query:
    """Return the query of a message's `html` and `text`: one row, or none if it was never received or has expired.

    ClickHouse deletes an expired content when it merges parts, which may be days later. So the caller must not ask for
    contents that are older than the retention.
    """
    where, parameters = key_condition("t", [account_id], [email_id])
    return Query(f"SELECT html, text FROM contents AS t FINAL WHERE {where}", parameters)  # noqa: S608
