"""Bodies: where they are checked, and how much is said of a bad one."""

import asyncio
import threading
from typing import Any

import anyio
import pytest

from application import deadlines
from application.checking import checked
from application.errors import MAX_FAULTS, FieldsInvalid
from application.fields import MAX_CC, size_faults
from gateway.bodies import off_the_loop
from gateway.problems import Problem
from schemas.gate_facts import decode_policy
from schemas.policies import AccountPolicy
from schemas.records import MAX_REQUEST_BYTES
from schemas.topics import ACCOUNTS_POLICIES
from tests.gateway.building import NOW_US


@pytest.mark.parametrize(("size", "in_place"), [(1, True), (64 * 1024, True), (64 * 1024 + 1, False)])
async def test_a_large_body_is_checked_in_a_thread(size: int, in_place: bool) -> None:
    ran_in = await off_the_loop(size, threading.get_ident)
    assert (ran_in == threading.get_ident()) == in_place


async def test_what_a_thread_finds_wrong_is_raised() -> None:
    def wrong() -> None:
        raise FieldsInvalid([])

    with pytest.raises(FieldsInvalid):
        await off_the_loop(1 << 20, wrong)


def faults(raw: dict[str, Any]) -> list[str]:
    with pytest.raises(FieldsInvalid) as raised:
        checked(AccountPolicy, raw, ACCOUNTS_POLICIES, decode_policy, now_us=NOW_US)
    return [fault.field for fault in raised.value.faults]


def test_unknown_fields_stand_beside_what_the_model_refuses() -> None:
    assert faults({"account_id": "a b", "colour": "red", "updated_at": 1}) == ["colour", "account_id", "updated_at"]


def test_no_more_than_the_first_elements_are_looked_at() -> None:
    assert faults({"disabled_templates": [None] * 1000}) == [f"disabled_templates.{n}" for n in range(MAX_FAULTS)]


@pytest.mark.parametrize("extra", [0, 1])
def test_the_size_of_an_object_is_that_of_its_json(extra: int) -> None:
    raw = {"a": "x" * 100, "b": "y" * (MAX_REQUEST_BYTES - 100 - len('{"a":"","b":""}') + extra)}
    assert [fault.field for fault in size_faults(raw, MAX_REQUEST_BYTES)] == ["b"] * extra


def test_the_contract_s_numbers() -> None:
    assert (MAX_CC, MAX_FAULTS, MAX_REQUEST_BYTES) == (50, 100, 256 * 1024)


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
