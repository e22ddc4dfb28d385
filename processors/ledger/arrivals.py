"""Count the events of one group by provider and type, and measure how late they came.

In:  the events of a group, in any order. Duplicates count, since they arrived.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from statistics import median_low
from typing import Final

from schemas.decoding.times import SECOND_US
from schemas.events import Event, EventType
from schemas.providers.delivery_faults import FAILURE_TYPES
from schemas.providers.twilio import ERROR_CODES
from schemas.telemetry import (
    ARRIVAL_DELAY_SECONDS,
    DELIVERY_FAILURES_TOTAL,
    EVENT_RECEIVED_TIMESTAMP_SECONDS,
    EVENTS_TOTAL,
    UNKNOWN_TOTAL,
    Telemetry,
)

__all__ = ["count_arrivals"]

_FINAL: Final = FAILURE_TYPES - {EventType.DEFERRED}


def count_arrivals(telemetry: Telemetry, events: Iterable[Event]) -> None:
    """Set the metrics of arriving events."""
    groups: defaultdict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    failures: Counter[tuple[str, str, str]] = Counter()
    for event in events:
        groups[event.provider, event.type].append((event.received_us, event.occurred_us))
        if event.fault and event.type in _FINAL:
            failures[event.provider, event.fault, _bounded_code(event)] += 1
    for (provider, fault, code), count in failures.items():
        telemetry.counter(DELIVERY_FAILURES_TOTAL, provider=provider, fault=fault, code=code).inc(count)
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


def _bounded_code(event: Event) -> str:
    """Return the error code of a failure as the value of a label: one of some 60, whatever the provider writes."""
    if event.enhanced_code:
        return event.enhanced_code.rpartition(".")[0]
    return event.code if event.code in ERROR_CODES else "other"
