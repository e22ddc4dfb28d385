"""A slow ClickHouse delays only reads: sends and webhooks continue, and one token's reads don't block another's."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts
from starlette._utils import is_async_callable

from application import deadlines
from application.principals import Principal
from gateway.app import create_app
from gateway.problems import Problem
from gateway.read_pool import ReadPool
from processors.engine import Output
from projections.store import Store
from schemas.errors import BrokerError, StoreError
from schemas.telemetry import Telemetry
from tests.fakes import FakeKafka
from tests.gateway.building import a_send, a_token
from tests.gateway.test_webhooks import post, settings

ACME = a_token("acme", role="viewer", subject="acme's")
GLOBEX = a_token("globex", role="viewer", subject="globex's")
ANN, BEN = (Principal(name, "viewer", frozenset({"acme"})) for name in ("ann", "ben"))


class Hanging(Store):
    """A store in which the queries of one account hang until they are released."""

    def __init__(self, account: str) -> None:
        super().__init__("http://127.0.0.1:1")
        self._account = account
        self.let_go, self.four_hang = threading.Event(), threading.Event()
        self.hang = 0
        self.most = 0

    def rows(self, sql: str, parameters: Any = None) -> list[dict[str, Any]]:
        self._hang(parameters)
        return []

    def tuples(self, sql: str, parameters: Any = None) -> list[list[Any]]:
        self._hang(parameters)
        return [[0]]

    def _hang(self, parameters: object) -> None:
        if self._account in str(parameters):
            self.hang += 1
            self.most = max(self.most, self.hang)
            if self.hang == 4:
                self.four_hang.set()
            self.let_go.wait()
            self.hang -= 1


@pytest.fixture
def store() -> Iterator[Hanging]:
    store = Hanging("acme")
    yield store
    store.let_go.set()


@asynccontextmanager
async def a_client(store: Store, kafka: FakeKafka, **said: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings(**said), store, kafka, Telemetry())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://inside") as made:
        yield made


@asynccontextmanager
async def a_silent_server() -> AsyncIterator[str]:
    """The address of a server that accepts, reads, and never answers."""
    connected: set[asyncio.StreamWriter] = set()

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.add(writer)
        while await reader.read(65536):
            pass
        writer.close()

    server = await asyncio.start_server(keep, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.close()
        for writer in connected:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in connected), return_exceptions=True)


async def test_a_hanging_clickhouse_does_not_block_sends_webhooks_or_health() -> None:
    kafka = FakeKafka()
    async with a_silent_server() as url:
        store = Store(url, timeout_seconds=1)
        async with a_client(store, kafka, request_seconds=60) as client:
            lists = [asyncio.create_task(client.get("/v1/messages", headers=ACME)) for _ in range(100)]
            await asyncio.sleep(0)
            assert (await client.post("/v1/sends", json=a_send(), headers=a_token())).status_code == 202
            assert (await post(client, b"[]")).status_code == 204
            assert (await client.get("/healthz")).status_code == 200
            assert (await client.get("/v1/messages?limit=0", headers=GLOBEX)).status_code == 400
            assert not any(one.done() for one in lists)
            for one in lists:
                one.cancel()
            await asyncio.wait(lists)


async def test_reads_of_a_store_that_never_answers_end_at_the_requests_deadline() -> None:
    async with a_silent_server() as url, a_client(Store(url, timeout_seconds=1), FakeKafka(), request_seconds=0.2) as c:
        answers = await asyncio.gather(*(c.get("/v1/messages", headers=ACME) for _ in range(20)))
        other = await c.get("/v1/messages", headers=GLOBEX)
    assert {answer.json()["code"] for answer in answers} == {"clickhouse-away", "too-many-reads"}
    assert (other.status_code, other.json()["code"]) == (503, "clickhouse-away")
    assert all(answer.headers["Retry-After"] for answer in [*answers, other])


async def test_another_tokens_list_gets_its_rows_while_one_tokens_queries_hang(store: Hanging) -> None:
    async with a_client(store, FakeKafka(), request_seconds=60, reads_at_once=5, reads_per_token=4) as client:
        lists = [asyncio.create_task(client.get("/v1/messages", headers=ACME)) for _ in range(100)]
        assert await asyncio.to_thread(store.four_hang.wait, 60)
        answer = await client.get("/v1/messages", headers=GLOBEX)
        assert (answer.status_code, answer.json()) == (200, {"items": [], "next": None})
        store.let_go.set()
        assert {answer.status_code for answer in await asyncio.gather(*lists)} == {200}
    assert store.most == 4


async def test_a_command_does_not_wait_for_reads(store: Hanging) -> None:
    kafka = FakeKafka()
    async with a_client(store, kafka, request_seconds=0.3) as client:
        body = {"channel": "email", "address": "ann@example.com", "reason": "asked"}
        support = a_token("acme", role="support", subject="acme's")
        answer = await client.post("/v1/suppressions", json=body, headers=support)
    assert (answer.status_code, answer.json()["was_suppressed"]) == (202, None)
    assert len(kafka.sent) == 1


async def test_a_thread_that_hangs_counts_as_taken_until_it_ends() -> None:
    reads, let_go = ReadPool(at_once=2, per_token=1), threading.Event()
    with deadlines.limit(0.05), pytest.raises(StoreError):
        await reads.run(ANN, let_go.wait)
    with deadlines.limit(0.05), pytest.raises(Problem) as caught:
        await reads.run(ANN, lambda: "row")
    assert (caught.value.kind.code, caught.value.headers) == ("too-many-reads", {"Retry-After": "5"})
    assert await reads.run(BEN, lambda: "row") == "row"
    let_go.set()
    assert await reads.run(ANN, lambda: "row") == "row"
    reads.close()


async def test_when_all_threads_are_busy_further_reads_are_refused_as_overloaded() -> None:
    reads, let_go = ReadPool(at_once=1, per_token=1), threading.Event()
    held = asyncio.create_task(reads.run(ANN, let_go.wait))
    await asyncio.sleep(0)
    with deadlines.limit(0.05), pytest.raises(Problem) as caught:
        await reads.run(BEN, lambda: "row")
    assert (caught.value.kind.code, caught.value.status) == ("overloaded", 503)
    let_go.set()
    assert await held is True
    assert await reads.run(BEN, lambda: "row") == "row"
    reads.close()


async def test_a_finished_read_leaves_no_state() -> None:
    reads = ReadPool(at_once=2, per_token=1)
    assert await asyncio.gather(*(reads.run(ANN, lambda: 1) for _ in range(5))) == [1] * 5
    assert not reads._shares
    reads.close()


async def test_an_exception_of_a_read_is_raised() -> None:
    reads = ReadPool(at_once=1, per_token=1)

    def fails() -> None:
        raise TimeoutError("of its own")

    for _ in range(3):
        with pytest.raises(TimeoutError, match="of its own"):
            await reads.run(ANN, fails)
    reads.close()


async def test_a_stream_reads_one_item_ahead_and_no_more() -> None:
    reads, begun, read_ahead = ReadPool(at_once=1, per_token=1), list[int](), threading.Event()

    def items() -> Iterator[str]:
        for number in range(4):
            begun.append(number)
            if number == 1:
                read_ahead.set()
            yield f"item {number}"

    stream = reads.stream(ANN, items())
    assert await anext(stream) == "item 0"
    assert await asyncio.to_thread(read_ahead.wait, 5)
    assert await reads.run(ANN, lambda: "row") == "row"  # a slow consumer holds no thread
    assert begun == [0, 1]
    assert [item async for item in stream] == ["item 1", "item 2", "item 3"]
    reads.close()


async def test_an_error_in_an_item_read_ahead_is_raised_behind_the_items_before_it() -> None:
    reads = ReadPool(at_once=1, per_token=1)

    def items() -> Iterator[str]:
        yield "item 0"
        raise TimeoutError("of its own")

    stream = reads.stream(ANN, items())
    assert await anext(stream) == "item 0"
    with pytest.raises(TimeoutError, match="of its own"):
        await anext(stream)
    reads.close()


async def test_a_stream_that_is_left_gives_its_thread_back() -> None:
    reads = ReadPool(at_once=1, per_token=1)
    stream = reads.stream(ANN, iter(["item 0", "item 1", "item 2"]))
    assert await anext(stream) == "item 0"
    await stream.aclose()
    assert await reads.run(BEN, lambda: "row") == "row"
    reads.close()


def test_no_route_has_a_dependency_that_waits_for_a_thread() -> None:
    app = create_app(settings(), Store("http://127.0.0.1:1"), FakeKafka(), Telemetry())
    seen = 0
    for route in iter_route_contexts(app.routes):
        seen += 1
        assert is_async_callable(route.endpoint), route.path
        for call in calls(getattr(route, "dependant", None)):
            assert is_async_callable(call), (route.path, call)
    assert seen > 20


def calls(dependant: Dependant | None) -> Iterator[Callable[..., Any]]:
    """The dependency and all its dependencies."""
    if dependant is None:
        return
    if dependant.call is not None:
        yield dependant.call
    for part in dependant.dependencies:
        yield from calls(part)


def test_a_request_has_one_deadline_for_all_that_it_waits_for() -> None:
    assert (deadlines.remaining(), deadlines.within(8)) == (None, 8)
    with deadlines.limit(5):
        assert deadlines.within(3) == 3
        assert deadlines.within(8) <= 5
        with deadlines.limit(0):
            assert deadlines.within(8) == 0
            deadlines.restart()
    assert deadlines.remaining() is None


class Silent(FakeKafka):
    """A Kafka that never acknowledges; it records how long callers wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[float] = []

    async def send_all(self, outputs: Sequence[Output], *, within_seconds: float | None = None) -> None:
        assert within_seconds is not None
        self.waited.append(within_seconds)
        await asyncio.sleep(within_seconds)
        raise BrokerError("Kafka does not acknowledge", outputs[0].topic, "make it")


