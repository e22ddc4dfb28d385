"""Turns every error of the API into `application/problem+json` (RFC 9457), in one place.

In:  exceptions: `Problem`, our own families of errors, the framework's, and any other.
Out: a response with a stable `code`, and the `request_id` that the log has too. A 500 or 503 is logged in one line
(what, where, mend) and counted; the response never names a host or shows a traceback.
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
from schemas.log_events import LogEvent
from schemas.telemetry import ERRORS_TOTAL, Telemetry

__all__ = [
    "MAX_ANSWER_BYTES",
    "REQUEST_ID",
    "RETRY_SECONDS",
    "FailureReporter",
    "Problem",
    "install",
    "internal_error",
    "kind_of_error",
    "path_of",
    "problem_of",
    "problem_response",
]

REQUEST_ID: Final = "sendledger.request_id"
"""The key of the request id in the ASGI scope."""
RETRY_SECONDS: Final = "5"
MAX_ANSWER_BYTES: Final = 256 * 1024
"""The most bytes of a response to an invalid body: MAX_FAULTS faults, each of bounded length (`application.errors`)."""

_RECORD_TOO_LARGE: Final = "Kafka refuses a record of this size; the others of the request are written"
_FRAMES: Final = 12
_LIBRARIES: Final = "site-packages"
_ROOT: Final = Path(__file__).parents[1]
_METRIC_LABELS: Final = {
    "kafka-away": "kafka",
    "clickhouse-away": "clickhouse",
    "not-ready": "readiness",
    "timed-out": "deadline",
    "overloaded": "limits",
    "internal-error": "code",
}
"""The label `of` of `errors_total`, by problem code."""

CountFailure = Callable[[str], Awaitable[int | None]]
"""Counts a bad token or signature of a source address; returns the seconds to wait after too many, else None."""

log = structlog.get_logger()


class Problem(Exception):
    """An error response: `code` is one of `problem_codes.KINDS`, `detail` names the field and the mend."""

    def __init__(self, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(code, detail)
        self.kind = KINDS[code]
        self.detail, self.headers, self.more = detail, dict(headers or {}), more

    @property
    def status(self) -> int:
        """Its HTTP status."""
        return self.kind.status


def problem_of(error: RequestError | TimedOut) -> Problem:
    """Return the problem of an error of the application. Only here do its codes get HTTP statuses."""
    if isinstance(error, TimedOut):
        return Problem("timed-out", error.what, headers={"Retry-After": RETRY_SECONDS})
    return Problem(error.code, error.what, **error.more)


class FailureReporter:
    """Logs and counts each 500 and 503 once."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def report(self, scope: Scope, kind: ProblemKind, error: BaseException) -> None:
        """Log one line about a response of `kind` that `error` caused, and count it."""
        refused = any(isinstance(cause, StoreRefused) for cause in _causes(error))
        cause = "refused" if refused else _METRIC_LABELS.get(kind.code, "limits")
        self._telemetry.counter(ERRORS_TOTAL, of=cause).inc()
        write_line = log.error if kind.status == 500 else log.warning
        # The request id is in the log context of the request.
        write_line(
            LogEvent.REQUEST_FAILED, status=kind.status, code=kind.code, **_location(scope), **_description(error)
        )


