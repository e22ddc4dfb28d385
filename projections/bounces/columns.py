"""Convert the bounces of a batch to rows of the table `bounces`, which is keyed by address.

In:  providers' events that belong to a message. Out: an Arrow table of the bounced, blocked and failed ones.
"""

from collections.abc import Sequence
from typing import Final

import pyarrow as pa

from projections.messages.arrow_types import hash_array
from projections.messages.outcomes import sub_status
from projections.messages.reference_fold import BOUNCES
from schemas.events import Event

__all__ = ["bounces_table"]

_TIME: Final = pa.timestamp("us", tz="UTC")
_TEXTS: Final = (
    *("account_id", "message_id", "address", "type", "code", "enhanced_code", "reason", "classification", "fault"),
)
_NUMBERS: Final = {"partition": pa.uint32(), "offset": pa.uint64(), "position": pa.uint32()}


def bounces_table(events: Sequence[Event], link: str = "") -> pa.Table:
    """Return the rows of the bounces in `events`, possibly none. `link`: as in the table `events`."""
    bounces = [event for event in events if event.type in BOUNCES]
    return pa.table(
        {
            "event_id": hash_array(bytes.fromhex("".join(event.event_id for event in bounces))),
            "channel": pa.array([event.channel for event in bounces], pa.string()),
            "occurred_at": pa.array([event.occurred_us for event in bounces], _TIME),
            "received_at": pa.array([event.received_us for event in bounces], _TIME),
            "sub_status": pa.array([sub_status(event) for event in bounces], pa.string()),
            "link": pa.array([link] * len(bounces), pa.string()),
            **{name: pa.array([getattr(event, name) for event in bounces], pa.string()) for name in _TEXTS},
            **{name: pa.array([getattr(event, name) for event in bounces], kind) for name, kind in _NUMBERS.items()},
        }
    )
