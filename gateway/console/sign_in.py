"""Signing in and out.

In:  a token of the API in a form, or a one-time link. Out: a session cookie (`gateway.console.session`), and a redirect
to the page that the user requested first.
"""

import re
import time
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from gateway.bodies import read_body
from gateway.console.one_time import take_code
from gateway.console.pages import Pages
from gateway.console.routing import ConsoleRoute
from gateway.console.session import COOKIE, Session, make_cookie, read_cookie, session_of
from gateway.problems import Problem
from gateway.throttle import Throttle
from gateway.tokens import Claims, TokenInvalid, claims_of
from schemas.settings import GatewaySettings

__all__ = ["router"]

_MAX_BODY_BYTES: Final = 16 * 1024
_RETURN_PATH: Final = re.compile(r"/(?:logs|bounces|suppressions|delivery|health|accounts)(?:[/?].*)?\Z", re.S)
_HOME: Final = "/logs"
_LOOPBACK: Final = re.compile(r"(?:localhost|127(?:\.\d+){3}|\[::1\])(?::\d+)?\Z")


def router(settings: GatewaySettings, pages: Pages) -> APIRouter:
    """Return `/login`, `/logout`, and `/`, which redirects to the log."""
    routes = APIRouter(route_class=ConsoleRoute, include_in_schema=False)
    secret = settings.token_secret.get_secret_value()
    seconds = int(settings.session_hours * 3600)
    codes = Path(settings.dev_sign_in_dir) if settings.dev_sign_in_dir else None

    @routes.get("/")
    async def home() -> Response:
        return RedirectResponse(pages.base + _HOME, 303)

    @routes.get("/login")
    async def form(request: Request) -> Response:
        back = _return_path(request.query_params.get("next"))
        if read_cookie(request.cookies.get(COOKIE), secret):
            return RedirectResponse(pages.base + back, 303)
        return pages.page(request, "login.html", problem="", back=back)

    @routes.post("/login")
    async def sign_in(request: Request) -> Response:
        fields = _form(await read_body(request, _MAX_BODY_BYTES))
        back = _return_path(fields.get("next"))
        try:
            claims = claims_of(fields.get("token", "").strip().removeprefix("Bearer ").strip(), secret)
        except TokenInvalid as error:
            await _count_failure(request)
            return pages.page(request, "login.html", 401, problem=f"{error.what}. {error.mend}", back=back)
        session = session_of(claims, now=int(time.time()), seconds=seconds)
        if session is None:
            problem = f"A token of the role {claims.principal.role} may not read the log"
            return pages.page(request, "login.html", 403, problem=problem, back=back)
        return _with_cookie(request, RedirectResponse(pages.base + back, 303), session, secret, pages.base)

    @routes.get("/login/once/{code}")
    async def once(request: Request, code: str) -> Response:
        client = request.client.host if request.client else ""
        principal = take_code(codes, code, client)
        session = principal and session_of(Claims(principal, None), now=int(time.time()), seconds=seconds)
        if not session:
            await _count_failure(request)
            problem = "This link was already used, or belongs to another machine. Start the stack again, or use a token"
            return pages.page(request, "login.html", 401, problem=problem, back=_HOME)
        return _with_cookie(request, RedirectResponse(pages.base + _HOME, 303), session, secret, pages.base)

    @routes.post("/logout")
    async def sign_out(request: Request) -> Response:
        answer = RedirectResponse(f"{pages.base}/login", 303)
        answer.delete_cookie(COOKIE, path=pages.base or "/", httponly=True, samesite="lax", secure=_secure(request))
        return answer

    return routes


def _with_cookie(request: Request, answer: Response, session: Session, secret: str, base: str) -> Response:
    """Add the session cookie to a response."""
    answer.set_cookie(
        COOKIE,
        make_cookie(session, secret),
        max_age=max(0, session.ends_at - int(time.time())),
        path=base or "/",
        httponly=True,
        samesite="lax",
        secure=_secure(request),
    )
    return answer


def _secure(request: Request) -> bool:
    """Whether the cookie is for HTTPS only: always, except on this machine. A proxy in front of us may end TLS."""
    return not _LOOPBACK.match(request.headers.get("host", ""))


def _form(body: bytes) -> dict[str, str]:
    """The fields of a form; if a field is repeated, its first value."""
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        raise Problem("bad-request", "The form can't be read") from None
    return {name: values[0] for name, values in fields.items()}


def _return_path(path: str | None) -> str:
    """The path to redirect to after signing in: a page of the console, never a URL of another site."""
    return path if path and _RETURN_PATH.match(path) and "\\" not in path and path.isprintable() else _HOME


async def _count_failure(request: Request) -> None:
    throttle: Throttle = request.app.state.throttle
    source = request.client.host if request.client else ""
    if seconds := await throttle.count_failure(source):
        detail = "Too many requests from this address had a bad token"
        raise Problem("rate-limited", detail, headers={"Retry-After": str(seconds)})
