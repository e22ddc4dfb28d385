"""When the callback after large records is called."""

import asyncio

import pytest

from processors.engine import large
from processors.engine.large import LARGE_BYTES, AfterLarge
from tests.engine.building import a_batch

ORDINARY = a_batch(0, 100, value=b"x" * LARGE_BYTES)
LARGE = a_batch(0, 2, value=b"x" * (LARGE_BYTES + 1))


class Counter:
    """Counts its calls, with an event for each."""

    def __init__(self) -> None:
        self.calls = 0
        self.called = asyncio.Event()

    def __call__(self) -> None:
        self.calls += 1
        self.called.set()


async def test_after_large_records_the_callback_is_called_once_and_again_after_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(large, "SECONDS", 0.01)
    counter = Counter()
    after = AfterLarge(counter)
    for calls in (1, 2):
        after.done(LARGE)
        after.done(LARGE)
        assert counter.calls == calls - 1  # not while the batch is still referenced
        async with asyncio.timeout(60):
            await counter.called.wait()
        counter.called.clear()
        assert counter.calls == calls


async def test_ordinary_records_cause_no_call() -> None:
    after = AfterLarge(Counter())
    after.done(ORDINARY)
    assert after._timer is None
