"""The queries of suppressions. Values from outside are bound parameters, never part of the SQL text.

An account sees the suppressions of its own scope, and platform-wide suppressions of addresses that it has sent to: a To
or a CC of a message that it requested, or an address that a provider's event names for one of its messages.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from projections.messages.queries import Query
from schemas.decoding.ids import ALL

__all__ = [
    "COLUMNS",
    "MAX_COMMANDS",
    "MAX_ROWS",
    "SuppressionCursor",
    "SuppressionFilter",
    "commands",
    "commands_about",
    "evidence_events",
    "opt_outs",
    "suppression_history",
    "suppressions_page",
    "was_suppressed",
]

COLUMNS: Final = ("channel", "address", "scope", "suppressed", "reason", "since", "released_at", "actor", "evidence")

MAX_ROWS: Final = 10_000
"""The limit of changes, opt-outs or scopes of an address in one query."""
MAX_COMMANDS: Final = 1000

_IS_SUPPRESSED: Final = "SELECT count() > 0 AS was_suppressed FROM suppressions WHERE channel = {channel:String}"
_CONDITIONS: Final = {
    "channel": "channel = {channel:String}",
    "scope": "scope = {scope:String}",
    "suppressed": "suppressed = {suppressed:Bool}",
    "reason": "reason = {reason:String}",
}


@dataclass(frozen=True, slots=True)
class SuppressionFilter:
    """Which suppressions to return. `accounts` None means all accounts: only for a token that covers all of them.

    `addresses` are address keys; an empty sequence means all addresses.
    """

    accounts: Sequence[str] | None
    channel: str | None = None
    scope: str | None = None
    suppressed: bool | None = None
    reason: str | None = None
    addresses: Sequence[str] = ()


class SuppressionCursor(NamedTuple):
    """The key of the last row of a page."""

    channel: str
    address: str
    scope: str


def suppressions_page(
    wanted: SuppressionFilter, *, limit: int, after: SuppressionCursor | None = None, any_withdrawn: bool = True
) -> Query:
    """Return the query of one page of `suppressions`, by channel, address and scope: up to `limit` + 1 rows.

    `any_withdrawn`: whether an event was withdrawn from any message of the accounts.
    """
    conditions, parameters = _conditions(wanted, any_withdrawn=any_withdrawn)
    if after is not None:
        conditions.append("(channel, address, scope) > ({c:String}, {a:String}, {s:String})")
        parameters |= {"c": after.channel, "a": after.address, "s": after.scope}
    return Query(
        f"SELECT {', '.join(COLUMNS)} FROM suppressions WHERE {' AND '.join(conditions) or '1'}"  # noqa: S608
        " ORDER BY channel, address, scope LIMIT {limit:UInt32}",
        parameters | {"limit": limit + 1},
    )


def suppression_history(wanted: SuppressionFilter) -> Query:
    """Return the query of the changes of an address, oldest first: up to MAX_ROWS + 1."""
    conditions, parameters = _conditions(wanted)
    return Query(
        f"SELECT {', '.join(COLUMNS)}, changed_at FROM suppression_history"  # noqa: S608
        f" WHERE {' AND '.join(conditions) or '1'} ORDER BY version, scope LIMIT {MAX_ROWS + 1}",
        parameters,
    )


def evidence_events(accounts: Sequence[str] | None, ids: Sequence[str]) -> Query:
    """Return the query of the events with these ids (32 hexadecimal digits each) that are of messages of `accounts`.

    Only types that can be evidence about an address. They are found after their messages have expired, too, as long as
    a suppression rests on them.
    """
    of_accounts = "" if accounts is None else " AND e.account_id IN {accounts:Array(String)}"
    return Query(
        "SELECT lower(hex(e.event_id)) AS event_id, e.account_id AS account_id, e.message_id AS email_id,"  # noqa: S608
        " e.type AS type, e.provider AS provider, e.occurred_at AS occurred_at, e.code AS code,"
        " e.classification AS classification, e.fault AS fault, e.reason AS reason FROM evidence AS e FINAL"
        " PREWHERE e.event_id IN (SELECT toFixedString(unhex(arrayJoin({ids:Array(String)})), 16))"
        f" WHERE e.account_id != '' AND e.link != 'withdrawn'{of_accounts} ORDER BY occurred_at, event_id, account_id",
        {"ids": [event_id.lower() for event_id in ids]} | ({} if accounts is None else {"accounts": list(accounts)}),
    )


def opt_outs(accounts: Sequence[str] | None, channel: str, addresses: Sequence[str]) -> Query:
    """Return the query of the opt-outs in force of some addresses (keys): up to MAX_ROWS + 1.

    An account sees those of its own scope, and platform-wide ones of addresses that it has sent to.
    Columns: channel, address, scope, group, sender, reason, since. `group` and `sender` are blank where none is named.
    """
    visible = "" if accounts is None else f" AND {_visible(is_named=True, any_withdrawn=True)}"
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
        ORDER BY address, scope, group, sender LIMIT {MAX_ROWS + 1}
        """,  # noqa: S608 - text of our own
        {"channel": channel, "addresses": list(addresses)}
        | ({} if accounts is None else {"accounts": list(accounts), "everywhere": ALL}),
    )


