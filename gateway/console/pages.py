"""Renders pages: the templates, the variables that all of them have, and the headers of every response of the console.

Promises: every template has autoescape and StrictUndefined, since the texts in rows come from outside. Every response
has a Content-Security-Policy that allows only our own scripts, styles and addresses.
"""

import gzip
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from gateway.access import OPERATORS, SUPPRESSORS
from gateway.console import words
from gateway.console.session import Session
from gateway.console.static_files import StaticFiles

__all__ = ["PARTIAL", "POLICY", "Pages", "is_partial", "secured", "session_in"]

PARTIAL: Final = "x-partial"
"""The header of a request for only the part of the page that changes."""

POLICY: Final = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "frame-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types console",
    ]
)
_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cache-Control": "private, no-store",
    "Vary": f"Cookie, Accept-Encoding, {PARTIAL}",
}
_FRAMED: Final = "frame-ancestors 'self'"
_MIN_COMPRESSED_BYTES: Final = 1024
_GZIP_LEVEL: Final = 5


class Pages:
    """Renders pages. `base` is the prefix of the path of every URL, as a browser sees it."""

    def __init__(self, base: str, static: StaticFiles) -> None:
        self.base = base
        self._environment = Environment(
            loader=PackageLoader(__package__),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters |= {
            "count": _number,
            "counted": _counted,
            "utc": _utc,
            "day": _day,
            "clock": _time_of_day,
            "path": _path,
            "duration": words.duration,
            "ago": _ago,
            "sentence": _sentence,
        }
        self._environment.globals |= {
            "base": base,
            "words": words,
            "static": lambda name: static.url(base, name),
        }

    def page(self, request: Request, template: str, status: int = 200, **variables: Any) -> Response:
        """Render a template. It also gets the session (or None), and what the session may do."""
        session = session_in(request)
        text = self._environment.get_template(template).render(
            session=session,
            may_release=session is not None and session.principal.role in SUPPRESSORS,
            may_release_in_bulk=session is not None and session.principal.role in OPERATORS,
            may_see_raw=session is not None and session.principal.role in OPERATORS,
            **variables,
        )
        return _compressed(request, HTMLResponse(text, status))


def is_partial(request: Request) -> bool:
    """Return whether the request is for a part of a page, by our script: no other site can set the header."""
    return PARTIAL in request.headers


def session_in(request: Request) -> Session | None:
    """Return the session that `routing.signed_in` stored in the request; None without it."""
    return getattr(request.state, "session", None)


def secured(answer: Response) -> Response:
    """Add the headers of the console that a response doesn't have yet: a preview keeps its own, stricter policy."""
    headers: Mapping[str, str] = answer.headers
    may_be_framed = _FRAMED in headers.get("Content-Security-Policy", "")
    for name, value in _HEADERS.items():
        if name not in headers and not (may_be_framed and name == "X-Frame-Options"):
            answer.headers[name] = value
    return answer


def _compressed(request: Request, answer: Response) -> Response:
    """The response as gzip, if the browser accepts it. No page has a secret that its size could reveal."""
    body = bytes(answer.body)
    if len(body) < _MIN_COMPRESSED_BYTES or "gzip" not in request.headers.get("accept-encoding", ""):
        return answer
    answer.body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
    answer.headers["Content-Encoding"] = "gzip"
    answer.headers["Content-Length"] = str(len(answer.body))
    return answer


def _number(number: int) -> str:
    return f"{number:,}"


def _counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: 1 message, 2 messages."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _utc(text: str) -> str:
    """A time as shown without JavaScript; the script replaces it with the time in the user's own zone."""
    return f"{_time(text):%d %b %H:%M}"


def _day(text: str) -> str:
    return f"{_time(text):%d %b %Y}"


def _ago(at: str, now: str) -> str:
    """How long before `now` a time was."""
    seconds = max(0.0, (_time(now) - _time(at)).total_seconds())
    return f"{seconds:.0f} s ago" if seconds < 120 else f"{words.duration(seconds, 0)} ago"


def _sentence(text: str) -> str:
    """A text that begins with a capital letter."""
    return text[:1].upper() + text[1:]


def _time_of_day(text: str) -> str:
    return f"{_time(text):%H:%M:%S}"


def _path(text: str) -> str:
    """A text, escaped as a segment of a path or a value of a query string."""
    return quote(text, safe="")
