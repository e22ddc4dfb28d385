"""Messages disappear whole when they are older than the retention; suppressions and their evidence stay."""

import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from processors.ledger.replay import replay
from projections.accounts.queries import account_ids
from projections.messages import queries
from projections.messages.columns import addressees_table, contents_table, events_table, state_table
from projections.messages.filters import Filter
from projections.messages.pages import read_page, read_with_id
from projections.store import Store, migrate, retention
from projections.suppressions.bulk_queries import evidence_without_message
from projections.suppressions.columns import changes_table
from projections.suppressions.queries import SuppressionFilter, evidence_events, suppressions_page
from schemas.decoding.ids import uuid7
from schemas.decoding.sends import Content
from schemas.decoding.times import DAY_US
from tests.building import ACCOUNT, a_request, a_source_position, an_event
from tests.ledger.test_match import a_dispatch, an_orphan, orphaned, write
from tests.ledger.test_replay import in_turn, rows_of, simulated
from tests.projections.test_addresses_in_clickhouse import a_scope, a_state
from tests.stores import fresh_store
from verification.columns_alone import compare_columns_alone
from verification.generations import Generations
from verification.recomputation import compare_with_recomputation, duplicate_events

pytestmark = pytest.mark.clickhouse

NOW_US = time.time_ns() // 1000
OLD_US = NOW_US - 40 * DAY_US
DAYS = 30
RECORDS = [*simulated(120, seed=5, now_us=OLD_US), *simulated(120, seed=6, now_us=NOW_US)]
OF_MESSAGES = ("events", "message_state", "bounces", "dispatches", "contents")
STAY = ("suppressions", "suppression_history")


def merge_all(store: Store) -> None:
    """What ClickHouse does in the background, for each table: merges all parts, and deletes what has expired."""
    for (table,) in store.tuples(
        "SELECT name FROM system.tables WHERE database = {db:String} AND engine LIKE '%MergeTree'", {"db": store.tables}
    ):
        store.command(f"OPTIMIZE TABLE {table} FINAL", database=store.tables)


def ids_in(store: Store, table: str) -> set[str]:
    return {str(row[0]) for row in store.tuples(f"SELECT DISTINCT toString(message_id) FROM {table}")}


def differences(store: Store) -> list[Any]:
    return [*compare_with_recomputation(store), *compare_columns_alone(store), *duplicate_events(store)]


def old_ids(store: Store) -> set[str]:
    limit = uuid7(OLD_US + 2 * DAY_US, bytes(10))[:14]
    return {one for one in ids_in(store, "message_state") if one < limit}


@pytest.fixture
def own(clickhouse_url: str) -> Iterator[Store]:
    """Tables of one test: what was hidden once stays hidden."""
    with fresh_store(clickhouse_url) as made:
        yield made


async def test_old_messages_disappear_from_all_views_and_then_from_the_tables(own: Store, clickhouse_url: str) -> None:
    await replay(own, in_turn(RECORDS), decision_days=30)
    everything, old = rows_of(own), old_ids(own)
    assert len(old) > 50
    assert retention.set_retention(own, DAYS)
    assert retention.set_content_retention(own, 365)
    before = rows_of(own)
    messages = {str(row[0]) for row in own.tuples("SELECT toString(email_id) FROM messages")}
    assert len(messages) > 50
    assert not messages & old
    for view in ("messages", "message_events", "bounced_emails", "bounced_messages", "orphan_events"):
        assert 0 < len(before[view]) < len(everything[view]), view
    for view in STAY:
        assert before[view] == everything[view], view
    assert differences(own) == []

    merge_all(own)
    assert rows_of(own) == before
    assert {table: len(ids_in(own, table) & old) for table in OF_MESSAGES} == dict.fromkeys(OF_MESSAGES, 0)
    assert differences(own) == []

    # A second reading of the log brings nothing back, and what was rebuilt from all of it is found to be the same.
    await replay(own, in_turn(RECORDS), decision_days=30)
    assert rows_of(own) == before
    rebuilt = Store(clickhouse_url, database=own.database, generation=2)
    migrate.apply(rebuilt)
    await replay(rebuilt, in_turn(RECORDS), decision_days=30)
    assert [one.subject.name for one in Generations(own, 1, 2).compare() if one.total] == []
    rebuilt.close()


def test_the_evidence_of_a_suppression_in_force_stays_and_other_evidence_goes(store: Store) -> None:
    address = f"{uuid4().hex}@example.com"
    bounces = [
        an_event("bounced", message_id=uuid7(OLD_US, uuid4().bytes), address=address, received_us=OLD_US)
        for _ in range(3)
    ]
    orphan = an_orphan("complained", uuid4().hex, address=address, received_us=OLD_US)
    forgotten = an_event("bounced", message_id=uuid7(OLD_US, uuid4().bytes), address="x@y.z", received_us=OLD_US)
    opt_out = an_event("unsubscribed", message_id=uuid7(OLD_US, uuid4().bytes), address="x@y.z", received_us=OLD_US)
    write(store, [*bounces, orphan, forgotten, opt_out])
    ids = [event.event_id for event in (*bounces, orphan)]
    state = a_state(address, 1, a_scope("*", reason="bounces", evidence=ids))
    store.insert("suppression_changes", changes_table([state]))
    retention.set_retention(store, DAYS)
    retention.set_retention(store, DAYS)
    merge_all(store)
    query = evidence_events([ACCOUNT], [*ids, forgotten.event_id, opt_out.event_id])
    found = {row["event_id"] for row in store.rows(query.sql, query.parameters)}
    assert found == {*ids[:3], opt_out.event_id}
    query = evidence_without_message(ids)
    assert [row[0] for row in store.tuples(query.sql, query.parameters)] == [orphan.event_id]
    query = suppressions_page(SuppressionFilter([ACCOUNT], addresses=[address]), limit=9)
    assert [row["suppressed"] for row in store.rows(query.sql, query.parameters)] == [True]


