"""HTTP on the wire: what a connection may send, and how long it may take.

In:  uvicorn's protocol over httptools. Out: the same, which also
  - takes so many connections, and answers further ones with 503 at once;
  - takes a request line and headers up to a size and a number, and answers 431 beyond them;
  - closes a connection whose headers, or whose body, do not come in time (408 where something has come), and one
    whose client does not take its answer;
  - answers what is no HTTP, like all of these, as a problem with an id.

uvicorn itself has no limit on any of these but the number of requests under way, and httptools none on the headers.
"""

import asyncio
import os
import time
from dataclasses import dataclass
from typing import Any, Final

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.problem_codes import KINDS, ProblemKind
from schemas.identity import uuid7
from schemas.telemetry import Telemetry

__all__ = ["WireLimits", "protocol_of"]

_MAX_HEADERS: Final = 100
_LINGER_SECONDS: Final = 2.0
"""What is still on its way after an answer that ends the connection is read and dropped for so long."""
_FRAME_BYTES: Final = 4  # `: ` and the end of the line


@dataclass(frozen=True, slots=True)
class WireLimits:
    """What one connection may do, and how many there may be. Seconds and bytes."""

    connections: int
    head_bytes: int
    head_seconds: float
    body_seconds: float
    """From the end of the headers to the end of the body. A route that reads its body answers 408 itself, before."""
    write_seconds: float
    """For which a client may take nothing of what is there for it."""


def protocol_of(limits: WireLimits, telemetry: Telemetry, public_path: str = "") -> type[asyncio.Protocol]:
    """Return the protocol class for uvicorn's `http`. `public_path` is what the gateway's URLs begin with."""

    class Limited(_LimitedProtocol):
        pass

    Limited.limits, Limited.telemetry, Limited.public_path = limits, telemetry, public_path
    return Limited


class _TooMuch(Exception):
    """The headers are more than we take."""


class _LimitedProtocol(HttpToolsProtocol):
    limits: WireLimits
    telemetry: Telemetry
    public_path: str

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._in_head, self._refused = True, False
        self._raw_bytes = self._head_bytes = 0
        self._problem = KINDS["bad-request"]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            self._refuse(KINDS["overloaded"], "The gateway has as many connections as it takes")
            return
        self._expect_within(self.limits.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_nothing()
        self._go_on()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing() or self._refused:
            return
        super().data_received(data)
        # What belongs to no complete header yet is known by its size alone.
        if self._in_head and not self._refused:
            self._raw_bytes += len(data)
            if self._raw_bytes > self.limits.head_bytes:
                self._refuse(KINDS["headers-too-large"], self._limit_in_words())

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._raw_bytes, self._head_bytes = True, 0, 0
        self._expect_within(self.limits.head_seconds)

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
        self._expect_within(self.limits.body_seconds)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._expect_nothing()
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(self.limits.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        self._go_on()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - its words are not ours
        """Answer what the parser does not take; the parser also calls this for what we refuse in `_count`."""
        detail = self._limit_in_words() if self._problem.status == 431 else "This is no HTTP request"
        self._refuse(self._problem, detail)

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self.limits.head_bytes:
            self._reject_head()

    def _reject_head(self) -> None:
        self._problem = KINDS["headers-too-large"]
        raise _TooMuch

    def _limit_in_words(self) -> str:
        return f"The request line and headers may have {self.limits.head_bytes} bytes and {_MAX_HEADERS} headers"

    def _expect_within(self, seconds: float) -> None:
        self._expect_nothing()
        self._timer = self.loop.call_later(seconds, self._expired)

    def _expect_nothing(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _go_on(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _expired(self) -> None:
        """Close what does not go on. A request of which something has come, and that nobody has answered, gets 408."""
        if self.transport.is_closing():
            return
        if self._refused:
            self.transport.abort()
            return
        answered = self.cycle is not None and self.cycle.response_started
        if answered or not (self._raw_bytes or self.cycle):
            self.transport.close()
        else:
            self._refuse(KINDS["body-too-slow"], "The request did not come completely in time")

    def _refuse(self, kind: ProblemKind, detail: str) -> None:
        request_id = uuid7(time.time_ns() // 1000, os.urandom(10))
        said = {
            "type": kind.type_under(self.public_path),
            "title": kind.title,
            "status": kind.status,
            "detail": detail,
            "instance": "",  # what was asked for is not known, or not to be trusted
            "code": kind.code,
            "request_id": request_id,
        }
        body = orjson.dumps(said)
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
        if self.cycle is not None:  # whoever still works on an answer need not
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write(head.encode() + body)
        # Closed at once, with bytes unread, the connection would be reset, and the answer might be lost on its way.
        self.transport.write_eof()
        self.flow.resume_reading()
        self._unset_keepalive_if_required()
        self._expect_within(_LINGER_SECONDS)
        self.telemetry.counter("requests_total", "none", str(kind.status)).inc()
