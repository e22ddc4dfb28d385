"""The log that `benchmarks/queries` makes holds what its templates say, in every table."""

from collections.abc import Iterator

import pytest

from benchmarks.queries.data import Made, check, make
from benchmarks.queries.multiply import TEMPLATES
from projections.store import Store
from tests.stores import fresh_store

pytestmark = pytest.mark.clickhouse

MESSAGES = 2_010
"""Not a multiple of the templates: the last copy is a part of one."""


@pytest.fixture(scope="module")
def log(clickhouse_url: str) -> Iterator[tuple[Store, Made]]:
    with fresh_store(clickhouse_url) as store:
        yield store, make(store, Store(clickhouse_url, database=TEMPLATES), MESSAGES, lambda _: None)


def test_the_view_shows_each_status_as_often_as_the_scenarios_say(log: tuple[Store, Made]) -> None:
    store, made = log
    check(store, made)
    assert sum(made.statuses.values()) == MESSAGES
    assert len(made.statuses) >= 5
    assert made.with_cc_events


def test_every_bounce_reaches_the_table_of_bounces(log: tuple[Store, Made]) -> None:
    store, _ = log
    of_events = "SELECT count() FROM events FINAL WHERE type IN ('bounced', 'blocked', 'failed')"
    bounces = store.tuples("SELECT count() FROM bounces FINAL")[0][0]
    assert bounces == store.tuples(of_events)[0][0] > 0


def test_a_messages_ids_of_the_provider_agree_in_all_tables(log: tuple[Store, Made]) -> None:
    store, _ = log
    of_dispatches = "SELECT account_id, message_id, concat(provider, ':', provider_message_id) FROM dispatches"
    dispatched = set(map(tuple, store.tuples(of_dispatches)))
    shown = (
        "SELECT account_id, email_id, concat(provider, ':', provider_message_id) FROM messages"
        " WHERE provider_message_id != ''"
    )
    held = "SELECT account_id, message_id, known_by FROM holders WHERE position(known_by, ':') > 0"
    told = (
        "SELECT DISTINCT account_id, message_id, concat(provider, ':', provider_message_id) FROM events"
        " WHERE type NOT IN ('requested', 'decided', 'dispatched')"
    )
    assert len({provider_id for *_, provider_id in dispatched}) == len(dispatched)
    assert set(map(tuple, store.tuples(shown))) == dispatched
    assert set(map(tuple, store.tuples(held))) == set(map(tuple, store.tuples(told))) <= dispatched


def test_no_message_is_anomalous_or_has_a_time_before_its_date_sent(log: tuple[Store, Made]) -> None:
    store, _ = log
    odd = (
        "SELECT email_id FROM messages WHERE notEmpty(anomalies) OR decided_at < date_sent"
        " OR least(processed_at, delivered_at, bounced_at, opened_at, clicked_at) < dispatched_at"
        " OR last_heard_at > date_sent + toIntervalDay(1)"
    )
    assert store.tuples(odd) == []


def test_the_events_are_known_by_the_hashes_that_the_state_counts(log: tuple[Store, Made]) -> None:
    store, _ = log
    opened = "(type = 'opened') AND NOT machine"
    by_events = (
        "SELECT message_id, arraySort(groupUniqArray(reinterpretAsUInt64(reverse(substring(event_id, 1, 8)))))"
        f" FROM events WHERE {opened} GROUP BY message_id ORDER BY message_id"
    )
    by_state = (
        "SELECT message_id, arraySort(arrayDistinct(arrayFlatten(groupArray(opens)))) AS ids FROM message_state"
        " GROUP BY message_id HAVING notEmpty(ids) ORDER BY message_id"
    )
    assert list(store.tuples(by_state)) == list(store.tuples(by_events)) != []
