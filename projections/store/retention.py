"""How long ClickHouse keeps messages and their contents. `sendledger migrate` sets it in one generation.

In:  a store; days from the settings. Out: the view `kept`, which queries compare with (views/kept.py), and TTLs.
Promise: a message disappears whole. Queries hide all its rows at the first midnight (UTC) when its Date Sent is more
than so many days ago, and ClickHouse deletes them only after that. What belongs to an address stays: suppressions,
opt-outs and commands, and the events that a suppression rests on.

Messages that were hidden once stay hidden, also if the days are raised: some of their rows may be deleted already. A
rebuild brings them back from the log.
"""

from typing import Final

from projections.store.clickhouse import Store
from projections.suppressions.evidence import OPT_OUT_CODES

__all__ = ["set_content_retention", "set_retention", "set_retentions"]

_MARGIN_DAYS: Final = 1
"""Between hiding and deleting: rows are hidden at a midnight, and deleted by the time in their id."""
_LATE_DAYS: Final = 35
"""How long an orphan can still be matched: `recent_orphans` keeps it that long. The index by which the list of orphans
finds the message of an event is kept as much longer, so that no event turns into an orphan when its message expires."""
_COPIES_DAYS: Final = 8
"""How long an orphan is kept after it was hidden, so that no later copy of it is shown in its place. Providers repeat a
webhook for three days at most."""
_LATEST: Final = "toDateTime64('2100-01-01 00:00:00', 6, 'UTC')"
"""TTLs are computed with 32-bit times; an id of an event may contain any time up to 2200."""
_OF_ID: Final = "UUIDv7ToDateTime(message_id, 'UTC')"
_EXPIRES: Final = {
    "message_state": ("sent_at", _MARGIN_DAYS),
    # An event that came late is stored for longer than its message, and not shown: the list of orphans needs it, to
    # leave out the copy in `orphans`, which expires by the same time.
    "events": ("greatest(sent_at, received_at)", _MARGIN_DAYS),
    "bounces": (_OF_ID, _MARGIN_DAYS),
    "dispatches": (_OF_ID, _MARGIN_DAYS),
    "holders": (_OF_ID, _MARGIN_DAYS + _LATE_DAYS),
    "orphans": ("received_at", _MARGIN_DAYS + _COPIES_DAYS),
}
"""By table: the time that its rows expire by, and the days that are added to the retention."""
_TTL_MERGE_SECONDS: Final = 86_400
"""The shortest time between two merges of a part that only delete expired rows: expired rows are hidden anyway."""


def set_retentions(store: Store, *, days: int, content_days: int) -> tuple[bool, bool]:
    """Set the retention of messages, then that of contents, which may not be longer; return whether each changed."""
    return set_retention(store, days), set_content_retention(store, content_days)


def set_retention(store: Store, days: int) -> bool:
    """Show messages for `days` days after Date Sent, and delete them after that; 0: for ever.

    Returns whether that changed the setting. Each call with days also deletes old evidence that no suppression rests
    on. Raises StoreError.
    """
    before, since = store.tuples("SELECT days, toString(since) FROM kept")[0]
    # The TTLs come last: a run that is interrupted hides what is not deleted yet, and the next run sets them.
    changed = bool(before != days)
    if changed:
        store.define(f"CREATE OR REPLACE VIEW kept AS {_kept(days, since)}")
    engines = _engines(store)
    for table, (expires, more) in _EXPIRES.items():
        _set_ttl(store, table, engines[table], expires, days + more if days else 0)
    if days:
        _delete_unused_evidence(store)
    return changed


def set_content_retention(store: Store, days: int) -> bool:
    """Delete contents `days` days after their Date Sent; return whether that changed the setting. Raises StoreError.

    The TTL uses the date in the key, so a copy that arrives late is not kept longer than the first. A content is never
    kept longer than its message: set the retention of messages first.
    """
    of_messages = int(store.tuples("SELECT days FROM kept")[0][0])
    days = min(days, of_messages + _MARGIN_DAYS) if of_messages else days
    return _set_ttl(store, "contents", _engines(store)["contents"], "sent_at", days)


def _kept(days: int, since: str) -> str:
    """Return the query of the view `kept`: what is hidden now (before `since`) stays hidden."""
    hidden = f"toDateTime64('{since}', 3, 'UTC')"
    if days:
        hidden = f"greatest({hidden}, toDateTime64(toStartOfDay(now('UTC')) - toIntervalDay({days:d}), 3, 'UTC'))"
    return f"SELECT {days:d} AS days, {hidden} AS since"


def _engines(store: Store) -> dict[str, str]:
    rows = store.tuples(
        "SELECT name, engine_full FROM system.tables WHERE database = {db:String} AND name IN {names:Array(String)}",
        {"db": store.stored_tables, "names": [*_EXPIRES, "contents"]},
    )
    return {str(name): str(engine) for name, engine in rows}


def _set_ttl(store: Store, table: str, engine: str, expires: str, days: int) -> bool:
    """Let a table's rows expire so many days after a time, or never (0); return whether that changed anything."""
    if (f" + toIntervalDay({days:d})" in engine) if days else (" TTL " not in engine):
        return False
    if not days:
        store.define(f"ALTER TABLE {table} REMOVE TTL")
        return True
    store.define(f"ALTER TABLE {table} MODIFY SETTING merge_with_ttl_timeout = {_TTL_MERGE_SECONDS}")
    store.define(f"ALTER TABLE {table} MODIFY TTL toDateTime(least({expires}, {_LATEST})) + toIntervalDay({days:d})")
    return True


def _delete_unused_evidence(store: Store) -> None:
    """Delete expired bounces and complaints that no suppression in force names.

    Opt-outs are kept: what is in force does not say which event it follows from.
    """
    since = store.tuples("SELECT toString(since) FROM kept")[0][0]
    named = f"SELECT arrayJoin(evidence) FROM {store.tables}.suppressions WHERE suppressed"  # noqa: S608
    unused = (
        f"(received_at < toDateTime64('{since}', 6, 'UTC')) AND (type IN ('bounced', 'failed', 'complained'))"
        f" AND (code NOT IN {sorted(OPT_OUT_CODES)})"
        f" AND (lower(hex(event_id)) NOT IN ({named}))"
    )
    if store.tuples(f"SELECT 1 FROM evidence WHERE {unused} LIMIT 1"):  # noqa: S608 - our own names
        store.define(f"ALTER TABLE evidence DELETE WHERE {unused} SETTINGS mutations_sync = 1")
