"""Read what the providers have told us lately: when each was last heard, how many events, and how late they came.

In:  a store to read from; the accounts, or None for all. Out: `ProviderFeedback`, and a number of orphans.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from projections.store.ports import Reader
from schemas.decoding.times import rfc3339

__all__ = ["DAYS", "ProviderFeedback", "count_orphans", "read_provider_feedback"]

DAYS: Final = 7
"""Only events of messages with a Date Sent within so many days are read."""


class ProviderFeedback(NamedTuple):
    """One provider: the last event, and the events of the last 24 hours."""

    provider: str
    last_received_at: str
    """As RFC 3339."""
    events: int
    p50: float | None
    """Seconds from an event until it arrived here: half of the events took no longer, …"""
    p95: float | None
    """… and 95 % of them. None without events."""


def read_provider_feedback(store: Reader, accounts: Sequence[str] | None) -> Sequence[ProviderFeedback]:
    """Return the providers that were heard of within DAYS, by name."""
    within = "" if accounts is None else " AND account_id IN {accounts:Array(String)}"
    parameters: dict[str, Any] = {"days": DAYS} | ({} if accounts is None else {"accounts": list(accounts)})
    recent = "received_at >= now() - INTERVAL 1 DAY"
    seconds = "greatest(0, dateDiff('millisecond', occurred_at, received_at)) / 1000"
    found = store.tuples(
        f"SELECT provider, max(toUnixTimestamp64Micro(received_at)), countIf({recent}),"  # noqa: S608 - our own names
        f" quantileIf(0.5)({seconds}, {recent}), quantileIf(0.95)({seconds}, {recent})"
        " FROM events FINAL WHERE link != 'withdrawn' AND sent_at >= now() - toIntervalDay({days:UInt32})"
        f" AND sent_at < now() + INTERVAL 1 DAY AND provider != ''{within} GROUP BY provider ORDER BY provider",
        parameters,
    )
    return [
        ProviderFeedback(name, rfc3339(last_us), events, *((p50, p95) if events else (None, None)))
        for name, last_us, events, p50, p95 in found
    ]


def count_orphans(store: Reader) -> int:
    """Return how many events that came within the last 24 hours belong to no message of ours, as far as we know."""
    sql = "SELECT count() FROM orphan_events WHERE received_at >= now() - INTERVAL 1 DAY"
    return int(store.tuples(sql)[0][0])
