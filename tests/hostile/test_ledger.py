"""The ledger: any record becomes rows or dead letters, the store takes the rows, and every page can be read."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processors.ledger.decode import read_records
from processors.ledger.match import Matcher
from processors.ledger.write import tables_of
from projections.bounces import queries as bounces
from projections.messages.filters import Filter
from projections.messages.pages import read_page
from projections.store import Store
from projections.suppressions import queries as suppressions
from schemas.headers import REASONS
from schemas.telemetry import Telemetry
from schemas.topics import LEDGER_INPUTS
from tests.building import NOW_US, FakeRecord
from tests.hostile.examples import examples
from tests.hostile.strategies import raw_records

INPUTS = [topic.name for topic in LEDGER_INPUTS]


def rows_of(records: Sequence[FakeRecord]) -> dict[str, Any]:
    decoded = read_records(records, decision_days=30)
    tables, _ = tables_of(decoded)
    for letter in decoded.letters:
        assert letter.rejection.reason in REASONS
    return tables


@given(records=st.lists(raw_records(INPUTS), min_size=1, max_size=5))
def test_any_record_becomes_rows_or_dead_letters(records: list[FakeRecord]) -> None:
    rows_of(records)


@pytest.mark.clickhouse
@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(records=st.lists(raw_records(INPUTS), min_size=1, max_size=30))
def test_the_store_takes_the_rows_and_every_page_can_be_read(store: Store, records: list[FakeRecord]) -> None:
    decoded = read_records(records, decision_days=30)
    tables, _ = tables_of(decoded)
    for table, rows in tables.items():
        store.insert(table, rows)
    Matcher(store, Telemetry()).match_orphans(decoded.provider_ids())
    pages = [
        bounces.bounces_page(bounces.Filter(None), limit=500),
        suppressions.suppressions_page(suppressions.SuppressionFilter(None), limit=500),
    ]
    read_page(store, Filter(None), limit=500, now_us=NOW_US)
    for page in pages:
        store.rows(page.sql, page.parameters)
    for view in ("message_events", "orphan_events", "suppression_history"):
        store.rows(f"SELECT * FROM {view} LIMIT 1000")