def commands(ids: Sequence[str]) -> Query:
    """Return the query of the commands with these ids: command_id, action, scope, reason, note, actor, at."""
    return Query(
        "SELECT command_id, action, scope, reason, note, actor, at FROM commands FINAL"
        " WHERE command_id IN {ids:Array(String)} ORDER BY at, command_id",
        {"ids": list(ids)},
    )


def commands_about(accounts: Sequence[str] | None, channel: str, address: str) -> Query:
    """Return the query of the last commands about an address (a key) in the scopes of accounts, oldest first.

    It returns up to MAX_COMMANDS rows; an additional first row means that there are more.

    Columns: command_id, action, scope, group, sender, reason, note, actor, at.
    """
    of_accounts = "" if accounts is None else " AND scope IN {accounts:Array(String)}"
    columns = "command_id, action, scope, group, sender, reason, note, actor, at"
    return Query(
        f"SELECT * FROM (SELECT {columns} FROM commands FINAL"  # noqa: S608 - text of our own
        f" WHERE channel = {{channel:String}} AND address = {{address:String}}{of_accounts}"
        f" ORDER BY at DESC, command_id DESC LIMIT {MAX_COMMANDS + 1}) ORDER BY at, command_id",
        {"channel": channel, "address": address} | ({} if accounts is None else {"accounts": list(accounts)}),
    )


def was_suppressed(action: str, channel: str, address: str, scope: str) -> Query:
    """Return the query of whether the address and scope of a command are suppressed: one row, `was_suppressed`.

    `address` is a key. A command applies to its own scope; but a release of `*` releases every scope.
    """
    sql = f"{_IS_SUPPRESSED} AND address = {{address:String}} AND suppressed"
    parameters = {"channel": channel, "address": address}
    if action == "release" and scope == ALL:
        return Query(sql, parameters)
    return Query(f"{sql} AND scope = {{scope:String}}", parameters | {"scope": scope})


def _conditions(wanted: SuppressionFilter, *, any_withdrawn: bool = True) -> tuple[list[str], dict[str, Any]]:
    given = {name: getattr(wanted, name) for name in _CONDITIONS if getattr(wanted, name) is not None}
    conditions = [_CONDITIONS[name] for name in given]
    parameters: dict[str, Any] = dict(given)
    if wanted.addresses:
        conditions.append("address IN {addresses:Array(String)}")
        parameters["addresses"] = list(wanted.addresses)
    if wanted.accounts is not None:
        conditions.append(_visible(is_named=bool(wanted.addresses), any_withdrawn=any_withdrawn))
        parameters |= {"accounts": list(wanted.accounts), "everywhere": ALL}
    return conditions, parameters


def _visible(*, is_named: bool, any_withdrawn: bool) -> str:
    """The condition that the accounts may see a row: of their own scopes, or about an address that they have sent to.

    `is_named`: the query is limited to some addresses. The table `addressees` keeps addresses of events that were
    withdrawn later, of which `withdrawn_addressees` has a list. If there are any, the messages and events are read as
    well: they may prove that the account has sent to such an address. Both lists outlive the messages.
    """
    platform_wide = "scope = {everywhere:String}" + (" AND address IN {addresses:Array(String)}" if is_named else "")
    of_all = " UNION ALL ".join(
        f"SELECT address FROM {table} WHERE {platform_wide}"  # noqa: S608
        for table in ("suppression_changes", "opt_outs")
    )
    of_accounts = f"account_id IN {{accounts:Array(String)}} AND address IN ({of_all})"
    sent_to = (
        f"SELECT channel, address FROM addressees WHERE {of_accounts}"  # noqa: S608
        " AND (account_id, channel, address) NOT IN (SELECT account_id, channel, address FROM withdrawn_addressees"
        " WHERE account_id IN {accounts:Array(String)})"
    )
    if any_withdrawn:
        sent_to = " UNION ALL ".join(
            [
                sent_to,
                _OF_STATE.format(address="substring(to_key, 17)", condition="1", of_all=of_all),
                _OF_STATE.format(address="arrayJoin(copied_to)", condition="notEmpty(copied_to)", of_all=of_all),
                # The inner query goes without FINAL, which reads all columns of all rows before any condition but keys.
                "SELECT if(provider = 'twilio', 'sms', 'email') AS channel, address FROM events FINAL"  # noqa: S608
                " PREWHERE (account_id, sent_at, message_id) IN"
                f" (SELECT account_id, sent_at, message_id FROM events WHERE {of_accounts})"
                f" WHERE {of_accounts} AND provider != '' AND address != '' AND link != 'withdrawn'",
            ]
        )
    return (
        "(scope IN {accounts:Array(String)}"
        f" OR (scope = {{everywhere:String}} AND (channel, address) IN ({sent_to})))"
    )


_OF_STATE: Final = (
    "SELECT if(bitAnd(bitShiftRight(toUInt16(intent), 4), 255) = 2, 'sms', 'email') AS channel, {address} AS address"
    " FROM message_state WHERE account_id IN {{accounts:Array(String)}} AND {condition} AND address IN ({of_all})"
)
