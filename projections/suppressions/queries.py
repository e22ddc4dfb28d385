"""The queries of suppressions. Outside values are bound parameters, never text.

An account sees the suppressions of its own scope, and those of the whole platform for addresses that it has sent to:
a To or a CC of a message that it requested, or an address that a provider names for a message of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from projections.messages.queries import Query
from schemas.suppressions import EVERYWHERE

__all__ = [
    "COLUMNS",
    "MOST_COMMANDS",
    "MOST_ROWS",
    "Cursor",
    "Filter",
    "commands",
    "commands_about",
    "evidence_events",
    "opt_outs",
    "suppression_history",
    "suppressions_page",
    "was_suppressed",
]

COLUMNS: Final = ("channel", "address", "scope", "suppressed", "reason", "since", "released_at", "actor", "evidence")

MOST_ROWS: Final = 10_000
"""So many changes, opt-outs or scopes of an address are read at once."""
MOST_COMMANDS: Final = 1000

_HELD: Final = "SELECT count() > 0 AS was_suppressed FROM suppressions WHERE channel = {channel:String}"
_OF_ALL: Final = (
    "(SELECT address FROM suppression_changes WHERE scope = {everywhere:String}"
    " UNION ALL SELECT address FROM opt_outs WHERE scope = {everywhere:String})"
)
_OF_STATE: Final = (
    "SELECT if(bitAnd(bitShiftRight(toUInt16(intent), 4), 255) = 2, 'sms', 'email') AS channel, {address} AS address"  # noqa: S608
    " FROM message_state"
    " WHERE account_id IN {{accounts:Array(String)}} AND sent_at < toDateTime64('2200-01-01 00:00:00', 3, 'UTC')"
    f" AND {{held}} AND address IN {_OF_ALL.replace('{', '{{').replace('}', '}}')}"
)
_OF_EVENTS: Final = f"account_id IN {{accounts:Array(String)}} AND address IN {_OF_ALL}"
_SENT_TO: Final = " UNION ALL ".join(
    [
        _OF_STATE.format(address="substring(to_key, 17)", held="1"),
        _OF_STATE.format(address="arrayJoin(copied_to)", held="notEmpty(copied_to)"),
        # First without FINAL, which reads all columns of all rows before it asks anything but keys.
        "SELECT if(provider = 'twilio', 'sms', 'email') AS channel, address FROM events FINAL"  # noqa: S608
        " PREWHERE (account_id, sent_at, message_id) IN"
        f" (SELECT account_id, sent_at, message_id FROM events WHERE {_OF_EVENTS})"
        f" WHERE {_OF_EVENTS} AND provider != '' AND address != '' AND link != 'withdrawn'",
    ]
)
"""The addresses that some platform-wide row is about, and that the accounts have sent to: no others are asked for."""
_VISIBLE: Final = (
    f"(scope IN {{accounts:Array(String)}} OR (scope = {{everywhere:String}} AND (channel, address) IN ({_SENT_TO})))"
)
_ONE_OF: Final = {
    "channel": "channel = {channel:String}",
    "scope": "scope = {scope:String}",
    "suppressed": "suppressed = {suppressed:Bool}",
    "reason": "reason = {reason:String}",
}


@dataclass(frozen=True, slots=True)
class Filter:
    """What is asked for. `accounts` None is every account's: for a token that covers all, and only then.

    `addresses` are keys, of which a row has one; none of them asks for all.
    """

    accounts: Sequence[str] | None
    channel: str | None = None
    scope: str | None = None
    suppressed: bool | None = None
    reason: str | None = None
    addresses: Sequence[str] = ()


class Cursor(NamedTuple):
    """Where a page ended: the key of its last row."""

    channel: str
    address: str
    scope: str


def suppressions_page(wanted: Filter, *, limit: int, after: Cursor | None = None) -> Query:
    """Return the query of one page of `suppressions`, by channel, address and scope: up to `limit` + 1 rows."""
    conditions, parameters = _conditions(wanted)
    if after is not None:
        conditions.append("(channel, address, scope) > ({c:String}, {a:String}, {s:String})")
        parameters |= {"c": after.channel, "a": after.address, "s": after.scope}
    return Query(
        f"SELECT {', '.join(COLUMNS)} FROM suppressions WHERE {' AND '.join(conditions) or '1'}"  # noqa: S608
        " ORDER BY channel, address, scope LIMIT {limit:UInt32}",
        parameters | {"limit": limit + 1},
    )


def suppression_history(wanted: Filter) -> Query:
    """Return the query of the changes of an address, the first one first: up to MOST_ROWS + 1."""
    conditions, parameters = _conditions(wanted)
    return Query(
        f"SELECT {', '.join(COLUMNS)}, changed_at FROM suppression_history"  # noqa: S608
        f" WHERE {' AND '.join(conditions) or '1'} ORDER BY version, scope LIMIT {MOST_ROWS + 1}",
        parameters,
    )


def evidence_events(accounts: Sequence[str] | None, ids: Sequence[str]) -> Query:
    """Return the query of the events with these ids (32 hexadecimal digits each) that are of messages of `accounts`.

    Of types that can be evidence about an address: by those `holders` names the messages, and only theirs are read.
    """
    of_accounts = "" if accounts is None else " AND e.account_id IN {accounts:Array(String)}"
    return Query(
        "SELECT lower(hex(e.event_id)) AS event_id, e.account_id AS account_id, e.message_id AS email_id,"  # noqa: S608
        " e.type AS type, e.provider AS provider, e.occurred_at AS occurred_at, e.code AS code,"
        " e.classification AS classification, e.fault AS fault, e.reason AS reason FROM events AS e FINAL"
        " WHERE (e.account_id, e.sent_at, e.message_id) IN"
        " (SELECT account_id, UUIDv7ToDateTime(message_id, 'UTC'), message_id FROM holders"
        " WHERE known_by IN {ids:Array(String)})"
        " AND e.event_id IN (SELECT toFixedString(unhex(arrayJoin({ids:Array(String)})), 16))"
        f" AND e.link != 'withdrawn'{of_accounts} ORDER BY occurred_at, event_id, account_id",
        {"ids": [event_id.lower() for event_id in ids]} | ({} if accounts is None else {"accounts": list(accounts)}),
    )


def opt_outs(accounts: Sequence[str] | None, channel: str, addresses: Sequence[str]) -> Query:
    """Return the query of the opt-outs in force of some addresses (keys): up to MOST_ROWS + 1.

    An account sees those of its own scope, and those of the whole platform for addresses that it has sent to.
    Columns: channel, address, scope, group, sender, reason, since. `group` and `sender` are blank where none is named.
    """
    visible = "" if accounts is None else f" AND {_VISIBLE}"
    return Query(
        f"""
        SELECT channel, address, scope, group, sender, reason, since
        FROM
        (
            SELECT *, max(version) OVER (PARTITION BY channel, address) AS newest
            FROM opt_outs FINAL
            WHERE channel = {{channel:String}} AND address IN {{addresses:Array(String)}}
        )
        WHERE version = newest AND scope != ''{visible}
        ORDER BY address, scope, group, sender LIMIT {MOST_ROWS + 1}
        """,  # noqa: S608 - text of our own
        {"channel": channel, "addresses": list(addresses)}
        | ({} if accounts is None else {"accounts": list(accounts), "everywhere": EVERYWHERE}),
    )


def commands(ids: Sequence[str]) -> Query:
    """Return the query of the commands with these ids: command_id, action, scope, reason, note, actor, at."""
    return Query(
        "SELECT command_id, action, scope, reason, note, actor, at FROM commands FINAL"
        " WHERE command_id IN {ids:Array(String)} ORDER BY at, command_id",
        {"ids": list(ids)},
    )


def commands_about(accounts: Sequence[str] | None, channel: str, address: str) -> Query:
    """Return the query of the commands about an address (a key) for the scopes of accounts: the last ones, in order.

    They are up to MOST_COMMANDS; one more, the first, says that there are more.

    Columns: command_id, action, scope, group, sender, reason, note, actor, at.
    """
    of_accounts = "" if accounts is None else " AND scope IN {accounts:Array(String)}"
    columns = "command_id, action, scope, group, sender, reason, note, actor, at"
    return Query(
        f"SELECT * FROM (SELECT {columns} FROM commands FINAL"  # noqa: S608 - text of our own
        f" WHERE channel = {{channel:String}} AND address = {{address:String}}{of_accounts}"
        f" ORDER BY at DESC, command_id DESC LIMIT {MOST_COMMANDS + 1}) ORDER BY at, command_id",
        {"channel": channel, "address": address} | ({} if accounts is None else {"accounts": list(accounts)}),
    )


def was_suppressed(action: str, channel: str, address: str, scope: str) -> Query:
    """Return the query of whether that which a command is about is suppressed: one row, `was_suppressed`.

    `address` is a key. A command is about its own scope; but a release of `*` releases every scope.
    """
    sql = f"{_HELD} AND address = {{address:String}} AND suppressed"
    parameters = {"channel": channel, "address": address}
    if action == "release" and scope == EVERYWHERE:
        return Query(sql, parameters)
    return Query(f"{sql} AND scope = {{scope:String}}", parameters | {"scope": scope})


def _conditions(wanted: Filter) -> tuple[list[str], dict[str, Any]]:
    given = {name: getattr(wanted, name) for name in _ONE_OF if getattr(wanted, name) is not None}
    conditions = [_ONE_OF[name] for name in given]
    parameters: dict[str, Any] = dict(given)
    if wanted.addresses:
        conditions.append("address IN {addresses:Array(String)}")
        parameters["addresses"] = list(wanted.addresses)
    if wanted.accounts is not None:
        conditions.append(_VISIBLE)
        parameters |= {"accounts": list(wanted.accounts), "everywhere": EVERYWHERE}
    return conditions, parameters
