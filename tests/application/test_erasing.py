"""Erasing what was sent to a person: which messages, in all generations, and what is written down about it."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import orjson
import pytest

from application.erasing import ErasureResult, Person, StoreOfGeneration, erase, prepare, stored_content
from application.errors import FieldsInvalid
from projections.messages.columns import contents_table, erasures_table, events_table, state_table
from projections.store import Store, migrate
from schemas.decoding.ids import uuid7
from schemas.decoding.sends import Content, decode_erasure
from schemas.topics import SENDS_ERASED
from tests.application.building import records
from tests.building import NOW_US, a_request, a_source_position
from tests.fakes import FakeKafka
from tests.stores import fresh_store

ANN, BOB, CC, OTHER = (uuid7(NOW_US, bytes([n]) * 10) for n in range(1, 5))
"""A message to Ann, one to Bob, one to Bob with Ann as a CC, and one to the Ann of another account."""
SECRET = "the content"
AT_US = NOW_US + 1


@pytest.fixture(scope="module")
def generations(clickhouse_url: str) -> Iterator[StoreOfGeneration]:
    """Two generations of one database, as there are after a rebuild: both have the contents."""
    with fresh_store(clickhouse_url) as first, ExitStack() as opened:
        second = Store(clickhouse_url, database=first.database, generation=2)
        opened.callback(second.close)
        migrate.apply(second)
        requests = [
            a_request(account_id="acme", message_id=ANN, to="Ann@Example.com", recipient_id="c-ann"),
            a_request(account_id="acme", message_id=BOB, to="bob@example.com", recipient_id="c-bob"),
            a_request(
                account_id="acme", message_id=CC, to="bob@example.com", cc=("ann@example.com",), recipient_id="c-bob"
            ),
            a_request(account_id="other", message_id=OTHER, to="ann@example.com", recipient_id="c-ann"),
        ]
        source = a_source_position(topic="sends.content")
        contents = [Content(one.account_id, one.message_id, f"<p>{SECRET}</p>", SECRET, source) for one in requests]
        for store in (first, second):
            store.insert("message_state", state_table(events_table([]), requests=requests, contents=contents))
            store.insert("contents", contents_table(contents))
        yield {1: first, 2: second}.__getitem__


def left(store: Store) -> set[str]:
    """The messages whose content is in some part of the table, whether a query would show it or not."""
    return {str(one) for (one,) in store.tuples("SELECT message_id FROM contents WHERE html != '' OR text != ''")}


@pytest.mark.clickhouse
async def test_the_contents_of_a_person_are_deleted_from_every_generation(generations: StoreOfGeneration) -> None:
    first, kafka = generations(1), FakeKafka()
    person = Person("acme", address=" ANN@example.com")
    prepared = prepare(first, person, reason="request 4711", actor="cli:eve", now_us=AT_US)
    assert stored_content(generations, prepared) == 2
    assert await erase(kafka, generations, prepared) == ErasureResult(messages=2, recorded=2, with_content=2)
    assert left(generations(1)) == left(generations(2)) == {BOB, OTHER}

    written = records(kafka, SENDS_ERASED.name)
    assert {key for key, _ in written} == {ANN, CC}
    erasures = [
        decode_erasure(orjson.dumps(value), a_source_position(topic=SENDS_ERASED.name, received_us=AT_US))
        for _, value in written
    ]
    assert {(one.actor, one.reason, one.erased_us) for one in erasures} == {("cli:eve", "request 4711", AT_US)}
    assert len({one.erasure_id for one in erasures}) == 1
    said = orjson.dumps([value for _, value in written]).lower()
    assert b"ann@example.com" not in said
    assert SECRET.encode() not in said

    # The ledger has read the records; then a replay writes a content again.
    first.insert("erasures", erasures_table(erasures))
    again = Content("acme", ANN, SECRET, "", a_source_position(topic="sends.content"))
    first.insert("contents", contents_table([again]))
    prepared = prepare(first, person, reason="request 4711", actor="cli:eve", now_us=AT_US)
    assert await erase(kafka, generations, prepared) == ErasureResult(messages=2, recorded=0, with_content=1)
    assert left(first) == {BOB, OTHER}
    assert len(records(kafka, SENDS_ERASED.name)) == 2

    of_client = prepare(first, Person("acme", client_id="c-bob"), reason="4712", actor="cli:eve", now_us=AT_US)
    assert of_client.erased == {BOB: False, CC: True}


@pytest.mark.clickhouse
@pytest.mark.parametrize(
    ("person", "reason", "field"),
    [
        pytest.param({"account": "*", "client_id": "c-1"}, "4711", "account", id="no account"),
        pytest.param({"account": "acme"}, "4711", "client-id", id="nobody"),
        pytest.param(
            {"account": "acme", "client_id": "c-1", "address": "a@example.com"}, "4711", "client-id", id="two"
        ),
        pytest.param({"account": "acme", "address": "nobody"}, "4711", "address", id="no address"),
        pytest.param({"account": "acme", "client_id": "c-1"}, " ", "reason", id="a blank reason"),
    ],
)
def test_an_invalid_erasure_names_the_field(
    generations: StoreOfGeneration, person: dict[str, Any], reason: str, field: str
) -> None:
    with pytest.raises(FieldsInvalid) as caught:
        prepare(generations(1), Person(**person), reason=reason, actor="cli:eve", now_us=AT_US)
    assert [fault.field for fault in caught.value.faults] == [field]
