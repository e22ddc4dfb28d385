"""Shows the content of a message as a sandboxed page: it is untrusted HTML.

In:  the HTML of a message, or its text. Out: an HTML response with its own Content-Security-Policy.
Promise: no script runs, no form is submitted, no external resource is loaded (an image would tell the sender who
looks), and the page has no origin, so it can't read our data.
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
"""Elements that reach other servers past any policy: `<link rel=preconnect>` opens a connection, and `<meta>` permits
DNS look-ups. They are renamed to unknown elements, which do nothing.
"""
_TEXT: Final = (
    "<!doctype html><html><meta charset='utf-8'><title>Preview</title>"
    "<pre style='white-space: pre-wrap'>{}</pre></html>"
)


def page(html: str, text: str) -> Response:
    """Return the response that shows the HTML, or the text if there is no HTML."""
    body = _HINTS.sub("<x-", html) if html.strip() else _TEXT.format(escape(text))
    return Response(body.encode("utf-8", "replace"), headers=_HEADERS, media_type="text/html; charset=utf-8")
