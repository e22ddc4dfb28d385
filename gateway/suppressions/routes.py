"""`POST /v1/suppressions`, `/release`, `/opt-in` and `/import`.

In:  an address, a scope, a reason. Out: 202 once the command is in the log. The gate takes it from there: what it
changes is published in `suppressions.changed`, and shown by the view `suppressions`.
"""

import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse

from application.errors import MAX_FAULTS, FieldsInvalid, ValidationFault
from application.principals import Principal, no_account
from application.writing import Kafka, write
from gateway import openapi
from gateway.access import SUPPRESSORS, allowing
from gateway.answers import CommandTaken, Imported, OptInTaken
from gateway.bodies import body_of, object_of, off_the_loop
from gateway.openapi import Answer, operation
from gateway.problems import Problem
from gateway.reads import Reads
from gateway.suppressions.before import Before, state_before
from gateway.suppressions.commands import ASKED_FIELDS, OF_OPT_IN, Action, Made, make
from gateway.suppressions.importing import Line, is_ndjson, lines_of
from projections.store import Store
from schemas.identity import account_id_or_blank
from schemas.records import id_text
from schemas.settings import GatewaySettings
from schemas.suppressions import EVERYWHERE, SuppressionCommand

__all__ = ["router"]

MAX_BODY_BYTES: Final = 64 * 1024
MAX_FILE_BYTES: Final = 4 * 1024 * 1024

_ROUTES: Final[tuple[tuple[str, Action, str, str], ...]] = (
    ("", "suppress", "suppressAddress", "Close an address: nothing is sent to it until it is released."),
    (
        "/release",
        "release",
        "releaseAddress",
        "Open an address again: bounces and complaints up to now are ignored. What the recipient opted out of stays.",
    ),
    (
        "/opt-in",
        "opt_in",
        "optInAddress",
        "Take back opt-outs of a recipient who asked for it: those of a group or a sender, or all of the scope.",
    ),
)
_SCHEMA: Final = openapi.schema_of(SuppressionCommand, optional=("command_id", "action", "scope", "actor", "at"))
_EXAMPLE: Final = {
    "channel": "email",
    "address": "ann@example.com",
    "reason": "she asked by phone",
    "note": "ticket 17",
}
_TAKEN: Final = {
    "suppress": Answer("The command is in the log", CommandTaken),
    "release": Answer("The command is in the log", CommandTaken),
    "opt_in": Answer("The command is in the log", OptInTaken),
}
_CODES: Final = (*openapi.WRITE_CODES, "scope-not-allowed")
_FILE_CODES: Final = tuple(code for code in _CODES if code != "malformed-json")
"""A line that is no JSON is named among the others that are wrong: 422."""
_FILE: Final = openapi.Body(
    {
        "text/csv": {
            "type": "string",
            "description": "The first line names the columns: address (or email) and reason; channel, scope and note"
            " where need be. Commas or semicolons stand between the cells",
        },
        "application/x-ndjson": {"type": "string", "description": "The same fields, an object a line"},
    },
    {
        "text/csv": "address,reason\nann@example.com,asked by phone\n",
        "application/x-ndjson": '{"address": "ann@example.com", "reason": "asked by phone"}\n',
    },
)
_IMPORTED: Final = {
    200: Answer("A dry run: what is wrong with which line; nothing was written", Imported),
    202: Answer("A command for each line is in the log", Imported),
}


def _body(action: Action) -> openapi.Body:
    """What may be asked for: a command but its id, its time and its actor, which are ours."""
    names = ASKED_FIELDS if action == "opt_in" else [name for name in ASKED_FIELDS if name not in OF_OPT_IN]
    properties = {name: said for name, said in _SCHEMA["properties"].items() if name in names}
    return openapi.Body({"application/json": _SCHEMA | {"properties": properties}}, {"application/json": _EXAMPLE})


