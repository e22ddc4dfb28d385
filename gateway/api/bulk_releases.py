"""The routes of bulk releases: release what one cause suppressed, undo that, and list the messages refused meanwhile.

In:  what the suppressions have in common, why they are released, ids of bulk releases; of an operator. Out: how many
addresses, of whom and why; and unless it is a dry run, a command in Kafka for each.

A token of some accounts releases, undoes and sees only suppressions of these accounts themselves: a platform-wide one
takes a token of all accounts. A request does as much as it has time for, and says where to go on.
"""

import time
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import JSONResponse

from application.bulk_requests import ID_PATTERN, BulkReleaseRequest, BulkUndoRequest, release_of, undo_of
from application.principals import Principal
from gateway.access import OPERATORS, require_role
from gateway.api.export import FILE_CODES, FILE_RESPONSE, Format
from gateway.api.lists import Account, CursorText, Limit
from gateway.api.models.bulk_releases import BulkReleases, BulkReport, RefusedMessages
from gateway.bodies import parse_object, read_body
from gateway.bulk_releaser import BulkReleaser
from gateway.openapi import LIST_CODES, WRITE_CODES, BodySpec, ResponseSpec, operation, schema_of
from schemas.settings import GatewaySettings

__all__ = ["BulkId", "router"]

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
