"""Retries, finding the record at fault, limiting the number of failures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import islice
from math import ceil, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.engine import (
    FailedItem,
    FailureLimit,
    PoisonRecordDetector,
    Retry,
    RetryBackoff,
    TransientDependencyError,
)
from processors.engine.errors import EveryRecordFails, RecordError, TooManyFailures
from processors.engine.failures import GivenUp, bisect, describe_error, retrying
from tests.engine.building import FakeClock

AT_ONCE = RetryBackoff(first_seconds=0.0, most_seconds=0.0)


class StoreSaysNo(Exception):
    """An unclassified error of a store."""


class Sink:
    """Accepts items except those in `bad`, and counts the attempts."""

    def __init__(self, bad: set[int], error: Callable[[], Exception] = ValueError) -> None:
        self.bad, self.error = bad, error
        self.taken: set[int] = set()
        self.attempts = 0

    async def __call__(self, items: Sequence[int]) -> None:
        self.attempts += 1
        if self.bad & set(items):
            raise self.error()
        self.taken |= set(items)


class Flaky:
    """Fails with these errors in turn, then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    async def __call__(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "done"


@given(n=st.integers(1, 200), data=st.data())
async def test_bisecting_writes_all_items_except_those_at_fault(n: int, data: st.DataObject) -> None:
    bad = data.draw(st.sets(st.integers(0, n - 1), max_size=5))
    sink = Sink(bad)
    failures = await bisect(range(n), sink)
    assert [failed.item for failed in failures] == sorted(bad)
    assert sink.taken == set(range(n)) - bad


@given(n=st.integers(1, 5000), data=st.data())
async def test_bisecting_takes_few_attempts(n: int, data: st.DataObject) -> None:
    bad = data.draw(st.sets(st.integers(0, n - 1), max_size=5))
    sink = Sink(bad)
    await bisect(range(n), sink)
    assert sink.attempts <= 1 + 2 * len(bad) * ceil(log2(n))


async def test_items_that_fail_only_together_are_all_written() -> None:
    taken: set[int] = set()

    async def at_most_three(items: Sequence[int]) -> None:
        if len(items) > 3:
            raise ValueError
        taken.update(items)

    assert await bisect(range(10), at_most_three) == []
    assert taken == set(range(10))


async def test_bisecting_nothing_attempts_nothing() -> None:
    sink = Sink(set())
    assert await bisect([], sink) == []
    assert sink.attempts == 0


async def test_a_transient_error_blames_no_item() -> None:
    with pytest.raises(TransientDependencyError):
        await bisect(range(8), Sink({3}, TransientDependencyError))


async def test_a_transient_error_is_retried() -> None:
    seen: list[Retry] = []
    outcome = await retrying(
        Flaky(*(TransientDependencyError() for _ in range(20))), backoff=AT_ONCE, on_retry=seen.append
    )
    assert outcome == "done"
    assert [retry.attempts for retry in seen] == list(range(1, 21))


async def test_a_programs_own_errors_can_count_as_transient() -> None:
    assert await retrying(Flaky(OSError()), transient=(OSError,), backoff=AT_ONCE) == "done"


@pytest.mark.parametrize("error", [RecordError(), ValueError()], ids=["a record at fault", "anything else"])
async def test_other_errors_are_raised_at_once(error: Exception) -> None:
    flaky = Flaky(error, error)
    with pytest.raises(type(error)):
        await retrying(flaky, backoff=AT_ONCE)
    assert len(flaky.errors) == 1


async def test_an_unclear_error_gets_three_tries() -> None:
    flaky = Flaky(*(StoreSaysNo() for _ in range(4)))
    with pytest.raises(StoreSaysNo):
        await retrying(flaky, unclear=(StoreSaysNo,), backoff=AT_ONCE)
    assert len(flaky.errors) == 1


async def test_an_unclear_error_that_goes_away_is_forgotten() -> None:
    errors = [StoreSaysNo(), StoreSaysNo(), TransientDependencyError(), StoreSaysNo(), StoreSaysNo()]
    assert await retrying(Flaky(*errors), unclear=(StoreSaysNo,), backoff=AT_ONCE) == "done"


async def test_a_stop_ends_the_wait() -> None:
    stopping = asyncio.Event()
    for_ever = RetryBackoff(first_seconds=3600, most_seconds=3600)
    away = Flaky(*(TransientDependencyError("away") for _ in range(9)))
    with pytest.raises(GivenUp) as given_up:
        await retrying(away, backoff=for_ever, stopping=stopping, on_retry=lambda _: stopping.set())
    assert isinstance(given_up.value.__cause__, TransientDependencyError)


def test_waits_grow_up_to_a_maximum() -> None:
    waits = list(islice(RetryBackoff(1.0, 5.0, 2.0).waits(chance=lambda: 0.0), 5))
    assert waits == [1.0, 2.0, 4.0, 5.0, 5.0]


@given(st.floats(0, 1))
def test_jitter_shortens_a_wait_by_half_at_most(chance: float) -> None:
    wait = next(RetryBackoff(first_seconds=1.0).waits(chance=lambda: chance))
    assert 0.5 <= wait <= 1.0


def ours(count: int) -> list[FailedItem[int]]:
    return [FailedItem(i, KeyError("total")) for i in range(count)]


def test_a_few_failures_of_our_code_are_tolerated() -> None:
    FailureLimit(most=10).count(ours(10))


def test_too_many_of_them_are_a_bad_deploy() -> None:
    limit = FailureLimit(most=10)
    limit.count(ours(10))
    with pytest.raises(TooManyFailures, match="KeyError"):
        limit.count(ours(1))


def test_malformed_input_alone_never_stops_a_worker() -> None:
    FailureLimit(most=10).count([FailedItem(i, RecordError("no event")) for i in range(1000)])


def test_old_failures_do_not_count() -> None:
    clock = FakeClock()
    limit = FailureLimit(most=10, within_seconds=300, clock=clock)
    limit.count(ours(10))
    clock.now = 301
    limit.count(ours(10))


def test_a_limit_remembers_what_was_parked_before_a_restart() -> None:
    clock = FakeClock()
    limit = FailureLimit(most=10, within_seconds=300, clock=clock)
    limit.remember([299, 5, *[250] * 8])
    with pytest.raises(TooManyFailures):
        limit.count(ours(1))
    clock.now = 60
    limit.count(ours(1))


@given(n=st.integers(1, 300), most=st.integers(0, 20), data=st.data())
async def test_bisecting_stops_once_it_has_found_more_than_it_was_asked_for(
    n: int, most: int, data: st.DataObject
) -> None:
    bad = data.draw(st.sets(st.integers(0, n - 1)))
    sink = Sink(bad)
    failures = await bisect(range(n), sink, most=most)
    assert [failed.item for failed in failures] == sorted(bad)[: most + 1]
    assert sink.attempts <= 1 + 2 * (most + 1) * ceil(log2(n) if n > 1 else 1)


class ProvingSink(Sink):
    """A sink that returns what succeeded. Items with the same tens digit are of one kind."""

    async def __call__(self, items: Sequence[int]) -> Sequence[int]:  # type: ignore[override]
        await super().__call__(items)
        return items


def a_detector(clock: FakeClock | None = None, most: int = 100) -> PoisonRecordDetector[int]:
    clock = clock or FakeClock()
    return PoisonRecordDetector(lambda item: item // 10, FailureLimit(most, clock=clock), suspect_seconds=60)


async def test_an_item_is_blamed_if_another_one_in_the_call_succeeds() -> None:
    assert [failed.item for failed in await a_detector().find(range(10), ProvingSink({3, 4}))] == [3, 4]


async def test_an_item_of_another_kind_proves_nothing() -> None:
    with pytest.raises(EveryRecordFails):
        await a_detector().find([1, 2, 11], ProvingSink({1, 2}))


@pytest.mark.parametrize("items", [[3], [3, 4], [3, 3, 3]])
async def test_an_item_is_blamed_if_a_known_good_one_still_succeeds(items: list[int]) -> None:
    detector = a_detector()
    detector.mark_good([1])
    assert [failed.item for failed in await detector.find(items, ProvingSink({3, 4}))] == items


@pytest.mark.parametrize("items", [[3], [3, 4], list(range(2, 10))])
async def test_if_nothing_succeeds_any_more_no_item_is_blamed_however_long_it_lasts(items: list[int]) -> None:
    clock = FakeClock()
    detector = a_detector(clock)
    detector.mark_good([1])
    refuses_all = ProvingSink(set(range(10)))
    for _ in range(3):
        clock.now += 1000
        with pytest.raises(EveryRecordFails, match="one that succeeded before fails now"):
            await detector.find(items, refuses_all)
    assert refuses_all.attempts == 3  # only the known good item was attempted


async def test_without_a_known_good_item_an_item_waits_for_a_while_and_is_blamed_then() -> None:
    clock = FakeClock()
    detector = a_detector(clock)
    for clock.now in (0, 59):
        with pytest.raises(EveryRecordFails, match="none has succeeded yet"):
            await detector.find([3], ProvingSink({3}))
    clock.now = 60
    assert [failed.item for failed in await detector.find([3], ProvingSink({3}))] == [3]
    with pytest.raises(EveryRecordFails):  # the next one waits as long
        await detector.find([3], ProvingSink({3}))


async def test_several_items_without_any_success_wait_however_long_it_lasts() -> None:
    """A refused table, or a release that reads no record: after a restart nothing has succeeded yet."""
    clock = FakeClock()
    detector = a_detector(clock)
    for clock.now in (0, 60, 10_000):
        with pytest.raises(EveryRecordFails, match="none has succeeded yet"):
            await detector.find([3, 4], ProvingSink({3, 4}))
    # Beside a record of another kind they are blamed in the end.
    assert [failed.item for failed in await detector.find([3, 4, 11], ProvingSink({3, 4}))] == [3, 4]


async def test_a_transient_error_of_the_known_good_item_blames_no_item() -> None:
    detector = a_detector()
    detector.mark_good([1])
    with pytest.raises(TransientDependencyError):
        await detector.find([3], ProvingSink({1}, TransientDependencyError))


async def test_malformed_input_needs_no_proof() -> None:
    failures = await a_detector().find([3], ProvingSink({3}, RecordError))
    assert [failed.item for failed in failures] == [3]


async def test_too_many_that_are_at_fault_end_the_worker() -> None:
    detector = a_detector(most=3)
    detector.mark_good([1])
    with pytest.raises(TooManyFailures):
        await detector.find(range(2, 10), ProvingSink(set(range(2, 10))))


def test_the_description_of_an_error_contains_no_part_of_a_record() -> None:
    with pytest.raises(ValueError, match="ann@") as raised:
        int("ann@example.com")
    assert "ann" not in describe_error(raised.value)
    assert "test_failures.py" in describe_error(raised.value)
