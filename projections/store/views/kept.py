"""The SQL of what is still shown under `SENDLEDGER_RETENTION_DAYS`: docs/adr/0022-retention-cluster-roles.md.

ClickHouse deletes expired rows table by table, when it merges parts. So every query that shows messages or their events
also has a condition on Date Sent, which hides all rows of a message at the same moment, before any of them is deleted.
The view `kept` of each generation has the one value that they compare with; `projections/store/retention.py` sets it.
"""

from typing import Final

__all__ = ["SINCE", "of_message"]

SINCE: Final = "(SELECT since FROM kept)"
"""The Date Sent from which messages are shown, a DateTime64(3, 'UTC'). ClickHouse evaluates it once for a query."""


def of_message(message_id: str = "message_id") -> str:
    """Return the condition that the message with this id (a column) is shown, for tables that have no Date Sent."""
    return f"(UUIDv7ToDateTime({message_id}, 'UTC') >= {SINCE})"
