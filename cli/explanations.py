"""Explains the status of a message, as text or JSON: the same as the API's `/explain`, read from ClickHouse."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import typer

from cli.output import shown
from cli.raw_events import Found, raw_event_as_json, raw_event_lines
from gateway.api.explain import explanation_response
from projections.messages import queries
from projections.store import Store

__all__ = ["explain_row", "read_timeline", "show_explanation"]

Row = Mapping[str, Any]

_OF_EVENT: Final = ("occurred_at", "type", "address", "code", "reason", "event_id")


def read_timeline(store: Store, row: Row) -> list[dict[str, Any]]:
    """Return the events of a row of `messages`: up to MAX_EVENTS, and one more if there are more."""
    query = queries.timeline(row["account_id"], str(row["email_id"]), limit=queries.MAX_EVENTS)
    return store.rows(query.sql, query.parameters)


def explain_row(row: Row, events: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return why the message of a row of `messages` has its status."""
    complete = len(events) <= queries.MAX_EVENTS
    return explanation_response(dict(row), events[: queries.MAX_EVENTS], complete=complete)


def show_explanation(explanation: Row, raw: Sequence[Found] | None, *, as_json: bool) -> None:
    """Print an explanation, and what the providers sent, if that was read."""
    if as_json:
        more = {} if raw is None else {"raw": [raw_event_as_json(*one) for one in raw]}
        typer.echo(json.dumps({**explanation, **more}))  # in ASCII: it may end on a terminal
        return
    for line in _lines(explanation):
        typer.echo(line)
    for one in raw or ():
        for line in raw_event_lines(*one):
            typer.echo(line)


def _lines(explanation: Mapping[str, Any]) -> Iterator[str]:
    sub = f" ({shown(explanation['sub_status'])})" if explanation["sub_status"] else ""
    yield f"{shown(explanation['status'])}{sub}: {explanation['because']}."
    if explanation["winner"]:
        yield f"  by event  {_event(explanation['winner'])}"
    if decision := explanation["axes"]["decision"]:
        what = (decision["decided_at"], decision["outcome"], decision["reason"], decision["detail"])
        yield f"Decision: {_joined(what)}"
        for evidence_id in decision["evidence"]:
            yield f"  evidence  {shown(evidence_id)}"
    for name in ("delivery", "subscription"):
        if explanation["axes"][name] and explanation["axes"][name] != explanation["winner"]:
            yield f"{name.capitalize()}: {_event(explanation['axes'][name])}"
    for anomaly in explanation["anomalies"]:
        yield f"Anomaly: {shown(anomaly)}"
    for one in explanation["not_counted"]:
        yield f"Not counted: {_event(one['event'])}"
        yield f"  {one['rule']}: {one['because']}"
    if not explanation["events_complete"]:
        yield "There are more events than are shown here: see the timeline."


def _event(event: Mapping[str, Any]) -> str:
    return _joined(event[name] for name in _OF_EVENT)


def _joined(values: Any) -> str:
    return "  ".join(text for value in values if (text := shown(value)))
