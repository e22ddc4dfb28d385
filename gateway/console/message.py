"""Reads one message for the drawer and for its own page: what happened, what to do, the state of its address, and
what a provider sent.

In:  the id of a message; the principal of the session. Out: the variables of the templates.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from fastapi import Response

from application import deadlines
from application.principals import Principal
from application.raw_events import RawEvents, is_from_provider
from gateway.access import accounts_to_query
from gateway.api.explain import explanation_response
from gateway.api.items import renderer, select_fields
from gateway.api.lists import Row, json_row
from gateway.api.message_reading import MessageReader
from gateway.api.models.messages import TimelineEvent
from gateway.console import words
from gateway.console.acts import may_release
from gateway.problems import Problem
from gateway.read_pool import ReadPool
from projections.bounces import queries as bounces
from projections.bounces.pages import read_bounces, read_counted_bounces
from projections.store import Store
from projections.suppressions import queries as suppressions
from projections.suppressions.pages import read_suppressions
from schemas.decoding.ids import ALL
from schemas.errors import StoreError
from schemas.settings import GatewaySettings

__all__ = ["MessageView"]

_MAX_EVENTS_SHOWN: Final = 200
_MAX_EVENTS_EXPLAINED: Final = 1_000
_COUNTED_WITHIN_SECONDS: Final = 2.0
_FIRST_STEPS: Final = {"requested": 0, "decided": 1, "dispatched": 2}
_MAX_RAW_CHARACTERS: Final = 100_000
_FAILED: Final = ("bounced", "blocked", "failed", "dropped", "complained")


class MessageView:
    """Reads messages for their pages."""

    def __init__(self, settings: GatewaySettings, store: Store, reads: ReadPool, raw_events: RawEvents) -> None:
        self._raw_events = raw_events
        self._reader = MessageReader(store, reads, settings.content_retention_days)
        self._store, self._reads, self._settings = store, reads, settings
        self._render = renderer(settings)

    async def preview(self, principal: Principal, email_id: str, account: str | None) -> Response:
        """Return the content that was sent, as a sandboxed page. Raises Problem."""
        return await self._reader.preview(principal, await self._reader.row(principal, email_id, account))

    async def raw_event(
        self, principal: Principal, email_id: str, event_id: str, account: str | None
    ) -> dict[str, Any]:
        """Return what a provider sent, as the variables of the template. Raises Problem, and what `RawEvents` does."""
        row = await self._reader.row(principal, email_id, account)
        event = await self._reader.event(principal, row, event_id)
        found = await self._raw_events.read(event)
        has_more = principal.covers_all and len(found.element) < len(found.body)
        return {
            "event": select_fields(TimelineEvent, event) | {"name": words.event_name(event["type"])},
            "signature": found.signature,
            "headers": {name: _printable(value) for name, value in found.headers.items() if value},
            "element": _bytes_shown(found.element),
            "body": _bytes_shown(found.body) if has_more else None,
        }

    async def details(self, principal: Principal, email_id: str, account: str | None) -> dict[str, Any]:
        """Return the variables of the templates. Raises Problem."""
        row = await self._reader.row(principal, email_id, account)
        found = await self._reader.events(principal, row, limit=_MAX_EVENTS_EXPLAINED)
        why = explanation_response(row, found[:_MAX_EVENTS_EXPLAINED], complete=len(found) <= _MAX_EVENTS_EXPLAINED)
        return {
            "message": self._render(row),
            "status_words": words.of_row(row),
            "corrected_address": words.corrected_address(row["to_address"]),
            "timeline": _timeline(found[:_MAX_EVENTS_SHOWN]),
            "more_events": max(0, len(found) - _MAX_EVENTS_SHOWN),
            "why": why,
            "not_counted": _not_counted(why["not_counted"]),
            "address": await self._address_of(principal, row),
        }

    async def _address_of(self, principal: Principal, row: Row) -> dict[str, Any]:
        """Return the bounces and suppressions of the To, and how many bounces count against it; None if not in time.

        Of all accounts, this number needs a scan of all bounces: the message does not wait long for it.
        """
        address = await self._reads.run(principal, self._address, principal, row)
        if not address["key"] or address["suppressions"]:
            return address  # then the number is not shown
        try:
            with deadlines.limit(deadlines.at_most_half(_COUNTED_WITHIN_SECONDS)):
                counted = await self._reads.run(principal, self._counted, principal, row, address["released_at"])
        except (StoreError, Problem):
            return address
        return address | {"counted": counted}

    def _counted(self, principal: Principal, row: Row, released_at: datetime | None) -> int:
        accounts = accounts_to_query(principal, ALL)
        channel, key, days = row["channel"], row["to_key"], self._settings.suppress_window_days
        return read_counted_bounces(self._store, accounts, channel, key, days=days, released_at=released_at)

    def _address(self, principal: Principal, row: Row) -> dict[str, Any]:
        """Return the bounces and suppressions of the To."""
        channel, key = row["channel"], row["to_key"]
        if not channel or not key:
            return {"key": "", "can_release": False, "bounces": None, "suppressions": [], "counted": None}
        account = row["account_id"]
        bounced = read_bounces(self._store, bounces.Filter([account], channel=channel, addresses=[key]), limit=1)
        accounts = accounts_to_query(principal, ALL)
        wanted = suppressions.SuppressionFilter(accounts, channel=channel, addresses=[key])
        states = [one for one in read_suppressions(self._store, wanted, limit=20) if one["scope"] in (ALL, account)]
        suppressed = [one for one in states if one["suppressed"]]
        releases = [one["released_at"] for one in states if one["scope"] == ALL and one["released_at"]]
        return {
            "key": key,
            "can_release": may_release(principal, suppressed),
            "bounces": json_row(bounced[0]) if bounced else None,
            "counted": None,
            "released_at": max(releases, default=None),
            "limit": self._settings.suppress_bounces,
            "days": self._settings.suppress_window_days,
            "suppressions": [json_row(one) for one in suppressed],
        }


def _bytes_shown(value: bytes) -> dict[str, Any]:
    """Bytes as text, at most _MAX_RAW_CHARACTERS of it, their number, and how many characters are left out."""
    text = value.decode("utf-8", "backslashreplace")
    shown = _printable(text[:_MAX_RAW_CHARACTERS])
    return {"text": shown, "size_bytes": len(value), "left_out": max(0, len(text) - _MAX_RAW_CHARACTERS)}


def _printable(text: str) -> str:
    """A text whose unprintable characters are escaped: one that turns the direction of text would show another one."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\u{ord(c):04x}" for c in text)


def _timeline(events: Sequence[Row]) -> list[dict[str, Any]]:
    """The events, each with its name and the time since the event before it."""
    items: list[dict[str, Any]] = []
    before: datetime | None = None
    # Events of the same time are in the order in which they must have happened.
    for event in sorted(events, key=lambda one: (one["occurred_at"], _FIRST_STEPS.get(one["type"], len(_FIRST_STEPS)))):
        at: datetime = event["occurred_at"]
        items.append(
            select_fields(TimelineEvent, event)
            | {
                "name": words.event_name(event["type"]),
                "failed": event["type"] in _FAILED,
                "from_provider": is_from_provider(event),
                "gap": "" if before is None else f"+{words.duration(max(0.0, (at - before).total_seconds()), 0)}",
            }
        )
        before = at
    return items


def _not_counted(events: Sequence[dict[str, Any]]) -> list[tuple[str, str, int]]:
    """Why events did not count for the status: each rule, with the name and the number of its events."""
    by_rule = Counter((one["because"], words.event_name(one["event"]["type"])) for one in events)
    return [(because, name, times) for (because, name), times in by_rule.most_common()]
