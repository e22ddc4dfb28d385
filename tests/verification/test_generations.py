"""Two generations are alike if they were made of the same log, in any order; whatever else differs is found."""

import random
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from processors.ledger.replay import replay
from projections.store import Store, generations, migrate
from schemas.decoding.ids import sent_at_us
from schemas.decoding.times import DAY_US
from tests.building import FakeRecord
from tests.ledger.test_replay import in_turn, simulated
from tests.stores import a_store, drop
from verification.generations import SUBJECTS, Comparison, Generations, Subject
from verification.part import Part

pytestmark = pytest.mark.clickhouse

NOW_US = time.time_ns() // 1000 // DAY_US * DAY_US
"""The last midnight: arrivals are kept for some days only."""
RECORDS = list(simulated(120, seed=2, now_us=NOW_US))
HASHES = "SELECT account_id, month, projection, rows, hash FROM projection_hashes ORDER BY ALL"


async def folded(store: Store, records: list[FakeRecord], group: int) -> None:
    """Fold the records as a ledger does that reads `group` of them at a time."""
    for first in range(0, len(records), group):
        await replay(store, in_turn(records[first : first + group]), decision_days=30)


@pytest.fixture(scope="module")
async def live(clickhouse_url: str) -> AsyncIterator[Store]:
    store = a_store(clickhouse_url)
    await folded(store, RECORDS, 1000)
    yield store
    drop(store)


