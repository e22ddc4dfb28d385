"""Every error of the API as `application/problem+json` (RFC 9457), made in one place.

In:  exceptions: `Problem`, our own families of errors, the framework's, and whatever else.
Out: an answer that has a stable `code`, and the `request_id` that the log has, too. A 500 or 503 is logged in one line
(what, where, mend) and counted; what is told to the caller never names a host or shows a traceback.
"""

import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from application.errors import FieldsInvalid, ValidationFault
from gateway.problem_codes import KINDS, ProblemKind, kind_of
from gateway.tokens import TokenInvalid
from schemas.errors import (
    BrokerError,
    RecordRefused,
    RequestError,
    SendledgerError,
    SignatureInvalid,
    StoreError,
    StoreRefused,
    TimedOut,
)
from schemas.telemetry import Telemetry

__all__ = [
    "MAX_ANSWER_BYTES",
    "REQUEST_ID",
    "RETRY_SECONDS",
    "Failures",
    "Problem",
    "answer",
    "install",
    "internal_error",
    "kind_of_error",
    "path_of",
    "problem_of",
]

REQUEST_ID: Final = "sendledger.request_id"
"""The key of the request's id in its ASGI scope."""
RETRY_SECONDS: Final = "5"
MAX_ANSWER_BYTES: Final = 256 * 1024
"""No answer to a bad body is longer: it has MAX_FAULTS faults, each of a bounded length (`application.errors`)."""

_NO_SUCH_RECORD: Final = "Kafka takes no record as large as this; the others of the request are written"
_FRAMES: Final = 12
_LIBRARIES: Final = "site-packages"
_ROOT: Final = Path(__file__).parents[1]
_COUNTED_AS: Final = {
    "kafka-away": "kafka",
    "clickhouse-away": "clickhouse",
    "not-ready": "readiness",
    "timed-out": "deadline",
    "overloaded": "limits",
    "internal-error": "code",
}
"""The label `of` of `errors_total`."""

TooOften = Callable[[str], Awaitable[int | None]]
"""Counts a bad token or signature of a source; returns the seconds to wait where there were too many."""

log = structlog.get_logger()


