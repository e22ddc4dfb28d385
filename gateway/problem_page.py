"""`GET /problems`: the page that the `type` of every problem links to, as HTML without external resources."""

from html import escape
from typing import Final

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from gateway.problem_codes import KINDS, ProblemKind

__all__ = ["route"]

_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Cache-Control": "public, max-age=3600",
}
_HEAD: Final = (
    "<!doctype html><html lang='en'><meta charset='utf-8'><title>Problems</title>"
    "<style>body{font:16px/1.5 sans-serif;max-width:45em;margin:2em auto;padding:0 1em}</style>"
    "<h1>Problems</h1><p>What the error codes of this API mean, and what to do about each.</p>"
)


def route(app: FastAPI) -> None:
    """Add the page to `app`."""
    page = _HEAD + "".join(map(_section, KINDS.values()))

    @app.get("/problems", include_in_schema=False)
    async def problems() -> HTMLResponse:
        return HTMLResponse(page, headers=_HEADERS)


def _section(kind: ProblemKind) -> str:
    return (
        f"<h2 id='{kind.code}'>{kind.code}</h2><p><b>{kind.status} {escape(kind.title)}.</b> {escape(kind.meaning)}</p>"
        f"<p>{escape(kind.mend)}</p>"
    )
