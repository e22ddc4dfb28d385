"""Limits on connections: how much a client may send, and how slowly.

In:  uvicorn's protocol over httptools. Out: the same protocol, which also
  - limits the number of connections: further ones get 503 at once;
  - limits the size and number of headers: beyond it 431;
  - closes a connection whose headers or body do not arrive in time (408 if a part has arrived), and one whose client
    does not read its response;
  - answers these, and what is not HTTP, with a problem that has a request id.

uvicorn itself limits only the number of concurrent requests, and httptools does not limit headers.
"""

import asyncio
import os
import time
from dataclasses import dataclass
from typing import Any, Final

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.problem_codes import KINDS, ProblemKind
from schemas.decoding.ids import uuid7
from schemas.telemetry import ERRORS_TOTAL, REQUESTS_TOTAL, Telemetry

__all__ = ["WireLimits", "protocol_of"]

_MAX_HEADERS: Final = 100
_LINGER_SECONDS: Final = 2.0
"""After a response that closes the connection, incoming data is read and dropped for this time."""
_FRAME_BYTES: Final = 4  # `: ` and CRLF


@dataclass(frozen=True, slots=True)
class WireLimits:
    """Limits of one connection, and on the number of connections. In seconds and bytes."""

    connections: int
    head_bytes: int
    head_seconds: float
    body_seconds: float
    """From the end of the headers to the end of the body. A route that reads its body answers 408 earlier."""
    write_seconds: float
    """How long a client may read nothing of a response that is ready."""


def protocol_of(limits: WireLimits, telemetry: Telemetry, public_path: str = "") -> type[asyncio.Protocol]:
    """Return the protocol class for uvicorn's `http`. `public_path` is the path prefix of the gateway's URLs."""

    class Limited(_LimitedProtocol):
        pass

    Limited.limits, Limited.telemetry, Limited.public_path = limits, telemetry, public_path
    return Limited


class _HeadTooLarge(Exception):
    """The request line and headers are over a limit."""


class _LimitedProtocol(HttpToolsProtocol):
    limits: WireLimits
    telemetry: Telemetry
    public_path: str

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._in_head, self._refused = True, False
        self._raw_bytes = self._head_bytes = 0
        self._problem = KINDS["bad-request"]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            self._refuse(KINDS["overloaded"], "The gateway is at its limit of connections")
            return
        self._start_timer(self.limits.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timer()
        self._cancel_stall_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing() or self._refused:
            return
        super().data_received(data)
        # Of an incomplete header only the size is known.
        if self._in_head and not self._refused:
            self._raw_bytes += len(data)
            if self._raw_bytes > self.limits.head_bytes:
                self._refuse(KINDS["headers-too-large"], self._limits_text())

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._raw_bytes, self._head_bytes = True, 0, 0
        self._start_timer(self.limits.head_seconds)

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + _FRAME_BYTES)
        if len(self.headers) >= _MAX_HEADERS:
            self._reject_head()
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._start_timer(self.limits.body_seconds)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._cancel_timer()
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall_timer = self.loop.call_later(self.limits.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        self._cancel_stall_timer()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - our own text is sent instead
        """Answer what the parser refuses. The parser also calls this for what `_count` refuses."""
        detail = self._limits_text() if self._problem.status == 431 else "This is not an HTTP request"
        self._refuse(self._problem, detail)

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self.limits.head_bytes:
            self._reject_head()

    def _reject_head(self) -> None:
        self._problem = KINDS["headers-too-large"]
        raise _HeadTooLarge

    def _limits_text(self) -> str:
        return f"The request line and headers may have {self.limits.head_bytes} bytes and {_MAX_HEADERS} headers"

    def _start_timer(self, seconds: float) -> None:
        self._cancel_timer()
        self._timer = self.loop.call_later(seconds, self._on_timeout)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _cancel_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def _on_timeout(self) -> None:
        """Close a connection that makes no progress. A partly received request without a response gets 408."""
        if self.transport.is_closing():
            return
        if self._refused:
            self.transport.abort()
            return
        answered = self.cycle is not None and self.cycle.response_started
        if answered or not (self._raw_bytes or self.cycle):
            self.transport.close()
        else:
            self._refuse(KINDS["body-too-slow"], "The request did not arrive completely in time")

    def _refuse(self, kind: ProblemKind, detail: str) -> None:
        request_id = uuid7(time.time_ns() // 1000, os.urandom(10))
        problem = {
            "type": kind.type_under(self.public_path),
            "title": kind.title,
            "status": kind.status,
            "detail": detail,
            "instance": "",  # the path is not known, or not trusted
            "code": kind.code,
            "request_id": request_id,
        }
        body = orjson.dumps(problem)
        head = (
            f"HTTP/1.1 {kind.status} {kind.title}\r\n"
            "content-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\n"
            f"request-id: {request_id}\r\n"
            "x-content-type-options: nosniff\r\n"
            "cache-control: no-store\r\n"
            + ("retry-after: 5\r\n" if kind.status == 503 else "")
            + "connection: close\r\n\r\n"
        )
        self._refused = True
        if self.cycle is not None:  # whoever still works on a response can stop
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write(head.encode() + body)
        # Closing with unread bytes would reset the connection, and the response might be lost.
        self.transport.write_eof()
        self.flow.resume_reading()
        self._unset_keepalive_if_required()
        self._start_timer(_LINGER_SECONDS)
        self.telemetry.counter(REQUESTS_TOTAL, route="none", status=str(kind.status)).inc()
        if kind.status >= 500:
            self.telemetry.counter(ERRORS_TOTAL, of="limits").inc()
