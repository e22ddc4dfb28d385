"""Middleware around every request: a request id, security headers, metrics, and unhandled exceptions.

In:  an ASGI application. Out: the same application, where
  - every request gets an id (UUID 7): in the header `request-id`, each log line, and each problem;
  - an unhandled exception is a problem 500, logged in one line; if the response had begun, the connection is closed, so
    that the client notices;
  - a client that disconnects while sending its body is counted as status 499, not as an error;
  - HEAD is answered like GET, without the body.
"""

import asyncio
import os
import time
from typing import Final

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from application import deadlines
from gateway.problems import REQUEST_ID, FailureReporter, internal_error, kind_of_error
from gateway.uploads import UploadBuffers
from schemas.decoding.ids import uuid7
from schemas.log_events import LogEvent
from schemas.telemetry import REQUEST_SECONDS, REQUESTS_TOTAL, Telemetry

__all__ = ["CLIENT_GONE", "RequestMiddleware"]

CLIENT_GONE: Final = 499
"""The status in the metrics of a request whose client disconnected before the response; it is never sent."""

_NO_SNIFFING: Final = (b"x-content-type-options", b"nosniff")
_CACHE_CONTROL: Final = b"cache-control"

log = structlog.get_logger()


class RequestMiddleware:
    """ASGI middleware."""

    def __init__(
        self, app: ASGIApp, *, telemetry: Telemetry, failures: FailureReporter, uploads: UploadBuffers, seconds: float
    ) -> None:
        """`seconds` is the deadline of a request (`application.deadlines`)."""
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
            with structlog.contextvars.bound_contextvars(request_id=request_id), deadlines.limit(self._seconds):
                await self._guarded(inner, receive, reply)
        finally:
            self._uploads.release(inner)
            # The route's pattern, never the path: the number of labels is bounded.
            route = getattr(inner.get("route"), "path", "none")
            self._telemetry.counter(REQUESTS_TOTAL, route=route, status=str(reply.status or CLIENT_GONE)).inc()
            self._telemetry.histogram(REQUEST_SECONDS, route=route).observe(time.perf_counter() - started)

    async def _guarded(self, scope: Scope, receive: Receive, reply: "_Reply") -> None:
        try:
            await self._app(scope, receive, reply.send)
        except ClientDisconnect:
            log.info(LogEvent.REQUEST_CLIENT_GONE, route=getattr(scope.get("route"), "path", "none"))
        except Exception as error:
            self._failures.report(scope, kind_of_error(error), error)
            if reply.begun:
                raise  # the server closes the connection, so that the client sees an incomplete response
            await internal_error(scope)(scope, receive, reply.send)


class _Reply:
    """The response of one request."""

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
            await asyncio.sleep(0)  # lets a stream notice that its client has disconnected

    async def _begin(self, message: Message) -> None:
        self.begun = True
        self.status = message["status"]
        headers = [*message.get("headers", ()), (b"request-id", self._id), _NO_SNIFFING]
        if not any(name.lower() == _CACHE_CONTROL for name, _ in headers):
            headers.append((_CACHE_CONTROL, b"no-store"))
        await self._send({**message, "headers": headers})
        if self._is_head:  # at once, so that no body is produced for nothing
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
