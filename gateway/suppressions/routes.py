"""`POST /v1/suppressions`, `/release`, `/opt-in` and `/import`.

In:  an address, a scope, a reason. Out: 202 once the command is in the log. The gate takes it from there: what it
changes is published in `suppressions.changed`, and shown by the view `suppressions`.
"""

import time
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Final, Literal

from aiokafka import AIOKafkaProducer
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse

from gateway import openapi
from gateway.access import SUPPRESSORS, allowing, known_parameters, no_account
from gateway.bodies import body_of, object_of
from gateway.problems import Fault, Invalid, Problem
from gateway.suppressions.before import was_suppressed
from gateway.suppressions.commands import ASKED_FIELDS, Action, Made, make
from gateway.suppressions.importing import Line, is_ndjson, lines_of
from gateway.tokens import Principal
from gateway.writing import write
from projections.store import Store
from schemas.identity import account_id_or_blank
from schemas.settings import GatewaySettings
from schemas.suppressions import EVERYWHERE, SuppressionCommand

__all__ = ["router"]

MAX_BODY_BYTES: Final = 64 * 1024
MAX_FILE_BYTES: Final = 4 * 1024 * 1024

_ROUTES: Final[tuple[tuple[str, Action, str], ...]] = (
    ("", "suppress", "Close an address: nothing is sent to it until it is released."),
    (
        "/release",
        "release",
        "Open an address again: all evidence up to now counts no more. What the recipient has opted out of stays so.",
    ),
    (
        "/opt-in",
        "opt_in",
        "Take back opt-outs of a recipient who asked for it: those of a group or a sender, or all of the scope.",
    ),
)
_SCHEMA: Final = openapi.schema_of(SuppressionCommand, optional=("command_id", "action", "scope", "actor", "at"))
_ASKED: Final = _SCHEMA | {
    "title": "SuppressionAsked",
    "description": "What a command says, but its id, its time and its actor, which are ours",
    "properties": {name: said for name, said in _SCHEMA["properties"].items() if name in ASKED_FIELDS},
}
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = openapi.PROBLEMS | {
    202: {"description": "The command is in the log. `was_suppressed` is null where the tables can't tell now"}
}
_FILE: Final = openapi.body(
    {
        "text/csv": {
            "type": "string",
            "description": "The first line names the columns: address, reason, and channel, scope, note where need be",
        },
        "application/x-ndjson": {"type": "string", "description": "The same fields, an object a line"},
    }
)
_FILE_ANSWERS: Final[dict[int | str, dict[str, Any]]] = openapi.PROBLEMS | {
    200: {"description": "A dry run: what is wrong with which line; nothing was written"},
    202: {"description": "A command for each line is in the log"},
    422: {"description": "Lines are not valid, so nothing was written: `errors` names each by its number"},
}


def router(settings: GatewaySettings, store: Store, kafka: AIOKafkaProducer) -> APIRouter:
    """Return the routes that write under `/v1/suppressions`."""
    routes = APIRouter(prefix="/v1/suppressions", tags=["suppressions"], dependencies=[Depends(known_parameters)])
    as_suppressor = Annotated[Principal, Depends(allowing(SUPPRESSORS, settings.token_secret.get_secret_value()))]

    def taking(action: Action) -> Callable[..., Coroutine[Any, Any, JSONResponse]]:
        async def take(request: Request, principal: as_suppressor) -> JSONResponse:
            asked = object_of(await body_of(request, MAX_BODY_BYTES))
            made = _made(asked, action, principal, time.time_ns() // 1000)
            before = await was_suppressed(store, made)
            await write(kafka, [made.record()])
            return JSONResponse({"command_id": made.command.command_id, "was_suppressed": before}, 202)

        return take

    for path, action, doc in _ROUTES:
        routes.add_api_route(
            path,
            taking(action),
            methods=["POST"],
            status_code=202,
            name=action,
            description=doc,
            responses=_ANSWERS,
            openapi_extra=openapi.json_body(_ASKED),
        )

    @routes.post("/import", status_code=202, responses=_FILE_ANSWERS, openapi_extra=_FILE)
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
        lines = lines_of(body, ndjson=is_ndjson(body) if format_ is None else format_ == "ndjson")
        commands, faults = _commands(lines, principal, time.time_ns() // 1000)
        report = {"dry_run": dry_run, "lines": len(lines), "good": len(commands), "bad": len(lines) - len(commands)}
        if dry_run:
            return JSONResponse(report | {"errors": [fault.as_json() for fault in faults]}, 200)
        if faults:
            raise Invalid(faults, **report)
        await write(kafka, [made.record() for made in commands])
        return JSONResponse(report | {"errors": []}, 202)

    return routes


def _commands(lines: list[Line], principal: Principal, now_us: int) -> tuple[list[Made], list[Fault]]:
    """The commands of the lines that are good, and what is wrong with the others."""
    commands: list[Made] = []
    faults: list[Fault] = []
    for line in lines:
        if line.fault:
            faults.append(line.fault)
            continue
        try:
            commands.append(_made(line.asked, "suppress", principal, now_us))
        except Invalid as error:
            faults += [fault._replace(place=line.place) for fault in error.faults]
    return commands, faults


def _made(asked: Any, action: Action, principal: Principal, now_us: int) -> Made:
    """The command, for a scope that the token has. Raises Invalid, or Problem 403 or 404."""
    scope = _scope(asked.get("scope"), principal)
    return make({**asked, "scope": scope}, action, actor=principal.subject, now_us=now_us)


def _scope(scope: object, principal: Principal) -> object:
    if scope is None:
        scope = EVERYWHERE if principal.covers_all else principal.only_account
        if scope is None:
            raise Invalid([Fault("scope", "must be given: the token covers several accounts")])
    if scope == EVERYWHERE and not principal.covers_all:
        raise Problem(403, "`scope` * takes a token of all accounts; name an account of yours")
    if isinstance(scope, str) and account_id_or_blank(scope) and not principal.covers(scope):
        raise no_account()
    return scope
