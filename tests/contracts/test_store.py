"""The store's port, as far as the ledger writes through it (`projections.store.ports.Writer`): ClickHouse and the fake.

Reading has one implementation: queries are SQL, and no fake could answer them.
"""

from collections.abc import Iterator
from typing import Protocol

import pyarrow as pa
import pytest

from projections.messages.columns import events_table
from projections.store import Store
from projections.store.ports import RepairStore
from schemas.errors import StoreError, StoreRefused
from tests.building import an_event
from tests.fakes import FakeStore
from tests.stores import fresh_store

ANN, BOB, BAD = "ann@example.com", "bob@example.com", "bad@example.com"


def events(*addresses: str) -> pa.Table:
    each = [
        an_event(address=address, event_id=f"{n:032x}", message_id=f"01920000-0000-7000-8000-{n:012x}")
        for n, address in enumerate(addresses, 1)
    ]
    table: pa.Table = events_table(each)
    return table


class Backend(Protocol):
    """A store, and the addresses of the events in it."""

    store: RepairStore
    away: RepairStore

    def with_a_refused_row(self) -> pa.Table:
        """Events of ANN and BOB, and one that the store always refuses."""

    def stored(self) -> set[str]: ...


class WriterContract:
    def test_what_it_returns_from_is_stored(self, backend: Backend) -> None:
        backend.store.insert("events", events(ANN, BOB))
        assert backend.stored() == {ANN, BOB}

    def test_the_same_rows_may_be_inserted_again(self, backend: Backend) -> None:
        for _ in range(2):
            backend.store.insert("events", events(ANN))
        assert backend.stored() == {ANN}

    def test_a_row_that_it_never_takes_is_refused_and_the_others_can_be_written_without_it(
        self, backend: Backend
    ) -> None:
        for _ in range(2):
            with pytest.raises(StoreRefused):
                backend.store.insert("events", backend.with_a_refused_row())
        backend.store.insert("events", events(ANN, BOB))
        assert backend.stored() == {ANN, BOB}

    def test_a_query_that_finds_nothing_gives_nothing(self, backend: Backend) -> None:
        nothing = "SELECT address FROM events WHERE address = {address:String}"
        assert not backend.store.tuples(nothing, {"address": BAD})

    def test_a_deletion_of_rows_that_are_not_there_changes_nothing(self, backend: Backend) -> None:
        backend.store.insert("events", events(ANN))
        backend.store.delete("events", "address = {address:String}", {"address": BAD})
        assert backend.stored() == {ANN}

    def test_a_store_that_is_away_is_an_error_that_passes(self, backend: Backend) -> None:
        with pytest.raises(StoreError):
            backend.away.delete("events", "address = {address:String}", {"address": ANN})
        with pytest.raises(StoreError):
            backend.away.insert("events", events(ANN))
        with pytest.raises(StoreError):
            backend.away.tuples("SELECT 1")


class FakeBackend:
    def __init__(self) -> None:
        self.store = self._fake = FakeStore(refused=frozenset({BAD}))
        self.away = FakeStore(away=True)

    def with_a_refused_row(self) -> pa.Table:
        return events(ANN, BOB, BAD)

    def stored(self) -> set[str]:
        return set(self._fake.addresses)


class ClickHouseBackend:
    def __init__(self, store: Store) -> None:
        self.store = self._store = store
        self.away = Store("http://127.0.0.1:1", timeout_seconds=1)

    def with_a_refused_row(self) -> pa.Table:
        rows = events(ANN, BOB, BAD)
        ids = [*rows["message_id"].to_pylist()[:-1], "no id"]
        return rows.set_column(rows.schema.get_field_index("message_id"), "message_id", pa.array(ids, pa.string()))

    def stored(self) -> set[str]:
        return {address for (address,) in self._store.tuples("SELECT address FROM events")}


class TestFakeStore(WriterContract):
    @pytest.fixture
    def backend(self) -> FakeBackend:
        return FakeBackend()


@pytest.mark.clickhouse
class TestStore(WriterContract):
    @pytest.fixture
    def backend(self, clickhouse_url: str) -> Iterator[ClickHouseBackend]:
        with fresh_store(clickhouse_url) as store:
            yield ClickHouseBackend(store)
