"""What a row of `messages` is, in SQL: of which pieces, and by which rules. The view is made of this, as queries are.

In:  the tables `message_state` and `events`, unmerged as they are. Out: texts of SQL, without outside values.

A message whose events all name its To is *simple*: it is read from its state as it is. One that has an event of another
address, or from which an event was withdrawn, is worked out from `events`, by its To. Both branches give the same
pieces, and the rules say what those mean. What messages are counted by needs less: the state tells the types of the
To's own events, so no events are read unless one was withdrawn.

Each name and each level of subqueries costs time whenever it is analysed, and each axis when it is joined; so a query
is made of the columns that it shows or asks, and of the pieces that these need, put into the rules where they can be.

The rows of a message are joined by FINAL or by GROUP BY, with the functions of the table's merges; both give the same.
FINAL is analysed faster, so it is for rows whose keys are known, and for columns of numbers and short texts; for others
of many messages GROUP BY takes a third of the time. A condition on the key alone may be asked before rows are
joined, which under FINAL has to be said with PREWHERE: else all columns are read before it is asked. Under FINAL the
parts of an axis are read by functions, never as `axis.part`, which would be the first row's; so the table is called `f`
there, and `t` where its rows are grouped.
"""
# ruff: noqa: S608 - all of it is text of our own

import re
from collections.abc import Iterable, Mapping
from string import Formatter
from typing import Final

__all__ = [
    "JOINS",
    "RULES",
    "bounced_rows",
    "counted_rows",
    "event_rows",
    "event_rows_of",
    "fact_of",
    "kept_rows",
    "need_no_events",
    "simple_rows",
    "state_rows",
    "timeline_rows",
    "view",
    "withdrawn_rows",
]

JOINS: Final = {
    **dict.fromkeys(("intent", "to_key", "domain", "template_id", "template_name"), "max"),
    **dict.fromkeys(("request", "dispatch", "seen", "winner"), "max"),
    **dict.fromkeys(("copied_to", "told"), "groupUniqArrayArray"),
    "flags": "groupBitOr",
    "first_content": "min",
    **dict.fromkeys(("last_content", "heard"), "max"),
    **dict.fromkeys(("processed", "delivered", "bounced", "opened", "clicked"), "max"),
    "provider_ids": "groupUniqArrayArray(2)",
    **dict.fromkeys(("opens", "machine_opens", "clicks", "deferrals"), "groupUniqArrayArray(1000)"),
    **dict.fromkeys(("deliveries", "changes"), "maxMap"),
}
"""How each axis of the table is joined: tables/0003_message_state.sql, which a test compares."""

_KNOWN: Final = "(t.sent_at < toDateTime64('2200-01-01 00:00:00', 3, 'UTC'))"
"""Of an id with a later time there is no row; there are states of such from before they were refused."""

_TO_HASH: Final = "toUInt64(bitShiftRight({intent}, 16))"
_IS_OWN: Final = "((bitShiftRight(x, 5) = 0) OR (bitShiftRight(x, 5) = {to_hash}) OR ({to_hash} = 0))"
"""Whether an element of `told` is about the To, or about nobody."""

_KEPT: Final = "(bitAnd({flags}, 1) = 0)"
"""Whether nothing was withdrawn from a message: else its events tell what is left."""
_SIMPLE: Final = f"({_KEPT} AND NOT arrayExists(x -> NOT {_IS_OWN}, {{told}}))"
"""Whether the axes that are joined over all addresses are the To's."""

_MORE: Final = {"is_simple": _SIMPLE, "is_kept": _KEPT}
"""What else a state says."""

