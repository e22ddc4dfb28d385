"""The page Import: suppresses the addresses of a file or a pasted text. It is checked first; one bad line stops all."""

import time
from collections.abc import AsyncGenerator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from application.errors import FieldsInvalid
from application.import_files import is_ndjson
from application.importing import ParsedImport, import_commands, parse_import
from application.principals import Principal
from gateway.access import SUPPRESSORS
from gateway.bodies import read_body, run_off_loop
from gateway.console.pages import Pages
from gateway.console.routing import ConsoleRoute, signed_in
from gateway.problems import Problem
from processors.kafka.ports import RecordProducer
from schemas.errors import RequestError
from schemas.settings import GatewaySettings

__all__ = ["router"]

_MAX_BODY_BYTES: Final = 4 * 1024 * 1024
_MAX_FAULTS_SHOWN: Final = 20


def router(settings: GatewaySettings, kafka: RecordProducer, pages: Pages) -> APIRouter:
    """Return `/suppressions/import`."""
    routes = APIRouter(route_class=ConsoleRoute, include_in_schema=False)
    as_suppressor = Annotated[
        Principal, Depends(signed_in(settings.token_secret.get_secret_value(), roles=SUPPRESSORS))
    ]

    def page(request: Request, status: int = 200, **variables: Any) -> Response:
        defaults: dict[str, Any] = {"text": "", "report": None, "faults": [], "problem": "", "done": False}
        return pages.page(request, "import.html", status, **(defaults | variables))

    @routes.get("/suppressions/import")
    async def form(request: Request, _: as_suppressor) -> Response:
        return page(request)

    @routes.post("/suppressions/import")
    async def check_or_import(request: Request, principal: as_suppressor) -> Response:
        text, step = await _form(request)
        try:
            parsed = await _parse(text, principal)
            if step == "import":
                return page(request, report=await import_commands(kafka, parsed), done=True)
        except (FieldsInvalid, RequestError) as error:
            return page(request, 422, text=text, problem=error.what)
        faults = [str(fault.clipped()) for fault in parsed.faults[:_MAX_FAULTS_SHOWN]]
        return page(request, text=text, report=parsed.report(dry_run=True), faults=faults)

    return routes


async def _parse(text: str, principal: Principal) -> ParsedImport:
    body = text.encode()
    now_us = time.time_ns() // 1000
    ndjson = is_ndjson(body)
    return await run_off_loop(len(body), parse_import, body, ndjson=ndjson, principal=principal, now_us=now_us)


async def _form(request: Request) -> tuple[str, str]:
    """The text (of the file, else the pasted one), and the value of the button that was pressed."""
    body = await read_body(request, _MAX_BODY_BYTES)

    async def stream() -> AsyncGenerator[bytes]:
        yield body

    try:
        parser = MultiPartParser(request.headers, stream(), max_files=1, max_fields=5, max_part_size=_MAX_BODY_BYTES)
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise Problem("bad-request", "The form can't be read") from error
    file, pasted, step = form.get("file"), form.get("text"), form.get("step")
    text = (await file.read()).decode(errors="replace") if isinstance(file, UploadFile) else ""
    await form.close()
    return text or (pasted if isinstance(pasted, str) else ""), str(step)
