"""`sendledger explain`: the reasons of a status, printed for people and for programs."""

from pathlib import Path

import orjson
import pytest

from projections.messages.columns import events_table, state_table
from projections.store import Store
from schemas.identity import uuid7
from tests.building import NOW_US, an_event
from tests.operating.commands import in_process
from tests.stores import fresh_store

pytestmark = pytest.mark.clickhouse

BOUNCED = uuid7(NOW_US, b"explain-it")


def written(store: Store) -> None:
    events = events_table(
        [
            an_event("delivered", message_id=BOUNCED),
            an_event("bounced", message_id=BOUNCED, fault="recipient", code="550", reason="gone\x1b[31m"),
        ]
    )
    store.insert("events", events)
    store.insert("message_state", state_table(events))


async def test_it_says_what_won_and_why_the_others_did_not(clickhouse_url: str, tmp_path: Path) -> None:
    with fresh_store(clickhouse_url) as store:
        written(store)
        env = {"SENDLEDGER_CLICKHOUSE_URL": clickhouse_url, "SENDLEDGER_CLICKHOUSE_DATABASE": store.database}
        for_people = await in_process("explain", BOUNCED, env=env, folder=tmp_path)
        as_json = await in_process("explain", BOUNCED.upper(), "--json", env=env, folder=tmp_path)
        absent = await in_process("explain", uuid7(NOW_US, bytes(10)), env=env, folder=tmp_path)
    first, winner, *rest = for_people.out.splitlines()
    assert (for_people.code, first.partition(":")[0]) == (0, "Bounced (hard)")
    assert "bounced" in winner
    assert "gone\\x1b[31m" in winner
    assert [line.strip().partition(":")[0] for line in rest[1::2]] == ["lower_rank"]
    said = orjson.loads(as_json.out)
    assert (said["status"], said["winner"]["code"]) == ("Bounced", "550")
    assert [one["rule"] for one in said["not_counted"]] == ["lower_rank"]
    assert (absent.code, absent.out) == (1, "")


async def test_what_is_no_id_is_a_usage_error(tmp_path: Path) -> None:
    env = {"SENDLEDGER_CLICKHOUSE_URL": "http://127.0.0.1:1"}
    assert (await in_process("explain", "17", env=env, folder=tmp_path)).code == 2
