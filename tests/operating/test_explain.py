"""`sendledger explain`: the reasons of a status, and what the providers sent, printed for people and for programs."""

from pathlib import Path

import orjson
import pytest

from processors.engine import Record
from processors.ledger.decode import read_records
from processors.ledger.write import tables_of
from projections.messages.columns import events_table, state_table
from projections.store import Store
from schemas.decoding.ids import uuid7
from tests.building import ACCOUNT, NOW_US, FakeRecord, an_event
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


OPENED = uuid7(NOW_US, b"show-bytes")
_ELEMENT = {"event": "open", "sl_account": ACCOUNT, "sl_message": OPENED, "timestamp": NOW_US // 1_000_000}
BODY = orjson.dumps([_ELEMENT, _ELEMENT | {"event": "click", "note": "x" * 3_000}]).replace(
    b'"open"', b'"open","note":"\x1b]0;owned\x07 \xc2\x9b31m \xe2\x80\xae"'
)
POST = FakeRecord("webhooks.sendgrid", BODY, headers=[("content_type", b"application/json\x1b[2J")])


async def test_what_the_provider_sent_is_printed_without_its_control_characters(
    clickhouse_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record: list[Record | None] = [POST]

    async def read_record(*_: object) -> Record | None:
        return record[0]

    monkeypatch.setattr("cli.raw_events.read_record", read_record)
    with fresh_store(clickhouse_url) as store:
        for table, rows in tables_of(read_records([POST], decision_days=30))[0].items():
            store.insert(table, rows)
        env = {"SENDLEDGER_CLICKHOUSE_URL": clickhouse_url, "SENDLEDGER_CLICKHOUSE_DATABASE": store.database}
        env |= {"SENDLEDGER_KAFKA_BOOTSTRAP": "127.0.0.1:1"}
        for_people = await in_process("explain", OPENED, "--raw", env=env, folder=tmp_path)
        as_json = await in_process("explain", OPENED, "--raw", "--json", env=env, folder=tmp_path)
        record[0] = None
        gone = await in_process("explain", OPENED, "--raw", env=env, folder=tmp_path)
    assert (for_people.code, as_json.code, gone.code) == (0, 0, 0)
    for ended in (for_people, as_json):
        assert all(c.isprintable() or c == "\n" for c in ended.out)
    assert "not_checkable: No signature is stored" in for_people.out
    assert "\\x1b]0;owned\\x07 \\x9b31m" in for_people.out
    assert "more characters: --json prints them" in for_people.out
    opened, clicked = as_json.json()["raw"]
    assert opened["body"]["text"].encode() == clicked["body"]["text"].encode() == BODY
    assert f"[{opened['element']['text']},{clicked['element']['text']}]".encode() == BODY
    assert gone.out.count("Kafka no longer has what was sent") == 2
