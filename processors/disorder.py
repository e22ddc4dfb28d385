"""Copies and disorder in what providers tell, counted as far as one group shows them.

In:  the events of a group, in the order in which they were read.
Out: two counts for each provider. Both are the least that there was: nothing is remembered between groups, and where
two records of one message stand in different partitions, the order in which they are read is nobody's promise.

No row depends on either. They say how much of the ledger's work is repetition, and how well a provider keeps order.
"""

from collections import Counter
from collections.abc import Iterable
from operator import attrgetter

from schemas.events import Event
from schemas.telemetry import Telemetry

__all__ = ["count_disorder", "disorder"]

_SEEN = attrgetter("provider", "event_id", "message_id", "provider_message_id", "occurred_us")


def disorder(events: Iterable[Event]) -> tuple[Counter[str], Counter[str]]:
    """Return by provider how many events are copies of one before them, and how many are older than one before them.

    A copy is not counted a second time as out of order. Events are compared within one message: ours if they name it,
    else the provider's; one that names neither has no order.
    """
    copies: Counter[str] = Counter()
    older: Counter[str] = Counter()
    seen: set[str] = set()
    latest: dict[str, int] = {}
    for provider, event_id, message_id, provider_message_id, occurred_us in map(_SEEN, events):
        if event_id in seen:
            copies[provider] += 1
            continue
        seen.add(event_id)
        message = message_id or provider_message_id
        if occurred_us >= latest.get(message, occurred_us):
            latest[message] = occurred_us
        elif message:
            older[provider] += 1
    return copies, older


def count_disorder(telemetry: Telemetry, events: Iterable[Event]) -> None:
    """Raise the two counters by what a group shows."""
    copies, older = disorder(events)
    for provider, count in copies.items():
        telemetry.counter("duplicates_total", provider).inc(count)
    for provider, count in older.items():
        telemetry.counter("out_of_order_total", provider).inc(count)
