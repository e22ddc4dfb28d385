"""What every answer has, whoever makes it: an id, the headers of security, a place in the metrics.

In:  an ASGI application. Out: the same, around which
  - every request gets an id of ours (UUID 7): the header `request-id`, each line of the log, each problem;
  - an exception that nobody handled is a problem 500, logged in one line; if the answer had begun, it is cut off, so
    that the client notices;
  - a client that goes away in the middle of its body is counted as status 499, and is nobody's error;
  - HEAD is answered as GET is, without the body.
"""

import asyncio
import os
import time
from typing import Final

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from application import deadlines
from gateway.problems import REQUEST_ID, Failures, internal_error, kind_of_error
from gateway.uploads import Uploads
from schemas.identity import uuid7
from schemas.telemetry import Telemetry

__all__ = ["CLIENT_GONE", "Answering"]

CLIENT_GONE: Final = 499
"""The status in our metrics of a request whose client went away before it got an answer; it is never sent."""

_NO_SNIFFING: Final = (b"x-content-type-options", b"nosniff")
_CACHE_CONTROL: Final = b"cache-control"

log = structlog.get_logger()


class Answering:
    """ASGI middleware."""

    def __init__(
        self, app: ASGIApp, *, telemetry: Telemetry, failures: Failures, uploads: Uploads, seconds: float
    ) -> None:
        """`seconds` is what every request has (`application.deadlines`)."""
        self._app, self._telemetry, self._failures = app, telemetry, failures
        self._uploads, self._seconds = uploads, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = uuid7(time.time_ns() // 1000, os.urandom(10))
        is_head = scope["method"] == "HEAD"
        inner = {**scope, REQUEST_ID: request_id} | ({"method": "GET"} if is_head else {})
        reply = _Reply(send, request_id, is_head=is_head)
        try:
            with structlog.contextvars.bound_contextvars(request_id=request_id), deadlines.begun(self._seconds):
                await self._guarded(inner, receive, reply)
        finally:
            self._uploads.give_back(inner)
            # The route's own name, never the path: labels are bounded.
            route = getattr(inner.get("route"), "path", "none")
            self._telemetry.counter("requests_total", route, str(reply.status or CLIENT_GONE)).inc()
            self._telemetry.histogram("request_seconds", route).observe(time.perf_counter() - started)

    async def _guarded(self, scope: Scope, receive: Receive, reply: "_Reply") -> None:
        try:
            await self._app(scope, receive, reply.send)
        except ClientDisconnect:
            log.info("request.client_gone", route=getattr(scope.get("route"), "path", "none"))
        except Exception as error:
            self._failures.note(scope, kind_of_error(error), error)
            if reply.begun:
                raise  # the server closes the connection: a part is never taken for the whole
            await internal_error(scope)(scope, receive, reply.send)


class _Reply:
    """The answer on its way out."""

    def __init__(self, send: Send, request_id: str, *, is_head: bool) -> None:
        self._send, self._id, self._is_head = send, request_id.encode(), is_head
        self.status = 0
        self.begun = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._begin(message)
            return
        if not self._is_head:
            await self._send(message)
        if message.get("more_body"):
            await asyncio.sleep(0)  # a stream hears here that nobody listens any more, and ends

    async def _begin(self, message: Message) -> None:
        self.begun = True
        self.status = message["status"]
        headers = [*message.get("headers", ()), (b"request-id", self._id), _NO_SNIFFING]
        if not any(name.lower() == _CACHE_CONTROL for name, _ in headers):
            headers.append((_CACHE_CONTROL, b"no-store"))
        await self._send({**message, "headers": headers})
        if self._is_head:  # at once, so that nothing goes on making a body that nobody gets
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
