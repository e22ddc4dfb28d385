"""What a row of `messages` is, in SQL: of which pieces, and by which rules. The view is made of this, as queries are.

In:  the tables `message_state` and `events`, unmerged as they are. Out: texts of SQL, without outside values.

A message whose events all name its To is *simple*: it is read from its state as it is. One that has an event of another
address, or from which an event was withdrawn, is worked out from `events`, by its To. Both branches give the same
pieces, and the rules say what those mean. Each name and each level of subqueries costs time whenever it is analysed,
and each axis when it is joined; so a query is made of the columns that it shows or asks, and of the pieces that these
need, put into the rules where they can be.

The rows of a message are joined by FINAL or by GROUP BY, with the functions of the table's merges; both give the same.
FINAL is analysed faster, so it is for rows whose keys are known; for the few small columns that lists and dashboards
ask of many messages, GROUP BY takes a third of the time. A condition on the key alone may be asked before rows are
joined, which under FINAL has to be said with PREWHERE: else all columns are read before it is asked. Under FINAL the
parts of an axis are read by functions, never as `axis.part`, which would be the first row's; so the table is called `f`
there, and `t` where its rows are grouped.
"""
# ruff: noqa: S608 - all of it is text of our own

import re
from collections.abc import Iterable, Mapping
from string import Formatter
from typing import Final

__all__ = ["JOINS", "RULES", "event_rows", "join_of", "simple_rows", "state_rows", "timeline_rows", "view"]

JOINS: Final = {
    **dict.fromkeys(("intent", "attributes", "request", "dispatch", "seen", "winner"), "max"),
    **dict.fromkeys(("types", "flags"), "groupBitOr"),
    **dict.fromkeys(("first_address", "first_content"), "min"),
    **dict.fromkeys(("last_address", "last_content", "heard"), "max"),
    **dict.fromkeys(("processed", "delivered", "bounced", "opened", "clicked"), "max"),
    "provider_ids": "groupUniqArrayArray(2)",
    **dict.fromkeys(("opens", "machine_opens", "clicks", "deferrals"), "groupUniqArrayArray(1000)"),
    **dict.fromkeys(("deliveries", "changes"), "maxMap"),
}
"""How each axis of the table is joined: tables/0003_message_state.sql, which a test compares."""

_KNOWN: Final = "(t.sent_at < toDateTime64('2200-01-01 00:00:00', 3, 'UTC'))"
"""Of an id with a later time there is no row; there are states of such from before they were refused."""

_SIMPLE: Final = """((bitAnd({flags}, 1) = 0) AND (({to_hash} = 0) OR ({last_address} = 0)
    OR (({first_address} = {last_address}) AND ({last_address} = {to_hash}))))"""
"""Whether the axes that are joined over all addresses are the To's."""

_MORE: Final = {
    "is_simple": _SIMPLE,
    "may_be_silent": """
        NOT ((bitAnd({flags}, 1) = 0) AND (bitAnd({types}, 24576) = 0)
            AND ({to_hash} IN ({first_address}, {last_address})))""",
    "told_types": "{types}",
    "told_outcome": "{outcome}",
}
"""What else a state says. `may_be_silent`: where it is 0, an event of a type that has a status is about the To."""

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
            bitAnd({types}, 224) > 0, 'Bounced',
            bitAnd({types}, 16) > 0, 'Dropped',
            bitAnd({types}, 256) > 0, 'Subscriptionchange',
            bitAnd({types}, 1024) > 0, 'Clicked',
            bitAnd({types}, 512) > 0, 'Opened',
            bitAnd({types}, 6152) > 0, 'Delivered',
            bitAnd({types}, 7) > 0, 'Processed',
            'Pending')""",
    "sub_status": """
        multiIf(
            {outcome} > 1, '',
            bitAnd({types}, 240) > 0, {winner_sub_status},
            bitAnd({types}, 256) > 0, {change},
            bitAnd({types}, 7688) > 0, '',
            bitAnd({types}, 4) > 0, 'sent',
            bitAnd({types}, 2) > 0, 'deferred',
            bitAnd({types}, 1) > 0, 'processed',
            '')""",
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
    "complained": "(bitAnd({types}, 8192) > 0)::Bool",
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

_PARTS: Final = {
    "outcome": ("intent", "outcome"),
    "to_hash": ("intent", "to_hash"),
    "decided": ("intent", "inverse_at"),
    "channel": ("attributes", "channel"),
    "template_id": ("attributes", "template_id"),
    "template_name": ("attributes", "template_name"),
    "recipient_kind": ("attributes", "recipient_kind"),
    "to_domain": ("attributes", "to_domain"),
    "outcome_reason": ("attributes", "reason"),
    "recipient_id": ("request", "recipient_id"),
    "to_address": ("request", "to_address"),
    "to_key": ("request", "to_key"),
    "cc": ("request", "cc"),
    "cc_keys": ("request", "cc_keys"),
    "subject": ("request", "subject"),
    "appointment_id": ("request", "appointment_id"),
    "outcome_detail": ("request", "detail"),
}
"""The pieces that are parts of the three axes of requests and decisions.

