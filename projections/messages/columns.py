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
    hash_array,
    hashes_of,
    identities,
    singles,
    struct,
)
from projections.messages.group_fold import fold_events
from schemas.addresses import address_key
from schemas.events import Event
from schemas.facts import Content, Decision, Dispatch, Request

__all__ = [
    "NO_MESSAGE",
    "contents_table",
    "dispatches_table",
    "events_table",
    "matched_state_table",
    "state_table",
    "strangers_table",
]

NO_MESSAGE: Final = "00000000-0000-0000-0000-000000000000"
"""An orphan's message_id: a UUID column has no blank."""

_UNADDRESSED: Final = "?"
"""In the state, the address of a matched event that has none: a blank one is the To's whatever else is known."""

_TIME: Final = pa.timestamp("us", tz="UTC")
_EVENT_TYPES: Final = {
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
    columns["message_id"] = [message_id or NO_MESSAGE for message_id in columns["message_id"]]
    event_ids = bytes.fromhex("".join(columns.pop("event_id")))
    return pa.table(
        {
            "event_id": hash_array(event_ids),
            **{
                _EVENT_NAMES.get(name, name): pa.array(values, _EVENT_TYPES.get(name, pa.string()))
                for name, values in columns.items()
            },
        }
    )


def state_table(
    events: Any,
    requests: Sequence[Request] = (),
    decisions: Sequence[Decision] = (),
    dispatches: Sequence[Dispatch] = (),
    contents: Sequence[Content] = (),
) -> Any:
    """Return the rows of `message_state`: one for each message that `events` name, and one for each fact.

    `events` are rows of `events_table`, of providers' events that name a message.
    """
    return _state_rows(
        fold_events(events),
        _of_requests(requests),
        _of_decisions(decisions),
        _of_dispatches(dispatches),
        _of_contents(contents),
    )


def matched_state_table(events: Sequence[Event]) -> Any:
    """Return the rows of `message_state` for events that were matched: such as can be taken back by their address."""
    return state_table(events_table([event._replace(address=event.address or _UNADDRESSED) for event in events]))


def strangers_table(events: Sequence[Event]) -> Any:
    """Return the rows of `message_state` that say: matched events of this address are another message's."""
    strangers = singles(pa.array([event.address or _UNADDRESSED for event in events], pa.string()))
    return _state_rows({**_keys(events), "strangers": strangers})


def dispatches_table(dispatches: Sequence[Dispatch]) -> Any:
    """Return the rows of the table `dispatches`, by which orphans find their messages."""
    return pa.table(
        {
            name: pa.array([getattr(dispatch, name) for dispatch in dispatches], pa.string())
            for name in ("provider", "provider_message_id", "account_id", "message_id")
        }
    )


def contents_table(contents: Sequence[Content]) -> Any:
    """Return the rows of the table `contents`."""
    return pa.table(
        {
            **_keys(contents),
            "html": pa.array([content.html for content in contents], pa.string()),
            "text": pa.array([content.text for content in contents], pa.string()),
            "received_at": pa.array([content.place.received_us for content in contents], _TIME),
            "partition": pa.array([content.place.partition for content in contents], pa.uint32()),
            "offset": pa.array([content.place.offset for content in contents], pa.uint64()),
        }
    )


def _state_rows(*parts: Columns) -> Any:
    """The rows of all parts; where a part is silent about an axis, the axis' identity."""
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


def _of_contents(contents: Sequence[Content]) -> Columns:
    if not contents:
        return {}
    return {**_keys(contents), "content": pa.repeat(pa.scalar(1, pa.uint8()), len(contents))}


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


def _keys(rows: Sequence[Event | Request | Decision | Dispatch | Content]) -> Columns:
    return {
        "account_id": pa.array([r.account_id for r in rows], pa.string()),
        "message_id": pa.array([r.message_id for r in rows], pa.string()),
    }