def install(app: FastAPI, failures: FailureReporter, too_often: CountFailure) -> None:
    """Make every error of `app` a problem. `RequestMiddleware` answers those without a handler here."""

    @app.exception_handler(Problem)
    async def problem(request: Request, error: Problem) -> JSONResponse:
        if error.status >= 500:
            failures.report(request.scope, error.kind, error)
        return _response(request.scope, error)

    @app.exception_handler(RequestError)
    @app.exception_handler(TimedOut)
    async def of_the_application(request: Request, error: RequestError | TimedOut) -> JSONResponse:
        return await problem(request, problem_of(error))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        kind = kind_of(error.status_code)
        if kind.status == 405:
            return _method_not_allowed(app, request)
        return problem_response(request.scope, kind, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        faults = [ValidationFault(".".join(map(str, e["loc"][1:])), e["msg"]) for e in error.errors()]
        of_body = any(e["loc"][0] == "body" for e in error.errors())
        detail = FieldsInvalid(faults, code="invalid-body" if of_body else "invalid-parameter")
        return _response(request.scope, problem_of(detail))

    _install_authentication(app, too_often)
    _install_dependencies(app, failures)


def _install_authentication(app: FastAPI, too_often: CountFailure) -> None:
    """Bad tokens and signatures, limited by source address."""

    @app.exception_handler(TokenInvalid)
    async def token_refused(request: Request, error: TokenInvalid) -> JSONResponse:
        # RFC 6750, 3.1: a request without a token gets no error code.
        challenge = 'Bearer error="invalid_token"' if error.given else "Bearer"
        kind = KINDS[error.code]
        if seconds := await too_often(_source(request)):
            return _too_many_failures(request.scope, seconds)
        return problem_response(request.scope, kind, f"{error.what}. {error.mend}", {"WWW-Authenticate": challenge})

    @app.exception_handler(SignatureInvalid)
    async def signature_refused(request: Request, error: SignatureInvalid) -> JSONResponse:
        if seconds := await too_often(_source(request)):
            return _too_many_failures(request.scope, seconds)
        return problem_response(request.scope, KINDS[error.code], error.what)


def _install_dependencies(app: FastAPI, failures: FailureReporter) -> None:
    """Errors of Kafka and ClickHouse."""

    @app.exception_handler(StoreError)
    @app.exception_handler(BrokerError)
    async def away(request: Request, error: StoreError | BrokerError) -> JSONResponse:
        kind = KINDS["clickhouse-away" if isinstance(error, StoreError) else "kafka-away"]
        failures.report(request.scope, kind, error)
        # The error's text may name hosts: it goes to the log only.
        return problem_response(request.scope, kind, f"{kind.title}; try again", {"Retry-After": RETRY_SECONDS})

    @app.exception_handler(RecordRefused)
    async def too_large(request: Request, error: RecordRefused) -> JSONResponse:
        log.warning(LogEvent.REQUEST_RECORD_REFUSED, what=error.what, where=error.where, mend=error.mend)
        return problem_response(request.scope, KINDS["too-large"], _RECORD_TOO_LARGE)

    @app.exception_handler(StoreRefused)
    async def refused(request: Request, error: StoreRefused) -> JSONResponse:
        failures.report(request.scope, KINDS["internal-error"], error)
        return internal_error(request.scope)


def kind_of_error(error: BaseException) -> ProblemKind:
    """Return the kind of the problem for an exception, by the first of its causes that has one."""
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
    """Return the response to an unexpected exception."""
    return problem_response(
        scope,
        KINDS["internal-error"],
        "This is a bug in sendledger; it is in the gateway's log, with this `request_id`",
    )


def problem_response(
    scope: Scope, kind: ProblemKind, detail: str, headers: Mapping[str, str] | None = None, **more: Any
) -> JSONResponse:
    """Return the response of a problem."""
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


def _response(scope: Scope, problem: Problem) -> JSONResponse:
    return problem_response(scope, problem.kind, problem.detail, problem.headers, **problem.more)


def path_of(public_url: str) -> str:
    """Return the path prefix of the gateway's URLs, as its callers see them: blank, or `/path`."""
    return urlsplit(public_url).path.rstrip("/")


def _public_path(scope: Scope) -> str:
    path: str = scope["app"].state.public_path
    return path


def _source(request: Request) -> str:
    return request.client.host if request.client else ""


def _too_many_failures(scope: Scope, seconds: int) -> JSONResponse:
    detail = "Too many requests from this address had a bad token or signature"
    return problem_response(scope, KINDS["rate-limited"], detail, {"Retry-After": str(seconds)})


def _method_not_allowed(app: FastAPI, request: Request) -> JSONResponse:
    allowed = sorted(_methods(app.routes, request.scope))
    detail = f"This path takes {', '.join(allowed)}"
    return problem_response(request.scope, KINDS["method-not-allowed"], detail, {"Allow": ", ".join(allowed)})


def _methods(routes: Sequence[BaseRoute], scope: Scope) -> set[str]:
    """The methods of all routes with this path: a path may belong to several routers."""
    request_scope = {name: scope[name] for name in ("type", "path", "method", "root_path") if name in scope}
    found: set[str] = set()
    for route in iter_route_contexts(routes):
        match, _ = route.matches({**request_scope})
        if match is not Match.NONE:
            found |= route.methods or set()
    return found | {"HEAD"} if "GET" in found else found


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and the chain of its causes."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _location(scope: Scope) -> dict[str, str]:
    """The method and the route's pattern; never the path, which may contain addresses."""
    return {"method": scope["method"], "route": getattr(scope.get("route"), "path", "none")}


def _description(error: BaseException) -> dict[str, str]:
    """What, where and the mend. For an exception that is not ours only its type: its text may quote a body."""
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
        "mend": "report it as a bug, with this line",
        "trace": " < ".join(frames[:_FRAMES]),
    }


def _frame(frame: traceback.FrameSummary) -> str:
    path = Path(frame.filename)
    if _LIBRARIES in path.parts:
        return f"/{'/'.join(path.parts[path.parts.index(_LIBRARIES) + 1 :])}:{frame.lineno}"
    return f"{path.relative_to(_ROOT) if path.is_relative_to(_ROOT) else path}:{frame.lineno}"
