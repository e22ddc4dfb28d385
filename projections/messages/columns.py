"""The fold, vectorised: events and facts of a group as the rows that the tables join.

In:  the events, requests, decisions and dispatches of one group, in any order, copies included.
Out: Arrow tables for `events` (or `orphans`) and `message_state`, a row for each event or fact.

Each state row states only the axes that it knows of; all others hold their identity (migrations/0001), so the merges
of `message_state` *are* the fold. Nothing is looked up and nothing remembered: any split into groups gives the same.
Everything here works on whole columns: it is the hot path.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any, Final

import pyarrow as pa

from projections.messages.outcomes import DELIVERY_RANKS, sub_status
from schemas.addresses import address_key
from schemas.events import Event
from schemas.facts import Decision, Dispatch, Request

__all__ = ["events_table", "state_table"]

_INVERSE: Final = 1 << 62
"""Times are kept as this less the time: the greater is then the earlier, and 0 is none."""
_NO_MESSAGE: Final = "00000000-0000-0000-0000-000000000000"
"""An orphan's message_id: a UUID column has no blank."""
_U64: Final = (1 << 64) - 1
_U32: Final = (1 << 32) - 1

_FIRST_TYPES: Final = frozenset({*DELIVERY_RANKS, "opened", "clicked", "complained", "subscription_changed"})
_COUNTED_TYPES: Final = frozenset({"opened", "clicked", "deferred"})

_HASH: Final = pa.binary(16)
_TIME: Final = pa.timestamp("us", tz="UTC")
_EVENT_TYPES: Final = {
    "event_id": _HASH,
    "occurred_us": _TIME,
    "received_us": _TIME,
    "machine": pa.bool_(),
    "partition": pa.uint32(),
    "offset": pa.uint64(),
    "position": pa.uint32(),
}
_EVENT_NAMES: Final = {"occurred_us": "occurred_at", "received_us": "received_at"}

Columns = dict[str, Any]


def events_table(events: Sequence[Event]) -> Any:
    """Return the rows of the table `events` or `orphans`: a `pyarrow.Table` of one row an event."""
    columns: Columns = dict(zip(Event._fields, zip(*events, strict=True), strict=True))
    columns["event_id"] = _raw(columns["event_id"])
    columns["message_id"] = [message_id or _NO_MESSAGE for message_id in columns["message_id"]]
    return pa.table(
        {
            _EVENT_NAMES.get(name, name): pa.array(values, _EVENT_TYPES.get(name, pa.string()))
            for name, values in columns.items()
        }
    )


def state_table(
    events: Sequence[Event],
    requests: Sequence[Request] = (),
    decisions: Sequence[Decision] = (),
    dispatches: Sequence[Dispatch] = (),
) -> Any:
    """Return the rows of `message_state`: one for each event (a provider's, of a message) and each fact."""
    parts = [_of_events(events), _of_requests(requests), _of_decisions(decisions), _of_dispatches(dispatches)]
    sizes = [len(events), len(requests), len(decisions), len(dispatches)]
    return pa.table(
        {
            name: pa.concat_arrays(
                [
                    part[name] if name in part else _identities(kind, size)
                    for part, size in zip(parts, sizes, strict=True)
                ]
            )
            for name, kind in _STATE.items()
        }
    )


_KNOWN_AS: Final = pa.struct(
    [("present", pa.uint8()), ("inverse_at", pa.uint64()), ("inverse_hash", _HASH)]
    + [(name, pa.string()) for name in ("provider", "provider_message_id")]
)
_MARK: Final = pa.struct(
    [("inverse_received", pa.uint64()), ("inverse_partition", pa.uint32()), ("inverse_place", pa.uint64())]
    + [("rank", pa.uint8()), ("at", pa.int64())]
    + [(n, pa.string()) for n in ("address", "code", "enhanced_code", "reason", "classification", "sub_status")]
)
_REQUEST_TEXTS: Final = (
    ("channel", "template_id", "template_name", "recipient_kind", "recipient_id", "to_address", "to_key"),
    ("subject", "appointment_id"),
)
_STATE: Final = {
    "account_id": pa.string(),
    "message_id": pa.string(),
    "decision": pa.struct(
        [("present", pa.uint8()), ("inverse_at", pa.uint64()), ("inverse_hash", _HASH)]
        + [(name, pa.string()) for name in ("outcome", "reason", "detail")]
    ),
    "request": pa.struct(
        [("present", pa.uint8()), ("inverse_at", pa.uint64()), ("inverse_hash", _HASH)]
        + [(name, pa.string()) for name in _REQUEST_TEXTS[0]]
        + [("cc", pa.list_(pa.string())), ("cc_keys", pa.list_(pa.string()))]
        + [(name, pa.string()) for name in _REQUEST_TEXTS[1]]
    ),
    "contents": pa.list_(_HASH),
    "dispatch": _KNOWN_AS,
    "seen": _KNOWN_AS,
    "provider_ids": pa.list_(pa.string()),
    "firsts": pa.map_(pa.string(), pa.uint64()),
    "counted": pa.map_(pa.string(), pa.list_(pa.uint64())),
    "marks": pa.map_(_HASH, _MARK),
}


