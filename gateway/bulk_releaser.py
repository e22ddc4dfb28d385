"""Releases in bulk, undoes that, and lists it, a part at a time: for the API and for the console.

In:  a plan of the application, a principal, a cursor. Out: a report, a page or a file, as JSON has them; or Problem.
Promise: a request does as much as it has time for, and its report says where to go on. If it fails, the problem has the
id to repeat it with.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import islice
from typing import Any, Final, NamedTuple

from fastapi import Response

from application import deadlines
from application.bulk_releases import (
    BulkRelease,
    Limits,
    Report,
    Undo,
    list_bulk_releases,
    release_in_bulk,
    undo_release,
)
from application.principals import Principal
from application.refused_messages import REFUSED_COLUMNS, RefusedKey, refused_messages, refused_page
from gateway.access import accounts_to_query
from gateway.api.export import export_response, to_columns
from gateway.api.lists import Paginator, Row, json_row
from gateway.problems import RETRY_SECONDS, Problem
from gateway.read_pool import ReadPool
from processors.kafka.ports import RecordProducer
from projections.store import Store
from projections.suppressions.queries import SuppressionCursor
from schemas.decoding.ids import ALL, account_id_or_blank, message_id_or_blank
from schemas.errors import BrokerError, StoreError, TimedOut
from schemas.settings import GatewaySettings

__all__ = ["BulkReleaser"]

MAX_RELEASED: Final = 1_000
"""Addresses after which a request that writes says where to go on. At 200 a second, they take most of its time."""
MAX_COUNTED: Final = 20_000
"""The same for a dry run."""
_ROWS_RELEASED: Final = 250
_ROWS_COUNTED: Final = 2_000
_MOST_GROUPS: Final = 100
"""The most accounts and causes of a response: those with the most addresses."""


class _ReleaseKey(NamedTuple):
    """The place of a bulk release in their list."""

    id: str


class _UndoKey(NamedTuple):
    """The place of a command among those of a bulk release."""

    command_id: str


class BulkReleaser:
    """What the API and the console do with bulk releases. Reads count as those of the principal."""

    def __init__(self, settings: GatewaySettings, store: Store, kafka: RecordProducer, reads: ReadPool) -> None:
        self._seconds, self._decision_days = settings.request_seconds, settings.decision_days
        self._store, self._kafka, self._reads = store, kafka, reads

    async def release(self, plan: BulkRelease, cursor: str | None = None, *, dry_run: bool) -> Row:
        """Release a part of what a cause suppressed, or count it. Raises Problem and RequestError."""
        pages = Paginator("release", SuppressionCursor, (str, str, str), plan.bulk_id, _covered(plan.principal))
        after = pages.after(cursor)
        with nullcontext() if dry_run else _naming(plan.bulk_id):
            report = await release_in_bulk(
                None if dry_run else self._kafka,
                self._store,
                plan,
                self._limits(dry_run=dry_run),
                partial(self._reads.run, plan.principal),
                after=after,
            )
        return _report(report, pages, dry_run=dry_run)

    async def undo(self, plan: Undo, cursor: str | None = None, *, dry_run: bool) -> Row:
        """Undo a part of a bulk release, or count it. Raises Problem and RequestError."""
        pages = Paginator("undo", _UndoKey, (str,), plan.bulk_id, _covered(plan.principal))
        after = pages.after(cursor)
        with nullcontext() if dry_run else _naming(plan.bulk_id):
            report = await undo_release(
                None if dry_run else self._kafka,
                self._store,
                plan,
                self._limits(dry_run=dry_run),
                partial(self._reads.run, plan.principal),
                after=after.command_id if after else "",
            )
        return _report(report, pages, dry_run=dry_run)

    async def page(self, principal: Principal, limit: int, cursor: str | None) -> Row:
        """Return a page of bulk releases, the newest first. Raises Problem."""
        pages = Paginator("bulk-releases", _ReleaseKey, (str,), _covered(principal), is_valid=_is_id)
        after = pages.after(cursor)

        def read() -> list[Row]:
            return list_bulk_releases(self._store, principal, limit=limit + 1, before=after.id if after else "")

        rows = await self._reads.run(principal, read)
        return pages.page([json_row(row) for row in rows], limit, lambda row: _ReleaseKey(row["id"]))

    async def refused(
        self, principal: Principal, bulk_id: str, account: str | None, limit: int, cursor: str | None
    ) -> Row:
        """Return a page of the messages that were refused. Raises Problem and RequestError."""
        wanted = _account(principal, account)
        inputs = (bulk_id.lower(), wanted, _covered(principal))
        pages = Paginator("refused", RefusedKey, (str, str, str, int, str, str), *inputs, is_valid=_is_place)
        after = pages.after(cursor)

        def read() -> tuple[Any, ...]:
            return refused_page(
                self._store,
                principal,
                bulk_id,
                account=wanted,
                decision_days=self._decision_days,
                limit=limit,
                after=after,
            )

        rows, following = await self._reads.run(principal, read)
        return {"items": rows, "next": following and pages.cursor(following)}

    async def export(self, principal: Principal, bulk_id: str, account: str | None, format_: str) -> Response:
        """Return all of them as a file. Raises Problem and RequestError."""
        chunks = refused_messages(
            self._store,
            principal,
            bulk_id,
            account=_account(principal, account),
            decision_days=self._decision_days,
        )
        columns = to_columns(chunks, REFUSED_COLUMNS)
        return await export_response(self._reads, principal, columns, REFUSED_COLUMNS, format_, "refused")

    def _limits(self, *, dry_run: bool) -> Limits:
        most = MAX_COUNTED if dry_run else MAX_RELEASED
        rows = _ROWS_COUNTED if dry_run else _ROWS_RELEASED

        def is_enough(addresses: int) -> bool:
            left = deadlines.remaining()
            return addresses >= most or (left is not None and left < self._seconds / 2)

        return Limits(rows_at_once=rows, is_enough=is_enough)


@contextmanager
def _naming(bulk_id: str) -> Iterator[None]:
    """If a part of a bulk release is done, or may be, name its id in the problem, for the repeat."""
    try:
        yield
    except Problem as problem:  # no read was free
        named = problem.more | {"id": bulk_id}
        raise Problem(problem.kind.code, problem.detail, headers=problem.headers, **named) from problem
    except (BrokerError, StoreError, TimedOut) as error:
        code = "timed-out" if isinstance(error, TimedOut) else "kafka-away"
        raise Problem(
            "clickhouse-away" if isinstance(error, StoreError) else code,
            "Done in part or not at all: repeat the same with the `id` of this problem; nothing is done twice",
            headers={"Retry-After": RETRY_SECONDS},
            id=bulk_id,
        ) from error


def _report(report: Report, pages: Paginator[Any], *, dry_run: bool) -> Row:
    """The report as JSON, with the groups that have the most addresses."""
    found = report.as_json() | {"dry_run": dry_run}
    for name in ("by_account", "by_cause"):
        found[name] = dict(islice(found[name].items(), _MOST_GROUPS))
    return found | {"next": pages.cursor(report.position) if report.position else None}


def _covered(principal: Principal) -> list[str]:
    return sorted(principal.accounts)


def _account(principal: Principal, account: str | None) -> str | None:
    """The one account that is asked for; None for all that the principal covers."""
    accounts = accounts_to_query(principal, account)
    return accounts[0] if accounts is not None and account != ALL else None


def _is_id(key: _ReleaseKey) -> bool:
    return message_id_or_blank(key.id) == key.id


def _is_place(key: RefusedKey) -> bool:
    if not key.until:
        return key == RefusedKey(key.begin)
    return (
        key.channel in ("email", "sms")
        and 0 <= key.date_sent_ms < 1 << 48
        and message_id_or_blank(key.email_id) == key.email_id
        and account_id_or_blank(key.account_id) == key.account_id
    )