These are compared by known, inverse_at and inverse_hash first. Where rows are grouped, the three are made one number,
which is compared many times as fast as a tuple, and a part is read without the others.
"""

_FACTS: Final = {
    **{name: f"{{{name}}}" for name in (*_PARTS, "flags", "heard", "first_content", "last_content")},
    "dispatch_known": "tupleElement({dispatch}, 'known')",
    "dispatched": "tupleElement({dispatch}, 'inverse_at')",
    "dispatch_provider": "tupleElement({dispatch}, 'provider')",
    "dispatch_id": "tupleElement({dispatch}, 'provider_message_id')",
}
"""The pieces that requests, decisions and dispatches give, by the axes and their parts: alike in both branches."""

_OF_STATE: Final = {
    **_FACTS,
    **{name: f"{{{name}}}" for name in ("types", "processed", "delivered", "bounced", "opened", "clicked")},
    "is_told": "({types} > 0)",
    "seen_provider": "tupleElement({seen}, 'provider')",
    "seen_id": "tupleElement({seen}, 'provider_message_id')",
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

_OF_EVENTS: Final = {
    "types": "{types}",
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
    "types": "groupBitOrIf(e.bit, {own})",
    "is_told": "max(e.told)",
    "seen": "argMinIf((e.provider, e.provider_message_id), (e.provider_message_id = '', e.at, e.event_id), e.told)",
    "provider_ids": """
        groupUniqArrayIf(concat(e.provider, ':', e.provider_message_id), e.told AND (e.provider_message_id != ''))""",
    "firsts": """
        maxForEachIf([
            if(e.bit = 1, e.inverse_at, 0), if(e.bit = 8, e.inverse_at, 0), if(bitAnd(e.bit, 224) > 0, e.inverse_at, 0),
            if(e.bit = 512, e.inverse_at, 0), if(e.bit = 1024, e.inverse_at, 0)], {own})""",
    "last_delivered": "maxIf(e.at, {own} AND (e.bit = 8))",
    "counts": "sumForEachIf([e.bit = 512, e.bit = 2048, e.bit = 1024, e.bit = 2], {own})",
    "winner": """
        argMinIf((e.code, e.enhanced_code, e.reason, e.classification, e.sub_status),
            (256 - e.bit, e.code = '', e.at, e.event_id), {own} AND (e.bit < 256))""",
    "change": "argMaxIf(e.classification, (e.at, e.event_id), {own} AND (e.bit = 256))",
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
            ['processed', 'deferred', 'sent', 'delivered', 'dropped', 'failed', 'blocked', 'bounced',
            'subscription_changed', 'opened', 'clicked', 'machine_opened', 'machine_clicked', 'complained'],
            [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192], 16384)::UInt32 AS bit,
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
    ((e.address != '') AND (s.to_key != '') AND (e.address != s.to_key) AND (s.channel != 'sms'))::Bool AS cc,
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
_TABLE: Final = re.compile(r"\bt\.")
_SELVES: Final = {name: f"{{{name}}}" for name in ("to_hash", "first_address", "last_address")}
"""What `_MORE` says by the axes themselves."""


def simple_rows(columns: Iterable[str], *, within: str = "") -> str:
    """Return the query of these columns of RULES, of the messages that are simple.

    `within` is a condition on t.account_id, t.sent_at and t.message_id: one that is put outside comes to the table, but
    is asked after all columns are read.
    """
    return _of_state(_rules(columns), within, where=_SIMPLE)


def state_rows(columns: Iterable[str], *more: str, within: str = "", by_key: bool = False) -> str:
    """Return the query of these columns of all messages, and of `more`: names of what else a state says.

    `by_key`: `within` names the keys of the messages, which are few: they are joined by FINAL.

    Where `is_simple` is 0, of a row only what requests and decisions say is the message's.
    """
    return _of_state(_rules(columns) | {name: _MORE[name] for name in more}, within, by_key=by_key)


def event_rows(columns: Iterable[str], *, within: str = "") -> str:
    """Return the query of these columns of RULES, of the messages that are not simple.

    Without `within` a query that names no keys reads the events of all messages: a condition outside says nothing to
    the subquery that finds them.
    """
    rules = _rules(columns)
    words = _words(rules.values())
    facts = {name: sql for name, sql in _FACTS.items() if name in words}
    told = {name: sql for name, sql in _OF_EVENTS.items() if name in words}
    joins = {name: _JOINED_EVENTS[name] for name in _words(told.values())}
    asked = {
        **{name: f"{{{name}}}" for name in _KEYS},
        **facts,
        "own_key": "{to_key}",
        "of_any_address": "({to_key} = '') OR ({channel} = 'sms')",
    }
    these = ""
    if within:
        keys = _of_state({name: f"{{{name}}}" for name in _KEYS}, within, where=f"NOT {_SIMPLE}")
        these = f" PREWHERE (l.account_id, l.sent_at, l.message_id) IN ({keys})"
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
            FROM ({_of_state(asked, within, where=f"NOT {_SIMPLE}", are_pieces=True)}) AS s
            LEFT JOIN ({_EVENTS.replace("{these}", these)}) AS e
            ON (s.account_id = e.account_id) AND (s.sent_at = e.sent_at) AND (s.message_id = e.message_id)
            GROUP BY s.account_id, s.sent_at, s.message_id
        ) AS j
    """


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
                tupleElement(f.request, 'to_key') AS to_key,
                tupleElement(f.attributes, 'channel') AS channel
            FROM message_state AS f FINAL{by_state}
        ) AS s ON (e.account_id = s.account_id) AND (e.sent_at = s.sent_at) AND (e.message_id = s.message_id)
        WHERE (e.link != 'withdrawn') AND {_TABLE.sub("e.", _KNOWN)}
    """


def _rules(columns: Iterable[str]) -> dict[str, str]:
    return {name: RULES[name] for name in columns}


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
    if by_key:
        meanings = {name: f"f.{name}" for name in found} | {
            name: f"tupleElement(f.{axis}, '{part}')" for name, (axis, part) in _PARTS.items()
        }
        first = " AND ".join(f"({_TABLE.sub('f.', condition)})" for condition in conditions)
        held = f" WHERE {where.format_map(meanings)}" if where else ""
        return f"SELECT {_named(by_axes, meanings)} FROM message_state AS f FINAL PREWHERE {first}{held}"
    joined = {name: join_of(name) for name in dict.fromkeys([*_KEYS, *found])}
    grouped = (
        f"SELECT {', '.join(f'{sql} AS {name}' for name, sql in joined.items())} FROM message_state AS t"
        f" WHERE {' AND '.join(f'({condition})' for condition in conditions)}"
        f" GROUP BY {', '.join(f't.{name}' for name in _KEYS)}"
    )
    meanings = {name: f"m.{name}" for name in joined}
    held = f" WHERE {where.format_map(meanings)}" if where else ""
    return f"SELECT {_named(by_axes, meanings)} FROM ({grouped}) AS m{held}"


def join_of(name: str) -> str:
    """Return how an axis of the grouped table, or a part of one, is joined."""
    if name in _KEYS:
        return f"t.{name}"
    if name not in _PARTS:
        return f"{JOINS[name]}(t.{name})"
    axis, part = _PARTS[name]
    order = (
        f"bitShiftLeft(toUInt256(t.{axis}.known), 128) + bitShiftLeft(toUInt256(t.{axis}.inverse_at), 64)"
        f" + t.{axis}.inverse_hash"
    )
    return f"argMax(t.{axis}.{part}, {order})"