RULES: Final = {
    "account_id": "{account_id}",
    "email_id": "{message_id}",
    "channel": "{channel}",
    "type": "{template_name}",
    "template_id": "{template_id}",
    "sent_to": "{recipient_kind}",
    "recipient_id": "{recipient_id}",
    "to_address": "{to_address}",
    "to_domain": "{to_domain}",
    "cc_address": "arrayStringConcat({cc}, ', ')",
    "subject": "{subject}",
    "status": """
        multiIf(
            {outcome} > 1,
            arrayElement(['Blocked', 'Declined', 'Not_opted_in', 'Suppressed', 'Quota_Exceeded'],
            {outcome} - 1),
            arrayElement(['Pending', 'Pending', 'Processed', 'Processed', 'Processed', 'Delivered', 'Delivered',
            'Delivered', 'Opened', 'Clicked', 'Subscriptionchange', 'Dropped', 'Bounced', 'Bounced', 'Bounced'],
            arrayMax({own_types}) + 1))""",
    "sub_status": """
        multiIf(
            {outcome} > 1, '',
            arrayMax({own_types}) > 10, {winner_sub_status},
            arrayMax({own_types}) = 10, {change},
            arrayElement(['', 'processed', 'deferred', 'sent', '', '', '', '', ''], arrayMax({own_types})))""",
    "reason": "if({outcome} > 1, {outcome_detail}, {winner_reason})",
    "code": "if({outcome} > 1, {outcome_reason}, {winner_code})",
    "enhanced_code": "if({outcome} > 1, '', {winner_enhanced_code})",
    "classification": "if({outcome} > 1, '', {winner_classification})",
    "date_sent": "{sent_at}",
    "decided_at": "if({outcome} = 0, NULL, fromUnixTimestamp64Micro(4611686018427387904 - toInt64({decided}), 'UTC'))",
    "dispatched_at": """
        if({dispatch_known} = 0, NULL,
            fromUnixTimestamp64Micro(4611686018427387904 - toInt64({dispatched}), 'UTC'))""",
    "processed_at": """
        if({processed} = 0, NULL, fromUnixTimestamp64Micro(4611686018427387904 - toInt64({processed}), 'UTC'))""",
    "delivered_at": """
        if({delivered} = 0, NULL, fromUnixTimestamp64Micro(4611686018427387904 - toInt64({delivered}), 'UTC'))""",
    "bounced_at": "if({bounced} = 0, NULL, fromUnixTimestamp64Micro(4611686018427387904 - toInt64({bounced}), 'UTC'))",
    "opened_at": "if({opened} = 0, NULL, fromUnixTimestamp64Micro(4611686018427387904 - toInt64({opened}), 'UTC'))",
    "clicked_at": "if({clicked} = 0, NULL, fromUnixTimestamp64Micro(4611686018427387904 - toInt64({clicked}), 'UTC'))",
    "opens": "least(1000, {opens})",
    "machine_opens": "least(1000, {machine_opens})",
    "clicks": "least(1000, {clicks})",
    "attempts": "least(1000, {deferrals})",
    "complained": "has({own_types}, 1)::Bool",
    "provider": "if({dispatch_known} > 0, {dispatch_provider}, {seen_provider})",
    "provider_message_id": "if({dispatch_known} > 0, {dispatch_id}, {seen_id})",
    "appointment_id": "{appointment_id}",
    "to_key": "{to_key}",
    "cc_keys": "{cc_keys}",
    "has_content": "(bitAnd({flags}, 2) > 0)::Bool",
    "anomalies": """
        arrayFilter(anomaly -> anomaly != '', [
            if({first_content} < {last_content}, 'conflicting_requests', ''),
            if(({outcome} > 1) AND {is_told}, 'event_after_refusal', ''),
            if(({bounced} > 0) AND ({last_delivered} > 4611686018427387904 - {bounced}), 'delivered_after_bounce', ''),
            if(({dispatch_known} > 0)
                AND (arraySum(id -> id != concat({dispatch_provider}, ':',
                {dispatch_id}), {provider_ids}) > 0), 'id_mismatch', '')])""",
    "last_heard_at": "if({heard} = 0, NULL, fromUnixTimestamp64Micro(toInt64({heard}), 'UTC'))",
}
"""Each column of `messages`, by its pieces."""

