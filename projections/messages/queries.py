"""The queries of Messaging Logs. Each is limited to accounts; values from outside are bound parameters, never text.

In:  a `Filter`. Out: SQL and its parameters. The caller runs them; `pages.py` does so for lists.

A query that builds rows selects only the columns that it needs, and never from the view: see views/message_rows.py.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

from projections.messages.filters import (
    CONDITIONS,
    FROM_EVENTS,
    FROM_WINNER,
    Filter,
    bound,
    columns_of,
    conditions,
    given,
)
from projections.messages.rows import EVENT_COLUMNS, STATE_COLUMNS
from projections.store.views import kept, message_rows
from schemas.decoding.ids import sent_at_us
from schemas.providers.provider_ids import PROVIDER_ID_KEYS

__all__ = [
    "MAX_EVENTS",
    "Cursor",
    "EventCursor",
    "Order",
    "Query",
    "Window",
    "columns",
    "events_of_keys",
    "facets",
    "hours",
    "indexed_keys",
    "key_condition",
    "matching",
    "matching_keys",
    "non_simple_keys",
    "oldest",
    "reads_a_column",
    "scanned_keys",
    "states_of_keys",
    "states_with_id",
    "timeline",
    "timeline_event",
    "withdrawn",
]

MAX_EVENTS: Final = 10_000
"""The most events of one message that are read at once."""

Order = Literal["newest", "oldest"]
_SORTED: Final = {"newest": ("<", " DESC"), "oldest": (">", "")}


class Cursor(NamedTuple):
    """The key of a page's last row. Two accounts may use the same message id, so the account is part of the key."""

    date_sent_ms: int
    email_id: str
    account_id: str

    @classmethod
    def behind(cls, date_sent: datetime, email_id: UUID, account_id: str) -> "Cursor":
        """Return the cursor after the row with this key; the time is naive and UTC, as the driver returns it."""
        return cls(int(date_sent.replace(tzinfo=UTC).timestamp() * 1000 + 0.5), str(email_id), account_id)


class EventCursor(NamedTuple):
    """The key of the last row of a timeline page."""

    occurred_us: int
    received_us: int
    event_id: str


@dataclass(frozen=True, slots=True)
class Query:
    """SQL with named parameters."""

    sql: str
    parameters: dict[str, Any]


class Window(NamedTuple):
    """A range of Date Sent in microseconds: from `from_us` (inclusive) to `to_us` (exclusive)."""

    from_us: int | None
    to_us: int | None


class _Names(NamedTuple):
    """The column names of a message's key."""

    account_id: str
    date_sent: str
    email_id: str


_OF_ROW: Final = _Names("account_id", "date_sent", "email_id")
_OF_TABLE: Final = _Names("account_id", "sent_at", "message_id")
_OF_ALIAS: Final = _Names("t.account_id", "t.sent_at", "t.message_id")
_KNOWN: Final = f"sent_at < toDateTime64('2200-01-01 00:00:00', 3, 'UTC') AND sent_at >= {kept.SINCE}"
"""Whether a message is shown. Ids with a later time are refused, and messages with an earlier one have expired."""


def indexed_keys(
    wanted: Filter, *, limit: int, order: Order = "newest", after: Cursor | None = None, window: Window | None = None
) -> Query | None:
    """Return the query of up to `limit` keys that include all rows of the page; None if only a scan can find them.

    An index, or one narrow column, finds the rows that contain a value, merged or not, of `message_state` or of another
    table. So some keys may not match (`matching_keys` tells), and some may have no state yet. Columns: account_id,
    date_sent, email_id. Without a filter a key may come several times, once per unmerged row: removing these duplicates
    would double the time.
    """
    bounds, parameters = _bounds(wanted, _OF_TABLE, order, after, window)
    indexed = _indexed(wanted, [*bounds, _KNOWN])
    if indexed is None:
        return None
    keys, index_parameters = indexed
    by = _by(_OF_TABLE, order, in_account=wanted.accounts is not None and len(wanted.accounts) == 1)
    distinct = "DISTINCT " if given(wanted) else ""
    return Query(
        "SELECT account_id, sent_at AS date_sent, message_id AS email_id FROM"  # noqa: S608
        f" (SELECT {distinct}account_id, sent_at, message_id FROM ({keys}) ORDER BY {by} LIMIT {{limit:UInt32}})"
        f" ORDER BY {_by(_OF_ROW, order)}",
        parameters | index_parameters | {"limit": limit},
    )