async def test_with_both_services_away_the_waits_add_up_to_one_deadline(store: Hanging) -> None:
    kafka = Silent()
    support = a_token("acme", role="support", subject="acme's")
    body = {"channel": "email", "address": "ann@example.com", "reason": "asked"}
    async with a_client(store, kafka, request_seconds=0.6) as client:
        command = await client.post("/v1/suppressions", json=body, headers=support)
        waited = await client.post("/v1/sends?wait=1", json=a_send(), headers=a_token())
        webhook = await post(client, b"[]")
    for answer in (command, waited, webhook):
        assert (answer.status_code, answer.json()["code"]) == (503, "kafka-away")
        assert answer.headers["Retry-After"]
    of_command, of_waiting, of_webhook = kafka.waited
    assert 0 < of_command <= 0.3  # the half that the store has left
    assert 0 < of_waiting <= 0.3  # the half that the reader of decisions has left
    assert 0 < of_webhook <= 0.6


async def test_the_time_of_an_upload_does_not_count_against_the_deadline() -> None:
    kafka = Silent()
    sent = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"["
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.4):
                await sent.wait()
        yield orjson.dumps(a_send()) + b"]"

    async with a_client(Store("http://127.0.0.1:1"), kafka, request_seconds=0.4) as client:
        await client.post("/v1/sends", content=slowly(), headers=a_token())
    assert kafka.waited[0] > 0
