"""Messaging Logs over HTTP: lists, one message, its timeline.

In:  filters in the query string; a token that says whose rows may be seen.
Out: `{items, next}`, newest first; `next` is the cursor of the next page, null at the end.
"""

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from fastapi.concurrency import run_in_threadpool

from gateway.access import READERS, accounts_of, allowing, known_parameters
from gateway.problems import Problem
from gateway.tokens import Principal
from projections.messages import queries
from projections.store import Store
from schemas.identity import message_id_or_blank
from schemas.settings import GatewaySettings
from schemas.times import rfc3339_us

__all__ = ["router"]

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_ADDRESS: Final = re.compile(r"[^@\s]+@[^@\s]+|(?:[a-z]+:)?\+?[\d().\- ]{3,24}", re.I)
_HIDDEN: Final = frozenset({"to_key", "cc_keys"})


def router(settings: GatewaySettings, store: Store) -> APIRouter:
    """Return the routes under `/v1/messages`."""
    routes = APIRouter(prefix="/v1", tags=["messages"], dependencies=[Depends(known_parameters)])

    as_reader = Annotated[Principal, Depends(allowing(READERS, settings.token_secret.get_secret_value()))]
    render = _renderer(settings)

    @routes.get("/messages")
    async def messages(
        principal: as_reader,
        account: str | None = None,
        from_: Annotated[str | None, Query(alias="from", description="Sent at or after: RFC 3339, or a date")] = None,
        to: Annotated[str | None, Query(description="Sent before: RFC 3339, or a date")] = None,
        status: Annotated[list[str] | None, Query(description="May be repeated")] = None,
        address: Annotated[str | None, Query(description="A To or CC address")] = None,
        email_id: str | None = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        cursor: Annotated[str | None, Query(description="`next` of the page before")] = None,
    ) -> dict[str, Any]:
        """Messages, newest first."""
        wanted = queries.Filter(
            accounts=accounts_of(principal, account),
            from_us=_time("from", from_),
            to_us=_time("to", to),
            statuses=_statuses(status or []),
            address=_address(address),
            email_id=_email_id(email_id),
        )
        page = queries.messages_page(wanted, limit=limit, after=_cursor(cursor))
        rows = await run_in_threadpool(store.rows, page.sql, page.parameters)
        following = _cursor_of(rows[limit - 1]) if len(rows) > limit else None
        return {"items": [render(row) for row in rows[:limit]], "next": following}

    @routes.get("/messages/{email_id}")
    async def message(principal: as_reader, email_id: str, account: str | None = None) -> dict[str, Any]:
        """One message."""
        return render(await _one(principal, email_id, account))

    @routes.get("/messages/{email_id}/events")
    async def events(principal: as_reader, email_id: str, account: str | None = None) -> dict[str, Any]:
        """The timeline of one message: each event once, by the time it occurred."""
        row = await _one(principal, email_id, account)
        query = queries.timeline(row["account_id"], str(row["email_id"]))
        found = await run_in_threadpool(store.rows, query.sql, query.parameters)
        return {"items": [_plain(event) for event in found], "next": None}

    async def _one(principal: Principal, email_id: str, account: str | None) -> dict[str, Any]:
        known = message_id_or_blank(email_id)
        if not known:
            raise _no_message()
        query = queries.messages_with_id(accounts_of(principal, account or queries.EVERY), known)
        rows = await run_in_threadpool(store.rows, query.sql, query.parameters)
        if not rows:
            raise _no_message()
        if len(rows) > 1:
            raise Problem(400, "Several accounts share this id; name one with `account`")
        return rows[0]

    return routes


def _no_message() -> Problem:
    return Problem(404, "No such message")


def _time(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    # A `+` of an offset arrives as a blank where it was not escaped.
    us = rfc3339_us(f"{text}T00:00:00Z" if _DATE.fullmatch(text) else text.replace(" ", "+"))
    if us is None:
        raise Problem(400, f"`{name}` must be a time like 2026-11-24T09:30:00Z or a date like 2026-11-24")
    return us


def _statuses(names: Sequence[str]) -> Sequence[str]:
    by_lower = {status.lower(): status for status in queries.STATUSES}
    for name in names:
        if name.lower() not in by_lower:
            raise Problem(400, f"`status` {name[:40]!r} is none; there are {', '.join(queries.STATUSES)}")
    return [by_lower[name.lower()] for name in names]


def _address(text: str | None) -> str | None:
    if text is not None and not _ADDRESS.fullmatch(text.strip()):
        raise Problem(400, "`address` must be an email address or a phone number")
    return text


def _email_id(text: str | None) -> str | None:
    if text is None:
        return None
    known = message_id_or_blank(text)
    if not known:
        raise Problem(400, "`email_id` must be a UUID of version 7")
    return known


def _cursor(text: str | None) -> queries.Cursor | None:
    if text is None:
        return None
    try:
        ms, _, email_id = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii").partition(":")
        known = message_id_or_blank(email_id)
        if not known or not 0 <= int(ms) < 1 << 50:
            raise ValueError(text)
        return queries.Cursor(int(ms), known)
    except (ValueError, binascii.Error):
        raise Problem(400, "`cursor` is none of ours; take `next` of the page before") from None


def _cursor_of(row: dict[str, Any]) -> str:
    sent: datetime = row["date_sent"].replace(tzinfo=UTC)
    ms = int(sent.timestamp() * 1000 + 0.5)
    return base64.urlsafe_b64encode(f"{ms}:{row['email_id']}".encode()).decode().rstrip("=")


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: _value(value) for name, value in row.items()}


def _value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return str(value) if isinstance(value, UUID) else value


def _renderer(settings: GatewaySettings) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """An item: the row's columns, and the links of its *Actions*."""

    def link(pattern: str, **parts: str) -> str | None:
        if not pattern or not all(parts.values()):
            return None
        for name, value in parts.items():
            pattern = pattern.replace(f"{{{name}}}", _escaped(value))
        return pattern

    def render(row: dict[str, Any]) -> dict[str, Any]:
        shown = {name: _value(value) for name, value in row.items() if name not in _HIDDEN}
        account = row["account_id"]
        client = row["recipient_id"] if row["sent_to"] == "client" else ""
        shown["actions"] = {
            "preview": None,  # nothing keeps what was sent yet
            "client": link(settings.client_url, account_id=account, client_id=client),
            "appointment": link(settings.appointment_url, account_id=account, appointment_id=row["appointment_id"]),
        }
        return shown

    return render


def _escaped(value: str) -> str:
    from urllib.parse import quote

    return quote(value, safe="")