class Problem(Exception):
    """An answer that is an error: `code` is one of `problem_codes.KINDS`, `detail` names the field and the mend."""

    def __init__(self, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(code, detail)
        self.kind = KINDS[code]
        self.detail, self.headers, self.more = detail, dict(headers or {}), more

    @property
    def status(self) -> int:
        """Its HTTP status."""
        return self.kind.status


def problem_of(error: RequestError | TimedOut) -> Problem:
    """Return the answer that an error of the application is. This is the only place where its codes meet HTTP."""
    if isinstance(error, TimedOut):
        return Problem("timed-out", error.what, headers={"Retry-After": RETRY_SECONDS})
    return Problem(error.code, error.what, **error.more)


class Failures:
    """Logs and counts what is our fault or a service's: each 500 and 503 once."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def note(self, scope: Scope, kind: ProblemKind, error: BaseException) -> None:
        """Write one line about an answer of `kind` that `error` led to, and count it."""
        refused = any(isinstance(cause, StoreRefused) for cause in _causes(error))
        self._telemetry.counter("errors_total", "refused" if refused else _COUNTED_AS.get(kind.code, "limits")).inc()
        tell = log.error if kind.status == 500 else log.warning
        # The request's id stands in every line of the request, by its context.
        tell("request.failed", status=kind.status, code=kind.code, **_where_from(scope), **_explained(error))


def install(app: FastAPI, failures: Failures, too_often: TooOften) -> None:
    """Make every error of `app` a problem. What has no handler here is answered by `Answering`."""

    @app.exception_handler(Problem)
    async def problem(request: Request, error: Problem) -> JSONResponse:
        if error.status >= 500:
            failures.note(request.scope, error.kind, error)
        return _answered(request.scope, error)

    @app.exception_handler(RequestError)
    @app.exception_handler(TimedOut)
    async def of_the_application(request: Request, error: RequestError | TimedOut) -> JSONResponse:
        return await problem(request, problem_of(error))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        kind = kind_of(error.status_code)
        if kind.status == 405:
            return _method_not_allowed(app, request)
        return answer(request.scope, kind, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        faults = [ValidationFault(".".join(map(str, e["loc"][1:])), e["msg"]) for e in error.errors()]
        of_body = any(e["loc"][0] == "body" for e in error.errors())
        said = FieldsInvalid(faults, code="invalid-body" if of_body else "invalid-parameter")
        return _answered(request.scope, problem_of(said))

    @app.exception_handler(TokenInvalid)
    async def no_token(request: Request, error: TokenInvalid) -> JSONResponse:
        # RFC 6750, 3.1: a request without a token is told no error code.
        challenge = 'Bearer error="invalid_token"' if error.given else "Bearer"
        kind = KINDS[error.code]
        if seconds := await too_often(_source(request)):
            return _too_many_failures(request.scope, seconds)
        return answer(request.scope, kind, f"{error.what}. {error.mend}", {"WWW-Authenticate": challenge})

    @app.exception_handler(SignatureInvalid)
    async def forged(request: Request, error: SignatureInvalid) -> JSONResponse:
        if seconds := await too_often(_source(request)):
            return _too_many_failures(request.scope, seconds)
        return answer(request.scope, KINDS[error.code], error.what)

    @app.exception_handler(StoreError)
    @app.exception_handler(BrokerError)
    async def away(request: Request, error: StoreError | BrokerError) -> JSONResponse:
        kind = KINDS["clickhouse-away" if isinstance(error, StoreError) else "kafka-away"]
        failures.note(request.scope, kind, error)
        # The error's own text may name hosts: it is for our logs.
        return answer(request.scope, kind, f"{kind.title}; try again", {"Retry-After": RETRY_SECONDS})

    @app.exception_handler(RecordRefused)
    async def too_large(request: Request, error: RecordRefused) -> JSONResponse:
        log.warning("request.record_refused", what=error.what, where=error.where, mend=error.mend)
        return answer(request.scope, KINDS["too-large"], _NO_SUCH_RECORD)

    @app.exception_handler(StoreRefused)
    async def refused(request: Request, error: StoreRefused) -> JSONResponse:
        failures.note(request.scope, KINDS["internal-error"], error)
        return internal_error(request.scope)


def kind_of_error(error: BaseException) -> ProblemKind:
    """Return the kind of whatever an answer failed by, by the first of its causes that is known."""
    for cause in _causes(error):
        if isinstance(cause, Problem):
            return cause.kind
        if isinstance(cause, RequestError | TimedOut):
            return problem_of(cause).kind
        if isinstance(cause, StoreError):
            return KINDS["clickhouse-away"]
        if isinstance(cause, BrokerError):
            return KINDS["kafka-away"]
    return KINDS["internal-error"]


def internal_error(scope: Scope) -> JSONResponse:
    """Return the answer to whatever nobody has foreseen."""
    return answer(scope, KINDS["internal-error"], "This is our fault; it is in our log, with this `request_id`")


def answer(
    scope: Scope, kind: ProblemKind, detail: str, headers: Mapping[str, str] | None = None, **more: Any
) -> JSONResponse:
    """Return a problem as an answer."""
    content = {
        "type": kind.type_under(_public_path(scope)),
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "instance": scope["path"],
        "code": kind.code,
        "request_id": scope.get(REQUEST_ID, ""),
    }
    return JSONResponse(content | more, kind.status, dict(headers or {}), "application/problem+json")


def _answered(scope: Scope, problem: Problem) -> JSONResponse:
    return answer(scope, problem.kind, problem.detail, problem.headers, **problem.more)


def path_of(public_url: str) -> str:
    """Return what the path of every URL of the gateway begins with, as its callers see it: blank, or `/path`."""
    return urlsplit(public_url).path.rstrip("/")


def _public_path(scope: Scope) -> str:
    path: str = scope["app"].state.public_path
    return path


def _source(request: Request) -> str:
    return request.client.host if request.client else ""


def _too_many_failures(scope: Scope, seconds: int) -> JSONResponse:
    said = "Too many requests from this address had a bad token or signature"
    return answer(scope, KINDS["rate-limited"], said, {"Retry-After": str(seconds)})


def _method_not_allowed(app: FastAPI, request: Request) -> JSONResponse:
    allowed = sorted(_methods(app.routes, request.scope))
    said = f"This path takes {', '.join(allowed)}"
    return answer(request.scope, KINDS["method-not-allowed"], said, {"Allow": ", ".join(allowed)})


def _methods(routes: Sequence[BaseRoute], scope: Scope) -> set[str]:
    """Every method that any route of this path takes: one path may belong to several routers."""
    asked = {name: scope[name] for name in ("type", "path", "method", "root_path") if name in scope}
    found: set[str] = set()
    for route in iter_route_contexts(routes):
        match, _ = route.matches({**asked})
        if match is not Match.NONE:
            found |= route.methods or set()
    return found | {"HEAD"} if "GET" in found else found


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it was raised from."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _where_from(scope: Scope) -> dict[str, str]:
    """The method and the route's own pattern: paths hold addresses."""
    return {"method": scope["method"], "route": getattr(scope.get("route"), "path", "none")}


def _explained(error: BaseException) -> dict[str, str]:
    """What, where and the mend. Of an error that is none of ours its type alone: its text may hold a body."""
    for cause in _causes(error):
        if isinstance(cause, SendledgerError):
            return {"what": cause.what, "where": cause.where, "mend": cause.mend}
    if isinstance(error, Problem):
        return {"what": error.detail, "where": "the gateway", "mend": error.kind.mend}
    cause = list(_causes(error))[-1]
    frames = [_frame(frame) for frame in reversed(traceback.extract_tb(cause.__traceback__))]
    ours = (frame for frame in frames if not frame.startswith("/"))
    return {
        "what": type(cause).__name__,
        "where": next(ours, frames[0] if frames else "unknown"),
        "mend": "report it as a defect, with this line",
        "trace": " < ".join(frames[:_FRAMES]),
    }


def _frame(frame: traceback.FrameSummary) -> str:
    path = Path(frame.filename)
    if _LIBRARIES in path.parts:
        return f"/{'/'.join(path.parts[path.parts.index(_LIBRARIES) + 1 :])}:{frame.lineno}"
    return f"{path.relative_to(_ROOT) if path.is_relative_to(_ROOT) else path}:{frame.lineno}"
