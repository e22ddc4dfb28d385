"""The explanation of a status, as JSON.

In:  a row of `messages`, its events (as far as the token may see them), and the `Explanation` of both.
Out: the JSON of `models.MessageExplanation`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from gateway.api.lists import Row, json_row
from gateway.api.models.messages import TimelineEvent
from projections.messages.explain import RULES, STATUS_RULES, explain

__all__ = ["MAX_NOT_COUNTED", "explanation_response"]

MAX_NOT_COUNTED: Final = 1_000
_OF_ROW: Final = ("account_id", "email_id", "status", "sub_status", "anomalies")
_ENGAGEMENT: Final = ("opened_at", "opens", "machine_opens", "clicked_at", "clicks")


def explanation_response(row: Row, events: Sequence[Row], *, complete: bool) -> dict[str, Any]:
    """Return why a message has its status. `complete` says whether `events` has all events."""
    why = explain(row, events)
    return json_row({name: row[name] for name in _OF_ROW}) | {
        "rule": why.rule,
        "because": STATUS_RULES[why.rule],
        "winner": _event(why.winner),
        "axes": {
            "decision": _decision(why.decision),
            "delivery": _event(why.delivery),
            "engagement": json_row({name: row[name] for name in _ENGAGEMENT}),
            "attempts": row["attempts"],
            "complained": row["complained"],
            "subscription": _event(why.subscription),
        },
        "not_counted": [
            {"event": _event(one.event), "rule": one.rule, "because": RULES[one.rule]}
            for one in why.not_counted[:MAX_NOT_COUNTED]
        ],
        "events_complete": complete and len(why.not_counted) <= MAX_NOT_COUNTED,
    }


def _event(event: Mapping[str, Any] | None) -> Row | None:
    if event is None:
        return None
    return json_row({name: event[name] for name in TimelineEvent.model_fields})


def _decision(event: Mapping[str, Any] | None) -> Row | None:
    if event is None:
        return None
    evidence = orjson.loads(event["extra"])["evidence"] if event["extra"] else []
    decision = {"outcome": event["classification"], "reason": event["code"], "detail": event["reason"]}
    return decision | json_row({"decided_at": event["occurred_at"]}) | {"evidence": evidence}
