"""Why a message has its status, for people and for programs: what the API's `/explain` answers, from the store."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson
import typer

from cli.output import shown
from gateway.explaining import explained
from projections.messages import queries
from projections.store import Store

__all__ = ["explanation", "show_explanation"]

_OF_EVENT: Final = ("occurred_at", "type", "address", "code", "reason", "event_id")


def explanation(store: Store, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return why the message of a row of `messages` has its status."""
    query = queries.timeline(row["account_id"], str(row["email_id"]), limit=queries.MAX_EVENTS)
    found = store.rows(query.sql, query.parameters)
    return explained(dict(row), found[: queries.MAX_EVENTS], complete=len(found) <= queries.MAX_EVENTS)


def show_explanation(said: Mapping[str, Any], *, as_json: bool) -> None:
    """Print an explanation."""
    if as_json:
        typer.echo(orjson.dumps(said).decode())
        return
    for line in _lines(said):
        typer.echo(line)


def _lines(said: Mapping[str, Any]) -> Iterator[str]:
    sub = f" ({shown(said['sub_status'])})" if said["sub_status"] else ""
    yield f"{shown(said['status'])}{sub}: {said['because']}."
    if said["winner"]:
        yield f"  by event  {_event(said['winner'])}"
    if decision := said["axes"]["decision"]:
        what = (decision["decided_at"], decision["outcome"], decision["reason"], decision["detail"])
        yield f"Decision: {_joined(what)}"
        for known in decision["evidence"]:
            yield f"  evidence  {shown(known)}"
    for name in ("delivery", "subscription"):
        if said["axes"][name] and said["axes"][name] != said["winner"]:
            yield f"{name.capitalize()}: {_event(said['axes'][name])}"
    for anomaly in said["anomalies"]:
        yield f"Anomaly: {shown(anomaly)}"
    for one in said["not_counted"]:
        yield f"Not counted: {_event(one['event'])}"
        yield f"  {one['rule']}: {one['because']}"
    if not said["events_complete"]:
        yield "There are more events than are shown here: see the timeline."


def _event(event: Mapping[str, Any]) -> str:
    return _joined(event[name] for name in _OF_EVENT)


def _joined(values: Any) -> str:
    return "  ".join(text for value in values if (text := shown(value)))
