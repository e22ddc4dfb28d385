"""Build rows of `messages` in Python, for the few rows of a page.

In:  merged states (rows of `message_state` under FINAL), and the events of the messages that are not simple.
Out: rows with the columns and values of the view; a test compares them. Pure.

The view's SQL (projections/store/views/message_rows.py) is for queries over many messages: for ClickHouse to analyse it
takes five times as long as to read fifty states.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from projections.messages.arrow_types import INVERSE, ORDERED_TEXTS, TYPE_SIZE
from projections.messages.intents import read_intent
from projections.messages.outcomes import (
    CONTENT,
    DELIVERY_RANKS,
    OTHER_TYPE,
    OUTCOMES,
    PROGRESS,
    STATUS_OF,
    TYPE_NUMBERS,
    WITHDRAWN,
)
from projections.messages.reference_fold import COUNT_LIMIT, REFUSED_STATUS, is_own
from schemas.events import ENGAGEMENT_TYPES, FACT_TYPES

__all__ = ["EVENT_COLUMNS", "STATE_COLUMNS", "Row", "is_simple", "row_of_events", "row_of_state"]

Row = dict[str, Any]

STATE_COLUMNS: Final = (
    *("account_id", "sent_at", "message_id", "intent", "request", "dispatch", "flags", "heard"),
    *(f"substring({name}, 17) AS {name}" for name in ORDERED_TEXTS),
    *("first_content", "last_content", "told", "seen", "provider_ids"),
    *("processed", "delivered", "bounced", "opened", "clicked", "deliveries", "changes", "winner"),
    *(f"length({name}) AS {name}" for name in ("opens", "machine_opens", "clicks", "deferrals")),
)
"""The SELECT list for a state."""

EVENT_COLUMNS: Final = (
    *("account_id", "message_id", "event_id", "type", "provider", "provider_message_id", "address"),
    *("toUnixTimestamp64Micro(occurred_at) AS at", "code", "enhanced_code", "reason", "classification", "sub_status"),
    "machine",
)
"""The SELECT list for an event of a message that is not simple."""

_REFUSALS: Final = {OUTCOMES[outcome]: status for outcome, status in REFUSED_STATUS.items()}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TYPE_MASK: Final = (1 << TYPE_SIZE) - 1


def is_simple(state: Row) -> bool:
    """Whether the state, which is merged over all addresses, is valid for the To: no CC events, none withdrawn."""
    to_hash = read_intent(state["intent"]).to_hash
    return not state["flags"] & WITHDRAWN and (
        not to_hash or all(code >> TYPE_SIZE in (0, to_hash) for code in state["told"])
    )


def row_of_state(state: Row) -> Row:
    """Return the row of a simple message."""
    winner, seen = state["winner"], state["seen"]
    changes = state["changes"].items()
    change = min(changes, key=lambda c: (c[1]["inverse_at"], -c[0]))[1]["state"] if changes else ""
    return _row(
        state,
        types={code & _TYPE_MASK for code in state["told"]},
        has_events=bool(state["told"]),
        seen=(seen["provider"], seen["provider_message_id"]),
        provider_ids=state["provider_ids"],
        firsts={name: INVERSE - state[name] if state[name] else None for name in _FIRSTS},
        last_delivered=INVERSE - min(state["deliveries"].values()) if state["delivered"] else None,
        counts={name: state[name] for name in _COUNTS},
        winner=winner,
        change=change,
    )


def row_of_events(state: Row, events: Iterable[Mapping[str, Any]]) -> Row:
    """Return the row of a message that is not simple; `events` are all its events that were not withdrawn."""
    channel, to_key = read_intent(state["intent"]).channel, state["to_key"]
    reported = [event for event in events if event["type"] not in FACT_TYPES]
    own = [
        (_type_number(event), event) for event in reported if not to_key or is_own(event["address"], channel, to_key)
    ]
    ranked = [event for _, event in own if event["type"] in DELIVERY_RANKS]
    changes = (event for number, event in own if number == TYPE_NUMBERS["subscription_changed"])
    latest = max(changes, key=lambda e: (e["at"], e["event_id"]), default=_NO_EVENT)
    first_seen = min(reported, key=lambda e: (not e["provider_message_id"], e["at"], e["event_id"]), default=None)
    return _row(
        state,
        types={number for number, _ in own},
        has_events=bool(reported),
        seen=(first_seen["provider"], first_seen["provider_message_id"]) if first_seen else ("", ""),
        provider_ids=[f"{e['provider']}:{e['provider_message_id']}" for e in reported if e["provider_message_id"]],
        firsts={name: min((e["at"] for n, e in own if n in wanted), default=None) for name, wanted in _FIRSTS.items()},
        last_delivered=max((e["at"] for n, e in own if n == TYPE_NUMBERS["delivered"]), default=None),
        counts={name: sum(n == wanted for n, _ in own) for name, wanted in _COUNTS.items()},
        winner=min(ranked, key=_delivery_order, default=_NO_EVENT),
        change=latest["classification"],
    )


_FIRSTS: Final = {
    **{name: (TYPE_NUMBERS[name],) for name in ("processed", "delivered")},
    "bounced": tuple(number for number, status in enumerate(STATUS_OF) if status == "Bounced"),
    **{name: (TYPE_NUMBERS[name],) for name in ("opened", "clicked")},
}
_COUNTS: Final = {
    "opens": TYPE_NUMBERS["opened"],
    "machine_opens": TYPE_NUMBERS["machine_opened"],
    "clicks": TYPE_NUMBERS["clicked"],
    "deferrals": TYPE_NUMBERS["deferred"],
}
_NO_EVENT: Final = dict.fromkeys(("code", "enhanced_code", "reason", "classification", "sub_status"), "")


def _type_number(event: Mapping[str, Any]) -> int:
    name = f"machine_{event['type']}" if event["machine"] and event["type"] in ENGAGEMENT_TYPES else event["type"]
    return TYPE_NUMBERS.get(name, OTHER_TYPE)


def _delivery_order(event: Mapping[str, Any]) -> tuple[int, bool, int, bytes]:
    return -DELIVERY_RANKS[event["type"]], not event["code"], event["at"], event["event_id"]


def _row(
    state: Row,
    *,
    types: Set[int],
    has_events: bool,
    seen: tuple[str, str],
    provider_ids: Sequence[str],
    firsts: Mapping[str, int | None],
    last_delivered: int | None,
    counts: Mapping[str, int],
    winner: Mapping[str, Any],
    change: str,
) -> Row:
    """Apply the rules of docs/explanation/status.md."""
    intent, request, dispatch = read_intent(state["intent"]), state["request"], state["dispatch"]
    refusal = _REFUSALS.get(intent.outcome)
    status, sub_status = (refusal, "") if refusal else _status(types, winner["sub_status"], change)
    delivery = _NO_EVENT if refusal else winner
    provider, provider_message_id = (
        (dispatch["provider"], dispatch["provider_message_id"]) if dispatch["known"] else seen
    )
    other_ids = [one for one in provider_ids if one != f"{provider}:{provider_message_id}"]
    is_against_refusal = bool(refusal) and has_events
    return {
        "account_id": state["account_id"],
        "email_id": state["message_id"],
        "channel": intent.channel,
        "type": state["template_name"],
        "template_id": state["template_id"],
        "sent_to": intent.recipient_kind,
        "recipient_id": request["recipient_id"],
        "to_address": request["to_address"],
        "to_domain": state["domain"],
        "cc_address": ", ".join(request["cc"]),
        "subject": request["subject"],
        "status": status,
        "sub_status": sub_status,
        "reason": request["detail"] if refusal else winner["reason"],
        "code": request["reason"] if refusal else winner["code"],
        "enhanced_code": delivery["enhanced_code"],
        "classification": delivery["classification"],
        "date_sent": state["sent_at"],
        "decided_at": _time(INVERSE - intent.inverse_at) if intent.outcome else None,
        "dispatched_at": _time(INVERSE - dispatch["inverse_at"]) if dispatch["known"] else None,
        **{f"{name}_at": None if us is None else _time(us) for name, us in firsts.items()},
        "opens": min(COUNT_LIMIT, counts["opens"]),
        "machine_opens": min(COUNT_LIMIT, counts["machine_opens"]),
        "clicks": min(COUNT_LIMIT, counts["clicks"]),
        "attempts": min(COUNT_LIMIT, counts["deferrals"]),
        "complained": TYPE_NUMBERS["complained"] in types,
        "provider": provider,
        "provider_message_id": provider_message_id,
        "appointment_id": request["appointment_id"],
        "to_key": state["to_key"],
        "cc_keys": request["cc_keys"],
        "has_content": bool(state["flags"] & CONTENT),
        "anomalies": _anomalies(state, firsts["bounced"], last_delivered, other_ids, is_against_refusal),
        "last_heard_at": _time(state["heard"]) if state["heard"] else None,
    }


def _anomalies(
    state: Row, bounced: int | None, last_delivered: int | None, other_ids: Sequence[str], is_against_refusal: bool
) -> list[str]:
    """Return the names of the anomalies. `other_ids`: the provider's ids in events that are not the message's."""
    holds = {
        "conflicting_requests": state["first_content"] < state["last_content"],
        "event_after_refusal": is_against_refusal,
        "delivered_after_bounce": bounced is not None and last_delivered is not None and last_delivered > bounced,
        "id_mismatch": state["dispatch"]["known"] > 0 and bool(other_ids),
    }
    return [name for name, is_so in holds.items() if is_so]


def _status(types: Set[int], winner_sub_status: str, change: str) -> tuple[str, str]:
    """Return status and sub-status of a message that was not refused, by the types of its own events."""
    greatest = max(types, default=OTHER_TYPE)
    status = STATUS_OF[greatest]
    if status in ("Bounced", "Dropped"):
        return status, winner_sub_status
    if status == "Subscriptionchange":
        return status, change
    return status, PROGRESS.get(greatest, "")


def _time(us: int) -> datetime:
    """Return a naive UTC time, as the driver does; a time that Python can't represent becomes the nearest it can."""
    try:
        return (_EPOCH + timedelta(microseconds=us)).replace(tzinfo=None)
    except OverflowError:
        return (datetime.max if us > 0 else datetime.min).replace(tzinfo=None)  # noqa: DTZ901 - naive, as all here
