"""Tables are in the database of a generation; promised views show one generation, and readers follow a switch."""

from collections.abc import Iterator

import pytest

from projections.messages.columns import events_table, state_table
from projections.store import Store, generations, migrate
from projections.store.generations import Build, Pointer
from schemas.decoding.ids import uuid7
from schemas.errors import RequestError
from tests.building import NOW_US, an_event

pytestmark = pytest.mark.clickhouse

VIEWS = [view.name for view in migrate.views()]


@pytest.fixture
def second(store: Store, clickhouse_url: str) -> Iterator[Store]:
    """A second generation beside the first, which stays the one that is shown."""
    made = Store(clickhouse_url, database=store.database, generation=2)
    migrate.apply(made)
    yield made
    generations.show(store, 1, VIEWS)
    made.command(f"DROP DATABASE {made.tables}")
    made.close()


def a_message_in(store: Store) -> str:
    message_id = uuid7(NOW_US, b"0123456789")
    store.insert("message_state", state_table(events_table([an_event(message_id=message_id)])))
    return message_id


def shown_messages(store: Store) -> int:
    return int(store.tuples(f"SELECT count() FROM {store.database}.messages")[0][0])


def test_tables_are_in_the_generations_database_and_views_in_both(store: Store) -> None:
    where = dict[str, set[str]]()
    for database, name in store.tuples(
        "SELECT database, name FROM system.tables WHERE database IN {databases:Array(String)}",
        {"databases": [store.database, store.tables]},
    ):
        where.setdefault(database, set()).add(name)
    assert where[store.database] == {*VIEWS, "shown_generation"}
    assert {"events", "message_state", *VIEWS} <= where[store.tables]


@pytest.mark.parametrize("view", VIEWS)
def test_a_promised_view_has_the_columns_of_its_generation(store: Store, view: str) -> None:
    columns = "SELECT name, type FROM system.columns WHERE database = {database:String} AND table = {view:String}"
    promised, own = (
        list(map(tuple, store.tuples(columns, {"database": database, "view": view})))
        for database in (store.database, store.tables)
    )
    assert promised == own != []


def test_a_missing_promised_view_is_created_again(store: Store) -> None:
    store.command(f"DROP VIEW {store.database}.messages")
    assert migrate.apply(store) == []
    assert shown_messages(store) >= 0


def test_a_new_generation_is_not_shown_before_a_switch(store: Store, second: Store) -> None:
    before = shown_messages(store)
    a_message_in(second)
    assert migrate.apply(second) == []
    assert (generations.shown(store), shown_messages(store)) == (1, before)


def test_a_reader_follows_a_switch_and_the_way_back(
    store: Store, second: Store, clickhouse_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generations, "_REFRESH_SECONDS", 0.0)
    reader = generations.ShownStore(clickhouse_url, database=store.database)
    message_id = a_message_in(second)
    query = "SELECT toString(email_id) FROM messages WHERE email_id = {id:UUID}"
    assert list(reader.tuples(query, {"id": message_id})) == []
    generations.show(store, 2, VIEWS)
    assert [row[0] for row in reader.tuples(query, {"id": message_id})] == [message_id]
    assert shown_messages(store) == 1
    generations.show(store, 1, VIEWS)
    assert list(reader.tuples(query, {"id": message_id})) == []
    reader.close()


def test_the_pointer_knows_what_was_shown_before_and_whether_a_switch_is_over(store: Store, second: Store) -> None:
    generations.show(store, 2, VIEWS, complete=False)
    assert generations.pointer(store) == Pointer(2, 1, complete=False)
    generations.show(store, 2, VIEWS)
    assert migrate.apply(second) == []
    assert generations.pointer(store) == Pointer(2, 1, complete=False), "showing it again changes nothing"
    generations.mark_complete(store)
    assert generations.pointer(store) == Pointer(2, 1, complete=True)
    generations.show(store, 1, VIEWS)
    assert generations.pointer(store) == Pointer(1, 2, complete=True)


def test_the_pointer_of_an_older_release_is_read(store: Store) -> None:
    store.command(f"CREATE OR REPLACE VIEW {store.database}.shown_generation AS SELECT 1 AS generation")
    assert generations.pointer(store) == Pointer(1, 0, complete=True)


def test_the_shown_generation_and_one_that_is_not_there_are_not_dropped(store: Store, second: Store) -> None:
    generations.record_build(second, Build("id", "rules", trial=True))
    known = {one.number: one.build for one in generations.generations(store)}
    assert known == {1: None, 2: Build("id", "rules", trial=True)}
    for number, message in ((1, "is shown"), (3, "There is no generation 3")):
        with pytest.raises(RequestError, match=message):
            generations.drop(store, number)
    generations.drop(store, 2)
    assert [one.number for one in generations.generations(store)] == [1]
    migrate.apply(second)


def test_a_reader_of_a_missing_database_uses_the_first_generation(clickhouse_url: str) -> None:
    assert generations.ShownStore(clickhouse_url, database="never_made").tables == "never_made_g1"
