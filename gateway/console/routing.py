"""Authentication and errors of the console's routes.

In:  a request. Out: a response with the headers of the console, also after an error.
Promises: an error is the problem that the API returns for it, as a page or as a part of one. A POST that comes from
another site is refused (CSRF). A request without a session is redirected to the sign-in page, and from there back.
"""

from collections.abc import Callable, Coroutine
from typing import Any, Final
from urllib.parse import quote, urlsplit

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute

from application.principals import Principal
from gateway.access import READERS, RequirePrincipal
from gateway.console import words
from gateway.console.pages import Pages, is_partial, secured
from gateway.console.session import COOKIE, read_cookie
from gateway.problem_codes import KINDS, ProblemKind
from gateway.problems import REQUEST_ID, FailureReporter, Problem, kind_of_error
from gateway.throttle import Throttle
from schemas.errors import RequestError, TimedOut

__all__ = ["ConsoleRoute", "Redirect", "SignInNeeded", "request_path", "signed_in"]

_SAME_ORIGIN: Final = "same-origin"
_NOTHING_WRITTEN: Final = "Kafka did not answer in time, so this page can't be shown now. Nothing was changed."


class Redirect(Exception):
    """The browser must request another URL of the console."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


class SignInNeeded(Exception):
    """There is no session, or it has ended."""


def signed_in(secret: str, roles: tuple[str, ...] = READERS) -> RequirePrincipal:
    """Return the dependency that returns the principal of the session. It raises SignInNeeded, or Problem: 429, 403."""

    async def principal(request: Request) -> Principal:
        session = read_cookie(request.cookies.get(COOKIE), secret)
        if session is None:
            raise SignInNeeded
        request.state.session = session
        throttle: Throttle = request.app.state.throttle
        await throttle.count_request(session.principal, request.method)
        if session.principal.role not in roles:
            raise Problem("role-not-allowed", f"This page needs the role {' or '.join(roles)}")
        return session.principal

    return principal


def request_path(request: Request) -> str:
    """Return the escaped path of a request. `request.url` has it unescaped: a `%` or `#` would break a link."""
    return quote(request.scope["path"], safe="/@+:")


class ConsoleRoute(APIRoute):
    """A route that returns its errors as pages."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function that handles a request."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                _refuse_other_sites(request)
                answer = await handle(request)
            except Redirect as redirect:
                answer = RedirectResponse(redirect.url, 303)
            except SignInNeeded:
                answer = _redirect_to_sign_in(request)
            except Exception as error:
                answer = _error_page(request, error)
            return secured(answer)

        return guarded


def _refuse_other_sites(request: Request) -> None:
    """Raise Problem for a POST that no page of ours sent. The browser sets these headers; a page can't forge them."""
    if request.method in ("GET", "HEAD"):
        return
    if site := request.headers.get("sec-fetch-site"):
        is_ours = site == _SAME_ORIGIN
    else:
        is_ours = urlsplit(request.headers.get("origin", "")).netloc == request.headers.get("host")
    if not is_ours:
        raise Problem("role-not-allowed", "This form was sent from another site, so it was refused")


def _redirect_to_sign_in(request: Request) -> Response:
    """Redirect to the sign-in page, which leads back. For a part of a page, a message says so: the page must remain."""
    pages: Pages = request.app.state.console
    if is_partial(request):
        return pages.page(request, "_signed_out.html", 401)
    back = f"?next={quote(_path_and_query(request), safe='/')}" if request.method in ("GET", "HEAD") else ""
    return RedirectResponse(f"{pages.base}/login{back}", 303)


def _path_and_query(request: Request) -> str:
    return request_path(request) + (f"?{request.url.query}" if request.url.query else "")


def _error_page(request: Request, error: Exception) -> Response:
    pages: Pages = request.app.state.console
    kind, detail = _kind_and_detail(error)
    if kind.code == "kafka-away" and request.method in ("GET", "HEAD"):
        detail = _NOTHING_WRITTEN
    if kind.status >= 500:
        failures: FailureReporter = request.app.state.failures
        failures.report(request.scope, kind, error)
    template = "_failure.html" if is_partial(request) else "failure.html"
    answer = pages.page(
        request,
        template,
        kind.status,
        title=kind.title,
        detail=detail,
        mend=words.error_advice(kind.status, kind.code),
        is_temporary=kind.status in (429, 503),
        request_id=request.scope.get(REQUEST_ID, "") if kind.status >= 500 else "",  # others are not in the log
        retry_path=_path_and_query(request),
    )
    if isinstance(error, Problem):
        answer.headers.update(error.headers)
    return answer


def _kind_and_detail(error: Exception) -> tuple[ProblemKind, str]:
    """The kind of an error, and a text for the user, which never has a host name or a traceback."""
    if isinstance(error, Problem):
        return error.kind, error.detail
    if isinstance(error, RequestError | TimedOut):
        kind = kind_of_error(error)
        return kind, error.what
    if isinstance(error, RequestValidationError):
        return KINDS["invalid-parameter"], "; ".join(f"`{e['loc'][-1]}`: {e['msg']}" for e in error.errors())
    kind = kind_of_error(error)
    return kind, kind.meaning
