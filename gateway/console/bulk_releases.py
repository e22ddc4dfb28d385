"""Pages that release what one cause suppressed, or undo that: conditions, a preview, then what was done.

In:  a session of an operator; the conditions, a reason, ids of bulk releases. Out: pages; and commands in Kafka, whose
actor is the subject of the session. A page says what would be done before it is done, and what was left as it is.

What one request has no time for is done by the next one: its page says so, and has the button.
"""

import re
import time
from collections.abc import Awaitable, Mapping, Sequence
from typing import Annotated, Any, Final
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Request, Response

from application.bulk_causes import text_problem
from application.bulk_releases import BulkRelease, Undo, plan_release, plan_undo
from application.principals import Principal
from gateway.access import OPERATORS
from gateway.api.bulk_releases import BulkId
from gateway.api.export import Format
from gateway.api.lists import Account, CursorText, Limit, Row
from gateway.bodies import read_body
from gateway.bulk_releaser import BulkReleaser
from gateway.console.links import Links
from gateway.console.pages import Pages
from gateway.console.query_string import canonical_query
from gateway.console.routing import ConsoleRoute, signed_in
from gateway.problems import FailureReporter, Problem
from schemas.errors import RequestError
from schemas.settings import GatewaySettings

__all__ = ["router"]

_LIMIT: Final = 50
_MAX_BODY_BYTES: Final = 64 * 1024
_CONDITIONS: Final = (
    "with_reason",
    "account",
    "domain",
    "from",
    "to",
    "provider",
    "code",
    "enhanced_code",
    "text",
)
_TIMES: Final = ("from", "to")
_LOCAL_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?", re.ASCII)
"""What a browser's field for a time sends. Ours are in UTC."""
_NO_REASON: Final = "Give a reason of up to 1,000 characters: it is stored with the commands"

Fields = Mapping[str, str]
Pairs = list[tuple[str, str]]
"""The hidden fields of a form."""


class _BulkPages:
    """The pages of a bulk release and of its undo."""

    def __init__(self, releaser: BulkReleaser, pages: Pages) -> None:
        self._releaser, self._pages = releaser, pages
        self._base = f"{pages.base}/bulk-releases"

    async def first(
        self,
        request: Request,
        principal: Principal,
        said: Fields,
        limit: int = _LIMIT,
        cursor: str | None = None,
        problem: str = "",
    ) -> Response:
        """The page with the form for the conditions, and with the list of bulk releases."""
        listed = await self._releaser.page(principal, limit, cursor)
        links = Links(self._base, [("limit", str(limit))] if limit != _LIMIT else [])
        return self._pages.page(
            request,
            "bulk_releases.html",
            422 if problem else 200,
            said=said,
            problem=problem,
            rows=listed["items"],
            links=links,
            older=links.at(listed["next"]) if listed["next"] else "",
            first=cursor is None,
        )

    async def ask_release(self, request: Request, plan: BulkRelease, said: Fields, problem: str = "") -> Response:
        """The preview of a release, with the form for the reason."""
        report = await self._releaser.release(plan, dry_run=True)
        given = [*((name, said[name]) for name in _CONDITIONS if said.get(name)), ("id", plan.bulk_id)]
        return self._ask(request, "release", "release", report, given, plan.note, said.get("reason", ""), problem)

    async def ask_undo(
        self, request: Request, principal: Principal, bulk_id: str, reason: str = "", problem: str = ""
    ) -> Response:
        """The preview of an undo, with the form for the reason."""
        plan = plan_undo(bulk_id, None, principal, _now_us())
        report = await self._releaser.undo(plan, dry_run=True)
        return self._ask(request, "undo", f"{plan.bulk_id}/undo", report, [], "", reason, problem)

    async def release(self, request: Request, plan: BulkRelease, said: Fields) -> Response:
        """Release a part; the page says what was done."""
        again = [(name, said[name]) for name in (*_CONDITIONS, "reason") if said.get(name)]
        doing = self._releaser.release(plan, said.get("cursor"), dry_run=False)
        return await self._done(
            request, "release", "release", doing, [*again, ("id", plan.bulk_id)], said, plan.bulk_id
        )

    async def undo(self, request: Request, plan: Undo, said: Fields) -> Response:
        """Undo a part; the page says what was done."""
        doing = self._releaser.undo(plan, said.get("cursor"), dry_run=False)
        path = f"{plan.bulk_id}/undo"
        return await self._done(request, "undo", path, doing, [("reason", plan.reason)], said, plan.bulk_id)

    def _ask(
        self,
        request: Request,
        act: str,
        path: str,
        report: Row,
        given: Pairs,
        note: str,
        reason: str,
        problem: str,
    ) -> Response:
        return self._pages.page(
            request,
            "bulk_act.html",
            422 if problem else 200,
            act=act,
            action=f"{self._base}/{path}",
            report=report,
            given=given,
            note=note,
            reason=reason,
            problem=problem,
        )

    async def _done(
        self,
        request: Request,
        act: str,
        path: str,
        doing: Awaitable[Row],
        again: Pairs,
        said: Fields,
        bulk_id: str,
    ) -> Response:
        """The result. The form on its page goes on behind this part; if the part failed, it repeats it."""
        report: Row | None = None
        title, status, cursor = "", 200, said.get("cursor")
        try:
            report = await doing
            cursor = report["next"]
        except Problem as problem:
            if problem.status != 503:
                raise
            failures: FailureReporter = request.app.state.failures
            failures.report(request.scope, problem.kind, problem)
            title, status = problem.kind.title, problem.status
        return self._pages.page(
            request,
            "bulk_done.html",
            status,
            act=act,
            action=f"{self._base}/{path}",
            report=report,
            problem=title,
            again=[*again, ("cursor", cursor)] if cursor else again,
            id=bulk_id,
        )