def matching_keys(wanted: Filter, keys: Sequence[tuple[str, UUID, datetime]]) -> Query:
    """Return the query of those of some keys (account, id, Date Sent) whose state meets the filter, in any order.

    Columns: account_id, date_sent, email_id. A message that is not simple counts as a match in what only its events
    tell. If several accounts are given, the result may include combinations of account and id that were not requested.
    """
    within, parameters = key_condition("t", [key[0] for key in keys], [str(key[1]) for key in keys])
    inner, match, more = _states(wanted, within=within, by_key=True)
    return Query(f"SELECT account_id, date_sent, email_id FROM ({inner}) WHERE {match}", parameters | more)  # noqa: S608


def reads_a_column(wanted: Filter) -> bool:
    """Whether `indexed_keys` reads one column of all messages, so that it takes longer the more time it covers."""
    return _column(wanted) in _WITHOUT_INDEX and wanted.email_id is None and not wanted.provider_message_ids


def scanned_keys(
    wanted: Filter,
    window: Window,
    *,
    limit: int,
    order: Order = "newest",
    after: Cursor | None = None,
    with_events: bool = False,
) -> Query:
    """Return the query of up to `limit` matching keys of a window; it reads only the columns of the filters.

    Columns: account_id, date_sent, email_id. Messages that are not simple can only be checked against their events.
    `with_events` does so, and takes three times as long; without it, all of them that may match are among the keys.
    """
    if with_events:
        rows, parameters = matching(wanted, _OF_ROW, window=window, order=order, after=after)
        match = "1"
    else:
        bounds, parameters = _bounds(wanted, _OF_ALIAS, order, after, window)
        rows, match, more = _states(wanted, within=" AND ".join(bounds))
        parameters |= more
    return Query(
        f"SELECT account_id, date_sent, email_id FROM ({rows}) WHERE {match}"  # noqa: S608
        f" ORDER BY {_by(_OF_ROW, order)} LIMIT {{limit:UInt32}}",
        parameters | {"limit": limit},
    )


def oldest(wanted: Filter) -> Query:
    """Return the query of the earliest Date Sent of the accounts' messages, in milliseconds."""
    bounds, parameters = _bounds(Filter(wanted.accounts), _OF_TABLE)
    where = " AND ".join([*bounds, _KNOWN])
    return Query(f"SELECT toUnixTimestamp64Milli(min(sent_at)) AS ms FROM message_state WHERE {where}", parameters)  # noqa: S608


def hours(wanted: Filter) -> Query:
    """Return the query of (hour, rows), sorted by hour: the hours of Date Sent, counted since 1970.

    `rows` is how many table rows must be read for the filter: those that an index or a narrow column finds, else all
    rows of `message_state`.
    """
    bounds, parameters = _bounds(wanted, _OF_TABLE)
    where = [*bounds, _KNOWN]
    keys, index_parameters = _indexed(wanted, where, only_selective=True) or (
        f"SELECT sent_at FROM message_state WHERE {' AND '.join(where)}",  # noqa: S608
        {},
    )
    return Query(
        f"SELECT intDiv(toUnixTimestamp64Milli(sent_at), 3600000) AS hour, count() FROM ({keys})"  # noqa: S608
        " GROUP BY hour ORDER BY hour",
        parameters | index_parameters,
    )


def states_of_keys(accounts: Iterable[str], email_ids: Sequence[str]) -> Query:
    """Return the query of the states of some keys, with the columns `rows.STATE_COLUMNS`.

    If several accounts are given, the result may include combinations of account and id that were not requested.
    """
    where, parameters = key_condition("f", accounts, email_ids)
    return Query(
        f"SELECT {', '.join(STATE_COLUMNS)} FROM message_state AS f FINAL PREWHERE {where}",  # noqa: S608
        parameters,
    )


