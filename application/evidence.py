"""Evidence, as far as an account may see it: the ids behind a decision or a suppression are not all its own.

In:  ids of evidence; the accounts that somebody acts for.
Out: those that belong to these accounts: a policy or preference of theirs, an event of their own messages, a command
for their own scope. What can't be looked up counts as another's. Who acts for all accounts sees everything.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Final

from projections.store import Store
from projections.suppressions import queries

__all__ = ["commands_of", "events_of", "is_event_id", "own_evidence", "own_records", "to_look_up"]

_RECORD: Final = re.compile(r"(?:policy|preference):([A-Za-z0-9_.\-]+)[@/]")
_EVENT: Final = re.compile(r"[0-9a-f]{32}")
_IDS_AT_ONCE: Final = 1_000


def is_event_id(known: str) -> bool:
    """Return whether an id of evidence is that of an event; else it is of a command, or of a policy or preference."""
    return _EVENT.fullmatch(known) is not None


def own_records(accounts: Collection[str], ids: Iterable[str]) -> set[str]:
    """Return the ids of policies and preferences of the accounts: they say whose they are."""
    return {known for known in ids if (match := _RECORD.match(known)) and match[1] in accounts}


def to_look_up(ids: Iterable[str]) -> set[str]:
    """Return the ids of which only the tables know whose they are."""
    return {known for known in ids if not _RECORD.match(known)}


def own_evidence(store: Store, accounts: Sequence[str], ids: Iterable[str]) -> set[str]:
    """Return the ids that the accounts may see. Raises StoreError."""
    own = own_records(accounts, ids := set(ids))
    unknown = sorted(to_look_up(ids))
    own |= {row["event_id"] for row in events_of(store, accounts, unknown)}
    return own | {row["command_id"] for row in commands_of(store, accounts, unknown)}


def events_of(store: Store, accounts: Sequence[str] | None, ids: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the events of the accounts' messages with these ids; None for those of every account."""
    for some in _chunks(known for known in ids if is_event_id(known)):
        query = queries.evidence_events(accounts, some)
        yield from store.rows(query.sql, query.parameters)


def commands_of(store: Store, accounts: Sequence[str] | None, ids: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the commands with these ids that were given for the scopes of the accounts; None for every scope."""
    for some in _chunks(known for known in ids if not is_event_id(known)):
        query = queries.commands(some)
        for row in store.rows(query.sql, query.parameters):
            if accounts is None or row["scope"] in accounts:
                yield row


def _chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    ordered = sorted(set(ids))
    for begin in range(0, len(ordered), _IDS_AT_ONCE):
        yield ordered[begin : begin + _IDS_AT_ONCE]
