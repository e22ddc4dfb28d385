"""`sendledger replay`: what it accepts, what it prints, and that it mends the tables of a running installation."""

from pathlib import Path

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from cli.replaying import bound_of
from processors.kafka.read_topic import AtOffset, AtTime, Bound
from projections.store import Store
from schemas.errors import RequestError
from tests.building import ACCOUNT, MESSAGE
from tests.kafka.broker import broker_with_topics
from tests.operating.commands import in_process, sendledger

ENV = {"SENDLEDGER_KAFKA_BOOTSTRAP": "127.0.0.1:1", "SENDLEDGER_CLICKHOUSE_URL": "http://127.0.0.1:1"}


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("0", AtOffset(0)),
        ("1200", AtOffset(1200)),
        ("1970-01-02", AtTime(86_400_000)),
        ("1970-01-01T00:00:01Z", AtTime(1000)),
        ("1970-01-01T01:00:01+01:00", AtTime(1000)),
        ("1970-01-01T00:00:00.000001Z", AtTime(1)),
    ],
)
def test_a_bound_is_an_offset_or_a_time(text: str, bound: Bound) -> None:
    assert bound_of("--since", text) == bound


@pytest.mark.parametrize("text", ["", "-1", "yesterday", "2026-13-01", "2026-11-30T25:00:00Z", "1.5", "١٢", "9" * 5000])
def test_anything_else_is_an_error_of_usage(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        bound_of("--until", text)
    assert caught.value.where == "--until"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--topic", "dead-letters", "--since", "0"], "--topic"),
        (["--topic", "webhooks.sendgrid", "--since", "soon"], "--since"),
        (["--topic", "webhooks.sendgrid"], "--since"),
    ],
)
async def test_wrong_options_end_with_2_and_say_which(tmp_path: Path, words: list[str], says: str) -> None:
    ended = await in_process("replay", *words, env=ENV, folder=tmp_path)
    assert ended.code == 2
    assert says in ended.err
    assert not ended.out


async def test_an_unreachable_server_ends_with_4(tmp_path: Path) -> None:
    ended = await in_process("replay", "--topic", "webhooks.sendgrid", "--since", "0", env=ENV, folder=tmp_path)
    assert ended.code == 4


@pytest.mark.kafka
@pytest.mark.clickhouse
@pytest.mark.process
async def test_rows_that_are_missing_are_written_and_a_dry_run_writes_none(
    store: Store, clickhouse_url: str, tmp_path: Path
) -> None:
    event = {"event": "delivered", "email": "ann@example.com", "sl_account": ACCOUNT, "sl_message": MESSAGE}
    async with broker_with_topics(tmp_path, partitions=2) as bootstrap:
        async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
            for partition, value in enumerate([orjson.dumps([event]), b"{"]):
                await producer.send_and_wait("webhooks.sendgrid", value, partition=partition)
        env = ENV | {
            "SENDLEDGER_KAFKA_BOOTSTRAP": bootstrap,
            "SENDLEDGER_CLICKHOUSE_URL": clickhouse_url,
            "SENDLEDGER_CLICKHOUSE_DATABASE": store.database,
        }
        words = ["replay", "--topic", "webhooks.sendgrid", "--since", "0", "--until", "1"]
        dry = await sendledger(*words, "--dry-run", "--json", env=env, folder=tmp_path)
        assert (dry.code, dry.json()["rows"], dry.json()["dry_run"]) == (0, {"events": 1, "message_state": 1}, True)
        assert store.tuples("SELECT status FROM messages") == []
        done = await sendledger(*words, env=env, folder=tmp_path)
        assert done.code == 0
        assert "rows written\tmessage_state\t1" in done.out
        assert "rejected, no row\tbody_not_json\t1" in done.out
        assert "2 records, 2 rows" in done.err
        assert [*map(tuple, store.tuples("SELECT status FROM messages"))] == [("Delivered",)]
        later = await sendledger(*words[:-3], "1", "--json", env=env, folder=tmp_path)
        assert (later.code, later.json()["records"]) == (0, 0)
