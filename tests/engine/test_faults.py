"""Waiting for the world, finding the record at fault, telling a few from too many."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import islice
from math import ceil, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.engine import (
    Backoff,
    Blame,
    EveryRecordFails,
    Fault,
    FaultLimit,
    GivenUp,
    RecordFault,
    Retry,
    TooManyFaults,
    WorldFault,
    bisect,
    described,
    retrying,
)

AT_ONCE = Backoff(first_seconds=0.0, most_seconds=0.0)


class StoreSaysNo(Exception):
    """An error of a store that is on no list."""


class Sink:
    """Takes items, but none of `bad`, and notes what it was asked."""

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
async def test_bisecting_writes_all_but_the_items_at_fault(n: int, data: st.DataObject) -> None:
    bad = data.draw(st.sets(st.integers(0, n - 1), max_size=5))
    sink = Sink(bad)
    faults = await bisect(range(n), sink)
    assert [fault.item for fault in faults] == sorted(bad)
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


async def test_the_worlds_fault_blames_no_item() -> None:
    with pytest.raises(WorldFault):
        await bisect(range(8), Sink({3}, WorldFault))


async def test_a_fault_of_the_world_is_waited_out() -> None:
    seen: list[Retry] = []
    outcome = await retrying(Flaky(*(WorldFault() for _ in range(20))), backoff=AT_ONCE, on_retry=seen.append)
    assert outcome == "done"
    assert [retry.attempts for retry in seen] == list(range(1, 21))


async def test_a_programs_own_errors_can_count_as_the_worlds() -> None:
    assert await retrying(Flaky(OSError()), world=(OSError,), backoff=AT_ONCE) == "done"


@pytest.mark.parametrize("error", [RecordFault(), ValueError()], ids=["a record at fault", "anything else"])
async def test_what_no_wait_mends_is_raised_at_once(error: Exception) -> None:
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
    errors = [StoreSaysNo(), StoreSaysNo(), WorldFault(), StoreSaysNo(), StoreSaysNo()]
    assert await retrying(Flaky(*errors), unclear=(StoreSaysNo,), backoff=AT_ONCE) == "done"


async def test_a_stop_ends_the_wait() -> None:
    stopping = asyncio.Event()
    for_ever = Backoff(first_seconds=3600, most_seconds=3600)
    away = Flaky(*(WorldFault("away") for _ in range(9)))
    with pytest.raises(GivenUp) as given_up:
        await retrying(away, backoff=for_ever, stopping=stopping, on_retry=lambda _: stopping.set())
    assert isinstance(given_up.value.__cause__, WorldFault)


def test_waits_grow_to_a_bound() -> None:
    waits = list(islice(Backoff(1.0, 5.0, 2.0).waits(chance=lambda: 0.0), 5))
    assert waits == [1.0, 2.0, 4.0, 5.0, 5.0]


@given(st.floats(0, 1))
def test_chance_cuts_a_wait_by_half_at_most(chance: float) -> None:
    wait = next(Backoff(first_seconds=1.0).waits(chance=lambda: chance))
    assert 0.5 <= wait <= 1.0


class HandWound:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def ours(count: int) -> list[Fault[int]]:
    return [Fault(i, KeyError("total")) for i in range(count)]


def test_a_few_records_that_our_code_fails_on_are_let_pass() -> None:
    FaultLimit(most=10).count(ours(10))


def test_too_many_of_them_are_a_bad_deploy() -> None:
    limit = FaultLimit(most=10)
    limit.count(ours(10))
    with pytest.raises(TooManyFaults, match="KeyError"):
        limit.count(ours(1))


def test_malformed_input_alone_never_stops_a_worker() -> None:
    FaultLimit(most=10).count([Fault(i, RecordFault("no event")) for i in range(1000)])


def test_faults_long_ago_do_not_count() -> None:
    clock = HandWound()
    limit = FaultLimit(most=10, within_seconds=300, clock=clock)
    limit.count(ours(10))
    clock.now = 301
    limit.count(ours(10))


def test_a_limit_remembers_what_was_parked_before_a_restart() -> None:
    clock = HandWound()
    limit = FaultLimit(most=10, within_seconds=300, clock=clock)
    limit.remember([299, 5, *[250] * 8])
    with pytest.raises(TooManyFaults):
        limit.count(ours(1))
    clock.now = 60
    limit.count(ours(1))


@given(n=st.integers(1, 300), most=st.integers(0, 20), data=st.data())
async def test_bisecting_stops_once_it_has_found_more_than_it_was_asked_for(
    n: int, most: int, data: st.DataObject
) -> None:
    bad = data.draw(st.sets(st.integers(0, n - 1)))
    sink = Sink(bad)
    faults = await bisect(range(n), sink, most=most)
    assert [fault.item for fault in faults] == sorted(bad)[: most + 1]
    assert sink.attempts <= 1 + 2 * (most + 1) * ceil(log2(n) if n > 1 else 1)


class Proof(Sink):
    """A sink that says what went through. Items of tens are of one kind."""

    async def __call__(self, items: Sequence[int]) -> Sequence[int]:  # type: ignore[override]
        await super().__call__(items)
        return items


def a_blame(clock: HandWound | None = None, most: int = 100) -> Blame[int]:
    clock = clock or HandWound()
    return Blame(lambda item: item // 10, FaultLimit(most, clock=clock), hold_seconds=60, clock=clock)


async def test_an_item_is_blamed_where_one_beside_it_goes_through() -> None:
    assert [fault.item for fault in await a_blame().find(range(10), Proof({3, 4}))] == [3, 4]


async def test_an_item_of_another_kind_proves_nothing() -> None:
    with pytest.raises(EveryRecordFails):
        await a_blame().find([1, 2, 11], Proof({1, 2}))


@pytest.mark.parametrize("items", [[3], [3, 4], [3, 3, 3]])
async def test_an_item_is_blamed_where_one_that_went_through_before_still_does(items: list[int]) -> None:
    blame = a_blame()
    blame.went_through([1])
    assert [fault.item for fault in await blame.find(items, Proof({3, 4}))] == items


@pytest.mark.parametrize("items", [[3], [3, 4], list(range(2, 10))])
async def test_where_nothing_goes_through_any_more_none_is_blamed_however_long(items: list[int]) -> None:
    clock = HandWound()
    blame = a_blame(clock)
    blame.went_through([1])
    refuses_all = Proof(set(range(10)))
    for _ in range(3):
        clock.now += 1000
        with pytest.raises(EveryRecordFails, match="one that went through before fails now"):
            await blame.find(items, refuses_all)
    assert refuses_all.attempts == 3  # the proof alone: no item need be looked at


async def test_without_any_proof_an_item_waits_for_a_while_and_is_blamed_then() -> None:
    clock = HandWound()
    blame = a_blame(clock)
    for clock.now in (0, 59):
        with pytest.raises(EveryRecordFails, match="none has gone through yet"):
            await blame.find([3], Proof({3}))
    clock.now = 60
    assert [fault.item for fault in await blame.find([3], Proof({3}))] == [3]
    with pytest.raises(EveryRecordFails):  # the next one waits as long
        await blame.find([3], Proof({3}))


async def test_several_beside_which_nothing_goes_through_wait_however_long() -> None:
    """A refused table, or a release that reads none: after a restart nothing has gone through yet."""
    clock = HandWound()
    blame = a_blame(clock)
    for clock.now in (0, 60, 10_000):
        with pytest.raises(EveryRecordFails, match="none has gone through yet"):
            await blame.find([3, 4], Proof({3, 4}))
    # Beside a record of another kind they are blamed in the end.
    assert [fault.item for fault in await blame.find([3, 4, 11], Proof({3, 4}))] == [3, 4]


async def test_a_proof_that_meets_a_fault_of_the_world_blames_nobody() -> None:
    blame = a_blame()
    blame.went_through([1])
    with pytest.raises(WorldFault):
        await blame.find([3], Proof({1}, WorldFault))


async def test_malformed_input_needs_no_proof() -> None:
    faults = await a_blame().find([3], Proof({3}, RecordFault))
    assert [fault.item for fault in faults] == [3]


async def test_too_many_that_are_at_fault_end_the_worker() -> None:
    blame = a_blame(most=3)
    blame.went_through([1])
    with pytest.raises(TooManyFaults):
        await blame.find(range(2, 10), Proof(set(range(2, 10))))


def test_an_error_is_described_without_what_it_may_hold_of_a_record() -> None:
    with pytest.raises(ValueError, match="ann@") as raised:
        int("ann@example.com")
    assert "ann" not in described(raised.value)
    assert "test_faults.py" in described(raised.value)
