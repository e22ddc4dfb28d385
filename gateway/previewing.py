"""What was sent, as a page that can do nothing: it was made by strangers, and is shown to whoever may read it.

In:  a message's HTML, or its text. Out: an HTML answer with a policy of its own.
Promise: no script runs, no form is sent, nothing is loaded from elsewhere (an image would tell its sender who looks),
and the page has no origin, so it reads nothing of ours.
"""

import re
from html import escape
from typing import Final

from fastapi import Response

__all__ = ["CONTENT_POLICY", "page"]

CONTENT_POLICY: Final = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-DNS-Prefetch-Control": "off",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-store",
}
_HINTS: Final = re.compile(r"<(?=(?:link|meta)\b)", re.IGNORECASE)
"""Elements that no policy keeps from naming other servers: with `<link rel=preconnect>` a browser connects to them, and
`<meta>` allows it to look up their names. They are made unknown elements, which do nothing.
"""
_TEXT: Final = (
    "<!doctype html><html><meta charset='utf-8'><title>Preview</title>"
    "<pre style='white-space: pre-wrap'>{}</pre></html>"
)


def page(html: str, text: str) -> Response:
    """Return the answer that shows the HTML, or the text where there is no HTML."""
    body = _HINTS.sub("<x-", html) if html.strip() else _TEXT.format(escape(text))
    return Response(body.encode("utf-8", "replace"), headers=_HEADERS, media_type="text/html; charset=utf-8")
