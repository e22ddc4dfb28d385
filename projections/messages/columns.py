"""Convert a batch of events and facts to rows of the tables.

In:  the events, requests, decisions and dispatches of one batch, in any order, copies included.
Out: Arrow tables for `events` (or `orphans`), one row per event, and for `message_state`, one row per message that has
     events and one per fact.

A state row sets only the axes (columns) that its fact determines; the others have their defaults, which change nothing
when rows are merged. So ClickHouse's merges of `message_state` do the fold. Nothing is looked up and no state is kept
here: any split into batches gives the same result.
"""

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any, Final

import pyarrow as pa

from projections.messages.arrow_types import (
    INVERSE,
    MAX_UINT64,
    PROVIDER_ID,
    REQUEST,
    STATE,
    Array,
    Columns,
    hash_array,
    hash_prefixes,
    identity,
    struct,
)
from projections.messages.group_fold import fold_events
from projections.messages.intents import intent
from projections.messages.outcomes import CONTENT, OUTCOMES, SUB_STATUS_TYPES, WITHDRAWN, sub_status
from schemas.decoding.addresses import address_key, domain_of
from schemas.decoding.sends import Content, Decision, Dispatch, Erasure, Request
from schemas.events import Event

__all__ = [
    "NO_MESSAGE",
    "addressees_table",
    "contents_table",
    "dispatches_table",
    "erasures_table",
    "events_table",
    "state_table",
    "withdrawn_state_table",
]

NO_MESSAGE: Final = "00000000-0000-0000-0000-000000000000"
"""The message_id of an orphan, since a UUID column can't be empty."""

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


def events_table(events: Sequence[Event]) -> pa.Table:
    """Return the rows of the table `events` or `orphans`: a `pyarrow.Table` with one row per event."""
    columns: dict[str, Any] = dict(
        zip(Event._fields, zip(*events, strict=True) if events else repeat([]), strict=False)
    )
    columns["message_id"] = [message_id or NO_MESSAGE for message_id in columns["message_id"]]
    event_ids = bytes.fromhex("".join(columns.pop("event_id")))
    columns["sub_status"] = [sub_status(event) if event.type in SUB_STATUS_TYPES else "" for event in events]
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
    events: pa.Table,
    requests: Sequence[Request] = (),
    decisions: Sequence[Decision] = (),
    dispatches: Sequence[Dispatch] = (),
    contents: Sequence[Content] = (),
) -> pa.Table:
    """Return the rows of `message_state`: one per message in `events`, and one per fact.

    `events` are rows of `events_table`: providers' events that belong to a message.
    """
    return _state_rows(
        fold_events(events),
        _of_requests(requests),
        _of_decisions(decisions),
        _of_dispatches(dispatches),
        _of_contents(contents),
    )


def withdrawn_state_table(events: Sequence[Event]) -> pa.Table:
    """Return the rows of `message_state` that flag messages to which an event was matched by mistake.

    The event's values can't be removed from merged columns. So the row of such a message is computed from `events`,
    which records what was withdrawn.
    """
    return _state_rows({**_keys(events), "flags": _flags(WITHDRAWN, len(events))})


def addressees_table(events: Sequence[Event]) -> pa.Table:
    """Return the rows of `addressees`, or of `withdrawn_addressees`, for the addresses that `events` name."""
    keys = {(event.account_id, event.channel, event.address) for event in events}
    named = sorted(key for key in keys if key[2])
    return pa.table(
        {
            name: pa.array([key[place] for key in named], pa.string())
            for place, name in enumerate(("account_id", "channel", "address"))
        }
    )


def dispatches_table(dispatches: Sequence[Dispatch]) -> pa.Table:
    """Return the rows of the table `dispatches`, which links orphans to messages."""
    return pa.table(
        {
            name: pa.array([getattr(dispatch, name) for dispatch in dispatches], pa.string())
            for name in ("provider", "provider_message_id", "account_id", "message_id")
        }
    )


def contents_table(contents: Sequence[Content], erasures: Sequence[Erasure] = ()) -> pa.Table:
    """Return the rows of the table `contents`.

    Of several rows of a message the one received first stays, so an erasure is an empty row received in 1970: it wins
    over the contents, whichever of the two is written later, also by a replay or a rebuild.
    """
    none = [""] * len(erasures)
    start = [0] * len(erasures)
    return pa.table(
        {
            **_keys([*contents, *erasures]),
            "html": pa.array([content.html for content in contents] + none, pa.string()),
            "text": pa.array([content.text for content in contents] + none, pa.string()),
            "received_at": pa.array([content.source.received_us for content in contents] + start, _TIME),
            "partition": pa.array([content.source.partition for content in contents] + start, pa.uint32()),
            "offset": pa.array([content.source.offset for content in contents] + start, pa.uint64()),
        }
    )


def erasures_table(erasures: Sequence[Erasure]) -> pa.Table:
    """Return the rows of the table `erasures`: who erased the contents of which message, when and why."""
    return pa.table(
        {
            **_keys(erasures),
            "erasure_id": pa.array([erasure.erasure_id for erasure in erasures], pa.string()),
            "erased_at": pa.array([erasure.erased_us for erasure in erasures], _TIME),
            "actor": pa.array([erasure.actor for erasure in erasures], pa.string()),
            "reason": pa.array([erasure.reason for erasure in erasures], pa.string()),
        }
    )


