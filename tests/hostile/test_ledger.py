"""The ledger: whatever is read becomes rows or letters, the store takes the rows, and every page can be read."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processors.ledger.matching import Matcher
from processors.ledger.reading import read_records
from processors.ledger.writing import tables_of
from projections.bounces import queries as bounces
from projections.messages.filters import EVERY, Filter
from projections.messages.pages import read_page
from projections.store import Store
from projections.suppressions import queries as suppressions
from schemas.topics import LEDGER_INPUTS
from tests.building import NOW_US, FakeRecord
from tests.hostile.examples import examples
from tests.hostile.strategies import raw_records
from tests.stores import a_store, drop

INPUTS = [topic.name for topic in LEDGER_INPUTS]


def rows_of(records: Sequence[FakeRecord]) -> dict[str, Any]:
    sheet = read_records(records, decision_days=30)
    tables, _ = tables_of(sheet)
    for letter in sheet.letters:
        assert letter.bad.detail.encode("utf-8", "replace") is not None
    return tables


@given(records=st.lists(raw_records(INPUTS), min_size=1, max_size=5))
def test_whatever_is_read_becomes_rows_or_letters(records: list[FakeRecord]) -> None:
    rows_of(records)


@pytest.fixture(scope="module")
def store(clickhouse_url: str) -> Any:
    made = a_store(clickhouse_url)
    yield made
    drop(made)


@pytest.mark.clickhouse
@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(records=st.lists(raw_records(INPUTS), min_size=1, max_size=30))
def test_the_store_takes_the_rows_and_every_page_can_be_read(store: Store, records: list[FakeRecord]) -> None:
    sheet = read_records(records, decision_days=30)
    tables, _ = tables_of(sheet)
    for table, rows in tables.items():
        store.insert(table, rows)
    Matcher(store).settle(sheet.provider_ids())
    pages = [
        bounces.bounces_page(bounces.Filter(None), limit=500),
        suppressions.suppressions_page(suppressions.Filter(None), limit=500),
    ]
    read_page(store, Filter(None), limit=500, now_us=NOW_US)
    for page in pages:
        store.rows(page.sql, page.parameters)
    for view in ("message_events", "orphan_events", "suppression_history"):
        store.rows(f"SELECT * FROM {view} LIMIT 1000")
    assert EVERY == "*"
