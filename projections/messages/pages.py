"""Rows of Messaging Logs: first the keys of a page, then the rows of the keys.

In:  what reads from a store; a `Filter`. Out: rows of `messages`, as dictionaries.

To make a row costs a hundred times as much as to find it, so a page makes no more rows than it shows. The keys are
found by an index where a filter has one (an address, an id), or by one narrow column (a part of the subject), else by
reading the columns of the filters alone, in windows of time that grow until the page is full. Rows that are simple and
the others are read side by side.

A row may change between the two: it is shown as it is by then, and left out where it does not match any more; then the
page takes one more key, so it is never short while there are more.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol
from uuid import UUID

from projections.messages import queries
from projections.messages.queries import Cursor, Filter, Order, Query, Window

__all__ = ["Reader", "read_page", "read_with_id"]

Row = dict[str, Any]

_DAY_US: Final = 86_400_000_000
_WINDOW_DAYS: Final = (2, 31)
"""How far the first windows of a scan reach from its beginning; the last has no end."""
_MOST_KEYS: Final = 5_000
_SPARE_KEYS: Final = 8
"""More keys than are needed at first: of some rows only their events say whether they match."""


class Reader(Protocol):
    """What reads rows, as `projections.store.Store` does."""

    def rows(self, sql: str, parameters: dict[str, Any]) -> list[Row]:
        """Return the rows of a query."""

    def rows_of_each(self, queries: Sequence[tuple[str, dict[str, Any]]]) -> list[list[Row]]:
        """Return the rows of several queries, which run side by side."""


@dataclass(frozen=True, slots=True)
class _Key:
    account_id: str
    date_sent: datetime
    email_id: UUID
    is_simple: bool

    @property
    def cursor(self) -> Cursor:
        sent = self.date_sent.replace(tzinfo=UTC)
        return Cursor(int(sent.timestamp() * 1000 + 0.5), str(self.email_id), self.account_id)


def read_page(
    store: Reader, wanted: Filter, *, limit: int, now_us: int, order: Order = "newest", after: Cursor | None = None
) -> list[Row]:
    """Return the rows of one page, and one more where there are more than `limit`.

    Keyset: rows that are inserted meanwhile never make a row appear twice or not at all. The ids are compared by
    ClickHouse alone, whose order of UUIDs is its own. `now_us` is only where a scan begins to look.
    """
    found: list[Row] = []
    keys = _keys(store, wanted, limit + 1, order, after, now_us)
    number = limit + 1 + _SPARE_KEYS
    looked = 0
    while len(found) <= limit:
        some = _take(keys, number)
        if not some:
            break
        found += _rows_of(store, wanted, some)
        looked += len(some)
        missing = limit + 1 - len(found)
        number = min(missing * (looked // max(1, len(found)) + 1) + _SPARE_KEYS, looked * 4, _MOST_KEYS)
    return found[: limit + 1]


def read_with_id(store: Reader, accounts: Sequence[str] | None, email_id: str) -> list[Row]:
    """Return the rows of one message id: one row, or up to ten where accounts share the id."""
    query = queries.rows_with_id(accounts, email_id)
    rows = store.rows(query.sql, query.parameters)
    if others := [row["account_id"] for row in rows if not row["is_simple"]]:
        by_account = {row["account_id"]: row for row in rows if row["is_simple"]}
        for of in ("events", "all"):  # the second, where one has become simple since
            if missing := [account for account in others if account not in by_account]:
                query = queries.rows_of_keys(Filter(accounts), missing, [email_id], of=of)
                by_account |= {row["account_id"]: row for row in store.rows(query.sql, query.parameters)}
        rows = [by_account[account] for account in sorted(by_account)]
    return rows


def _take(keys: Iterator[_Key], number: int) -> list[_Key]:
    return [key for _, key in zip(range(number), keys, strict=False)]


def _keys(store: Reader, wanted: Filter, need: int, order: Order, after: Cursor | None, now_us: int) -> Iterator[_Key]:
    """Yield the keys of the rows that may match, in the order of the list."""
    limit = min(need + _SPARE_KEYS, _MOST_KEYS)
    if queries.chosen_keys(wanted, limit=limit) is not None:
        yield from _chosen(store, wanted, limit, order, after)
        return
    for window in _windows(store, wanted, order, after, now_us):
        yield from _scanned(store, wanted, window, limit, order, after)


def _chosen(store: Reader, wanted: Filter, limit: int, order: Order, after: Cursor | None) -> Iterator[_Key]:
    while True:
        query = queries.chosen_keys(wanted, limit=limit, order=order, after=after)
        assert query is not None
        rows = store.rows(query.sql, query.parameters)
        for row in rows:
            if row["may_match"]:
                yield _key(row)
        if len(rows) < limit:
            return
        after, limit = _key(rows[-1]).cursor, min(limit * 4, _MOST_KEYS)


def _scanned(
    store: Reader, wanted: Filter, window: Window, limit: int, order: Order, after: Cursor | None
) -> Iterator[_Key]:
    while True:
        query = queries.scanned_keys(wanted, window, limit=limit, order=order, after=after)
        rows = store.rows(query.sql, query.parameters)
        yield from map(_key, rows)
        if len(rows) < limit:
            return
        after, limit = _key(rows[-1]).cursor, min(limit * 4, _MOST_KEYS)


def _key(row: Row) -> _Key:
    return _Key(row["account_id"], row["date_sent"], row["email_id"], bool(row["is_simple"]))


def _windows(store: Reader, wanted: Filter, order: Order, after: Cursor | None, now_us: int) -> Iterator[Window]:
    """Yield windows that together are the whole span that is asked for, those that come first in the order first."""
    first, last = wanted.from_us, wanted.to_us
    if order == "newest":
        if after is not None:
            last = min(after.date_sent_ms * 1000 + 1000, last if last is not None else 1 << 62)
        begin = min(now_us, last if last is not None else now_us)
        end: int | None = last
        for days in _WINDOW_DAYS:
            edge = begin - days * _DAY_US
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
        edge = first + days * _DAY_US
        if last is not None and edge >= last:
            break
        yield Window(start, edge)
        start = edge
    yield Window(start, last)


def _rows_of(store: Reader, wanted: Filter, keys: Sequence[_Key]) -> list[Row]:
    """Return the rows of the keys that match, in their order."""
    simple, others = [key for key in keys if key.is_simple], [key for key in keys if not key.is_simple]
    asked: list[Query] = []
    if simple:
        asked.append(_query(wanted, simple, of="simple"))
    if others:
        asked.append(_query(wanted, others, of="events"))
    found = _by_key(row for rows in store.rows_of_each([(q.sql, q.parameters) for q in asked]) for row in rows)
    if missing := [key for key in keys if (key.account_id, key.email_id) not in found]:
        query = _query(wanted, missing, of="all")  # a row has become simple since, or is no longer
        found |= _by_key(store.rows(query.sql, query.parameters))
    rows = (found.get((key.account_id, key.email_id)) for key in keys)
    return [row for row in rows if row is not None and row["matches"]]


def _query(wanted: Filter, keys: Sequence[_Key], *, of: Any) -> Query:
    return queries.rows_of_keys(wanted, [key.account_id for key in keys], [str(key.email_id) for key in keys], of=of)


def _by_key(rows: Any) -> dict[tuple[str, UUID], Row]:
    return {(row["account_id"], row["email_id"]): row for row in rows}
