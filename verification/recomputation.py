"""Compare the live rows of messages with a recomputation from the event log, which shares no code with them."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from projections.messages.recomputation import differences
from projections.store import Store
from verification.difference import Difference

__all__ = ["compare_with_recomputation", "duplicate_events"]

MESSAGES_OF_A_PART: Final = 200_000
"""How many messages one query recomputes; the server needs some hundred megabytes for it."""


def compare_with_recomputation(store: Store, *, as_of_us: int | None = None) -> Iterator[Difference]:
    """Yield each value of a message that differs from the recomputed one. Raises StoreError.

    With `as_of_us`, messages with a later event are left out: the events and rows of a batch are written separately, so
    one may be visible before the other.
    """
    messages = int(store.tuples("SELECT uniq(account_id, message_id) FROM events")[0][0])
    parts = 1 + messages // MESSAGES_OF_A_PART
    for part in range(parts):
        query = differences(part, parts)
        rows = store.tuples(query.sql, query.parameters)
        changing = set() if as_of_us is None else _with_events_since(store, rows, as_of_us)
        for account, email_id, column, live, recomputed in rows:
            if (account, email_id) not in changing:
                yield Difference("recomputation", f"{account}/{email_id}", column, recomputed, live)


def duplicate_events(store: Store) -> Iterator[Difference]:
    """Yield each event that is in `orphan_events` although it belongs to a message. Raises StoreError."""
    rows = store.tuples(
        "SELECT account_id, toString(email_id), event_id FROM message_events"
        " WHERE account_id != '*' AND event_id IN (SELECT event_id FROM orphan_events) ORDER BY ALL LIMIT 1000"
    )
    for account, email_id, event_id in rows:
        yield Difference("duplicate", f"{account}/{email_id}", event_id, "no orphan", "in orphan_events, too")


def _with_events_since(store: Store, rows: Sequence[Sequence[Any]], us: int) -> set[tuple[str, str]]:
    """Return the messages (account and id) in `rows` with an event after `us` (Unix microseconds)."""
    if not rows:
        return set()
    found = store.tuples(
        "SELECT DISTINCT account_id, toString(message_id) FROM events"
        " WHERE account_id IN {accounts:Array(String)} AND message_id IN {ids:Array(UUID)}"
        " AND received_at >= fromUnixTimestamp64Micro({us:Int64})",
        {"accounts": sorted({row[0] for row in rows}), "ids": sorted({row[1] for row in rows}), "us": us},
    )
    return {(account, email_id) for account, email_id in found}
