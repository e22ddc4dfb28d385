"""Reads one message with its events and its content, for the API and the console.

In:  a principal; the id of a message. Out: its row, its events, or a preview of its content; or Problem. The message of
an account that the principal does not cover gets the answer of one that does not exist. The evidence of a decision is
limited to what the principal may see.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

import orjson
from fastapi import Response

from application.evidence import visible_evidence
from application.principals import Principal
from gateway.access import accounts_to_query
from gateway.api import preview
from gateway.api.items import content_is_kept
from gateway.api.lists import Row
from gateway.problems import Problem
from gateway.read_pool import ReadPool
from projections.messages import queries
from projections.messages.contents import content
from projections.messages.pages import read_with_id
from projections.store import Store
from schemas.decoding.ids import ALL, message_id_or_blank

__all__ = ["EVENT_ID", "MessageReader"]

EVENT_ID: Final = re.compile(r"[0-9a-f]{32}")


class MessageReader:
    """Reads single messages. `days` is the retention of their content."""

    def __init__(self, store: Store, reads: ReadPool, days: int) -> None:
        self._store, self._reads, self._days = store, reads, days

    async def rows(self, principal: Principal, email_id: str, account: str | None) -> list[Row]:
        """Return the rows of an id: several if accounts share it. Raises Problem if there is none."""
        known = message_id_or_blank(email_id)
        if not known:
            raise _no_message()
        accounts = accounts_to_query(principal, ALL if account is None else account)
        rows = await self._reads.run(principal, read_with_id, self._store, accounts, known)
        if not rows:
            raise _no_message()
        return rows

    async def row(self, principal: Principal, email_id: str, account: str | None) -> Row:
        """Return the row of an id. Raises Problem if there is none, or if there are several."""
        rows = await self.rows(principal, email_id, account)
        if len(rows) > 1:
            raise Problem("account-required", "Several accounts share this id; name one with `account`")
        return rows[0]

    async def events(
        self, principal: Principal, row: Row, *, limit: int, after: queries.EventCursor | None = None
    ) -> list[Row]:
        """Return the events of a row, as the principal may see them: up to `limit`, and one more if there are more."""
        query = queries.timeline(row["account_id"], str(row["email_id"]), limit=limit, after=after)
        found = await self._reads.run(principal, self._store.rows, query.sql, query.parameters)
        if principal.covers_all:
            return found
        return await self._reads.run(principal, _with_visible_evidence, self._store, sorted(principal.accounts), found)

    async def event(self, principal: Principal, row: Row, event_id: str) -> Row:
        """Return one event of a row. Raises Problem if there is none."""
        if EVENT_ID.fullmatch(event_id):
            query = queries.timeline_event(row["account_id"], str(row["email_id"]), event_id)
            if found := await self._reads.run(principal, self._store.rows, query.sql, query.parameters):
                return found[0]
        raise Problem("no-such-event", "The message has no event with this id")

    async def preview(self, principal: Principal, row: Row) -> Response:
        """Return the content that was sent, as a sandboxed page. Raises Problem."""
        if not row["has_content"]:
            raise Problem("no-content", "No content of this message was stored")
        if not content_is_kept(row, self._days):
            raise Problem("content-expired", f"Content is kept for {self._days} days after Date Sent")
        query = content(row["account_id"], str(row["email_id"]))
        found = await self._reads.run(principal, self._store.rows, query.sql, query.parameters)
        if not found:  # the content is written apart from the row, and its table may have a shorter retention
            raise Problem("no-content", "The content is not stored yet, or was deleted early")
        if found[0]["erased"]:
            raise Problem("content-erased", "The content of this message was erased on request")
        return preview.page(found[0]["html"], found[0]["text"])


def _no_message() -> Problem:
    return Problem("no-such-message", "No such message")


def _with_visible_evidence(store: Store, accounts: Sequence[str], events: Sequence[Row]) -> list[Row]:
    """The events, with only that evidence of decisions that the accounts may see."""
    extras: dict[int, dict[str, Any]] = {
        n: orjson.loads(row["extra"]) for n, row in enumerate(events) if row["type"] == "decided" and row["extra"]
    }
    visible = visible_evidence(store, accounts, {one for extra in extras.values() for one in extra["evidence"]})
    kept = {n: extra | {"evidence": [e for e in extra["evidence"] if e in visible]} for n, extra in extras.items()}
    return [row | {"extra": orjson.dumps(kept[n]).decode()} if n in kept else row for n, row in enumerate(events)]
