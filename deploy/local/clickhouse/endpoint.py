"""The ASGI application: reads bodies, runs queries in threads, sends responses.

A body is read only after authentication. A small response is sent at once. A large one is streamed in chunks, so a slow
client slows its query instead of filling our memory, and a disconnect ends it. An error after the first byte breaks the
connection: the client sees a truncated body, never an incomplete result.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import structlog

from deploy.local.clickhouse.codecs import MAX_BODY_BYTES, too_large
from deploy.local.clickhouse.engine import Engine, QueryResult
from deploy.local.clickhouse.errors import ClickHouseError
from deploy.local.clickhouse.request import RequestHead, read_head, read_request
from deploy.local.clickhouse.users import User
from schemas.log_events import LogEvent

__all__ = ["Endpoint"]

log = structlog.get_logger()

Scope = Mapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_WHOLE_BYTES = 1 << 20  # a response up to this size is sent at once


@dataclass(frozen=True)
class FullResponse:
    """A response that is sent at once."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Reader:
    """The client of a streamed response, for use in a worker thread."""

    send: Send
    loop: asyncio.AbstractEventLoop
    disconnected: bool = field(default=False, init=False)

    def start(self, headers: Mapping[str, str]) -> None:
        self._send(_start(200, headers))

    def write(self, chunk: bytes, *, last: bool = False) -> None:
        """Send a chunk; block while the client reads more slowly than we write."""
        self._send({"type": "http.response.body", "body": chunk, "more_body": not last})

    def _send(self, message: Message) -> None:
        asyncio.run_coroutine_threadsafe(_awaiting(self.send(message)), self.loop).result()


class Endpoint:
    """Answers HTTP requests with one engine."""

    def __init__(self, engine: Engine, threads: int = 16) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="clickhouse")

    def close(self) -> None:
        """Wait for running requests."""
        self._threads.shutdown()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _is_ping(scope):
            await _send_response(send, FullResponse(200, {"Content-Type": "text/plain"}, b"Ok.\n"))
            return
        try:
            head = read_head(scope)
            user = self._engine.authenticate(head.credentials)
            body = await _read_body(receive)
        except ClickHouseError as failure:
            await _send_response(send, _error_response(failure))
            return
        if body is None:
            return
        loop = asyncio.get_running_loop()
        reader = Reader(send, loop)
        work = loop.run_in_executor(self._threads, self._work, head, user, body, reader)
        disconnected = asyncio.create_task(_wait_for_disconnect(receive))
        try:
            either: set[asyncio.Future[Any]] = {work, disconnected}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            reader.disconnected = not work.done()
            response = await work
        finally:
            disconnected.cancel()
        if response:
            await _send_response(send, response)

    def _work(self, head: RequestHead, user: User, body: bytes, reader: Reader) -> FullResponse | None:
        """Run one request, in a thread. A large response is sent from here; a small one is returned."""
        try:
            answer = self._engine.run(read_request(head, body), user)
        except Exception as error:  # any exception of chDB becomes a response
            return _error_response(ClickHouseError.of(error))
        with contextlib.closing(answer.chunks):
            return _deliver(answer, reader)


def _deliver(answer: QueryResult, reader: Reader) -> FullResponse | None:
    body = bytearray()
    try:
        for chunk in answer.chunks:
            body += chunk
            if len(body) > _WHOLE_BYTES:
                break
        else:
            return FullResponse(200, answer.headers, bytes(body))
    except Exception as error:  # nothing is sent yet
        return _error_response(ClickHouseError.of(error))
    reader.start(answer.headers)
    reader.write(bytes(body))
    try:
        for chunk in answer.chunks:
            if reader.disconnected:
                log.info(LogEvent.RESPONSE_ABANDONED)
                return None
            reader.write(chunk)
    except Exception as error:  # too late for a status: uvicorn closes the connection of an unfinished response
        log.error(LogEvent.RESPONSE_BROKEN, error=ClickHouseError.of(error).text)  # noqa: TRY400 - the text is enough
        return None
    reader.write(b"", last=True)
    return None


def _error_response(failure: ClickHouseError) -> FullResponse:
    headers = {"Content-Type": "text/plain; charset=UTF-8", "X-ClickHouse-Exception-Code": str(failure.code)}
    if failure.status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
    return FullResponse(failure.status, headers, failure.text.encode() + b"\n")


def _is_ping(scope: Scope) -> bool:
    return (
        scope["path"] in {"/ping", "/"}
        and scope["method"] in {"GET", "HEAD"}
        and b"query=" not in scope["query_string"]
    )


def _start(status: int, headers: Mapping[str, str]) -> Message:
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }


async def _send_response(send: Send, response: FullResponse) -> None:
    await send(_start(response.status, {**response.headers, "Content-Length": str(len(response.body))}))
    await send({"type": "http.response.body", "body": response.body})


async def _read_body(receive: Receive) -> bytes | None:
    """Return the body, or None if the client disconnected before its end: then nothing is run."""
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > MAX_BODY_BYTES:
            raise too_large()
        if not message.get("more_body", False):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _awaiting(sent: Awaitable[None]) -> None:
    await sent