def _state_rows(*parts: Columns) -> pa.Table:
    """Return the rows of all parts; an axis that a part lacks gets its default.

    An axis that no part has is left out of the insert: the server fills in the default more cheaply than it reads one.
    """
    present = [part for part in parts if part]
    sizes = [len(part["account_id"]) for part in present]
    return pa.table(
        {
            name: pa.concat_arrays(
                [
                    part[name] if name in part else identity(name, size)
                    for part, size in zip(present, sizes, strict=True)
                ]
            )
            for name in STATE
            if any(name in part for part in present)
        }
    )


def _of_requests(requests: Sequence[Request]) -> Columns:
    if not requests:
        return {}
    contents = hash_prefixes([r.content_hash for r in requests])
    times = [r.requested_us for r in requests]
    return {
        **_keys(requests),
        **_intents(requests, 1, times, contents),
        **_content_hashes(contents),
        "heard": pa.array(times, pa.uint64()),
    }


def _of_decisions(decisions: Sequence[Decision]) -> Columns:
    if not decisions:
        return {}
    requests, times = [d.request for d in decisions], [d.decided_us for d in decisions]
    return {
        **_keys(decisions),
        **_intents(
            requests,
            2,
            times,
            hash_prefixes([d.decision_hash for d in decisions]),
            outcomes=[OUTCOMES[d.outcome] for d in decisions],
            reasons=[d.reason for d in decisions],
            details=[d.detail for d in decisions],
        ),
        **_content_hashes(hash_prefixes([r.content_hash for r in requests])),
        "heard": pa.array(times, pa.uint64()),
    }


def _of_dispatches(dispatches: Sequence[Dispatch]) -> Columns:
    if not dispatches:
        return {}
    return {
        **_keys(dispatches),
        "dispatch": struct(
            PROVIDER_ID,
            [1] * len(dispatches),
            [INVERSE - d.dispatched_us for d in dispatches],
            _complements(hash_prefixes([d.dispatch_hash for d in dispatches])),
            [d.provider for d in dispatches],
            [d.provider_message_id for d in dispatches],
        ),
        "heard": pa.array([d.dispatched_us for d in dispatches], pa.uint64()),
    }


def _of_contents(contents: Sequence[Content]) -> Columns:
    """A message of which only the content is known gets a row, too."""
    return {**_keys(contents), "flags": _flags(CONTENT, len(contents))} if contents else {}


def _flags(flag: int, size: int) -> Array:
    return pa.repeat(pa.scalar(flag, pa.uint8()), size)


def _intents(
    requests: Sequence[Request],
    known: int,
    times: Iterable[int],
    hashes: Sequence[int],
    *,
    outcomes: Sequence[int] | None = None,
    reasons: Sequence[str] | None = None,
    details: Sequence[str] | None = None,
) -> Columns:
    """The axes of requests and decisions. All have the same order, so all come from the same request or decision."""
    size = len(requests)
    inverse_times, inverse_hashes = [INVERSE - at for at in times], _complements(hashes)
    order = [[known] * size, inverse_times, inverse_hashes]
    prefixes = [  # bytes that sort as `order` does
        ((known - 1 << 63 | at) << 64 | hashed).to_bytes(16, "big")
        for at, hashed in zip(inverse_times, inverse_hashes, strict=True)
    ]
    intents = [
        intent(known, at, hashed, request, outcome)
        for at, hashed, request, outcome in zip(
            inverse_times, inverse_hashes, requests, outcomes or [0] * size, strict=True
        )
    ]
    copied_to = [[address_key(cc, r.channel) for cc in r.cc] for r in requests]
    return {
        "intent": pa.array(intents, STATE["intent"]),
        "copied_to": pa.array([sorted({*keys}) for keys in copied_to], STATE["copied_to"]),
        "to_key": _ordered_texts(prefixes, [r.to_key for r in requests]),
        "domain": _ordered_texts(prefixes, [domain_of(r.to_key) for r in requests]),
        "template_id": _ordered_texts(prefixes, [r.template_id for r in requests]),
        "template_name": _ordered_texts(prefixes, [r.template_name for r in requests]),
        "request": struct(
            REQUEST,
            *order,
            [r.recipient_id for r in requests],
            [r.to for r in requests],
            [r.cc for r in requests],
            copied_to,
            [r.subject for r in requests],
            [r.appointment_id for r in requests],
            reasons or [""] * size,
            details or [""] * size,
        ),
    }


def _ordered_texts(prefixes: Sequence[bytes], texts: Sequence[str]) -> Array:
    return pa.array([prefix + text.encode() for prefix, text in zip(prefixes, texts, strict=True)], pa.binary())


def _content_hashes(hashes: Sequence[int]) -> Columns:
    """The smallest and the greatest hash of the contents: if they differ, requests conflict."""
    column = pa.array(hashes, pa.uint64())
    return {"first_content": column, "last_content": column}


def _complements(hashes: Iterable[int]) -> list[int]:
    """Invert the bits of each hash, so that `max` keeps the smallest hash."""
    return [MAX_UINT64 - number for number in hashes]


def _keys(rows: Sequence[Event | Request | Decision | Dispatch | Content | Erasure]) -> Columns:
    return {
        "account_id": pa.array([r.account_id for r in rows], pa.string()),
        "message_id": pa.array([r.message_id for r in rows], pa.string()),
    }
