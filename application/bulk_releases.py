"""Releases many addresses that were suppressed by one cause, and undoes that: writes commands to Kafka.

In:  a cause, why it is released, the principal. Out: a `Report`; and unless it is a dry run, a command in the log for
each address, at a limited rate.

Both can be repeated and resumed safely: a repetition writes commands with the same ids, the time of a release is that
of its preview, and addresses that are already released or suppressed again are no longer found. Complaints and opt-outs
are never released. An undo suppresses exactly the addresses that the release released and that did not change since.
A caller with little time does a part, and the next call continues after it.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple

from application.bulk_causes import cause_of, cause_text, text_problem
from application.errors import FieldsInvalid, ValidationFault
from application.evidence import is_event_id
from application.lookups import RunBlocking
from application.principals import Principal
from application.suppression_commands import Action, PreparedCommand, build_command
from application.writing import write
from processors.kafka.ports import RecordProducer
from projections.store.ports import Reader
from projections.suppressions import bulk_queries
from projections.suppressions.addressing import AddressKey
from projections.suppressions.bulk_release import (
    Cause,
    EvidenceEvent,
    ReleaseCommand,
    ReleaseVerdict,
    ScopeChange,
    SuppressedScope,
    UndoVerdict,
    bulk_id_of,
    command_id_of,
    judge_release,
    judge_undo,
)
from projections.suppressions.queries import SuppressionCursor
from schemas.decoding.ids import ALL, message_id_or_blank, sent_at_us
from schemas.decoding.times import rfc3339
from schemas.errors import RequestError

__all__ = [
    "DEFAULT_LIMITS",
    "BulkRelease",
    "Limits",
    "Report",
    "Undo",
    "list_bulk_releases",
    "plan_release",
    "plan_undo",
    "release_in_bulk",
    "released_pages",
    "undo_release",
    "valid_bulk_id",
]

SAMPLES: Final = 10
"""How many addresses a report shows."""

_IDS_AT_ONCE: Final = 1_000
_MOST_GROUPS: Final = 1_000
"""How many different causes a report counts at most: they contain codes, which providers may choose freely."""
_OTHER: Final = "other"
_REASON_SHOWN: Final = 200


class Limits(NamedTuple):
    """How many addresses are in memory at once, and how fast commands are written."""

    per_second: int = 200
    rows_at_once: int = 2_000
    wait: Callable[[float], Awaitable[None]] = asyncio.sleep
    is_enough: Callable[[int], bool] = lambda _: False
    """Whether to stop after some rows, by the number of addresses so far."""

    async def write(self, kafka: RecordProducer, commands: Sequence[PreparedCommand]) -> None:
        """Write the commands at most at this rate. Raises BrokerError."""
        for begin in range(0, len(commands), self.per_second):
            some = commands[begin : begin + self.per_second]
            await write(kafka, [command.record() for command in some])
            await self.wait(len(some) / self.per_second)


DEFAULT_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class BulkRelease:
    """A planned bulk release. The same cause, time and principal give the same commands."""

    bulk_id: str
    cause: Cause
    note: str
    reason: str
    principal: Principal

    @property
    def as_of_us(self) -> int:
        """The time of the preview. Suppressions that changed later are not released."""
        return sent_at_us(self.bulk_id)


class Undo(NamedTuple):
    """A planned undo of a bulk release."""

    bulk_id: str
    reason: str
    principal: Principal
    at_us: int


class _Outcome(NamedTuple):
    """What happens to one address, and how a report counts it."""

    command: Callable[[], PreparedCommand] | None = None
    """Builds the command, which needs a reason; None: the address is left as it is."""
    left: str = ""
    """Why it is left; blank: it is not counted either."""
    sample: Mapping[str, str] = {}
    accounts: Collection[str] = ()
    causes: Collection[str] = ()


class _Page(NamedTuple):
    """What happens to some addresses, and the position behind them."""

    outcomes: Sequence[_Outcome]
    position: tuple[str, ...]


@dataclass(slots=True)
class Report:
    """What a bulk release or its undo does, or would do."""

    bulk_id: str
    addresses: int = 0
    by_account: Counter[str] = field(default_factory=Counter)
    """An address counts for each account with an event that is evidence."""
    by_cause: Counter[str] = field(default_factory=Counter)
    """By provider and code. An address counts for each cause."""
    left: Counter[str] = field(default_factory=Counter)
    """Addresses that are left as they are, by the reason."""
    samples: list[dict[str, str]] = field(default_factory=list)
    position: tuple[str, ...] = ()
    """Behind which to go on, if this is only a part; else empty."""

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return {
            "id": self.bulk_id,
            "as_of": rfc3339(sent_at_us(self.bulk_id)),
            "addresses": self.addresses,
            "by_account": dict(self.by_account.most_common()),
            "by_cause": dict(self.by_cause.most_common()),
            "left": dict(self.left.most_common()),
            "samples": self.samples,
        }

    def count(self, outcome: _Outcome) -> None:
        """Count an address."""
        if outcome.command is None:
            if outcome.left:
                self.left[outcome.left] += 1
            return
        self.addresses += 1
        self.by_account.update(outcome.accounts)
        for cause in outcome.causes:
            is_counted = cause in self.by_cause or len(self.by_cause) < _MOST_GROUPS
            self.by_cause[cause if is_counted else _OTHER] += 1
        if len(self.samples) < SAMPLES:
            self.samples.append(dict(outcome.sample))


def plan_release(
    fields: Mapping[str, str | None],
    reason: str | None,
    principal: Principal,
    now_us: int,
    *,
    bulk_id: str | None = None,
) -> BulkRelease:
    """Return the bulk release of the cause that `fields` state; with the id of its preview, exactly that one.

    Without a reason it can only be previewed. Raises FieldsInvalid, also for an id of another cause, and RequestError
    for an account that the principal does not have.
    """
    cause = cause_of(fields, principal)
    _require_reason(reason)
    id_ = bulk_id_of(cause, now_us) if bulk_id is None else valid_bulk_id(bulk_id)
    if id_ != bulk_id_of(cause, sent_at_us(id_)) or sent_at_us(id_) > now_us:
        mend = "repeat the filters of the preview, or preview again"
        raise FieldsInvalid([ValidationFault("id", f"{id_} is not the id of a preview with these filters: {mend}")])
    return BulkRelease(id_, cause, f"bulk release: {cause_text(fields)}", reason or "", principal)


def plan_undo(bulk_id: str, reason: str | None, principal: Principal, now_us: int) -> Undo:
    """Return the undo of a bulk release; without a reason it can only be previewed.

    Raises FieldsInvalid, and RequestError (`no-such-bulk-release`) for what is not an id.
    """
    _require_reason(reason)
    return Undo(valid_bulk_id(bulk_id), reason or "", principal, now_us)


def valid_bulk_id(text: str) -> str:
    """Return the id of a bulk release in lower case. Raises RequestError (`no-such-bulk-release`)."""
    known = message_id_or_blank(text)
    if not known:
        mend = "Give an id that `sendledger incident list` shows"
        what = f"{text[:60]!r} is not the id of a bulk release"
        raise RequestError(what, "the id", mend, code="no-such-bulk-release")
    return known


async def release_in_bulk(
    kafka: RecordProducer | None,
    store: Reader,
    release: BulkRelease,
    limits: Limits = DEFAULT_LIMITS,
    run: RunBlocking = asyncio.to_thread,
    progress: Callable[[int], None] = lambda _: None,
    *,
    after: SuppressionCursor | None = None,
) -> Report:
    """Release the addresses; without `kafka` only count them. `after` is the position of a report of another part.

    Raises BrokerError, RecordRefused, StoreError, TimedOut; and FieldsInvalid without a reason.
    """
    pages = _release_pages(store, release, limits.rows_at_once, after)
    return await _write_pages(kafka, Report(release.bulk_id), pages, limits, run, progress)


async def undo_release(
    kafka: RecordProducer | None,
    store: Reader,
    undo: Undo,
    limits: Limits = DEFAULT_LIMITS,
    run: RunBlocking = asyncio.to_thread,
    progress: Callable[[int], None] = lambda _: None,
    *,
    after: str = "",
) -> Report:
    """Suppress again what a bulk release released and nobody has changed since; without `kafka` only count it.

    `after` is the position of a report of another part. Raises RequestError (`no-such-bulk-release`) for an unknown id,
    BrokerError, RecordRefused, StoreError, TimedOut; and FieldsInvalid without a reason.
    """
    released = released_pages(store, undo.bulk_id, undo.principal, limits.rows_at_once, after)
    pages = (_Page([_undo_outcome(one, undo) for one in page], (page[-1].command.command_id,)) for page in released)
    return await _write_pages(kafka, Report(undo.bulk_id), pages, limits, run, progress)


async def _write_pages(
    kafka: RecordProducer | None,
    report: Report,
    pages: Iterator[_Page],
    limits: Limits,
    run: RunBlocking,
    progress: Callable[[int], None],
) -> Report:
    """Write the commands of each page, then count its addresses. A page is read after the one before is written."""
    while page := await run(next, pages, None):
        if kafka is not None:
            await limits.write(kafka, [one.command() for one in page.outcomes if one.command is not None])
        for one in page.outcomes:
            report.count(one)
        progress(report.addresses)
        if limits.is_enough(report.addresses) and len(page.outcomes) == limits.rows_at_once:
            report.position = page.position
            break
    return report


def list_bulk_releases(store: Reader, principal: Principal, *, limit: int, before: str = "") -> list[dict[str, Any]]:
    """Return the newest bulk releases in the scopes of the principal, newest first; with `before`, those older than it.

    Raises StoreError.
    """
    limit = min(limit, bulk_queries.MAX_BULK_RELEASES)
    query = bulk_queries.bulk_releases(_scopes(principal), limit=limit, before=before)
    return store.rows(query.sql, query.parameters)


class ReleasedAddress(NamedTuple):
    """A command of a bulk release, and the changes of its address and scope, oldest first."""

    command: ReleaseCommand
    changes: Sequence[ScopeChange]


def released_pages(
    store: Reader,
    bulk_id: str,
    principal: Principal,
    rows_at_once: int = DEFAULT_LIMITS.rows_at_once,
    after: str = "",
) -> Iterator[Sequence[ReleasedAddress]]:
    """Yield the addresses of a bulk release in the scopes of the principal, in the order of their command ids.

    Optionally those after a command id; else it raises RequestError (`no-such-bulk-release`) if there are none.
    """
    while True:
        query = bulk_queries.release_commands(bulk_id, _scopes(principal), limit=rows_at_once, after=after)
        commands = [ReleaseCommand(*row) for row in store.tuples(query.sql, query.parameters)]
        if not commands:
            break
        query = bulk_queries.scope_changes(sorted({command.address for command in commands}))
        changes: defaultdict[tuple[str, ...], list[ScopeChange]] = defaultdict(list)
        for channel, address, scope, *change in store.tuples(query.sql, query.parameters):
            changes[channel, address, scope].append(ScopeChange(*change))
        yield [ReleasedAddress(one, changes[one.channel, one.address, one.scope]) for one in commands]
        after = commands[-1].command_id
    if not after:
        mend = "See `sendledger incident list`. One of the last seconds may not be in the tables yet"
        raise RequestError("There is no bulk release with this id", bulk_id, mend, code="no-such-bulk-release")


def _require_reason(reason: str | None) -> None:
    if reason is not None and (problem := text_problem(reason)):
        raise FieldsInvalid([ValidationFault("reason", problem)])


def _release_pages(
    store: Reader, release: BulkRelease, rows_at_once: int, after: SuppressionCursor | None
) -> Iterator[_Page]:
    """Yield what happens to the suppressions that may have the cause."""
    while True:
        scopes = _scopes(release.principal)
        query = bulk_queries.suppressed_scopes(release.cause, scopes, limit=rows_at_once, after=after)
        rows = [SuppressedScope(*row) for row in store.tuples(query.sql, query.parameters)]
        if not rows:
            return
        events = _events_of(store, rows)
        for_each = [[event for known in row.evidence for event in events[known]] for row in rows]
        after = SuppressionCursor(rows[-1].channel, rows[-1].address, rows[-1].scope)
        yield _Page([_release_outcome(row, of_row, release) for row, of_row in zip(rows, for_each, strict=True)], after)


def _events_of(store: Reader, rows: Sequence[SuppressedScope]) -> Mapping[str, Sequence[EvidenceEvent]]:
    """Return the events of the evidence by id: from messages, or else from the events that match no message."""
    found: defaultdict[str, list[EvidenceEvent]] = defaultdict(list)
    wanted = {known for row in rows for known in row.evidence if is_event_id(known)}
    for query_of in (bulk_queries.evidence_of_messages, bulk_queries.evidence_without_message):
        missing = sorted(wanted - found.keys())
        for begin in range(0, len(missing), _IDS_AT_ONCE):
            query = query_of(missing[begin : begin + _IDS_AT_ONCE])
            for row in store.tuples(query.sql, query.parameters):
                event = EvidenceEvent(*row)
                found[event.event_id].append(event)
    return found


def _release_outcome(row: SuppressedScope, events: Sequence[EvidenceEvent], release: BulkRelease) -> _Outcome:
    verdict = judge_release(row, events, release.cause, release.as_of_us)
    if verdict is not ReleaseVerdict.RELEASE:
        return _Outcome(left="" if verdict is ReleaseVerdict.UNRELATED else str(verdict))
    accounts = {event.account_id for event in events if event.account_id} if row.scope == ALL else {row.scope}
    of_cause = [event for event in events if release.cause.met_by(event)]
    codes = {f"{event.provider} {event.enhanced_code or event.code}".strip() for event in of_cause}
    sample = {
        "address": row.address,
        "scope": row.scope,
        "since": rfc3339(row.since_us),
        "reason": of_cause[0].reason[:_REASON_SHOWN] if of_cause else row.reason,
    }
    return _Outcome(partial(_release_command, row, release), "", sample, accounts or {ALL}, codes or {row.reason})


def _release_command(row: SuppressedScope, release: BulkRelease) -> PreparedCommand:
    key = AddressKey(row.channel, row.address)
    id_ = command_id_of(release.bulk_id, "release", key, row.scope)
    fields = {"scope": row.scope, "reason": release.reason, "note": release.note}
    return _command(key, fields, "release", release.principal, release.as_of_us, id_)


def _undo_outcome(released: ReleasedAddress, undo: Undo) -> _Outcome:
    verdict, command = judge_undo(*released), released.command
    if verdict is not UndoVerdict.UNDO:
        return _Outcome(left=str(verdict))
    sample = {"address": command.address, "scope": command.scope}
    return _Outcome(partial(_undo_command, command, undo), "", sample, [command.scope])


def _undo_command(command: ReleaseCommand, undo: Undo) -> PreparedCommand:
    key = AddressKey(command.channel, command.address)
    fields = {"scope": command.scope, "reason": undo.reason, "note": f"undoes bulk release {undo.bulk_id}"}
    id_ = command_id_of(undo.bulk_id, "undo", key, command.scope)
    return _command(key, fields, "suppress", undo.principal, undo.at_us, id_)


def _command(
    key: AddressKey, fields: Mapping[str, str], action: Action, principal: Principal, at_us: int, command_id: str
) -> PreparedCommand:
    whole = {"channel": key.channel, "address": key.address, **fields}
    return build_command(whole, action, actor=principal.subject, now_us=at_us, command_id=command_id)


def _scopes(principal: Principal) -> Sequence[str] | None:
    return None if principal.covers_all else sorted(principal.accounts)
