"""Readings that callers share, within a few seconds and by key."""

import asyncio
import time
from typing import Final

import pytest

from application.principals import Principal
from gateway.sharing import Shared, SharedByKey

ANN: Final = Principal("ann", "viewer", frozenset({"*"}))


async def test_callers_at_the_same_time_share_one_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Principal] = []
    go_on = asyncio.Event()

    async def reading(by: Principal) -> int:
        calls.append(by)
        await go_on.wait()
        return len(calls)

    shared = Shared(reading)
    both = [asyncio.create_task(shared.get(ANN)) for _ in range(2)]
    await asyncio.sleep(0)
    go_on.set()
    assert await asyncio.gather(*both) == [1, 1]
    assert await shared.get(ANN) == 1
    later = time.monotonic() + 60
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert await shared.get(ANN) == 2


async def test_readings_are_shared_by_key() -> None:
    calls: list[tuple[str, ...] | None] = []

    async def reading(_: Principal, accounts: tuple[str, ...] | None) -> int:
        calls.append(accounts)
        return len(calls)

    shared = SharedByKey(reading)
    assert [await shared.get(ANN, key) for key in (None, ("a",), None, ("a", "b"), ("a",))] == [1, 2, 1, 3, 2]
    for number in range(100):
        await shared.get(ANN, (str(number),))
    await shared.get(ANN, None)
    assert calls.count(None) == 2  # forgotten meanwhile: what is kept is bounded