MORE_RULES: Final = {
    "to_hash": "{to_hash}",
    "was_delivered": "has({own_types}, 7)",
    "was_opened": "has({own_types}, 8)",
    "was_clicked": "has({own_types}, 9)",
    "was_touched": "hasAny({own_types}, [6, 8, 9])",
}
"""What else is counted of messages. `was_touched`: opened, by whomever, or clicked."""

_PARTS: Final = {
    "outcome_reason": ("request", "reason"),
    "recipient_id": ("request", "recipient_id"),
    "to_address": ("request", "to_address"),
    "cc": ("request", "cc"),
    "cc_keys": ("request", "cc_keys"),
    "subject": ("request", "subject"),
    "appointment_id": ("request", "appointment_id"),
    "outcome_detail": ("request", "detail"),
    "dispatch_known": ("dispatch", "known"),
    "dispatched": ("dispatch", "inverse_at"),
    "dispatch_provider": ("dispatch", "provider"),
    "dispatch_id": ("dispatch", "provider_message_id"),
    "seen_provider": ("seen", "provider"),
    "seen_id": ("seen", "provider_message_id"),
}
"""The pieces that are parts of a tuple.

It is compared by known, inverse_at and inverse_hash first. Where rows are grouped, the three are made one number, which
is compared many times as fast as a tuple, and a part is read without the others.
"""

_FACTS: Final = {
    **{
        name: f"{{{name}}}"
        for name in (*_PARTS, "flags", "heard", "first_content", "last_content")
        if not name.startswith("seen")
    },
    "outcome": "bitAnd(toUInt16({intent}), 15)",
    "channel": "arrayElement(['', 'email', 'sms'], bitAnd(bitShiftRight(toUInt16({intent}), 4), 255) + 1)",
    "recipient_kind": "arrayElement(['', 'client', 'staff'], bitShiftRight(toUInt16({intent}), 12) + 1)",
    "to_hash": "{to_hash}",
    "decided": "bitAnd(toUInt64(bitShiftRight({intent}, 144)), 9223372036854775807)",
    "to_key": "substring({to_key}, 17)",
    "to_domain": "substring({domain}, 17)",
    "template_id": "substring({template_id}, 17)",
    "template_name": "substring({template_name}, 17)",
}
"""The pieces that requests, decisions and dispatches give, by the axes and their parts: alike in both branches."""

_OF_STATE: Final = {
    **_FACTS,
    **{name: f"{{{name}}}" for name in ("processed", "delivered", "bounced", "opened", "clicked")},
    "own_types": f"arrayMap(x -> if({_IS_OWN}, bitAnd(x, 31), 0), {{told}})",
    "is_told": "notEmpty({told})",
    "seen_provider": "{seen_provider}",
    "seen_id": "{seen_id}",
    "provider_ids": "{provider_ids}",
    "last_delivered": "if({delivered} = 0, 0, toUInt64(4611686018427387904 - arrayMin(mapValues({deliveries}))))",
    **{name: f"length({{{name}}})" for name in ("opens", "machine_opens", "clicks", "deferrals")},
    **{
        f"winner_{part}": f"tupleElement({{winner}}, '{part}')"
        for part in ("code", "enhanced_code", "reason", "classification", "sub_status")
    },
    "change": """
        tupleElement(arraySort((said, id) -> (tupleElement(said, 'inverse_at'), bitNot(id)), mapValues({changes}),
            mapKeys({changes}))[1], 'state')""",
}
"""The pieces of a message that is simple."""
_OF_ALL: Final = {*_FACTS, "own_types", "is_told", "seen_provider", "seen_id", "provider_ids"}
"""Those of them that are also right of a message that is not simple, if nothing was withdrawn from it."""

