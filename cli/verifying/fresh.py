"""The live rows of messages beside a fresh fold of the event log, which shares no code with them."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from cli.verifying.difference import Difference
from projections.messages.fresh_fold import differences
from projections.store import Store

__all__ = ["compare_with_fresh_fold", "events_told_twice"]

MESSAGES_OF_A_PART: Final = 200_000
"""So many messages are folded by one question: some hundred megabytes at the server."""


def compare_with_fresh_fold(store: Store, *, as_of_us: int | None = None) -> Iterator[Difference]:
    """Yield each value of a message that a fresh fold of its events does not give. Raises StoreError.

    With `as_of_us` messages are left out that have had an event since: a group's events and rows are written side by
    side, so that one may be there before the other.
    """
    messages = int(store.tuples("SELECT uniq(account_id, message_id) FROM events")[0][0])
    parts = 1 + messages // MESSAGES_OF_A_PART
    for part in range(parts):
        query = differences(part, parts)
        rows = store.tuples(query.sql, query.parameters)
        moving = set() if as_of_us is None else _with_events_since(store, rows, as_of_us)
        for account, email_id, column, live, fresh in rows:
            if (account, email_id) not in moving:
                yield Difference("fresh fold", f"{account}/{email_id}", column, fresh, live)


def events_told_twice(store: Store) -> Iterator[Difference]:
    """Yield each event that is in `orphan_events` though a message has it. Raises StoreError."""
    rows = store.tuples(
        "SELECT account_id, toString(email_id), event_id FROM message_events"
        " WHERE account_id != '*' AND event_id IN (SELECT event_id FROM orphan_events) ORDER BY ALL LIMIT 1000"
    )
    for account, email_id, event_id in rows:
        yield Difference("told twice", f"{account}/{email_id}", event_id, "no orphan", "in orphan_events, too")


def _with_events_since(store: Store, rows: Sequence[Sequence[Any]], us: int) -> set[tuple[str, str]]:
    """Return those messages (account and id) of the rows that have had an event since `us` (Unix microseconds)."""
    if not rows:
        return set()
    found = store.tuples(
        "SELECT DISTINCT account_id, toString(message_id) FROM events"
        " WHERE account_id IN {accounts:Array(String)} AND message_id IN {ids:Array(UUID)}"
        " AND received_at >= fromUnixTimestamp64Micro({us:Int64})",
        {"accounts": sorted({row[0] for row in rows}), "ids": sorted({row[1] for row in rows}), "us": us},
    )
    return {(account, email_id) for account, email_id in found}
