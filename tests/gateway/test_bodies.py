"""Bodies: where they are checked."""

import asyncio
import threading

import anyio
import pytest

from application import deadlines
from application.errors import FieldsInvalid
from gateway.bodies import off_the_loop
from gateway.problems import Problem


@pytest.mark.parametrize(("size", "in_place"), [(1, True), (64 * 1024, True), (64 * 1024 + 1, False)])
async def test_a_large_body_is_checked_in_a_thread(size: int, in_place: bool) -> None:
    ran_in = await off_the_loop(size, threading.get_ident)
    assert (ran_in == threading.get_ident()) == in_place


async def test_what_a_thread_finds_wrong_is_raised() -> None:
    def wrong() -> None:
        raise FieldsInvalid([])

    with pytest.raises(FieldsInvalid):
        await off_the_loop(1 << 20, wrong)


async def test_a_large_body_waits_for_a_thread_no_longer_than_its_request_may_take() -> None:
    hold = threading.Event()
    async with asyncio.TaskGroup() as others:
        for _ in range(2):
            others.create_task(off_the_loop(1 << 20, hold.wait))
        await anyio.wait_all_tasks_blocked()
        try:
            with deadlines.begun(0.01), pytest.raises(Problem) as raised:
                await off_the_loop(1 << 20, threading.get_ident)
        finally:
            hold.set()
    assert (raised.value.kind.code, raised.value.headers) == ("timed-out", {"Retry-After": "5"})
    assert await off_the_loop(1 << 20, threading.get_ident) != threading.get_ident()