_OF_EVENTS: Final = {
    "own_types": "{own_types}",
    "is_told": "{is_told}",
    "provider_ids": "{provider_ids}",
    "last_delivered": "{last_delivered}",
    "change": "{change}",
    **{
        name: f"{{firsts}}[{n}]" for n, name in enumerate(("processed", "delivered", "bounced", "opened", "clicked"), 1)
    },
    **{name: f"{{counts}}[{n}]" for n, name in enumerate(("opens", "machine_opens", "clicks", "deferrals"), 1)},
    "seen_provider": "tupleElement({seen}, 1)",
    "seen_id": "tupleElement({seen}, 2)",
    **{
        f"winner_{part}": f"tupleElement({{winner}}, {n})"
        for n, part in enumerate(("code", "enhanced_code", "reason", "classification", "sub_status"), 1)
    },
}
"""The pieces of a message that is not, by what its events are joined to."""

_JOINED_EVENTS: Final = {
    "own_types": "groupUniqArrayIf(e.type_number, {own})",
    "is_told": "max(e.told)",
    "seen": "argMinIf((e.provider, e.provider_message_id), (e.provider_message_id = '', e.at, e.event_id), e.told)",
    "provider_ids": """
        groupUniqArrayIf(concat(e.provider, ':', e.provider_message_id), e.told AND (e.provider_message_id != ''))""",
    "firsts": """
        maxForEachIf([
            if(e.type_number = 2, e.inverse_at, 0), if(e.type_number = 7, e.inverse_at, 0),
            if(e.type_number > 11, e.inverse_at, 0),
            if(e.type_number = 8, e.inverse_at, 0), if(e.type_number = 9, e.inverse_at, 0)], {own})""",
    "last_delivered": "maxIf(e.at, {own} AND (e.type_number = 7))",
    "counts": """
        sumForEachIf([e.type_number = 8, e.type_number = 6, e.type_number = 9, e.type_number = 3], {own})""",
    "winner": """
        argMinIf((e.code, e.enhanced_code, e.reason, e.classification, e.sub_status),
            (255 - e.type_number, e.code = '', e.at, e.event_id),
            {own} AND (e.type_number IN (2, 3, 4, 7, 11, 12, 13, 14)))""",
    "change": "argMaxIf(e.classification, (e.at, e.event_id), {own} AND (e.type_number = 10))",
}
"""How the events of a message are joined, by its key."""

_OWN: Final = "(e.told AND ((e.address = '') OR s.of_any_address OR (e.address = s.own_key)))"
"""An event that is about the To, or names nobody."""

_EVENTS: Final = """
    SELECT
        l.account_id AS account_id, l.sent_at AS sent_at, l.message_id AS message_id, l.event_id AS event_id,
        toString(l.provider) AS provider, l.provider_message_id AS provider_message_id, l.address AS address,
        toString(l.code) AS code, toString(l.enhanced_code) AS enhanced_code, l.reason AS reason,
        toString(l.classification) AS classification, toString(l.sub_status) AS sub_status,
        toUInt64(toUnixTimestamp64Micro(l.occurred_at)) AS at,
        transform(
            if(l.machine AND (l.type IN ('opened', 'clicked')), concat('machine_', l.type), toString(l.type)),
            ['complained', 'processed', 'deferred', 'sent', 'machine_clicked', 'machine_opened', 'delivered', 'opened',
            'clicked', 'subscription_changed', 'dropped', 'failed', 'blocked', 'bounced'],
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14], 0)::UInt8 AS type_number,
        toUInt64(4611686018427387904 - at) AS inverse_at,
        (l.type NOT IN ('requested', 'decided', 'dispatched')) AS told
    FROM events AS l FINAL{these}
    WHERE (l.link != 'withdrawn')"""


_EVENT_COLUMNS: Final = """
    e.account_id AS account_id,
    e.message_id AS email_id,
    lower(hex(e.event_id)) AS event_id,
    e.type AS type,
    e.provider AS provider,
    e.occurred_at AS occurred_at,
    e.received_at AS received_at,
    e.address AS address,
    ((e.address != '') AND (s.to_hash != 0) AND (e.address != s.to_key))::Bool AS cc,
    e.code AS code,
    e.enhanced_code AS enhanced_code,
    e.classification AS classification,
    e.fault AS fault,
    e.reason AS reason,
    e.machine AS machine,
    e.url AS url,
    concat(e.topic, '/', toString(e.partition), '/', toString(e.offset), '/', toString(e.position)) AS source,
    e.provider_message_id AS provider_message_id,
    e.provider_event_id AS provider_event_id,
    e.user_agent AS user_agent,
    e.ip AS ip,
    e.attempt AS attempt,
    e.group AS group,
    e.extra AS extra,
    e.link AS link
"""

