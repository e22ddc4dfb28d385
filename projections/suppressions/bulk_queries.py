"""The queries of bulk releases. Values from outside are bound parameters, never part of the SQL text.

`scopes` None means every scope: only for somebody who acts for all accounts.
"""

from collections.abc import Sequence
from typing import Any, Final

from projections.messages.queries import Query
from projections.suppressions.bulk_release import Cause, command_id_range
from projections.suppressions.queries import SuppressionCursor

__all__ = [
    "MAX_BULK_RELEASES",
    "bulk_releases",
    "evidence_of_messages",
    "evidence_without_message",
    "release_commands",
    "scope_changes",
    "suppressed_scopes",
]

MAX_BULK_RELEASES: Final = 1_000
"""The most bulk releases of one list."""

_EVIDENCE: Final = (
    "lower(hex(e.event_id)) AS event_id, e.account_id AS account_id, e.provider AS provider, e.code AS code,"
    " e.enhanced_code AS enhanced_code, e.reason AS reason"
)
_OF_BULK_RELEASE: Final = "^bulk-release:[0-9a-f-]{36}:(release|undo):[0-9a-f]{32}$"


def suppressed_scopes(
    cause: Cause, scopes: Sequence[str] | None, *, limit: int, after: SuppressionCursor | None = None
) -> Query:
    """Return the query of suppressed scopes that may have a cause: up to `limit` rows after a key.

    It has all conditions but those on events. Columns: those of `SuppressedScope`.
    """
    parameters: dict[str, Any] = {"reason": cause.reason, "limit": limit}
    conditions = ["reason = {reason:String}"]
    if cause.domain:
        conditions.append("endsWith(address, concat('@', {domain:String}))")
        parameters["domain"] = cause.domain
    if cause.account:
        conditions.append("scope IN ['*', {account:String}]")
        parameters["account"] = cause.account
    if scopes is not None:
        conditions.append("scope IN {scopes:Array(String)}")
        parameters["scopes"] = list(scopes)
    for name, us, sign in (("from_us", cause.from_us, ">="), ("to_us", cause.to_us, "<")):
        if us is not None:
            conditions.append(f"since_us {sign} {{{name}:Int64}}")
            parameters[name] = us
    if after is not None:
        conditions.append("(channel, address, scope) > ({c:String}, {a:String}, {s:String})")
        parameters |= {"c": after.channel, "a": after.address, "s": after.scope}
    return Query(
        "SELECT * FROM (SELECT channel, address, scope, reason, toUnixTimestamp64Micro(since) AS since_us,"  # noqa: S608
        " toUnixTimestamp64Micro(changed_at) AS changed_us, evidence,"
        " count() OVER (PARTITION BY channel, address) - 1 AS other_scopes FROM suppressions WHERE suppressed)"
        f" WHERE {' AND '.join(conditions)} ORDER BY channel, address, scope LIMIT {{limit:UInt32}}",
        parameters,
    )


def evidence_of_messages(ids: Sequence[str]) -> Query:
    """Return the query of the events with these ids (32 hexadecimal digits each) that are of messages."""
    return _evidence(ids, "e.account_id != '' AND e.link != 'withdrawn'")


def evidence_without_message(ids: Sequence[str]) -> Query:
    """Return the query of the events with these ids that match no message. They belong to no account."""
    return _evidence(ids, "e.account_id = ''")


def _evidence(ids: Sequence[str], where: str) -> Query:
    return Query(
        f"SELECT {_EVIDENCE} FROM evidence AS e FINAL"  # noqa: S608 - text of our own
        " PREWHERE e.event_id IN (SELECT toFixedString(unhex(arrayJoin({ids:Array(String)})), 16))"
        f" WHERE {where}",
        {"ids": list(ids)},
    )


def release_commands(bulk_id: str, scopes: Sequence[str] | None, *, limit: int, after: str = "") -> Query:
    """Return the query of the release commands of a bulk release: up to `limit`, after a command id.

    Columns: those of `ReleaseCommand`.
    """
    begin, end = command_id_range(bulk_id, "release")
    of_scopes = "" if scopes is None else " AND scope IN {scopes:Array(String)}"
    return Query(
        "SELECT command_id, channel, address, scope, actor, toUnixTimestamp64Micro(at) AS at_us"  # noqa: S608
        " FROM commands FINAL WHERE command_id >= {begin:String} AND command_id < {end:String}"
        f" AND command_id > {{after:String}} AND action = 'release'{of_scopes}"
        " ORDER BY command_id LIMIT {limit:UInt32}",
        {"begin": begin, "end": end, "after": after, "limit": limit} | _scopes(scopes),
    )


def scope_changes(addresses: Sequence[str]) -> Query:
    """Return the query of the versions of some addresses (keys), oldest first, as far as they state a scope.

    Columns: channel, address, scope, and those of `ScopeChange`.
    """
    return Query(
        "SELECT channel, address, scope, version, suppressed, toUnixTimestamp64Micro(since) AS since_us,"
        " toUnixTimestamp64Micro(released_at) AS released_us, actor AS released_by,"
        " toUnixTimestamp64Micro(changed_at) AS changed_us FROM suppression_changes FINAL"
        " WHERE channel IN ['email', 'sms'] AND address IN {addresses:Array(String)} AND scope != '' ORDER BY version",
        {"addresses": list(addresses)},
    )


def bulk_releases(scopes: Sequence[str] | None, *, limit: int, before: str = "") -> Query:
    """Return the query of the newest bulk releases, newest first; with `before`, of those with a smaller id.

    Columns: id, as_of, first_at and last_at (of arrival), actor, reason, note, addresses, undone.
    """
    begin, end = command_id_range()
    if before:
        end, _ = command_id_range(before)
    of_scopes = "" if scopes is None else " AND scope IN {scopes:Array(String)}"
    return Query(
        "SELECT splitByChar(':', command_id)[2] AS id, minIf(at, is_release) AS as_of,"  # noqa: S608
        " minIf(received_at, is_release) AS first_at, maxIf(received_at, is_release) AS last_at,"
        " anyIf(actor, is_release) AS actor, anyIf(reason, is_release) AS reason, anyIf(note, is_release) AS note,"
        " countIf(is_release) AS addresses, countIf(NOT is_release) AS undone"
        " FROM (SELECT *, action = 'release' AS is_release FROM commands FINAL"
        " WHERE command_id >= {begin:String} AND command_id < {end:String}"
        f" AND match(command_id, '{_OF_BULK_RELEASE}'){of_scopes})"
        " GROUP BY id HAVING addresses > 0 ORDER BY id DESC LIMIT {limit:UInt32}",
        {"begin": begin, "end": end, "limit": limit} | _scopes(scopes),
    )


def _scopes(scopes: Sequence[str] | None) -> dict[str, Any]:
    return {} if scopes is None else {"scopes": list(scopes)}
