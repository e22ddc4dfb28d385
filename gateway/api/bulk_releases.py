"""The routes of bulk releases: release what one cause suppressed, undo that, and list the messages refused meanwhile.

In:  what the suppressions have in common, why they are released, ids of bulk releases; of an operator. Out: how many
addresses, of whom and why; and unless it is a dry run, a command in Kafka for each.

A token of some accounts releases, undoes and sees only suppressions of these accounts themselves: a platform-wide one
takes a token of all accounts. A request does as much as it has time for, and says where to go on.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import islice
from typing import Annotated, Any, Final, NamedTuple

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import JSONResponse

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
from application.bulk_requests import ID_PATTERN, BulkReleaseRequest, BulkUndoRequest, release_of, undo_of
from application.principals import Principal
from application.refused_messages import REFUSED_COLUMNS, RefusedKey, refused_messages, refused_page
from gateway.access import OPERATORS, accounts_to_query, require_role
from gateway.api.export import FILE_CODES, FILE_RESPONSE, Format, export_response, to_columns
from gateway.api.lists import Account, CursorText, Limit, Paginator, Row, json_row
from gateway.api.models.bulk_releases import BulkReleases, BulkReport, RefusedMessages
from gateway.bodies import parse_object, read_body
from gateway.openapi import LIST_CODES, WRITE_CODES, BodySpec, ResponseSpec, operation, schema_of
from gateway.problems import RETRY_SECONDS, Problem
from gateway.read_pool import ReadPool
from processors.kafka.ports import RecordProducer
from projections.store import Store
from projections.suppressions.queries import SuppressionCursor
from schemas.decoding.ids import ALL, account_id_or_blank, message_id_or_blank
from schemas.errors import BrokerError, StoreError, TimedOut
from schemas.settings import GatewaySettings

__all__ = ["BulkId", "BulkReleaser", "router"]

MAX_RELEASED: Final = 1_000
"""Addresses after which a request that writes says where to go on. At 200 a second, they take most of its time."""
MAX_COUNTED: Final = 20_000
"""The same for a dry run."""
_ROWS_RELEASED: Final = 250
_ROWS_COUNTED: Final = 2_000
_MOST_GROUPS: Final = 100
"""The most accounts and causes of a response: those with the most addresses."""
_MAX_BODY_BYTES: Final = 64 * 1024

_CODES: Final = (*WRITE_CODES, "invalid-cursor", "no-such-bulk-release", "too-many-reads", "clickhouse-away")
_UNDO_CODES: Final = tuple(code for code in _CODES if code != "no-such-account")
_LIST_CODES: Final = tuple(code for code in LIST_CODES if code not in ("no-such-account", "account-required"))

BulkId = Annotated[str, Path(alias="id", pattern=ID_PATTERN, description="The id of a bulk release")]
DryRun = Annotated[bool, Query(description="Write nothing; answer what would be done")]
GoOn = Annotated[str | None, Query(description="`next` of the previous part, with the same body and its `id`")]

_ID: Final = "019bc100-0000-7000-8000-000000000000"
_CAUSE: Final = {"domain": "example.com", "from": "2026-01-15T08:00:00Z", "to": "2026-01-15T12:00:00Z"}
_RELEASE: Final = BodySpec(
    {"application/json": schema_of(BulkReleaseRequest)},
    {"application/json": _CAUSE | {"reason": "outage of example.com, ticket 17"}},
)
_UNDO: Final = BodySpec(
    {"application/json": schema_of(BulkUndoRequest)}, {"application/json": {"reason": "example.com is still down"}}
)
_REPORT: Final = {
    "id": _ID,
    "dry_run": True,
    "as_of": "2026-01-15T13:00:00.000000Z",
    "addresses": 2,
    "by_account": {"acme": 2},
    "by_cause": {"sendgrid 5.1.1": 2},
    "left": {"the address changed after the preview": 1},
    "samples": [
        {
            "address": "ann@example.com",
            "scope": "*",
            "since": "2026-01-15T09:30:00.000000Z",
            "reason": "550 5.1.1 user unknown",
        }
    ],
    "next": None,
}
_ANSWERS: Final = {
    200: ResponseSpec("A dry run: what would be done; nothing was written", BulkReport, example=_REPORT),
    202: ResponseSpec("A command for each address is in the log", BulkReport, example=_REPORT | {"dry_run": False}),
}


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


def router(settings: GatewaySettings, releaser: BulkReleaser) -> APIRouter:
    """Return the routes under `/v1/bulk-releases`."""
    routes = APIRouter(prefix="/v1/bulk-releases", tags=["suppressions"])
    as_operator = Annotated[Principal, Depends(require_role(OPERATORS, settings.token_secret.get_secret_value()))]

    @routes.get(
        "",
        **operation(
            "listBulkReleases", {200: ResponseSpec("A page", BulkReleases)}, roles=OPERATORS, codes=_LIST_CODES
        ),
    )
    async def list_(principal: as_operator, limit: Limit = 50, cursor: CursorText = None) -> dict[str, Any]:
        """Bulk releases, the newest first: who released what and why, and how many addresses were undone."""
        return await releaser.page(principal, limit, cursor)

    @routes.post("", **operation("releaseInBulk", _ANSWERS, roles=OPERATORS, codes=_CODES, body=_RELEASE))
    async def release(
        request: Request, principal: as_operator, dry_run: DryRun = False, cursor: GoOn = None
    ) -> Response:
        """Release all addresses that one cause suppressed. At least one condition besides the account is needed.

        Begin with a dry run: with its `id` and the same conditions nothing is released that changed after it, and a
        repeated request releases nothing twice. Complaints and opt-outs are never released, and the lists of the
        providers are not changed. While `next` is not null, send the same body with the `id` and that `cursor`. A
        token that does not cover all accounts releases only suppressions of its accounts themselves.
        """
        raw = parse_object(await read_body(request, _MAX_BODY_BYTES))
        plan = release_of(raw, principal, time.time_ns() // 1000)
        return JSONResponse(await releaser.release(plan, cursor, dry_run=dry_run), 200 if dry_run else 202)

    @routes.post("/{id}/undo", **operation("undoBulkRelease", _ANSWERS, roles=OPERATORS, codes=_UNDO_CODES, body=_UNDO))
    async def undo(
        request: Request,
        principal: as_operator,
        id_: BulkId,
        dry_run: DryRun = False,
        cursor: GoOn = None,
    ) -> Response:
        """Suppress again the addresses that a bulk release freed and that nobody has changed since; reason `manual`.

        It may be repeated: what is undone is left as it is. While `next` is not null, send the same with that `cursor`.
        """
        raw = parse_object(await read_body(request, _MAX_BODY_BYTES))
        plan = undo_of(id_, raw, principal, time.time_ns() // 1000)
        return JSONResponse(await releaser.undo(plan, cursor, dry_run=dry_run), 200 if dry_run else 202)

    @routes.get(
        "/{id}/refused",
        **operation(
            "listRefusedMessages",
            {200: ResponseSpec("A page", RefusedMessages)},
            roles=OPERATORS,
            codes=(*LIST_CODES, "no-such-bulk-release"),
        ),
    )
    async def refused(
        principal: as_operator,
        id_: BulkId,
        account: Account = None,
        limit: Limit = 50,
        cursor: CursorText = None,
    ) -> dict[str, Any]:
        """The messages that were refused because of the suppressions that a bulk release ended.

        Booking services can request them again, each with a new message id. A page may have fewer messages than
        `limit`, even none, while `next` is not null.
        """
        return await releaser.refused(principal, id_, account, limit, cursor)

    @routes.get(
        "/{id}/refused/export",
        **operation(
            "exportRefusedMessages",
            {200: FILE_RESPONSE},
            roles=OPERATORS,
            codes=(*FILE_CODES, "no-such-bulk-release"),
        ),
    )
    async def export(
        principal: as_operator,
        id_: BulkId,
        account: Account = None,
        format_: Format = "csv",
    ) -> Response:
        """The same list as a file."""
        return await releaser.export(principal, id_, account, format_)

    return routes


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
