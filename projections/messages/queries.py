"""The queries of Messaging Logs. Every one is bound to accounts; outside values are bound parameters, never text.

In:  a `Filter`; out: SQL and its parameters. Running them is the caller's; `pages.py` does it for lists.

A query that makes rows names the columns that it needs, and never the view: see views/message_rows.py.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

from projections.messages.filters import (
    BY_EVENTS,
    BY_WINNER,
    CONDITIONS,
    ROW_TELLS,
    Filter,
    bound,
    columns_of,
    conditions,
    given,
)
from projections.messages.rows import EVENT_COLUMNS, STATE_COLUMNS
from projections.store.views import message_rows
from schemas.identity import sent_at_us
from schemas.provider_ids import PROVIDER_ID_KEYS

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
    "matching",
    "names_by_other_tables",
    "of_keys",
    "oldest",
    "others_of",
    "scanned_keys",
    "states_of_keys",
    "states_with_id",
    "timeline",
    "withdrawn",
]

MAX_EVENTS: Final = 10_000
"""Events of one message that are read at once, at the most."""

Order = Literal["newest", "oldest"]
_SORTED: Final = {"newest": ("<", " DESC"), "oldest": (">", "")}


class Cursor(NamedTuple):
    """Where a page ended: the key of its last row. Two accounts may share an id, so the account is a part of it."""

    date_sent_ms: int
    email_id: str
    account_id: str

    @classmethod
    def behind(cls, date_sent: datetime, email_id: UUID, account_id: str) -> "Cursor":
        """Return the cursor behind a row with this key; the time is naive, in UTC, as the driver gives it."""
        return cls(int(date_sent.replace(tzinfo=UTC).timestamp() * 1000 + 0.5), str(email_id), account_id)


class EventCursor(NamedTuple):
    """Where a page of a timeline ended: the key of its last row."""

    occurred_us: int
    received_us: int
    event_id: str


@dataclass(frozen=True, slots=True)
class Query:
    """SQL with named parameters."""

    sql: str
    parameters: dict[str, Any]


class Window(NamedTuple):
    """A span of Date Sent, in microseconds: from the first, which is included, to the second, which is not."""

    from_us: int | None
    to_us: int | None


class _Names(NamedTuple):
    """How the parts of a key are called."""

    account_id: str
    date_sent: str
    email_id: str


_OF_ROW: Final = _Names("account_id", "date_sent", "email_id")
_OF_TABLE: Final = _Names("account_id", "sent_at", "message_id")
_OF_ALIAS: Final = _Names("t.account_id", "t.sent_at", "t.message_id")
_KNOWN: Final = "sent_at < toDateTime64('2200-01-01 00:00:00', 3, 'UTC')"
"""Of an id with a later time there is no row."""


def indexed_keys(wanted: Filter, *, limit: int, order: Order = "newest", after: Cursor | None = None) -> Query | None:
    """Return the query of up to `limit` keys among which all rows of the page are; None where only a scan finds them.

    The rows of `message_state` that state a value are found by it, merged or not, and what the merged row says is asked
    after that: here, or of the row (`filters.ROW_TELLS`), where such a filter stands alone, so that nearly all keys
    match. Columns: account_id, date_sent, email_id, may_match. Where `may_match` is 0 the row does not match. Without a
    filter a key whose rows are not merged may come several times: to leave copies out would take as long as the rest.
    """
    bounds, parameters = _bounds(wanted, _OF_TABLE, order, after)
    choice = _choice(wanted, [*bounds, _KNOWN])
    if choice is None:
        return None
    keys, chosen = choice
    by = _by(_OF_TABLE, order, in_account=wanted.accounts is not None and len(wanted.accounts) == 1)
    parameters |= chosen | {"limit": limit}
    if not given(wanted):
        return Query(
            f"SELECT account_id, sent_at AS date_sent, message_id AS email_id, 1 AS may_match FROM ({keys})"  # noqa: S608
            f" ORDER BY {by.replace('sent_at', 'date_sent').replace('message_id', 'email_id')} LIMIT {{limit:UInt32}}",
            parameters,
        )
    keys = f"SELECT DISTINCT account_id, sent_at, message_id FROM ({keys}) ORDER BY {by} LIMIT {{limit:UInt32}}"  # noqa: S608
    if len(given(wanted)) == 1 and ROW_TELLS.issuperset(given(wanted)):
        return Query(
            f"SELECT account_id, sent_at AS date_sent, message_id AS email_id, 1 AS may_match FROM ({keys})"  # noqa: S608
            f" ORDER BY {_by(_OF_ROW, order)}",
            parameters,
        )
    inner, match, more = _states(wanted, within=f"({', '.join(_OF_ALIAS)}) IN ({keys})", by_key=True)
    return Query(
        f"SELECT account_id, date_sent, email_id, ({match}) AS may_match FROM ({inner})"  # noqa: S608
        f" ORDER BY {_by(_OF_ROW, order)}",
        parameters | more,
    )


def scanned_keys(
    wanted: Filter,
    window: Window,
    *,
    limit: int,
    order: Order = "newest",
    after: Cursor | None = None,
    with_events: bool = False,
) -> Query:
    """Return the query of the keys of a window that match, by the columns of the filters alone: up to `limit`.

    Columns: account_id, date_sent, email_id. Of messages that are not simple only the events tell whether they match:
    they are asked `with_events`, which takes three times as long; without, all that may match are among the keys.
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


