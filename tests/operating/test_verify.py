"""`sendledger verify` during traffic: rows that are being written are no difference, and wrong values still are."""

import re
import time
from typing import Any

import pytest

from projections.messages.recomputation import COLUMNS
from projections.store import Store
from verification.columns_alone import compare_columns_alone
from verification.difference import Difference
from verification.recomputation import compare_with_recomputation
from verification.run import confirmed_differences

HOUR_US = 3_600_000_000


def difference(name: str, found: Any = 1) -> Difference:
    return Difference("recomputation", "demo/1", name, 0, found)


def test_only_what_both_looks_find_is_reported_as_the_second_one_saw_it() -> None:
    first = [difference("opens"), difference("clicks", 3)]
    second = [difference("clicks", 4), difference("status")]
    assert confirmed_differences(first, second) == [difference("clicks", 4)]


class TestColumnsAlone:
    def test_rows_that_change_between_the_questions_are_no_difference(self) -> None:
        assert list(compare_columns_alone(_Messages(moving=3))) == []

    def test_a_column_that_is_wrong_when_it_is_read_alone_is_one(self) -> None:
        found = list(compare_columns_alone(_Messages(wrong_alone="subject")))
        assert [(d.of, d.name) for d in found] == [("columns alone", "subject")]

    def test_it_is_one_also_beside_rows_that_change(self) -> None:
        found = list(compare_columns_alone(_Messages(moving=3, wrong_alone="subject")))
        assert [d.name for d in found] == ["subject"]


class _Messages(Store):
    """A store with eight rows, `moving` of which change between any two queries."""

    def __init__(self, *, moving: int = 0, wrong_alone: str = "") -> None:
        super().__init__("http://127.0.0.1:1")
        self._moving, self._wrong_alone, self._asked = moving, wrong_alone, 0

    def tuples(self, sql: str, parameters: object = None) -> list[tuple[int, ...]]:
        self._asked += 1
        columns = re.findall(r"toString\((\w+)\)", sql)
        rows = {row: tuple(self._value(row, column, columns) for column in columns) for row in range(8)}
        if "GROUP BY" in sql:
            return [(row, *values) for row, values in rows.items()]
        return [tuple(map(sum, zip(*rows.values(), strict=True)))]

    def _value(self, row: int, column: str, columns: list[str]) -> int:
        alone = columns == [self._wrong_alone]
        return COLUMNS.index(column) + 1000 * row + (10**6 if alone else 0) + self._asked * (row < self._moving)


@pytest.mark.clickhouse
class TestRecomputation:
    def test_a_message_with_an_event_since_is_left_out_and_one_without_is_not(self, store: Store) -> None:
        now_us = time.time_ns() // 1000
        for event_id, received_us in (("old", now_us - HOUR_US), ("new", now_us)):
            self._event_without_its_row(store, event_id, received_us)
        every = {(d.id, d.name) for d in compare_with_recomputation(store)}
        assert {name for _, name in every} == {"account_id"}, "neither event has its row"
        assert len(every) == 2
        before = [d.id for d in compare_with_recomputation(store, as_of_us=now_us)]
        assert before == [f"demo/{_id_of('old')}"]
        assert list(compare_with_recomputation(store, as_of_us=now_us - HOUR_US)) == []

    def _event_without_its_row(self, store: Store, event_id: str, received_us: int) -> None:
        store.command(
            "INSERT INTO events (account_id, message_id, event_id, type, occurred_at, received_at) SELECT 'demo',"
            f" '{_id_of(event_id)}', '{event_id}', 'delivered', fromUnixTimestamp64Micro({received_us}),"
            f" fromUnixTimestamp64Micro({received_us})",
            database=store.tables,
        )


def _id_of(event_id: str) -> str:
    return {"old": "01932c1b-631b-730d-aec5-7edcf163a9d1", "new": "01932c1b-631b-730d-aec5-7edcf163a9d2"}[event_id]
