"""Replaying the log into tables from which rows were lost, and into tables that are right."""

import random
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import orjson
import pytest

from processors.engine import Record
from processors.ledger.match import Matcher
from processors.ledger.replay import Replayed, replay
from projections.store import Store
from schemas.decoding.ids import uuid7
from schemas.decoding.times import rfc3339
from schemas.errors import SendledgerError
from schemas.examples import EXAMPLES
from schemas.telemetry import Telemetry
from schemas.topics import LEDGER_INPUTS, SENDS_REQUESTED
from simulator.kafka import record_of
from simulator.messages import PlanOptions
from simulator.plan import plan
from tests.building import MESSAGE, NOW_US, FakeRecord
from tests.fakes import FakeStore

TABLES = (
    *("events", "message_state", "orphans", "dispatches", "holders", "contents", "bounces", "suppression_changes"),
    *("opt_outs", "commands", "policies", "preferences", "addressees"),
)
VIEWS = (
    *("messages", "message_events", "orphan_events", "bounced_emails", "bounced_messages", "suppressions"),
    *("suppression_history", "delivery_hourly"),
)


async def in_turn(records: Sequence[FakeRecord]) -> AsyncIterator[Record]:
    for record in records:
        yield record


def simulated(messages: int, seed: int, now_us: int = NOW_US) -> Iterator[FakeRecord]:
    """The records of a plan, and an example of each topic that a plan without a gate does not have."""
    options = PlanOptions(now_us, ["acme", "globex"])
    for offset, delivery in enumerate(d for stage in plan(messages, seed, options).stages for d in stage):
        topic, key, headers = record_of(delivery)
        yield FakeRecord(topic, delivery.value, key, headers, offset % 4, offset, delivery.at_us // 1000)
    for read in LEDGER_INPUTS:
        if read.holds in EXAMPLES:
            value = orjson.dumps(EXAMPLES[read.holds].payload)
            yield FakeRecord(read.name, value, b"key", partition=1, offset=1_000_000)


def rows_of(store: Store) -> dict[str, list[Any]]:
    return {view: sorted(map(repr, store.tuples(f"SELECT * FROM {view}"))) for view in VIEWS}


@pytest.mark.clickhouse
@pytest.mark.parametrize("seed", range(1, 6))
async def test_rows_that_were_lost_come_back_and_right_ones_stay(store: Store, seed: int) -> None:
    for table in TABLES:
        store.command(f"TRUNCATE TABLE {table}", database=store.tables)
    records = list(simulated(300, seed))
    first = await replay(store, in_turn(records), decision_days=30)
    assert first.records == len(records)
    assert set(first.rows) >= {*TABLES} - {"holders", "addressees", "bounces"}  # these the server derives
    right = rows_of(store)
    assert all(right.values()), [view for view, rows in right.items() if not rows]

    chance = random.Random(seed)
    chance.shuffle(records)
    again = await replay(store, in_turn(records), decision_days=30)
    assert again.records == len(records)
    assert rows_of(store) == right

    for table in TABLES:
        where = chance.choice(["1", "rand() % 2 = 0", "rand() % 10 = 0"])
        store.command(f"DELETE FROM {table} WHERE {where}", database=store.tables)
    assert rows_of(store) != right
    # Meanwhile the ledger goes on matching by what is left, and takes events for those of other messages.
    Matcher(store, Telemetry()).sweep(365 * 86_400)
    await replay(store, in_turn(records), decision_days=30)
    assert rows_of(store) == right


@pytest.mark.clickhouse
@pytest.mark.parametrize("first", ["dispatch", "event"])
async def test_an_event_that_was_withdrawn_while_a_dispatch_was_lost_comes_back(store: Store, first: str) -> None:
    """Two messages under one provider id: with one dispatch, all events belong to its message."""
    ids = [uuid7(NOW_US, random.randbytes(10)) for _ in range(2)]
    provider_id, addresses = f"shared-{ids[0]}", ["ann@example.com", "bob@example.com"]
    requests, dispatches, posts = [], [], []
    for n, (message_id, address) in enumerate(zip(ids, addresses, strict=True)):
        sent = {"account_id": "acme", "message_id": message_id}
        request = EXAMPLES["SendRequest"].payload | sent | {"to": address, "cc": [], "requested_at": rfc3339(NOW_US)}
        dispatch = EXAMPLES["SendDispatched"].payload | sent | {"provider_message_id": provider_id}
        event = {"event": "bounce", "email": address, "sg_message_id": provider_id, "timestamp": NOW_US // 1_000_000}
        requests.append(FakeRecord("sends.requested", orjson.dumps(request), offset=n))
        dispatches.append(FakeRecord("sends.dispatched", orjson.dumps(dispatch), offset=n))
        posts.append(FakeRecord("webhooks.sendgrid", orjson.dumps([event | {"sg_event_id": f"e{n}"}]), offset=n))
    done = await replay(store, in_turn([*requests, *dispatches, *posts]), decision_days=30)
    assert done.rejected == {}

    def bounced() -> dict[str, list[str]]:
        of_messages = "SELECT toString(email_id), address FROM message_events WHERE email_id IN {ids:Array(UUID)}"
        rows = store.tuples(f"{of_messages} AND type = 'bounced'", {"ids": ids})
        return {one: sorted(address for message_id, address in rows if message_id == one) for one in ids}

    right = {message_id: [address] for message_id, address in zip(ids, addresses, strict=True)}
    assert bounced() == right
    of_second = "provider_message_id = {provider_id:String} AND message_id = {id:UUID}"
    store.delete("dispatches", of_second, {"provider_id": provider_id, "id": ids[1]})
    Matcher(store, Telemetry()).sweep(3_600)
    assert bounced() == {ids[0]: addresses, ids[1]: []}
    for records in (dispatches, posts) if first == "dispatch" else (posts, dispatches):
        await replay(store, in_turn(records), decision_days=30)
    assert bounced() == right
    for view, status in (("messages", "status"), ("bounced_messages", "'Bounced'")):
        rows = store.tuples(
            f"SELECT toString(email_id), {status} FROM {view} WHERE email_id IN {{ids:Array(UUID)}}", {"ids": ids}
        )
        assert {row[0]: row[1] for row in rows} == dict.fromkeys(ids, "Bounced"), view


@pytest.mark.clickhouse
async def test_a_dry_run_counts_the_rows_and_writes_none(store: Store) -> None:
    for table in TABLES:
        store.command(f"TRUNCATE TABLE {table}", database=store.tables)
    records = list(simulated(300, 3))
    counted = await replay(store, in_turn(records), decision_days=30, dry_run=True)
    assert not any(rows_of(store).values())
    written = await replay(store, in_turn(records), decision_days=30)
    # Only matches need rows that a dry run has not written.
    assert counted.rows["policies"] == written.rows["policies"] > 0
    assert counted.rows["contents"] == written.rows["contents"] > 0
    assert counted.rows["orphans"] == written.rows["orphans"] > 0
    assert 0 < counted.rows["events"] <= written.rows["events"]
    assert counted.rejected == written.rejected


async def test_rejected_records_are_counted_and_the_others_written() -> None:
    event = {"event": "delivered", "email": "ann@example.com", "sl_account": "acme", "sl_message": MESSAGE}
    posts = [orjson.dumps([event | {"timestamp": n}]) for n in range(3)]
    records = [FakeRecord("webhooks.sendgrid", post, offset=n) for n, post in enumerate([*posts, b"{"])]
    store = FakeStore()
    done = await replay(store, in_turn([*records, FakeRecord(SENDS_REQUESTED.name, b"{}")]), decision_days=30)
    assert done.records == 5
    assert done.rejected == {"body_not_json": 1, "record_invalid": 1}
    assert store.addresses == ["ann@example.com"] * 3


async def test_progress_is_reported_for_each_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processors.ledger.replay._GROUP_RECORDS", 2)
    seen: list[int] = []

    def progress(done: Replayed) -> None:
        seen.append(done.records)

    records = [FakeRecord("webhooks.sendgrid", b"[]", offset=n) for n in range(5)]
    await replay(FakeStore(), in_turn(records), decision_days=30, progress=progress)
    assert seen == [2, 4, 5]


async def test_a_replay_has_no_limit_of_failures_and_says_what_can_not_be_written() -> None:
    """A window may have more records at fault than a worker meets in five minutes; a worker would end."""
    addresses = [f"user{n}@example.com" for n in range(120)]
    event = {"event": "delivered", "sl_account": "acme", "sl_message": MESSAGE}
    records = [
        FakeRecord("webhooks.sendgrid", orjson.dumps([event | {"email": address}]), offset=n)
        for n, address in enumerate(["fine@example.com", *addresses])
    ]
    done = await replay(FakeStore(refused=frozenset(addresses)), in_turn(records), decision_days=30)
    assert (done.failed, done.rejected["store_refused"]) == (120, 120)


async def test_a_store_that_takes_no_record_is_an_error_with_a_mend() -> None:
    event = {"event": "delivered", "email": "ann@example.com", "sl_account": "acme", "sl_message": MESSAGE}
    store = FakeStore(refused=frozenset({"ann@example.com"}))
    with pytest.raises(SendledgerError) as caught:
        await replay(store, in_turn([FakeRecord("webhooks.sendgrid", orjson.dumps([event]))]), decision_days=30)
    assert "repeat the replay" in caught.value.mend