def names_by_other_tables(wanted: Filter) -> bool:
    """Whether `indexed_keys` takes keys from other tables than the state's."""
    return bool(wanted.provider_message_ids) or any(
        table != "message_state" for name in given(wanted) for table, _ in _STATED.get(name, ())
    )


def oldest(wanted: Filter) -> Query:
    """Return the query of the least Date Sent, in milliseconds, of the messages of the accounts."""
    bounds, parameters = _bounds(Filter(wanted.accounts), _OF_TABLE)
    held = " AND ".join([*bounds, _KNOWN])
    return Query(f"SELECT toUnixTimestamp64Milli(min(sent_at)) AS ms FROM message_state WHERE {held}", parameters)  # noqa: S608


def hours(wanted: Filter) -> Query:
    """Return the query of (hour, rows), the hours of Date Sent counted since 1970, in their order.

    `rows` is how many rows of tables must be looked at for what is wanted: those that an index or a narrow column
    finds, else all of the state.
    """
    bounds, parameters = _bounds(wanted, _OF_TABLE)
    held = [*bounds, _KNOWN]
    keys, chosen = _choice(wanted, held, only_selective=True) or (
        f"SELECT sent_at FROM message_state WHERE {' AND '.join(held)}",  # noqa: S608
        {},
    )
    return Query(
        f"SELECT intDiv(toUnixTimestamp64Milli(sent_at), 3600000) AS hour, count() FROM ({keys})"  # noqa: S608
        " GROUP BY hour ORDER BY hour",
        parameters | chosen,
    )


def states_of_keys(accounts: Iterable[str], email_ids: Sequence[str]) -> Query:
    """Return the query of the states of some keys, as `rows.STATE_COLUMNS`.

    A pair of account and id that is no key may be among them, where several accounts are given.
    """
    held, parameters = of_keys("f", accounts, email_ids)
    return Query(
        f"SELECT {', '.join(STATE_COLUMNS)} FROM message_state AS f FINAL PREWHERE {held}",  # noqa: S608
        parameters,
    )


def events_of_keys(accounts: Iterable[str], email_ids: Sequence[str]) -> Query:
    """Return the query of the events of some keys that were not withdrawn, as `rows.EVENT_COLUMNS`."""
    held, parameters = of_keys("l", accounts, email_ids)
    return Query(
        f"SELECT {', '.join(EVENT_COLUMNS)} FROM events AS l FINAL PREWHERE {held} WHERE l.link != 'withdrawn'",  # noqa: S608
        parameters,
    )


def states_with_id(accounts: Sequence[str] | None, email_id: str) -> Query:
    """Return the query of the states of one message id: one, or up to ten where accounts share the id."""
    bounds, parameters = _bounds(
        Filter(accounts, email_id=email_id), _Names("f.account_id", "f.sent_at", "f.message_id")
    )
    held = " AND ".join([*bounds, f"f.{_KNOWN}"])
    return Query(
        f"SELECT {', '.join(STATE_COLUMNS)} FROM message_state AS f FINAL PREWHERE {held} ORDER BY account_id LIMIT 10",  # noqa: S608
        parameters,
    )