@pytest.fixture
async def rebuilt(live: Store, clickhouse_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """Another generation, from the same records in another order and in groups of another size."""
    store = Store(clickhouse_url, database=live.database, generation=2)
    migrate.apply(store)
    records = list(RECORDS)
    random.Random(getattr(request, "param", 1)).shuffle(records)
    await folded(store, records, 300)
    yield store
    generations.drop(live, 2)
    store.close()


def differing(live: Store, *subjects: str, part: Part = Part()) -> dict[str, Comparison]:  # noqa: B008 - frozen
    """What is found, and still there in a second comparison."""
    both = Generations(live, 1, 2, part)
    found = both.confirm(both.compare(s for s in SUBJECTS if not subjects or s.name in subjects))
    return {one.subject.name: one for one in found if one.total}


def test_every_table_is_compared_or_shown_by_a_view_that_is(live: Store) -> None:
    tables = {
        name
        for (name,) in live.tuples(
            "SELECT name FROM system.tables WHERE database = {database:String} AND engine LIKE '%MergeTree'",
            {"database": live.tables},
        )
    }
    shown_otherwise = {
        "message_state",
        "recent_orphans",
        "withdrawn_addressees",
        "build",
        "schema_migrations",
        "schema_views",
    }
    assert tables - shown_otherwise == {one.name for one in SUBJECTS if one.is_table}


@pytest.mark.parametrize("rebuilt", range(1, 4), indirect=True)
def test_the_same_log_in_any_order_gives_the_same_rows_and_hashes(live: Store, rebuilt: Store) -> None:
    assert differing(live) == {}
    hashes = [list(map(tuple, store.tuples(HASHES))) for store in (live, rebuilt)]
    assert hashes[0] == hashes[1]
    assert len(hashes[0]) > 5


@pytest.mark.parametrize("lost_in", [1, 2])
def test_the_documented_query_finds_what_only_one_generation_has(live: Store, rebuilt: Store, lost_in: int) -> None:
    page = (Path(__file__).parents[2] / "docs/how-to/rebuild-the-tables.md").read_text(encoding="utf-8")
    [documented] = re.findall(r"```sql\n(.*?)```", page, re.S)
    query = documented.replace("sendledger_g", f"{live.database}_g")
    if lost_in == 1:
        query = query.replace("_g1.", "_gX.").replace("_g2.", "_g1.").replace("_gX.", "_g2.")
    assert live.tuples(query) == []
    rebuilt.command("TRUNCATE TABLE contents", database=rebuilt.tables)
    found = live.tuples(query)
    assert {(row[0], row[3]) for row in found} == {(3 - lost_in, "contents")}


@pytest.mark.parametrize("subject", [one for one in SUBJECTS if one.is_table], ids=lambda one: one.name)
def test_a_row_that_is_lost_in_any_table_is_found(live: Store, rebuilt: Store, subject: Subject) -> None:
    """Lost in the generation that is shown, which the first comparison is about."""
    both = Generations(rebuilt, 2, 1)
    key = f"cityHash64(tuple({', '.join(subject.key)}))"
    lost = rebuilt.tuples(f"SELECT {key} AS id FROM {subject.name} FINAL WHERE {subject.where} ORDER BY id LIMIT 3")
    ids = ", ".join(str(one) for (one,) in lost)
    rebuilt.command(
        f"ALTER TABLE {subject.name} DELETE WHERE {key} IN ({ids}) SETTINGS mutations_sync = 1",
        database=rebuilt.tables,
    )
    [found] = both.confirm(both.compare([subject]))
    assert found.kinds == {"missing": len(lost)}
    assert lost
    assert {sample.kind for sample in found.samples} == {"missing"}


def test_a_message_whose_state_is_lost_is_missing_in_messages(live: Store, rebuilt: Store) -> None:
    rebuilt.command(
        "ALTER TABLE message_state DELETE WHERE account_id = 'acme' SETTINGS mutations_sync = 1",
        database=rebuilt.tables,
    )
    found = differing(live, "messages")["messages"]
    assert found.kinds.keys() == {"extra"}
    lost = "SELECT status, count() FROM messages WHERE account_id = 'acme' GROUP BY status"
    assert {before: number for (before, _), number in found.transitions.items()} == dict(map(tuple, live.tuples(lost)))


async def test_rows_that_say_something_else_are_shown_with_what_they_say(live: Store, rebuilt: Store) -> None:
    """An event that never was: in the tables, and not in the log."""
    [(account, message)] = live.tuples(
        "SELECT account_id, toString(email_id) FROM messages WHERE status = 'Delivered' AND channel = 'email' LIMIT 1"
    )
    value = (
        f'[{{"event":"bounce","type":"bounce","email":"","sl_account":"{account}","sl_message":"{message}",'
        f'"sg_event_id":"made up","sg_message_id":"m","timestamp":{sent_at_us(message) // 1_000_000}}}]'
    ).encode()
    await folded(rebuilt, [FakeRecord("webhooks.sendgrid", value, b"k", timestamp=sent_at_us(message) // 1000)], 1)
    found = differing(live, "messages", "events", "bounces")
    assert dict(found["messages"].transitions) == {("Delivered", "Bounced"): 1}
    [sample] = found["messages"].samples
    assert (sample.key, sample.kind) == ((account, message), "changed")
    assert sample.columns["status"] == ("Delivered", "Bounced")
    assert dict(found["events"].transitions) == {("", "bounced"): 1}
    assert found["bounces"].kinds == {"missing": 1}


async def test_what_only_one_has_written_yet_is_no_difference(live: Store, rebuilt: Store) -> None:
    rebuilt.command("TRUNCATE TABLE commands", database=rebuilt.tables)
    both = Generations(live, 1, 2)
    found = both.compare(one for one in SUBJECTS if one.name == "commands")
    assert found[0].kinds["extra"]
    await folded(rebuilt, [record for record in RECORDS if record.topic == "suppressions.commands"], 400)
    assert [one.total for one in both.confirm(found)] == [0]


def test_only_the_asked_part_is_compared(live: Store, rebuilt: Store) -> None:
    rebuilt.command("TRUNCATE TABLE events", database=rebuilt.tables)
    times = [sent_at_us(message) for (message,) in live.tuples("SELECT DISTINCT toString(message_id) FROM events")]
    whole = differing(live, "events")["events"].kinds["extra"]
    middle = sorted(times)[len(times) // 2]
    assert 0 < differing(live, "events", part=Part(until_us=middle))["events"].kinds["extra"] < whole
    assert differing(live, "events", part=Part(since_us=max(times) + 1_000_000)) == {}
    assert 0 < differing(live, "events", part=Part(0.5))["events"].kinds["extra"] < whole
