"""`POST /v1/suppressions`, `/release`, `/opt-in` and `/import`.

In:  an address, a scope, a reason. Out: 202 once the command is in the log. The gate takes it from there: what it
changes is published in `suppressions.changed`, and shown by the view `suppressions`.
"""

import time
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse

from application.current_state import CurrentState
from application.import_files import is_ndjson
from application.importing import import_commands, read_import
from application.principals import Principal
from application.suppressing import command_of, give
from application.suppression_commands import ASKED_FIELDS, OF_OPT_IN, Action, Made
from application.writing import Kafka
from gateway import openapi
from gateway.access import SUPPRESSORS, allowing
from gateway.answers import CommandTaken, Imported, OptInTaken
from gateway.bodies import body_of, object_of, off_the_loop
from gateway.openapi import Answer, operation
from gateway.reads import Reads
from projections.store import Store
from schemas.settings import GatewaySettings
from schemas.suppressions import SuppressionCommand

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
            made = command_of(asked, action, principal, time.time_ns() // 1000)
            before = await give(kafka, store, made, reads.of(principal))
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
        now_us = time.time_ns() // 1000
        imported = await off_the_loop(len(body), read_import, body, ndjson=ndjson, principal=principal, now_us=now_us)
        if dry_run:
            errors = [fault.clipped().as_json() for fault in imported.faults]
            return JSONResponse(imported.report(dry_run=True) | {"errors": errors}, 200)
        return JSONResponse(await import_commands(kafka, imported) | {"errors": []}, 202)

    return routes


def _answer(made: Made, before: CurrentState) -> dict[str, Any]:
    command = made.command
    said = {"command_id": command.command_id, "was_suppressed": before.was_suppressed}
    if command.action == "opt_in":
        said["was_opted_out"] = before.was_opted_out
    return said | {"effect": before.effect(command.action)}
