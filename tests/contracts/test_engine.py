"""The engine's ports: what batches need of their consumer, and what writers and partition processors need of the app.

Both the real ones, without a broker, and the fakes.
"""

from pathlib import Path
from typing import Protocol

import pytest

from processors.engine import MicroBatchApp
from processors.engine.batch import Inflight, Owner
from processors.engine.groups import WriterHost
from processors.engine.partition_processor import ProcessorHost
from processors.engine.transport import BatchConsumer
from tests.engine.building import FakeApp, FakeClock, FakeOwner, a_batch
from tests.engine.offline import an_app


class OwnerContract:
    def test_a_batch_is_acknowledged_once_and_held_until_then(self, owner: Owner, inflight: Inflight) -> None:
        batch = a_batch(0, 2, owner=owner)
        assert not owner.holds(batch)
        inflight.opened(batch)
        assert owner.holds(batch)
        assert owner.acknowledge(batch)
        assert batch.acked
        assert not owner.holds(batch)
        assert not owner.acknowledge(batch)

    def test_what_is_committed_ends_where_the_next_batch_begins(self, owner: Owner, inflight: Inflight) -> None:
        first, second = a_batch(0, 2, owner=owner), a_batch(5, 1, owner=owner)
        for batch in (first, second):
            inflight.opened(batch)
        inflight.reached(first.tp, 9)
        assert (owner.commit_offset(first), owner.commit_offset(second)) == (5, 9)

    def test_an_abandoned_batch_is_held_and_not_waited_for(self, owner: Owner, inflight: Inflight) -> None:
        batch = a_batch(owner=owner)
        inflight.opened(batch)
        inflight.begun(batch)
        assert inflight.worth_waiting()
        owner.abandon(batch)
        assert not inflight.worth_waiting()
        assert owner.holds(batch)


class TestFakeOwner(OwnerContract):
    @pytest.fixture
    def owner(self) -> FakeOwner:
        return FakeOwner()

    @pytest.fixture
    def inflight(self, owner: FakeOwner) -> Inflight:
        return owner.inflight


class TestConsumer(OwnerContract):
    @pytest.fixture
    async def owner(self, tmp_path: Path) -> BatchConsumer:
        consumer: BatchConsumer = an_app(tmp_path).consumer
        return consumer

    @pytest.fixture
    def inflight(self, owner: BatchConsumer) -> Inflight:
        return owner._inflight


class Host(WriterHost, ProcessorHost, Protocol):
    """What writers and partition processors need, and how a test finds out about a crash."""

    @property
    def crashed(self) -> bool: ...
    @property
    def crash_reason(self) -> BaseException | None: ...


class HostContract:
    async def test_its_clock_is_the_one_that_it_was_given(self, host: Host, clock: FakeClock) -> None:
        clock.now = 7.0
        assert host.clock() == 7.0

    async def test_a_crash_has_a_reason_and_is_no_stop(self, host: Host) -> None:
        """What retries goes on until the app stops."""
        assert (host.crashed, host.crash_reason) == (False, None)
        await host.crash(error := ValueError("a bug"))
        assert (host.crashed, host.crash_reason) == (True, error)
        assert not host.stopping.is_set()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


class TestFakeApp(HostContract):
    @pytest.fixture
    async def host(self, clock: FakeClock) -> FakeApp:
        return FakeApp(clock)


class TestApp(HostContract):
    @pytest.fixture
    async def host(self, clock: FakeClock, tmp_path: Path) -> MicroBatchApp:
        return an_app(tmp_path, clock)