def test_an_event_that_was_matched_is_no_orphan_after_its_message_has_expired(own: Store) -> None:
    """The event came ten days after Date Sent, so its own copy among the orphans is still shown."""
    sent_us = NOW_US - (DAYS + 5) * DAY_US
    event = an_orphan("delivered", uuid4().hex, received_us=sent_us + 10 * DAY_US)
    alone = an_orphan("delivered", uuid4().hex, received_us=sent_us + 10 * DAY_US)
    write(own, [event, alone, a_dispatch(event.provider_message_id, uuid7(sent_us, uuid4().bytes))])
    retention.set_retention(own, DAYS)
    assert orphaned(own, [event, alone]) == {alone.event_id}
    merge_all(own)
    assert orphaned(own, [event, alone]) == {alone.event_id}


def test_a_platform_wide_suppression_stays_visible_to_the_accounts_that_sent_to_the_address(own: Store) -> None:
    sent, matched = (f"{uuid4().hex}@example.com" for _ in range(2))
    request = a_request(message_id=uuid7(OLD_US, uuid4().bytes), to=sent, to_key=sent)
    other = an_event("bounced", message_id=uuid7(OLD_US, uuid4().bytes), address=matched, received_us=OLD_US)
    write(own, [request, other])
    withdrawn = events_table([other._replace(received_us=0)]).append_column("link", [["withdrawn"]])
    own.insert("events", withdrawn)
    own.insert("withdrawn_addressees", addressees_table([other]))
    own.insert("suppression_changes", changes_table([a_state(one, 1, a_scope("*")) for one in (sent, matched)]))
    retention.set_retention(own, DAYS)
    merge_all(own)
    for any_withdrawn in (True, False):
        wanted = SuppressionFilter([ACCOUNT], addresses=[sent, matched])
        query = suppressions_page(wanted, limit=9, any_withdrawn=any_withdrawn)
        assert [row["address"] for row in own.rows(query.sql, query.parameters)] == [sent]


def test_what_was_hidden_stays_hidden_when_the_days_are_raised(own: Store) -> None:
    message = uuid7(OLD_US, uuid4().bytes)
    write(own, [an_event(message_id=message, received_us=OLD_US), an_event(message_id=uuid7(NOW_US, uuid4().bytes))])
    retention.set_retention(own, DAYS)
    before = rows_of(own)
    assert len(before["messages"]) == 1
    for days in (60, 0):
        assert retention.set_retention(own, days)
        assert not retention.set_retention(own, days)
        assert rows_of(own) == before
        ttl = "SELECT count() FROM system.tables WHERE database = {db:String} AND engine_full LIKE {ttl:String}"
        tables = own.tuples(ttl, {"db": own.tables, "ttl": "%UTC%))) + toIntervalDay(%"})[0][0]
        assert tables == (6 if days else 0)


def test_a_content_is_not_kept_longer_than_its_message(own: Store) -> None:
    old, young = (uuid7(NOW_US - days * DAY_US, uuid4().bytes) for days in (10, 5))
    contents = [
        Content(ACCOUNT, one, "<p>hi</p>", "", a_source_position(topic="sends.content")) for one in (old, young)
    ]
    own.insert("contents", contents_table(contents))
    retention.set_retention(own, 7)
    assert retention.set_content_retention(own, 30)
    merge_all(own)
    assert {old, young} & ids_in(own, "contents") == {young}


def test_a_message_that_expired_is_found_by_no_query_of_the_api(own: Store) -> None:
    message = uuid7(OLD_US, uuid4().bytes)
    event = an_event("delivered", account_id="gone", message_id=message, received_us=OLD_US)
    own.insert("message_state", state_table(events_table([event])))
    own.insert("events", events_table([event]))

    def found() -> tuple[int, int, int, set[str]]:
        listed = account_ids("gone", limit=9)
        page = read_page(own, Filter(["gone"]), limit=9, now_us=NOW_US)
        timeline = queries.timeline("gone", message, limit=9)
        return (
            len(read_with_id(own, ["gone"], message)),
            len(page),
            len(own.tuples(timeline.sql, timeline.parameters)),
            {row[0] for row in own.tuples(listed.sql, listed.parameters)},
        )

    assert found() == (1, 1, 1, {"gone"})
    retention.set_retention(own, DAYS)
    assert found() == (0, 0, 0, set())
