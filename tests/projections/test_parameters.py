"""List parameters: each part fits into one form field, whatever texts it contains."""

import pytest
from clickhouse_connect.driver.binding import format_bind_value
from hypothesis import given
from hypothesis import strategies as st

from projections.store import Store
from projections.store.parameters import VALUE_BYTES, chunks, with_lists_split

TEXTS = st.lists(st.text(st.sampled_from("ab'\\`\"\n\t\0\u00df\U0001f600"), max_size=40), max_size=60)


@given(TEXTS, st.integers(60, 400))
def test_each_chunk_fits_as_the_driver_writes_it(texts: list[str], most: int) -> None:
    cut = list(chunks(texts, most))
    assert all(len(format_bind_value(chunk).encode()) <= most for chunk in cut)
    assert all(cut), "an empty chunk would be a useless query"
    left_out = [t for t in texts if t not in [text for chunk in cut for text in chunk]]
    assert [text for chunk in cut for text in chunk] == [t for t in texts if t not in left_out]
    assert all(len(format_bind_value([text]).encode()) > most // 2 for text in left_out)


def test_five_thousand_ids_do_not_fit_into_one_field() -> None:
    ids = [f"{n:040}" for n in range(5_000)]
    cut = list(chunks(ids))
    assert len(cut) > 1
    assert [one for chunk in cut for one in chunk] == ids


def test_a_list_that_fits_is_not_split() -> None:
    sql, bound = "SELECT 1 IN {ids:Array(String)} AND {x:UInt8}", {"ids": ["a"], "x": 1}
    assert with_lists_split(sql, bound) == (sql, bound)


def test_a_list_that_does_not_fit_is_split() -> None:
    ids = ["x" * 1_000] * 200
    sql, bound = with_lists_split("a IN {ids:Array(String)} OR has({ids:Array(String)}, b)", {"ids": ids})
    whole = "arrayConcat({ids_0:Array(String)}, {ids_1:Array(String)})"
    assert sql == f"a IN {whole} OR has({whole}, b)"
    assert [*bound["ids_0"], *bound["ids_1"]] == ids


@pytest.mark.clickhouse
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count() FROM numbers(10) WHERE toString(number) IN {ids:Array(String)}",
        "SELECT count() FROM numbers(10) WHERE has({ids:Array(String)}, toString(number))",
        "SELECT count() FROM numbers(10) WHERE hasAny([toString(number)], {ids:Array(String)})",
        "SELECT count() FROM numbers(10) WHERE number IN (SELECT toUInt64(arrayJoin({ids:Array(String)})))",
    ],
)
def test_the_server_accepts_a_list_of_any_length(clickhouse_url: str, sql: str) -> None:
    store = Store(clickhouse_url, database="default")
    ids = [str(n) for n in range(5, 50_000)]
    assert sum(map(len, ids)) > VALUE_BYTES
    assert store.tuples(sql, {"ids": ids})[0][0] == 5
    store.close()
