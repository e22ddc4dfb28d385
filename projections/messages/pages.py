"""Rows of Messaging Logs: first the keys of a page, then the rows of the keys.

In:  what reads from a store; a `Filter`. Out: rows of `messages`, as dictionaries.

To make a row costs a hundred times as much as to find it, so a page makes no more rows than it shows. The keys are
found by an index where a filter has one (an address, an id), or by one narrow column (a part of the subject), else by
reading the columns of the filters alone, in windows of time that grow until the page is full. The rows are made of the
states of the keys, and of the events of those that are not simple (rows.py).

A row may change between the two: it is shown as it is by then, and left out where its status, or what else events tell,
does not match any more; then the page takes one more key, so it is never short while there are more.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, Protocol
from uuid import UUID

from projections.messages import queries
from projections.messages.filters import Filter, asks_events, given
from projections.messages.queries import Cursor, Order, Window
from projections.messages.rows import Row, is_simple, row_of_events, row_of_state
from schemas.times import DAY_US, SECOND_US

__all__ = ["Reader", "read_page", "read_with_id"]

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - naive, in UTC, as rows have times
_WINDOW_DAYS: Final = (2, 31)
"""How far the first windows of a scan reach from its beginning; the last has no end."""
_HOUR_US: Final = 3_600 * SECOND_US
_MOST_KEYS: Final = 5_000
_SPARE_KEYS: Final = 8
"""More keys than are needed at first: of some rows only their events say whether they match."""
_ROWS_OF_KEY: Final = 4
"""So many rows that are not merged a message may have in its first days."""


class Reader(Protocol):
    """What reads rows, as `projections.store.Store` does."""

    def rows(self, sql: str, parameters: dict[str, Any]) -> list[Row]:
        """Return the rows of a query."""


class _Key(NamedTuple):
    account_id: str
    email_id: UUID
    date_sent: datetime

    @property
    def cursor(self) -> Cursor:
        return Cursor.behind(self.date_sent, self.email_id, self.account_id)


def read_page(
    store: Reader, wanted: Filter, *, limit: int, now_us: int, order: Order = "newest", after: Cursor | None = None
) -> list[Row]:
    """Return the rows of one page, and one more where there are more than `limit`.

    Keyset: rows that are inserted meanwhile never make a row appear twice or not at all. The ids are compared by
    ClickHouse alone, whose order of UUIDs is its own. `now_us` is the time by which a message is stuck, and where a
    scan begins to look.
    """
    if wanted.stuck_hours is not None:  # of a later message nothing can have been heard for so long
        stuck_us = now_us - wanted.stuck_hours * _HOUR_US
        wanted = replace(wanted, to_us=stuck_us if wanted.to_us is None else min(stuck_us, wanted.to_us))
    found: list[Row] = []
    hits = _Hits()
    keys = _keys(store, wanted, limit + 1, order, after, now_us, hits)
    number = limit + 1 + (_SPARE_KEYS if asks_events(wanted) else 0)
    while len(found) <= limit:
        some = _take(keys, number)
        if not some:
            break
        found += _matching(store, wanted, some, now_us)
        hits.looked, hits.found = hits.looked + len(some), len(found)
        missing = limit + 1 - len(found)
        number = min(missing * (hits.looked // max(1, len(found)) + 1) + _SPARE_KEYS, hits.looked * 4, _MOST_KEYS)
    return found[: limit + 1]


@dataclass(slots=True)
class _Hits:
    """How many of the keys that were looked at were those of rows that match."""

    looked: int = 0
    found: int = 0

    @property
    def are_few(self) -> bool:
        return self.found * 2 < self.looked


def read_with_id(store: Reader, accounts: Sequence[str] | None, email_id: str) -> list[Row]:
    """Return the rows of one message id: one row, or up to ten where accounts share the id."""
    query = queries.states_with_id(accounts, email_id)
    return _rows_of(store, store.rows(query.sql, query.parameters))


def _take(keys: Iterator[_Key], number: int) -> list[_Key]:
    return [key for _, key in zip(range(number), keys, strict=False)]


def _keys(
    store: Reader, wanted: Filter, need: int, order: Order, after: Cursor | None, now_us: int, hits: _Hits
) -> Iterator[_Key]:
    """Yield the keys of the rows that may match, in the order of the list."""
    limit = min(need + _SPARE_KEYS, _MOST_KEYS)
    if queries.indexed_keys(wanted, limit=limit) is not None:
        # Without a filter a key comes once for each of its rows; with one, once.
        yield from _indexed(store, wanted, limit if given(wanted) else limit * _ROWS_OF_KEY, order, after)
        return
    for window in _windows(store, wanted, order, after, now_us):
        yield from _scanned(store, wanted, window, limit, order, after, hits)


def _indexed(store: Reader, wanted: Filter, limit: int, order: Order, after: Cursor | None) -> Iterator[_Key]:
    while True:
        query = queries.indexed_keys(wanted, limit=limit, order=order, after=after)
        rows = store.rows(query.sql, query.parameters) if query else []
        yield from dict.fromkeys(_key(row) for row in rows if row["may_match"])
        # Of what other tables name the state may be missing for a moment: fewer keys are not yet the end there.
        if not rows or (len(rows) < limit and not queries.names_by_other_tables(wanted)):
            return
        after, limit = _key(rows[-1]).cursor, min(limit * 4, _MOST_KEYS)


def _scanned(
    store: Reader, wanted: Filter, window: Window, limit: int, order: Order, after: Cursor | None, hits: _Hits
) -> Iterator[_Key]:
    while True:
        query = queries.scanned_keys(wanted, window, limit=limit, order=order, after=after, with_events=hits.are_few)
        rows = store.rows(query.sql, query.parameters)
        yield from map(_key, rows)
        if len(rows) < limit:
            return
        after, limit = _key(rows[-1]).cursor, min(limit * 4, _MOST_KEYS)


def _key(row: Row) -> _Key:
    return _Key(row["account_id"], row["email_id"], row["date_sent"])


def _windows(store: Reader, wanted: Filter, order: Order, after: Cursor | None, now_us: int) -> Iterator[Window]:
    """Yield windows that together are the whole span that is asked for, those that come first in the order first."""
    first, last = wanted.from_us, wanted.to_us
    if order == "newest":
        if after is not None:
            last = min(after.date_sent_ms * 1000 + 1000, last if last is not None else 1 << 62)
        begin = min(now_us, last if last is not None else now_us)
        end: int | None = last
        for days in _WINDOW_DAYS:
            edge = begin - days * DAY_US
            if first is not None and edge <= first:
                break
            yield Window(edge, end)
            end = edge
        yield Window(first, end)
        return
    if after is not None:
        first = max(after.date_sent_ms * 1000, first if first is not None else 0)
    if first is None:
        query = queries.oldest(wanted)
        first = store.rows(query.sql, query.parameters)[0]["ms"] * 1000
    start = first
    for days in _WINDOW_DAYS:
        edge = first + days * DAY_US
        if last is not None and edge >= last:
            break
        yield Window(start, edge)
        start = edge
    yield Window(start, last)


def _matching(store: Reader, wanted: Filter, keys: Sequence[_Key], now_us: int) -> list[Row]:
    """Return the rows of the keys that match, in their order."""
    ids = list(dict.fromkeys(str(key.email_id) for key in keys))
    query = queries.states_of_keys([key.account_id for key in keys], ids)
    asked = {key[:2] for key in keys}
    states = [s for s in store.rows(query.sql, query.parameters) if (s["account_id"], s["message_id"]) in asked]
    found = {(row["account_id"], row["email_id"]): row for row in _rows_of(store, states)}
    rows = (found.get(key[:2]) for key in keys)
    return [row for row in rows if row is not None and _holds(row, wanted, now_us)]


def _rows_of(store: Reader, states: Sequence[Row]) -> list[Row]:
    """Return the rows of states, in their order."""
    events: dict[tuple[str, UUID], list[Row]] = defaultdict(list)
    if others := [state for state in states if not is_simple(state)]:
        ids = list(dict.fromkeys(str(state["message_id"]) for state in others))
        query = queries.events_of_keys([state["account_id"] for state in others], ids)
        for event in store.rows(query.sql, query.parameters):
            events[event["account_id"], event["message_id"]].append(event)
    return [
        row_of_state(state)
        if is_simple(state)
        else row_of_events(state, events[state["account_id"], state["message_id"]])
        for state in states
    ]


def _holds(row: Row, wanted: Filter, now_us: int) -> bool:
    """Whether a row is what a filter means by what became of the message, or by whom it was for.

    By what else was asked for its key was found.
    """
    if wanted.stuck_hours is not None:
        heard = max(row["last_heard_at"] or row["date_sent"], row["date_sent"])
        quiet_since = _EPOCH + timedelta(microseconds=now_us) - timedelta(hours=wanted.stuck_hours)
        if row["status"] not in ("Processed", "Pending") or heard >= quiet_since:
            return False
    return (
        (not wanted.statuses or row["status"] in wanted.statuses)
        and (wanted.provider is None or row["provider"] == wanted.provider)
        and (not wanted.provider_message_ids or row["provider_message_id"] in wanted.provider_message_ids)
        and (wanted.code is None or wanted.code in (row["code"], row["enhanced_code"]))
        and (wanted.classification is None or row["classification"] == wanted.classification)
        and _is_for(row, wanted)
    )


def _is_for(row: Row, wanted: Filter) -> bool:
    """The filters of `filters.ROW_TELLS`."""
    keys = [row["to_key"], *row["cc_keys"]]
    recipient = (row["sent_to"], row["recipient_id"])
    return (
        (not wanted.addresses or not set(wanted.addresses).isdisjoint(keys))
        and (wanted.address_prefix is None or any(key.startswith(wanted.address_prefix) for key in keys))
        and (wanted.client_id is None or recipient == ("client", wanted.client_id))
        and (wanted.staff_id is None or recipient == ("staff", wanted.staff_id))
        and (wanted.appointment_id is None or row["appointment_id"] == wanted.appointment_id)
    )