def router(settings: GatewaySettings, releaser: BulkReleaser, pages: Pages) -> APIRouter:
    """Return the routes under `/bulk-releases`."""
    routes = APIRouter(route_class=ConsoleRoute, include_in_schema=False)
    operator = signed_in(settings.token_secret.get_secret_value(), roles=OPERATORS)
    as_operator = Annotated[Principal, Depends(operator)]
    bulk = _BulkPages(releaser, pages)

    @routes.get("/bulk-releases")
    async def first(
        request: Request, principal: as_operator, limit: Limit = _LIMIT, cursor: CursorText = None
    ) -> Response:
        return await bulk.first(request, principal, {}, limit, cursor)

    @routes.get("/bulk-releases/preview")
    async def preview(request: Request, principal: as_operator) -> Response:
        said = {name: value.strip() for name, value in request.query_params.multi_items()}
        try:
            plan = plan_release(_conditions(said), None, principal, _now_us())
        except RequestError as error:
            return await bulk.first(request, principal, said, problem=error.what)
        return await bulk.ask_release(request, plan, said)

    @routes.post("/bulk-releases/release")
    async def release(request: Request, principal: as_operator) -> Response:
        said = await _form(request)
        reason = None if text_problem(said.get("reason", "")) else said["reason"]
        plan = plan_release(_conditions(said), reason, principal, _now_us(), bulk_id=said.get("id"))
        if reason is None:
            return await bulk.ask_release(request, plan, said, _NO_REASON)
        return await bulk.release(request, plan, said)

    @routes.get("/bulk-releases/{id}/undo")
    async def ask_undo(request: Request, principal: as_operator, id_: BulkId) -> Response:
        return await bulk.ask_undo(request, principal, id_)

    @routes.post("/bulk-releases/{id}/undo")
    async def undo(request: Request, principal: as_operator, id_: BulkId) -> Response:
        said = await _form(request)
        reason = said.get("reason", "")
        if text_problem(reason):
            return await bulk.ask_undo(request, principal, id_, reason, _NO_REASON)
        return await bulk.undo(request, plan_undo(id_, reason, principal, _now_us()), said)

    _add_refused(routes, releaser, pages, Annotated[Principal, Depends(canonical_query(operator, pages))])
    return routes


def _add_refused(routes: APIRouter, releaser: BulkReleaser, pages: Pages, as_operator: Any) -> None:
    """Add the messages that were refused, as a list and as a file."""

    @routes.get("/bulk-releases/{id}/refused")
    async def refused(
        request: Request,
        principal: as_operator,
        id_: BulkId,
        account: Account = None,
        limit: Limit = 50,
        cursor: CursorText = None,
    ) -> Response:
        found = await releaser.refused(principal, id_, account, limit, cursor)
        links = Links(f"{pages.base}/bulk-releases/{id_}/refused", request.query_params.multi_items())
        older = links.at(found["next"]) if found["next"] else ""
        return pages.page(
            request,
            "refused.html",
            id=id_,
            rows=found["items"],
            links=links,
            older=older,
            first=cursor is None,
        )

    @routes.get("/bulk-releases/{id}/refused/export")
    async def export(principal: as_operator, id_: BulkId, account: Account = None, format_: Format = "csv") -> Response:
        return await releaser.export(principal, id_, account, format_)


def _conditions(said: Fields) -> dict[str, str | None]:
    """The fields of a form as those of the API."""
    given: dict[str, str | None] = {name: said[name] for name in _CONDITIONS if said.get(name)}
    for name in _TIMES:
        if (text := given.get(name)) and _LOCAL_TIME.fullmatch(text):
            given[name] = f"{text}Z" if text.count(":") > 1 else f"{text}:00Z"
    return given


async def _form(request: Request) -> dict[str, str]:
    fields: Mapping[str, Sequence[str]] = parse_qs((await read_body(request, _MAX_BODY_BYTES)).decode(errors="replace"))
    return {name: values[0].strip() for name, values in fields.items()}


def _now_us() -> int:
    return time.time_ns() // 1000
