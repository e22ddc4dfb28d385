"""Which evidence an account may see: a decision or suppression may rest on records of other accounts.

In:  evidence ids; the accounts of the principal.
Out: the ids that belong to these accounts: their policies and preferences, events of their messages, commands for their
scopes. An id that can't be looked up counts as another account's. A principal of all accounts sees everything.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Final

from projections.store import Store
from projections.suppressions import queries

__all__ = ["commands_of", "events_of", "ids_to_look_up", "is_event_id", "visible_evidence", "visible_records"]

_RECORD: Final = re.compile(r"(?:policy|preference):([A-Za-z0-9_.\-]+)[@/]")
_EVENT: Final = re.compile(r"[0-9a-f]{32}")
_IDS_AT_ONCE: Final = 1_000


def is_event_id(evidence_id: str) -> bool:
    """Return whether an evidence id is an event id; else it belongs to a command, a policy or a preference."""
    return _EVENT.fullmatch(evidence_id) is not None


def visible_records(accounts: Collection[str], ids: Iterable[str]) -> set[str]:
    """Return the ids of the accounts' policies and preferences: these ids contain the account."""
    return {evidence_id for evidence_id in ids if (match := _RECORD.match(evidence_id)) and match[1] in accounts}


def ids_to_look_up(ids: Iterable[str]) -> set[str]:
    """Return the ids whose account must be looked up in ClickHouse."""
    return {evidence_id for evidence_id in ids if not _RECORD.match(evidence_id)}


def visible_evidence(store: Store, accounts: Sequence[str], ids: Iterable[str]) -> set[str]:
    """Return the ids that the accounts may see. Raises StoreError."""
    visible = visible_records(accounts, ids := set(ids))
    unknown = sorted(ids_to_look_up(ids))
    visible |= {row["event_id"] for row in events_of(store, accounts, unknown)}
    return visible | {row["command_id"] for row in commands_of(store, accounts, unknown)}


def events_of(store: Store, accounts: Sequence[str] | None, ids: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the events of the accounts' messages with these ids; None for those of every account."""
    for chunk in _chunks(evidence_id for evidence_id in ids if is_event_id(evidence_id)):
        query = queries.evidence_events(accounts, chunk)
        yield from store.rows(query.sql, query.parameters)


def commands_of(store: Store, accounts: Sequence[str] | None, ids: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the commands with these ids whose scope is one of the accounts; None for every scope."""
    for chunk in _chunks(evidence_id for evidence_id in ids if not is_event_id(evidence_id)):
        query = queries.commands(chunk)
        for row in store.rows(query.sql, query.parameters):
            if accounts is None or row["scope"] in accounts:
                yield row


def _chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    ordered = sorted(set(ids))
    for begin in range(0, len(ordered), _IDS_AT_ONCE):
        yield ordered[begin : begin + _IDS_AT_ONCE]