def router(settings: GatewaySettings, store: Store, kafka: Kafka, reads: Reads) -> APIRouter:
    """Return the routes that write under `/v1/suppressions`."""
    routes = APIRouter(prefix="/v1/suppressions", tags=["suppressions"])
    as_suppressor = Annotated[Principal, Depends(allowing(SUPPRESSORS, settings.token_secret.get_secret_value()))]

    def taking(action: Action) -> Callable[..., Coroutine[Any, Any, JSONResponse]]:
        async def take(request: Request, principal: as_suppressor) -> JSONResponse:
            asked = object_of(await body_of(request, MAX_BODY_BYTES))
            made = _made(asked, action, principal, time.time_ns() // 1000)
            before = await state_before(store, made, partial(reads.run, principal))
            await write(kafka, [made.record()])
            return JSONResponse(_answer(made, before), 202)

        return take

    for path, action, name, doc in _ROUTES:
        said = operation(name, {202: _TAKEN[action]}, roles=SUPPRESSORS, codes=_CODES, body=_body(action))
        routes.add_api_route(path, taking(action), methods=["POST"], name=action, description=doc, **said)

    @routes.post(
        "/import", **operation("importSuppressions", _IMPORTED, roles=SUPPRESSORS, codes=_FILE_CODES, body=_FILE)
    )
    async def import_file(
        request: Request,
        principal: as_suppressor,
        dry_run: Annotated[bool, Query(description="Only say what is wrong")] = False,
        format_: Annotated[
            Literal["csv", "ndjson"] | None, Query(alias="format", description="Without it, as the file begins")
        ] = None,
    ) -> Response:
        """Close the addresses of a file of up to 10,000 lines: all of them, or none if a line is not valid."""
        body = await body_of(request, MAX_FILE_BYTES)
        ndjson = is_ndjson(body) if format_ is None else format_ == "ndjson"
        lines, commands, faults = await off_the_loop(len(body), _read_file, body, ndjson, principal)
        report: dict[str, Any] = {
            "dry_run": dry_run,
            "lines": lines,
            "good": len(commands),
            "bad": lines - len(commands),
        }
        if dry_run:
            return JSONResponse(report | {"errors": [fault.clipped().as_json() for fault in faults]}, 200)
        if faults:
            raise FieldsInvalid(faults, **report)
        await write(kafka, [made.record() for made in commands])
        return JSONResponse(report | {"errors": []}, 202)

    return routes


def _answer(made: Made, before: Before) -> dict[str, Any]:
    command = made.command
    said = {"command_id": command.command_id, "was_suppressed": before.was_suppressed}
    if command.action == "opt_in":
        said["was_opted_out"] = before.was_opted_out
    return said | {"effect": before.effect(command.action)}


def _read_file(body: bytes, ndjson: bool, principal: Principal) -> tuple[int, list[Made], list[ValidationFault]]:
    """How many lines a file has, the commands of those that are good, and the first faults of the others."""
    now_us = time.time_ns() // 1000
    lines = lines_of(body, ndjson=ndjson)
    commands: list[Made] = []
    faults: list[ValidationFault] = []
    for line in lines:
        try:
            commands.append(_of_line(line, principal, now_us))
        except FieldsInvalid as error:
            faults += [fault._replace(place=line.place) for fault in error.faults]
            del faults[MAX_FAULTS:]
    return len(lines), commands, faults


def _of_line(line: Line, principal: Principal, now_us: int) -> Made:
    if line.fault:
        raise FieldsInvalid([line.fault])
    return _made(line.asked, "suppress", principal, now_us)


def _made(asked: Any, action: Action, principal: Principal, now_us: int) -> Made:
    """The command, for a scope that the token has. Raises FieldsInvalid, or Problem 403 or 404."""
    scope = _scope(asked.get("scope"), principal)
    return make({**asked, "scope": scope}, action, actor=principal.subject, now_us=now_us)


def _scope(given: object, principal: Principal) -> object:
    scope = id_text(given)
    if scope is None:
        scope = EVERYWHERE if principal.covers_all else principal.only_account
        if scope is None:
            raise FieldsInvalid([ValidationFault("scope", "must be given: the token covers several accounts")])
    if scope == EVERYWHERE and not principal.covers_all:
        raise Problem("scope-not-allowed", "`scope` * takes a token of all accounts; name an account of yours")
    if isinstance(scope, str) and account_id_or_blank(scope) and not principal.covers(scope):
        raise no_account()
    return scope
