"""`POST /v1/suppressions`, `/release`, `/opt-in` and `/import`.

In:  an address, a scope, a reason. Out: 202 once the command is in Kafka. The gate applies it, publishes what changes
in `suppressions.changed`, and the view `suppressions` shows the result.
"""

import time
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse

from application.current_state import CurrentState
from application.import_files import is_ndjson
from application.importing import import_commands, parse_import
from application.principals import Principal
from application.suppressing import command_for, submit_command
from application.suppression_commands import CALLER_FIELDS, OPT_IN_FIELDS, Action, PreparedCommand
from gateway import openapi
from gateway.access import SUPPRESSORS, require_role
from gateway.api.models.suppressions import CommandTaken, Imported, OptInTaken
from gateway.bodies import parse_object, read_body, run_off_loop
from gateway.openapi import ResponseSpec, operation
from gateway.read_pool import ReadPool
from processors.kafka.ports import RecordProducer
from projections.store import Store
from schemas.settings import GatewaySettings
from schemas.suppressions import SuppressionCommand

__all__ = ["router"]

MAX_BODY_BYTES: Final = 64 * 1024
MAX_FILE_BYTES: Final = 4 * 1024 * 1024

_ROUTES: Final[tuple[tuple[str, Action, str, str], ...]] = (
    ("", "suppress", "suppressAddress", "Suppress an address: nothing is sent to it until it is released."),
    (
        "/release",
        "release",
        "releaseAddress",
        "Release an address: earlier bounces and complaints are ignored. Opt-outs of the recipient stay.",
    ),
    (
        "/opt-in",
        "opt_in",
        "optInAddress",
        "Lift opt-outs of a recipient who asked for it: of a group or a sender, or all of the scope.",
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
    "suppress": ResponseSpec("The command is in the log", CommandTaken),
    "release": ResponseSpec("The command is in the log", CommandTaken),
    "opt_in": ResponseSpec("The command is in the log", OptInTaken),
}
_CODES: Final = (*openapi.WRITE_CODES, "scope-not-allowed")
_FILE_CODES: Final = tuple(code for code in _CODES if code != "malformed-json")
"""A line that is not JSON is reported with the other invalid lines: 422."""
_FILE: Final = openapi.BodySpec(
    {
        "text/csv": {
            "type": "string",
            "description": "The first line names the columns: address (or email) and reason; channel, scope and note"
            " as needed. Cells are separated by commas or semicolons",
        },
        "application/x-ndjson": {"type": "string", "description": "The same fields, one object per line"},
    },
    {
        "text/csv": "address,reason\nann@example.com,asked by phone\n",
        "application/x-ndjson": '{"address": "ann@example.com", "reason": "asked by phone"}\n',
    },
)
_IMPORTED: Final = {
    200: ResponseSpec("A dry run: the faults of each line; nothing was written", Imported),
    202: ResponseSpec("A command for each line is in the log", Imported),
}


def _body(action: Action) -> openapi.BodySpec:
    """The fields of a request: those of a command without its id, time and actor, which we set."""
    names = CALLER_FIELDS if action == "opt_in" else [name for name in CALLER_FIELDS if name not in OPT_IN_FIELDS]
    properties = {name: options for name, options in _SCHEMA["properties"].items() if name in names}
    return openapi.BodySpec({"application/json": _SCHEMA | {"properties": properties}}, {"application/json": _EXAMPLE})


def router(settings: GatewaySettings, store: Store, kafka: RecordProducer, reads: ReadPool) -> APIRouter:
    """Return the routes that write under `/v1/suppressions`."""
    routes = APIRouter(prefix="/v1/suppressions", tags=["suppressions"])
    as_suppressor = Annotated[Principal, Depends(require_role(SUPPRESSORS, settings.token_secret.get_secret_value()))]

    def handler_of(action: Action) -> Callable[..., Coroutine[Any, Any, JSONResponse]]:
        async def handle(request: Request, principal: as_suppressor) -> JSONResponse:
            fields = parse_object(await read_body(request, MAX_BODY_BYTES))
            prepared = command_for(fields, action, principal, time.time_ns() // 1000)
            current = await submit_command(kafka, store, prepared, reads.runner_for(principal))
            return JSONResponse(_answer(prepared, current), 202)

        return handle

    for path, action, name, doc in _ROUTES:
        options = operation(name, {202: _TAKEN[action]}, roles=SUPPRESSORS, codes=_CODES, body=_body(action))
        routes.add_api_route(path, handler_of(action), methods=["POST"], name=action, description=doc, **options)

    @routes.post(
        "/import", **operation("importSuppressions", _IMPORTED, roles=SUPPRESSORS, codes=_FILE_CODES, body=_FILE)
    )
    async def import_file(
        request: Request,
        principal: as_suppressor,
        dry_run: Annotated[bool, Query(description="Only validate the file")] = False,
        format_: Annotated[
            Literal["csv", "ndjson"] | None,
            Query(alias="format", description="Default: detected from the start of the file"),
        ] = None,
    ) -> Response:
        """Suppress the addresses of a file of up to 10,000 lines: all of them, or none if a line is invalid."""
        body = await read_body(request, MAX_FILE_BYTES)
        ndjson = is_ndjson(body) if format_ is None else format_ == "ndjson"
        now_us = time.time_ns() // 1000
        imported = await run_off_loop(len(body), parse_import, body, ndjson=ndjson, principal=principal, now_us=now_us)
        if dry_run:
            errors = [fault.clipped().as_json() for fault in imported.faults]
            return JSONResponse(imported.report(dry_run=True) | {"errors": errors}, 200)
        return JSONResponse(await import_commands(kafka, imported) | {"errors": []}, 202)

    return routes


def _answer(prepared: PreparedCommand, current: CurrentState) -> dict[str, Any]:
    command = prepared.command
    answer = {"command_id": command.command_id, "was_suppressed": current.was_suppressed}
    if command.action == "opt_in":
        answer["was_opted_out"] = current.was_opted_out
    return answer | {"effect": current.effect(command.action)}
