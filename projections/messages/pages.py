"""Read a page of Messaging Logs: first the keys of the page, then the rows of these keys.

In:  a store to read from; a `Filter`. Out: rows of `messages`, as dictionaries.

Building a row costs a hundred times as much as finding it, so a page builds no more rows than it shows. The keys are
found by an index if a filter has one (an address, an id); else by one narrow column (a part of the subject, a code), or
by reading only the columns of the filters, both in time windows that grow until the page is full. The rows are built
from the states of the keys, and from the events of the messages that are not simple (rows.py).

A row may change between the two queries. It is shown in its newer form, and left out if its status or another value
from events no longer matches; the page then takes one more key, so it is short only if there are no more rows.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from projections.messages import queries
from projections.messages.filters import CHECKED_ON_ROW, FROM_EVENTS, Filter, given, needs_events
from projections.messages.queries import Cursor, Order, Window
from projections.messages.rows import Row, is_simple, row_of_events, row_of_state
from projections.store.ports import Reader
from schemas.decoding.times import DAY_US, SECOND_US

__all__ = ["read_page", "read_with_id"]

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - naive and UTC, as the times of rows
_WINDOW_DAYS: Final = (2, 31)
"""The lengths of the first windows of a scan, from its start; the last window is unbounded."""
_HOUR_US: Final = 3_600 * SECOND_US
_MOST_KEYS: Final = 5_000
_SPARE_KEYS: Final = 8
"""Extra keys to read at first, since some rows turn out not to match once their events are read."""
_ROWS_OF_KEY: Final = 4
"""How many unmerged rows a message typically has in its first days."""


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
    """Return the rows of one page, and one more if there are more than `limit`.

    Keyset pagination: rows that are inserted meanwhile cause no duplicate and no gap. Only ClickHouse compares ids,
    since it has its own order of UUIDs. `now_us` is the current time: for `stuck_hours`, and as the start of a scan.
    """
    if wanted.stuck_hours is not None:  # a later message can't be stuck for so long yet
        stuck_us = now_us - wanted.stuck_hours * _HOUR_US
        wanted = replace(wanted, to_us=stuck_us if wanted.to_us is None else min(stuck_us, wanted.to_us))
    found: list[Row] = []
    matches = _MatchRate()
    keys = _keys(store, wanted, limit + 1, order, after, now_us, matches)
    number = limit + 1 + (_SPARE_KEYS if needs_events(wanted) else 0)
    while len(found) <= limit:
        batch = _take(keys, number)
        if not batch:
            break
        found += _matching(store, wanted, batch, now_us)
        matches.checked, matches.found = matches.checked + len(batch), len(found)
        missing = limit + 1 - len(found)
        number = min(
            missing * (matches.checked // max(1, len(found)) + 1) + _SPARE_KEYS, matches.checked * 4, _MOST_KEYS
        )
    return found[: limit + 1]


@dataclass(slots=True)
class _MatchRate:
    """How many keys were checked, and how many of their rows matched."""

    checked: int = 0
    found: int = 0

    @property
    def is_low(self) -> bool:
        return self.found * 2 < self.checked


def read_with_id(store: Reader, accounts: Sequence[str] | None, email_id: str) -> list[Row]:
    """Return the rows of one message id: one, or up to ten if several accounts use the id."""
    query = queries.states_with_id(accounts, email_id)
    return _rows_of(store, store.rows(query.sql, query.parameters))


def _take(keys: Iterator[_Key], number: int) -> list[_Key]:
    return [key for _, key in zip(range(number), keys, strict=False)]


def _keys(
    store: Reader, wanted: Filter, need: int, order: Order, after: Cursor | None, now_us: int, matches: _MatchRate
) -> Iterator[_Key]:
    """Yield the keys of rows that may match, in list order."""
    limit = min(need + _SPARE_KEYS, _MOST_KEYS)
    if queries.indexed_keys(wanted, limit=limit) is None:
        for window in _windows(store, wanted, order, after, now_us):
            yield from _scanned(store, wanted, window, limit, order, after, matches)
    elif queries.reads_a_column(wanted):
        for window in _windows(store, wanted, order, after, now_us):
            yield from _indexed(store, wanted, limit, order, after, window)
    else:
        # Without a filter the query returns a key once per unmerged row; with a filter, once.
        yield from _indexed(store, wanted, limit if given(wanted) else limit * _ROWS_OF_KEY, order, after)


def _indexed(
    store: Reader, wanted: Filter, limit: int, order: Order, after: Cursor | None, window: Window | None = None
) -> Iterator[_Key]:
    while True:
        query = queries.indexed_keys(wanted, limit=limit, order=order, after=after, window=window)
        keys = [_key(row) for row in store.rows(query.sql, query.parameters)] if query else []
        yield from _that_may_match(store, wanted, list(dict.fromkeys(keys)), are_all=len(keys) < limit)
        if len(keys) < limit:
            return
        after, limit = keys[-1].cursor, min(limit * 4, _MOST_KEYS)


def _that_may_match(store: Reader, wanted: Filter, keys: Sequence[_Key], *, are_all: bool) -> Iterable[_Key]:
    """Return the keys without those whose state says that they don't match, unless their rows tell that as cheaply."""
    wanted_names = {*given(wanted)}
    on_row = wanted_names <= CHECKED_ON_ROW
    if not wanted_names or not keys or (on_row and (are_all or wanted_names.isdisjoint(FROM_EVENTS))):
        return keys
    query = queries.matching_keys(wanted, keys)
    found = {(row["account_id"], row["email_id"]) for row in store.rows(query.sql, query.parameters)}
    return [key for key in keys if key[:2] in found]