_KEYS: Final = ("account_id", "sent_at", "message_id")
_LEAN: Final = frozenset(
    {*_KEYS, "intent", "to_hash", "to_key", "domain", "template_id", "template_name", "told", "flags", "heard"}
)
"""Axes of numbers and short texts, of which FINAL joins millions faster than GROUP BY does."""
_TABLE: Final = re.compile(r"\bt\.")
_SELVES: Final = {name: f"{{{name}}}" for name in ("to_hash", "told")}
"""What `_MORE` says by the axes themselves."""
_ALL_RULES: Final = RULES | MORE_RULES


def simple_rows(columns: Iterable[str], *, within: str = "", by_key: bool = False) -> str:
    """Return the query of these columns of the rules, of the messages that are simple.

    `within` is a condition on t.account_id, t.sent_at and t.message_id: one that is put outside comes to the table, but
    is asked after all columns are read. `by_key`: joined by FINAL, which is faster for nearly all columns.
    """
    return _of_state(_rules(columns), within, where=_SIMPLE, by_key=by_key)


def kept_rows(columns: Iterable[str], *, within: str = "", by_key: bool = False) -> str:
    """Return the query of these columns of the messages from which nothing was withdrawn; all `need_no_events`.

    `by_key`: joined by FINAL, whichever columns they are.
    """
    return _of_state(_rules(columns), within, where=_KEPT, by_key=by_key)


def withdrawn_rows(columns: Iterable[str], *, within: str = "") -> str:
    """Return the query of these columns of the other messages, which are so few that no others are read."""
    held = f"({_TABLE.sub('w.', within)}) AND " if within else ""
    keys = f"SELECT w.account_id, w.sent_at, w.message_id FROM message_state AS w WHERE {held}(bitAnd(w.flags, 1) = 1)"
    return _event_rows(
        columns,
        f"(t.account_id, t.sent_at, t.message_id) IN ({keys})",
        f"(l.account_id, l.sent_at, l.message_id) IN ({keys})",
    )


def need_no_events(columns: Iterable[str]) -> bool:
    """Whether a state alone tells these columns, of whomever its events are, unless one was withdrawn."""
    return _OF_ALL.issuperset({*_words(_rules(columns).values())} - {*_KEYS})


def state_rows(columns: Iterable[str], *more: str, within: str = "", by_key: bool = False) -> str:
    """Return the query of these columns of all messages, and of `more`: names of what else a state says.

    `by_key`: `within` names the keys of the messages, which are few: they are joined by FINAL.

    Where `is_kept` is 0, of a row only what requests and decisions say is the message's; where `is_simple` is 0, only
    columns that `need_no_events`.
    """
    return _of_state(_rules(columns) | {name: _MORE[name] for name in more}, within, by_key=by_key)


def event_rows(columns: Iterable[str], *, within: str = "") -> str:
    """Return the query of these columns of the rules, of the messages that are not simple.

    Without `within` a query that names no keys reads the events of all messages: a condition outside says nothing to
    the subquery that finds them.
    """
    these = ""
    if within:
        keys = _of_state({name: f"{{{name}}}" for name in _KEYS}, within, where=f"NOT {_SIMPLE}")
        these = f"(l.account_id, l.sent_at, l.message_id) IN ({keys})"
    return _event_rows(columns, within, these)


def event_rows_of(columns: Iterable[str], *, within: str) -> str:
    """Return the same of a few messages: `within` names their keys."""
    return _event_rows(columns, within, _TABLE.sub("l.", within), by_key=True)