def of_keys(alias: str, accounts: Iterable[str], email_ids: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Return the condition on a table's key that names some messages, and its parameters; `alias` is the table's.

    Each id of each account is asked for, so where there are several accounts a pair that nobody named may be found.
    """
    times = sorted({f"{sent_at_us(email_id) / 1_000_000:.3f}" for email_id in email_ids})
    # As constants, each for itself: so they reach the index.
    held = (
        f"{alias}.account_id IN {{key_accounts:Array(String)}}"
        f" AND {alias}.sent_at IN {{key_times:Array(DateTime64(3, 'UTC'))}}"
        f" AND {alias}.message_id IN {{key_ids:Array(UUID)}}"
    )
    return held, {"key_accounts": sorted(set(accounts)), "key_times": times, "key_ids": [*email_ids]}


def withdrawn(wanted: Filter) -> Query:
    """Return the query of one row if an event was withdrawn from a message of the accounts and the time, else none."""
    bounds, parameters = _bounds(wanted, _OF_TABLE)
    held = " AND ".join([*bounds, _KNOWN, "bitAnd(flags, 1) = 1"])
    return Query(f"SELECT 1 FROM message_state WHERE {held} LIMIT 1", parameters)  # noqa: S608


def facets(wanted: Filter, *, any_withdrawn: bool = True) -> Query:
    """Return the query of (status, channel, type, messages): how many of each there are.

    Without `any_withdrawn` those of which `withdrawn` tells are not looked for, which takes as long as to count 50,000.
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
    others: Sequence[Cursor],
    *,
    limit: int,
    order: Order,
    after: Cursor | None,
) -> Query:
    """Return the query of these columns of the messages of a window that are wanted: up to `limit`, in order.

    `others` are the keys of those that are not simple (`others_of`). Times are texts in RFC 3339, the id is text.
    Behind the columns come `is_known`, which is 0 where `others` lacks a message, so that its row says nothing; and
    date_sent (in milliseconds), email_id and account_id: of the last row, the cursor.
    """
    held, parameters = conditions(wanted)
    within, bounds = _within(wanted, window, order, after)
    made = dict.fromkeys([*names, *(name for sql in held for name in columns_of(sql)), *_OF_ROW])
    of_row, match = ", ".join(dict.fromkeys([*names, *_OF_ROW])), " AND ".join(held) or "1"
    states = message_rows.state_rows(made, "is_simple", within=within, by_key=True)
    rows = (
        f"SELECT {of_row}, is_simple AS is_known FROM ({states})"  # noqa: S608
        f" WHERE if(is_simple, {match}, NOT (email_id IN {{key_ids:Array(UUID)}}))"
    )
    these, keys = of_keys("t", [key.account_id for key in others], [key.email_id for key in others])
    if others:
        of_events = message_rows.event_rows_of(made, within=f"{these} AND {within}")
        rows += f" UNION ALL SELECT {of_row}, 1 AS is_known FROM ({of_events}) WHERE {match}"  # noqa: S608
    shown = [_TEXTS.get(name, name) for name in names]
    cursor = ("toUnixTimestamp64Milli(date_sent)", "toString(email_id)", "account_id")
    return Query(
        f"SELECT {', '.join([*shown, 'is_known', *cursor])} FROM ({rows})"  # noqa: S608
        f" ORDER BY {_by(_OF_ROW, order)} LIMIT {{limit:UInt32}}",
        parameters | bounds | keys | {"limit": limit},
    )


def others_of(wanted: Filter, window: Window, *, order: Order, after: Cursor | None) -> Query:
    """Return the query of the keys, as `Cursor`s are, of the messages of a window that are not simple."""
    within, parameters = _within(wanted, window, order, after)
    rows = message_rows.state_rows(_OF_ROW, "is_simple", within=within)
    return Query(
        "SELECT toUnixTimestamp64Milli(date_sent), toString(email_id), account_id"  # noqa: S608
        f" FROM ({rows}) WHERE NOT is_simple",
        parameters,
    )


