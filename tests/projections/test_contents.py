"""Contents: one per message, stored for some days after its Date Sent."""

import time
from uuid import uuid4

import pytest

from projections.messages.columns import contents_table, events_table, state_table
from projections.store import Store, retention
from schemas.decoding.ids import uuid7
from schemas.decoding.sends import Content, Erasure
from schemas.decoding.times import DAY_US
from tests.building import ACCOUNT, NOW_US, a_source_position

pytestmark = pytest.mark.clickhouse


def write(store: Store, *contents: Content) -> None:
    for content in contents:
        store.insert("contents", contents_table([content]))
        store.insert("message_state", state_table(events_table([]), contents=[content]))


def stored(store: Store, *ids: str) -> dict[str, str]:
    rows = store.tuples(
        "SELECT toString(message_id), html FROM contents FINAL WHERE message_id IN {ids:Array(UUID)}",
        {"ids": list(ids)},
    )
    return {row[0]: row[1] for row in rows}


@pytest.mark.parametrize("reverse", [False, True])
def test_of_two_contents_the_one_received_first_stays(store: Store, *, reverse: bool) -> None:
    message_id = uuid7(time.time_ns() // 1000, uuid4().bytes)
    contents = [
        Content(
            ACCOUNT, message_id, html, "", a_source_position(topic="sends.content", received_us=NOW_US, offset=offset)
        )
        for html, offset in (("first", 7), ("second", 8))
    ]
    write(store, *(reversed(contents) if reverse else contents))
    assert stored(store, message_id) == {message_id: "first"}


@pytest.mark.parametrize("order", ["erased after it was stored", "erased before", "stored again by a replay"])
def test_an_erased_content_is_hidden_in_every_order_and_gone_after_a_merge(store: Store, order: str) -> None:
    message_id = uuid7(time.time_ns() // 1000, uuid4().bytes)
    told = Content(ACCOUNT, message_id, "<p>hi</p>", "", a_source_position(topic="sends.content", received_us=NOW_US))
    source = a_source_position(topic="sends.erased", received_us=NOW_US + DAY_US)
    erasure = contents_table([], [Erasure(ACCOUNT, message_id, "e1", NOW_US + DAY_US, "cli:ann", "4711", source)])
    if order != "erased before":
        write(store, told)
    store.insert("contents", erasure)
    if order != "erased after it was stored":
        write(store, told)
    assert stored(store, message_id) == {message_id: ""}
    store.command("OPTIMIZE TABLE contents FINAL", database=store.tables)
    left = store.tuples("SELECT html FROM contents WHERE message_id = {id:UUID}", {"id": message_id})
    assert [*map(tuple, left)] == [("",)]


def test_a_content_expires_and_has_content_stays_true(store: Store) -> None:
    now_us = time.time_ns() // 1000
    old, young = (uuid7(now_us - days * DAY_US, uuid4().bytes) for days in (8, 6))
    assert retention.set_content_retention(store, 7)
    write(
        store, *(Content(ACCOUNT, i, "<p>hi</p>", "", a_source_position(topic="sends.content")) for i in (old, young))
    )
    store.command("OPTIMIZE TABLE contents FINAL", database=store.tables)
    assert stored(store, old, young) == {young: "<p>hi</p>"}
    had = store.tuples("SELECT has_content FROM messages WHERE email_id = {id:UUID}", {"id": old})
    assert [tuple(row) for row in had] == [(True,)]


def test_setting_the_same_retention_changes_nothing(store: Store) -> None:
    retention.set_content_retention(store, 9)
    assert not retention.set_content_retention(store, 9)
    assert retention.set_content_retention(store, 10)