def _event_rows(columns: Iterable[str], within: str, these: str, *, by_key: bool = False) -> str:
    """The rows of messages that are not simple; `these` is a condition on the events that are read."""
    rules = _rules(columns)
    words = _words(rules.values())
    facts = {name: sql for name, sql in _FACTS.items() if name in words}
    told = {name: sql for name, sql in _OF_EVENTS.items() if name in words}
    joins = {name: _JOINED_EVENTS[name] for name in _words(told.values())}
    asked = {
        **{name: f"{{{name}}}" for name in _KEYS},
        **facts,
        "own_key": _FACTS["to_key"],
        "of_any_address": "{to_hash} = 0",
    }
    of_these = f" PREWHERE {these}" if these else ""
    pieces = {name: f"j.{name}" for name in (*_KEYS, *facts)} | {
        name: sql.format_map({join: f"j.{join}" for join in joins}) for name, sql in told.items()
    }
    joined = {name: f"s.{name}" for name in _KEYS} | {name: f"any(s.{name})" for name in facts}
    joined |= {name: sql.replace("{own}", _OWN) for name, sql in joins.items()}
    return f"""
        SELECT {_named(rules, pieces)}
        FROM
        (
            SELECT {", ".join(f"{sql} AS {name}" for name, sql in joined.items())}
            FROM ({_of_state(asked, within, where=f"NOT {_SIMPLE}", are_pieces=True, by_key=by_key)}) AS s
            LEFT JOIN ({_EVENTS.replace("{these}", of_these)}) AS e
            ON (s.account_id = e.account_id) AND (s.sent_at = e.sent_at) AND (s.message_id = e.message_id)
            GROUP BY s.account_id, s.sent_at, s.message_id
        ) AS j
    """


def counted_rows() -> str:
    """Return the query of the columns of all messages that they are counted by: those that need no events."""
    columns = [name for name in RULES if name in _COUNTED_BY]
    # By FINAL: a condition on `date_sent` then comes to the table's order, and what is not asked for is not joined.
    return f"{kept_rows(columns, by_key=True)}\nUNION ALL\n{withdrawn_rows(columns)}"


def bounced_rows() -> str:
    """Return the query of the messages that are Bounced, and of what tells which bounces are the To's."""
    columns = ("account_id", "email_id", "date_sent", "channel", "to_domain", "to_key", "to_hash", "status")
    # Said within, though it names no keys: most messages never bounced.
    bounced = "t.message_id IN (SELECT message_id FROM bounces)"
    both = f"{kept_rows(columns, within=bounced, by_key=True)}\nUNION ALL\n{withdrawn_rows(columns, within=bounced)}"
    return f"SELECT * FROM ({both}) WHERE status = 'Bounced'"


_COUNTED_BY: Final = (
    *("account_id", "email_id", "date_sent", "channel", "template_id", "type", "sent_to", "to_domain"),
    *("provider", "status", "complained"),
)


def view() -> str:
    """Return the query of all columns of all messages."""
    return f"{simple_rows(RULES)}\nUNION ALL\n{event_rows(RULES)}"


def timeline_rows(within: str = "") -> str:
    """Return the query of all columns of `message_events`; `within` is as above, on the columns of `t`.

    A condition outside says nothing to the state that an event is joined with.
    """
    by_event = _TABLE.sub("e.", f" PREWHERE {within}") if within else ""
    by_state = _TABLE.sub("f.", f" PREWHERE {within}") if within else ""
    return f"""
        SELECT
            {_EVENT_COLUMNS}
        FROM (SELECT * FROM events AS e FINAL{by_event}) AS e
        LEFT ANY JOIN
        (
            SELECT
                f.account_id AS account_id, f.sent_at AS sent_at, f.message_id AS message_id,
                substring(f.to_key, 17) AS to_key,
                toUInt64(bitShiftRight(f.intent, 16)) AS to_hash
            FROM message_state AS f FINAL{by_state}
        ) AS s ON (e.account_id = s.account_id) AND (e.sent_at = s.sent_at) AND (e.message_id = s.message_id)
        WHERE (e.link != 'withdrawn') AND {_TABLE.sub("e.", _KNOWN)}
    """