def _within(wanted: Filter, window: Window | None, order: Order, after: Cursor | None) -> tuple[str, dict[str, Any]]:
    """Return the condition on the keys of what is wanted, and its parameters: by an index, where a filter has one."""
    within, parameters = _bounds(wanted, _OF_ALIAS, order, after, window)
    if choice := _choice(wanted, [*_bounds(wanted, _OF_TABLE, window=window)[0], _KNOWN], only_selective=True):
        keys, chosen = choice
        parameters |= chosen
        within.append(f"({', '.join(_OF_ALIAS)}) IN ({keys})")
    return " AND ".join(within), parameters


_TEXTS: Final = {
    name: f"formatDateTime(toDateTime64({name}, 6, 'UTC'), '%FT%T.%fZ', 'UTC')"
    for name in message_rows.RULES
    if name == "date_sent" or name.endswith("_at")
} | {"email_id": "toString(email_id)"}
"""What is text in a file and no text in a row."""


def matching(
    wanted: Filter,
    columns: Iterable[str],
    *,
    window: Window | None = None,
    order: Order = "newest",
    after: Cursor | None = None,
    any_withdrawn: bool = True,
) -> tuple[str, dict[str, Any]]:
    """Return the query of these columns of all messages that are wanted, and its parameters.

    If given, only of those of a window, and behind a cursor. `any_withdrawn`: see `facets`.
    """
    held, parameters = conditions(wanted)
    names = dict.fromkeys([*columns, *(name for sql in held for name in columns_of(sql)), *_OF_ROW])
    within, more = _within(wanted, window, order, after)
    where = " AND ".join(held) or "1"
    branches: Sequence[Callable[..., str]] = (message_rows.simple_rows, message_rows.event_rows)
    if message_rows.need_no_events(names):
        branches = [message_rows.kept_rows, *([message_rows.withdrawn_rows] if any_withdrawn else [])]
    each = (make(names, within=within) for make in branches)
    both = (f"SELECT {', '.join(columns)} FROM ({of}) WHERE {where}" for of in each)  # noqa: S608
    return " UNION ALL ".join(both), parameters | more