def _scanned(
    store: Reader, wanted: Filter, window: Window, limit: int, order: Order, after: Cursor | None, matches: _MatchRate
) -> Iterator[_Key]:
    while True:
        query = queries.scanned_keys(wanted, window, limit=limit, order=order, after=after, with_events=matches.is_low)
        rows = store.rows(query.sql, query.parameters)
        yield from map(_key, rows)
        if len(rows) < limit:
            return
        after, limit = _key(rows[-1]).cursor, min(limit * 4, _MOST_KEYS)


def _key(row: Row) -> _Key:
    return _Key(row["account_id"], row["email_id"], row["date_sent"])


def _windows(store: Reader, wanted: Filter, order: Order, after: Cursor | None, now_us: int) -> Iterator[Window]:
    """Yield windows that together cover the whole time span of the filter, in list order."""
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
    """Return the matching rows of the keys, in the order of the keys."""
    ids = list(dict.fromkeys(str(key.email_id) for key in keys))
    query = queries.states_of_keys([key.account_id for key in keys], ids)
    wanted_keys = {key[:2] for key in keys}
    states = [s for s in store.rows(query.sql, query.parameters) if (s["account_id"], s["message_id"]) in wanted_keys]
    found = {(row["account_id"], row["email_id"]): row for row in _rows_of(store, states)}
    rows = (found.get(key[:2]) for key in keys)
    return [row for row in rows if row is not None and _meets(row, wanted, now_us)]


def _rows_of(store: Reader, states: Sequence[Row]) -> list[Row]:
    """Return the rows of the states, in the order of the states."""
    events: dict[tuple[str, UUID], list[Row]] = defaultdict(list)
    if non_simple := [state for state in states if not is_simple(state)]:
        ids = list(dict.fromkeys(str(state["message_id"]) for state in non_simple))
        query = queries.events_of_keys([state["account_id"] for state in non_simple], ids)
        for event in store.rows(query.sql, query.parameters):
            events[event["account_id"], event["message_id"]].append(event)
    return [
        row_of_state(state)
        if is_simple(state)
        else row_of_events(state, events[state["account_id"], state["message_id"]])
        for state in states
    ]


def _meets(row: Row, wanted: Filter, now_us: int) -> bool:
    """Whether a row meets the filter's conditions on outcome and recipient. The key met the others."""
    if wanted.stuck_hours is not None:
        last_heard = max(row["last_heard_at"] or row["date_sent"], row["date_sent"])
        quiet_since = _EPOCH + timedelta(microseconds=now_us) - timedelta(hours=wanted.stuck_hours)
        if row["status"] not in ("Processed", "Pending") or last_heard >= quiet_since:
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
    """Whether a row meets the conditions of `filters.CHECKED_ON_ROW`."""
    keys = [row["to_key"], *row["cc_keys"]]
    recipient = (row["sent_to"], row["recipient_id"])
    return (
        (not wanted.addresses or not set(wanted.addresses).isdisjoint(keys))
        and (wanted.address_prefix is None or any(key.startswith(wanted.address_prefix) for key in keys))
        and (wanted.client_id is None or recipient == ("client", wanted.client_id))
        and (wanted.staff_id is None or recipient == ("staff", wanted.staff_id))
        and (wanted.appointment_id is None or row["appointment_id"] == wanted.appointment_id)
    )
