"""The live rows of messages beside a fresh fold of the event log, which shares no code with them."""

from collections.abc import Iterator
from typing import Final

from cli.verifying.difference import Difference
from projections.messages.fresh_fold import differences
from projections.store import Store

__all__ = ["compare_with_fresh_fold", "events_told_twice"]

MESSAGES_OF_A_PART: Final = 200_000
"""So many messages are folded by one question: some hundred megabytes at the server."""


def compare_with_fresh_fold(store: Store) -> Iterator[Difference]:
    """Yield each value of a message that a fresh fold of its events does not give. Raises StoreError."""
    messages = int(store.tuples("SELECT uniq(account_id, message_id) FROM events")[0][0])
    parts = 1 + messages // MESSAGES_OF_A_PART
    for part in range(parts):
        query = differences(part, parts)
        for account, email_id, column, live, fresh in store.tuples(query.sql, query.parameters):
            yield Difference("fresh fold", f"{account}/{email_id}", column, fresh, live)


def events_told_twice(store: Store) -> Iterator[Difference]:
    """Yield each event that is in `orphan_events` though a message has it. Raises StoreError."""
    rows = store.tuples(
        "SELECT account_id, toString(email_id), event_id FROM message_events"
        " WHERE account_id != '*' AND event_id IN (SELECT event_id FROM orphan_events) LIMIT 1000"
    )
    for account, email_id, event_id in rows:
        yield Difference("told twice", f"{account}/{email_id}", event_id, "no orphan", "in orphan_events, too")