def timeline(account_id: str, email_id: str, *, limit: int, after: EventCursor | None = None) -> Query:
    """Return the query of one message's events, by the time they occurred, then by their arrival: `limit` + 1 rows."""
    parameters: dict[str, Any] = {"account": account_id, "email_id": email_id, "limit": limit + 1}
    behind = ""
    if after is not None:
        behind = (
            " AND (occurred_at, received_at, event_id) > (fromUnixTimestamp64Micro({occurred_us:Int64}, 'UTC'),"
            " fromUnixTimestamp64Micro({received_us:Int64}, 'UTC'), {event_id:String})"
        )
        parameters |= after._asdict()
    within = (
        "t.account_id = {account:String} AND t.sent_at = UUIDv7ToDateTime({email_id:UUID}, 'UTC')"
        " AND t.message_id = {email_id:UUID}"
    )
    return Query(
        f"SELECT * FROM ({message_rows.timeline_rows(within)}) WHERE 1{behind}"  # noqa: S608
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
    said = {
        "accounts": f"{account_id} IN {{accounts:Array(String)}}",
        "from_us": f"{date_sent} >= fromUnixTimestamp64Micro({{from_us:Int64}}, 'UTC')",
        "to_us": f"{date_sent} < fromUnixTimestamp64Micro({{to_us:Int64}}, 'UTC')",
        # The time is a function of the id, and the table is sorted by it: one message is found without a scan.
        "email_id": f"{date_sent} = UUIDv7ToDateTime({{email_id:UUID}}, 'UTC') AND {email_id} = {{email_id:UUID}}",
    }
    parameters = {name: bound(value) for name in said if (value := getattr(wanted, name)) is not None}
    held = [said[name] for name in parameters]
    if after is not None:
        beyond, _ = _SORTED[order]
        held.append(
            f"({date_sent}, {email_id}, {account_id}) {beyond}"
            " (fromUnixTimestamp64Milli({after_ms:Int64}, 'UTC'), {after_id:UUID}, {after_account:String})"
        )
        # By its own column too: the tuple says nothing to the table's index.
        held.append(f"{date_sent} {beyond}= fromUnixTimestamp64Milli({{after_ms:Int64}}, 'UTC')")
        parameters |= {"after_ms": after.date_sent_ms, "after_id": after.email_id, "after_account": after.account_id}
    if window is not None and window.from_us is not None:
        held.append(f"{date_sent} >= fromUnixTimestamp64Micro({{window_from_us:Int64}}, 'UTC')")
        parameters["window_from_us"] = window.from_us
    if window is not None and window.to_us is not None:
        held.append(f"{date_sent} < fromUnixTimestamp64Micro({{window_to_us:Int64}}, 'UTC')")
        parameters["window_to_us"] = window.to_us
    return held, parameters


def _by(names: _Names, order: Order, *, in_account: bool = False) -> str:
    """Return the order of a list; `in_account`: as the table has it, so that it is read no further than need be."""
    account_id, date_sent, email_id = names
    by = (account_id, date_sent, email_id) if in_account else (date_sent, email_id, account_id)
    return ", ".join(f"{name}{_SORTED[order][1]}" for name in by)


def _choice(
    wanted: Filter, bounds: Sequence[str], *, only_selective: bool = False
) -> tuple[str, dict[str, Any]] | None:
    """Return the query of the keys among which all that is wanted is, read by an index, and its parameters.

    None where no filter is selective; but if nothing is asked but one account and a time, the table's order will do
    (not with `only_selective`).
    """
    keys = f"SELECT account_id, sent_at, message_id FROM message_state WHERE {' AND '.join(bounds)}"  # noqa: S608
    if known_by := [f"{name}:{id_}" for name in _providers(wanted) for id_ in wanted.provider_message_ids]:
        if max(len(id_.encode()) for id_ in wanted.provider_message_ids) > _LINKED_BYTES:
            return None
        held = " AND ".join(bounds)
        of_table = "SELECT account_id, UUIDv7ToDateTime(message_id, 'UTC') AS sent_at, message_id FROM"
        sql = (
            f"SELECT account_id, sent_at, message_id FROM ({of_table} holders"  # noqa: S608
            f" WHERE known_by IN {{known_by:Array(String)}} UNION ALL {of_table} dispatches WHERE provider IN"
            " {providers:Array(String)} AND provider_message_id IN {provider_message_ids:Array(String)})"
            f" WHERE {held}"
        )
        return sql, {"known_by": known_by, "providers": [*_providers(wanted)]} | {
            "provider_message_ids": [*wanted.provider_message_ids]
        }
    first = next((name for name in _STATED if name in given(wanted)), None)
    if first is not None and wanted.email_id is None:
        each = " UNION ALL ".join(
            f"{keys.replace(' message_state ', f' {table} ')} AND ({sql})" for table, sql in _STATED[first]
        )
        return f"SELECT account_id, sent_at, message_id FROM ({each})", {  # noqa: S608
            first: bound(getattr(wanted, first))
        }
    in_order = not given(wanted) and wanted.accounts is not None and len(wanted.accounts) == 1 and not only_selective
    if wanted.email_id is not None or in_order:
        return keys, {}
    return None


def _states(wanted: Filter, *, within: str = "", by_key: bool = False) -> tuple[str, str, dict[str, Any]]:
    """Return the query of the states' columns that are asked, the condition on them, and its parameters.

    What the events of some messages alone can tell is taken to hold.
    """
    of_facts, of_types, of_winner = (
        " AND ".join(CONDITIONS[name] for name in given(wanted) if name in names)
        for names in (CONDITIONS.keys() - {*BY_EVENTS}, {*BY_EVENTS} - {*BY_WINNER}, BY_WINNER)
    )
    _, parameters = conditions(wanted)
    names = dict.fromkeys([*_OF_ROW, *(n for name in given(wanted) for n in columns_of(CONDITIONS[name]))])
    match = [of_facts] if of_facts else []
    more = []
    for condition, knows in ((of_types, "is_kept"), (of_winner, "is_simple")):
        if condition:
            match.append(f"if({knows}, {condition}, 1)")
            more.append(knows)
    inner = message_rows.state_rows(names, *more, within=within, by_key=by_key)
    return inner, " AND ".join(match) or "1", parameters


_LINKED_BYTES: Final = 1_000
"""Ids of more bytes link nothing: tables/0005_holders.sql."""


def _providers(wanted: Filter) -> Sequence[str]:
    return [wanted.provider] if wanted.provider else [*PROVIDER_ID_KEYS]


_STATED: Final[dict[str, tuple[tuple[str, str], ...]]] = {
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
"""What some row of a table says of a message that matches: a union of what an index or a narrow column finds."""
