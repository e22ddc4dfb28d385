"""A part of the messages is the same for the rows that are written and for the rows that are compared."""

import random
from typing import Any
from unittest.mock import create_autospec

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.store import Store
from schemas.decoding.ids import sent_at_us, uuid7
from tests.building import NOW_US
from verification.part import WHOLE, Part, PartStore

DAY_US = 86_400_000_000
PARTS = [
    WHOLE,
    Part(0.25),
    Part(0.001),
    Part(since_us=NOW_US),
    Part(until_us=NOW_US),
    Part(0.5, NOW_US - DAY_US, NOW_US + DAY_US),
]
ids = st.lists(
    st.builds(uuid7, st.integers(NOW_US - 2 * DAY_US, NOW_US + 2 * DAY_US), st.binary(min_size=10, max_size=10)),
    min_size=1,
    max_size=50,
)


def chosen(part: Part, some: list[str]) -> list[str]:
    mask = part.mask(pa.chunked_array([pa.array(some, pa.string())]))
    return [one for one, is_in in zip(some, mask.to_pylist(), strict=True) if is_in]


@pytest.mark.clickhouse
@pytest.mark.parametrize("part", PARTS)
def test_sql_and_arrow_choose_the_same(store: Store, part: Part) -> None:
    digits = random.Random(1)
    many = [uuid7(NOW_US + n * DAY_US // 100, digits.randbytes(10)) for n in range(-200, 200)]
    rows = store.tuples(
        f"SELECT toString(id) FROM (SELECT arrayJoin({{ids:Array(UUID)}}) AS id) WHERE {part.condition('id')}",
        {"ids": many},
    )
    assert sorted(row[0] for row in rows) == sorted(chosen(part, many))
    assert part.is_whole == (len(rows) == len(many))


@given(ids)
def test_a_window_is_of_date_sent(some: list[str]) -> None:
    found = chosen(Part(since_us=NOW_US, until_us=NOW_US + DAY_US), some)
    assert found == [one for one in some if NOW_US // 1000 <= sent_at_us(one) // 1000 < (NOW_US + DAY_US) // 1000]


@given(ids, st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_a_larger_share_has_all_of_a_smaller_one(some: list[str], one: float, other: float) -> None:
    assert set(chosen(Part(min(one, other)), some)) <= set(chosen(Part(max(one, other)), some))


@pytest.mark.parametrize(
    ("table", "rows", "written"),
    [
        ("events", {"message_id": [uuid7(NOW_US, bytes(10)), uuid7(NOW_US - 1000, bytes(10))]}, 1),
        ("events", {"message_id": [uuid7(NOW_US - 1000, bytes(10))]}, 0),
        ("orphans", {"message_id": ["00000000-0000-0000-0000-000000000000"]}, 1),  # it may yet find a message
        ("dispatches", {"message_id": [uuid7(NOW_US - 1000, bytes(10))]}, 1),
        ("commands", {"command_id": ["c"]}, 1),
    ],
)
def test_rows_of_other_messages_are_not_written(table: str, rows: dict[str, list[Any]], written: int) -> None:
    store = create_autospec(Store, instance=True)
    PartStore(store, Part(since_us=NOW_US)).insert(table, pa.table(rows))
    assert sum(call.args[1].num_rows for call in store.insert.call_args_list) == written
