"""Bounces of a group as rows of the table `bounces`, by the address that they are about.

In:  providers' events that name a message. Out: an Arrow table of those that bounced, were blocked or failed.
"""

from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa

from projections.messages.arrow_types import hash_array
from projections.messages.law import BOUNCES
from projections.messages.outcomes import sub_status
from schemas.events import Event

__all__ = ["bounces_table"]

_TIME: Final = pa.timestamp("us", tz="UTC")
_TEXTS: Final = (
    *("account_id", "message_id", "address", "type", "code", "enhanced_code", "reason", "classification", "fault"),
)
_NUMBERS: Final = {"partition": pa.uint32(), "offset": pa.uint64(), "position": pa.uint32()}


def bounces_table(events: Sequence[Event], link: str = "") -> Any:
    """Return the rows of the bounces among `events`; there may be none. `link`: as in the table `events`."""
    bounces = [event for event in events if event.type in BOUNCES]
    return pa.table(
        {
            "event_id": hash_array(bytes.fromhex("".join(event.event_id for event in bounces))),
            "channel": pa.array(["sms" if event.provider == "twilio" else "email" for event in bounces], pa.string()),
            "occurred_at": pa.array([event.occurred_us for event in bounces], _TIME),
            "received_at": pa.array([event.received_us for event in bounces], _TIME),
            "sub_status": pa.array([sub_status(event) for event in bounces], pa.string()),
            "link": pa.array([link] * len(bounces), pa.string()),
            **{name: pa.array([getattr(event, name) for event in bounces], pa.string()) for name in _TEXTS},
            **{name: pa.array([getattr(event, name) for event in bounces], kind) for name, kind in _NUMBERS.items()},
        }
    )
