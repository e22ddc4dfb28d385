"""Count the events of one group by provider and type, and measure how late they came.

In:  the events of a group, in any order. Duplicates count, since they arrived.
"""

from collections import defaultdict
from collections.abc import Iterable
from statistics import median_low

from schemas.decoding.times import SECOND_US
from schemas.events import Event, EventType
from schemas.telemetry import (
    ARRIVAL_DELAY_SECONDS,
    EVENT_RECEIVED_TIMESTAMP_SECONDS,
    EVENTS_TOTAL,
    UNKNOWN_TOTAL,
    Telemetry,
)

__all__ = ["count_arrivals"]


def count_arrivals(telemetry: Telemetry, events: Iterable[Event]) -> None:
    """Set the metrics of arriving events."""
    groups: defaultdict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for event in events:
        groups[event.provider, event.type].append((event.received_us, event.occurred_us))
    for (provider, kind), times in groups.items():
        telemetry.counter(EVENTS_TOTAL, provider=provider, type=kind).inc(len(times))
        if kind == EventType.UNKNOWN:
            telemetry.counter(UNKNOWN_TOTAL, provider=provider).inc(len(times))
        newest = telemetry.gauge(EVENT_RECEIVED_TIMESTAMP_SECONDS, provider=provider, type=kind)
        newest.set(max(times)[0] / SECOND_US)
        # An event without a time of its own has that of its arrival. One observation for each group: one for each event
        # would cost more than decoding it.
        if delays := [received - occurred for received, occurred in times if received != occurred]:
            delay = telemetry.histogram(ARRIVAL_DELAY_SECONDS, provider=provider, type=kind)
            delay.observe(max(0, median_low(delays)) / SECOND_US)
