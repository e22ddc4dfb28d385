"""A group of events and facts as the rows that the tables join.

In:  the events, requests, decisions and dispatches of one group, in any order, copies included.
Out: Arrow tables for `events` (or `orphans`), a row for each event, and `message_state`, a row for each message that
     events name and for each fact.

Each state row states only the axes that it knows of; all others hold their identity (migrations/0001), so the merges
of `message_state` *are* the fold. Nothing is looked up and nothing remembered: any split into groups gives the same.
"""

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any, Final

import pyarrow as pa

from projections.messages.arrow_types import (
    HASH,
    INVERSE,
    KNOWN_AS,
    STATE,
    Columns,
    complements,
    hashes_of,
    identities,
    singles,
    struct,
)
from projections.messages.group_fold import fold_events
from schemas.addresses import address_key
from schemas.events import Event
from schemas.facts import Decision, Dispatch, Request

__all__ = ["events_table", "state_table"]

_NO_MESSAGE: Final = "00000000-0000-0000-0000-000000000000"
"""An orphan's message_id: a UUID column has no blank."""

_TIME: Final = pa.timestamp("us", tz="UTC")
_EVENT_TYPES: Final = {
    "event_id": HASH,
    "occurred_us": _TIME,
    "received_us": _TIME,
    "machine": pa.bool_(),
    "partition": pa.uint32(),
    "offset": pa.uint64(),
    "position": pa.uint32(),
}
_EVENT_NAMES: Final = {"occurred_us": "occurred_at", "received_us": "received_at"}


def events_table(events: Sequence[Event]) -> Any:
    """Return the rows of the table `events` or `orphans`: a `pyarrow.Table` of one row an event."""
    columns: Columns = dict(zip(Event._fields, zip(*events, strict=True) if events else repeat([]), strict=False))
    columns["event_id"] = hashes_of(columns["event_id"])
    columns["message_id"] = [message_id or _NO_MESSAGE for message_id in columns["message_id"]]
    return pa.table(
        {
            _EVENT_NAMES.get(name, name): pa.array(values, _EVENT_TYPES.get(name, pa.string()))
            for name, values in columns.items()
        }
    )


def state_table(
    events: Any,
    requests: Sequence[Request] = (),
    decisions: Sequence[Decision] = (),
    dispatches: Sequence[Dispatch] = (),
) -> Any:
    """Return the rows of `message_state`: one for each message that `events` name, and one for each fact.

    `events` are rows of `events_table`, of providers' events that name a message.
    """
    parts = [fold_events(events), _of_requests(requests), _of_decisions(decisions), _of_dispatches(dispatches)]
    sizes = [len(part["account_id"]) if part else 0 for part in parts]
    return pa.table(
        {
            name: pa.concat_arrays(
                [
                    part[name] if name in part else identities(kind, size)
                    for part, size in zip(parts, sizes, strict=True)
                ]
            )
            for name, kind in STATE.items()
        }
    )


def _of_requests(requests: Sequence[Request]) -> Columns:
    if not requests:
        return {}
    hashes = hashes_of([r.content_hash for r in requests])
    return {
        **_keys(requests),
        "request": _attributes(requests, 1, [r.requested_us for r in requests], hashes),
        "contents": singles(pa.array(hashes, HASH)),
    }


def _of_decisions(decisions: Sequence[Decision]) -> Columns:
    if not decisions:
        return {}
    hashes = hashes_of([d.decision_hash for d in decisions])
    times = [d.decided_us for d in decisions]
    requests = [d.request for d in decisions]
    return {
        **_keys(decisions),
        "decision": struct(
            STATE["decision"],
            [1] * len(decisions),
            [INVERSE - at for at in times],
            complements(hashes),
            [d.outcome for d in decisions],
            [d.reason for d in decisions],
            [d.detail for d in decisions],
        ),
        "request": _attributes(requests, 2, times, hashes),
        "contents": singles(pa.array(hashes_of([r.content_hash for r in requests]), HASH)),
    }


def _of_dispatches(dispatches: Sequence[Dispatch]) -> Columns:
    if not dispatches:
        return {}
    return {
        **_keys(dispatches),
        "dispatch": struct(
            KNOWN_AS,
            [1] * len(dispatches),
            [INVERSE - d.dispatched_us for d in dispatches],
            complements(hashes_of([d.dispatch_hash for d in dispatches])),
            [d.provider for d in dispatches],
            [d.provider_message_id for d in dispatches],
        ),
    }


def _attributes(requests: Sequence[Request], present: int, times: Iterable[int], hashes: Sequence[bytes]) -> Any:
    return struct(
        STATE["request"],
        [present] * len(requests),
        [INVERSE - at for at in times],
        complements(hashes),
        [r.channel for r in requests],
        [r.template_id for r in requests],
        [r.template_name for r in requests],
        [r.recipient_kind for r in requests],
        [r.recipient_id for r in requests],
        [r.to for r in requests],
        [r.to_key for r in requests],
        [r.cc for r in requests],
        [[address_key(cc, r.channel) for cc in r.cc] for r in requests],
        [r.subject for r in requests],
        [r.appointment_id for r in requests],
    )


def _keys(rows: Sequence[Event | Request | Decision | Dispatch]) -> Columns:
    return {
        "account_id": pa.array([r.account_id for r in rows], pa.string()),
        "message_id": pa.array([r.message_id for r in rows], pa.string()),
    }