def events_of_keys(accounts: Iterable[str], email_ids: Sequence[str]) -> Query:
    """Return the query of the events of some keys, without withdrawn ones, with the columns `rows.EVENT_COLUMNS`."""
    where, parameters = key_condition("l", accounts, email_ids)
    return Query(
        f"SELECT {', '.join(EVENT_COLUMNS)} FROM events AS l FINAL PREWHERE {where} WHERE l.link != 'withdrawn'",  # noqa: S608
        parameters,
    )


def states_with_id(accounts: Sequence[str] | None, email_id: str) -> Query:
    """Return the query of the states of one message id: one, or up to ten if accounts share the id."""
    bounds, parameters = _bounds(
        Filter(accounts, email_id=email_id), _Names("f.account_id", "f.sent_at", "f.message_id")
    )
    where = " AND ".join([*bounds, _KNOWN])
    return Query(
        f"SELECT {', '.join(STATE_COLUMNS)} FROM message_state AS f FINAL PREWHERE {where}"  # noqa: S608
        " ORDER BY account_id LIMIT 10",
        parameters,
    )


def key_condition(alias: str, accounts: Iterable[str], email_ids: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Return the condition on a table's key for some messages, and its parameters; `alias` is the table's alias.

    It selects each id in each account. So with several accounts it may find combinations that were not requested.
    """
    times = sorted({f"{sent_at_us(email_id) / 1_000_000:.3f}" for email_id in email_ids})
    # Three separate conditions with constants, so that ClickHouse can use the primary key.
    where = (
        f"{alias}.account_id IN {{key_accounts:Array(String)}}"
        f" AND {alias}.sent_at IN {{key_times:Array(DateTime64(3, 'UTC'))}}"
        f" AND {alias}.message_id IN {{key_ids:Array(UUID)}}"
    )
    return where, {"key_accounts": sorted(set(accounts)), "key_times": times, "key_ids": [*email_ids]}


def withdrawn(wanted: Filter) -> Query:
    """Return the query of one row if an event was withdrawn from a message of the accounts and time, else none."""
    bounds, parameters = _bounds(wanted, _OF_TABLE)
    where = " AND ".join([*bounds, _KNOWN, "bitAnd(flags, 1) = 1"])
    return Query(f"SELECT 1 FROM message_state WHERE {where} LIMIT 1", parameters)  # noqa: S608


def facets(wanted: Filter, *, any_withdrawn: bool = True) -> Query:
    """Return the query of (status, channel, type, messages): the number of messages of each.

    If not `any_withdrawn`, it skips the part for the messages that `withdrawn` finds, which costs as much as counting
    50,000 messages.
    """
    rows, parameters = matching(wanted, ("status", "channel", "type"), any_withdrawn=any_withdrawn)
    return Query(
        f"SELECT status, channel, type, count() FROM ({rows}) GROUP BY status, channel, type",  # noqa: S608
        parameters,
    )


def columns(
    wanted: Filter,
    names: Sequence[str],
    window: Window,
    non_simple: Sequence[Cursor],
    *,
    limit: int,
    order: Order,
    after: Cursor | None,
) -> Query:
    """Return the query of these columns of a window's matching messages: up to `limit`, in order.

    `non_simple` are the keys of the messages that are not simple (`non_simple_keys`). Times are RFC 3339 text, ids are
    text. After the columns come `is_known`, which is 0 for a message that is missing in `non_simple`, whose row is not
    valid; and date_sent (in milliseconds), email_id and account_id, which make the cursor.
    """
    where, parameters = conditions(wanted)
    within, bounds = _within(wanted, window, order, after)
    made = dict.fromkeys([*names, *(name for sql in where for name in columns_of(sql)), *_OF_ROW])
    of_row, match = ", ".join(dict.fromkeys([*names, *_OF_ROW])), " AND ".join(where) or "1"
    states = message_rows.state_rows(made, "is_simple", within=within, by_key=True)
    rows = (
        f"SELECT {of_row}, is_simple AS is_known FROM ({states})"  # noqa: S608
        f" WHERE if(is_simple, {match}, NOT (email_id IN {{key_ids:Array(UUID)}}))"
    )
    is_non_simple, keys = key_condition(
        "t", [key.account_id for key in non_simple], [key.email_id for key in non_simple]
    )
    if non_simple:
        of_events = message_rows.event_rows_of(made, within=f"{is_non_simple} AND {within}")
        rows += f" UNION ALL SELECT {of_row}, 1 AS is_known FROM ({of_events}) WHERE {match}"  # noqa: S608
    shown = [_TEXTS.get(name, name) for name in names]
    cursor = ("toUnixTimestamp64Milli(date_sent)", "toString(email_id)", "account_id")
    return Query(
        f"SELECT {', '.join([*shown, 'is_known', *cursor])} FROM ({rows})"  # noqa: S608
        f" ORDER BY {_by(_OF_ROW, order)} LIMIT {{limit:UInt32}}",
        parameters | bounds | keys | {"limit": limit},
    )


def non_simple_keys(wanted: Filter, window: Window, *, order: Order, after: Cursor | None) -> Query:
    """Return the query of the keys, in the form of `Cursor`, of a window's messages that are not simple."""
    within, parameters = _within(wanted, window, order, after)
    rows = message_rows.state_rows(_OF_ROW, "is_simple", within=within)
    return Query(
        "SELECT toUnixTimestamp64Milli(date_sent), toString(email_id), account_id"  # noqa: S608
        f" FROM ({rows}) WHERE NOT is_simple",
        parameters,
    )


def _within(wanted: Filter, window: Window | None, order: Order, after: Cursor | None) -> tuple[str, dict[str, Any]]:
    """Return the condition on the wanted keys, and its parameters; it uses an index if a filter has one."""
    within, parameters = _bounds(wanted, _OF_ALIAS, order, after, window)
    if indexed := _indexed(wanted, [*_bounds(wanted, _OF_TABLE, window=window)[0], _KNOWN], only_selective=True):
        keys, index_parameters = indexed
        parameters |= index_parameters
        within.append(f"({', '.join(_OF_ALIAS)}) IN ({keys})")
    return " AND ".join(within), parameters


_TEXTS: Final = {
    name: f"formatDateTime(toDateTime64({name}, 6, 'UTC'), '%FT%T.%fZ', 'UTC')"
    for name in message_rows.RULES
    if name == "date_sent" or name.endswith("_at")
} | {"email_id": "toString(email_id)"}
"""The columns that are text in an export file but not in a row."""


def matching(
    wanted: Filter,
    columns: Iterable[str],
    *,
    window: Window | None = None,
    order: Order = "newest",
    after: Cursor | None = None,
    any_withdrawn: bool = True,
) -> tuple[str, dict[str, Any]]:
    """Return the query of these columns of all matching messages, and its parameters.

    Optionally limited to a window, and to rows after a cursor. `any_withdrawn`: see `facets`.
    """
    where, parameters = conditions(wanted)
    names = dict.fromkeys([*columns, *(name for sql in where for name in columns_of(sql)), *_OF_ROW])
    within, more = _within(wanted, window, order, after)
    match = " AND ".join(where) or "1"
    branches: Sequence[Callable[..., str]] = (message_rows.simple_rows, message_rows.event_rows)
    if message_rows.readable_from_state(names):
        branches = [message_rows.intact_rows, *([message_rows.withdrawn_rows] if any_withdrawn else [])]
    each = (make(names, within=within) for make in branches)
    both = (f"SELECT {', '.join(columns)} FROM ({of}) WHERE {match}" for of in each)  # noqa: S608
    return " UNION ALL ".join(both), parameters | more


def timeline_event(account_id: str, email_id: str, event_id: str) -> Query:
    """Return the query of one event of a message's timeline."""
    of_message, parameters = key_condition("t", [account_id], [email_id])
    return Query(
        f"SELECT * FROM ({message_rows.timeline_rows(of_message)}) WHERE event_id = {{event_id:String}}",  # noqa: S608
        parameters | {"event_id": event_id},
    )


def timeline(account_id: str, email_id: str, *, limit: int, after: EventCursor | None = None) -> Query:
    """Return the query of one message's events, sorted by occurrence, then by arrival: up to `limit` + 1 rows."""
    of_message, parameters = key_condition("t", [account_id], [email_id])
    parameters["limit"] = limit + 1
    behind = ""
    if after is not None:
        behind = (
            " AND (occurred_at, received_at, event_id) > (fromUnixTimestamp64Micro({occurred_us:Int64}, 'UTC'),"
            " fromUnixTimestamp64Micro({received_us:Int64}, 'UTC'), {event_id:String})"
        )
        parameters |= after._asdict()
    return Query(
        f"SELECT * FROM ({message_rows.timeline_rows(of_message)}) WHERE 1{behind}"  # noqa: S608
        " ORDER BY occurred_at, received_at, event_id LIMIT {limit:UInt32}",
        parameters,
    )


def _bounds(
    wanted: Filter,
    names: _Names,
    order: Order = "newest",
    after: Cursor | None = None,
    window: Window | None = None,
) -> tuple[list[str], dict[str, Any]]:
    """Return the conditions on a message's key, and their parameters."""
    account_id, date_sent, email_id = names
    by_name = {
        "accounts": f"{account_id} IN {{accounts:Array(String)}}",
        "from_us": f"{date_sent} >= fromUnixTimestamp64Micro({{from_us:Int64}}, 'UTC')",
        "to_us": f"{date_sent} < fromUnixTimestamp64Micro({{to_us:Int64}}, 'UTC')",
        # The id contains the time, and the table is sorted by time: one message is found without a scan.
        "email_id": f"{date_sent} = UUIDv7ToDateTime({{email_id:UUID}}, 'UTC') AND {email_id} = {{email_id:UUID}}",
    }
    parameters = {name: bound(value) for name in by_name if (value := getattr(wanted, name)) is not None}
    found = [by_name[name] for name in parameters]
    if after is not None:
        beyond, _ = _SORTED[order]
        found.append(
            f"({date_sent}, {email_id}, {account_id}) {beyond}"
            " (fromUnixTimestamp64Milli({after_ms:Int64}, 'UTC'), {after_id:UUID}, {after_account:String})"
        )
        # Repeated for the column alone, since the primary key can't use a condition on the tuple.
        found.append(f"{date_sent} {beyond}= fromUnixTimestamp64Milli({{after_ms:Int64}}, 'UTC')")
        parameters |= {"after_ms": after.date_sent_ms, "after_id": after.email_id, "after_account": after.account_id}
    if window is not None and window.from_us is not None:
        found.append(f"{date_sent} >= fromUnixTimestamp64Micro({{window_from_us:Int64}}, 'UTC')")
        parameters["window_from_us"] = window.from_us
    if window is not None and window.to_us is not None:
        found.append(f"{date_sent} < fromUnixTimestamp64Micro({{window_to_us:Int64}}, 'UTC')")
        parameters["window_to_us"] = window.to_us
    return found, parameters


def _by(names: _Names, order: Order, *, in_account: bool = False) -> str:
    """Return the ORDER BY of a list. `in_account`: in the table's order, so that ClickHouse can stop reading early."""
    account_id, date_sent, email_id = names
    by = (account_id, date_sent, email_id) if in_account else (date_sent, email_id, account_id)
    return ", ".join(f"{name}{_SORTED[order][1]}" for name in by)


def _indexed(
    wanted: Filter, bounds: Sequence[str], *, only_selective: bool = False
) -> tuple[str, dict[str, Any]] | None:
    """Return an index query for a set of keys that includes all wanted ones, and its parameters.

    None if no filter is selective. A query for one account and a time alone is served in the table's order (but not
    with `only_selective`).
    """
    keys = f"SELECT account_id, sent_at, message_id FROM message_state WHERE {' AND '.join(bounds)}"  # noqa: S608
    if known_by := [f"{name}:{id_}" for name in _providers(wanted) for id_ in wanted.provider_message_ids]:
        if max(len(id_.encode()) for id_ in wanted.provider_message_ids) > _MAX_ID_BYTES:
            return None
        where = " AND ".join(bounds)
        of_table = "SELECT account_id, UUIDv7ToDateTime(message_id, 'UTC') AS sent_at, message_id FROM"
        sql = (
            f"SELECT account_id, sent_at, message_id FROM ({of_table} holders"  # noqa: S608
            f" WHERE known_by IN {{known_by:Array(String)}} UNION ALL {of_table} dispatches WHERE provider IN"
            " {providers:Array(String)} AND provider_message_id IN {provider_message_ids:Array(String)})"
            f" WHERE {where}"
        )
        return sql, {"known_by": known_by, "providers": [*_providers(wanted)]} | {
            "provider_message_ids": [*wanted.provider_message_ids]
        }
    first = _column(wanted)
    if first is not None and wanted.email_id is None:
        each = " UNION ALL ".join(
            f"{keys.replace(' message_state ', f' {table} ')} AND ({sql})" for table, sql in _CANDIDATES[first]
        )
        return f"SELECT account_id, sent_at, message_id FROM ({each})", {  # noqa: S608
            first: bound(getattr(wanted, first))
        }
    in_order = not given(wanted) and wanted.accounts is not None and len(wanted.accounts) == 1 and not only_selective
    if wanted.email_id is not None or in_order:
        return keys, {}
    return None


def _states(wanted: Filter, *, within: str = "", by_key: bool = False) -> tuple[str, str, dict[str, Any]]:
    """Return the query of the state columns that the filter needs, the condition on them, and its parameters.

    A condition that only a message's events can answer counts as met here.
    """
    on_request, on_types, on_winner = (
        " AND ".join(CONDITIONS[name] for name in given(wanted) if name in names)
        for names in (CONDITIONS.keys() - {*FROM_EVENTS}, {*FROM_EVENTS} - {*FROM_WINNER}, FROM_WINNER)
    )
    _, parameters = conditions(wanted)
    names = dict.fromkeys([*_OF_ROW, *(n for name in given(wanted) for n in columns_of(CONDITIONS[name]))])
    match = [on_request] if on_request else []
    more = []
    for condition, is_valid in ((on_types, "is_intact"), (on_winner, "is_simple")):
        if condition:
            match.append(f"if({is_valid}, {condition}, 1)")
            more.append(is_valid)
    inner = message_rows.state_rows(names, *more, within=within, by_key=by_key)
    return inner, " AND ".join(match) or "1", parameters


def _column(wanted: Filter) -> str | None:
    """Return the filter by which `_CANDIDATES` finds rows."""
    return next((name for name in _CANDIDATES if name in given(wanted)), None)


_MAX_ID_BYTES: Final = 1_000
"""Longer ids are never linked: tables/0005_holders.sql."""


def _providers(wanted: Filter) -> Sequence[str]:
    return [wanted.provider] if wanted.provider else [*PROVIDER_ID_KEYS]


_CANDIDATES: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "addresses": (
        ("message_state", "substring(to_key, 17) IN {addresses:Array(String)}"),
        ("message_state", "hasAny(copied_to, {addresses:Array(String)})"),
    ),
    "client_id": (("message_state", "tupleElement(request, 'recipient_id') = {client_id:String}"),),
    "staff_id": (("message_state", "tupleElement(request, 'recipient_id') = {staff_id:String}"),),
    "appointment_id": (("message_state", "tupleElement(request, 'appointment_id') = {appointment_id:String}"),),
    "subject": (
        ("message_state", "positionCaseInsensitiveUTF8(tupleElement(request, 'subject'), {subject:String}) > 0"),
    ),
    "address_prefix": (
        ("message_state", "startsWith(substring(to_key, 17), {address_prefix:String})"),
        ("message_state", "arrayExists(key -> startsWith(key, {address_prefix:String}), copied_to)"),
    ),
    "code": (
        (
            "message_state",
            "{code:String} IN (tupleElement(winner, 'code'), tupleElement(winner, 'enhanced_code'),"
            " tupleElement(request, 'reason'))",
        ),
        ("events", "{code:String} IN (code, enhanced_code)"),
    ),
    "classification": (
        ("message_state", "tupleElement(winner, 'classification') = {classification:String}"),
        ("events", "classification = {classification:String}"),
    ),
}
"""By filter: the tables and conditions that find candidate rows by an index or a narrow column; they are united."""
_WITHOUT_INDEX: Final = ("subject", "address_prefix", "code", "classification")
"""Those of `_CANDIDATES` that read a column of every row."""
