"""Rows of `arrivals` for tests: steady traffic.

It goes on for an hour after the test's start, so that each window is full however long the test takes.
"""

import pyarrow as pa

from projections.store import Store
from schemas.decoding.times import SECOND_US

__all__ = ["DELAY_SECONDS", "write_delivered_silence", "write_traffic"]

DELAY_SECONDS = 2
_US = pa.timestamp("us", "UTC")
_GOES_ON = -60


def write_traffic(
    store: Store,
    now_us: int,
    provider: str,
    kind: str,
    *,
    until: int = _GOES_ON,
    each_minute: int = 10,
    first_offset: int = 0,
) -> None:
    """Write events of 26 hours before `now_us`, each of a message of its own, the last of them `until` minutes ago."""
    step_us = 60 * SECOND_US // each_minute
    last_us = now_us - until * 60 * SECOND_US - SECOND_US
    received = list(range(last_us, now_us - 26 * 3600 * SECOND_US, -step_us))
    numbers = list(range(first_offset, first_offset + len(received)))
    columns = {
        "received_at": pa.array(received, _US),
        "provider": [provider] * len(received),
        "type": [kind] * len(received),
        "event": pa.array(numbers, pa.uint64()),
        "message": pa.array(numbers, pa.uint64()),
        "occurred_at": pa.array([at - DELAY_SECONDS * SECOND_US for at in received], _US),
        "partition": pa.array([0] * len(received), pa.uint32()),
        "offset": pa.array(numbers, pa.uint64()),
        "position": pa.array([0] * len(received), pa.uint32()),
        "has_message": pa.array([1] * len(received), pa.uint8()),
    }
    store.insert("arrivals", pa.table(columns))


def write_delivered_silence(store: Store, now_us: int, minutes: int = 12) -> None:
    """SendGrid's `processed` goes on without `delivered`; Twilio is as usual."""
    for number, (provider, kind, until) in enumerate(
        [
            ("sendgrid", "dispatched", _GOES_ON),
            ("sendgrid", "processed", _GOES_ON),
            ("sendgrid", "delivered", minutes),
            ("twilio", "dispatched", _GOES_ON),
            ("twilio", "sent", _GOES_ON),
        ]
    ):
        write_traffic(store, now_us, provider, kind, until=until, first_offset=number * 1_000_000)