def _of_events(events: Sequence[Event]) -> Columns:
    if not events:
        return {}
    ids = _raw([e.event_id for e in events])
    names = [f"machine_{e.type}" if e.machine else e.type for e in events]
    first = [e.type in _FIRST_TYPES for e in events]
    counted = [e.type in _COUNTED_TYPES for e in events]
    marked = [
        (e, i) for e, i in zip(events, ids, strict=True) if e.type in DELIVERY_RANKS or e.type == "subscription_changed"
    ]
    return {
        **_keys(events),
        "seen": _struct(
            _KNOWN_AS,
            [2 if e.provider_message_id else 1 for e in events],
            [_INVERSE - e.occurred_us for e in events],
            _complements(ids),
            [e.provider for e in events],
            [e.provider_message_id for e in events],
        ),
        "provider_ids": _lists(
            [bool(e.provider_message_id) for e in events],
            pa.array([f"{e.provider}:{e.provider_message_id}" for e in events if e.provider_message_id], pa.string()),
        ),
        "firsts": pa.MapArray.from_arrays(
            _offsets(first),
            pa.array(
                [f"{n}:{e.address}" for e, n, is_one in zip(events, names, first, strict=True) if is_one], pa.string()
            ),
            pa.array(
                [_INVERSE - e.occurred_us for e, is_one in zip(events, first, strict=True) if is_one], pa.uint64()
            ),
        ),
        "counted": pa.MapArray.from_arrays(
            _offsets(counted),
            pa.array(
                [f"{n}:{e.address}" for e, n, is_one in zip(events, names, counted, strict=True) if is_one], pa.string()
            ),
            _singles(
                pa.array(
                    [int.from_bytes(i[:8], "big") for i, is_one in zip(ids, counted, strict=True) if is_one],
                    pa.uint64(),
                )
            ),
        ),
        "marks": pa.MapArray.from_arrays(
            _offsets([e.type in DELIVERY_RANKS or e.type == "subscription_changed" for e in events]),
            pa.array([i for _, i in marked], _HASH),
            _marks([e for e, _ in marked]),
        ),
    }


def _marks(events: Sequence[Event]) -> Any:
    return _struct(
        _MARK,
        [_INVERSE - e.received_us for e in events],
        [_U32 - e.partition for e in events],
        [_U64 - (e.offset << 20 | e.position & 0xFFFFF) for e in events],
        [DELIVERY_RANKS.get(e.type, 0) for e in events],
        [e.occurred_us for e in events],
        [e.address for e in events],
        [e.code for e in events],
        [e.enhanced_code for e in events],
        [e.reason for e in events],
        [e.classification for e in events],
        [sub_status(e) for e in events],
    )


def _of_requests(requests: Sequence[Request]) -> Columns:
    if not requests:
        return {}
    hashes = _raw([r.content_hash for r in requests])
    return {
        **_keys(requests),
        "request": _attributes(requests, 1, [r.requested_us for r in requests], hashes),
        "contents": _singles(pa.array(hashes, _HASH)),
    }


def _of_decisions(decisions: Sequence[Decision]) -> Columns:
    if not decisions:
        return {}
    hashes = _raw([d.decision_hash for d in decisions])
    times = [d.decided_us for d in decisions]
    requests = [d.request for d in decisions]
    return {
        **_keys(decisions),
        "decision": _struct(
            _STATE["decision"],
            [1] * len(decisions),
            [_INVERSE - at for at in times],
            _complements(hashes),
            [d.outcome for d in decisions],
            [d.reason for d in decisions],
            [d.detail for d in decisions],
        ),
        "request": _attributes(requests, 2, times, hashes),
        "contents": _singles(pa.array(_raw([r.content_hash for r in requests]), _HASH)),
    }


def _of_dispatches(dispatches: Sequence[Dispatch]) -> Columns:
    if not dispatches:
        return {}
    return {
        **_keys(dispatches),
        "dispatch": _struct(
            _KNOWN_AS,
            [1] * len(dispatches),
            [_INVERSE - d.dispatched_us for d in dispatches],
            _complements(_raw([d.dispatch_hash for d in dispatches])),
            [d.provider for d in dispatches],
            [d.provider_message_id for d in dispatches],
        ),
    }


def _attributes(requests: Sequence[Request], present: int, times: Iterable[int], hashes: Sequence[bytes]) -> Any:
    return _struct(
        _STATE["request"],
        [present] * len(requests),
        [_INVERSE - at for at in times],
        _complements(hashes),
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


def _raw(hashes: Sequence[str]) -> list[bytes]:
    """The 16 bytes of each hash: one conversion for all."""
    joined = bytes.fromhex("".join(hashes))
    return [joined[at : at + 16] for at in range(0, len(joined), 16)]


def _complements(hashes: Sequence[bytes]) -> list[bytes]:
    joined = b"".join(hashes)
    turned = (int.from_bytes(joined, "big") ^ ((1 << 8 * len(joined)) - 1)).to_bytes(len(joined), "big")
    return [turned[at : at + 16] for at in range(0, len(turned), 16)]


def _struct(kind: Any, *columns: Sequence[object]) -> Any:
    arrays = [pa.array(values, field.type) for values, field in zip(columns, kind, strict=True)]
    return pa.StructArray.from_arrays(arrays, fields=list(kind))


def _offsets(has_one: Iterable[bool]) -> Any:
    """The offsets of a list column whose rows have one element or none."""
    return pa.array(accumulate(has_one, initial=0), pa.int32())


def _lists(has_one: Iterable[bool], values: Any) -> Any:
    return pa.ListArray.from_arrays(_offsets(has_one), values)


def _singles(values: Any) -> Any:
    return pa.ListArray.from_arrays(pa.array(range(len(values) + 1), pa.int32()), values)


def _identities(kind: Any, size: int) -> Any:
    """`size` times the identity of an axis: zeros, blanks and empty collections."""
    if pa.types.is_struct(kind):
        return pa.StructArray.from_arrays([_identities(field.type, size) for field in kind], fields=list(kind))
    if pa.types.is_map(kind) or pa.types.is_list(kind):
        return pa.array([[]] * size, kind)
    zero: object = "" if pa.types.is_string(kind) else bytes(16) if kind == _HASH else 0
    return pa.repeat(pa.scalar(zero, kind), size)
