"""Bodies: in which thread they are checked."""

import asyncio
import threading
from types import ModuleType

import anyio
import pytest

from application import deadlines
from application.errors import FieldsInvalid, ValidationFault
from gateway.api import sends
from gateway.api.suppressions import command_routes
from gateway.bodies import run_off_loop
from gateway.problems import Problem
from tests.fakes import FakeKafka
from tests.gateway.building import a_caller, a_token


@pytest.mark.parametrize(("size", "in_place"), [(1, True), (64 * 1024, True), (64 * 1024 + 1, False)])
async def test_a_large_body_is_checked_in_a_thread(size: int, in_place: bool) -> None:
    ran_in = await run_off_loop(size, threading.get_ident)
    assert (ran_in == threading.get_ident()) == in_place


async def test_what_a_thread_finds_wrong_is_raised() -> None:
    def wrong() -> None:
        raise FieldsInvalid([])

    with pytest.raises(FieldsInvalid):
        await run_off_loop(1 << 20, wrong)


async def test_a_large_body_waits_for_a_thread_until_its_deadline() -> None:
    hold = threading.Event()
    async with asyncio.TaskGroup() as others:
        for _ in range(2):
            others.create_task(run_off_loop(1 << 20, hold.wait))
        await anyio.wait_all_tasks_blocked()
        try:
            with deadlines.limit(0.01), pytest.raises(Problem) as raised:
                await run_off_loop(1 << 20, threading.get_ident)
        finally:
            hold.set()
    assert (raised.value.kind.code, raised.value.headers) == ("timed-out", {"Retry-After": "5"})
    assert await run_off_loop(1 << 20, threading.get_ident) != threading.get_ident()


@pytest.mark.parametrize(
    ("path", "module", "reads"),
    [("/v1/sends", sends, "parse_sends"), ("/v1/suppressions/import", command_routes, "parse_import")],
)
async def test_a_route_reads_a_large_body_off_the_loop(
    path: str, module: ModuleType, reads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """10,000 lines once blocked the event loop, and so all requests, for 0.4 s."""
    read_in: list[int] = []

    def reading(*_: object, **__: object) -> None:
        read_in.append(threading.get_ident())
        raise FieldsInvalid([ValidationFault("body", "must be read")])

    monkeypatch.setattr(module, reads, reading)
    async with a_caller(FakeKafka(), a_token(role="operator")) as client:
        answer = await client.post(path, content=b" " * (64 * 1024) + b"[1]")
    assert answer.status_code == 422
    [thread] = read_in
    assert thread != threading.get_ident()
