"""The ASGI application: bodies in, answers out, work in threads.

Nothing of a body is read before its sender is known. A small answer is sent whole. A large one is streamed chunk by
chunk, so a slow reader slows its query instead of filling our memory, and a reader that goes away ends it. An error
after the first byte breaks the connection: the client sees a truncated body, never a short result.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import structlog

from deploy.local.clickhouse.codecs import MAX_BODY_BYTES, too_large
from deploy.local.clickhouse.engine import Answer, Engine
from deploy.local.clickhouse.exchange import Head, read_exchange, read_head
from deploy.local.clickhouse.failures import Failure
from deploy.local.clickhouse.users import User

__all__ = ["Endpoint"]

log = structlog.get_logger()

Scope = Mapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_WHOLE_BYTES = 1 << 20  # an answer up to this size is sent at once


@dataclass(frozen=True)
class Whole:
    """An answer that is sent in one piece."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Reader:
    """The client at the other end of a streamed answer, as a worker thread sees it."""

    send: Send
    loop: asyncio.AbstractEventLoop
    gone: bool = field(default=False, init=False)

    def start(self, headers: Mapping[str, str]) -> None:
        self._send(_start(200, headers))

    def write(self, chunk: bytes, *, last: bool = False) -> None:
        """Send, and wait while the client reads slower than we write."""
        self._send({"type": "http.response.body", "body": chunk, "more_body": not last})

    def _send(self, message: Message) -> None:
        asyncio.run_coroutine_threadsafe(_awaiting(self.send(message)), self.loop).result()


class Endpoint:
    """Answers HTTP requests from one engine."""

    def __init__(self, engine: Engine, threads: int = 16) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="clickhouse")

    def close(self) -> None:
        """Wait for running requests."""
        self._threads.shutdown()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _is_ping(scope):
            await _send_whole(send, Whole(200, {"Content-Type": "text/plain"}, b"Ok.\n"))
            return
        try:
            head = read_head(scope)
            user = self._engine.authenticate(head.credentials)
            body = await _read_body(receive)
        except Failure as failure:
            await _send_whole(send, _refusal(failure))
            return
        if body is None:
            return
        loop = asyncio.get_running_loop()
        reader = Reader(send, loop)
        work = loop.run_in_executor(self._threads, self._work, head, user, body, reader)
        gone = asyncio.create_task(_wait_for_disconnect(receive))
        try:
            either: set[asyncio.Future[Any]] = {work, gone}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            reader.gone = not work.done()
            whole = await work
        finally:
            gone.cancel()
        if whole:
            await _send_whole(send, whole)

    def _work(self, head: Head, user: User, body: bytes, reader: Reader) -> Whole | None:
        """Run one request, in a thread. A large answer is sent from here; a small one is returned."""
        try:
            answer = self._engine.run(read_exchange(head, body), user)
        except Exception as error:  # whatever chDB raises has an answer
            return _refusal(Failure.of(error))
        with contextlib.closing(answer.chunks):
            return _deliver(answer, reader)


def _deliver(answer: Answer, reader: Reader) -> Whole | None:
    body = bytearray()
    try:
        for chunk in answer.chunks:
            body += chunk
            if len(body) > _WHOLE_BYTES:
                break
        else:
            return Whole(200, answer.headers, bytes(body))
    except Exception as error:  # nothing is sent yet
        return _refusal(Failure.of(error))
    reader.start(answer.headers)
    reader.write(bytes(body))
    try:
        for chunk in answer.chunks:
            if reader.gone:
                log.info("answer.abandoned")
                return None
            reader.write(chunk)
    except Exception as error:  # too late for a status: uvicorn breaks an unfinished answer off
        log.error("answer.broken", error=Failure.of(error).text)  # noqa: TRY400 - the text is enough
        return None
    reader.write(b"", last=True)
    return None


def _refusal(failure: Failure) -> Whole:
    headers = {"Content-Type": "text/plain; charset=UTF-8", "X-ClickHouse-Exception-Code": str(failure.code)}
    if failure.status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
    return Whole(failure.status, headers, failure.text.encode() + b"\n")


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


async def _send_whole(send: Send, whole: Whole) -> None:
    await send(_start(whole.status, {**whole.headers, "Content-Length": str(len(whole.body))}))
    await send({"type": "http.response.body", "body": whole.body})


async def _read_body(receive: Receive) -> bytes | None:
    """The whole body, or None if the client went away before its end: then nothing is run."""
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
