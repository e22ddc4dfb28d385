"""Every error of the API as `application/problem+json` (RFC 9457), made in one place."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from gateway.tokens import TokenInvalid
from schemas.errors import BrokerError, SignatureInvalid, StoreError, StoreRefused
from schemas.telemetry import Telemetry

__all__ = ["RETRY_SECONDS", "Fault", "Invalid", "Problem", "install"]

TITLES = {
    400: "Bad request",
    401: "Not authenticated",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    413: "Too large",
    422: "Not valid",
    500: "Our fault",
    503: "Try again later",
}
RETRY_SECONDS = "5"
_IN_WORDS = 5


class Problem(Exception):
    """An answer that is an error: `detail` names the field and the mend."""

    def __init__(self, status: int, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(status, detail)
        self.status, self.detail, self.headers, self.more = status, detail, dict(headers or {}), more


class Fault(NamedTuple):
    """What is wrong with one field, in words that say how it must be; a blank field is the whole.

    `place` says which of several it is, by what they are counted in: `index` from 0, or `line` from 1.
    """

    field: str
    problem: str
    place: Mapping[str, int] = {}

    def as_json(self) -> dict[str, Any]:
        """As it stands in an answer."""
        return {**self.place, "field": self.field, "problem": self.problem}

    def __str__(self) -> str:
        where = [f"{name} {number}" for name, number in self.place.items()] + [f"`{self.field}`"] * bool(self.field)
        return ": ".join([*where, self.problem])


class Invalid(Problem):
    """An answer that names everything that is wrong with a body; its words name the first few."""

    def __init__(self, faults: Sequence[Fault], *, status: int = 422, **more: Any) -> None:
        said = "; ".join(map(str, faults[:_IN_WORDS]))
        rest = f"; and {len(faults) - _IN_WORDS} more" if len(faults) > _IN_WORDS else ""
        super().__init__(status, said + rest, errors=[fault.as_json() for fault in faults], **more)
        self.faults = faults


def install(app: FastAPI, telemetry: Telemetry) -> None:
    """Make every error of `app` a problem."""

    @app.exception_handler(Problem)
    async def problem(request: Request, error: Problem) -> JSONResponse:
        return _answer(request, error.status, error.detail, error.headers, **error.more)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        return _answer(request, error.status_code, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        said = error.errors()
        names = [{"field": ".".join(map(str, e["loc"][1:])), "problem": e["msg"]} for e in said]
        status = 422 if any(e["loc"][0] == "body" for e in said) else 400
        detail = "; ".join(f"`{n['field']}`: {n['problem']}" for n in names)
        return _answer(request, status, detail, errors=names)

    @app.exception_handler(TokenInvalid)
    async def no_token(request: Request, error: TokenInvalid) -> JSONResponse:
        return _answer(request, 401, error.what, {"WWW-Authenticate": "Bearer"})

    @app.exception_handler(SignatureInvalid)
    async def forged(request: Request, error: SignatureInvalid) -> JSONResponse:
        return _answer(request, 401, error.what)

    @app.exception_handler(StoreError)
    @app.exception_handler(BrokerError)
    async def away(request: Request, error: StoreError | BrokerError) -> JSONResponse:
        # Its text may name hosts: it is for our logs.
        telemetry.counter("errors_total", "clickhouse" if isinstance(error, StoreError) else "kafka").inc()
        return _answer(request, 503, "A service behind this one is away; try again", {"Retry-After": RETRY_SECONDS})

    @app.exception_handler(StoreRefused)
    @app.exception_handler(Exception)
    async def ours(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001 - logged by the server
        return _answer(request, 500, "This is our fault; it is in our log")


def _answer(
    request: Request, status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any
) -> JSONResponse:
    title = TITLES.get(status, "Error")
    content = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return JSONResponse(
        content | {"instance": request.url.path} | more, status, dict(headers or {}), "application/problem+json"
    )