def _rules(columns: Iterable[str]) -> dict[str, str]:
    return {name: _ALL_RULES[name] for name in columns}


def _words(texts: Iterable[str]) -> list[str]:
    """Return the names that texts have in braces, each once."""
    return [*dict.fromkeys(name for text in texts for _, name, _, _ in Formatter().parse(text) if name)]


def _named(texts: Mapping[str, str], meanings: Mapping[str, str]) -> str:
    return ", ".join(f"{text.format_map(meanings)} AS {name}" for name, text in texts.items())


def _of_state(
    texts: Mapping[str, str], within: str, *, where: str = "", by_key: bool = False, are_pieces: bool = False
) -> str:
    """Return the query of texts by pieces, or by axes and their parts (`are_pieces`); `where` is by these, too."""
    key = {name: f"{{{name}}}" for name in _KEYS}
    by_axes = (
        texts if are_pieces else {name: text.format_map(_OF_STATE | key | _SELVES) for name, text in texts.items()}
    )
    found = _words([*by_axes.values(), where])
    conditions = [_KNOWN, *([within] if within else [])]
    if by_key or _LEAN.issuperset(found):
        meanings = {name: f"f.{name}" for name in found} | {
            name: f"tupleElement(f.{axis}, '{part}')" for name, (axis, part) in _PARTS.items()
        }
        meanings["to_hash"] = _TO_HASH.format(intent="f.intent")
        first = " AND ".join(f"({_TABLE.sub('f.', condition)})" for condition in conditions)
        of_table = f"SELECT {_named(by_axes, meanings)} FROM message_state AS f FINAL"
        if not within:  # a condition from outside finds its place by itself
            return f"{of_table} WHERE {first}" + (f" AND {where.format_map(meanings)}" if where else "")
        return f"{of_table} PREWHERE {first}" + (f" WHERE {where.format_map(meanings)}" if where else "")
    joined = {name: join_of(name) for name in dict.fromkeys([*_KEYS, *found])}
    if within:
        # An expression: else each month is joined by one thread alone, and nearly all that is asked for is in one
        # (ClickHouse's setting allow_aggregate_partitions_independently). A condition from outside needs the column.
        joined["sent_at"] = "toDateTime64(t.sent_at, 3, 'UTC')"
    grouped = (
        f"SELECT {', '.join(f'{sql} AS {name}' for name, sql in joined.items())} FROM message_state AS t"
        f" WHERE {' AND '.join(f'({condition})' for condition in conditions)}"
        f" GROUP BY {', '.join(joined[name] for name in _KEYS)}"
    )
    meanings = {name: f"m.{name}" for name in joined}
    held = f" WHERE {where.format_map(meanings)}" if where else ""
    return f"SELECT {_named(by_axes, meanings)} FROM ({grouped}) AS m{held}"


def fact_of(name: str) -> str:
    """Return what requests and decisions say, of the table where its rows are grouped: `channel`, `to_key`, …"""
    return _FACTS[name].format_map({axis: join_of(axis) for axis in _words([_FACTS[name]])})


def join_of(name: str) -> str:
    """Return how an axis of the grouped table, or a part of one, is joined."""
    if name in _KEYS:
        return f"t.{name}"
    if name == "to_hash":  # here, since what a lambda takes from outside is copied for each element
        return _TO_HASH.format(intent="max(t.intent)")
    if name not in _PARTS:
        return f"{JOINS[name]}(t.{name})"
    axis, part = _PARTS[name]
    order = (
        f"bitShiftLeft(toUInt256(t.{axis}.known), 128) + bitShiftLeft(toUInt256(t.{axis}.inverse_at), 64)"
        f" + t.{axis}.inverse_hash"
    )
    return f"argMax(t.{axis}.{part}, {order})"
